#!/usr/bin/env bash
# Counts again what the kernels execute on each emulated target, and writes the counts down for test and reader.
#
#   scripts/counters.sh [TARGET…]    write candle-nn/tests/rocm_counters/expected/TARGET.tsv (default: all), then the pages
#   scripts/counters.sh --page       the pages alone, docs/counters.md and docs/predictions.md, from the files that are there
#   scripts/counters.sh --check      exit 1 if a page is not what those files give
#
# The test rocm_counters fails when a kernel executes 5 % more or fewer instructions than written down. Run this when that is
# meant, and say in the commit why.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"

counters() { python3 scripts/counters_page.py "${emulated_targets[@]}"; }
predictions() { python3 scripts/predictions_page.py; }

case ${1:-} in
-h | --help) usage && exit ;;
--check)
    for page in counters predictions; do
        $page | cmp -s - docs/$page.md || fail "docs/$page.md is out of date: scripts/counters.sh --page"
    done
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
counters >docs/counters.md
predictions >docs/predictions.md
