//! Small files of each format, whole and with one thing wrong.
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Result, Tensor};
use std::io::Cursor;

/// A tensor whose elements differ.
fn weights(dims: &[usize], dtype: GgmlDType) -> Result<QTensor> {
    let count: usize = dims.iter().product();
    let values = (0..count).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0);
    let values = Tensor::from_vec(values.collect(), dims, &Device::Cpu)?;
    QTensor::quantize(&values, dtype)
}

/// A GGUF file (version 2, as candle writes it) with a value of each type and tensors of several.
pub fn gguf() -> Result<Vec<u8>> {
    let text = |s: &str| Value::String(s.into());
    let metadata = [
        ("general.architecture", text("llama")),
        ("general.alignment", Value::U32(32)),
        ("u8", Value::U8(200)),
        ("i8", Value::I8(-3)),
        ("u16", Value::U16(60_000)),
        ("i16", Value::I16(-300)),
        ("i32", Value::I32(-70_000)),
        ("u64", Value::U64(1 << 40)),
        ("i64", Value::I64(-(1 << 40))),
        ("f32", Value::F32(0.5)),
        ("f64", Value::F64(-0.25)),
        ("bool", Value::Bool(true)),
        ("tokens", Value::Array(["a", "b", "<s>"].map(text).into())),
        (
            "nested",
            Value::Array(vec![Value::Array(vec![Value::U8(7); 3]); 2]),
        ),
    ];
    let metadata: Vec<_> = metadata.iter().map(|(k, v)| (*k, v)).collect();
    let tensors = [
        ("norm", weights(&[5], GgmlDType::F32)?),
        ("half", weights(&[3, 2], GgmlDType::F16)?),
        ("q4", weights(&[2, 64], GgmlDType::Q4_0)?),
        ("q8", weights(&[2, 1, 32], GgmlDType::Q8_0)?),
        ("q6k", weights(&[1, 256], GgmlDType::Q6K)?),
    ];
    let tensors: Vec<_> = tensors.iter().map(|(k, v)| (*k, v)).collect();
    let mut file = Cursor::new(Vec::new());
    gguf_file::write(&mut file, &metadata, &tensors)?;
    Ok(file.into_inner())
}

/// Little-endian numbers and text, one after the other.
#[derive(Default, Clone)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Text with its length before it, as GGUF has it.
    pub fn text(self, text: &str) -> Self {
        self.u64(text.len() as u64).raw(text.as_bytes())
    }

    pub fn aligned(mut self, to: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
        self
    }
}

/// What a GGUF file says of its only tensor, "w".
#[derive(Clone)]
pub struct Claim<'a> {
    /// As in the file: the innermost first.
    pub dims: &'a [u64],
    /// ggml's number of the type.
    pub dtype: u32,
    pub offset: u64,
    /// Bytes that the file has for the data.
    pub data: usize,
}

impl Claim<'_> {
    pub fn file(&self) -> Vec<u8> {
        let mut file = Bytes::default().raw(b"GGUF").u32(3).u64(1).u64(0);
        file = file.text("w").u32(self.dims.len() as u32);
        for &dim in self.dims {
            file = file.u64(dim);
        }
        let mut file = file.u32(self.dtype).u64(self.offset).aligned(32);
        // Bytes that no all-zero buffer is taken for. As numbers of 16 and 32 bits they are finite.
        file.0.extend((0..self.data).map(|i| i as u8 % 60 + 1));
        file.0
    }
}

/// A GGUF file with one metadata entry and no tensor.
pub fn gguf_metadata(key: &str, value_type: u32, value: &[u8]) -> Vec<u8> {
    let file = Bytes::default().raw(b"GGUF").u32(3).u64(0).u64(1);
    file.text(key).u32(value_type).raw(value).0
}

/// The head of a GGML file, whose vocabulary is `tokens`.
pub fn ggml_head(tokens: &[&str]) -> Bytes {
    // ggjt version 3: magic, version, then vocabulary, embedding, multiple, heads, layers, rot, ftype.
    let mut file = Bytes::default().u32(0x6767_6a74).u32(3);
    for number in [tokens.len() as u32, 32, 1, 1, 1, 1, 2] {
        file = file.u32(number);
    }
    for token in tokens {
        file = file.u32(token.len() as u32).raw(token.as_bytes());
        file = file.raw(&1f32.to_le_bytes());
    }
    file
}

/// `file` with the head of a tensor behind it, up to where its data starts.
pub fn ggml_tensor(file: Bytes, name: &str, dims: &[u32], dtype: u32) -> Bytes {
    let mut file = file.u32(dims.len() as u32).u32(name.len() as u32);
    file = file.u32(dtype);
    for &dim in dims {
        file = file.u32(dim);
    }
    file.raw(name.as_bytes()).aligned(32)
}

/// A GGML file with tensors in F32, Q4_0 and Q8_0.
pub fn ggml() -> Vec<u8> {
    let file = ggml_head(&["a", "bc", ""]);
    let file = ggml_tensor(file, "norm", &[4], 0).raw(&[0; 16]);
    let file = ggml_tensor(file, "q4", &[32, 2], 2).raw(&[9; 36]);
    ggml_tensor(file, "q8", &[32, 1], 8).raw(&[5; 34]).0
}

/// An importance matrix with two entries, the second without calls.
pub fn imatrix() -> Vec<u8> {
    let mut file = Bytes::default().u32(2);
    for (name, calls) in [("blk.0.attn_q.weight", 4), ("output", 0)] {
        file = file.u32(name.len() as u32).raw(name.as_bytes());
        file = file.u32(calls).u32(3);
        for value in [0.5f32, 1.0, 8.0] {
            file = file.raw(&value.to_le_bytes());
        }
    }
    file.0
}
