//! Blocks of quantized tensors on rocm: made on the device, brought there, and brought back.
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::rocm::{QRocmStorage, STAGING_BYTES};
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Result, Tensor};
use rand::{rngs::StdRng, Rng, SeedableRng};

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
    for dtype in [GgmlDType::Q4K, GgmlDType::Q6K] {
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
