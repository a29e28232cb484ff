//! The architectures of the GGUF examples, each with the metadata and tensors that candle-transformers asks for.
//! Names and keys are those of the GGUF format (llama.cpp's `constants.py`), T5's those of its safetensors.
use crate::models::{Content, Sketch};
use crate::vocabulary;
use candle::quantized::gguf_file::Value;

/// A name, and what its small model consists of.
pub struct Architecture {
    pub name: &'static str,
    pub describe: fn() -> Sketch,
}

#[rustfmt::skip]
pub const ARCHITECTURES: &[Architecture] = &[
    Architecture { name: "llama",     describe: llama },
    Architecture { name: "llama-moe", describe: llama_moe },
    Architecture { name: "gemma3",    describe: gemma3 },
    Architecture { name: "glm4",      describe: glm4 },
    Architecture { name: "lfm2",      describe: lfm2 },
    Architecture { name: "phi2",      describe: phi2 },
    Architecture { name: "phi3",      describe: phi3 },
    Architecture { name: "qwen2",     describe: qwen2 },
    Architecture { name: "qwen3",     describe: qwen3 },
    Architecture { name: "qwen3-moe", describe: qwen3_moe },
    Architecture { name: "t5",        describe: t5 },
];

// Every matrix has a multiple of 256 columns, the block of the k-quants.
const LAYERS: usize = 2;
const HIDDEN: usize = 256;
const FEED_FORWARD: usize = 512;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD: usize = 64;
const CONTEXT: usize = 256;

/// The metadata that each decoder has under its own prefix.
fn decoder(architecture: &str) -> Sketch {
    let mut s = Sketch::default();
    let name = Value::String(architecture.into());
    s.set("general.architecture", name);
    for (key, value) in [
        ("block_count", LAYERS),
        ("embedding_length", HIDDEN),
        ("feed_forward_length", FEED_FORWARD),
        ("context_length", CONTEXT),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", KV_HEADS),
        ("attention.key_length", HEAD),
        ("attention.value_length", HEAD),
        ("rope.dimension_count", HEAD),
    ] {
        s.set(format!("{architecture}.{key}"), Value::U32(value as u32));
    }
    for (key, value) in [
        ("attention.layer_norm_rms_epsilon", 1e-6),
        ("rope.freq_base", 10_000.),
    ] {
        s.set(format!("{architecture}.{key}"), Value::F32(value));
    }
    let vocabulary = [vocabulary::SIZE, HIDDEN];
    s.tensor(Content::Embedding, "token_embd.weight", &vocabulary);
    s.tensor(Content::Output, "output.weight", &vocabulary);
    s.norms("output", &["norm"]);
    s
}

impl Sketch {
    /// Replaces what [`decoder`] set.
    fn change(&mut self, key: &str, value: Value) {
        self.metadata.retain(|(k, _)| k != key);
        self.set(key, value);
    }

    /// `prefix.NAME.weight`, scales of the hidden state; `output_norm` has no prefix of a block.
    fn norms(&mut self, prefix: &str, names: &[&str]) {
        let separator = if prefix == "output" { '_' } else { '.' };
        for name in names {
            let name = format!("{prefix}{separator}{name}.weight");
            self.tensor(Content::Norm, name, &[HIDDEN]);
        }
    }

    fn matrix(&mut self, prefix: &str, name: &str, rows: usize, columns: usize) {
        let name = format!("{prefix}.{name}.weight");
        self.tensor(Content::Matrix, name, &[rows, columns]);
    }

    fn bias(&mut self, prefix: &str, name: &str, len: usize) {
        self.tensor(Content::Bias, format!("{prefix}.{name}.bias"), &[len]);
    }

    /// The four matrices of attention.
    fn attention(&mut self, p: &str) {
        self.matrix(p, "attn_q", HEADS * HEAD, HIDDEN);
        self.matrix(p, "attn_k", KV_HEADS * HEAD, HIDDEN);
        self.matrix(p, "attn_v", KV_HEADS * HEAD, HIDDEN);
        self.matrix(p, "attn_output", HIDDEN, HEADS * HEAD);
    }

    /// Scales of queries and keys, a head at a time.
    fn head_norms(&mut self, p: &str, head: usize) {
        for name in ["attn_q_norm", "attn_k_norm"] {
            self.tensor(Content::Norm, format!("{p}.{name}.weight"), &[head]);
        }
    }

    /// The three matrices of a gated feed-forward network.
    fn gated(&mut self, p: &str) {
        self.matrix(p, "ffn_gate", FEED_FORWARD, HIDDEN);
        self.matrix(p, "ffn_up", FEED_FORWARD, HIDDEN);
        self.matrix(p, "ffn_down", HIDDEN, FEED_FORWARD);
    }
}

fn blocks() -> impl Iterator<Item = String> {
    (0..LAYERS).map(|layer| format!("blk.{layer}"))
}

fn llama() -> Sketch {
    let mut s = decoder("llama");
    for p in blocks() {
        s.norms(&p, &["attn_norm", "ffn_norm"]);
        s.attention(&p);
        s.gated(&p);
    }
    s
}

/// Mixtral's kind: the experts are matrices of their own.
fn llama_moe() -> Sketch {
    const EXPERTS: usize = 4;
    let mut s = decoder("llama");
    s.set("llama.expert_count", Value::U32(EXPERTS as u32));
    s.set("llama.expert_used_count", Value::U32(2));
    for p in blocks() {
        s.norms(&p, &["attn_norm", "ffn_norm"]);
        s.attention(&p);
        let router = format!("{p}.ffn_gate_inp.weight");
        s.tensor(Content::Plain, router, &[EXPERTS, HIDDEN]);
        for e in 0..EXPERTS {
            s.matrix(&p, &format!("ffn_gate.{e}"), HIDDEN, HIDDEN);
            s.matrix(&p, &format!("ffn_up.{e}"), HIDDEN, HIDDEN);
            s.matrix(&p, &format!("ffn_down.{e}"), HIDDEN, HIDDEN);
        }
    }
    s
}

/// Every other layer sees a window that is shorter than the tests' prompt. The output is the embedding again.
fn gemma3() -> Sketch {
    // Its rotation tables have 131072 rows whatever the context: a short head keeps them small.
    const HEAD: usize = 32;
    const HEADS: usize = 8;
    let mut s = decoder("gemma3");
    for (key, value) in [
        ("attention.head_count", HEADS),
        ("attention.key_length", HEAD),
        ("attention.value_length", HEAD),
        ("attention.sliding_window", 8),
        ("attention.sliding_window_type", 2),
    ] {
        s.change(&format!("gemma3.{key}"), Value::U32(value as u32));
    }
    s.tensors.retain(|t| t.name != "output.weight");
    for p in blocks() {
        let (before, after) = (
            ["attn_norm", "ffn_norm"],
            ["post_attention_norm", "post_ffw_norm"],
        );
        s.norms(&p, &before);
        s.norms(&p, &after);
        s.matrix(&p, "attn_q", HEADS * HEAD, HIDDEN);
        s.matrix(&p, "attn_k", KV_HEADS * HEAD, HIDDEN);
        s.matrix(&p, "attn_v", KV_HEADS * HEAD, HIDDEN);
        s.matrix(&p, "attn_output", HIDDEN, HEADS * HEAD);
        s.head_norms(&p, HEAD);
        s.gated(&p);
    }
    s
}

/// Gate and up are one matrix; half of each head is rotated.
fn glm4() -> Sketch {
    let mut s = decoder("glm4");
    for p in blocks() {
        let (before, after) = (
            ["attn_norm", "ffn_norm"],
            ["post_attention_norm", "post_ffw_norm"],
        );
        s.norms(&p, &before);
        s.norms(&p, &after);
        s.attention(&p);
        s.bias(&p, "attn_q", HEADS * HEAD);
        s.bias(&p, "attn_k", KV_HEADS * HEAD);
        s.bias(&p, "attn_v", KV_HEADS * HEAD);
        s.matrix(&p, "ffn_up", 2 * FEED_FORWARD, HIDDEN);
        s.matrix(&p, "ffn_down", HIDDEN, FEED_FORWARD);
    }
    s
}

/// A layer with a short convolution in place of attention, then one with attention.
fn lfm2() -> Sketch {
    const TAPS: usize = 3;
    let mut s = decoder("lfm2");
    let heads = [0, KV_HEADS].map(|heads| Value::U32(heads as u32));
    s.change("lfm2.attention.head_count_kv", Value::Array(heads.to_vec()));
    s.set("lfm2.shortconv.l_cache", Value::U32(TAPS as u32));
    for p in blocks() {
        s.norms(&p, &["attn_norm", "ffn_norm"]);
        if p == "blk.0" {
            s.matrix(&p, "shortconv.in_proj", 3 * HIDDEN, HIDDEN);
            s.matrix(&p, "shortconv.out_proj", HIDDEN, HIDDEN);
            let taps = format!("{p}.shortconv.conv.weight");
            s.tensor(Content::Plain, taps, &[HIDDEN, TAPS]);
        } else {
            s.attention(&p);
            s.head_norms(&p, HEAD);
        }
        s.gated(&p);
    }
    s
}

/// Attention and feed-forward side by side, with biases, layer norms and no gate; every head has keys of its own.
fn phi2() -> Sketch {
    let mut s = decoder("phi2");
    let heads = Value::U32(HEADS as u32);
    s.change("phi2.attention.head_count_kv", heads);
    s.set("phi2.attention.layer_norm_epsilon", Value::F32(1e-5));
    // A part of each head is rotated.
    s.change("phi2.rope.dimension_count", Value::U32(HEAD as u32 / 2));
    s.tensor(Content::Bias, "output.bias", &[vocabulary::SIZE]);
    s.tensor(Content::Bias, "output_norm.bias", &[HIDDEN]);
    for p in blocks() {
        s.norms(&p, &["attn_norm"]);
        for (name, rows, columns) in [
            ("attn_qkv", 3 * HIDDEN, HIDDEN),
            ("attn_output", HIDDEN, HIDDEN),
            ("ffn_up", FEED_FORWARD, HIDDEN),
            ("ffn_down", HIDDEN, FEED_FORWARD),
        ] {
            s.matrix(&p, name, rows, columns);
            s.bias(&p, name, rows);
        }
        s.bias(&p, "attn_norm", HIDDEN);
    }
    s
}

/// Queries, keys and values are one matrix, gate and up another.
fn phi3() -> Sketch {
    let mut s = decoder("phi3");
    for p in blocks() {
        s.norms(&p, &["attn_norm", "ffn_norm"]);
        s.matrix(&p, "attn_qkv", (HEADS + 2 * KV_HEADS) * HEAD, HIDDEN);
        s.matrix(&p, "attn_output", HIDDEN, HEADS * HEAD);
        s.matrix(&p, "ffn_up", 2 * FEED_FORWARD, HIDDEN);
        s.matrix(&p, "ffn_down", HIDDEN, FEED_FORWARD);
    }
    s
}

fn qwen2() -> Sketch {
    let mut s = decoder("qwen2");
    for p in blocks() {
        s.norms(&p, &["attn_norm", "ffn_norm"]);
        s.attention(&p);
        s.bias(&p, "attn_q", HEADS * HEAD);
        s.bias(&p, "attn_k", KV_HEADS * HEAD);
        s.bias(&p, "attn_v", KV_HEADS * HEAD);
        s.gated(&p);
    }
    s
}

fn qwen3() -> Sketch {
    let mut s = decoder("qwen3");
    // candle keeps the rotation tables in f16 otherwise, whose rounding hides everything else.
    s.set("general.dtype", Value::U32(0));
    for p in blocks() {
        s.norms(&p, &["attn_norm", "ffn_norm"]);
        s.attention(&p);
        s.head_norms(&p, HEAD);
        s.gated(&p);
    }
    s
}

/// The experts of a layer are one tensor `[experts, rows, columns]` for each of gate, up and down.
fn qwen3_moe() -> Sketch {
    const EXPERTS: usize = 8;
    let mut s = decoder("qwen3moe");
    // With these weights no router's choice of experts hangs on how activations are rounded.
    s.seed = " 2";
    for (key, value) in [
        ("expert_count", EXPERTS),
        ("expert_used_count", 2),
        ("expert_feed_forward_length", HIDDEN),
    ] {
        s.set(format!("qwen3moe.{key}"), Value::U32(value as u32));
    }
    for p in blocks() {
        s.norms(&p, &["attn_norm", "ffn_norm"]);
        s.attention(&p);
        s.head_norms(&p, HEAD);
        let router = format!("{p}.ffn_gate_inp.weight");
        s.tensor(Content::Plain, router, &[EXPERTS, HIDDEN]);
        for name in ["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"] {
            let name = format!("{p}.{name}.weight");
            s.tensor(Content::Matrix, name, &[EXPERTS, HIDDEN, HIDDEN]);
        }
    }
    s
}

/// What goes beside T5's weights, which carry no metadata.
pub fn t5_config() -> String {
    let vocabulary = vocabulary::SIZE;
    format!(
        r#"{{
  "vocab_size": {vocabulary}, "d_model": {HIDDEN}, "d_kv": {HEAD}, "d_ff": {FEED_FORWARD},
  "num_layers": {LAYERS}, "num_heads": {HEADS}, "relative_attention_num_buckets": 32,
  "dropout_rate": 0.1, "layer_norm_epsilon": 1e-6, "initializer_factor": 1.0,
  "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false,
  "is_encoder_decoder": true, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0
}}
"#
    )
}

fn t5() -> Sketch {
    let mut s = Sketch::default();
    s.set("general.architecture", Value::String("t5".into()));
    let vocabulary = [vocabulary::SIZE, HIDDEN];
    s.tensor(Content::Embedding, "shared.weight", &vocabulary);
    s.tensor(Content::Output, "lm_head.weight", &vocabulary);
    for (stack, parts) in [
        ("encoder", &["SelfAttention", "DenseReluDense"][..]),
        (
            "decoder",
            &["SelfAttention", "EncDecAttention", "DenseReluDense"],
        ),
    ] {
        s.norms(stack, &["final_layer_norm"]);
        for layer in 0..LAYERS {
            for (i, part) in parts.iter().enumerate() {
                let place = format!("{stack}.block.{layer}.layer.{i}");
                s.norms(&place, &["layer_norm"]);
                let p = format!("{place}.{part}");
                if *part == "DenseReluDense" {
                    s.matrix(&p, "wi_0", FEED_FORWARD, HIDDEN);
                    s.matrix(&p, "wi_1", FEED_FORWARD, HIDDEN);
                    s.matrix(&p, "wo", HIDDEN, FEED_FORWARD);
                    continue;
                }
                s.tensor(Content::Query, format!("{p}.q.weight"), &[HIDDEN, HIDDEN]);
                for name in ["k", "v", "o"] {
                    s.matrix(&p, name, HIDDEN, HIDDEN);
                }
                if layer == 0 && *part == "SelfAttention" {
                    let table = format!("{p}.relative_attention_bias.weight");
                    s.tensor(Content::Plain, table, &[32, HEADS]);
                }
            }
        }
    }
    s
}
