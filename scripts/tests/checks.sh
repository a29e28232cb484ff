# shellcheck shell=bash
# Sourced by the tests in this folder. Each check prints a line "ok - WHAT", which test.sh counts; the first that fails
# ends the script.

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
cd "$root" || exit 1
export RUST_BACKTRACE=0

passed() { printf 'ok - %s\n' "$*"; }

# A command that must succeed.
check() { # WHAT COMMAND...
    local what=$1
    shift
    "$@" || fail "FAILED - $what: exit status $? of: $*"
    passed "$what"
}

# TEXT must contain each of the PARTS.
says() { # WHAT TEXT PART...
    local what=$1 text=$2 part
    shift 2
    for part in "$@"; do
        [[ "$text" == *"$part"* ]] || fail "FAILED - $what: no '$part' in:
$text"
    done
    passed "$what"
}

# A command that must fail, without a panic or a signal, and say each of the PARTS.
refuses() { # WHAT PART... -- COMMAND...
    local what=$1 text status=0 parts=()
    shift
    while [ "$1" != -- ]; do
        parts+=("$1")
        shift
    done
    shift
    text=$("$@" 2>&1 </dev/null) || status=$?
    [ "$status" != 0 ] || fail "FAILED - $what: succeeded: $*"
    # 101 is Rust's panic, 124 a timeout, from 129 on a signal.
    [[ $status != 101 && $status -lt 124 ]] || fail "FAILED - $what: exit status $status:
$text"
    says "$what" "$text" "${parts[@]}"
}

# shellcheck disable=SC2034
demo_model=demo-model/candle-rocm-demo-f16.gguf
# shellcheck disable=SC2034
quantized=$target/debug/examples/quantized
# shellcheck disable=SC2034
quantize_gguf=$target/debug/examples/quantize_gguf

# Runs COMMAND on an emulated target.
# shellcheck disable=SC2034
emulated() { # TARGET COMMAND...
    local arch=$1
    shift
    HIP_EMULATOR_ARCH=$arch CANDLE_HIP_LIBRARY=$(emulator_library debug) "$@"
}
