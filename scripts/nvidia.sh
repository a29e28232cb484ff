#!/usr/bin/env bash
# The suites on an NVIDIA card, through hip-nvidia: the same host code and kernels as on an AMD card, on real silicon.
#
#   scripts/nvidia.sh build [--arch sm_90] [--tests NAMES]      where Rust and nvcc are (no card needed)
#   scripts/nvidia.sh run [--only PATTERN] [--jobs N] [--limit S] [--sanitize] [--logs DIR]   where the card is (no Rust needed; nvcc for one suite)
#
#   --arch      the card's architecture (nvidia-smi --query-gpu=compute_cap --format=csv: 9.0 is sm_90)
#   --tests     only test programs of these names, patterns as cargo takes them, such as 'rocm_quantized*,rocm_moe'
#   --only      steps whose name matches the shell pattern, such as 'core-*'
#   --jobs      steps at a time (default: half of the cores)
#   --limit     seconds that a step may take (default: 900)
#   --sanitize  also compute-sanitizer's memcheck and racecheck over the suites of quantized and fused operations
#   --logs      leave the steps' logs there, as one archive (default: as files in target/nvidia-logs)
#
# build leaves everything that run needs in target/nvidia-pack, about 40 MB; on another machine, have this repository
# with that folder. The exit status is 0 when all passed.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"
pack=$root/target/nvidia-pack

build() { # ARCH
    local stage name path chosen=()
    IFS=, read -ra chosen <<<"$tests"
    if [ -n "$tests" ]; then chosen=("${chosen[@]/#/--test=}"); else chosen=(--tests); fi
    # A folder of its own: other targets than the default would rebuild the usual one back and forth.
    export CANDLE_HIP_ARCHS=$1 CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target/nvidia} CARGO_TERM_COLOR=never
    scripts/upstream.sh sync >&2
    stage=$CARGO_TARGET_DIR/pack
    rm -rf "$stage"
    mkdir -p "$stage/tests" "$pack"
    {
        test_programs -p candle-core -p candle-nn -p candle-examples -p candle-hip \
            --features 'candle-core/rocm candle-nn/rocm candle-examples/rocm' "${chosen[@]}"
        test_programs -p hip-nvidia --test card
    } >"$stage/programs"
    cargo build -p candle-core -p candle-nn -p candle-examples -p candle-hip \
        --features 'candle-core/rocm candle-nn/rocm candle-examples/rocm' --example quantized --example quantize_gguf
    cargo build -p hip-nvidia --lib
    while read -r name path; do
        # Upstream's suites are only of interest for their variants on rocm.
        case $name in
        # A document; code objects compiled for AMD targets when it runs; what the emulator counts, and does to a program.
        *-rocm_table | *-rocm_quantized_mmq | *-rocm_counters | *-rocm_robustness) continue ;;
        *-rocm_* | hip-nvidia-card | candle-hip-device) ;;
        *) [[ $("$path" --list 2>/dev/null) == *::rocm:\ test* ]] || continue ;;
        esac
        [ ! -e "$stage/tests/$name" ] || fail "two test programs are called $name"
        strip -o "$stage/tests/$name" "$path"
    done <"$stage/programs"
    for name in quantized quantize_gguf; do
        strip -o "$stage/$name" "$CARGO_TARGET_DIR/debug/examples/$name"
    done
    strip -o "$stage/libhip_nvidia.so" "$CARGO_TARGET_DIR/debug/libhip_nvidia.so"
    # Tests find files of the repository, and room for scratch files, by the paths of the build.
    printf '%s\n' "$root" >"$stage/root"
    printf '%s\n' "$CARGO_TARGET_DIR/tmp" >"$stage/scratch"
    rm "$stage/programs"
    # The same kernels lie in every program: a dictionary larger than a program finds them again.
    tar -C "$stage" -c . | xz --lzma2=preset=2,dict=512MiB >"$pack/pack.tar.xz"
    say "$(du -h "$pack/pack.tar.xz" | cut -f1) in $pack; now, where the card is: scripts/nvidia.sh run"
}

prepare() {
    [ -f "$pack/pack.tar.xz" ] || fail "$pack/pack.tar.xz is missing: scripts/nvidia.sh build makes it"
    command -v nvidia-smi >/dev/null || fail "nvidia-smi is missing: run needs an NVIDIA card and its driver"
    nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total --format=csv,noheader
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    tar -C "$work" -xJf "$pack/pack.tar.xz"
    local built_in
    built_in=$(cat "$work/root")
    if [ ! -e "$built_in" ]; then
        mkdir -p "$(dirname "$built_in")"
        ln -s "$root" "$built_in"
        say "$built_in, where the programs were built and look for files, is now a link to $root"
    fi
    mkdir -p "$(cat "$work/scratch")"
    export CANDLE_HIP_LIBRARY=$work/libhip_nvidia.so CANDLE_ROCBLAS_LIBRARY=$work/libhip_nvidia.so
    export RUST_BACKTRACE=0
    # cuBLAS may only be part of a Python package.
    if [ -z "${HIP_NVIDIA_CUBLAS:-}" ] && ! ldconfig -p | grep -q 'libcublas\.so'; then
        local found
        found=$(python3 -c 'import glob, site, sys
paths = [p for s in site.getsitepackages() for p in glob.glob(s + "/nvidia/*/lib/libcublas.so.1[23]")]
print(sorted(paths)[-1] if paths else "")' 2>/dev/null || true)
        [ -z "$found" ] || export HIP_NVIDIA_CUBLAS=$found LD_LIBRARY_PATH=${found%/*}:${LD_LIBRARY_PATH:-}
    fi
    if [ -n "$archive" ]; then logs=$work/logs; else logs=$root/target/nvidia-logs; fi
    rm -rf "$logs"
    mkdir -p "$logs"
}

# Queues a step; `wait_all` reports it.
names=()
step() { # NAME COMMAND...
    local name=$1
    shift
    # shellcheck disable=SC2053 # a pattern
    [[ $name == $only ]] || return 0
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
    names+=("$name")
    {
        started=$SECONDS status=0
        timeout --kill-after=10 "$limit" "$@" >"$logs/$name.log" 2>&1 </dev/null || status=$?
        printf '%s %s\n' "$status" $((SECONDS - started)) >"$logs/$name.status"
    } &
}

# What the demo model says, without the lines about speed and device.
words() { # DEVICE MODEL
    "$work/quantized" --device "$1" --model "$2" --prompt 'What is quantization?' --temperature 0 --repeat-penalty 1 --sample-len 64 |
        tee >(cat >&2) | sed -n '/^model built$/,/token\/s$/p' | sed '1d;/token\/s$/d'
}

# The greedy answer on the card is the CPU's.
same_words() { # TYPE
    local model=$work/$1.gguf on_cpu on_card
    "$work/quantize_gguf" "$root/demo-model/candle-rocm-demo-f16.gguf" "$model" --type "$1"
    on_cpu=$(words cpu "$model")
    on_card=$(words rocm "$model")
    [ ${#on_cpu} -gt 100 ] || fail "the CPU says only: $on_cpu"
    [ "$on_cpu" = "$on_card" ] || fail "differs; cpu: $on_cpu; card: $on_card"
    echo "ok - $1: $on_card"
}

run_all() {
    local program name type case skip api_errors
    export -f words same_words fail say
    export work root
    # A document is about AMD's targets.
    mapfile -t skip < <(printf -- '--skip\n%s\n' "${emulator_only[@]}" docs_quantized_is_current)
    if [ -n "$sanitize" ]; then
        # racecheck (CUDA 13.0) does not come to an end where several host threads launch: a process for each test.
        for program in "$work"/tests/candle-core-rocm_quantized* "$work"/tests/candle-nn-rocm_{fused,moe,recorded,sdpa}; do
            [ -e "$program" ] || continue
            name=$(basename "$program")
            api_errors=all
            # Tries what cannot be recorded, which the driver refuses.
            [ "$name" != candle-nn-rocm_recorded ] || api_errors=no
            step "memcheck-$name" compute-sanitizer --tool memcheck --show-backtrace no --error-exitcode 9 --print-limit 20 \
                --report-api-errors "$api_errors" "$program" "${skip[@]}"
            ignored=$("$program" --list --ignored | sed -n 's/: test$//p')
            for case in $("$program" --list "${skip[@]}" | sed -n 's/: test$//p' | grep -vxF -- "${ignored:-:}"); do
                step "racecheck-$name-$case" compute-sanitizer --tool racecheck --show-backtrace no --error-exitcode 9 \
                    --print-limit 20 "$program" --exact "$case" --test-threads 1
            done
        done
    fi
    for type in f16 q8_0 q4_0 q4k q6k; do
        # shellcheck disable=SC2016 # the inner shell's
        step "words-$type" bash -c 'set -euo pipefail; same_words "$1"' words "$type"
    done
    for program in "$work"/tests/*; do
        name=$(basename "$program")
        case $name in
        hip-nvidia-card) step "$name" "$program" --ignored ;;
        candle-hip-device) step "$name" "$program" ;;
        *-rocm_*) step "$name" "$program" "${skip[@]}" ;;
        *) step "upstream-${name#candle-}" "$program" ::rocm ;;
        esac
        # Matrix products and what rests on them once more, by cuBLAS behind rocBLAS' interface. (rocm_gemm chooses itself.)
        case $name in
        candle-core-rocm_properties) step "rocblas-$name" env CANDLE_ROCM_GEMM=rocblas "$program" matmul ;;
        candle-core-rocm_convolution | candle-nn-rocm_training) step "rocblas-$name" env CANDLE_ROCM_GEMM=rocblas "$program" ;;
        candle-core-matmul_tests | candle-core-conv_tests)
            step "rocblas-upstream-${name#candle-}" env CANDLE_ROCM_GEMM=rocblas "$program" ::rocm
            ;;
        esac
    done
    while [ "$(jobs -rp | wc -l)" != 0 ]; do wait -n || true; done
}

report() {
    local name status seconds passed outcome n_failed=0
    for name in "${names[@]}"; do
        read -r status seconds <"$logs/$name.status"
        passed=$(awk '/^test result:/ { n += $4 } /^ok - / { n++ } END { print n + 0 }' "$logs/$name.log")
        outcome=ok
        if [ "$status" != 0 ]; then outcome="FAILED ($status)"; elif [ "$passed" = 0 ]; then outcome='FAILED (no test ran)'; fi
        [ "$outcome" = ok ] || n_failed=$((n_failed + 1))
        printf '%-52s %-14s %4s tests %4s s  %s\n' "$name" "$outcome" "$passed" "$seconds" \
            "$(grep -h 'ERROR SUMMARY\|RACECHECK SUMMARY' "$logs/$name.log" | tail -n 1 || true)"
        [ "$outcome" = ok ] || grep -E '^test .*FAILED|panicked at|^ERROR|Error|differs' "$logs/$name.log" | head -n 25 | cut -c1-300 | sed 's/^/    /' || true
    done
    awk '/^test result:/ { passed += $4; failed += $6 } /^ok - / { passed++ } END { print passed + 0 " tests passed, " failed + 0 " failed" }' \
        "$logs"/*.log
    if [ -n "$archive" ]; then
        mkdir -p "$archive"
        tar -C "$work" -cJf "$archive/logs.tar.xz" logs
    fi
    printf '%s steps passed, %s failed, on %s\n' $((${#names[@]} - n_failed)) "$n_failed" "$(date -u +%F)"
    [ "$n_failed" = 0 ]
}

mode=${1:-} arch=sm_90 only='*' jobs=$((($(nproc) + 1) / 2)) sanitize='' limit=900 archive='' tests=''
[ $# = 0 ] || shift
while [ $# -gt 0 ]; do
    case $1 in
    --arch | --tests | --only | --jobs | --limit)
        [ $# -ge 2 ] || fail "$1 needs a value"
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    --logs)
        [ $# -ge 2 ] || fail "--logs needs a folder"
        archive=$2
        shift 2
        ;;
    --sanitize) sanitize=1 && shift ;;
    *) usage >&2 && fail "unknown option $1" ;;
    esac
done
case $mode in
build) build "$arch" ;;
run)
    prepare
    run_all
    report
    ;;
-h | --help) usage ;;
*) usage >&2 && fail "say build or run" ;;
esac
