//! The demo model on rocm and on the CPU: logits of the prompt and of decoding steps, in several types.
use anyhow::{ensure, Result};
use candle::quantized::{gguf_file, GgmlDType, QTensor};
use candle::{DType, Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use std::io::{Cursor, Seek};

const DECODE_STEPS: usize = 8;

fn model_bytes() -> Result<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo-model/candle-rocm-demo-f16.gguf");
    Ok(std::fs::read(path)?)
}

/// The model file with every matrix in another type.
fn in_type(file: &[u8], dtype: GgmlDType) -> Result<Vec<u8>> {
    let mut file = Cursor::new(file);
    let content = gguf_file::Content::read(&mut file)?;
    let mut tensors = Vec::new();
    for (name, info) in &content.tensor_infos {
        let tensor = content.tensor(&mut file, name, &Device::Cpu)?;
        let matrix = info.shape.rank() == 2;
        let tensor = match matrix {
            true => QTensor::quantize(&tensor.dequantize(&Device::Cpu)?, dtype)?,
            false => tensor,
        };
        tensors.push((name.as_str(), tensor));
    }
    let metadata: Vec<_> = content.metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, t)| (*name, t)).collect();
    let mut out = Cursor::new(Vec::new());
    gguf_file::write(&mut out, &metadata, &tensors)?;
    Ok(out.into_inner())
}

fn load(file: &[u8], device: &Device) -> Result<ModelWeights> {
    let mut file = Cursor::new(file);
    let content = gguf_file::Content::read(&mut file)?;
    file.rewind()?;
    Ok(ModelWeights::from_gguf(content, &mut file, device)?)
}

/// Logits after the prompt and after each token of `continuation`.
fn logits(model: &mut ModelWeights, device: &Device, prompt: &[u32], continuation: &[u32]) -> Result<Vec<Vec<f32>>> {
    let mut all = Vec::new();
    let mut step = |tokens: &[u32], at: usize| -> Result<()> {
        let input = Tensor::new(tokens, device)?.unsqueeze(0)?;
        let out = model.forward(&input, at)?.to_device(&Device::Cpu)?;
        all.push(out.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?);
        Ok(())
    };
    step(prompt, 0)?;
    for (i, token) in continuation.iter().enumerate() {
        step(&[*token], prompt.len() + i)?;
    }
    Ok(all)
}

/// The bound is a share of the spread of the logits (about 60 here). F16 weights are multiplied in f32 on both sides:
/// only the order of sums differs. With quantized weights each side rounds the activations to 8 bits in blocks, by
/// different rules (Q8_0 or Q8_K on the CPU, Q8_1 on the device): 1/254 of a block's largest value each, through
/// four layers.
fn compare(dtype: GgmlDType, bound: f32) -> Result<()> {
    let device = Device::new_rocm(0)?;
    let file = match dtype {
        GgmlDType::F16 => model_bytes()?,
        dtype => in_type(&model_bytes()?, dtype)?,
    };
    // Eleven tokens: more than the vector kernels take at once. What they mean does not matter.
    let prompt = [0u32, 300, 42, 511, 7, 99, 260, 33, 640, 18, 401];
    let continuation = [5u32, 77, 350, 12, 600, 81, 230, 9];
    assert_eq!(continuation.len(), DECODE_STEPS);
    let expected = logits(&mut load(&file, &Device::Cpu)?, &Device::Cpu, &prompt, &continuation)?;
    let found = logits(&mut load(&file, &device)?, &device, &prompt, &continuation)?;
    for (step, (e, f)) in expected.iter().zip(&found).enumerate() {
        ensure!(e.len() == f.len() && e.iter().chain(f).all(|v| v.is_finite()), "step {step}: not a number");
        let spread = e.iter().fold(f32::MIN, |m, v| m.max(*v)) - e.iter().fold(f32::MAX, |m, v| m.min(*v));
        let worst = e.iter().zip(f).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        println!("{dtype:?} step {step}: largest difference {worst}, spread {spread}");
        ensure!(worst <= bound * spread, "{dtype:?} step {step}: differs by {worst} of {spread}");
    }
    Ok(())
}

#[test]
fn f16_weights() -> Result<()> {
    compare(GgmlDType::F16, 1e-4)
}

#[test]
fn q8_0_weights() -> Result<()> {
    compare(GgmlDType::Q8_0, 0.02)
}

#[test]
fn q4_0_weights() -> Result<()> {
    compare(GgmlDType::Q4_0, 0.02)
}

#[test]
fn q4k_weights() -> Result<()> {
    compare(GgmlDType::Q4K, 0.02)
}

#[test]
fn q6k_weights() -> Result<()> {
    compare(GgmlDType::Q6K, 0.02)
}
