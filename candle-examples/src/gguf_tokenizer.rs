//! The tokenizer that a GGUF file carries in its metadata, so that a model file runs alone and without a network.
use candle::quantized::gguf_file;
use candle::quantized::tokenizer::TokenizerFromGguf;
use candle::{Error, Result};
use std::io::{Read, Seek};
use std::path::Path;
use tokenizers::Tokenizer;

mod sentencepiece;

/// A tokenizer and the id of the token that ends an answer, where the file names one.
pub struct Embedded {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Id of the token that ends an answer.
    pub end: Option<u32>,
}

/// Reads the tokenizer of the model file at `path`; `None` when the file is no GGUF or carries no tokenizer.
///
/// # Errors
/// When the file cannot be read, or when it carries a tokenizer that candle does not support.
pub fn read(path: &Path) -> Result<Option<Embedded>> {
    let in_file = |e: Error| Error::msg(format!("{}: {}", path.display(), plain(&e)));
    let mut file = std::fs::File::open(path).map_err(|e| in_file(e.into()))?;
    if !is_gguf(&mut file).map_err(|e| in_file(e.into()))? {
        return Ok(None);
    }
    let content = gguf_file::Content::read(&mut file).map_err(in_file)?;
    if !content.metadata.contains_key("tokenizer.ggml.tokens") {
        return Ok(None);
    }
    let tokenizer = match content.metadata.get("tokenizer.ggml.model") {
        Some(gguf_file::Value::String(kind)) if kind == "llama" => {
            sentencepiece::tokenizer(&content)
        }
        _ => Tokenizer::from_gguf(&content),
    };
    let tokenizer = tokenizer.map_err(in_file)?;
    let end = match content.metadata.get("tokenizer.ggml.eos_token_id") {
        Some(id) => Some(id.to_u32().map_err(in_file)?),
        None => None,
    };
    Ok(Some(Embedded { tokenizer, end }))
}

/// Reads the tokenizer of a model file that was given without `--tokenizer`. `None`: take the hub's, as ever with files
/// of the older GGML format, and with a GGUF whose hub model the user named.
///
/// # Errors
/// When a GGUF carries no tokenizer that candle supports, and the user named no hub model whose tokenizer would do.
pub fn of_model(path: &Path, hub_model_named: bool) -> Result<Option<Embedded>> {
    let reason = match read(path) {
        Ok(Some(embedded)) => return Ok(Some(embedded)),
        Ok(None) => match std::fs::File::open(path).and_then(|mut file| is_gguf(&mut file))? {
            false => return Ok(None),
            true => format!("{}: the file carries no tokenizer", path.display()),
        },
        Err(e) => plain(&e),
    };
    if hub_model_named {
        eprintln!("{reason}; taking the hub's");
        return Ok(None);
    }
    candle::bail!("{reason}; give one with --tokenizer tokenizer.json")
}

/// The tokenizer inside the model file of an example that runs one architecture, so that the hub's tokenizer fits
/// too. `None`: take that one; stderr says why, in case it cannot be had.
pub fn of_example(model: Option<&str>) -> Option<Tokenizer> {
    let path = Path::new(model?);
    let reason = match read(path) {
        Ok(Some(embedded)) => return Some(embedded.tokenizer),
        Ok(None) => format!("{}: the file carries no tokenizer", path.display()),
        Err(e) => plain(&e),
    };
    eprintln!("{reason}; taking the hub's (--tokenizer tokenizer.json names a local one)");
    None
}

/// The id of the token that ends an answer: the file's own, else the one called `name`.
///
/// # Errors
/// When the tokenizer has no such token.
pub fn end_token(tokenizer: &Tokenizer, embedded: Option<u32>, name: &str) -> Result<u32> {
    match embedded.or_else(|| tokenizer.token_to_id(name)) {
        Some(id) => Ok(id),
        None => candle::bail!(
            "the tokenizer has no token `{name}`, which ends an answer of this model; \
             --which or --tokenizer does not fit the model file"
        ),
    }
}

/// Whether the file starts like a GGUF; leaves it at its start.
fn is_gguf(file: &mut std::fs::File) -> std::io::Result<bool> {
    let mut magic = Vec::new();
    file.take(4).read_to_end(&mut magic)?;
    file.rewind()?;
    Ok(magic == *b"GGUF")
}

/// The error's message without a backtrace.
pub(crate) fn plain(e: &Error) -> String {
    match e {
        Error::WithBacktrace { inner, .. } => plain(inner),
        e => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gguf_file::Value;
    use std::path::PathBuf;

    fn demo_model() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../demo-model/candle-rocm-demo-f16.gguf")
    }

    /// A file in the folder of temporary files that goes away with the value.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, content: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("{}-{name}", std::process::id()));
            std::fs::write(&path, content).unwrap();
            Self(path)
        }

        fn gguf(name: &str, metadata: &[(&str, Value)]) -> Self {
            let mut bytes = std::io::Cursor::new(Vec::new());
            let metadata: Vec<_> = metadata.iter().map(|(k, v)| (*k, v)).collect();
            gguf_file::write(&mut bytes, &metadata, &[]).unwrap();
            Self::new(name, bytes.get_ref())
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn refusal(path: &Path) -> String {
        match of_model(path, false) {
            Ok(_) => panic!("{} was accepted", path.display()),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn the_demo_models_tokenizer_gives_a_text_back() {
        let embedded = of_model(&demo_model(), false).unwrap().unwrap();
        assert!(of_example(demo_model().to_str()).is_some());
        assert!(of_example(None).is_none());
        let text = "What is two plus three?";
        let ids = embedded.tokenizer.encode(text, true).unwrap();
        // <s> is in front.
        assert_eq!(ids.get_ids()[0], 0);
        assert_eq!(
            embedded.tokenizer.decode(ids.get_ids(), true).unwrap(),
            text
        );
        assert_eq!(embedded.end, embedded.tokenizer.token_to_id("</s>"));
    }

    #[test]
    fn a_gguf_without_a_tokenizer_asks_for_one() {
        let file = Scratch::gguf("bare.gguf", &[("general.name", Value::String("x".into()))]);
        let error = refusal(&file.0);
        assert!(
            error.contains("bare.gguf") && error.contains("--tokenizer"),
            "{error}"
        );
        assert!(of_model(&file.0, true).unwrap().is_none());
        assert!(of_example(file.0.to_str()).is_none());
    }

    #[test]
    fn a_tokenizer_of_an_unsupported_kind_is_named() {
        let tokens = Value::Array(vec![Value::String("a".into())]);
        let kind = Value::String("rwkv".into());
        let metadata = [
            ("tokenizer.ggml.model", kind),
            ("tokenizer.ggml.tokens", tokens),
        ];
        let file = Scratch::gguf("rwkv.gguf", &metadata);
        let error = refusal(&file.0);
        assert!(
            error.contains("`rwkv`") && error.contains("--tokenizer"),
            "{error}"
        );
    }

    /// The kind `llama`; that its tokens are right is tested against SentencePiece (tests/rocm_architectures).
    #[test]
    fn a_sentencepiece_tokenizer_that_does_not_fit_together_is_refused() {
        let strings = |texts: &[&str]| {
            let texts = texts.iter().map(|text| Value::String(text.to_string()));
            Value::Array(texts.collect())
        };
        let numbers = |count| Value::Array((0..count).map(|i| Value::F32(-(i as f32))).collect());
        let types = |count| Value::Array(vec![Value::I32(1); count]);
        let kind = || ("tokenizer.ggml.model", Value::String("llama".into()));
        let tokens = || ("tokenizer.ggml.tokens", strings(&["a", "b", "ab"]));
        let cases = [
            (vec![kind(), tokens()], "tokenizer.ggml.scores"),
            (
                vec![
                    kind(),
                    tokens(),
                    ("tokenizer.ggml.scores", numbers(2)),
                    ("tokenizer.ggml.token_type", types(3)),
                ],
                "3 tokens, 2 scores and 3 types",
            ),
            (
                vec![
                    kind(),
                    tokens(),
                    ("tokenizer.ggml.scores", numbers(3)),
                    ("tokenizer.ggml.token_type", types(3)),
                    ("tokenizer.ggml.bos_token_id", Value::U32(9)),
                ],
                "`tokenizer.ggml.bos_token_id` is 9",
            ),
        ];
        for (metadata, part) in cases {
            let file = Scratch::gguf("pieces.gguf", &metadata);
            let error = refusal(&file.0);
            assert!(
                error.contains(part) && error.contains("pieces.gguf"),
                "{error}"
            );
        }
    }

    #[test]
    fn another_format_is_left_to_the_hub_and_a_missing_file_is_named() {
        let file = Scratch::new("model.bin", b"tjgg and more");
        assert!(of_model(&file.0, false).unwrap().is_none());
        let error = refusal(Path::new("/nowhere/at all.gguf"));
        assert!(error.contains("/nowhere/at all.gguf"), "{error}");
    }

    #[test]
    fn a_truncated_file_is_an_error_that_names_it() {
        let whole = std::fs::read(demo_model()).unwrap();
        let file = Scratch::new("short.gguf", &whole[..300]);
        let error = refusal(&file.0);
        assert!(error.contains("short.gguf"), "{error}");
    }

    #[test]
    fn the_end_token_is_the_files_else_the_named_one() {
        let tokenizer = of_model(&demo_model(), false).unwrap().unwrap().tokenizer;
        assert_eq!(end_token(&tokenizer, Some(7), "</s>").unwrap(), 7);
        assert_eq!(end_token(&tokenizer, None, "</s>").unwrap(), 1);
        let error = end_token(&tokenizer, None, "<|nothing|>")
            .unwrap_err()
            .to_string();
        assert!(error.contains("<|nothing|>"), "{error}");
    }
}
