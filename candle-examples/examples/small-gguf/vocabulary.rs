//! The vocabulary of the small models: a token per byte, a few merges, the special tokens that the examples name, and
//! words, so that there is something to read in what the models say.
use candle::quantized::gguf_file::Value;

/// Tokens in all; the embeddings have a row for each.
pub const SIZE: usize = 320;

/// Ends an answer where an example names no other token.
const END: &str = "</s>";

/// Special tokens that the examples put around a prompt or wait for.
const SPECIAL: [&str; 11] = [
    "<s>",
    END,
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|user|>",
    "<|assistant|>",
    "[gMASK]",
    "<sop>",
    "<start_of_turn>",
    "<end_of_turn>",
];

/// Pairs that are merged, in order.
const MERGES: [(&str, &str); 8] = [
    ("t", "h"),
    ("th", "e"),
    ("i", "n"),
    ("e", "r"),
    ("a", "n"),
    ("o", "u"),
    ("Ġ", "the"),
    ("l", "l"),
];

/// Words that no merge leads to: a prompt never has them, an answer does.
const WORDS: &str = "acorn amber anchor autumn basil birch bread brook candle cedar cloud copper coral crane dawn \
     ember falcon fern field flint forest garden granite harbor hazel heron island ivory juniper lantern \
     maple marble meadow mint moss oak olive orchard otter pearl pine quartz raven river saffron";

/// The first token that is no single byte.
pub const AFTER_BYTES: usize = 256;

/// The printable character that stands for a byte in byte-level BPE, as GPT-2 chose them: printable bytes of Latin-1
/// are themselves, the others follow from U+0100 on.
fn symbol(byte: u8) -> char {
    let printable = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|b| !printable(*b)).count() as u32;
    char::from_u32(256 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Every token with its type in llama.cpp's numbers: 1 normal, 3 control.
fn tokens() -> Vec<(String, u32)> {
    let bytes = (0..=255).map(|byte| (symbol(byte).to_string(), 1));
    let merged = MERGES.iter().map(|(a, b)| (format!("{a}{b}"), 1));
    let special = SPECIAL.iter().map(|name| (name.to_string(), 3));
    let words = WORDS.split_whitespace().map(|word| (format!("Ġ{word}"), 1));
    let all = bytes.chain(merged).chain(special).chain(words);
    all.take(SIZE).collect()
}

/// The tokenizer as GGUF metadata.
pub fn metadata() -> Vec<(String, Value)> {
    let tokens = tokens();
    let end = tokens.iter().position(|(token, _)| token == END);
    let strings = |texts: Vec<String>| Value::Array(texts.into_iter().map(Value::String).collect());
    let merges = MERGES.iter().map(|(a, b)| format!("{a} {b}")).collect();
    let types = tokens.iter().map(|(_, kind)| Value::I32(*kind as i32));
    let types = Value::Array(types.collect());
    let names = strings(tokens.into_iter().map(|(token, _)| token).collect());
    let end = Value::U32(end.unwrap_or(0) as u32);
    [
        ("model", Value::String("gpt2".into())),
        ("tokens", names),
        ("token_type", types),
        ("merges", strings(merges)),
        ("eos_token_id", end),
    ]
    .map(|(key, value)| (format!("tokenizer.ggml.{key}"), value))
    .to_vec()
}
