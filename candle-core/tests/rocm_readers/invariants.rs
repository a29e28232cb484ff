//! What holds for every file that a reader is given, whoever wrote it: no panic, memory within a bound that depends on
//! the file's size alone, an end. The fuzzer's targets in fuzz/ are made of the same functions.
use crate::counting::peak_of;
use candle_core::quantized::{ggml_file, gguf_file, imatrix_file, QTensor};
use candle_core::{Device, Result};
use std::collections::BTreeMap;
use std::io::{Cursor, Read, Seek, SeekFrom};

/// Host memory that a reader may hold at a time: so many bytes for each of the file's, and a constant.
struct Bound {
    reader: &'static str,
    per_byte: usize,
    constant: usize,
}

/// Tables for the first few entries, and error texts.
const CONSTANT: usize = 16 << 10;
/// Where `RUST_BACKTRACE` asks for one, each error carries a backtrace.
const BACKTRACES: usize = 1 << 20;

/// The worst case is an array of bytes: each becomes a `Value` of 24 bytes, and a `String` of its own for each 8 bytes
/// of an array of strings is no worse.
const GGUF: Bound = Bound {
    reader: "gguf_file",
    per_byte: 32,
    constant: CONSTANT,
};

/// The worst case are empty tensors of 16 bytes in the file: a `QTensor`, its entry in a hash table that doubles, a name.
const GGML: Bound = Bound {
    reader: "ggml_file",
    per_byte: 64,
    constant: CONSTANT,
};

/// The whole file in memory, the numbers once more, and a name and an entry for each 16 bytes.
const IMATRIX: Bound = Bound {
    reader: "imatrix_file",
    per_byte: 16,
    constant: CONSTANT,
};

fn backtraces() -> usize {
    let one = std::backtrace::Backtrace::capture();
    match one.status() == std::backtrace::BacktraceStatus::Captured {
        true => BACKTRACES,
        false => 0,
    }
}

impl Bound {
    /// Runs `f`, whose input has `len` bytes.
    fn hold<T>(&self, len: usize, what: &str, f: impl FnOnce() -> T) -> T {
        let (result, peak) = peak_of(f);
        let allowed = self.per_byte * len + self.constant + backtraces();
        assert!(
            peak <= allowed,
            "{}: {what} held {peak} bytes for a file of {len}, more than {allowed}",
            self.reader
        );
        result
    }
}

/// A file in memory that fails the test when it is asked for more than reading it takes. Every value costs a read and
/// at most three questions for the position; what gives no byte is no progress.
struct Metered<'a> {
    file: Cursor<&'a [u8]>,
    calls_left: usize,
}

impl<'a> Metered<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            file: Cursor::new(bytes),
            calls_left: 4 * bytes.len() + 256,
        }
    }

    fn call(&mut self) {
        let left = self.calls_left.checked_sub(1);
        self.calls_left = left.expect("a reader that goes round in circles");
    }
}

impl Read for Metered<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.call();
        self.file.read(into)
    }
}

impl Seek for Metered<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.call();
        self.file.seek(to)
    }
}

/// What came of a file: the tensors' bytes or errors by name, or the error of the whole.
pub type Outcome = Result<BTreeMap<String, Result<Vec<u8>>>>;

/// The blocks of a tensor, which has to be as large as its shape says and to dequantize into as many numbers.
fn content(tensor: &QTensor, device: &Device) -> Result<Vec<u8>> {
    let (shape, dtype) = (tensor.shape(), tensor.dtype());
    let bytes = tensor.data()?.into_owned();
    assert_eq!(
        shape.elem_count() / dtype.block_size() * dtype.type_size(),
        bytes.len(),
        "{shape:?} of {dtype:?}"
    );
    if device.is_cpu() {
        assert_eq!(tensor.dequantize(device)?.shape(), shape);
    }
    Ok(bytes)
}

/// Reads a GGUF file and each of its tensors, one at a time.
pub fn gguf(bytes: &[u8], device: &Device) -> Outcome {
    let len = bytes.len();
    let mut file = Metered::new(bytes);
    let header = GGUF.hold(len, "the header", || gguf_file::Content::read(&mut file))?;
    let load = |(name, info): (&String, &gguf_file::TensorInfo)| {
        let mut file = Metered::new(bytes);
        let what = format!("tensor {name:?}, {info:?},");
        let tensor = GGUF.hold(len, &what, || header.tensor(&mut file, name, device));
        (name.clone(), tensor.and_then(|t| content(&t, device)))
    };
    Ok(header.tensor_infos.iter().map(load).collect())
}

/// Reads a GGML file, whose tensors come with it.
pub fn ggml(bytes: &[u8], device: &Device) -> Outcome {
    let mut file = Metered::new(bytes);
    let read = || ggml_file::Content::read(&mut file, device);
    let whole = GGML.hold(bytes.len(), "the file", read)?;
    let load = |(name, tensor): (&String, &QTensor)| (name.clone(), content(tensor, device));
    Ok(whole.tensors.iter().map(load).collect())
}

/// Reads an importance matrix. The reader takes a path, so the bytes pass through a file.
pub fn imatrix(bytes: &[u8]) -> Outcome {
    let thread = std::thread::current().id();
    let name = format!("candle-imatrix-{}-{thread:?}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, bytes)?;
    let read = || imatrix_file::load_imatrix(&path);
    let matrix = IMATRIX.hold(bytes.len(), "the file", read);
    std::fs::remove_file(&path)?;
    let bytes_of = |v: Vec<f32>| v.iter().flat_map(|x| x.to_le_bytes()).collect();
    let entries = matrix?.into_iter();
    Ok(entries.map(|(name, v)| (name, Ok(bytes_of(v)))).collect())
}
