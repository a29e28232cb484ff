#!/usr/bin/env bash
# Translates upstream candle's CUDA kernels (candle-kernels/src/**/*.cu and .cuh) to HIP sources, with the very code
# that `build.rs` runs under the feature `rocm` (candle-kernels/build_rocm/translate.rs).
#
#   scripts/translate_to_hip.sh [--out DIR]        default: target/hip/hip
#
# Names are renamed by a table and CUDA's headers dropped; candle-kernels/src/hip/include/cuda_compat.h replaces them
# (clang -include). The result is generated: it is never tracked and never edited.
set -euo pipefail

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case " $* " in
*" -h "* | *" --help "*)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
*" --out "*) exec "$scripts/compile_hip_kernels.sh" --translate-only "$@" ;;
*) exec "$scripts/compile_hip_kernels.sh" --translate-only --out "${CARGO_TARGET_DIR:-$scripts/../target}/hip/hip" "$@" ;;
esac
