#!/usr/bin/env bash
# Every GGUF example runs on an emulated target, from local files alone, and says what it says on the CPU.
#
#   scripts/tests/examples.sh TARGET
#
# Results and transcripts are left where scripts/examples_page.sh finds them for docs/examples.md.
# The models are small and random (example small-gguf). In f16 both sides compute in f32, so every word is the same;
# with weights as most files have them (Q4_K_M) both round activations, which logits' tests bound.
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
# shellcheck source=scripts/gguf_examples.sh
source "$root/scripts/gguf_examples.sh"
arch=$1

# A folder for each target: several of them take their turns at the same time.
models=$target/small-models/$arch
# Nothing may reach for a network.
export HF_HUB_OFFLINE=1 HF_HOME=/nowhere HTTPS_PROXY=http://127.0.0.1:9 HTTP_PROXY=http://127.0.0.1:9

started=$SECONDS
build=(--example small-gguf)
for name in $(example_names); do build+=(--example "$name"); done
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
results=$example_results/$arch transcripts=$example_results/$arch.md
mkdir -p "$example_results"
rm -f "$transcripts"
examples_digest >"$results"
for row in "${example_rows[@]}"; do
    what="${row%% --*} on $arch"
    # Taken back when the row has passed.
    echo "failed $row" >>"$results"
    for type in f16 q4_k_m; do
        : >"$scratch/launches"
        command_of "$row" $type rocm
        on_card=$(HIP_EMULATOR_LEDGER=1 HIP_EMULATOR_PROFILE=$scratch/launches emulated "$arch" "${line[@]}" 2>"$scratch/errors") ||
            fail "FAILED - $what, $type: exit status $? of: ${line[*]}
$on_card
$(cat "$scratch/errors")"
        launches=$(grep -c "\"target\":\"$arch\",\"emulated\":true" "$scratch/launches" || true)
        # The prompt and each token go through two layers of at least eight launches, and four around them.
        generated=$(sed -n 's/^ *\([0-9]*\) tokens generated.*/\1/p' <<<"$on_card")
        [ "${generated:-0}" -ge 2 ] || fail "FAILED - $what, $type: no two tokens were generated: $on_card"
        [ "$launches" -ge $((20 * (1 + generated))) ] ||
            fail "FAILED - $what, $type: only $launches kernel launches for a prompt and $generated tokens"
        [[ $(cat "$scratch/errors") == *'0 live allocations (0 bytes) at exit'* ]] ||
            fail "FAILED - $what, $type: $(cat "$scratch/errors")"
        says "$what, $type, $launches launches" "$on_card" 'device: rocm:0 ' "(emulated $arch)" 'token/s' \
            'prompt tokens processed' 'tokens generated'
    done
    # The last one, with the weights that most files have.
    {
        read -r name model options <<<"$row"
        printf '\n%s\n\n    %s --device rocm --model %s.gguf --prompt %s%s\n\n' "$(example_heading "$row")" "$name" "$model" \
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
    sed -i '$d' "$results"
    echo "ok $row" >>"$results"
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
