//! Bad input to operations: an error that says what was wrong, and a device that goes on.
mod rocm_support;

use candle_core::{DType, Device, Result, Tensor};
use rocm_support::rocm;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A fault is reported to whoever waits for the device next: the tests of this file take turns.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

/// The error of reading `t`, whose kernel met bad input; then the device goes on as if nothing had been.
fn fault(device: &Device, t: Result<Tensor>, parts: &[&str]) -> Result<()> {
    let outcome = t.and_then(|t| t.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>());
    let text = outcome.expect_err("an error was expected").to_string();
    contains(&text, parts);
    device.synchronize()?;
    let ones = Tensor::ones(2, DType::F32, device)?;
    let ids = Tensor::new(&[1u32, 0], device)?;
    assert_eq!(ones.index_select(&ids, 0)?.to_vec1::<f32>()?, [1.0; 2]);
    Ok(())
}

#[test]
fn each_operation_reports_its_own_fault() -> Result<()> {
    let _alone = alone();
    let device = rocm()?;
    let t = Tensor::arange(0f32, 12f32, &device)?.reshape((3, 4))?;
    let column = t.narrow(1, 0, 1)?;
    let select = t.index_select(&Tensor::new(&[0i64, -1], &device)?, 1);
    fault(&device, select, &["index-select", "index -1 ", "size 4"])?;
    let select = t.index_select(&Tensor::new(&[200u8], &device)?, 0);
    fault(&device, select, &["index-select", "index 200 ", "size 3"])?;
    let gather = t.gather(&Tensor::new(&[[1u32, 4], [0, 0], [1, 1]], &device)?, 1);
    fault(&device, gather, &["gather", "index 4 ", "size 4"])?;
    let scatter = t.scatter(&Tensor::new(&[[9u32], [0], [1]], &device)?, &column, 1);
    fault(&device, scatter, &["scatter:", "index 9 ", "size 4"])?;
    let add = t.scatter_add(&Tensor::new(&[[0i64], [0], [-7]], &device)?, &column, 1);
    fault(&device, add, &["scatter-add", "index -7 ", "size 4"])?;
    let add = t.index_add(&Tensor::new(&[5i64], &device)?, &t.narrow(0, 0, 1)?, 0);
    fault(&device, add, &["index-add", "index 5 ", "size 3"])?;
    for dtype in rocm_support::INTEGERS {
        let zeros = Tensor::zeros(3, *dtype, &device)?;
        let quotient = Tensor::ones(3, *dtype, &device)? / zeros;
        fault(&device, quotient, &["div", "division by zero"])?;
    }
    // Floats divide by zero as IEEE 754 says.
    let quotient =
        (Tensor::ones(1, DType::F32, &device)? / Tensor::zeros(1, DType::F32, &device)?)?;
    assert_eq!(quotient.to_vec1::<f32>()?, [f32::INFINITY]);
    Ok(())
}

/// The largest value of the indices' type means "none", as on the CPU.
#[test]
fn the_index_none_reads_zero_and_writes_nothing() -> Result<()> {
    let _alone = alone();
    let device = rocm()?;
    let run = |device: &Device| -> Result<Vec<Vec<f32>>> {
        let t = Tensor::arange(1f32, 13f32, device)?.reshape((3, 4))?;
        let column = t.narrow(1, 1, 1)?.contiguous()?;
        let rows = Tensor::new(&[[1u32], [u32::MAX], [2]], device)?;
        let results = [
            t.index_select(&Tensor::new(&[2u8, 255], device)?, 0)?,
            t.gather(&rows.to_dtype(DType::U32)?, 1)?,
            t.scatter(&rows, &column, 1)?,
            t.scatter_add(&rows, &column, 1)?,
            t.index_add(&Tensor::new(&[i64::MAX, 0, 1], device)?, &t, 0)?,
        ];
        results
            .iter()
            .map(|t| t.flatten_all()?.to_vec1::<f32>())
            .collect()
    };
    assert_eq!(run(&device)?, run(&Device::Cpu)?);
    Ok(())
}

#[test]
fn types_that_do_not_fit_are_named() -> Result<()> {
    let _alone = alone();
    let device = rocm()?;
    let error = |t: Result<Tensor>| t.expect_err("an error was expected").to_string();
    let (floats, whole) = (
        Tensor::ones(3, DType::F32, &device)?,
        Tensor::ones(3, DType::I32, &device)?,
    );
    contains(&error(&floats + &whole), &["dtype mismatch", "F32", "I32"]);
    contains(&error(whole.exp()), &["exp", "I32"]);
    contains(&error(whole.gelu()), &["gelu", "I32"]);
    contains(&error(whole.powf(2.0)), &["powf", "I32"]);
    contains(&error(whole.elu(1.0)), &["elu", "I32"]);
    contains(
        &error(floats.index_select(&floats, 0)),
        &["index-select", "F32"],
    );
    contains(
        &error(floats.index_select(&whole, 0)),
        &["index-select", "I32"],
    );
    contains(&error(floats.gather(&whole, 0)), &["gather", "I32"]);
    contains(
        &error(floats.where_cond(&floats, &floats)),
        &["where", "F32"],
    );
    contains(
        &error(whole.where_cond(&floats, &whole)),
        &["where", "F32", "I32"],
    );
    contains(&error(floats.to_dtype(DType::F4)), &["to_dtype", "F4"]);
    let matrix = Tensor::ones((2, 2), DType::F8E4M3, &device)?;
    contains(&error(matrix.matmul(&matrix)), &["matmul", "F8E4M3"]);
    contains(
        &error(Tensor::zeros((2, 0), DType::F32, &device)?.max(1)),
        &["empty", "reduce"],
    );
    // Nothing of this reached the device.
    device.synchronize()?;
    assert_eq!(floats.to_vec1::<f32>()?, [1.0; 3]);
    Ok(())
}
