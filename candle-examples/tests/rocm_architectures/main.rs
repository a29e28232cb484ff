//! A small random model of every architecture that the GGUF examples run: logits on rocm against the CPU's.
use anyhow::{ensure, Context, Result};
use candle::quantized::GgmlDType;
use candle::{DType, Device, Tensor};

// The example small-gguf writes the same models to files.
#[path = "../../examples/small-gguf/architectures.rs"]
mod architectures;
#[path = "../rocm_support/loading.rs"]
mod loading;
#[path = "../../examples/small-gguf/models.rs"]
mod models;
mod pypi;
#[path = "../rocm_support/mod.rs"]
mod support;
#[path = "../../examples/small-gguf/vocabulary.rs"]
mod vocabulary;

use loading::{load, load_as};
use models::Weights;
use support::Logits;

fn run(architecture: &str, file: &[u8], device: &Device) -> Result<Logits> {
    let model = load(architecture, file, device)?;
    support::logits(model, device, vocabulary::SIZE as u32)
}

/// F16 exactly, and two kinds of quantized weights within the rounding of activations.
fn agrees(architecture: &str) -> Result<()> {
    let all = architectures::ARCHITECTURES;
    let row = all.iter().find(|row| row.name == architecture);
    let sketch = (row.context("not in the table")?.describe)();
    let run = |file: &[u8], device: &Device| run(architecture, file, device);
    let file = |weights| models::gguf(architecture, &sketch, weights);
    let f16 = file(Weights::All(GgmlDType::F16))?;
    support::dense(&format!("{architecture} F16"), &f16, run)?;
    let k_quants = match architecture.ends_with("-moe") {
        true => ("Q4K", Weights::All(GgmlDType::Q4K)),
        false => ("Q4_K_M", Weights::Q4KM),
    };
    for (name, weights) in [("Q8_0", Weights::All(GgmlDType::Q8_0)), k_quants] {
        // The experts of llama-moe are ordinary matrices.
        let experts = architecture == "qwen3-moe";
        let what = format!("{architecture} {name}");
        support::quantized(&what, &file(weights)?, experts, run)?;
    }
    Ok(())
}

/// Keys and values in f16 and bf16, converted where they are stored: the weights are F16 on both sides, so that nothing else is
/// rounded. As with quantized weights rocm may lie at most half as far again from f32 as the CPU does.
#[test]
fn narrow_keys_and_values() -> Result<()> {
    for row in architectures::ARCHITECTURES {
        if !["glm4", "qwen3-moe"].contains(&row.name) {
            continue;
        }
        let file = models::gguf(row.name, &(row.describe)(), Weights::All(GgmlDType::F16))?;
        let run = |dtype, device: &Device| {
            let model = load_as(row.name, &file, device, dtype)?;
            support::logits(model, device, vocabulary::SIZE as u32)
        };
        let exact = run(DType::F32, &Device::Cpu)?;
        for dtype in [DType::F16, DType::BF16] {
            let cpu = support::difference(&exact, &run(dtype, &Device::Cpu)?)?;
            let rocm = support::difference(&exact, &run(dtype, &Device::new_rocm(0)?)?)?;
            println!(
                "{} {dtype:?}: cpu {cpu:e}, rocm {rocm:e} of the spread",
                row.name
            );
            ensure!(cpu > 0.0 && rocm > 0.0, "{}: nothing was rounded", row.name);
            ensure!(
                rocm <= 1.5 * cpu,
                "{} {dtype:?}: rocm lies {rocm:e} from f32, the CPU {cpu:e}",
                row.name
            );
        }
    }
    Ok(())
}

/// A prompt at position 0 forgets what was before it, be it a single token: as with a model that has just been loaded.
/// (Upstream's lfm2 keeps what its convolutions saw when such a prompt comes.)
#[test]
fn a_prompt_of_one_token_begins_anew() -> Result<()> {
    let _serial = support::serial();
    let device = Device::new_rocm(0)?;
    for row in architectures::ARCHITECTURES {
        // These forget when they are told to (`clear_kv_cache`).
        if ["qwen3", "qwen3-moe", "t5"].contains(&row.name) {
            continue;
        }
        let file = models::gguf(row.name, &(row.describe)(), Weights::All(GgmlDType::Q8_0))?;
        let mut used = load(row.name, &file, &device)?;
        let mut fresh = load(row.name, &file, &device)?;
        let tokens = |ids: &[u32]| Tensor::new(ids, &device)?.unsqueeze(0);
        used(&tokens(&[1, 17, 42, 5])?, 0)?;
        // Enough for a recording.
        for position in 4..8 {
            used(&tokens(&[3])?, position)?;
        }
        for (position, id) in [9, 2, 7].into_iter().enumerate() {
            let [found, expected] = [&mut used, &mut fresh].map(|model| {
                let logits = model(&tokens(&[id])?, position)?;
                logits.flatten_all()?.to_vec1::<f32>()
            });
            ensure!(found? == expected?, "{}, token {position}", row.name);
        }
    }
    Ok(())
}

macro_rules! architectures {
    ($($test:ident $name:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() -> Result<()> {
                agrees($name)
            }
        )*

        /// No architecture of the table is left out.
        #[test]
        fn every_architecture_has_a_test() {
            let names: Vec<_> = architectures::ARCHITECTURES.iter().map(|row| row.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

architectures! {
    llama "llama",
    llama_moe "llama-moe",
    gemma3 "gemma3",
    glm4 "glm4",
    lfm2 "lfm2",
    phi2 "phi2",
    phi3 "phi3",
    qwen2 "qwen2",
    qwen3 "qwen3",
    qwen3_moe "qwen3-moe",
    t5 "t5",
}
