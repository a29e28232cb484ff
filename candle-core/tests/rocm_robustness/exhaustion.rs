//! Device memory that ends in the middle of something.
use crate::child::{contains, nothing_is_live, run, text};
use crate::model::{self, tokens, Model};
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::gguf_file::{self, Content};
use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device, Result, Tensor};
use std::io::Cursor;

const MIB: usize = 1 << 20;

/// A GGUF file of `count` tensors of 2 MiB each, no two alike.
fn large_file(count: usize) -> Result<Vec<u8>> {
    let tensors = (0..count).map(|i| {
        let bytes: Vec<u8> = (0..2 * MIB)
            .map(|b| (b * 31 + i * 7) as u8 & 0x3b)
            .collect();
        let tensor = qtensor_from_ggml(GgmlDType::F16, &bytes, vec![1024, 1024], &Device::Cpu)?;
        Ok((format!("blk.{i}.weight"), tensor))
    });
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    let tensors: Vec<_> = tensors.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let mut file = Cursor::new(Vec::new());
    gguf_file::write(&mut file, &[], &tensors)?;
    Ok(file.into_inner())
}

#[test]
fn memory_that_ends_while_a_model_is_loaded() {
    let (_, ledger) = run(
        "exhaustion::loads_more_than_there_is",
        &[("HIP_EMULATOR_MEMORY", "24M"), ("HIP_EMULATOR_LEDGER", "1")],
    );
    nothing_is_live(&ledger);
}

#[test]
#[ignore = "run by memory_that_ends_while_a_model_is_loaded"]
fn loads_more_than_there_is() -> Result<()> {
    const TENSORS: usize = 16;
    let device = Device::new_rocm(0)?;
    let rocm = device.as_rocm_device()?;
    let file = large_file(TENSORS)?;
    let mut reader = Cursor::new(&file);
    let content = Content::read(&mut reader)?;
    let mut load = |i: usize| content.tensor(&mut reader, &format!("blk.{i}.weight"), &device);
    let mut loaded = Vec::new();
    let error = loop {
        match load(loaded.len()) {
            Ok(tensor) => loaded.push(tensor),
            Err(error) => break error.to_string(),
        }
        assert!(loaded.len() < TENSORS, "32 MiB fit into 24");
    };
    println!("\n{error}");
    // Which tensor, how much it wanted, how much there is, and who has it.
    let (name, total) = (
        format!("'blk.{}.weight'", loaded.len()),
        (24 * MIB).to_string(),
    );
    let in_use = format!("{} blocks in use", loaded.len());
    contains(
        &error,
        &[
            "out of memory on device 0",
            &name,
            "F16",
            "[1024, 1024]",
            &total,
            &in_use,
        ],
    );
    let wanted = 2 * MIB + 512 * 2;
    contains(&error, &[&format!("{wanted} bytes asked for")]);
    assert!(
        loaded.len() >= 8,
        "only {} of 2 MiB fit into 24 MiB",
        loaded.len()
    );

    // What was loaded is whole, and once it is dropped the same device loads again.
    let expected = (0..2 * MIB).map(|b| (b * 31 + 7) as u8 & 0x3b);
    assert!(loaded[1].data()?.iter().copied().eq(expected));
    drop(loaded);
    assert_eq!(rocm.pool_statistics().used_bytes, 0);
    let again = (4..12).map(&mut load).collect::<Result<Vec<_>>>()?;
    let expected = (0..2 * MIB).map(|b| (b * 31 + 11 * 7) as u8 & 0x3b);
    assert!(again[7].data()?.iter().copied().eq(expected));
    Ok(())
}

#[test]
fn memory_that_ends_during_a_forward_pass() {
    let (_, ledger) = run(
        "exhaustion::computes_more_than_there_is",
        &[("HIP_EMULATOR_MEMORY", "16M"), ("HIP_EMULATOR_LEDGER", "1")],
    );
    nothing_is_live(&ledger);
}

#[test]
#[ignore = "run by memory_that_ends_during_a_forward_pass"]
fn computes_more_than_there_is() -> Result<()> {
    let device = Device::new_rocm(0)?;
    let rocm = device.as_rocm_device()?;
    let model = Model::load(&model::file()?, &device)?;
    let expected = model.forward(&tokens(5, 1))?;
    let before = rocm.pool_statistics();
    for _ in 0..2 {
        // The scores of 1500 tokens are 2 · 1500² numbers: 17 MiB.
        let error = text(model.forward(&tokens(1500, 2)));
        println!("\n{error}");
        contains(
            &error,
            &["out of memory on device 0", "18000000 bytes asked for"],
        );
        contains(&error, &["of 16777216 bytes free"]);
        contains(&error, &["blocks in use", "cached"]);
        let after = rocm.pool_statistics();
        assert_eq!(
            after.used_bytes, before.used_bytes,
            "activations of the failed pass stay"
        );
        assert_eq!(after.used_blocks, before.used_blocks);
        // The model is whole, and the numbers are the same to the bit.
        assert_eq!(model.forward(&tokens(5, 1))?, expected);
    }
    Ok(())
}

/// Sizes that no device has, and sizes that no address space has, whose product would wrap around to a small one.
#[test]
fn sizes_beyond_any_memory_are_refused() -> Result<()> {
    let device = Device::new_rocm(0)?;
    let huge = text(Tensor::zeros(1usize << 50, DType::F32, &device));
    contains(
        &huge,
        &["out of memory", "4503599627370496 bytes asked for"],
    );
    for shape in [vec![1usize << 62], vec![1 << 32, 1 << 32], vec![usize::MAX]] {
        let error = text(Tensor::zeros(shape.as_slice(), DType::F32, &device));
        contains(&error, &["larger than an address space", "F32"]);
    }
    let error = text(Tensor::zeros(usize::MAX / 2 + 2, DType::U8, &device));
    contains(&error, &["out of memory"]);
    assert_eq!(
        Tensor::zeros(3, DType::U8, &device)?.to_vec1::<u8>()?,
        [0; 3]
    );
    Ok(())
}
