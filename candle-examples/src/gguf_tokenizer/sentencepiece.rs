//! Tokenizers of the kind `llama` in a GGUF file: SentencePiece's BPE, as Llama 1 and 2, Mistral, Phi 3 and Gemma have
//! it. The file holds the pieces and their scores; merges follow from them, since SentencePiece joins the neighbours
//! whose joint piece scores best.
use candle::quantized::gguf_file::{Content, Value};
use candle::{Error, Result};
use std::collections::HashMap;
use tokenizers::decoders::{
    byte_fallback::ByteFallback, fuse::Fuse, sequence::Sequence as Decoders, strip::Strip,
};
use tokenizers::models::bpe::{Vocab, BPE};
use tokenizers::normalizers::{prepend::Prepend, replace::Replace, utils::Sequence as Normalizers};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, DecoderWrapper, Model, NormalizerWrapper, Tokenizer};

/// Stands for a space inside pieces.
const SPACE: &str = "▁";

/// Numbers of llama.cpp's `llama_token_type`.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

fn get<'a>(content: &'a Content, key: &str) -> Option<&'a Value> {
    content.metadata.get(&format!("tokenizer.ggml.{key}"))
}

fn list<'a>(content: &'a Content, key: &str) -> Result<&'a [Value]> {
    match get(content, key) {
        Some(value) => Ok(value.to_vec()?),
        None => candle::bail!("missing GGUF metadata key `tokenizer.ggml.{key}`"),
    }
}

fn flag(content: &Content, key: &str, default: bool) -> Result<bool> {
    get(content, key).map_or(Ok(default), Value::to_bool)
}

/// The piece that `key` gives the number of.
fn piece<'a>(content: &Content, pieces: &[&'a str], key: &str) -> Result<Option<(&'a str, u32)>> {
    let Some(value) = get(content, key) else {
        return Ok(None);
    };
    let id = value.to_u32()?;
    match pieces.get(id as usize) {
        Some(piece) => Ok(Some((piece, id))),
        None => candle::bail!(
            "`tokenizer.ggml.{key}` is {id}, and there are {} tokens",
            pieces.len()
        ),
    }
}

/// Each pair of pieces that makes a third, the best score first.
fn merges(
    pieces: &[&str],
    scores: &[f32],
    joined: impl Fn(usize) -> bool,
) -> Vec<(String, String)> {
    let known: HashMap<&str, usize> = pieces.iter().enumerate().map(|(i, p)| (*p, i)).collect();
    let mut found = Vec::new();
    for (id, piece) in pieces.iter().enumerate().filter(|(id, _)| joined(*id)) {
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            if let (Some(l), Some(r)) = (known.get(left), known.get(right)) {
                found.push((scores[id], *l, *r));
            }
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let names = |(_, l, r): (f32, usize, usize)| (pieces[l].to_string(), pieces[r].to_string());
    found.into_iter().map(names).collect()
}

/// The tokenizer in a file's metadata.
///
/// # Errors
/// When a key is missing, of another type, or does not fit the others.
pub(super) fn tokenizer(content: &Content) -> Result<Tokenizer> {
    let pieces = list(content, "tokens")?;
    let pieces = pieces.iter().map(|v| v.to_string().map(String::as_str));
    let pieces = pieces.collect::<Result<Vec<_>>>()?;
    let scores = list(content, "scores")?;
    let scores = scores.iter().map(Value::to_f32);
    let scores = scores.collect::<Result<Vec<_>>>()?;
    let kinds = list(content, "token_type")?;
    let kinds = kinds.iter().map(|v| match v {
        Value::U32(v) => Ok(i64::from(*v)),
        v => v.to_i32().map(i64::from),
    });
    let kinds = kinds.collect::<Result<Vec<_>>>()?;
    if scores.len() != pieces.len() || kinds.len() != pieces.len() {
        candle::bail!(
            "the tokenizer has {} tokens, {} scores and {} types",
            pieces.len(),
            scores.len(),
            kinds.len()
        )
    }
    let ordinary = |id: usize| !matches!(kinds[id], UNKNOWN | CONTROL | USER_DEFINED);
    let ids = pieces.iter().enumerate();
    let vocab: Vocab = ids.map(|(id, p)| (p.to_string(), id as u32)).collect();
    let mut bpe = BPE::builder()
        .vocab_and_merges(vocab, merges(&pieces, &scores, ordinary))
        .byte_fallback(true)
        .fuse_unk(true);
    if let Some(id) = kinds.iter().position(|kind| *kind == UNKNOWN) {
        bpe = bpe.unk_token(pieces[id].to_string());
    }
    let mut tokenizer = Tokenizer::new(bpe.build().map_err(Error::wrap)?);

    let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
    let prefix = flag(content, "add_space_prefix", true)?;
    if prefix {
        normalizers.push(Prepend::new(SPACE.into()).into());
    }
    normalizers.push(Replace::new(" ", SPACE).map_err(Error::wrap)?.into());
    let normalizers = Normalizers::new(normalizers);
    let normalized = tokenizer.with_normalizer(Some(normalizers));
    normalized.map_err(Error::wrap)?;

    let mut decoders: Vec<DecoderWrapper> = vec![
        Replace::new(SPACE, " ").map_err(Error::wrap)?.into(),
        ByteFallback::new().into(),
        Fuse::new().into(),
    ];
    if prefix {
        decoders.push(Strip::new(' ', 1, 0).into());
    }
    tokenizer.with_decoder(Some(Decoders::new(decoders)));

    let mut template = vec!["$0".to_string()];
    let mut named = Vec::new();
    if flag(content, "add_bos_token", true)? {
        if let Some((begin, id)) = piece(content, &pieces, "bos_token_id")? {
            template.insert(0, begin.into());
            named.push((begin.to_string(), id));
        }
    }
    if flag(content, "add_eos_token", false)? {
        if let Some((end, id)) = piece(content, &pieces, "eos_token_id")? {
            template.push(end.into());
            named.push((end.to_string(), id));
        }
    }
    let mut processor = TemplateProcessing::builder();
    processor.try_single(template).map_err(Error::msg)?;
    let processor = processor.special_tokens(named).build();
    tokenizer.with_post_processor(Some(processor.map_err(Error::wrap)?));

    let of_kind = |kind| {
        let pieces = pieces.iter().zip(&kinds).filter(move |(_, k)| **k == kind);
        pieces.map(move |(piece, _)| AddedToken::from(piece.to_string(), kind == CONTROL))
    };
    let control: Vec<_> = of_kind(CONTROL).collect();
    tokenizer.add_special_tokens(control).map_err(Error::wrap)?;
    // Text in between is normalized, these are not.
    let own: Vec<_> = of_kind(USER_DEFINED).map(|t| t.normalized(false)).collect();
    tokenizer.add_tokens(own).map_err(Error::wrap)?;
    debug_assert_eq!(tokenizer.get_model().get_vocab_size(), pieces.len());
    Ok(tokenizer)
}
