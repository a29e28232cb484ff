//! What the tests of operations share: samples, views of them, comparison.
#![allow(dead_code)] // each test file uses a part
use candle_core::{DType, Device, Result, Tensor, D};

pub const INTEGERS: &[DType] = &[DType::U8, DType::U32, DType::I16, DType::I32, DType::I64];
pub const FLOATS: &[DType] = &[
    DType::F32,
    DType::F64,
    DType::F16,
    DType::BF16,
    DType::F8E4M3,
];
pub const NUMBERS: &[DType] = &[
    DType::U8,
    DType::U32,
    DType::I16,
    DType::I32,
    DType::I64,
    DType::F32,
    DType::F64,
    DType::F16,
    DType::BF16,
    DType::F8E4M3,
];

/// The difference that a type allows.
pub type Near = fn(DType) -> f64;

/// A few units in the last place of the type, for functions whose CPU version rounds after every step (gelu: six).
pub fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 16.0 * 2f64.powi(-53),
        DType::F32 => 16.0 * 2f64.powi(-24),
        DType::F16 => 8.0 * 2f64.powi(-11),
        DType::BF16 => 8.0 * 2f64.powi(-8),
        DType::F8E4M3 => 8.0 * 2f64.powi(-4),
        _ => 0.0,
    }
}

pub fn rocm() -> Result<Device> {
    Device::new_rocm(0)
}

pub fn on(device: &Device, t: &Tensor) -> Result<Tensor> {
    t.to_device(device)
}

/// `count` numbers in [-2, 2) that look random and are the same everywhere (xorshift).
pub fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 * 4.0 - 2.0
    };
    (0..count).map(|_| next()).collect()
}

/// A tensor of three dimensions as it is and as views of it that are no plain copy.
pub fn views(t: &Tensor) -> Result<Vec<(&'static str, Tensor)>> {
    let (a, b, c) = t.dims3()?;
    Ok(vec![
        ("contiguous", t.clone()),
        ("transposed", t.transpose(0, 2)?),
        ("permuted", t.permute((1, 2, 0))?),
        ("offset", t.narrow(0, 1, a - 1)?),
        ("inner part", t.narrow(D::Minus1, 1, c - 1)?),
        ("broadcast", t.narrow(1, 2, 1)?.broadcast_as((a, b, c))?),
    ])
}

/// `to_dtype` on the CPU. candle 0.11.1 casts F8E4M3 to F64 by a function that calls itself without end; f32 holds
/// each of its values.
pub fn cast(t: &Tensor, to: DType) -> Result<Tensor> {
    match (t.dtype(), to) {
        (DType::F8E4M3, DType::F64) => t.to_dtype(DType::F32)?.to_dtype(to),
        _ => t.to_dtype(to),
    }
}

/// Fails unless type and shape agree and no element differs by more than `allowed`, relative to the larger of 1 and
/// the expected value. NaN equals NaN.
pub fn assert_near(expected: &Tensor, found: &Tensor, allowed: f64, what: &str) -> Result<()> {
    assert_eq!(expected.dtype(), found.dtype(), "{what}");
    assert_eq!(expected.shape(), found.shape(), "{what}");
    // I64 does not fit into f64: compared as it is.
    if expected.dtype() == DType::I64 {
        let flat = |t: &Tensor| t.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<i64>();
        assert_eq!(flat(expected)?, flat(found)?, "{what}");
        return Ok(());
    }
    let flat = |t: &Tensor| {
        let t = t.to_device(&Device::Cpu)?.flatten_all()?;
        cast(&t, DType::F64)?.to_vec1::<f64>()
    };
    for (i, (e, f)) in flat(expected)?.into_iter().zip(flat(found)?).enumerate() {
        let same = e == f || (e.is_nan() && f.is_nan());
        let distance = (e - f).abs() / e.abs().max(1.0);
        assert!(
            same || distance <= allowed,
            "{what}: element {i} is {f}, expected {e}, allowed {allowed}"
        );
    }
    Ok(())
}

/// A tensor with values that every type holds: whole numbers in [0, 100) for `whole`, else in (-2, 2).
pub fn sample(shape: &[usize], seed: u64, dtype: DType) -> Result<Tensor> {
    let count = shape.iter().product();
    let values = numbers(count, seed);
    let values: Vec<f32> = match INTEGERS.contains(&dtype) {
        true => values.iter().map(|v| (v.abs() * 6.0).floor()).collect(),
        false => values,
    };
    let t = Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?;
    // Negative numbers where the type has them.
    match dtype {
        DType::I16 | DType::I32 | DType::I64 => t.affine(3.0, -9.0),
        _ => Ok(t),
    }
}

/// `op` on every view of a sample, on both sides.
pub fn unary(
    name: &str,
    dtypes: &[DType],
    near: Near,
    op: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<()> {
    let device = rocm()?;
    for &dtype in dtypes {
        for (view, t) in views(&sample(&[6, 5, 4], 7, dtype)?)? {
            let (expected, found) = (op(&t)?, op(&on(&device, &t)?)?);
            assert!(
                found.device().is_rocm(),
                "{name}: the result left the device"
            );
            assert_near(
                &expected,
                &found,
                near(dtype),
                &format!("{name} {dtype:?} {view}"),
            )?;
        }
    }
    Ok(())
}
