#!/usr/bin/env bash
# Compares the emulator with AMD's pseudocode for every mnemonic in our code objects (emulated).
#   scripts/conformance.sh [TARGET…]      default: gfx1100 gfx90a; writes docs/conformance.md
# Needs code objects in target/rocm-kernels (any build of candle-kernels with the rocm feature), python3
# with pip, llvm-mc-19, llvm-objdump-19 and ld.lld-19. The pseudocode comes with a PyPI wheel, which is
# kept under target/ and never tracked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wheel=target/conformance
if [[ ! -e $wheel/tinygrad/runtime/autogen/amd/rdna3/str_pcode.py ]]; then
    mkdir -p "$wheel"
    python3 -m pip download --quiet --no-deps --dest "$wheel" tinygrad==0.14.0
    python3 -m zipfile -e "$wheel"/tinygrad-0.14.0-py3-none-any.whl "$wheel"
fi
mkdir -p "$wheel/work" docs
cargo build --quiet -p hip-emulator --example conformance

targets=("$@")
[[ ${#targets[@]} -gt 0 ]] || targets=(gfx1100 gfx90a)
PYTHONDONTWRITEBYTECODE=1 python3 hip-emulator/conformance/conform.py \
    --wheel "$wheel" --objects target/rocm-kernels --runner target/debug/examples/conformance \
    --work "$wheel/work" --report docs/conformance.md "${targets[@]}"
