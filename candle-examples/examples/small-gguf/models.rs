//! A small model as data: metadata, tensors by name and shape, and random weights that depend on nothing but the name.
use crate::vocabulary;
use anyhow::Result;
use candle::quantized::gguf_file::{self, Value};
use candle::quantized::{GgmlDType, QTensor};
use candle::{Device, Tensor};
use std::io::Cursor;

/// What a tensor holds, which decides how its numbers are drawn and whether they may be quantized.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The right side of a product, `[rows, columns]`: products keep the scale of their input.
    Matrix,
    /// As `Matrix`, for queries whose scores nothing divides by the root of the head's size: they are small themselves.
    Query,
    /// As `Matrix`, a row for each token. Single bytes are seldom the likeliest.
    Output,
    /// As `Matrix`, kept in f32: routers, convolutions, tables of positions.
    Plain,
    /// Rows that are looked up.
    Embedding,
    /// Scales around 1, in f32.
    Norm,
    /// Small numbers around 0, in f32.
    Bias,
}

/// A tensor of a [`Sketch`].
pub struct Spec {
    pub name: String,
    pub shape: Vec<usize>,
    pub content: Content,
}

/// A model before its weights are drawn.
#[derive(Default)]
pub struct Sketch {
    /// Draws other weights than the architecture's name alone would.
    pub seed: &'static str,
    pub metadata: Vec<(String, Value)>,
    pub tensors: Vec<Spec>,
}

impl Sketch {
    pub fn set(&mut self, key: impl Into<String>, value: Value) {
        self.metadata.push((key.into(), value));
    }

    pub fn tensor(&mut self, content: Content, name: impl Into<String>, shape: &[usize]) {
        let (name, shape) = (name.into(), shape.to_vec());
        self.tensors.push(Spec {
            name,
            shape,
            content,
        });
    }
}

/// The type of a model's matrices.
#[derive(Clone, Copy)]
pub enum Weights {
    /// One type for all.
    All(GgmlDType),
    /// What most files on the hub are, `Q4_K_M`: Q4K, and Q6K where rounding costs most.
    Q4KM,
}

impl Weights {
    fn of(self, spec: &Spec) -> GgmlDType {
        match (spec.content, self) {
            (Content::Plain | Content::Norm | Content::Bias, _) => GgmlDType::F32,
            (_, Self::All(dtype)) => dtype,
            (_, Self::Q4KM) => {
                let finer = ["attn_v", "ffn_down", "output.weight", "wo.weight"];
                match finer.iter().any(|part| spec.name.contains(part)) {
                    true => GgmlDType::Q6K,
                    false => GgmlDType::Q4K,
                }
            }
        }
    }
}

/// splitmix64, after Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
struct Generator(u64);

impl Generator {
    /// A stream of its own for each name (FNV-1a).
    fn of(name: &str) -> Self {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, step))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Mean 0, variance 1: three uniform numbers of variance 1/12 each, times 2.
    fn normal(&mut self) -> f32 {
        let mut sum = 0.;
        for _ in 0..3 {
            sum += (self.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        }
        sum * 2.
    }
}

fn draw(model: &str, spec: &Spec) -> Vec<f32> {
    let mut random = Generator::of(&format!("{model} {}", spec.name));
    let columns = spec.shape.last().copied().unwrap_or(1) as f32;
    let (mean, deviation) = match spec.content {
        Content::Matrix | Content::Output | Content::Plain => (0., columns.sqrt().recip()),
        Content::Query => (0., columns.sqrt().recip() / 8.),
        Content::Embedding => (0., 1.),
        Content::Norm => (1., 0.1),
        Content::Bias => (0., 0.1),
    };
    let count = spec.shape.iter().product();
    let mut values: Vec<_> = (0..count)
        .map(|_| mean + deviation * random.normal())
        .collect();
    if spec.content == Content::Output {
        let bytes = values
            .iter_mut()
            .take(vocabulary::AFTER_BYTES * columns as usize);
        bytes.for_each(|value| *value *= 0.5);
    }
    values
}

/// The bytes of a GGUF file with the sketched model and the vocabulary that all small models share.
pub fn gguf(architecture: &str, sketch: &Sketch, weights: Weights) -> Result<Vec<u8>> {
    let model = format!("{architecture}{}", sketch.seed);
    let mut tensors = Vec::new();
    for spec in &sketch.tensors {
        let values = Tensor::from_vec(draw(&model, spec), &spec.shape[..], &Device::Cpu)?;
        tensors.push((&spec.name, QTensor::quantize(&values, weights.of(spec))?));
    }
    let tokenizer = vocabulary::metadata();
    let metadata = sketch.metadata.iter().chain(&tokenizer);
    let metadata: Vec<_> = metadata.map(|(k, v)| (k.as_str(), v)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
    let mut out = Cursor::new(Vec::new());
    gguf_file::write(&mut out, &metadata, &tensors)?;
    Ok(out.into_inner())
}
