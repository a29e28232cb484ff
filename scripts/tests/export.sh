#!/usr/bin/env bash
# The exported series: pristine upstream first, then our commits, each of which passes cargo check with and without ROCm.
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export GIT_AUTHOR_NAME=test GIT_AUTHOR_EMAIL=test@localhost GIT_COMMITTER_NAME=test GIT_COMMITTER_EMAIL=test@localhost
check 'export' scripts/upstream.sh export "$scratch/series"
cd "$scratch/series"
export CARGO_TARGET_DIR=$target/export
# The versions that are tested here.
cp "$root/Cargo.lock" .
mapfile -t commits < <(git rev-list --reverse HEAD)
[ ${#commits[@]} -ge 2 ] || fail "FAILED - the series has ${#commits[@]} commits"
for commit in "${commits[@]:1}"; do
    git checkout --quiet "$commit"
    title=$(git log -1 --format=%s)
    check "feature off: $title" cargo check --quiet -p candle-core
    if grep -q '^rocm = ' candle-core/Cargo.toml; then
        check "feature on: $title" cargo check --quiet -p candle-core --features rocm
    fi
done
