//! Whole models: a GGUF file of llama's architecture with random weights, loaded, prompted and decoded.

use crate::lanes::Lane;
use crate::measure::{median, Bench};
use crate::report::{ModelEntry, ModelRow, PerToken};
use crate::weights::{is_dense, Blocks};
use anyhow::{Context, Result};
use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The size of a model.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    width: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    mlp: usize,
    vocabulary: usize,
}

/// The shapes of Llama-2-7B and TinyLlama-1.1B, and one that an emulator gets through.
pub const SHAPES: [Shape; 3] = [
    Shape {
        name: "7b",
        width: 4096,
        layers: 32,
        heads: 32,
        kv_heads: 32,
        mlp: 11008,
        vocabulary: 32000,
    },
    Shape {
        name: "1b",
        width: 2048,
        layers: 22,
        heads: 32,
        kv_heads: 4,
        mlp: 5632,
        vocabulary: 32000,
    },
    WARM_UP,
];

const WARM_UP: Shape = Shape {
    name: "tiny",
    width: 256,
    layers: 2,
    heads: 4,
    kv_heads: 2,
    mlp: 512,
    vocabulary: 512,
};

pub fn shape(name: &str) -> Result<Shape> {
    let found = SHAPES.iter().find(|s| s.name == name);
    Ok(*found.with_context(|| format!("no model {name:?}; there are 7b, 1b and tiny"))?)
}

/// A model's file, deleted when it goes out of scope unless it is to be kept.
struct ModelFile {
    path: PathBuf,
    keep: bool,
}

impl ModelFile {
    /// Writes it, or takes what an earlier run kept.
    fn new(run: &Run, shape: &Shape, name: &str, dtype: GgmlDType) -> Result<Self> {
        let mut file = format!("candle-bench-{}-{name}", shape.name);
        if !run.keep {
            // Nobody else's.
            file = format!("{file}-{}", std::process::id());
        }
        let file = Self {
            path: run.folder.join(file + ".gguf"),
            keep: run.keep,
        };
        if !(file.keep && file.path.exists()) {
            // Under another name until it is whole.
            let part = file.path.with_extension("part");
            write(&part, shape, dtype)?;
            std::fs::rename(&part, &file.path)?;
        }
        Ok(file)
    }
}

impl Drop for ModelFile {
    fn drop(&mut self) {
        if !self.keep {
            // It lies in a folder for temporary files; a failure only leaves it there.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Writes the model. All layers hold the same bytes: what counts is how many there are.
fn write(path: &Path, s: &Shape, dtype: GgmlDType) -> Result<()> {
    let blocks = Blocks::new(dtype)?;
    let matrix = |rows, columns| blocks.tensor((rows, columns), 0, &Device::Cpu);
    let kv = s.width / s.heads * s.kv_heads;
    let norm = Tensor::ones(s.width, DType::F32, &Device::Cpu)?;
    let norm = QTensor::quantize(&norm, GgmlDType::F32)?;
    let (square, narrow, up, down, head) = (
        matrix(s.width, s.width)?,
        matrix(kv, s.width)?,
        matrix(s.mlp, s.width)?,
        matrix(s.width, s.mlp)?,
        matrix(s.vocabulary, s.width)?,
    );
    let layer = [
        ("attn_q.weight", &square),
        ("attn_k.weight", &narrow),
        ("attn_v.weight", &narrow),
        ("attn_output.weight", &square),
        ("ffn_gate.weight", &up),
        ("ffn_down.weight", &down),
        ("ffn_up.weight", &up),
        ("attn_norm.weight", &norm),
        ("ffn_norm.weight", &norm),
    ];
    let mut tensors: BTreeMap<String, &QTensor> = BTreeMap::new();
    tensors.insert("token_embd.weight".into(), &head);
    tensors.insert("output.weight".into(), &head);
    tensors.insert("output_norm.weight".into(), &norm);
    for i in 0..s.layers {
        tensors.extend(
            layer
                .iter()
                .map(|(name, t)| (format!("blk.{i}.{name}"), *t)),
        );
    }
    let count = |n: usize| Value::U32(n as u32);
    let metadata = [
        ("general.architecture", Value::String("llama".into())),
        ("llama.attention.head_count", count(s.heads)),
        ("llama.attention.head_count_kv", count(s.kv_heads)),
        ("llama.block_count", count(s.layers)),
        ("llama.embedding_length", count(s.width)),
        ("llama.rope.dimension_count", count(s.width / s.heads)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
    ];
    let metadata: Vec<_> = metadata.iter().map(|(k, v)| (*k, v)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    gguf_file::write(&mut file, &metadata, &tensors)?;
    Ok(file.flush()?)
}

/// Seconds to read the file through one buffer.
fn read(path: &Path) -> Result<f64> {
    let start = Instant::now();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 8 << 20];
    while file.read(&mut buffer)? > 0 {}
    Ok(start.elapsed().as_secs_f64())
}

/// A model on a lane.
struct Loaded {
    lane: usize,
    load_s: f64,
    weights: ModelWeights,
    prefill: Vec<f64>,
    decode: Vec<f64>,
    tokens: Vec<u32>,
    per_token: Option<PerToken>,
}

fn load(path: &Path, lane: usize, device: &Device) -> Result<Loaded> {
    let start = Instant::now();
    let mut file = BufReader::new(File::open(path)?);
    let content = Content::read(&mut file)?;
    let weights = ModelWeights::from_gguf(content, &mut file, device)?;
    device.synchronize()?;
    Ok(Loaded {
        lane,
        load_s: start.elapsed().as_secs_f64(),
        weights,
        prefill: Vec::new(),
        decode: Vec::new(),
        tokens: Vec::new(),
        per_token: None,
    })
}

/// The most likely token. Only its number comes to the host.
fn greedy(logits: &Tensor) -> Result<u32> {
    Ok(logits.flatten_all()?.argmax(0)?.to_scalar::<u32>()?)
}

impl Loaded {
    /// Prompts with `prompt` tokens and decodes `tokens` more.
    fn generate(
        &mut self,
        lane: &Lane,
        prompt: usize,
        tokens: usize,
        vocabulary: usize,
    ) -> Result<()> {
        lane.select();
        let device = &lane.device;
        self.weights.clear_kv_cache();
        let words: Vec<u32> = (0..prompt)
            .map(|i| (i * 7919 % vocabulary) as u32)
            .collect();
        let words = Tensor::new(words.as_slice(), device)?.unsqueeze(0)?;
        device.synchronize()?;
        let start = Instant::now();
        let mut next = greedy(&self.weights.forward(&words, 0)?)?;
        self.prefill
            .push(prompt as f64 / start.elapsed().as_secs_f64());
        let before = Counts::now();
        let start = Instant::now();
        self.tokens.clear();
        for i in 0..tokens {
            self.tokens.push(next);
            let word = Tensor::new(&[next], device)?.unsqueeze(0)?;
            next = greedy(&self.weights.forward(&word, prompt + i)?)?;
        }
        self.decode
            .push(tokens as f64 / start.elapsed().as_secs_f64());
        self.per_token = before.per_token(device, tokens);
        Ok(())
    }

    fn entry(mut self, lane: &Lane) -> ModelEntry {
        ModelEntry {
            lane: lane.name.into(),
            load_s: self.load_s,
            prefill_tokens_per_second: median(&mut self.prefill),
            decode_tokens_per_second: median(&mut self.decode),
            per_token: self.per_token,
            tokens: self.tokens,
        }
    }
}

/// candle-hip's counters at one time.
struct Counts {
    #[cfg(feature = "rocm")]
    counters: candle_hip::Counters,
}

impl Counts {
    fn now() -> Self {
        Self {
            #[cfg(feature = "rocm")]
            counters: candle_hip::counters(),
        }
    }

    #[cfg(feature = "rocm")]
    fn per_token(&self, device: &Device, tokens: usize) -> Option<PerToken> {
        if !matches!(device, Device::Rocm(_)) {
            return None;
        }
        let c = candle_hip::counters().since(&self.counters);
        let each = |count: u64| count as f64 / tokens as f64;
        Some(PerToken {
            launches: each(c.launches),
            allocations: each(c.mallocs),
            frees: each(c.frees),
            memsets: each(c.memsets),
            host_to_device: each(c.host_to_device.count),
            device_to_host: each(c.device_to_host.count),
            device_to_device: each(c.device_to_device.count),
            synchronizations: each(c.synchronizations),
        })
    }

    #[cfg(not(feature = "rocm"))]
    fn per_token(&self, _: &Device, _: usize) -> Option<PerToken> {
        None
    }
}

/// What to do with a model.
pub struct Run<'a> {
    /// Where the file is written, and deleted again.
    pub folder: &'a Path,
    pub prefill: usize,
    pub decode: usize,
    /// How often; the lanes take turns.
    pub rounds: usize,
    /// Also with the translated kernels.
    pub translated: bool,
    /// The file stays, for the next run to take.
    pub keep: bool,
}

/// The smallest model once on each lane, so that no kernel is loaded, or compiled, while a larger one's time is taken.
fn warm_up(bench: &Bench, name: &str, dtype: GgmlDType, with: &Run) -> Result<()> {
    let with = Run {
        prefill: 32,
        decode: 2,
        rounds: 0,
        keep: false,
        ..*with
    };
    run(bench, &WARM_UP, name, dtype, &with).map(drop)
}

/// Loads a model on each lane and has the lanes prompt and decode it in turns.
///
/// # Errors
/// The file cannot be written, or a lane does not run it.
pub fn run(
    bench: &Bench,
    shape: &Shape,
    name: &str,
    dtype: GgmlDType,
    run: &Run,
) -> Result<ModelRow> {
    let what = format!("{} {name}", shape.name);
    if shape.name != WARM_UP.name {
        warm_up(bench, name, dtype, run)?;
    }
    let file =
        ModelFile::new(run, shape, name, dtype).with_context(|| format!("writing {what}"))?;
    let path = file.path.as_path();
    let file_bytes = std::fs::metadata(path)?.len();
    // The first pass brings the file into the page cache, where it is for everyone.
    read(path)?;
    let read_s = read(path)?;
    let mut models = Vec::new();
    for (i, lane) in bench.lanes.iter().enumerate() {
        // Plain numbers are multiplied by the same kernels on both.
        let translated = run.translated && lane.is_translated() && !is_dense(dtype);
        if lane.is_plain() || translated {
            lane.select();
            models.push(
                load(path, i, &lane.device)
                    .with_context(|| format!("loading {what} on {}", lane.name))?,
            );
        }
    }
    // The first round warms up.
    for round in 0..=run.rounds {
        for model in &mut models {
            let lane = &bench.lanes[model.lane];
            model
                .generate(lane, run.prefill, run.decode, shape.vocabulary)
                .with_context(|| format!("{what} on {}", lane.name))?;
            if round == 0 && run.rounds > 0 {
                model.prefill.clear();
                model.decode.clear();
            }
        }
    }
    let entries: Vec<_> = models
        .into_iter()
        .map(|m| {
            let lane = &bench.lanes[m.lane];
            m.entry(lane)
        })
        .collect();
    for e in entries.iter().filter(|_| run.rounds > 0) {
        eprintln!(
            "{what} {}: load {:.2} s (read {read_s:.2}), prefill {:.0} t/s, decode {:.1} t/s",
            e.lane, e.load_s, e.prefill_tokens_per_second, e.decode_tokens_per_second
        );
    }
    Ok(ModelRow {
        model: shape.name.into(),
        weights: name.into(),
        file_bytes,
        read_s,
        prefill: run.prefill,
        decode: run.decode,
        entries,
    })
}
