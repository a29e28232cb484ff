#!/usr/bin/env bash
# Wrong options, files and machines end with an error that names what was wrong.
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

refuses 'demo: unknown target' '--arch gfx000' gfx1100 gfx90a -- scripts/demo.sh --arch gfx000
refuses 'demo: unknown option' 'unknown option --nothing' '--prompt' -- scripts/demo.sh --nothing
refuses 'demo: option without a value' '--model needs a value' -- scripts/demo.sh --model
refuses 'demo: no such model' '/nowhere/a b.gguf: no such file' -- scripts/demo.sh --model '/nowhere/a b.gguf'
refuses 'demo: no number' '--tokens many' -- scripts/demo.sh --tokens many
refuses 'test: unknown target' '--arch gfx000' -- scripts/test.sh --arch gfx000
refuses 'test: no such step' 'nothing is called' -- scripts/test.sh --only 'no such step'
refuses 'setup: unknown option' 'scripts/setup.sh' -- scripts/setup.sh --nothing

on_rocm=("$quantized" --model "$demo_model" --prompt 'Hi' --sample-len 2)
refuses 'unknown device' 'gpu' 'rocm[:N]' 'cpu, rocm' -- "${on_rocm[@]}" --device gpu
refuses 'contradiction' '--cpu and --device rocm:0' -- "${on_rocm[@]}" --device rocm --cpu
refuses 'a backend that was not built' '--features cuda' -- "${on_rocm[@]}" --device cuda
refuses 'no HIP library' '--device rocm:0' libamdhip64 /nowhere/libamdhip64.so -- \
    env CANDLE_HIP_LIBRARY=/nowhere/libamdhip64.so "${on_rocm[@]}" --device rocm
refuses 'no such device' 'rocm:7' -- emulated gfx1100 "${on_rocm[@]}" --device rocm:7
check 'without HIP the CPU serves' env CANDLE_HIP_LIBRARY=/nowhere/libamdhip64.so "${on_rocm[@]}" --device cpu

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
head -c 3000000 "$demo_model" >"$scratch/short.gguf"
on_short=("$quantized" --model "$scratch/short.gguf" --prompt Hi --sample-len 2)
refuses 'truncated GGUF, cpu' short.gguf -- "${on_short[@]}" --device cpu
refuses 'truncated GGUF, rocm' short.gguf -- emulated gfx1100 "${on_short[@]}" --device rocm
refuses 'quantize: unknown type' 'q9' q4_0 -- "$quantize_gguf" "$demo_model" "$scratch/out.gguf" --type q9
