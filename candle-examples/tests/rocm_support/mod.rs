//! Logits of a model on rocm held against the CPU's, for a prompt and eight decoding steps.
use anyhow::{ensure, Result};
use candle::quantized::{gguf_file, rocm::set_force_dmmv, GgmlDType, QTensor};
use candle::{DType, Device, Tensor};
use std::io::Cursor;
use std::sync::{Mutex, MutexGuard};

/// A loaded model: tokens `[1, n]` and their first position give the logits of the next token.
pub type Model = Box<dyn FnMut(&Tensor, usize) -> candle::Result<Tensor>>;

/// Logits, a row for the prompt and one for each step.
pub type Logits = Vec<Vec<f32>>;

/// Eleven tokens, more than the vector kernels take at once, then one at a time. What they mean does not matter.
const PROMPT: [u32; 11] = [0, 300, 42, 511, 7, 99, 260, 33, 640, 18, 401];
const CONTINUATION: [u32; 8] = [5, 77, 350, 12, 600, 81, 230, 9];

/// Order of sums in f32, through a few layers, as a share of the spread of the logits.
pub const F32_BOUND: f32 = 1e-6;

/// Logits after the prompt and after each token that follows it.
pub fn logits(mut model: Model, device: &Device, vocabulary: u32) -> Result<Logits> {
    let mut all = Vec::new();
    let mut step = |tokens: &[u32], at: usize| -> Result<()> {
        let tokens: Vec<u32> = tokens.iter().map(|token| token % vocabulary).collect();
        let input = Tensor::new(&tokens[..], device)?.unsqueeze(0)?;
        let out = model(&input, at)?.to_device(&Device::Cpu)?;
        all.push(out.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?);
        Ok(())
    };
    step(&PROMPT, 0)?;
    for (i, token) in CONTINUATION.iter().enumerate() {
        step(&[*token], PROMPT.len() + i)?;
    }
    Ok(all)
}

/// Root mean square of the differences, over all steps, as a share of the spread of the logits.
pub fn difference(expected: &Logits, found: &Logits) -> Result<f32> {
    let (mut squares, mut count) = (0f64, 0);
    let (mut low, mut high) = (f32::MAX, f32::MIN);
    ensure!(expected.len() == found.len(), "other numbers of steps");
    for (step, (e, f)) in expected.iter().zip(found).enumerate() {
        let finite = e.iter().chain(f).all(|v| v.is_finite());
        ensure!(e.len() == f.len() && finite, "step {step}: not a number");
        for (a, b) in e.iter().zip(f) {
            squares += f64::from(a - b).powi(2);
            (low, high) = (low.min(*a), high.max(*a));
        }
        count += e.len();
    }
    ensure!(low < high, "the logits are all the same");
    Ok((squares / count as f64).sqrt() as f32 / (high - low))
}

/// The model file with its tensors in the types that `choose` says, by rank and present type.
pub fn in_types(file: &[u8], choose: impl Fn(usize, GgmlDType) -> GgmlDType) -> Result<Vec<u8>> {
    let mut file = Cursor::new(file);
    let content = gguf_file::Content::read(&mut file)?;
    let mut tensors = Vec::new();
    for (name, info) in &content.tensor_infos {
        let mut tensor = content.tensor(&mut file, name, &Device::Cpu)?;
        let dtype = choose(info.shape.rank(), tensor.dtype());
        if dtype != tensor.dtype() {
            tensor = QTensor::quantize(&tensor.dequantize(&Device::Cpu)?, dtype)?;
        }
        tensors.push((name.as_str(), tensor));
    }
    let metadata = content.metadata.iter();
    let metadata: Vec<_> = metadata.map(|(k, v)| (k.as_str(), v)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, t)| (*name, t)).collect();
    let mut out = Cursor::new(Vec::new());
    gguf_file::write(&mut out, &metadata, &tensors)?;
    Ok(out.into_inner())
}

/// The switch for products in f32 holds for the whole process: while this lives, no test that asks for it turns it.
pub fn serial() -> MutexGuard<'static, ()> {
    static SERIAL: Mutex<()> = Mutex::new(());
    SERIAL.lock().unwrap_or_else(|e| e.into_inner())
}

/// With quantized weights each side rounds the activations to 8 bits too, by different rules: Q8_0 or Q8_K on the
/// CPU, Q8_1 on the device. So both are held against the same weights times activations in f32: rocm may lie at most
/// half as far again from that as the CPU does. And with the activations left in f32, which `set_force_dmmv` asks for,
/// rocm has to agree with it to the order of sums; but not with `experts`, whose kernels round always.
pub fn quantized(
    what: &str,
    file: &[u8],
    experts: bool,
    run: impl Fn(&[u8], &Device) -> Result<Logits>,
) -> Result<()> {
    let _serial = serial();
    let device = Device::new_rocm(0)?;
    let exact = run(&in_types(file, |_, _| GgmlDType::F32)?, &Device::Cpu)?;
    let cpu = difference(&exact, &run(file, &Device::Cpu)?)?;
    let rocm = difference(&exact, &run(file, &device)?)?;
    set_force_dmmv(true);
    let outcome = run(file, &device);
    set_force_dmmv(false);
    let in_f32 = difference(&exact, &outcome?)?;
    println!("{what}: cpu {cpu:e}, rocm {rocm:e}, rocm in f32 {in_f32:e} of the spread");
    ensure!(
        rocm <= 1.5 * cpu,
        "{what}: rocm lies {rocm:e} from f32 activations, the CPU {cpu:e}"
    );
    let bound = if experts { 1.5 * cpu } else { F32_BOUND };
    ensure!(
        in_f32 <= bound,
        "{what}: rocm in f32 differs by {in_f32:e} of the spread, {bound:e} allowed"
    );
    Ok(())
}

/// Weights that neither side rounds activations for: f16 is widened, and multiplied in f32.
pub fn dense(
    what: &str,
    file: &[u8],
    run: impl Fn(&[u8], &Device) -> Result<Logits>,
) -> Result<()> {
    let d = difference(
        &run(file, &Device::Cpu)?,
        &run(file, &Device::new_rocm(0)?)?,
    )?;
    println!("{what}: {d:e} of the spread");
    ensure!(
        d <= F32_BOUND,
        "{what}: rocm differs from the CPU by {d:e} of the spread"
    );
    Ok(())
}
