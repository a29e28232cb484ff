#!/usr/bin/env bash
# Holds every commit of the exported series against upstream's own rules, and its tests: formatting, clippy and `cargo test` of the
# crates that the commit touches, without the feature and, from where there is one, with it on an emulated card.
#
#   scripts/series.sh [--arch A] [--from N] [--to N] [--again]
#
#   --arch   the emulated target (default: gfx1100)
#   --from, --to   the first and the last commit to look at, counted from 1 (pristine upstream is 0)
#   --again  look at commits that have passed before as well (they are known by their trees)
#
# Upstream's CI runs `cargo fmt --all -- --check`, `cargo clippy --workspace --tests --examples -- -D warnings` and `cargo test`.
# Where clippy is newer than upstream and warns of upstream's own lines, warnings that pristine upstream has as well do not count.
# candle-kernels wants CUDA without the feature, as upstream's does. candle-examples: the examples are linted, not linked.
# A line for each crate of a commit; logs lie in target/series/logs. It takes an hour or two: CI runs tests/export.sh instead.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"

arch=gfx1100 from=1 to=999 again=''
while [ $# -gt 0 ]; do
    case $1 in
    --arch | --from | --to)
        [ $# -ge 2 ] || fail "$1 needs a value"
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    --again) again=1 && shift ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && fail "unknown option $1" ;;
    esac
done
[[ $from =~ ^[1-9][0-9]*$ && $to =~ ^[1-9][0-9]*$ ]] || fail "--from $from --to $to: numbers from 1 on"
[[ " ${emulated_targets[*]} " == *" $arch "* ]] || fail "--arch $arch: the emulator knows ${emulated_targets[*]}"

# One tree, in which each commit replaces the files that differ from the last one's, so that cargo builds those anew.
work=$target/series tree=$target/series/tree logs=$target/series/logs passed=$target/series/passed
mkdir -p "$work/.cargo" "$logs" "$passed"
# The profile of this workspace: an emulator and products on the CPU that are not optimised take hours.
sed -n '/^\[profile\.dev/,/^$/p' Cargo.toml >"$work/.cargo/config.toml"
export GIT_AUTHOR_NAME=test GIT_AUTHOR_EMAIL=test@localhost GIT_COMMITTER_NAME=test GIT_COMMITTER_EMAIL=test@localhost
export RUST_BACKTRACE=0 CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
cargo build --quiet -p hip-emulator
emulator=$(emulator_library debug)
exported=$(mktemp -d)
trap 'rm -rf "$exported"' EXIT
scripts/upstream.sh export "$exported/series" >"$logs/export.log"
[ -d "$tree/.git" ] || git init --quiet "$tree"
git -C "$tree" fetch --quiet "$exported/series" main
mapfile -t commits < <(git -C "$tree" rev-list --reverse FETCH_HEAD)
versions=$root/Cargo.lock
cd "$tree"
export CARGO_TARGET_DIR=$work/target CANDLE_HIP_CACHE=$target/rocm-kernels

checkout() { # COMMIT
    git checkout --quiet --force "$1"
    # The versions that are tested here; cargo drops those of crates that the commit does not have.
    cmp -s "$versions" Cargo.lock || cp "$versions" Cargo.lock
}

# Cargo's options that turn a crate's feature off or on; fails where it cannot be built so.
options() { # CRATE off|on
    case $1:$2 in
    candle-kernels:off) return 1 ;;
    candle-kernels:on) grep -q '^rocm = ' "$1/Cargo.toml" && echo --no-default-features --features rocm ;;
    *:off) echo ;;
    *:on) grep -q '^rocm = ' "$1/Cargo.toml" && echo --features rocm ;;
    esac
}

# Clippy's warnings about a crate, each as file and words, without line numbers.
warnings() { # LOG CRATE OPTIONS...
    local log=$1 crate=$2
    shift 2
    cargo clippy --quiet --message-format=short --no-deps -p "$crate" "$@" --tests --examples >"$log" 2>&1 || return 1
    sed -n 's/^\([^ :]*\):[0-9]*:[0-9]*: \(warning\|error\)/\1/p' "$log" | LC_ALL=C sort -u
}

# What clippy says of a crate as published, asked once.
published() { # CRATE
    local known=$work/published-$1
    if [ ! -e "$known" ]; then
        local here
        here=$(git rev-parse HEAD)
        checkout "${commits[0]}"
        if [ -d "$1" ]; then warnings "$logs/published-$1.log" "$1" >"$known.new"; else : >"$known.new"; fi
        mv "$known.new" "$known"
        checkout "$here"
    fi
    cat "$known"
}

# Each prints its outcome, and fails with it.
lint() { # LOG CRATE OPTIONS...
    local found new crate=$2
    if ! found=$(warnings "$@"); then echo 'does not build' && return 1; fi
    new=$(LC_ALL=C comm -13 <(published "$crate") <(printf '%s' "${found:+$found$'\n'}"))
    [ -z "$new" ] || { printf '%s\n' "$new" >>"$1" && echo "$(wc -l <<<"$new") warnings" && return 1; }
    echo clean
}
run_tests() { # LOG CRATE OPTIONS...
    local log=$1 crate=$2 which=()
    shift 2
    [ "$crate" != candle-examples ] || which=(--lib --tests)
    if timeout --kill-after=10 5400 cargo test -p "$crate" "$@" "${which[@]}" >"$log" 2>&1 </dev/null; then
        awk '/^test result: ok\. / { n += $4 } END { print n + 0 }' "$log"
    else
        echo "FAILED ($(grep -cE '^test .* FAILED$' "$log" || true))" && return 1
    fi
}

failures=0
settled() { [[ $1 != *FAILED* && $1 != *warnings* && $1 != *'not build'* ]]; }
printf '%-3s %-16s %-10s %-15s %-15s %-13s %-13s %6s\n' n crate format 'clippy off' 'clippy on' 'tests off' 'tests on' s
for ((n = from; n < ${#commits[@]} && n <= to; n++)); do
    commit=${commits[n]}
    key=$(git rev-parse "$commit^{tree}")-$arch
    printf -- '--- %s\n' "$(git log -1 --format=%s "$commit")"
    if [ -z "$again" ] && [ -e "$passed/$key" ]; then
        cat "$passed/$key"
        continue
    fi
    # The published crates' warnings first: finding them out changes the tree.
    mapfile -t crates < <(git diff --name-only "$commit^" "$commit" | sed -n 's,/.*,,p' | sort -u | while read -r crate; do
        if git cat-file -e "$commit:$crate/Cargo.toml" 2>/dev/null; then printf '%s\n' "$crate"; fi
    done)
    checkout "$commit"
    for crate in "${crates[@]}"; do [ "$crate" = candle-kernels ] || published "$crate" >"$logs/published"; done
    : >"$work/lines"
    bad=0
    for crate in "${crates[@]}"; do
        started=$SECONDS
        format=ok off=- on=- tests_off=- tests_on=-
        cargo fmt --all -- --check >"$logs/$n-$crate-format.log" 2>&1 || format=FAILED
        if [ "$crate" = candle-kernels ]; then : >"$work/published-$crate"; fi
        if chosen=$(options "$crate" off); then
            # shellcheck disable=SC2086 # words
            off=$(lint "$logs/$n-$crate-clippy-off.log" "$crate" $chosen) || true
            # shellcheck disable=SC2086
            tests_off=$(run_tests "$logs/$n-$crate-tests-off.log" "$crate" $chosen) || true
        fi
        if chosen=$(options "$crate" on); then
            # shellcheck disable=SC2086
            on=$(lint "$logs/$n-$crate-clippy-on.log" "$crate" $chosen) || true
            # shellcheck disable=SC2086
            tests_on=$(HIP_EMULATOR_ARCH=$arch CANDLE_HIP_LIBRARY=$emulator run_tests "$logs/$n-$crate-tests-on.log" "$crate" $chosen) || true
        fi
        for outcome in "$format" "$off" "$on" "$tests_off" "$tests_on"; do settled "$outcome" || bad=1; done
        printf '%-3s %-16s %-10s %-15s %-15s %-13s %-13s %6s\n' "$n" "$crate" "$format" "$off" "$on" "$tests_off" "$tests_on" \
            $((SECONDS - started)) | tee -a "$work/lines"
    done
    if [ $bad = 0 ]; then cp "$work/lines" "$passed/$key"; else failures=$((failures + 1)); fi
done
printf '%s commits failed\n' "$failures"
[ "$failures" = 0 ]
