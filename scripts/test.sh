#!/usr/bin/env bash
# Sets up and runs every suite; ends with a line per step, "name ok|failed seconds", and the totals.
#
#   scripts/test.sh [--arch A] [--quick] [--only PATTERN]
#
#   --arch   emulate this target only (default: the tuned ones of each family, cards that take generic code objects, and the
#            AMD card of this machine if there is one)
#   --quick  leave out formatting, lints and the export of the patch series
#   --only   steps whose name matches the shell pattern, such as 'rocm-*' or build
#
# Each step's output goes to target/test-logs/NAME.log; of one that failed, the end is shown. A step in which no test ran has
# failed. The exit status is 0 when all passed. Targets take their turns two at a time: much of a test's time one thread waits
# for another.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"

archs=("${emulated_targets[@]}") cards=("${generic_cards[@]}") quick='' only='*'
while [ $# -gt 0 ]; do
    case $1 in
    --arch | --only)
        [ $# -ge 2 ] || fail "$1 needs a value"
        if [ "$1" = --only ]; then only=$2; else archs=("$2") cards=(); fi
        shift 2
        ;;
    --quick) quick=1 && shift ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && fail "unknown option $1" ;;
    esac
done
[[ " ${emulated_targets[*]} " == *" ${archs[0]} "* ]] || fail "--arch ${archs[0]}: the emulator knows ${emulated_targets[*]}"

logs=$target/test-logs
mkdir -p "$logs"
results=$(mktemp)
trap 'rm -f "$results"' EXIT
# Nothing of the caller's chooses another device behind the tests' back.
unset CANDLE_HIP_LIBRARY HIP_EMULATOR_ARCH
export CARGO_TERM_COLOR=never
# Messages must say by themselves what they say; a backtrace may hold any word.
export RUST_BACKTRACE=0
# Nothing is built twice in CI, and no backtrace is read: files for incremental builds cost time and, for all crates, ten
# gigabytes; line tables in each of the tests' programs as much again.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0

# Tests that a log reports: cargo's totals, the lines of scripts/tests and the total of count_device_tests.sh.
tests_in() { awk '/^test result: ok\. / { n += $4 } /^ok - / { n++ } /^[0-9]+ of [0-9]+ passed/ { n += $1 } END { print n + 0 }' "$1"; }

step() { # NAME COMMAND...
    local name=$1 log=$logs/$1.log started=$SECONDS status=0 outcome
    shift
    # shellcheck disable=SC2053 # a pattern
    [[ $name == $only ]] || return 0
    timeout --kill-after=10 1500 "$@" >"$log" 2>&1 </dev/null || status=$?
    if [ $status != 0 ]; then
        outcome="failed (status $status)"
    elif [ "$(tests_in "$log")" = 0 ]; then
        outcome='failed (no test ran)'
    else
        outcome='ok'
    fi
    printf '%-22s %-22s %5s s %5s tests\n' "$name" "$outcome" $((SECONDS - started)) "$(tests_in "$log")" | tee -a "$results"
    [ "$outcome" = ok ] || tail -n 60 "$log" | sed 's/^/    /'
}

# Runs the commands, two at a time.
two_at_a_time() { # COMMAND... (one word with its arguments)
    local command
    for command in "$@"; do
        while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
        # shellcheck disable=SC2086 # words
        $command &
    done
    wait
}

tests=scripts/tests

step setup $tests/setup.sh
if [ -z "$quick" ]; then
    step format $tests/format.sh
fi
step shellcheck $tests/shellcheck.sh
step tracked-files $tests/tracked_files.sh
step hip cargo test -p candle-hip
step emulator cargo test -p hip-emulator
step nvidia cargo test -p hip-nvidia
step kernels cargo test -p candle-kernels --no-default-features --features rocm
step upstream cargo test -p candle-core -p candle-transformers
step build $tests/build.sh
step docs $tests/docs.sh
step outside $tests/outside.sh "${archs[0]}"

on_target() { # TARGET
    local arch=$1
    local emulator=(env HIP_EMULATOR_ARCH="$arch" CANDLE_HIP_LIBRARY="$(emulator_library debug)")
    # Two targets at a time keep the cores busy: the CPU's products need not wait for threads of their own.
    local -x RAYON_NUM_THREADS=1
    step "lib-$arch" "${emulator[@]}" cargo test "${rocm_build[@]}" --lib
    step "rocm-core-$arch" "${emulator[@]}" $tests/suite.sh candle-core 'rocm_*'
    step "rocm-nn-$arch" "${emulator[@]}" $tests/suite.sh candle-nn 'rocm_*'
    step "upstream-$arch" "${emulator[@]}" scripts/count_device_tests.sh --run
    step "rocm-examples-$arch" "${emulator[@]}" $tests/suite.sh candle-examples 'rocm_*'
    step "demo-$arch" $tests/demo.sh "$arch"
    step "examples-$arch" $tests/examples.sh "$arch"
    step "words-$arch" $tests/words.sh "$arch"
}

# A card without code objects of its own.
on_card() { # TARGET
    local emulator=(env HIP_EMULATOR_ARCH="$1" CANDLE_HIP_LIBRARY="$(emulator_library debug)")
    step "generic-$1" "${emulator[@]}" $tests/suite.sh candle-core \
        'rocm_@(operations|gemm|quantized|quantized_experts)'
    step "demo-$1" $tests/demo.sh "$1"
}

# The AMD card of this machine.
on_hardware() {
    local skip
    mapfile -t skip < <(printf -- '--skip\n%s\n' "${emulator_only[@]}")
    step rocm-core-card $tests/suite.sh candle-core 'rocm_*' "${skip[@]}"
    step rocm-nn-card $tests/suite.sh candle-nn 'rocm_*' "${skip[@]}"
    step upstream-card scripts/count_device_tests.sh --run
    step rocm-examples-card $tests/suite.sh candle-examples 'rocm_*'
}

[ ${#cards[@]} = 0 ] || ! amd_card || [ -z "$(hip_runtime)" ] || on_hardware
two_at_a_time "${archs[@]/#/on_target }" "${cards[@]/#/on_card }"
step conformance $tests/conformance.sh
step refusals $tests/refusals.sh
step without-rocm $tests/without_rocm.sh
if [ -z "$quick" ]; then
    step lint $tests/lint.sh
    step export $tests/export.sh
fi

[ -s "$results" ] || fail "nothing is called '$only'"
printf '\n'
LC_ALL=C sort "$results"
failed=$(grep -cE '^[^ ]+ +failed' "$results" || true)
printf '%s passed, %s failed\n' $(($(wc -l <"$results") - failed)) "$failed"
[ "$failed" = 0 ]
