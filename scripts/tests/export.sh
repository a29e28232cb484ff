#!/usr/bin/env bash
# The exported series: pristine upstream first, then our commits. They make exactly the laid tree; as patches they apply with
# `git am` on the pristine tree; each commit is formatted and passes cargo check with and without ROCm.
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export GIT_AUTHOR_NAME=test GIT_AUTHOR_EMAIL=test@localhost GIT_COMMITTER_NAME=test GIT_COMMITTER_EMAIL=test@localhost
series=$scratch/series
check 'export' scripts/upstream.sh export "$series"

# Everything of ours in the crates that upstream has, and the crates that are ours alone, is in some commit.
missing=$(for crate in "$series"/*/; do
    crate=$(basename "$crate")
    # Its pages are chosen one by one.
    [ "$crate" != docs ] || continue
    git ls-files -- "$crate" | while read -r file; do
        cmp -s "$file" "$series/$file" || printf '%s\n' "$file"
    done
    [ ! -d ".upstream/laid/$crate" ] || (cd .upstream/laid && find "$crate" -type f) | while read -r file; do
        cmp -s "$file" "$series/$file" || printf '%s\n' "$file"
    done
done)
[ -z "$missing" ] || fail "FAILED - not in the series, or another text there: $missing"
passed 'the series makes the laid tree'

cd "$series"
mapfile -t commits < <(git rev-list --reverse HEAD)
[ ${#commits[@]} -ge 10 ] || fail "FAILED - the series has ${#commits[@]} commits"
check 'a cover letter' test -s "$series.patches/0000-cover-letter.md"
git clone --quiet . "$scratch/am"
git -C "$scratch/am" checkout --quiet -b applied "${commits[0]}"
check 'git am' git -C "$scratch/am" am --quiet "$series.patches"/*.patch
[ "$(git rev-parse 'HEAD^{tree}')" = "$(git -C "$scratch/am" rev-parse 'HEAD^{tree}')" ] ||
    fail 'FAILED - git am makes another tree than the export'
passed 'the patches make the same tree'

# The kernels are the ones that the build here has compiled.
export CARGO_TARGET_DIR=$target/export CANDLE_HIP_CACHE=$target/rocm-kernels
# The versions that are tested here.
cp "$root/Cargo.lock" .
for commit in "${commits[@]:1}"; do
    git checkout --quiet "$commit"
    title=$(git log -1 --format=%s)
    check "feature off: $title" cargo check --quiet -p candle-core
    if grep -q '^rocm = ' candle-core/Cargo.toml; then
        check "feature on: $title" cargo check --quiet -p candle-core --features rocm
    fi
done
