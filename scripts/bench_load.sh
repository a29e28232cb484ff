#!/usr/bin/env bash
# Loads a GGUF file that it makes, onto the first AMD card or, without a HIP runtime, onto an emulated one: seconds and
# peak host memory, and the seconds of a plain copy of the file.
#
#   scripts/bench_load.sh [--mib N]
#
#   --mib   size of the file (default 1024); the temporary folder needs twice as much
#
# On the emulator device memory is the program's own, so the tensors count as host memory once.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

mib=1024
while [[ $# -gt 0 ]]; do
    case $1 in
    --mib) mib=${2:?--mib wants a number} && shift ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) fail "unknown option $1" ;;
    esac
    shift
done
[[ $mib =~ ^[1-9][0-9]*$ ]] || fail "--mib wants a number, got '$mib'"

cd "$root"
if [[ -z ${CANDLE_HIP_LIBRARY:-} ]] && { ! amd_card || [[ -z $(hip_runtime) ]]; }; then
    say "no AMD card with a HIP runtime here: emulated"
    cargo build --quiet -p hip-emulator
    CANDLE_HIP_LIBRARY=$(emulator_library debug)
    export CANDLE_HIP_LIBRARY
fi
CANDLE_LOADING_MIB=$mib cargo test --quiet -p candle-core --features rocm --test rocm_quantized_loading -- --nocapture |
    grep ' MiB: loaded in '
