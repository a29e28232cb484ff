#!/usr/bin/env bash
# Without the feature, candle-core builds on a machine that has neither clang nor HIP, and knows nothing of them; with it, a
# binary links no HIP library.
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

# A PATH with every command of this machine but compilers for AMD targets.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
IFS=: read -ra folders <<<"$PATH"
for folder in "${folders[@]}"; do
    for program in "$folder"/*; do
        case ${program##*/} in
        *clang* | *llvm* | *lld* | hipcc* | hipconfig*) ;;
        *) [ -e "$scratch/${program##*/}" ] || ln -s "$program" "$scratch/${program##*/}" ;;
        esac
    done
done
plain() { env -u ROCM_PATH -u HIP_PATH -u CANDLE_HIP_CLANG -u CANDLE_HIP_LIBRARY PATH="$scratch" "$@"; }

! plain sh -c 'command -v clang || command -v clang-19' >/dev/null || fail 'FAILED - clang is still in PATH'
check 'candle-core builds without clang' plain env CARGO_TARGET_DIR="$target/without-rocm" cargo build --quiet -p candle-core
tree=$(cargo tree --prefix none -p candle-core -e normal,build)
[[ "$tree" != *candle-hip* && "$tree" != *candle-kernels* ]] || fail "FAILED - the plain candle-core depends on them: $tree"
passed 'candle-core depends on neither candle-hip nor candle-kernels'

libraries=$(ldd "$quantized")
[[ "$libraries" != *hip* && "$libraries" != *rocblas* ]] || fail "FAILED - linked: $libraries"
passed 'a binary with rocm links no HIP library'
