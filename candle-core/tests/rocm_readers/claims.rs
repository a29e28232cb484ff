//! Files that are wrong in one way each, and what the error has to say: on the CPU and, when built with it, on rocm.
use crate::files::{ggml, ggml_head, ggml_tensor, gguf_metadata, imatrix, Bytes, Claim};
use crate::invariants::{self, Outcome};
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::GgmlDType;
use candle_core::Device;
use std::fmt::Debug;

/// The CPU, and rocm where it is built in.
fn devices() -> Vec<Device> {
    let mut devices = vec![Device::Cpu];
    #[cfg(feature = "rocm")]
    devices.push(Device::new_rocm(0).expect("a rocm device"));
    devices
}

/// ggml's types that candle's CPU backend computes with but does not load.
#[cfg(feature = "rocm")]
const ONLY_ON_ROCM: &[&str] = &["Q8_1", "Q8K"];

/// Fails unless both devices agree: the same tensors with the same bytes, or the same words.
#[cfg(feature = "rocm")]
pub fn same<T: Debug + PartialEq>(
    cpu: Result<Vec<(String, Result<T, String>)>, String>,
    rocm: Result<Vec<(String, Result<T, String>)>, String>,
) {
    let only = |e: &String| {
        ONLY_ON_ROCM
            .iter()
            .any(|t| e.contains(&format!("type {t} is not supported")))
    };
    match (cpu, rocm) {
        (Ok(cpu), Ok(rocm)) => {
            assert_eq!(cpu.len(), rocm.len());
            for ((name, cpu), (also, rocm)) in cpu.into_iter().zip(rocm) {
                assert_eq!(name, also);
                assert!(
                    cpu == rocm || cpu.as_ref().is_err_and(only),
                    "{name}: {cpu:?} {rocm:?}"
                );
            }
        }
        (Err(e), Ok(_)) if only(&e) => {}
        (cpu, rocm) => assert_eq!(cpu, rocm),
    }
}

fn contains(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

fn error<T: Debug>(outcome: candle_core::Result<T>, what: &str) -> String {
    let error = outcome.expect_err(what);
    error.to_string()
}

/// The error of a file's first tensor, or of the whole.
fn refusal(outcome: Outcome, what: &str) -> String {
    match outcome {
        Err(e) => e.to_string(),
        Ok(entries) => {
            let mut entries = entries.into_values();
            error(
                entries
                    .next()
                    .unwrap_or_else(|| panic!("{what}: no tensor")),
                what,
            )
        }
    }
}

const F32: u32 = 0;
const Q4_0: u32 = 2;
const Q6K: u32 = 14;

#[test]
fn a_tensor_of_a_gguf_file_is_held_against_the_file() {
    let whole = Claim {
        dims: &[32, 2],
        dtype: Q4_0,
        offset: 0,
        data: 36,
    };
    let cases: &[(&str, Claim, &[&str])] = &[
        (
            "one byte short",
            Claim {
                data: 35,
                ..whole.clone()
            },
            &["'w'", "Q4_0", "needs 36 bytes", "only 35 remaining"],
        ),
        (
            "no data",
            Claim {
                data: 0,
                ..whole.clone()
            },
            &["'w'", "needs 36 bytes", "only 0 remaining"],
        ),
        (
            "an offset inside the last bytes",
            Claim {
                offset: 32,
                ..whole.clone()
            },
            &["'w'", "offset 128", "only 4 remaining"],
        ),
        (
            "an offset beyond the end",
            Claim {
                offset: 1 << 40,
                ..whole.clone()
            },
            &["'w'", "only 0 remaining"],
        ),
        (
            "an offset that wraps around",
            Claim {
                offset: u64::MAX - 31,
                ..whole.clone()
            },
            &["'w'", "only 0 remaining"],
        ),
        (
            "an unknown type",
            Claim {
                dtype: 99,
                ..whole.clone()
            },
            &["'w'", "99"],
        ),
        (
            "rows that are no whole blocks",
            Claim {
                dims: &[16, 4],
                ..whole.clone()
            },
            &["'w'", "last dim", "32"],
        ),
        (
            "elements that are no whole blocks",
            Claim {
                dims: &[250, 1],
                dtype: Q6K,
                ..whole.clone()
            },
            &["'w'", "250", "256", "Q6K"],
        ),
        (
            "no dimensions",
            Claim {
                dims: &[],
                dtype: F32,
                ..whole.clone()
            },
            &["'w'", "scalar"],
        ),
        (
            "five dimensions",
            Claim {
                dims: &[32, 1, 1, 1, 1],
                ..whole.clone()
            },
            &["'w'", "5 dimensions", "4"],
        ),
        (
            "more elements than 64 bits count",
            Claim {
                dims: &[1 << 32, 1 << 32],
                ..whole.clone()
            },
            &["'w'", "4294967296", "larger than an address space"],
        ),
        (
            "more elements than 64 bits count, by a little, so that their product is small",
            Claim {
                dims: &[1 << 33, (1 << 31) + 1],
                ..whole.clone()
            },
            &["'w'", "larger than an address space"],
        ),
        (
            "elements that fit, bytes that do not",
            Claim {
                dims: &[1 << 62],
                dtype: F32,
                ..whole.clone()
            },
            &["'w'", "larger than an address space"],
        ),
        (
            "large dimensions behind a zero",
            Claim {
                dims: &[1 << 40, 1 << 40, 0],
                ..whole.clone()
            },
            &["'w'", "larger than an address space"],
        ),
    ];
    for device in devices() {
        assert!(invariants::gguf(&whole.file(), &device).is_ok_and(|e| e["w"].is_ok()));
        for (what, claim, words) in cases {
            contains(
                &refusal(invariants::gguf(&claim.file(), &device), what),
                words,
            );
        }
        // Nothing is a size as well: an empty tensor, not an error.
        for dims in [&[32, 0][..], &[0], &[0, 0, 7]] {
            let empty = Claim {
                dims,
                ..whole.clone()
            };
            let entries = invariants::gguf(&empty.file(), &device).expect("a header");
            assert_eq!(entries["w"].as_ref().expect("an empty tensor").len(), 0);
        }
    }
}

#[test]
fn the_head_of_a_gguf_file_says_where_it_is_wrong() {
    let long = Bytes::default().u64(1 << 29).0;
    let list = |kind, len| Bytes::default().u32(kind).u64(len).0;
    let cases: &[(Vec<u8>, &[&str])] = &[
        (b"GGUX\x03\0\0\0".to_vec(), &["magic", "byte 4"]),
        (b"GGUF\x09\0\0\0".to_vec(), &["version", "9", "byte 8"]),
        (b"GGUF\x03".to_vec(), &["byte"]),
        (Vec::new(), &["byte 0"]),
        (gguf_metadata("k", 77, &[]), &["value-type", "0x00004d"]),
        (
            gguf_metadata("k", 8, &long),
            &["string length 536870912", "remaining file bytes 0"],
        ),
        (
            gguf_metadata("k", 9, &list(0, 1 << 29)),
            &["array of 536870912", "only 0 remaining"],
        ),
        (gguf_metadata("k", 7, &[2]), &["bool value 2"]),
        (
            gguf_metadata("general.alignment", 4, &[0; 4]),
            &["general.alignment is 0"],
        ),
        (
            gguf_metadata("general.alignment", 1, &[0xff]),
            &["general.alignment", "positive", "I8"],
        ),
        (
            gguf_metadata("general.alignment", 6, &1f32.to_le_bytes()),
            &["general.alignment", "F32"],
        ),
    ];
    for (file, words) in cases {
        contains(
            &error(invariants::gguf(file, &Device::Cpu), "a head"),
            words,
        );
    }
    // Alignments in any integer type count.
    for (kind, value) in [(0, vec![64]), (10, vec![64, 0, 0, 0, 0, 0, 0, 0])] {
        let file = gguf_metadata("general.alignment", kind, &value);
        assert!(invariants::gguf(&file, &Device::Cpu).is_ok());
    }
    // One name, two tensors: whichever is taken, it may be the wrong one.
    let info = |file: Bytes| file.text("w").u32(1).u64(1).u32(F32).u64(0);
    let twice = info(info(Bytes::default().raw(b"GGUF").u32(3).u64(2).u64(0)));
    let text = error(
        invariants::gguf(&twice.aligned(64).0, &Device::Cpu),
        "twice",
    );
    contains(&text, &["two tensors", "'w'"]);
}

#[test]
fn a_ggml_file_is_held_against_its_size() {
    let head = || ggml_head(&["a"]);
    let mut tokens = head().0;
    tokens[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut word = head().0;
    word[36..40].copy_from_slice(&(1u32 << 31).to_le_bytes());
    let tensor = |dims: &[u32], dtype| ggml_tensor(head(), "w", dims, dtype);
    let mut name = tensor(&[32], Q4_0).0;
    let at = head().0.len() + 4;
    name[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let short = tensor(&[32, 2], Q4_0).raw(&[0; 35]).0;
    let again = ggml_tensor(tensor(&[1], F32).raw(&[0; 4]), "w", &[1], F32);
    let cases: &[(Vec<u8>, &[&str])] = &[
        (tokens, &["vocabulary", "34359738360 bytes", "offset 36"]),
        (word, &["token", "2147483648 bytes", "offset 40"]),
        (name, &["name", "4294967295 bytes"]),
        (tensor(&[1, 1, 1, 1, 1], F32).0, &["5 dimensions"]),
        (tensor(&[32], 5).0, &["5"]),
        (
            tensor(&[1 << 31, 1 << 31, 1 << 31], F32).0,
            &["'w'", "larger than an address space"],
        ),
        (short, &["'w'", "needs 36 bytes", "only 35 remaining"]),
        (tensor(&[33], Q4_0).raw(&[0; 18]).0, &["'w'", "33", "32"]),
        (again.raw(&[0; 4]).0, &["two tensors", "'w'"]),
        (ggml()[..40].to_vec(), &["byte"]),
    ];
    for device in devices() {
        for (file, words) in cases {
            contains(
                &refusal(invariants::ggml(file, &device), "a GGML file"),
                words,
            );
        }
    }
}

#[test]
fn blocks_may_lie_anywhere_and_have_to_be_there() -> candle_core::Result<()> {
    let bytes: Vec<u8> = (0..80).map(|i| i % 60 + 1).collect();
    for device in devices() {
        for start in 0..8 {
            let tensor =
                qtensor_from_ggml(GgmlDType::F32, &bytes[start..][..16], vec![4], &device)?;
            assert_eq!(*tensor.data()?, bytes[start..start + 16]);
        }
        let short = qtensor_from_ggml(GgmlDType::Q4_0, &bytes[..35], vec![2, 32], &device);
        contains(
            &error(short, "a slice"),
            &["[2, 32]", "Q4_0", "36 bytes", "got 35"],
        );
        let huge = qtensor_from_ggml(GgmlDType::F32, &bytes, vec![1 << 32, 1 << 32], &device);
        contains(&error(huge, "a size"), &["address space"]);
    }
    Ok(())
}

#[test]
fn an_importance_matrix_is_held_against_its_size() {
    let whole = imatrix();
    let with = |at: usize, value: i32| {
        let mut file = whole.clone();
        file[at..at + 4].copy_from_slice(&value.to_le_bytes());
        file
    };
    // Entries, name's length, name of 19 bytes, calls, values.
    let (calls, values) = (8 + 19, 12 + 19);
    let cases: &[(Vec<u8>, &[&str])] = &[
        (with(0, -1), &["number of entries is -1"]),
        (with(0, 0), &["No data"]),
        (with(0, i32::MAX), &["matrix needs", "bytes at offset 4"]),
        (with(4, -5), &["length of the name of entry 1 is -5"]),
        (
            with(4, i32::MAX),
            &["name of entry 1 needs 2147483647 bytes"],
        ),
        (with(calls, -2), &["ncall of entry 1 is -2"]),
        (with(values, -1), &["nval of entry 1 is -1"]),
        (with(values, 0), &["nval", "1", "0"]),
        (
            with(values, i32::MAX),
            &["values of entry 1 needs 8589934588 bytes"],
        ),
        (
            whole[..whole.len() - 1].to_vec(),
            &["values of entry 2 needs 12 bytes", "only 11"],
        ),
        (whole[..2].to_vec(), &["number of entries"]),
    ];
    for (file, words) in cases {
        contains(&error(invariants::imatrix(file), "a matrix"), words);
    }
}
