//! A language model that is small enough to run thousands of times on an emulated device, with what a large one is made of:
//! a GGUF file, an embedding, attention, a gated feed-forward network, each in blocks of another type.
use candle_core::quantized::gguf_file::{self, Content};
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Result, Tensor, D};
use std::io::Cursor;
use std::sync::Arc;

pub const VOCABULARY: usize = 48;
const WIDTH: usize = 64;
const HEADS: usize = 2;
/// A block of the k-quants.
const INNER: usize = 256;
const LAYERS: usize = 1;

struct Layer {
    norms: [Tensor; 2],
    qkv: [QMatMul; 3],
    out: QMatMul,
    gate: QMatMul,
    up: QMatMul,
    down: QMatMul,
}

pub struct Model {
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    norm: Tensor,
    output: QMatMul,
    device: Device,
}

/// Weights that look random and are the same everywhere, as large as keeps activations near one.
fn weights(rows: usize, columns: usize, seed: u32, dtype: GgmlDType) -> Result<QTensor> {
    let scale = 1.7 / (columns as f32).sqrt();
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        // xorshift32 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..rows * columns).map(|_| next() * scale).collect();
    let values = Tensor::from_vec(values, (rows, columns), &Device::Cpu)?;
    QTensor::quantize(&values, dtype)
}

/// The model as a GGUF file.
pub fn file() -> Result<Vec<u8>> {
    use GgmlDType::{F32, Q4_0, Q6K, Q8_0};
    let norm = || {
        QTensor::quantize(
            &Tensor::ones(WIDTH, candle_core::DType::F32, &Device::Cpu)?,
            F32,
        )
    };
    let mut tensors = vec![
        (
            "token_embd".to_string(),
            weights(VOCABULARY, WIDTH, 1, Q8_0)?,
        ),
        ("output".to_string(), weights(VOCABULARY, WIDTH, 2, Q8_0)?),
        ("norm".to_string(), norm()?),
    ];
    for layer in 0..LAYERS {
        let rows = [
            ("q", WIDTH, WIDTH, Q4_0),
            ("k", WIDTH, WIDTH, Q8_0),
            ("v", WIDTH, WIDTH, Q8_0),
            ("out", WIDTH, WIDTH, Q4_0),
            ("gate", INNER, WIDTH, Q4_0),
            ("up", INNER, WIDTH, Q8_0),
            ("down", WIDTH, INNER, Q6K),
        ];
        for (name, n, k, dtype) in rows {
            let seed = tensors.len() as u32 + 3;
            tensors.push((format!("{layer}.{name}"), weights(n, k, seed, dtype)?));
        }
        for name in ["norm1", "norm2"] {
            tensors.push((format!("{layer}.{name}"), norm()?));
        }
    }
    let tensors: Vec<_> = tensors.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let mut file = Cursor::new(Vec::new());
    gguf_file::write(&mut file, &[], &tensors)?;
    Ok(file.into_inner())
}

/// `x` divided by its root mean square.
fn normed(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let square = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?;
    x.broadcast_div(&square.sqrt()?)?.broadcast_mul(weight)
}

fn softmax(x: &Tensor) -> Result<Tensor> {
    let e = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?.exp()?;
    e.broadcast_div(&e.sum_keepdim(D::Minus1)?)
}

impl Model {
    pub fn load(file: &[u8], device: &Device) -> Result<Self> {
        let mut reader = Cursor::new(file);
        let content = Content::read(&mut reader)?;
        let mut tensor = |name: &str| content.tensor(&mut reader, name, device);
        let mut layers = Vec::new();
        for layer in 0..LAYERS {
            let mut dense = |name| tensor(&format!("{layer}.{name}"))?.dequantize(device);
            let norms = [dense("norm1")?, dense("norm2")?];
            let mut matrix = |name| QMatMul::from_qtensor(tensor(&format!("{layer}.{name}"))?);
            layers.push(Layer {
                norms,
                qkv: [matrix("q")?, matrix("k")?, matrix("v")?],
                out: matrix("out")?,
                gate: matrix("gate")?,
                up: matrix("up")?,
                down: matrix("down")?,
            });
        }
        Ok(Self {
            embedding: Arc::new(tensor("token_embd")?),
            layers,
            norm: tensor("norm")?.dequantize(device)?,
            output: QMatMul::from_qtensor(tensor("output")?)?,
            device: device.clone(),
        })
    }

    fn attend(layer: &Layer, x: &Tensor) -> Result<Tensor> {
        let n = x.dim(0)?;
        let heads = |m: &QMatMul| {
            let y = m.forward(x)?.reshape((n, HEADS, WIDTH / HEADS))?;
            y.transpose(0, 1)?.contiguous()
        };
        let [q, k, v] = &layer.qkv;
        let scores = heads(q)?.matmul(&heads(k)?.t()?.contiguous()?)?;
        let scores = (scores * (1.0 / (WIDTH as f64 / HEADS as f64).sqrt()))?;
        let y = softmax(&scores)?.matmul(&heads(v)?)?;
        layer
            .out
            .forward(&y.transpose(0, 1)?.contiguous()?.reshape((n, WIDTH))?)
    }

    /// Logits of every position, on the host.
    pub fn forward(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        let ids = Tensor::new(tokens, &self.device)?;
        let mut x = self.embedding.embedding(&ids)?;
        for layer in &self.layers {
            x = (&x + Self::attend(layer, &normed(&x, &layer.norms[0])?)?)?;
            let h = normed(&x, &layer.norms[1])?;
            let inner = (layer.gate.forward(&h)?.silu()? * layer.up.forward(&h)?)?;
            x = (x + layer.down.forward(&inner)?)?;
        }
        let logits = self.output.forward(&normed(&x, &self.norm)?)?;
        logits.flatten_all()?.to_vec1()
    }
}

/// `count` tokens, others for another seed.
pub fn tokens(count: usize, seed: usize) -> Vec<u32> {
    let token = |i| ((i * 7 + seed * 13 + i * i) % VOCABULARY) as u32;
    (0..count).map(token).collect()
}
