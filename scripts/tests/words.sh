#!/usr/bin/env bash
# The demo model's first 64 greedy tokens are the same on an emulated card as on the CPU, for each type of weights.
#
#   scripts/tests/words.sh TARGET
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
arch=$1

types=(f16 q8_0 q4_0 q4k q6k)
# Each answer is longer than 64 tokens.
prompts=('What is quantization?' 'My favorite theorem is ')
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# What the model says, without the lines about speed and device.
words() { # DEVICE MODEL PROMPT
    "$quantized" --device "$1" --model "$2" --prompt "$3" --temperature 0 --repeat-penalty 1 --sample-len 64 |
        sed -n '/^model built$/,/token\/s$/p' | sed '1d;/token\/s$/d'
}

# What a command says, or said to the same programs for another target: the CPU's words are the same.
cached() { # NAME COMMAND...
    local file=$target/cpu-words/$1
    shift
    mkdir -p "${file%/*}"
    if [ ! "$file" -nt "$quantized" ] || [ ! "$file" -nt "$quantize_gguf" ]; then
        # Two targets may be at it at the same time.
        "$@" >"$file.$$" && mv "$file.$$" "$file"
    fi
    cat "$file"
}

for type in "${types[@]}"; do
    model=$scratch/$type.gguf
    "$quantize_gguf" "$demo_model" "$model" --type "$type" >/dev/null
    for prompt in "${prompts[@]}"; do
        on_cpu=$(cached "$type-${prompt// /-}" words cpu "$model" "$prompt")
        : >"$scratch/launches"
        on_card=$(HIP_EMULATOR_PROFILE=$scratch/launches emulated "$arch" words "rocm" "$model" "$prompt")
        launches=$(grep -c "\"target\":\"$arch\",\"emulated\":true" "$scratch/launches" || true)
        # 64 tokens through 4 layers: at least a launch per layer and token, or something else did the work.
        [ "$launches" -ge 256 ] || fail "FAILED - $type on $arch: only $launches kernel launches"
        [ ${#on_cpu} -gt $((${#prompt} + 100)) ] || fail "FAILED - $type on the CPU says only: $on_cpu"
        [ "$on_cpu" = "$on_card" ] || fail "FAILED - $type on $arch differs
cpu:  $on_cpu
$arch: $on_card"
        passed "$type on $arch, $launches launches: ${on_card:0:70} …"
    done
done
