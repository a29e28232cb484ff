//! Matrix products in every layout, empty tensors, and what a device is, on rocm against the CPU backend.
//!
//! Element types and views of all other operations: rocm_dtypes.rs; random shapes: rocm_properties.
mod rocm_support;

use candle_core::{DType, Device, Result, Tensor};
use rocm_support::{assert_near, numbers, on, rocm};

const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::BF16, DType::F64];

fn tensor(shape: &[usize], seed: u64) -> Result<Tensor> {
    Tensor::from_vec(numbers(shape.iter().product(), seed), shape, &Device::Cpu)
}

/// A few units in the last place of the type.
fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-13,
        DType::F32 => 1e-6,
        DType::F16 => 4e-3,
        _ => 3e-2,
    }
}

#[test]
fn matrix_products_of_every_layout() -> Result<()> {
    let device = rocm()?;
    // m covers both the few-row kernels and the tiled one; nothing is a multiple of a tile.
    for (m, n, k) in [
        (1, 1, 1),
        (1, 65, 130),
        (3, 33, 257),
        (8, 64, 64),
        (9, 7, 5),
        (70, 67, 33),
        (65, 2, 40),
    ] {
        for &dtype in FLOATS {
            let a = tensor(&[2, m, k], 21)?.to_dtype(dtype)?;
            let b = tensor(&[2, k, n], 22)?.to_dtype(dtype)?;
            let b_transposed = tensor(&[2, n, k], 23)?.to_dtype(dtype)?.t()?;
            let shared = b.narrow(0, 0, 1)?.broadcast_as((2, k, n))?;
            for (name, b) in [
                ("rows", &b),
                ("columns", &b_transposed),
                ("one for all", &shared),
            ] {
                // The reference in f64: both sides round their products, this one does not matter at that scale.
                let expected = a
                    .to_dtype(DType::F64)?
                    .matmul(&b.to_dtype(DType::F64)?.contiguous()?)?;
                let found = on(&device, &a)?
                    .matmul(&on(&device, b)?)?
                    .to_dtype(DType::F64)?;
                let allowed = tolerance(dtype) * (k as f64).sqrt().max(1.0);
                let what = format!("matmul {dtype:?} {m}x{k}x{n} {name}");
                assert_near(&expected, &found, allowed, &what)?;
            }
        }
    }
    let empty = Tensor::zeros((3, 0), DType::F32, &device)?.matmul(&Tensor::zeros(
        (0, 4),
        DType::F32,
        &device,
    )?)?;
    assert_eq!(
        empty.to_vec2::<f32>()?,
        vec![vec![0.0; 4]; 3],
        "a sum of nothing is zero"
    );
    Ok(())
}

#[test]
fn additions_with_broadcast() -> Result<()> {
    let device = rocm()?;
    let (a, row) = (tensor(&[4, 3, 10], 3)?, tensor(&[10], 4)?);
    let found = on(&device, &a)?.broadcast_add(&on(&device, &row)?)?;
    // One addition rounds the same everywhere.
    assert_near(&a.broadcast_add(&row)?, &found, 0.0, "broadcast_add")
}

#[test]
fn empty_tensors() -> Result<()> {
    let device = rocm()?;
    let t = Tensor::zeros((0, 5), DType::F32, &device)?;
    assert_eq!(t.exp()?.dims(), [0, 5]);
    assert_eq!((&t + &t)?.to_vec2::<f32>()?, Vec::<Vec<f32>>::new());
    assert_eq!(t.sum(0)?.to_vec1::<f32>()?, vec![0.0; 5]);
    Ok(())
}

#[test]
fn devices_with_one_number_are_one_device() -> Result<()> {
    let (a, b) = (rocm()?, rocm()?);
    assert!(a.same_device(&b));
    let sum = (Tensor::ones(3, DType::F32, &a)? + Tensor::ones(3, DType::F32, &b)?)?;
    assert_eq!(sum.to_vec1::<f32>()?, [2.0; 3]);
    assert_eq!(format!("{:?}", a.location()), "Rocm { gpu_id: 0 }");
    Ok(())
}
