#!/usr/bin/env bash
# What each kernel costs, as the compiler left it in the code objects: registers, LDS, scratch, spills, and how many
# waves of it a SIMD holds at once.
#
#   scripts/kernel_report.sh [--spills] [--out DIR] [--arch TARGETS] [--module NAMES]
#
#   --spills  only kernels that use scratch memory
#   --out     folder for the code objects (default target/hip); the rest goes to compile_hip_kernels.sh, which makes them
#
# Prints a table, one row per kernel and target. Occupancy counts vector registers and LDS: how many waves fit, for
# workgroups as large as the kernel allows. Needs llvm-readelf (LLVM_READELF names another than those found).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${CARGO_TARGET_DIR:-$root/target}/hip
only_spills=0
rest=()
while [[ $# -gt 0 ]]; do
    case $1 in
    --spills) only_spills=1 ;;
    --out) out=${2:?--out wants a folder} && shift ;;
    -h | --help)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    *) rest+=("$1") ;;
    esac
    shift
done

readelf=${LLVM_READELF:-}
for candidate in llvm-readelf-{22,21,20,19,18,17} llvm-readelf /opt/rocm/llvm/bin/llvm-readelf; do
    [[ -n $readelf ]] || readelf=$(command -v "$candidate" || true)
done
if [[ -z $readelf ]]; then
    echo "error: llvm-readelf was not found; install llvm, or name it with LLVM_READELF" >&2
    exit 1
fi

mapfile -t objects < <("$root/scripts/compile_hip_kernels.sh" --out "$out" "${rest[@]}" | sed -n 's/ ([0-9]* KiB)$//p')
if [[ ${#objects[@]} -eq 0 ]]; then
    echo "error: compile_hip_kernels.sh made no code object" >&2
    exit 1
fi

# The metadata is YAML with its keys in alphabetical order: .agpr_count opens a kernel, .wavefront_size closes it.
#
# Registers are given out in blocks to a wave (LLVM, AMDGPUUsage, "granulated_workitem_vgpr_count"; AMD's instruction set
# documents for the size of the file): gfx90a and gfx94x 512 of them in blocks of 8, at most 8 waves a SIMD; gfx10 and
# later with waves of 32 lanes 1024 in blocks of 8 (RDNA 3 and 4: 1536 in blocks of 24), at most 16; older gfx9 256 in
# blocks of 4, at most 10. A compute unit of gfx9 has 4 SIMDs and 64 KiB of LDS; a workgroup processor of gfx10 and later
# 4 SIMDs and 128 KiB, of which a workgroup gets 64.
report() { # OBJECT
    local name target
    name=$(basename "$1" .co)
    # gfx11-generic has a hyphen of its own; module names have none.
    target=${name#*-}
    "$readelf" --notes "$1" | awk -v module="${name%%-*}" -v target="$target" -v only_spills="$only_spills" '
        function ceil_div(a, b) { return int((a + b - 1) / b) }
        BEGIN {
            cdna = target ~ /^gfx9(0a|4|5)/
            gcn = target ~ /^gfx9/ && !cdna
            large = target ~ /^gfx1[12]/
            file = cdna ? 512 : gcn ? 256 : large ? 1536 : 1024
            block = gcn ? 4 : large ? 24 : 8
            most = cdna ? 8 : gcn ? 10 : 16
            lds_of_unit = (cdna || gcn) ? 65536 : 131072
        }
        /^ *(- )?\.agpr_count:/ { agprs = $NF }
        /^    \.group_segment_fixed_size:/ { lds = $2 }
        /^    \.max_flat_workgroup_size:/ { threads = $2 }
        /^    \.name:/ { kernel = $2 }
        /^    \.private_segment_fixed_size:/ { scratch = $2 }
        /^    \.sgpr_count:/ { sgprs = $2 }
        /^    \.sgpr_spill_count:/ { sgpr_spills = $2 }
        /^    \.vgpr_count:/ { vgprs = $2 }
        /^    \.vgpr_spill_count:/ { spills = $2 }
        /^    \.wavefront_size:/ {
            waves_of_group = ceil_div(threads, $2)
            waves = int(file / (ceil_div(vgprs > 0 ? vgprs : 1, block) * block))
            if (waves > most) waves = most
            if (lds > 0) {
                by_lds = int(lds_of_unit / lds) * waves_of_group / 4
                if (by_lds < waves) waves = by_lds
            }
            if (!only_spills || scratch > 0)
                printf "%-20s %-16s %-44s %5d %5d %5d %7d %8d %7d %7d %10.1f\n", module, target, kernel, vgprs, agprs,
                    sgprs, lds, scratch, spills, sgpr_spills, waves
            agprs = 0
        }'
}

printf '%-20s %-16s %-44s %5s %5s %5s %7s %8s %7s %7s %10s\n' module target kernel VGPRs AGPRs SGPRs LDS scratch spilledV \
    spilledS waves/SIMD
for object in "${objects[@]}"; do
    report "$object"
done
