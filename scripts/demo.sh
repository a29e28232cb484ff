#!/usr/bin/env bash
# A small language model answers a prompt on an AMD GPU; without one, on an emulated one.
#
#   scripts/demo.sh [--arch A] [--model F] [--prompt P] [--device D] [--type T] [--tokens N] [--kernels LIST]
#
#   --arch    run on this target, emulated (gfx1100, gfx90a, gfx942, gfx1030, gfx1201, gfx1103 …). Without it: the AMD card if there is one,
#             else gfx1100, emulated
#   --model   a GGUF file with its tokenizer (default: the demo model of this repository)
#   --prompt  what to ask (default: "Who are you?")
#   --device  auto, cpu or rocm[:N] (default: rocm)
#   --type    convert the model's weights first: f16, q8_0, q4_0, q4k, q6k … (default: as they are)
#   --tokens  at most this many tokens of answer (default: 100)
#   --kernels targets to build kernels for, as in CANDLE_HIP_ARCHS, or "default" (default: the one that it runs on)
#
# Sets up and builds what is missing. The first line says what it runs on. On a card the build is optimised
# (profile release); on the emulator it is the one that the tests use (profile dev), which builds sooner.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

arch='' model='' prompt='Who are you?' device=rocm type='' tokens=100 kernels=''
while [ $# -gt 0 ]; do
    case $1 in
    --arch | --model | --prompt | --device | --type | --tokens | --kernels)
        [ $# -ge 2 ] || fail "$1 needs a value"
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && fail "unknown option $1" ;;
    esac
done

if [ -n "$arch" ] && [[ " ${emulated_targets[*]} ${generic_cards[*]} " != *" $arch "* ]]; then
    fail "--arch $arch: the emulator knows ${emulated_targets[*]} ${generic_cards[*]}"
fi
[[ $tokens =~ ^[1-9][0-9]*$ ]] || fail "--tokens $tokens: a number from 1 on"
model=${model:-$root/demo-model/candle-rocm-demo-f16.gguf}
[ -f "$model" ] || fail "--model $model: no such file"
model=$(realpath -- "$model")
cd "$root"

# `here`: the target that kernels are needed for.
profile=dev runtime=$(hip_runtime) here=''
case $device in
rocm | rocm:* | auto)
    if [ -n "$arch" ]; then
        echo "candle-rocm demo on $arch, emulated on the CPU"
    elif [ -n "${CANDLE_HIP_LIBRARY:-}" ]; then
        echo "candle-rocm demo on what CANDLE_HIP_LIBRARY names ($CANDLE_HIP_LIBRARY)"
        arch=named
    elif amd_card && [ -n "$runtime" ]; then
        echo "candle-rocm demo on the AMD card ($runtime)"
        profile=release here=native
    else
        arch=${emulated_targets[0]}
        echo "candle-rocm demo on $arch, emulated on the CPU ($(amd_card && echo 'there is a card, but no HIP runtime, libamdhip64' || echo 'no AMD card here'))"
    fi
    ;;
*) echo "candle-rocm demo on device $device" ;;
esac
[ -z "$arch" ] || [ "$arch" = named ] || here=$arch

scripts/setup.sh >&2

# One target builds several times sooner than all of them. Where CANDLE_HIP_ARCHS or --kernels leave it out it is added.
if [ "$kernels" != default ]; then
    kernels=${kernels:-${CANDLE_HIP_ARCHS:-$here}}
    [[ -z "$here" || "$kernels" =~ (^|[,; ])(all|$here)($|[,; ]) ]] || kernels=$kernels,$here
    [ -z "$kernels" ] || export CANDLE_HIP_ARCHS=$kernels
fi
say "building (profile $profile) …"
started=$SECONDS
cargo build --quiet --profile "$profile" "${rocm_build[@]}" --lib --example quantized --example quantize_gguf
say "built in $((SECONDS - started)) s"
folder=$([ $profile = dev ] && echo debug || echo "$profile")

if [ -n "$type" ]; then
    variant=$target/demo/$(basename "$model" .gguf)-$type.gguf
    mkdir -p "$target/demo"
    [ "$variant" -nt "$model" ] || "$target/$folder/examples/quantize_gguf" "$model" "$variant" --type "$type" >&2
    model=$variant
fi
if [ -n "$arch" ] && [ "$arch" != named ]; then
    export HIP_EMULATOR_ARCH=$arch
    CANDLE_HIP_LIBRARY=$(emulator_library "$folder")
    export CANDLE_HIP_LIBRARY
fi
exec "$target/$folder/examples/quantized" --device "$device" --model "$model" --prompt "$prompt" \
    --temperature 0 --repeat-penalty 1 --sample-len "$tokens"
