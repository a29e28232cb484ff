#!/usr/bin/env bash
# No warning of clippy in the workspace, with ROCm; shellcheck has none on the scripts.
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
check 'clippy, with rocm' cargo clippy --quiet "${rocm_build[@]}" --lib --example quantized --example quantize_gguf --test 'rocm_*' -- -D warnings
check 'clippy, own crates' cargo clippy --quiet -p candle-hip -p hip-emulator --all-targets -- -D warnings
check 'clippy, kernels' cargo clippy --quiet -p candle-kernels --no-default-features --features rocm --all-targets -- -D warnings
check 'clippy, feature off' cargo clippy --quiet -p candle-core --lib -- -D warnings
