#!/usr/bin/env bash
# A project of somebody else's, beside a checkout, with the manifest that docs/using.md gives: candle-transformers as the registry has
# it, which depends on candle, runs on an emulated card through `[patch.crates-io]` and says what it says on the CPU.
#
#   scripts/tests/outside.sh TARGET
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
arch=$1

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Always in the same place, so that cargo knows it again.
beside=$target/outside project=$target/outside/project
mkdir -p "$project/src"
ln -sfn "$root" "$beside/candle-rocm"
{
    printf '[package]\nname = "outside"\nversion = "0.0.0"\nedition = "2021"\n\n[workspace]\n\n'
    # As in the document, but candle-transformers stays the registry's.
    sed -n '/^    # Cargo.toml$/,/^[^ ]/s/^    //p' docs/using.md | grep -v '^candle-transformers = {'
    # The profile of the tests: what other crates are compiled to is shared.
    printf '\n[profile.dev]\ndebug = "line-tables-only"\n'
} >"$project/Cargo.toml"
# Versions that are tested here; those of the registry's crates that the fork replaces.
cp upstream/Cargo.lock "$project/"
cat >"$project/src/main.rs" <<'E2'
use candle_core::{quantized::gguf_file, DType, Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;

/// Logits of a prompt and of the words after it, each the likeliest.
fn logits(path: &str, device: &Device) -> candle_core::Result<Vec<Vec<f32>>> {
    let mut file = std::fs::File::open(path)?;
    let content = gguf_file::Content::read(&mut file)?;
    let mut model = ModelWeights::from_gguf(content, &mut file, device)?;
    let (mut tokens, mut position, mut all) = (vec![1u32, 17, 42, 5], 0, Vec::new());
    for _ in 0..5 {
        let input = Tensor::new(tokens.as_slice(), device)?.unsqueeze(0)?;
        let row = model.forward(&input, position)?.squeeze(0)?;
        let row = row.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        position += tokens.len();
        let likeliest = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        tokens = vec![likeliest.unwrap().0 as u32];
        all.push(row);
    }
    Ok(all)
}

fn main() -> candle_core::Result<()> {
    let path = std::env::args().nth(1).expect("a GGUF file");
    let on_cpu = logits(&path, &Device::Cpu)?;
    let device = Device::new_rocm(0)?;
    let on_card = logits(&path, &device)?;
    let values = || on_cpu.iter().flatten().zip(on_card.iter().flatten());
    let largest = values().map(|(cpu, _)| cpu.abs()).fold(0f32, f32::max);
    let apart = values().map(|(cpu, card)| (cpu - card).abs()).fold(0f32, f32::max);
    // The weights are F16 and both sides compute in f32: they differ by the order of sums.
    assert!(apart <= 1e-4 * largest, "{apart} apart, the largest is {largest}");
    println!("rocm: {} steps, {} logits, rocm and cpu {:.1e} apart", on_card.len(), values().count(), apart / largest);
    Ok(())
}
E2
check 'the project builds' cargo build --quiet --manifest-path "$project/Cargo.toml" --target-dir "$target"
tree=$(cargo tree --quiet --manifest-path "$project/Cargo.toml" --prefix none -e normal)
says 'the registry has candle-transformers, the checkout candle-core' "$tree"$'\n' $'candle-transformers v0.11.1\n' \
    "candle-core v0.11.1 ($beside/candle-rocm/candle-core)"
outcome=$(HIP_EMULATOR_PROFILE=$scratch/launches emulated "$arch" "$target/debug/outside" "$demo_model")
launches=$(grep -c "\"target\":\"$arch\",\"emulated\":true" "$scratch/launches" || true)
[ "$launches" -ge 100 ] || fail "FAILED - only $launches kernel launches"
says "on $arch, $launches launches: $outcome" "$outcome" 'rocm: 5 steps'
