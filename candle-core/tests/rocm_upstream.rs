//! Upstream's tests that ask for a CUDA or Metal device by name, retold for rocm.
//!
//! `test_device!` reaches every other one. scripts/count_device_tests.sh holds the list of both and finds new ones.
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Result, Tensor};

fn rocm() -> Result<Device> {
    Device::new_rocm(0)
}

/// Runs `work` with a number of its own on several threads at once.
fn on_threads(work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || work(n))).collect();
        for thread in threads {
            thread.join().expect("no thread panics")?;
        }
        Ok(())
    })
}

/// Each thread reads what its own launches wrote, though all share the device's stream and memory pool.
#[test]
fn threads_read_their_own_results() -> Result<()> {
    let device = rocm()?;
    on_threads(|thread| {
        for round in 0..50 {
            let value = (1000 * thread + round) as f32;
            let filled = Tensor::full(value, (64, 64), &device)?;
            let found = filled.affine(2.0, 1.0)?.flatten_all()?.to_vec1::<f32>()?;
            assert_eq!(
                found,
                vec![2.0 * value + 1.0; 64 * 64],
                "thread {thread}, round {round}"
            );
        }
        Ok(())
    })
}

#[test]
fn threads_quantize_and_read_back() -> Result<()> {
    let device = rocm()?;
    on_threads(|thread| {
        for round in 0..10 {
            let source = Tensor::rand(-1f32, 1f32, (64, 256), &device)?;
            let first = QTensor::quantize(&source, GgmlDType::Q8_0)?
                .data()?
                .to_vec();
            let again = QTensor::quantize(&source, GgmlDType::Q8_0)?
                .data()?
                .to_vec();
            assert_eq!(first, again, "thread {thread}, round {round}");
            let here = QTensor::quantize(&source.to_device(&Device::Cpu)?, GgmlDType::Q8_0)?;
            assert_eq!(
                first,
                here.data()?.to_vec(),
                "thread {thread}, round {round}: not the CPU's blocks"
            );
        }
        Ok(())
    })
}

fn ramp(shape: (usize, usize), step: f32, device: &Device) -> Result<Tensor> {
    let values: Vec<f32> = (0..shape.0 * shape.1).map(|i| i as f32 * step).collect();
    Tensor::from_vec(values, shape, device)
}

/// Mean of |found - exact| / |exact|.
fn mean_error(found: &Tensor, exact: &Tensor) -> Result<f32> {
    ((found - exact)?.abs()? / exact.abs()?)?
        .mean_all()?
        .to_scalar()
}

/// A quantized matrix times a batch of matrices in two batch dimensions.
#[test]
fn a_quantized_product_of_many_batches() -> Result<()> {
    let device = rocm()?;
    let weights = (ramp((32, 32), 1.0 / 1024.0, &device)? + 0.01)?;
    let x = (ramp((32, 32), 1.0 / 1024.0, &device)? + 0.01)?
        .reshape((1, 1, 32, 32))?
        .repeat((5, 20, 1, 1))?;
    let exact = x.broadcast_matmul(&weights.t()?)?;
    let quantized = QMatMul::from_qtensor(QTensor::quantize(&weights, GgmlDType::Q8_0)?)?;
    let found = quantized.forward(&x)?;
    assert_eq!(found.dims(), [5, 20, 32, 32]);
    let error = mean_error(&found, &exact)?;
    // Both operands are rounded to 8 bits, half a step of 1/127 each; their errors average out over 32 terms.
    assert!(error < 1.0 / 127.0, "{error}");
    Ok(())
}

#[test]
fn rows_of_a_quantized_embedding() -> Result<()> {
    let device = rocm()?;
    let weights = (ramp((16, 256), 0.01, &Device::Cpu)?.sin()? * 0.1)?.to_device(&device)?;
    let ids = Tensor::new(&[[3u32, 1], [3, 7]], &device)?;
    for dtype in [
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q5_0,
        GgmlDType::Q5_1,
        GgmlDType::Q8_0,
        GgmlDType::Q2K,
        GgmlDType::Q3K,
        GgmlDType::Q4K,
        GgmlDType::Q5K,
        GgmlDType::Q6K,
    ] {
        let quantized = QTensor::quantize(&weights, dtype)?;
        let found = quantized.embedding(&ids)?;
        let rows = quantized
            .dequantize(&device)?
            .index_select(&ids.flatten_all()?, 0)?;
        let rows = rows.reshape((2, 2, 256))?;
        let off = (&found - &rows)?.abs()?.max_all()?.to_scalar::<f32>()?;
        // Both unpack the same blocks; a product and a sum may be fused on one side.
        assert!(off <= 0.1 * 4.0 * 2f32.powi(-24), "{dtype:?}: {off:e} off");
    }
    Ok(())
}

/// The sum of the squares of 0 to 255 by one quantized row, and by a 4 × 4 product.
#[test]
fn sums_of_squares_by_quantized_products() -> Result<()> {
    let device = rocm()?;
    let row = ramp((1, 256), 1.0, &device)?;
    let found = QMatMul::from_qtensor(QTensor::quantize(&row, GgmlDType::Q4_0)?)?.forward(&row)?;
    let exact = 255.0 * 256.0 * 511.0 / 6.0;
    let error = (found.flatten_all()?.to_vec1::<f32>()?[0] - exact).abs() / exact;
    // Four bits a weight: a sixteenth of the largest at worst, a fraction of that on average.
    assert!(error < 0.01, "{error}");

    let rows = ramp((4, 256), 0.25, &device)?;
    let found =
        QMatMul::from_qtensor(QTensor::quantize(&rows, GgmlDType::Q4_0)?)?.forward(&rows)?;
    let exact = rows.matmul(&rows.t()?)?;
    let error = mean_error(&found, &exact)?;
    assert!(error < 0.03, "{error}");
    // The weights come out as the same product when they are unpacked first, up to the 8 bits of the right operand.
    let unpacked = QTensor::quantize(&rows, GgmlDType::Q4_0)?.dequantize(&device)?;
    let error = mean_error(&found, &rows.matmul(&unpacked.t()?)?)?;
    assert!(error < 0.5 / 127.0, "{error}");
    Ok(())
}

/// Rows shorter than a tile of the matrix kernel, and far more columns: nothing beyond the operands is read, which the
/// emulator checks.
#[test]
fn short_rows_times_many_columns() -> Result<()> {
    let device = rocm()?;
    let weights = (ramp((4, 32), 0.25, &device)? + 1.0)?;
    let x = (ramp((2048, 32), 1.0 / 256.0, &device)? + 1.0)?;
    let found =
        QMatMul::from_qtensor(QTensor::quantize(&weights, GgmlDType::Q4_0)?)?.forward(&x)?;
    assert_eq!(found.dims(), [2048, 4]);
    let unpacked = QTensor::quantize(&weights, GgmlDType::Q4_0)?.dequantize(&device)?;
    let error = mean_error(&found, &x.matmul(&unpacked.t()?)?)?;
    assert!(error < 0.5 / 127.0, "{error}");
    Ok(())
}

/// The same number on both sides is one device: `to_device` shares the memory there, as it does for every device that
/// is the same, and `copy` does not.
#[test]
fn memory_is_shared_with_the_same_device_only() -> Result<()> {
    let x = Tensor::arange(0u32, 1 << 18, &rocm()?)?.reshape((512, 512))?;
    let (shared, copied) = (x.to_device(&rocm()?)?, x.copy()?);
    x.zero_set()?;
    assert_eq!(shared.max_all()?.to_scalar::<u32>()?, 0);
    assert_eq!(copied.max_all()?.to_scalar::<u32>()?, (1 << 18) - 1);
    Ok(())
}
