#!/usr/bin/env bash
# Fuzzes the readers of GGUF, GGML and imatrix files: each target for SECONDS (60), starting from the regression corpus
# in candle-core/tests/rocm_readers/corpus. What holds for every file stands in invariants.rs beside it.
#
#   fuzz.sh [SECONDS [TARGET...]]        targets: gguf_file ggml_file imatrix_file
#
# Needs cargo-fuzz (`cargo install cargo-fuzz`) and a C++ compiler; a stable toolchain will do. Inputs that reach new code
# are kept in target/fuzz/corpus, findings in target/fuzz/artifacts. A finding goes into the regression corpus,
# minimised by `cargo fuzz tmin`, together with its mend.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

case ${1:-60} in
*[!0-9]*) usage >&2 && exit 2 ;;
esac
seconds=${1:-60}
targets=("${@:2}")
[ ${#targets[@]} != 0 ] || targets=(gguf_file ggml_file imatrix_file)
command -v cargo-fuzz >/dev/null || fail "cargo-fuzz is missing: cargo install cargo-fuzz"

cd "$root"
# The fuzzer's sanitizers are unstable flags of rustc; nothing else of a nightly toolchain is asked for.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$target/fuzz
# The importance matrix is read from a file: in memory, where there is such a place.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm

for name in "${targets[@]}"; do
    seeds=candle-core/tests/rocm_readers/corpus/${name%_file}
    [ -d "$seeds" ] || fail "there is no target $name"
    kept=$CARGO_TARGET_DIR/corpus/$name findings=$CARGO_TARGET_DIR/artifacts/$name
    mkdir -p "$kept" "$findings"
    cargo fuzz run --fuzz-dir fuzz "$name" "$kept" "$seeds" -- \
        -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 -use_value_profile=1 \
        -artifact_prefix="$findings/" -print_final_stats=1
done
