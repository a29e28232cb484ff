#!/usr/bin/env bash
# No warning of clippy in the workspace, with ROCm; shellcheck has none on the scripts.
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
examples=(quantize_gguf small-gguf quantized quantized-{gemma,glm4,lfm2,phi,qwen2-instruct,qwen3,qwen3-moe,t5})
mapfile -t examples < <(printf -- '--example\n%s\n' "${examples[@]}")
check 'clippy, with rocm' cargo clippy --quiet "${rocm_build[@]}" --lib "${examples[@]}" --test 'rocm_*' -- -D warnings
check 'clippy, own crates' cargo clippy --quiet -p candle-hip -p hip-emulator -p hip-nvidia --all-targets -- -D warnings
check 'clippy, bench' cargo clippy --quiet -p candle-bench --features rocm --all-targets -- -D warnings
check 'clippy, kernels' cargo clippy --quiet -p candle-kernels --no-default-features --features rocm --all-targets -- -D warnings
check 'clippy, feature off' cargo clippy --quiet -p candle-core -p candle-nn --lib -- -D warnings
