//! Writes a GGUF file again with its weights in another type.
//!
//! `quantize_gguf IN.gguf OUT.gguf --type q4k`: matrices (two dimensions or more) whose rows are whole blocks of the type are
//! converted, through F32; norms, biases and rows that do not fit stay as they are. The metadata is copied, with the
//! entries that describe the file's types brought up to date.
use anyhow::{bail, Context, Result};
use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::Device;
use clap::Parser;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A type by its name on the command line, with the number that `general.file_type` has for it: enum `LlamaFType` of
/// gguf-py, whose k-quants come in mixes; ours are pure, so the plainest (small) mix is named.
struct Kind {
    name: &'static str,
    dtype: GgmlDType,
    file_type: u32,
}

const fn kind(name: &'static str, dtype: GgmlDType, file_type: u32) -> Kind {
    Kind {
        name,
        dtype,
        file_type,
    }
}

static KINDS: [Kind; 13] = [
    kind("f32", GgmlDType::F32, 0),
    kind("f16", GgmlDType::F16, 1),
    kind("bf16", GgmlDType::BF16, 32),
    kind("q4_0", GgmlDType::Q4_0, 2),
    kind("q4_1", GgmlDType::Q4_1, 3),
    kind("q5_0", GgmlDType::Q5_0, 8),
    kind("q5_1", GgmlDType::Q5_1, 9),
    kind("q8_0", GgmlDType::Q8_0, 7),
    kind("q2k", GgmlDType::Q2K, 10),
    kind("q3k", GgmlDType::Q3K, 11),
    kind("q4k", GgmlDType::Q4K, 14),
    kind("q5k", GgmlDType::Q5K, 16),
    kind("q6k", GgmlDType::Q6K, 18),
];

#[derive(Parser, Debug)]
#[command(about = "Writes a GGUF file again with its weights in another type", long_about = None)]
struct Args {
    /// The GGUF file to read.
    input: PathBuf,

    /// The GGUF file to write; replaced when it exists.
    output: PathBuf,

    /// f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0, q2k, q3k, q4k, q5k or q6k.
    #[arg(long = "type", value_parser = parse_kind)]
    kind: &'static Kind,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

fn parse_kind(text: &str) -> Result<&'static Kind, String> {
    let names = || KINDS.iter().map(|k| k.name).collect::<Vec<_>>().join(", ");
    KINDS
        .iter()
        .find(|k| k.name.eq_ignore_ascii_case(text))
        .ok_or_else(|| format!("`{text}` is no type; say one of {}", names()))
}

/// What became of a file's tensors.
#[derive(Debug, Default)]
struct Report {
    converted: usize,
    /// Name and type of each tensor left as it was although it has two dimensions or more, and the length of its rows.
    unfit: Vec<(String, GgmlDType, usize)>,
    vectors: usize,
}

/// The tensors of the file in the order in which they lie there, converted where `kind` applies.
fn convert(
    content: &Content,
    file: &mut BufReader<File>,
    kind: &Kind,
) -> Result<(Vec<(String, QTensor)>, Report)> {
    let mut infos: Vec<_> = content.tensor_infos.iter().collect();
    infos.sort_by_key(|(name, info)| (info.offset, name.as_str()));
    let mut report = Report::default();
    let mut tensors = Vec::with_capacity(infos.len());
    for (name, _) in infos {
        let tensor = content.tensor(file, name, &Device::Cpu)?;
        let row = tensor.shape().dims().last().copied().unwrap_or(1);
        let tensor = if tensor.rank() < 2 {
            report.vectors += 1;
            tensor
        } else if row % kind.dtype.block_size() != 0 {
            report.unfit.push((name.clone(), tensor.dtype(), row));
            tensor
        } else {
            report.converted += 1;
            QTensor::quantize(&tensor.dequantize(&Device::Cpu)?, kind.dtype)
                .with_context(|| format!("tensor {name}"))?
        };
        tensors.push((name.clone(), tensor));
    }
    Ok((tensors, report))
}

/// The metadata of the new file, sorted by key.
fn metadata(content: &Content, kind: &Kind) -> Vec<(String, Value)> {
    let mut metadata: Vec<_> = content
        .metadata
        .iter()
        // The writer aligns to GGUF's default of 32 bytes, which needs no entry.
        .filter(|(key, _)| *key != "general.alignment")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut set = |key: &str, number: u32| {
        metadata.retain(|(k, _)| k != key);
        metadata.push((key.to_string(), Value::U32(number)));
    };
    set("general.file_type", kind.file_type);
    if kind.dtype.block_size() > 1 {
        // The layout of the blocks; 2 since 2023 (GGUF specification).
        set("general.quantization_version", 2);
    }
    metadata.sort_by(|a, b| a.0.cmp(&b.0));
    metadata
}

/// Reads `input`, writes `output`. An existing `output` is replaced only by a whole file.
fn quantize_file(input: &Path, output: &Path, kind: &Kind) -> Result<Report> {
    let reading = || format!("cannot read {}", input.display());
    let mut file = BufReader::new(File::open(input).with_context(reading)?);
    if let (Ok(from), Ok(to)) = (input.canonicalize(), output.canonicalize()) {
        if from == to {
            bail!("{} would overwrite itself", input.display())
        }
    }
    let content = Content::read(&mut file).with_context(reading)?;
    let (tensors, report) = convert(&content, &mut file, kind).with_context(reading)?;
    if report.converted == 0 {
        bail!(
            "{}: no tensor can be {}: its rows would have to be multiples of {}",
            input.display(),
            kind.name,
            kind.dtype.block_size()
        )
    }
    let metadata = metadata(&content, kind);
    let metadata: Vec<_> = metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(k, v)| (k.as_str(), v)).collect();

    let mut partial = output.as_os_str().to_owned();
    partial.push(".partial");
    let written = (|| -> Result<()> {
        let mut to = BufWriter::new(File::create(&partial)?);
        gguf_file::write(&mut to, &metadata, &tensors)?;
        to.flush()?;
        std::fs::rename(&partial, output)?;
        Ok(())
    })();
    if written.is_err() {
        // Best effort: the error below is the one to tell.
        let _ = std::fs::remove_file(&partial);
    }
    written.with_context(|| format!("cannot write {}", output.display()))?;
    Ok(report)
}

fn main() -> Result<()> {
    let args = Args::parse();
    let report = quantize_file(&args.input, &args.output, args.kind)?;
    for (name, dtype, row) in &report.unfit {
        println!(
            "{name} stays {dtype:?}: its rows of {row} are no multiple of {}",
            args.kind.dtype.block_size()
        );
    }
    println!(
        "{}: {} tensors are {} now, {} stay ({} of them vectors); {} bytes, from {}",
        args.output.display(),
        report.converted,
        args.kind.name,
        report.vectors + report.unfit.len(),
        report.vectors,
        std::fs::metadata(&args.output)?.len(),
        std::fs::metadata(&args.input)?.len(),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Tensor;

    /// A folder that goes away with the value.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("quantize-gguf-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// 512 columns fit every type, 32 no k-quant, 33 no block at all. Values lie in -1..1.
    fn model(path: &Path) -> Vec<f32> {
        let wave: Vec<f32> = (0..4 * 512).map(|i| (i as f32 * 0.37).sin()).collect();
        let tensor = |shape: (usize, usize)| {
            let values = &wave[..shape.0 * shape.1];
            let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
            QTensor::quantize(&tensor, GgmlDType::F32).unwrap()
        };
        let norm = Tensor::from_slice(&wave[..512], 512, &Device::Cpu).unwrap();
        let tensors = [
            ("a.weight", tensor((4, 512))),
            ("b.weight", tensor((2, 32))),
            ("c.weight", tensor((2, 33))),
            (
                "norm.weight",
                QTensor::quantize(&norm, GgmlDType::F32).unwrap(),
            ),
        ];
        let metadata = [
            ("general.name", Value::String("small".into())),
            ("general.file_type", Value::U32(0)),
        ];
        let metadata: Vec<_> = metadata.iter().map(|(k, v)| (*k, v)).collect();
        let tensors: Vec<_> = tensors.iter().map(|(k, v)| (*k, v)).collect();
        gguf_file::write(&mut File::create(path).unwrap(), &metadata, &tensors).unwrap();
        wave
    }

    #[test]
    fn every_type_loads_again_with_its_own_error() {
        let scratch = Scratch::new("types");
        let input = scratch.file("in.gguf");
        let wave = model(&input);
        for kind in &KINDS {
            let output = scratch.file(kind.name);
            let report = quantize_file(&input, &output, kind).unwrap();
            let mut file = File::open(&output).unwrap();
            let content = Content::read(&mut file).unwrap();
            let mut tensor = |name| content.tensor(&mut file, name, &Device::Cpu).unwrap();

            let a = tensor("a.weight");
            assert_eq!(a.dtype(), kind.dtype);
            let values = a.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap();
            let worst = (values.to_vec1::<f32>().unwrap().iter().zip(&wave))
                .map(|(got, want)| (got - want).abs())
                .fold(0f32, f32::max);
            // One step of 2 / 2^bits: signed quants reach -2^(bits-1) but not +2^(bits-1), so the far end of the range
            // may be a whole step off. K-quants round their scales too, to 8 (Q6K), 6 or 4 bits (Q2K), of which
            // half a step counts. F16 and BF16 round the last of 11 and 8 bits of a value below 1.
            let bound = match kind.dtype {
                GgmlDType::F32 => 0.,
                GgmlDType::F16 => 1. / 4096.,
                GgmlDType::BF16 => 1. / 512.,
                GgmlDType::Q8_0 => 2. / 256.,
                GgmlDType::Q6K => 2. / 64. + 1. / 256.,
                GgmlDType::Q5_0 | GgmlDType::Q5_1 => 2. / 32.,
                GgmlDType::Q5K => 2. / 32. + 1. / 64.,
                GgmlDType::Q4_0 | GgmlDType::Q4_1 => 2. / 16.,
                GgmlDType::Q4K => 2. / 16. + 1. / 64.,
                GgmlDType::Q3K => 2. / 8. + 1. / 64.,
                _ => 2. / 4. + 1. / 16.,
            };
            assert!(worst <= bound, "{}: {worst} > {bound}", kind.name);

            let fits = |row: usize| row.is_multiple_of(kind.dtype.block_size());
            for (name, row) in [("b.weight", 32), ("c.weight", 33)] {
                let expected = if fits(row) {
                    kind.dtype
                } else {
                    GgmlDType::F32
                };
                assert_eq!(tensor(name).dtype(), expected, "{name} of {}", kind.name);
                assert_eq!(report.unfit.iter().any(|(n, ..)| n == name), !fits(row));
            }
            assert_eq!(tensor("norm.weight").dtype(), GgmlDType::F32);
            assert_eq!(report.vectors, 1);

            let number = |key: &str| content.metadata[key].to_u32().unwrap();
            assert_eq!(number("general.file_type"), kind.file_type);
            assert_eq!(
                content.metadata["general.name"].to_string().unwrap(),
                "small"
            );
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let scratch = Scratch::new("same");
        let input = scratch.file("in.gguf");
        model(&input);
        let kind = parse_kind("Q4_0").unwrap();
        let [a, b] = ["a", "b"].map(|name| {
            quantize_file(&input, &scratch.file(name), kind).unwrap();
            std::fs::read(scratch.file(name)).unwrap()
        });
        assert!(a == b);
    }

    #[test]
    fn errors_name_the_file_and_leave_no_partial_output() {
        let scratch = Scratch::new("errors");
        let (input, output) = (scratch.file("in.gguf"), scratch.file("out.gguf"));
        model(&input);
        let kind = parse_kind("q8_0").unwrap();
        let error =
            |from: &Path, to: &Path| format!("{:#}", quantize_file(from, to, kind).unwrap_err());

        assert!(error(&scratch.file("none.gguf"), &output).contains("none.gguf"));
        assert!(error(&input, &input).contains("overwrite itself"));
        assert!(error(&input, &scratch.file("no/folder")).contains("no/folder"));

        let whole = std::fs::read(&input).unwrap();
        let short = scratch.file("short.gguf");
        for length in [0, 3, 20, 100, whole.len() - 200] {
            std::fs::write(&short, &whole[..length]).unwrap();
            assert!(
                error(&short, &output).contains("short.gguf"),
                "{length} bytes"
            );
        }
        assert!(!output.exists() && !scratch.file("out.gguf.partial").exists());
        assert!(parse_kind("q9").unwrap_err().contains("q4_0"));
    }
}
