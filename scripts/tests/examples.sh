#!/usr/bin/env bash
# Every GGUF example runs on an emulated target, from local files alone, and says what it says on the CPU.
#
#   scripts/tests/examples.sh TARGET [--write]
#
#   --write  put a transcript of each example on TARGET into docs/examples.md
#
# The models are small and random (example small-gguf). In f16 both sides compute in f32, so every word is the same;
# with weights as most files have them (Q4_K_M) both round activations, which logits' tests bound.
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
arch=$1 write=${2:-}
[[ -z $write || $write = --write ]] || fail "unknown option $write"

# A folder for each target: several of them take their turns at the same time.
models=$target/small-models/$arch
# Example, model and further options, FILES standing for the folder of the models.
rows=(
    'quantized llama'
    'quantized llama-moe'
    'quantized-gemma gemma3'
    'quantized-glm4 glm4'
    'quantized-lfm2 lfm2'
    'quantized-phi phi2 --which phi-2'
    'quantized-phi phi3 --which phi-3'
    'quantized-phi llama --which phi-3b'
    'quantized-qwen2-instruct qwen2'
    'quantized-qwen3 qwen3'
    'quantized-qwen3-moe qwen3-moe --dtype f32'
    'quantized-t5 t5 --config-file FILES/t5-config.json --tokenizer FILES/tokenizer.json'
)
# Nothing may reach for a network.
export HF_HUB_OFFLINE=1 HF_HOME=/nowhere HTTPS_PROXY=http://127.0.0.1:9 HTTP_PROXY=http://127.0.0.1:9

started=$SECONDS
build=(--example small-gguf)
for name in $(printf '%s\n' "${rows[@]}" | cut -d' ' -f1 | sort -u); do build+=(--example "$name"); done
check 'examples build' cargo build --quiet "${rocm_build[@]}" --lib "${build[@]}"
printf 'built in %s s\n' $((SECONDS - started))
for type in f16 q4_k_m; do
    check "small models in $type" "$target/debug/examples/small-gguf" "$models/$type" --type $type
done

# The command line of a row, as an array.
command_of() { # ROW TYPE DEVICE
    local name model options
    read -r name model options <<<"$1"
    read -ra options <<<"${options//FILES/$models/$2}"
    line=(
        "$target/debug/examples/$name" --device "$3" --model "$models/$2/$model.gguf"
        --prompt 'The other thing' --temperature 0 --repeat-penalty 1 --sample-len 12 "${options[@]}"
    )
}

# What is said, without lines about device, speed and files.
words() { grep -av '^device: \|token/s\|^loaded \|^avx: \|^temp: \|^DEBUG: \|^model ' <<<"$1" || true; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
transcripts=$scratch/transcripts
for row in "${rows[@]}"; do
    what="${row%% --*} on $arch"
    for type in f16 q4_k_m; do
        : >"$scratch/launches"
        command_of "$row" $type rocm
        on_card=$(HIP_EMULATOR_LEDGER=1 HIP_EMULATOR_PROFILE=$scratch/launches emulated "$arch" "${line[@]}" 2>"$scratch/errors") ||
            fail "FAILED - $what, $type: exit status $? of: ${line[*]}
$on_card
$(cat "$scratch/errors")"
        launches=$(grep -c "\"target\":\"$arch\",\"emulated\":true" "$scratch/launches" || true)
        # A prompt and eleven tokens through two layers.
        [ "$launches" -ge 200 ] || fail "FAILED - $what, $type: only $launches kernel launches"
        [[ $(cat "$scratch/errors") == *'0 live allocations (0 bytes) at exit'* ]] ||
            fail "FAILED - $what, $type: $(cat "$scratch/errors")"
        says "$what, $type, $launches launches" "$on_card" 'device: rocm:0 ' "(emulated $arch)" 'token/s' \
            'prompt tokens processed' 'tokens generated'
    done
    # The last one, with the weights that most files have.
    {
        read -r name model options <<<"$row"
        printf '\n## %s: %s\n\n    %s --device rocm --model %s.gguf --prompt %s%s\n\n' "$name" "$model" "$name" "$model" \
            "'The other thing' --temperature 0 --repeat-penalty 1 --sample-len 12" "${options:+ ${options//FILES\//}}"
        # Times are the emulator's, which say nothing about a card.
        # shellcheck disable=SC2001
        sed 's/[0-9.]* token\/s/… token\/s/; s/in [0-9.]*s$/in …s/; s/[^[:print:]]/·/g; s/^/    /; s/ *$//' <<<"$on_card"
    } >>"$transcripts"
    command_of "$row" f16 rocm
    on_card=$(emulated "$arch" "${line[@]}" 2>/dev/null)
    command_of "$row" f16 cpu
    on_cpu=$("${line[@]}" 2>/dev/null)
    [ "$(words "$on_cpu")" = "$(words "$on_card")" ] || fail "FAILED - $what says other words than on the CPU
cpu:  $on_cpu
$arch: $on_card"
    passed "$what: $(words "$on_card" | tr '\n' ' ' | cut -c1-90)"
done

on_small=("$target/debug/examples/quantized-qwen3" --prompt Hi --sample-len 2)
refuses "unknown device" "\`gpu\` is no device" 'rocm[:N]' -- "${on_small[@]}" --device gpu
refuses "no such file" '/nowhere/x.gguf' -- "${on_small[@]}" --device cpu --model /nowhere/x.gguf
refuses "another architecture" 'qwen3.attention.head_count' -- "${on_small[@]}" --device cpu --model "$models/f16/llama.gguf"
head -c 300000 "$models/f16/qwen3.gguf" >"$scratch/short.gguf"
refuses "a file cut short" short.gguf -- "${on_small[@]}" --device cpu --model "$scratch/short.gguf"
list=$(HIP_EMULATOR_ARCH=$arch,gfx906 CANDLE_HIP_LIBRARY=$(emulator_library debug) "$target/debug/examples/quantized-t5" --list-devices 2>&1) || true
says "--list-devices" "$list" 'cpu ' 'rocm:0 ' "(emulated $arch)" "kernels built for $arch" 'GiB' 'waves of ' 'rocm:1 ' gfx906 'cuda ' 'metal '

if [ -n "$write" ]; then
    {
        cat <<EOF
# The GGUF examples

Written by \`scripts/tests/examples.sh $arch --write\`. Each line of the table is run by a test on each target, emulated: small
random models of two layers (\`cargo run --example small-gguf\`), whose words make no sense but are the CPU's.
In the transcripts the weights are Q4_K_M, the card is an emulated $arch, and times are left out.

| example | architecture |$(printf ' %s |' "${emulated_targets[@]}")
|---|---|$(printf -- '---|%.0s' "${emulated_targets[@]}")
EOF
        for row in "${rows[@]}"; do
            read -r name model options <<<"$row"
            [[ $options == --which* ]] && name="$name $options"
            # shellcheck disable=SC2016 # the backquotes are the document's
            printf '| `%s` | %s |%s\n' "$name" "$model" "$(printf ' ok |%.0s' "${emulated_targets[@]}")"
        done
        cat "$transcripts"
    } >docs/examples.md
    passed 'docs/examples.md written'
fi
