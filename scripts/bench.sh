#!/usr/bin/env bash
# Times candle on a card: on an AMD card rocm, on an NVIDIA card the CUDA backend and rocm (through hip-nvidia) side by side.
#
#   scripts/bench.sh build [--nvidia sm_90]      where Rust is; with --nvidia also a CUDA toolkit (CUDA_HOME), but no card
#   scripts/bench.sh run [--out DIR] [--trace] [OPTIONS of candle-bench]      where the card is (no Rust needed)
#   scripts/bench.sh smoke                       a few small cases on the emulator: does it run? The times mean nothing
#
#   --nvidia    the card's architecture (nvidia-smi --query-gpu=compute_cap --format=csv: 9.0 is sm_90)
#   --out       where results go (default: target/bench): bench.json, tables.md, plot.png with Python's matplotlib
#   --trace     NVIDIA, with CUPTI: also what one decoded token costs on either side, in calls and kernels
#   --traces    of which models (default: 7b:q4_0,7b:q4k)
#   --ggml      candle-bench's: a folder with ggml's kernels, compiled, for the lane of that name (docs/benchmarks/README.md)
#
# build leaves everything that run needs in target/bench-pack; on another machine, have this repository with that
# folder. `run -- --help` lists candle-bench's options. docs/benchmarks/README.md says what the numbers mean.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"
pack=$root/target/bench-pack

# A folder in which the linker finds CUDA's libraries by their plain names, also where only PyPI's packages with their
# versioned ones are there, and a stand-in for the driver's library, which only machines with a card have.
cuda_libraries() { # FOLDER
    local folder=$1 name found
    mkdir -p "$folder"
    for name in cudart cublas cublasLt curand nvrtc; do
        found=$({ find -L "$CUDA_HOME"/lib "$CUDA_HOME"/lib64 "$CUDA_HOME"/targets/*/lib -maxdepth 1 -name "lib$name.so*" 2>/dev/null || true; } |
            sort | head -n 1)
        [ -n "$found" ] || fail "lib$name.so is in none of the library folders of $CUDA_HOME (CUDA_HOME)"
        ln -sfn "$found" "$folder/lib$name.so"
    done
    echo 'void candle_bench_stub(void) {}' |
        cc -shared -fPIC -x c - -Wl,-soname,libcuda.so.1 -o "$folder/libcuda.so"
}

build() {
    local features=rocm stage
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target/bench-build} CARGO_TERM_COLOR=never
    stage=$CARGO_TARGET_DIR/pack
    rm -rf "$stage"
    mkdir -p "$stage" "$pack"
    scripts/upstream.sh sync >&2
    if [ -n "$nvidia" ]; then
        [ -n "${CUDA_HOME:-}" ] || fail "CUDA_HOME must name the CUDA toolkit's folder (docs/nvidia.md says how to have one)"
        cuda_libraries "$CARGO_TARGET_DIR/cuda-libraries"
        features=cuda,rocm
        export CANDLE_HIP_ARCHS=$nvidia CUDA_COMPUTE_CAP=${nvidia#sm_} PATH=$CUDA_HOME/bin:$PATH
        export LIBRARY_PATH=$CARGO_TARGET_DIR/cuda-libraries${LIBRARY_PATH:+:$LIBRARY_PATH}
        # The driver's functions are bound when the program starts, from the card's machine's libcuda.
        export RUSTFLAGS="${RUSTFLAGS:-} -C link-arg=-Wl,--unresolved-symbols=ignore-all"
        cargo build --release -p hip-nvidia --lib
        strip -o "$stage/libhip_nvidia.so" "$CARGO_TARGET_DIR/release/libhip_nvidia.so"
        trace_library "$stage"
    fi
    cargo build --release -p candle-bench --features "$features"
    strip -o "$stage/candle-bench" "$CARGO_TARGET_DIR/release/candle-bench"
    tar -C "$stage" -c . | xz -T0 -3 >"$pack/pack.tar.xz"
    say "$(du -h "$pack/pack.tar.xz" | cut -f1) in $pack; now, where the card is: scripts/bench.sh run"
}

# CUPTI is a part of most toolkits, or the PyPI package nvidia-cuda-cupti (CUPTI_HOME).
trace_library() { # FOLDER
    local cupti
    for cupti in "${CUPTI_HOME:-}" "$CUDA_HOME/extras/CUPTI" "$CUDA_HOME"; do
        [ -e "$cupti/include/cupti.h" ] || continue
        ln -sfn "$(find -L "$cupti"/lib* -maxdepth 1 -name 'libcupti.so*' | sort | head -n 1)" \
            "$CARGO_TARGET_DIR/cuda-libraries/libcupti.so"
        cc -O2 -shared -fPIC -I"$cupti/include" -I"$CUDA_HOME/include" candle-bench/trace/trace.c \
            -o "$1/libtrace.so" -L"$CARGO_TARGET_DIR/cuda-libraries" -lcupti
        return
    done
    say "no CUPTI in CUPTI_HOME or CUDA_HOME: run --trace will not be there"
}

# The folder of a library that may only be part of a Python package.
python_library() { # PATTERN
    python3 -c 'import glob, site, sys
paths = [p for s in site.getsitepackages() for p in glob.glob(s + "/nvidia/**/" + sys.argv[1], recursive=True)]
print(sorted(paths)[-1].rsplit("/", 1)[0] if paths else "")' "$1" 2>/dev/null || true
}

prepare() {
    [ -f "$pack/pack.tar.xz" ] || fail "$pack/pack.tar.xz is missing: scripts/bench.sh build makes it"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    tar -C "$work" -xJf "$pack/pack.tar.xz"
    mkdir -p "$out"
    bench=("$work/candle-bench")
    [ -e "$work/libhip_nvidia.so" ] || return 0
    # Where the build had only a stand-in for libcuda, the linker left it out.
    bench=(env LD_PRELOAD=libcuda.so.1 "$work/candle-bench")
    command -v nvidia-smi >/dev/null || fail "nvidia-smi is missing: this pack is for an NVIDIA card and its driver"
    nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total --format=csv,noheader | tee "$out/card.txt"
    export CANDLE_HIP_LIBRARY=$work/libhip_nvidia.so CANDLE_ROCBLAS_LIBRARY=$work/libhip_nvidia.so
    local library folder
    for library in libcublas.so.1[23] libcurand.so.10 libnvrtc.so.1[23] libcudart.so.1[23] libcupti.so.1[23]; do
        ldconfig -p | grep -q "${library%.so*}\.so" && continue
        folder=$(python_library "$library")
        [ -z "$folder" ] || export LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    done
}

# candle-bench, its results and what it says in files of that name. What it could not measure is in all three.
failed=''
measure() { # NAME OPTIONS...
    local name=$1
    shift
    "${bench[@]}" --json "$out/$name.json" "$@" >"$out/$name.md" 2> >(tee "$out/$name.log" >&2) || failed+=" $name"
    [ ! -e "$out/$name.json" ] || results+=("$out/$name.json")
}

# What a decoded token costs: two runs that differ in the number of tokens.
trace() { # LANE MODEL TYPE
    local tokens count name=$1-$2-$3
    for tokens in 8 40; do
        # One round besides the first: each token is decoded twice.
        CUDA_INJECTION64_PATH=$work/libtrace.so CANDLE_BENCH_TRACE=$work/$tokens.tsv CANDLE_BENCH_TRACE_KERNELS=1 \
            "${bench[@]}" --groups model --lanes "$1" --models "$2" --model-types "$3" --rounds 1 --decode "$tokens" \
            --folder "${folder:-$work}" --keep >/dev/null 2>"$out/trace-$name.log" || {
            say "tracing $name failed: $(tail -n 3 "$out/trace-$name.log")"
            failed+=" trace-$name"
            return 0
        }
    done
    count=$((2 * (40 - 8)))
    python3 candle-bench/trace/per_token.py "$work/8.tsv" "$work/40.tsv" "$count" >"$out/trace-$name.md"
}

run() {
    # candle-bench's options, without the groups.
    local groups='' rest=()
    while [ $# -gt 0 ]; do
        case $1 in
        --groups) groups+=,${2:-} && shift ;;
        --groups=*) groups+=,${1#*=} ;;
        *) rest+=("$1") ;;
        esac
        shift
    done
    prepare
    measure bench ${groups:+--groups "${groups#,}"} "${rest[@]}"
    if [[ -z $groups || $groups, == *,gemm,* ]]; then
        # The dense products by rocBLAS, or on NVIDIA by cuBLAS behind its interface: read once a process.
        CANDLE_ROCM_GEMM=rocblas measure gemm-rocblas --groups gemm "${rest[@]}"
    fi
    if [ -n "$traced" ]; then
        [ -e "$work/libtrace.so" ] || fail "--trace: the pack was built without CUPTI"
        local model lane
        for model in ${traces//,/ }; do
            for lane in cuda rocm; do
                trace "$lane" "${model%:*}" "${model#*:}"
            done
            rm -f "${folder:-$work}/candle-bench-${model/:/-}.gguf"
        done
    fi
    [ ${#results[@]} -gt 0 ] || fail "candle-bench left no results: see $out/bench.log"
    python3 candle-bench/tables.py "${results[@]}" >"$out/tables.md"
    python3 candle-bench/plot.py "${results[@]}" "$out/plot.png" || say "no plot: it needs Python's matplotlib"
    say "results in $out"
    [ -z "$failed" ] || fail "not all was measured, see the logs of:$failed"
}

smoke() {
    cargo build -p hip-emulator
    cargo build -p candle-bench --features rocm
    CANDLE_HIP_LIBRARY=$(emulator_library debug) "$target/debug/candle-bench" --smoke
}

mode=${1:-} nvidia='' traced='' traces=7b:q4_0,7b:q4k out=$root/target/bench folder=''
[ $# = 0 ] || shift
options=() results=()
while [ $# -gt 0 ]; do
    case $1 in
    --nvidia | --out | --traces)
        [ $# -ge 2 ] || fail "$1 needs a value"
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    # candle-bench's, but traces put their models there as well.
    --folder)
        [ $# -ge 2 ] || fail "$1 needs a value"
        folder=$2
        options+=("$1" "$2") && shift 2
        ;;
    --trace) traced=1 && shift ;;
    --) shift ;;
    *) options+=("$1") && shift ;;
    esac
done
case $mode in
build) build ;;
run) run "${options[@]}" ;;
smoke) smoke ;;
-h | --help) usage ;;
*) usage >&2 && fail "say build, run or smoke" ;;
esac
