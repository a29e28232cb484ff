//! The demo model on rocm and on the CPU: logits of the prompt and of decoding steps, in several types.
use anyhow::{ensure, Result};
use candle::quantized::{gguf_file, rocm::set_force_dmmv, GgmlDType, QTensor};
use candle::{DType, Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use std::io::{Cursor, Seek};
use std::sync::Mutex;

fn model_bytes() -> Result<Vec<u8>> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../demo-model/candle-rocm-demo-f16.gguf"
    );
    Ok(std::fs::read(path)?)
}

/// The model file with every matrix in another type.
fn in_type(file: &[u8], dtype: GgmlDType) -> Result<Vec<u8>> {
    let mut file = Cursor::new(file);
    let content = gguf_file::Content::read(&mut file)?;
    let mut tensors = Vec::new();
    for (name, info) in &content.tensor_infos {
        let tensor = content.tensor(&mut file, name, &Device::Cpu)?;
        let tensor = match info.shape.rank() == 2 {
            true => QTensor::quantize(&tensor.dequantize(&Device::Cpu)?, dtype)?,
            false => tensor,
        };
        tensors.push((name.as_str(), tensor));
    }
    let metadata: Vec<_> = content
        .metadata
        .iter()
        .map(|(k, v)| (k.as_str(), v))
        .collect();
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
fn logits(
    model: &mut ModelWeights,
    device: &Device,
    prompt: &[u32],
    continuation: &[u32],
) -> Result<Vec<Vec<f32>>> {
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

/// Root mean square of the differences, over all steps, as a share of the spread of the logits.
fn difference(expected: &[Vec<f32>], found: &[Vec<f32>]) -> Result<f32> {
    let (mut squares, mut count) = (0f64, 0);
    let (mut low, mut high) = (f32::MAX, f32::MIN);
    for (step, (e, f)) in expected.iter().zip(found).enumerate() {
        let finite = e.iter().chain(f).all(|v| v.is_finite());
        ensure!(e.len() == f.len() && finite, "step {step}: not a number");
        for (a, b) in e.iter().zip(f) {
            squares += f64::from(a - b).powi(2);
            (low, high) = (low.min(*a), high.max(*a));
        }
        count += e.len();
    }
    Ok((squares / count as f64).sqrt() as f32 / (high - low))
}

/// Order of sums in f32, through four layers.
const F32_BOUND: f32 = 1e-6;

/// The switch for products in f32 holds for the whole process.
static SERIAL: Mutex<()> = Mutex::new(());

/// Eleven tokens, more than the vector kernels take at once, then one at a time. What they mean does not matter.
const PROMPT: [u32; 11] = [0, 300, 42, 511, 7, 99, 260, 33, 640, 18, 401];
const CONTINUATION: [u32; 8] = [5, 77, 350, 12, 600, 81, 230, 9];

fn run(file: &[u8], device: &Device) -> Result<Vec<Vec<f32>>> {
    logits(&mut load(file, device)?, device, &PROMPT, &CONTINUATION)
}

#[test]
fn f16_weights() -> Result<()> {
    let file = model_bytes()?;
    let d = difference(
        &run(&file, &Device::Cpu)?,
        &run(&file, &Device::new_rocm(0)?)?,
    )?;
    println!("F16: {d:e} of the spread");
    // F16 weights are widened and multiplied in f32 on both sides.
    ensure!(
        d <= F32_BOUND,
        "F16 weights: rocm differs from the CPU by {d:e} of the spread"
    );
    Ok(())
}

/// With quantized weights each side rounds the activations to 8 bits too, by different rules: Q8_0 or Q8_K on the
/// CPU, Q8_1 on the device. So both are held against the same weights times activations in f32: rocm may lie at most
/// half as far again from that as the CPU does. And with the activations left in f32, which `set_force_dmmv` asks for,
/// rocm has to agree with it as F16 weights do.
fn quantized_weights(dtype: GgmlDType) -> Result<()> {
    let _serial = SERIAL.lock().unwrap_or_else(|e| e.into_inner());
    let device = Device::new_rocm(0)?;
    let file = in_type(&model_bytes()?, dtype)?;
    let exact = run(&in_type(&file, GgmlDType::F32)?, &Device::Cpu)?;
    let cpu = difference(&exact, &run(&file, &Device::Cpu)?)?;
    let rocm = difference(&exact, &run(&file, &device)?)?;
    set_force_dmmv(true);
    let outcome = run(&file, &device);
    set_force_dmmv(false);
    let unrounded = difference(&exact, &outcome?)?;
    println!(
        "{dtype:?}: cpu {cpu:e}, rocm {rocm:e}, rocm without rounding {unrounded:e} of the spread"
    );
    ensure!(
        rocm <= 1.5 * cpu,
        "{dtype:?}: rocm lies {rocm:e} from f32 activations, the CPU {cpu:e}"
    );
    ensure!(
        unrounded <= F32_BOUND,
        "{dtype:?}: rocm in f32 differs by {unrounded:e} of the spread"
    );
    Ok(())
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
