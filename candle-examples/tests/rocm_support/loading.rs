//! Loading the small models of examples/small-gguf, whose modules the test that includes this has at its root.
use anyhow::{bail, Result};
use candle::quantized::gguf_file;
use candle::{DType, Device, Tensor};
use candle_transformers::models as m;
use std::io::Cursor;

/// A loaded model: tokens `[1, n]` and their first position give the logits of the next token.
pub type Model = Box<dyn FnMut(&Tensor, usize) -> candle::Result<Tensor>>;

/// Loads the model `file` of an architecture the way its example does, with keys and values in f32.
pub fn load(architecture: &str, file: &[u8], device: &Device) -> Result<Model> {
    load_as(architecture, file, device, DType::F32)
}

/// With keys and values in `dtype`, where the model lets its user choose.
pub fn load_as(architecture: &str, file: &[u8], device: &Device, dtype: DType) -> Result<Model> {
    let mut reader = Cursor::new(file);
    let content = gguf_file::Content::read(&mut reader)?;
    let r = &mut reader;
    Ok(match architecture {
        "llama" | "llama-moe" => {
            let mut model = m::quantized_llama::ModelWeights::from_gguf(content, r, device)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "gemma3" => {
            let mut model = m::quantized_gemma3::ModelWeights::from_gguf(content, r, device)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "glm4" => {
            let mut model = m::quantized_glm4::ModelWeights::from_gguf(content, r, device, dtype)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "lfm2" => {
            let mut model = m::quantized_lfm2::ModelWeights::from_gguf(content, r, device)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "phi2" => {
            let mut model = m::quantized_phi::ModelWeights::from_gguf(content, r, device)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "phi3" => {
            let mut model = m::quantized_phi3::ModelWeights::from_gguf(false, content, r, device)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "qwen2" => {
            let mut model = m::quantized_qwen2::ModelWeights::from_gguf(content, r, device)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "qwen3" => {
            let mut model = m::quantized_qwen3::ModelWeights::from_gguf(content, r, device)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "qwen3-moe" => {
            let mut model =
                m::quantized_qwen3_moe::GGUFQWenMoE::from_gguf(content, r, device, dtype)?;
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "t5" => encoder_decoder(file, device)?,
        _ => bail!("no loader for {architecture}"),
    })
}

/// The prompt goes through the encoder, and the tokens after it through the decoder, which starts with token 0.
fn encoder_decoder(file: &[u8], device: &Device) -> Result<Model> {
    let config = serde_json::from_str(&crate::architectures::t5_config())?;
    let weights = m::quantized_t5::VarBuilder::from_gguf_buffer(file, device)?;
    let mut model = m::quantized_t5::T5ForConditionalGeneration::load(weights, &config)?;
    let mut encoded = None;
    Ok(Box::new(move |tokens, at| {
        if at == 0 {
            encoded = Some(model.encode(tokens)?);
        }
        let start = tokens.zeros_like()?.narrow(1, 0, 1)?;
        let tokens = if at == 0 { &start } else { tokens };
        match &encoded {
            Some(encoded) => model.decode(tokens, encoded),
            None => candle::bail!("no prompt was encoded"),
        }
    }))
}
