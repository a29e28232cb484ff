#!/usr/bin/env bash
# scripts/demo.sh says on its first line what it runs on, answers right, prints its speed and leaves no memory behind.
#
#   scripts/tests/demo.sh TARGET
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
arch=$1

answer=$(HIP_EMULATOR_LEDGER=1 scripts/demo.sh --arch "$arch" --prompt 'What is two plus three?' --tokens 20 --kernels default 2>&1) ||
    fail "FAILED - demo on $arch: exit status $?
$answer"
says "demo on $arch: the first line" "$(head -n 1 <<<"$answer")" "$arch" emulated
says "demo on $arch: the device" "$answer" "device: rocm:0 " "(emulated $arch)"
says "demo on $arch: the answer" "$answer" 'What is two plus three? Two plus three is five.'
says "demo on $arch: the speed" "$answer" 'prompt tokens processed: ' 'tokens generated: ' 'token/s'
says "demo on $arch: memory" "$answer" '0 live allocations (0 bytes) at exit'
