//! Writes a small random model of every architecture that the GGUF examples run: seconds to make, a few hundred
//! kilobytes each, the same bytes every time. What they say makes no sense; that every device says the same does.
//!
//!     cargo run --example small-gguf -- DIR --type q4_k_m
//!
//! DIR then holds NAME.gguf with a tokenizer inside, and for T5 t5-config.json and tokenizer.json.
mod architectures;
mod models;
mod vocabulary;

use anyhow::{Context, Result};
use architectures::ARCHITECTURES;
use candle::quantized::GgmlDType;
use clap::{Parser, ValueEnum};
use models::Weights;
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Type {
    F32,
    F16,
    #[value(name = "q8_0")]
    Q8_0,
    #[value(name = "q4_0")]
    Q4_0,
    #[value(name = "q4k")]
    Q4K,
    #[value(name = "q4_k_m")]
    Q4KM,
}

#[derive(Parser)]
#[command(about)]
struct Args {
    /// Folder for the files; made where it does not exist.
    dir: PathBuf,
    /// The type of the matrices.
    #[arg(long, value_enum, default_value = "q4_k_m")]
    r#type: Type,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let weights = match args.r#type {
        Type::F32 => Weights::All(GgmlDType::F32),
        Type::F16 => Weights::All(GgmlDType::F16),
        Type::Q8_0 => Weights::All(GgmlDType::Q8_0),
        Type::Q4_0 => Weights::All(GgmlDType::Q4_0),
        Type::Q4K => Weights::All(GgmlDType::Q4K),
        Type::Q4KM => Weights::Q4KM,
    };
    std::fs::create_dir_all(&args.dir).with_context(|| format!("{}", args.dir.display()))?;
    let write = |name: String, bytes: &[u8]| {
        let path = args.dir.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("{}", path.display()))
    };
    for architecture in ARCHITECTURES {
        let name = architecture.name;
        let file = models::gguf(name, &(architecture.describe)(), weights)?;
        println!("{name}.gguf: {} bytes", file.len());
        write(format!("{name}.gguf"), &file)?;
    }
    write(
        "t5-config.json".into(),
        architectures::t5_config().as_bytes(),
    )?;
    let llama = candle_examples::gguf_tokenizer::read(&args.dir.join("llama.gguf"))?;
    let llama = llama.context("llama.gguf has no tokenizer")?;
    let json = llama.tokenizer.to_string(true);
    let json = json.map_err(anyhow::Error::msg)?;
    write("tokenizer.json".into(), json.as_bytes())
}
