#!/usr/bin/env bash
# Counts upstream's tests that use a device and holds the number against the tests that cargo knows for rocm.
#
#   scripts/count_device_tests.sh [--run]
#
#   --run   run them as well, on the device that CANDLE_HIP_LIBRARY (and HIP_EMULATOR_ARCH) choose
#
# Counted are, in the laid test files of candle-core and candle-nn: the sites of `test_device!`, those of macros that
# wrap it, and every test that asks for a CUDA or Metal device by name. Each of the latter needs a line in the table
# below: the test of ours that retells it, or the reason why it is left out. Ends with "N of N"; fails when a test is
# missing on either side.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"

run=''
case ${1:-} in
'') ;;
--run) run=1 ;;
*) usage >&2 && fail "unknown option $1" ;;
esac

# Upstream's test, then our package, file and test; or "-" and the reason.
retold() {
    cat <<'TABLE'
candle-core/tests/tensor_tests.rs transfers_cuda_to_device = candle-core rocm_properties two_devices::two_gpus_of_different_families
candle-core/tests/tensor_tests.rs allocates_twice_when_transferring_to_same_device = candle-core rocm_upstream memory_is_shared_with_the_same_device_only
candle-core/tests/quantized_tests.rs test_matmul_mm = candle-core rocm_upstream a_quantized_product_of_many_batches
candle-core/tests/quantized_tests.rs quantized_embedding_metal = candle-core rocm_upstream rows_of_a_quantized_embedding
candle-core/tests/metal_concurrent_tests.rs concurrent_readback = candle-core rocm_upstream threads_read_their_own_results
candle-core/tests/metal_concurrent_tests.rs concurrent_quantized_data_roundtrip = candle-core rocm_upstream threads_quantize_and_read_back
candle-core/src/quantized/cuda.rs cuda_quantize_q8_1 = candle-core rocm_upstream sums_of_squares_by_quantized_products
candle-core/src/quantized/cuda.rs cuda_mmv_q8_1 = candle-core rocm_upstream sums_of_squares_by_quantized_products
candle-core/src/quantized/cuda.rs cuda_mm_q8_1 = candle-core rocm_upstream sums_of_squares_by_quantized_products
candle-core/src/quantized/cuda.rs cuda_mm_q8_1_pad = candle-core rocm_upstream short_rows_times_many_columns
candle-core/tests/cutile_tests.rs compile_only_warmup_does_not_launch - cutile compiles for NVIDIA cards only
candle-core/tests/cutile_tests.rs custom_op_preserves_candle_stream_ordering - cutile compiles for NVIDIA cards only
candle-nn/tests/cutile_moe.rs token_rows_with_inactive_routes_matches_reference - cutile compiles for NVIDIA cards only
candle-nn/tests/cutile_moe.rs routed_rows_with_route_weights_matches_reference - cutile compiles for NVIDIA cards only
candle-nn/tests/cutile_moe.rs warmup_then_token_rows_launch_matches_reference - cutile compiles for NVIDIA cards only
candle-nn/tests/cutile_moe.rs multi_tile_grouped_launch_matches_reference - cutile compiles for NVIDIA cards only
candle-nn/tests/cutile_moe.rs shared_routing_composes_gate_and_down_projections - cutile compiles for NVIDIA cards only
candle-nn/tests/cutile_moe.rs zero_matrix_dimensions_are_rejected - cutile compiles for NVIDIA cards only
candle-nn/tests/sdpa.rs sdpa_full = candle-nn rocm_sdpa sdpa_full
candle-nn/tests/sdpa.rs sdpa_vector = candle-nn rocm_sdpa sdpa_vector
candle-nn/tests/sdpa.rs sdpa_full_softcapping = candle-nn rocm_sdpa sdpa_full_softcapping
candle-nn/tests/sdpa.rs sdpa_vector_softcapping = candle-nn rocm_sdpa sdpa_vector_softcapping
candle-nn/tests/sdpa.rs sdpa_vector_cross = candle-nn rocm_sdpa sdpa_vector_cross
TABLE
}

# Upstream's files: those in the crates that are not tracked here.
upstream_files() { # FOLDER
    find "$1" -name '*.rs' ! -path '*rocm*' | LC_ALL=C sort
}

# Names given to `test_device!`, directly or through a macro of the file that wraps it.
sites_in() { # FILE
    awk '
        /^[[:space:]]*\/\// { next }
        /^[[:space:]]*macro_rules!/ { defining = $2; sub(/[({].*/, "", defining) }
        defining != "" {
            if (/test_device!/) wraps[defining] = 1
            if (/^}/) defining = ""
            next
        }
        wanted { if (match($0, /[A-Za-z_][A-Za-z_0-9]*/)) { print substr($0, RSTART, RLENGTH); wanted = 0 }; next }
        match($0, /^[[:space:]]*[A-Za-z_][A-Za-z_0-9]*!\(/) {
            name = substr($0, RSTART, RLENGTH - 2)
            gsub(/[[:space:]]/, "", name)
            if (name != "test_device" && !(name in wraps)) next
            rest = substr($0, RSTART + RLENGTH)
            if (match(rest, /[A-Za-z_][A-Za-z_0-9]*/)) print substr(rest, RSTART, RLENGTH)
            else wanted = 1
        }
    ' "$1"
}

# Tests that name a CUDA or Metal device: behind one of the features, or with such a device in their body.
named_in() { # FILE
    awk '
        /^#!\[cfg\(.*feature = "(cuda|metal|cutile)"/ { whole = 1 }
        /^[[:space:]]*\/\// { next }
        /^[[:space:]]*#\[/ { attributes = attributes $0 }
        /^[[:space:]]*(pub )?fn / {
            if (attributes ~ /#\[test\]/) {
                name = $0
                sub(/^[[:space:]]*(pub )?fn /, "", name)
                sub(/[^A-Za-z_0-9].*/, "", name)
                match($0, /^[[:space:]]*/)
                end = substr($0, 1, RLENGTH) "}"
                device = whole || attributes ~ /feature = "(cuda|metal)"/
            }
            attributes = ""
        }
        name != "" && /new_cuda|new_metal|CudaDevice::new|MetalDevice::new/ { device = 1 }
        name != "" && $0 == end { if (device) print name; name = "" }
    ' "$1"
}

# "PACKAGE FILE TEST" of every test in a test program; with --run, of every one that passes.
cargo_tests() { # PACKAGE FILE FILTER
    # Of the build that all steps share, so that nothing is compiled again for this one package.
    local program=(cargo test --quiet "${rocm_build[@]}" --test "$2")
    if [ -z "$run" ]; then
        "${program[@]}" -- --list | sed -n "s/^\\(.*\\): test\$/$1 $2 \\1/p"
    else
        # One line a test is not what --quiet prints. What fails is reported as missing.
        unset 'program[2]'
        { "${program[@]}" -- "$3" || true; } | sed -n "s/^test \\(.*\\) \\.\\.\\. ok\$/$1 $2 \\1/p"
    fi
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
touch "$work/expected" "$work/found" "$work/retold"

for package in candle-core candle-nn; do
    for path in $(upstream_files $package/tests); do
        names=$(sites_in "$path")
        [ -n "$names" ] || continue
        file=$(basename "$path" .rs)
        while read -r name; do
            printf '%s %s %s::rocm\n' "$package" "$file" "$name"
        done <<<"$names" >>"$work/expected"
        cargo_tests $package "$file" ::rocm >"$work/tests"
        { grep '::rocm$' "$work/tests" || true; } >>"$work/found"
        printf '%-36s %3d sites\n' "$path" "$(wc -l <<<"$names")"
    done
done

# Tests that name a device, and what became of each.
n_left_out=0
for path in $(upstream_files candle-core/tests) $(upstream_files candle-core/src) $(upstream_files candle-nn/tests) $(upstream_files candle-nn/src); do
    for name in $(named_in "$path"); do
        line=$(retold | grep -F "$path $name " || true)
        case $line in
        '') fail "$path: the test $name names a device and has no line in this script's table" ;;
        *' = '*)
            printf '%s\n' "${line#* = }" >>"$work/retold"
            printf 'retold:   %s %s\n' "$path $name:" "${line#* = }"
            ;;
        *)
            n_left_out=$((n_left_out + 1))
            printf 'left out: %s %s\n' "$path $name:" "${line#* - }"
            ;;
        esac
    done
done
LC_ALL=C sort -u "$work/retold" >>"$work/expected"
cut -d' ' -f1,2 "$work/retold" | LC_ALL=C sort -u >"$work/programs"
while read -r package file; do
    cargo_tests "$package" "$file" '' >"$work/tests" </dev/null
    { grep -xFf "$work/retold" "$work/tests" || true; } >>"$work/found"
done <"$work/programs"

LC_ALL=C sort "$work/expected" >"$work/expected.sorted"
LC_ALL=C sort "$work/found" >"$work/found.sorted"
missing=$(LC_ALL=C comm -23 "$work/expected.sorted" "$work/found.sorted")
surplus=$(LC_ALL=C comm -13 "$work/expected.sorted" "$work/found.sorted")
[ -z "$missing" ] || printf 'missing:\n%s\n' "$missing"
[ -z "$surplus" ] || printf 'not among the sites:\n%s\n' "$surplus"
n_expected=$(wc -l <"$work/expected")
n_found=$(LC_ALL=C comm -12 "$work/expected.sorted" "$work/found.sorted" | wc -l)
printf '%s of %s%s' "$n_found" "$n_expected" "${run:+ passed}"
printf ' (%s of upstream left out, for the reasons above)\n' "$n_left_out"
[ -z "$missing$surplus" ]
