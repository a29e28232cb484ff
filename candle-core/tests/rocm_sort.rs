//! Sorting on rocm against the CPU's stable sort: every type, every length, both ways.
mod rocm_support;

use candle_core::{DType, Device, Result, Tensor};
use rocm_support::{numbers, on, rocm, NUMBERS};

/// Numbers that every type holds, with many that are equal.
fn rows(rows: usize, columns: usize, dtype: DType) -> Result<Tensor> {
    let values = numbers(rows * columns, columns as u64);
    let spread = if dtype == DType::F8E4M3 { 4.0 } else { 60.0 };
    let values: Vec<f32> = values.iter().map(|v| (v * spread).round()).collect();
    let t = Tensor::from_vec(values, (rows, columns), &Device::Cpu)?;
    let t = match dtype {
        DType::U8 | DType::U32 => t.abs()?,
        _ => t,
    };
    t.to_dtype(dtype)
}

fn check(t: &Tensor) -> Result<()> {
    let there = on(&rocm()?, t)?;
    for ascending in [true, false] {
        let expected = t.arg_sort_last_dim(ascending)?.to_vec2::<u32>()?;
        let found = there.arg_sort_last_dim(ascending)?.to_vec2::<u32>()?;
        assert!(
            expected == found,
            "{:?} {:?} ascending {ascending}",
            t.dtype(),
            t.shape()
        );
    }
    Ok(())
}

#[test]
fn every_type_and_many_lengths() -> Result<()> {
    for &dtype in NUMBERS {
        for columns in [1, 2, 3, 31, 33, 64, 100, 255, 257, 2047, 2048] {
            check(&rows(3, columns, dtype)?)?;
        }
    }
    Ok(())
}

/// More than fits into LDS: chunks merged through memory.
#[test]
fn long_rows() -> Result<()> {
    for &dtype in NUMBERS {
        check(&rows(2, 5000, dtype)?)?;
    }
    for columns in [2049, 4096, 4097, 16_385, 20_000] {
        check(&rows(2, columns, DType::F32)?)?;
    }
    check(&rows(1, 40_000, DType::F64)?)
}

#[test]
fn sorted_values_come_with_their_positions() -> Result<()> {
    let device = rocm()?;
    let t = on(&device, &rows(4, 3000, DType::F32)?)?;
    let (sorted, positions) = t.sort_last_dim(true)?;
    for (row, (sorted, positions)) in t.to_vec2::<f32>()?.iter().zip(
        sorted
            .to_vec2::<f32>()?
            .iter()
            .zip(positions.to_vec2::<u32>()?),
    ) {
        assert!(sorted.windows(2).all(|pair| pair[0] <= pair[1]));
        let picked: Vec<f32> = positions.iter().map(|p| row[*p as usize]).collect();
        assert_eq!(&picked, sorted);
    }
    Ok(())
}

/// The CPU's comparison leaves the place of NaN open; here it is behind infinity, as in PyTorch.
#[test]
fn nan_is_the_largest_and_zeros_are_equal() -> Result<()> {
    let device = rocm()?;
    let values = [
        f32::NAN,
        0.0,
        f32::INFINITY,
        -0.0,
        f32::NEG_INFINITY,
        -1.0,
        0.0,
        -f32::NAN,
    ];
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let t = Tensor::new(&[values], &device)?.to_dtype(dtype)?;
        let sort = |ascending| {
            t.arg_sort_last_dim(ascending)?
                .flatten_all()?
                .to_vec1::<u32>()
        };
        assert_eq!(sort(true)?, [4, 5, 1, 3, 6, 2, 0, 7], "{dtype:?}");
        assert_eq!(sort(false)?, [0, 7, 2, 1, 3, 6, 5, 4], "{dtype:?}");
    }
    Ok(())
}

#[test]
fn many_rows() -> Result<()> {
    check(&rows(70_000, 3, DType::U32)?)
}
