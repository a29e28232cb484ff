//! Blocks of quantized tensors on rocm: made on the device, brought there, and brought back.
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::rocm::{QRocmStorage, STAGING_BYTES};
use candle_core::quantized::{ggml_file, imatrix_file};
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Result, Tensor};
use rand::{rngs::StdRng, Rng, SeedableRng};

mod rocm_types;
use rocm_types::QUANTIZED;

fn rocm() -> Result<Device> {
    Device::new_rocm(0)
}

/// Rows of 256 with one kind of content each. No row mixes zeros of both signs as its least value: which of the two
/// is stored is left open by Rust's `f32::min`.
fn rows() -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(11);
    let mut rows: Vec<[f32; 256]> = vec![
        [0.; 256],
        [1.5; 256],
        [-3e-5; 256],
        [65504.; 256],
        [1e30; 256],
        [-1e30; 256],
        [f32::MIN_POSITIVE; 256],
        [1e-42; 256],
        std::array::from_fn(|i| (i as f32 - 127.5) * 0.037),
        // The same largest magnitude with both signs, in either order.
        std::array::from_fn(|i| {
            if i % 32 == 3 {
                2.
            } else if i % 32 == 9 {
                -2.
            } else {
                0.5
            }
        }),
        std::array::from_fn(|i| {
            if i % 32 == 3 {
                -2.
            } else if i % 32 == 9 {
                2.
            } else {
                0.5
            }
        }),
        std::array::from_fn(|i| if i % 32 == 0 { 1e8 } else { 1e-8 }),
        // Halves of a step, where rounding decides.
        std::array::from_fn(|i| {
            if i % 32 == 0 {
                127.
            } else {
                (i % 32) as f32 - 15.5
            }
        }),
        std::array::from_fn(|i| {
            if i % 32 == 0 {
                -8.
            } else {
                (i % 16) as f32 * 0.5
            }
        }),
    ];
    for scale in [1e-38f32, 1e-10, 1e-3, 1., 300., 1e6, 1e37] {
        rows.extend((0..6).map(|_| std::array::from_fn(|_| scale * rng.random_range(-1f32..1f32))));
    }
    rows.concat()
}

#[test]
fn quantizing_on_the_device_gives_the_cpus_bits() -> Result<()> {
    let values = rows();
    let shape = (values.len() / 256, 256);
    let on_cpu = Tensor::from_vec(values.clone(), shape, &Device::Cpu)?;
    let on_rocm = on_cpu.to_device(&rocm()?)?;
    for dtype in [
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q5_0,
        GgmlDType::Q5_1,
        GgmlDType::Q8_0,
        GgmlDType::Q8_1,
    ] {
        let expected = QTensor::quantize(&on_cpu, dtype)?.data()?.into_owned();
        let found = QTensor::quantize(&on_rocm, dtype)?.data()?.into_owned();
        let block = dtype.type_size();
        for (i, (e, f)) in expected.chunks(block).zip(found.chunks(block)).enumerate() {
            let from = &values[32 * i..32 * (i + 1)];
            assert_eq!(
                e, f,
                "{dtype:?} block {i}: CPU {e:?}, rocm {f:?}, from {from:?}"
            );
        }
        assert_eq!(expected.len(), found.len());
    }
    Ok(())
}

/// The types without a kernel, and both kinds of importance weighting, give the CPU's blocks as well.
#[test]
fn every_other_way_to_quantize_gives_the_cpus_bits() -> Result<()> {
    let mut rng = StdRng::seed_from_u64(12);
    let values: Vec<f32> = (0..4 * 512)
        .map(|_| rng.random_range(-1f32..1f32))
        .collect();
    let importance: Vec<f32> = (0..512).map(|_| rng.random_range(0.1f32..2f32)).collect();
    let on_cpu = Tensor::from_vec(values, (4, 512), &Device::Cpu)?;
    let device = rocm()?;
    let on_rocm = on_cpu.to_device(&device)?;
    for dtype in [
        GgmlDType::F32,
        GgmlDType::F16,
        GgmlDType::BF16,
        GgmlDType::Q2K,
        GgmlDType::Q3K,
        GgmlDType::Q4K,
        GgmlDType::Q5K,
        GgmlDType::Q6K,
        GgmlDType::Q8K,
    ] {
        let expected = QTensor::quantize(&on_cpu, dtype)?;
        assert_eq!(
            QTensor::quantize(&on_rocm, dtype)?.data()?,
            expected.data()?,
            "{dtype:?}"
        );
        let onto = QTensor::quantize_onto(&on_cpu, dtype, &device)?;
        assert_eq!(onto.data()?, expected.data()?, "{dtype:?}");
    }
    for dtype in [
        GgmlDType::Q2K,
        GgmlDType::Q3K,
        GgmlDType::Q4K,
        GgmlDType::Q5K,
        GgmlDType::Q6K,
    ] {
        let expected = QTensor::quantize_imatrix(&on_cpu, &importance, dtype)?;
        let there = QTensor::quantize_imatrix(&on_rocm, &importance, dtype)?;
        assert_eq!(there.data()?, expected.data()?, "{dtype:?}");
        let onto = QTensor::quantize_imatrix_onto(&on_cpu, &importance, dtype, &device)?;
        assert_eq!(onto.data()?, expected.data()?, "{dtype:?}");
    }
    Ok(())
}

/// A view's storage holds more than the view; taking it for the tensor would give a wrong one.
#[test]
fn a_view_of_a_larger_tensor_is_refused() -> Result<()> {
    let x = Tensor::zeros((4, 256), DType::F32, &rocm()?)?.narrow(0, 2, 1)?;
    let error = QTensor::quantize(&x, GgmlDType::Q8_0)
        .unwrap_err()
        .to_string();
    assert!(error.contains("has to be copied first"), "{error}");
    Ok(())
}

/// What comes back from the device can be read as blocks: the CPU's tensor asks for their alignment.
#[test]
fn blocks_read_back_are_aligned() -> Result<()> {
    let tensor = Tensor::from_vec(rows()[..11 * 256].to_vec(), (11, 256), &Device::Cpu)?;
    for dtype in [
        GgmlDType::F32,
        GgmlDType::F16,
        GgmlDType::Q8_0,
        GgmlDType::Q6K,
        GgmlDType::Q8K,
    ] {
        let on_rocm = QTensor::quantize_onto(&tensor, dtype, &rocm()?)?;
        let back = on_rocm.data()?;
        let storage = QStorage::from_data(back, &Device::Cpu, dtype)?;
        let there = QTensor::new(storage, (11, 256))?.dequantize(&Device::Cpu)?;
        let expected = QTensor::quantize(&tensor, dtype)?.dequantize(&Device::Cpu)?;
        assert_eq!(
            there.to_vec2::<f32>()?,
            expected.to_vec2::<f32>()?,
            "{dtype:?}"
        );
    }
    Ok(())
}

/// Longer than the ring of page-locked buffers, and no multiple of one: every buffer is used again.
#[test]
fn tensors_longer_than_the_staging_arrive_whole() -> Result<()> {
    let len = (STAGING_BYTES + STAGING_BYTES / 3) / 34 * 34 + 34;
    let bytes: Vec<u8> = (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect();
    let device = rocm()?;
    let there = QRocmStorage::from_data(device.as_rocm_device()?, &bytes, GgmlDType::Q8_0)?;
    assert!(there.data()? == bytes);
    let mut reader = std::io::Cursor::new(&bytes);
    let device = device.as_rocm_device()?;
    let read = QRocmStorage::from_reader(device, &mut reader, len, GgmlDType::Q8_0)?;
    assert!(read.data()? == bytes);
    let cut = QRocmStorage::from_reader(device, &mut &bytes[..34], 68, GgmlDType::Q8_0);
    assert!(cut.is_err());
    let odd = QRocmStorage::from_data(device, &bytes[..33], GgmlDType::Q8_0).unwrap_err();
    assert!(
        odd.to_string().contains("no whole number of Q8_0 blocks"),
        "{odd}"
    );
    Ok(())
}

#[test]
fn a_gguf_file_loads_as_on_the_cpu() -> Result<()> {
    let tensor = Tensor::from_vec(rows()[..16 * 256].to_vec(), (16, 256), &Device::Cpu)?;
    let types = [
        GgmlDType::F32,
        GgmlDType::F16,
        GgmlDType::Q4_0,
        GgmlDType::Q8_0,
        GgmlDType::Q4K,
        GgmlDType::Q6K,
    ];
    let tensors = types.map(|t| QTensor::quantize(&tensor, t));
    let tensors = tensors.into_iter().collect::<Result<Vec<_>>>()?;
    let names: Vec<String> = types.iter().map(|t| format!("{t:?}")).collect();
    let named: Vec<(&str, &QTensor)> = names.iter().map(String::as_str).zip(&tensors).collect();
    let mut file = std::io::Cursor::new(Vec::new());
    gguf_file::write(
        &mut file,
        &[("general.name", &Value::String("test".into()))],
        &named,
    )?;
    file.set_position(0);
    let content = gguf_file::Content::read(&mut file)?;
    for (name, on_cpu) in named {
        let there = content.tensor(&mut file, name, &rocm()?)?;
        assert!(there.device().is_rocm());
        assert_eq!(
            (there.dtype(), there.shape()),
            (on_cpu.dtype(), on_cpu.shape())
        );
        assert_eq!(there.data()?, on_cpu.data()?, "{name}");
    }
    Ok(())
}

/// Every pattern of bits: scales that are subnormal, infinite or NaN, and integers that no quantizer would pair with them.
/// Numbers have the CPU's bits; of a NaN the payload is left open.
#[test]
fn any_blocks_dequantize_as_on_the_cpu() -> Result<()> {
    let mut rng = StdRng::seed_from_u64(13);
    let device = rocm()?;
    for dtype in QUANTIZED {
        let (rows, k) = (40, 256);
        let len = rows * k / dtype.block_size() * dtype.type_size();
        let bytes: Vec<u8> = (0..len).map(|_| rng.random()).collect();
        let tensor = |device: &Device| -> Result<QTensor> {
            let storage = QStorage::from_data(bytes.clone().into(), device, dtype)?;
            QTensor::new(storage, (rows, k))
        };
        let on_cpu = tensor(&Device::Cpu)?.dequantize(&Device::Cpu)?;
        let there = tensor(&device)?;
        for (what, found) in [
            ("f32", there.dequantize(&device)?),
            ("f16", there.dequantize_f16(&device)?),
        ] {
            let expected = on_cpu.to_dtype(found.dtype())?.to_dtype(DType::F32)?;
            let floats = |t: &Tensor| t.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
            let found = floats(&found.to_device(&Device::Cpu)?)?;
            for (i, (e, f)) in floats(&expected)?.iter().zip(&found).enumerate() {
                assert!(
                    e.to_bits() == f.to_bits() || e.is_nan() && f.is_nan(),
                    "{dtype:?} to {what}, element {i}: {e} on the CPU, {f} on rocm"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn zeros_of_every_type() -> Result<()> {
    let device = rocm()?;
    for dtype in QUANTIZED {
        let storage = QRocmStorage::zeros(device.as_rocm_device()?, 512, dtype)?;
        let bytes = 512 / dtype.block_size() * dtype.type_size();
        assert_eq!(storage.storage_size_in_bytes(), bytes);
        assert_eq!(storage.data()?, vec![0; bytes], "{dtype:?}");
        let tensor = QTensor::new(QStorage::Rocm(storage), (2, 256))?;
        let values = tensor.dequantize(&device)?.to_vec2::<f32>()?;
        assert_eq!(values, vec![vec![0.; 256]; 2], "{dtype:?}");
    }
    Ok(())
}

/// A file as llama.cpp wrote them before GGUF, version 3 of "ggjt": numbers of 32 bits, tensors aligned to 32 bytes.
#[test]
fn a_ggml_file_loads_as_on_the_cpu() -> Result<()> {
    let tensor = Tensor::from_vec(rows()[..4 * 256].to_vec(), (4, 256), &Device::Cpu)?;
    // Number of the type in the file.
    let types = [
        (GgmlDType::F32, 0u32),
        (GgmlDType::F16, 1),
        (GgmlDType::Q4_0, 2),
        (GgmlDType::Q8_0, 8),
        (GgmlDType::Q4K, 12),
    ];
    let mut file: Vec<u8> = Vec::new();
    // The magic, the version, seven sizes of the model: a vocabulary of none.
    for word in [0x67676a74u32, 3, 0, 256, 1, 1, 1, 1, 0] {
        file.extend(word.to_le_bytes());
    }
    for (dtype, number) in types {
        let name = format!("{dtype:?}");
        for word in [2, name.len() as u32, number, 256, 4] {
            file.extend(word.to_le_bytes());
        }
        file.extend(name.as_bytes());
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(QTensor::quantize(&tensor, dtype)?.data()?.iter());
    }
    let device = rocm()?;
    let content = ggml_file::Content::read(&mut std::io::Cursor::new(&file), &device)?;
    assert_eq!(content.tensors.len(), types.len());
    for (dtype, _) in types {
        let there = &content.tensors[&format!("{dtype:?}")];
        assert!(there.device().is_rocm());
        assert_eq!(
            (there.dtype(), there.shape().dims()),
            (dtype, &[4, 256][..])
        );
        let expected = QTensor::quantize(&tensor, dtype)?;
        assert_eq!(there.data()?, expected.data()?, "{dtype:?}");
        let dense = there.dequantize(&device)?.to_vec2::<f32>()?;
        let expected = expected.dequantize(&Device::Cpu)?.to_vec2::<f32>()?;
        assert_eq!(dense, expected, "{dtype:?}");
    }
    Ok(())
}

/// An importance matrix from llama.cpp's file (a name, a count of calls, sums of squares) weights the quantizer on rocm as
/// on the CPU, and changes what it makes.
#[test]
fn an_imatrix_file_weights_the_quantizer() -> Result<()> {
    let mut rng = StdRng::seed_from_u64(14);
    let values: Vec<f32> = (0..3 * 256)
        .map(|_| rng.random_range(-1f32..1f32))
        .collect();
    let sums: Vec<f32> = (0..256).map(|_| rng.random_range(0.1f32..200f32)).collect();
    let name = "blk.0.ffn_up.weight";
    let mut file: Vec<u8> = Vec::new();
    for word in [1, name.len() as i32] {
        file.extend(word.to_le_bytes());
    }
    file.extend(name.as_bytes());
    for word in [7i32, sums.len() as i32] {
        file.extend(word.to_le_bytes());
    }
    file.extend(sums.iter().flat_map(|v| v.to_le_bytes()));
    let path = std::env::temp_dir().join(format!("candle-imatrix-{}", std::process::id()));
    std::fs::write(&path, file)?;
    let matrix = imatrix_file::load_imatrix(&path)?;
    std::fs::remove_file(&path)?;
    let importance = &matrix[name];

    let device = rocm()?;
    let on_cpu = Tensor::from_vec(values, (3, 256), &Device::Cpu)?;
    let on_rocm = on_cpu.to_device(&device)?;
    for dtype in [GgmlDType::Q2K, GgmlDType::Q4K] {
        let expected = QTensor::quantize_imatrix(&on_cpu, importance, dtype)?;
        let there = QTensor::quantize_imatrix(&on_rocm, importance, dtype)?;
        assert_eq!(there.data()?, expected.data()?, "{dtype:?}");
        let plain = QTensor::quantize(&on_rocm, dtype)?;
        assert_ne!(there.data()?, plain.data()?, "{dtype:?}");
    }
    Ok(())
}
