#!/usr/bin/env bash
# The one build with ROCm that the later steps share: libraries, the emulator, the examples, the tests.
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
check 'libraries and examples' cargo build --quiet "${rocm_build[@]}" --lib --example quantized --example quantize_gguf
check 'tests' cargo test --quiet --no-run "${rocm_build[@]}" --lib --test 'rocm_*'
