#!/usr/bin/env bash
# Compiles the kernels to AMD code objects by hand, with the very code that `build.rs` runs under the feature
# `rocm` (candle-kernels/build_rocm). The build needs no call of this; it is for looking at what the compiler makes.
#
#   scripts/compile_hip_kernels.sh --arch gfx90a[,gfx1100…|,all|,native] [--module NAME[,NAME…]] [--out DIR]
#
#   --arch    targets; default: $CANDLE_HIP_ARCHS, else the build's default
#   --module  modules (candle-kernels/src/rocm/modules.rs); default: all that the build compiles
#   --out     folder for MODULE-TARGET.co and, below hip/, the translated sources; default target/hip
#
# Needs rustc, a clang with the AMDGPU target, its lld, and ocml.bc; CANDLE_HIP_CLANG and CANDLE_HIP_OCML name others
# than those found. Compiled objects are kept in $CANDLE_HIP_CACHE (default target/rocm-kernels), shared with the build.
# Look at one with: llvm-readelf-19 --notes FILE; llvm-objdump-19 -d FILE
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
crate=$root/candle-kernels
target=${CARGO_TARGET_DIR:-$root/target}
cache=${CANDLE_HIP_CACHE:-$target/rocm-kernels}

command=compile
if [[ ${1:-} == --translate-only ]]; then # how translate_to_hip.sh calls this script
    command=translate
    shift
fi
case " $* " in
*" -h "* | *" --help "*)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac
out=(--out "$target/hip")
[[ " $* " == *" --out "* ]] && out=()

if [[ ! -d $crate/src/hip || ! -f $crate/src/affine.cu ]]; then
    echo "error: upstream's kernels are not in $crate/src; lay them with scripts/upstream.sh sync" >&2
    exit 1
fi
if ! command -v rustc >/dev/null; then
    echo "error: rustc was not found; install Rust from https://rustup.rs" >&2
    exit 1
fi

tool=$target/rocm-kernels/kernel-tool
sources=("$crate"/build_rocm/*.rs "$crate"/src/rocm/{modules,targets}.rs)
if [[ ! -x $tool || -n $(find "${sources[@]}" -newer "$tool") ]]; then
    mkdir -p "$(dirname "$tool")"
    rustc --edition 2021 -O -o "$tool.$$" "$crate/build_rocm/tool.rs"
    mv "$tool.$$" "$tool"
fi
exec "$tool" "$command" --crate "$crate" --cache "$cache" "${out[@]}" "$@"
