//! A file that the PyPI package gguf wrote (examples/small-gguf/with_pypi_gguf.py), read like one of candle's.
use crate::support::{self, Logits};
use anyhow::{ensure, Context, Result};
use candle::quantized::gguf_file::{Content, Value};
use candle::Device;
use candle_examples::gguf_tokenizer;
use candle_transformers::models::quantized_llama::ModelWeights;
use std::io::Cursor;
use std::path::PathBuf;

/// Tokens of its vocabulary.
const VOCABULARY: u32 = 400;

fn path(name: &str) -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests");
    tests.join("rocm_architectures").join(name)
}

/// Each tensor on both devices against what gguf itself decodes its first rows to.
#[test]
fn tensors_are_what_gguf_decodes() -> Result<()> {
    let mut file = Cursor::new(std::fs::read(path("pypi.gguf"))?);
    let content = Content::read(&mut file)?;
    let rocm = Device::new_rocm(0)?;
    let mut types = Vec::new();
    for name in content.tensor_infos.keys() {
        let Some(of) = name.strip_prefix("expected.") else {
            continue;
        };
        let expected = content.tensor(&mut file, name, &Device::Cpu)?;
        let expected = expected.dequantize(&Device::Cpu)?.flatten_all()?;
        let expected = expected.to_vec1::<f32>()?;
        for device in [&Device::Cpu, &rocm] {
            let tensor = content.tensor(&mut file, of, device)?;
            types.push(tensor.dtype());
            let found = tensor.dequantize(device)?.flatten_all()?.to_vec1::<f32>()?;
            ensure!(
                found.len() >= expected.len(),
                "{of}: {} values",
                found.len()
            );
            for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
                // A product and a difference in f32, in another order.
                let near = (f - e).abs() <= 4. * f32::EPSILON * e.abs().max(1.);
                ensure!(near, "{of} {i} on {device:?}: {f}, gguf says {e}");
            }
        }
    }
    types.sort_by_key(|dtype| *dtype as u32);
    types.dedup();
    // Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, F16, BF16 and five k-quants.
    ensure!(types.len() == 12, "{types:?}");
    Ok(())
}

#[test]
fn logits_agree() -> Result<()> {
    let run = |file: &[u8], device: &Device| -> Result<Logits> {
        let mut file = Cursor::new(file);
        let content = Content::read(&mut file)?;
        let mut model = ModelWeights::from_gguf(content, &mut file, device)?;
        let model = Box::new(move |tokens: &_, at| model.forward(tokens, at));
        support::logits(model, device, VOCABULARY)
    };
    support::quantized(
        "gguf of PyPI",
        &std::fs::read(path("pypi.gguf"))?,
        false,
        run,
    )
}

/// The tokenizer built from the file against the library that trained it.
#[test]
fn tokens_are_those_of_sentencepiece() -> Result<()> {
    let embedded = gguf_tokenizer::read(&path("pypi.gguf"))?.context("no tokenizer")?;
    let tokenizer = embedded.tokenizer;
    ensure!(embedded.end == tokenizer.token_to_id("</s>"));
    let cases = std::fs::read_to_string(path("pypi.json"))?;
    let cases: Vec<serde_json::Value> = serde_json::from_str(&cases)?;
    ensure!(cases.len() >= 15, "{} texts", cases.len());
    for case in cases {
        let text = case["text"].as_str().context("no text")?;
        let expected: Vec<u32> = serde_json::from_value(case["ids"].clone())?;
        let found = tokenizer.encode(text, false).map_err(anyhow::Error::msg)?;
        ensure!(
            found.get_ids() == expected,
            "{text:?}: {:?}, {expected:?}",
            found.get_ids()
        );
        let said = tokenizer
            .decode(&expected, true)
            .map_err(anyhow::Error::msg)?;
        ensure!(
            Some(&said[..]) == case["decoded"].as_str(),
            "{text:?}: {said:?}"
        );
    }
    // As llama.cpp does, a prompt begins with <s>.
    let prompt = tokenizer.encode("a", true).map_err(anyhow::Error::msg)?;
    ensure!(
        prompt.get_tokens() == ["<s>", "▁a"],
        "{:?}",
        prompt.get_tokens()
    );
    Ok(())
}

/// Both write the architecture where candle looks for it.
#[test]
fn metadata_is_read() -> Result<()> {
    let mut file = Cursor::new(std::fs::read(path("pypi.gguf"))?);
    let metadata = Content::read(&mut file)?.metadata;
    let name = metadata.get("general.architecture").context("none")?;
    ensure!(matches!(name, Value::String(name) if name == "llama"));
    ensure!(metadata["llama.embedding_length"].to_u32()? == 64);
    Ok(())
}
