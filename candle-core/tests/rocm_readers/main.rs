//! The readers of quantized files on files that are not what they should be: on the CPU, and loading onto rocm when
//! built with it.
//!
//! `corpus/` has a file for each way in which a reader once failed, found by mutations, by the fuzzer in `fuzz/` or by
//! reading, and the whole files that these start from. `CANDLE_WRITE_SEEDS=1` writes these anew.
mod claims;
mod counting;
mod files;
mod invariants;
mod mutations;

use candle_core::{Device, Result};
use invariants::Outcome;
use mutations::{mutate, Dice};
use std::path::{Path, PathBuf};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Mutated files of each format, unless `CANDLE_MUTATIONS` says how many. Enough to meet every field with several wrong
/// numbers; two seconds in a debug build.
const MUTATIONS: usize = 20_000;

struct Format {
    name: &'static str,
    read: fn(&[u8]) -> Outcome,
    seed: fn() -> Result<Vec<u8>>,
}

const FORMATS: &[Format] = &[
    Format {
        name: "gguf",
        read: |bytes| invariants::gguf(bytes, &Device::Cpu),
        seed: files::gguf,
    },
    Format {
        name: "ggml",
        read: |bytes| invariants::ggml(bytes, &Device::Cpu),
        seed: || Ok(files::ggml()),
    },
    Format {
        name: "imatrix",
        read: invariants::imatrix,
        seed: || Ok(files::imatrix()),
    },
];

/// Prints the file that a failing test was reading.
struct Suspect<'a>(&'a [u8]);

impl Drop for Suspect<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.0.iter().map(|b| format!("{b:02x}")).collect();
            eprintln!("the file, in hexadecimal: {hex}");
        }
    }
}

fn read(format: &Format, bytes: &[u8]) -> Outcome {
    let _suspect = Suspect(bytes);
    (format.read)(bytes)
}

fn corpus(format: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    tests.join("rocm_readers/corpus").join(format)
}

#[test]
fn whole_files_are_read_whole() -> Result<()> {
    for format in FORMATS {
        let seed = (format.seed)()?;
        let path = corpus(format.name).join("seed");
        if std::env::var_os("CANDLE_WRITE_SEEDS").is_some() {
            std::fs::write(&path, &seed)?;
        }
        assert!(
            std::fs::read(&path)? == seed,
            "{} is not what files.rs makes",
            path.display()
        );
        let entries = read(format, &seed)?;
        assert!(entries.len() >= 2, "{}: {entries:?}", format.name);
        for (name, entry) in entries {
            assert!(entry.is_ok(), "{}: {name}: {entry:?}", format.name);
        }
    }
    Ok(())
}

#[test]
fn what_once_failed_is_refused() -> Result<()> {
    for format in FORMATS {
        let mut found = 0;
        for file in std::fs::read_dir(corpus(format.name))? {
            let path = file?.path();
            println!("{}", path.display());
            let entries = read(format, &std::fs::read(&path)?);
            let refused = entries.map_or(true, |e| e.values().any(Result::is_err));
            let sound = path.ends_with("seed") || path.ends_with("empty-tensor");
            assert_eq!(refused, !sound, "{}", path.display());
            found += 1;
        }
        assert!(found > 1, "{} has no findings", format.name);
    }
    Ok(())
}

fn mutated(format: &Format) -> Result<()> {
    let seed = (format.seed)()?;
    let count = std::env::var("CANDLE_MUTATIONS");
    let count = count.map_or(MUTATIONS, |n| n.parse().expect("a number of mutations"));
    let (mut dice, mut refused) = (Dice::new(7), 0);
    for _ in 0..count {
        refused += usize::from(read(format, &mutate(&seed, &mut dice)).is_err());
    }
    println!("{}: {refused} of {count} refused as a whole", format.name);
    // Otherwise the mutations would miss the header, or all stop at its first bytes.
    assert!((count / 10..count * 99 / 100).contains(&refused));
    Ok(())
}

#[test]
fn mutated_gguf_files_do_no_harm() -> Result<()> {
    mutated(&FORMATS[0])
}

#[test]
fn mutated_ggml_files_do_no_harm() -> Result<()> {
    mutated(&FORMATS[1])
}

#[test]
fn mutated_importance_matrices_do_no_harm() -> Result<()> {
    mutated(&FORMATS[2])
}

/// An error without the backtraces that `RUST_BACKTRACE` may ask for.
#[cfg(feature = "rocm")]
fn words(error: candle_core::Error) -> String {
    use candle_core::Error;
    match error {
        Error::WithBacktrace { inner, .. } => words(*inner),
        Error::Context { inner, context } => format!("{context}\n{}", words(*inner)),
        error => error.to_string(),
    }
}

/// Both devices take the same files, to the same bytes, and refuse the others in the same words.
#[cfg(feature = "rocm")]
#[test]
fn rocm_agrees_with_the_cpu_about_mutated_files() -> Result<()> {
    /// A load is three copies of an emulated device; this many take a second.
    const ON_ROCM: usize = 1_000;
    let rocm = Device::new_rocm(0)?;
    let text = |outcome: Outcome| {
        let entries = outcome.map_err(words)?.into_iter();
        Ok::<Vec<_>, String>(entries.map(|(k, v)| (k, v.map_err(words))).collect())
    };
    let (gguf, ggml) = (files::gguf()?, files::ggml());
    let mut dice = Dice::new(11);
    for _ in 0..ON_ROCM {
        let bytes = mutate(&gguf, &mut dice);
        let _suspect = Suspect(&bytes);
        let (here, there) = (
            invariants::gguf(&bytes, &Device::Cpu),
            invariants::gguf(&bytes, &rocm),
        );
        claims::same(text(here), text(there));
        let bytes = mutate(&ggml, &mut dice);
        let _suspect = Suspect(&bytes);
        let (here, there) = (
            invariants::ggml(&bytes, &Device::Cpu),
            invariants::ggml(&bytes, &rocm),
        );
        claims::same(text(here), text(there));
    }
    Ok(())
}
