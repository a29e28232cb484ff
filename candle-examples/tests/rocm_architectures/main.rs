//! A small random model of every architecture that the GGUF examples run: logits on rocm against the CPU's.
use anyhow::{bail, Context, Result};
use candle::quantized::{gguf_file, GgmlDType};
use candle::{DType, Device};
use candle_transformers::models as m;
use std::io::Cursor;

// The example small-gguf writes the same models to files.
#[path = "../../examples/small-gguf/architectures.rs"]
mod architectures;
#[path = "../../examples/small-gguf/models.rs"]
mod models;
#[path = "../rocm_support/mod.rs"]
mod support;
#[path = "../../examples/small-gguf/vocabulary.rs"]
mod vocabulary;

use models::Weights;
use support::{Logits, Model};

/// Loads the model `file` of an architecture the way its example does.
fn load(architecture: &str, file: &[u8], device: &Device) -> Result<Model> {
    let mut reader = Cursor::new(file);
    let content = gguf_file::Content::read(&mut reader)?;
    let r = &mut reader;
    Ok(match architecture {
        "llama" | "llama-moe" => {
            let mut model = m::quantized_llama::ModelWeights::from_gguf(content, r, device)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "gemma3" => {
            let mut model = m::quantized_gemma3::ModelWeights::from_gguf(content, r, device)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "glm4" => {
            let dtype = DType::F32;
            let mut model = m::quantized_glm4::ModelWeights::from_gguf(content, r, device, dtype)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "lfm2" => {
            let mut model = m::quantized_lfm2::ModelWeights::from_gguf(content, r, device)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "phi2" => {
            let mut model = m::quantized_phi::ModelWeights::from_gguf(content, r, device)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "phi3" => {
            let mut model = m::quantized_phi3::ModelWeights::from_gguf(false, content, r, device)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "qwen2" => {
            let mut model = m::quantized_qwen2::ModelWeights::from_gguf(content, r, device)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "qwen3" => {
            let mut model = m::quantized_qwen3::ModelWeights::from_gguf(content, r, device)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "qwen3-moe" => {
            let dtype = DType::F32;
            let mut model =
                m::quantized_qwen3_moe::GGUFQWenMoE::from_gguf(content, r, device, dtype)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "t5" => encoder_decoder(file, device)?,
        _ => bail!("no loader for {architecture}"),
    })
}

/// The prompt goes through the encoder, and the tokens after it through the decoder, which starts with token 0.
fn encoder_decoder(file: &[u8], device: &Device) -> Result<Model> {
    let config = serde_json::from_str(&architectures::t5_config())?;
    let weights = m::quantized_t5::VarBuilder::from_gguf_buffer(file, device)?;
    let mut model = m::quantized_t5::T5ForConditionalGeneration::load(weights, &config)?;
    let mut encoded = None;
    Ok(Box::new(move |tokens, at| {
        if at == 0 {
            encoded = Some(model.encode(tokens)?);
        }
        let start = tokens.zeros_like()?.narrow(1, 0, 1)?;
        let tokens = if at == 0 { &start } else { tokens };
        match &encoded {
            Some(encoded) => model.decode(tokens, encoded),
            None => candle::bail!("no prompt was encoded"),
        }
    }))
}

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
