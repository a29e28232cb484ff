#!/usr/bin/env bash
# The emulator does what AMD's pseudocode says, for every mnemonic of the kernels as this machine's compiler makes them, on every
# target; its decoder reads what llvm-mc writes. docs/conformance.md says the same, if the same compiler made its code objects.
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
check "conformance of ${emulated_targets[*]}" scripts/conformance.sh --check "${emulated_targets[@]}"
