#!/usr/bin/env bash
# Counts again what the kernels execute on each emulated target, and writes the counts down for test and reader.
#
#   scripts/counters.sh [TARGET…]    write candle-nn/tests/rocm_counters/expected/TARGET.tsv (default: all), then docs/counters.md
#   scripts/counters.sh --page       docs/counters.md alone, from the files that are there
#   scripts/counters.sh --check      exit 1 if docs/counters.md is not what those files give
#
# The test rocm_counters fails when a kernel executes 5 % more or fewer instructions than written down. Run this when that is
# meant, and say in the commit why.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"

page=docs/counters.md
case ${1:-} in
-h | --help) usage && exit ;;
--check)
    python3 scripts/counters_page.py "${emulated_targets[@]}" | cmp -s - $page || fail "$page is out of date: scripts/counters.sh --page"
    exit
    ;;
--page) ;;
-*) usage >&2 && fail "unknown option $1" ;;
*)
    targets=("$@")
    [ $# -gt 0 ] || targets=("${emulated_targets[@]}")
    cargo build --quiet "${rocm_build[@]}" --lib
    for arch in "${targets[@]}"; do
        [[ " ${emulated_targets[*]} " == *" $arch "* ]] || fail "$arch: the emulator knows ${emulated_targets[*]}"
        CANDLE_COUNTERS=write HIP_EMULATOR_ARCH=$arch CANDLE_HIP_LIBRARY=$(emulator_library debug) \
            cargo test --quiet -p candle-nn --features rocm --test rocm_counters >/dev/null ||
            fail "the test rocm_counters does not run on $arch"
        say "$arch counted"
    done
    ;;
esac
python3 scripts/counters_page.py "${emulated_targets[@]}" >$page
