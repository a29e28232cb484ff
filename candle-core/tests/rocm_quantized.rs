//! Quantized tensors on rocm: every type, each path, against the CPU.
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Device, Module, Result, Tensor};

mod rocm_types;

fn rocm() -> Result<Device> {
    Device::new_rocm(0)
}

fn wave(shape: (usize, usize), frequency: f32) -> Result<Tensor> {
    let values: Vec<f32> = (0..shape.0 * shape.1)
        .map(|i| (i as f32 * frequency).sin() + 0.1)
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// The same blocks on the CPU and on the device.
fn both(weights: &Tensor, dtype: GgmlDType) -> Result<(QTensor, QTensor)> {
    let on_cpu = QTensor::quantize(weights, dtype)?;
    let on_rocm = QTensor::quantize_onto(weights, dtype, &rocm()?)?;
    assert_eq!(
        on_cpu.data()?,
        on_rocm.data()?,
        "{dtype:?}: the blocks differ"
    );
    Ok((on_cpu, on_rocm))
}

fn values(t: &Tensor) -> Result<Vec<f32>> {
    t.to_device(&Device::Cpu)?
        .to_dtype(DType::F32)?
        .flatten_all()?
        .to_vec1()
}

#[test]
fn blocks_survive_the_way_there_and_back() -> Result<()> {
    for dtype in rocm_types::all() {
        let (on_cpu, on_rocm) = both(&wave((4, 512), 0.37)?, dtype)?;
        assert_eq!(
            on_cpu.storage_size_in_bytes(),
            on_rocm.storage_size_in_bytes()
        );
        assert_eq!(on_rocm.dtype(), dtype);
        assert!(on_rocm.device().is_rocm());
        assert!(!on_rocm.device_ptr()?.is_null());
        // Quantizing what lies on the device gives the same blocks.
        let there = QTensor::quantize(&wave((4, 512), 0.37)?.to_device(&rocm()?)?, dtype)?;
        assert_eq!(there.data()?, on_cpu.data()?, "{dtype:?}");
    }
    Ok(())
}

/// Bit for bit; f16 is the f32 value rounded once.
#[test]
fn dequantization_equals_the_cpus() -> Result<()> {
    for dtype in rocm_types::all() {
        for weights in [wave((3, 768), 0.11)?, (wave((2, 256), 0.7)? * 1e-6)?] {
            let (on_cpu, on_rocm) = both(&weights, dtype)?;
            let expected = values(&on_cpu.dequantize(&Device::Cpu)?)?;
            let found = values(&on_rocm.dequantize(&rocm()?)?)?;
            let halves = on_rocm.dequantize_f16(&rocm()?)?;
            assert_eq!(halves.dtype(), DType::F16);
            let rounded = on_cpu.dequantize(&Device::Cpu)?.to_dtype(DType::F16)?;
            let (rounded, halves) = (values(&rounded)?, values(&halves)?);
            assert_eq!(expected.len(), found.len());
            for i in 0..expected.len() {
                let (e, f) = (expected[i], found[i]);
                assert_eq!(
                    e.to_bits(),
                    f.to_bits(),
                    "{dtype:?} element {i}: {e}, {f} on rocm"
                );
                let (e, f) = (rounded[i], halves[i]);
                assert_eq!(
                    e.to_bits(),
                    f.to_bits(),
                    "{dtype:?} element {i} in f16: {e}, {f}"
                );
            }
        }
    }
    Ok(())
}

/// Largest difference of a product relative to the largest result.
fn product_error(expected: &Tensor, found: &Tensor) -> Result<f32> {
    assert_eq!(expected.dims(), found.dims());
    let (expected, found) = (values(expected)?, values(found)?);
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let worst = expected.iter().zip(&found).map(|(e, f)| (e - f).abs());
    // `max` would lose a NaN.
    Ok(worst.fold(
        0f32,
        |m, d| if d.is_nan() { f32::INFINITY } else { m.max(d) },
    ) / largest)
}

/// Products against the same quantized weights times the same activations in f32. The kernels round the activations
/// to Q8_1: 1/254 of a block's largest value each, independent of each other, so the sum of k of them stays well below
/// 1 % of the largest result.
#[test]
fn products_of_every_type_and_number_of_rows() -> Result<()> {
    let device = rocm()?;
    for dtype in rocm_types::all() {
        // Row counts beside the kernels' two rows a workgroup and their tiles; k with and without padding to 512.
        for (n, k) in [(32, 512), (33, 256), (7, 768)] {
            let (_, weights) = both(&wave((n, k), 0.013)?, dtype)?;
            let dense = weights.dequantize(&Device::Cpu)?;
            let product = QMatMul::from_qtensor(weights)?;
            for rows in [1, 2, 3, 4, 5, 8, 9, 70] {
                let x = wave((rows, k), 0.029)?;
                let found = product.forward(&x.to_device(&device)?)?;
                let error = product_error(&x.matmul(&dense.t()?)?, &found)?;
                assert!(
                    error < 1e-2,
                    "{dtype:?} {rows} rows of {k} times {n}: error {error}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn products_take_half_precision_batches_and_offsets() -> Result<()> {
    let device = rocm()?;
    let (_, weights) = both(&wave((16, 256), 0.017)?, GgmlDType::Q4_0)?;
    let dense = weights.dequantize(&Device::Cpu)?;
    let product = QMatMul::from_qtensor(weights)?;
    let x = wave((10, 256), 0.031)?;
    let expected = x.matmul(&dense.t()?)?;
    for dtype in [DType::F16, DType::BF16] {
        let found = product.forward(&x.to_dtype(dtype)?.to_device(&device)?)?;
        assert_eq!(found.dtype(), dtype);
        // bf16 keeps 8 bits of each activation and of the result.
        assert!(product_error(&expected, &found)? < 2e-2, "{dtype:?}");
    }
    let batch = product.forward(&x.reshape((2, 5, 256))?.to_device(&device)?)?;
    assert!(product_error(&expected.reshape((2, 5, 16))?, &batch)? < 1e-2);
    let view = product.forward(&x.to_device(&device)?.narrow(0, 3, 2)?)?;
    assert!(product_error(&expected.narrow(0, 3, 2)?, &view)? < 1e-2);
    let none = product.forward(&Tensor::zeros((0, 256), DType::F32, &device)?)?;
    assert_eq!(none.dims(), [0, 16]);
    Ok(())
}

#[test]
fn rows_by_index_equal_the_cpus() -> Result<()> {
    let ids = Tensor::new(&[[4u32, 0], [2, 4]], &Device::Cpu)?;
    for dtype in rocm_types::all() {
        let (on_cpu, on_rocm) = both(&wave((5, 512), 0.23)?, dtype)?;
        let expected = on_cpu
            .dequantize(&Device::Cpu)?
            .index_select(&ids.flatten_all()?, 0)?;
        let found = on_rocm.embedding(&ids.to_device(&rocm()?)?)?;
        assert_eq!(found.dims(), [2, 2, 512]);
        for (e, f) in values(&expected)?.iter().zip(values(&found)?) {
            assert_eq!(
                e.to_bits(),
                f.to_bits(),
                "{dtype:?}: {e} on the CPU, {f} on rocm"
            );
        }
        let view = on_rocm.embedding(&ids.to_device(&rocm()?)?.narrow(0, 1, 1)?)?;
        assert_eq!(
            values(&view)?,
            values(&found.narrow(0, 1, 1)?)?,
            "{dtype:?}"
        );
    }
    Ok(())
}

#[test]
fn shapes_that_do_not_fit_are_errors() -> Result<()> {
    let device = rocm()?;
    let (_, weights) = both(&wave((8, 256), 0.1)?, GgmlDType::Q4_0)?;
    let product = QMatMul::from_qtensor(weights)?;
    let wrong = product.forward(&Tensor::zeros((1, 512), DType::F32, &device)?);
    let text = wrong.unwrap_err().to_string();
    assert!(text.contains("does not fit"), "{text}");
    let wrong = product.forward(&Tensor::zeros((1, 256), DType::U32, &device)?);
    let text = wrong.unwrap_err().to_string();
    assert!(
        text.contains("unsupported dtype U32 for op quantized matmul"),
        "{text}"
    );
    Ok(())
}

/// `UPDATE_DOCS=1` writes it anew.
#[test]
fn docs_quantized_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/quantized.md");
    let expected = candle_core::quantized::rocm::quantized_document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).expect("docs/quantized.md can be written");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/quantized.md is stale: UPDATE_DOCS=1 cargo test -p candle-core --features rocm --test rocm_quantized"
    );
}
