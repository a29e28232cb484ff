//! The demo model on rocm and on the CPU: logits of the prompt and of decoding steps, in several types.
use anyhow::Result;
use candle::quantized::{gguf_file, GgmlDType};
use candle::Device;
use candle_transformers::models::quantized_llama::ModelWeights;
use std::io::Cursor;

#[path = "rocm_support/mod.rs"]
mod support;
use support::Logits;

/// Tokens of its vocabulary.
const VOCABULARY: u32 = 1024;

fn model_bytes() -> Result<Vec<u8>> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../demo-model/candle-rocm-demo-f16.gguf"
    );
    Ok(std::fs::read(path)?)
}

fn run(file: &[u8], device: &Device) -> Result<Logits> {
    let mut file = Cursor::new(file);
    let content = gguf_file::Content::read(&mut file)?;
    let mut model = ModelWeights::from_gguf(content, &mut file, device)?;
    let model = Box::new(move |tokens: &_, at| model.forward(tokens, at));
    support::logits(model, device, VOCABULARY)
}

#[test]
fn f16_weights() -> Result<()> {
    support::dense("F16", &model_bytes()?, run)
}

fn quantized_weights(dtype: GgmlDType) -> Result<()> {
    let matrices = |rank, now| if rank == 2 { dtype } else { now };
    let file = support::in_types(&model_bytes()?, matrices)?;
    support::quantized(&format!("{dtype:?}"), &file, false, run)
}

#[test]
fn q8_0_weights() -> Result<()> {
    quantized_weights(GgmlDType::Q8_0)
}

#[test]
fn q4_0_weights() -> Result<()> {
    quantized_weights(GgmlDType::Q4_0)
}

#[test]
fn q4k_weights() -> Result<()> {
    quantized_weights(GgmlDType::Q4K)
}

#[test]
fn q6k_weights() -> Result<()> {
    quantized_weights(GgmlDType::Q6K)
}
