//! Comparison of a result with what it should be.
//!
//! An operation that moves or compares elements must give the CPU's bits. One that computes in floats is held against
//! the CPU backend's f64 on the same numbers (they are rounded to the type under test first), and every tolerance is a
//! count of roundings of the type.
use candle_core::{bail, DType, Device, Result, Tensor};

/// Half the distance from 1 to the next number: the relative error of one rounding.
pub fn unit_roundoff(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 2f64.powi(-53),
        DType::F32 => 2f64.powi(-24),
        DType::F16 => 2f64.powi(-11),
        DType::BF16 => 2f64.powi(-8),
        DType::F8E4M3 => 2f64.powi(-4),
        _ => 0.0,
    }
}

/// The type's smallest step, halved: the error of rounding a result too small for full precision. The wide types'
/// are smaller than any number in these tests.
pub fn least_roundoff(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-25),
        DType::F8E4M3 => 2f64.powi(-10),
        _ => 0.0,
    }
}

/// The unit roundoff of the type in which sums are kept: f32 for the narrow types.
pub fn accumulator_roundoff(dtype: DType) -> f64 {
    unit_roundoff(dtype).min(unit_roundoff(DType::F32))
}

/// A tensor of the CPU in f64. The CPU's own cast from f8 to f64 never ends (0.11.1); f32 holds every f8.
pub fn wide(t: &Tensor) -> Result<Tensor> {
    match t.dtype() {
        DType::F8E4M3 => t.to_dtype(DType::F32)?.to_dtype(DType::F64),
        _ => t.to_dtype(DType::F64),
    }
}

pub fn doubles(t: &Tensor) -> Result<Vec<f64>> {
    wide(&t.to_device(&Device::Cpu)?.flatten_all()?)?.to_vec1()
}

fn same_kind(found: &Tensor, dims: &[usize], dtype: DType) -> Result<()> {
    if !found.device().is_rocm() {
        bail!("the result left the device")
    }
    if found.dims() != dims {
        bail!("dimensions {:?}, not {dims:?}", found.dims())
    }
    if found.dtype() != dtype {
        bail!("type {:?}, not {dtype:?}", found.dtype())
    }
    Ok(())
}

/// The elements of a tensor as they lie in memory once contiguous.
pub fn bits(t: &Tensor) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    t.to_device(&Device::Cpu)?
        .contiguous()?
        .write_bytes(&mut bytes)?;
    Ok(bytes)
}

/// Every bit as on the CPU.
pub fn identical(found: &Tensor, expected: &Tensor) -> Result<()> {
    same_kind(found, expected.dims(), expected.dtype())?;
    let size = expected.dtype().size_in_bytes();
    let (found, expected) = (bits(found)?, bits(expected)?);
    if found.len() != expected.len() {
        bail!("{} bytes, not {}", found.len(), expected.len())
    }
    let pairs = found.chunks(size).zip(expected.chunks(size));
    for (i, (found, expected)) in pairs.enumerate() {
        if found != expected {
            bail!("element {i} is {found:02x?}, not {expected:02x?}")
        }
    }
    Ok(())
}

/// `found` is within `error(i)` of the i-th exact number, besides half the smallest step of its type.
pub fn within(found: &Tensor, exact: &Tensor, error: impl Fn(usize, f64) -> f64) -> Result<()> {
    same_kind(found, exact.dims(), found.dtype())?;
    let least = least_roundoff(found.dtype());
    let pairs = doubles(found)?.into_iter().zip(doubles(exact)?);
    for (i, (found, exact)) in pairs.enumerate() {
        let allowed = error(i, exact) + least;
        if found != exact
            && (found - exact).abs().partial_cmp(&allowed) != Some(std::cmp::Ordering::Less)
        {
            let off = (found - exact).abs();
            bail!("element {i} is {found}, not {exact}: {off:e} off, {allowed:e} allowed")
        }
    }
    Ok(())
}

/// `found` is as near as `roundings` roundings of the result, or of numbers as large as `weights` where these are
/// larger, allow.
pub fn rounded(
    found: &Tensor,
    exact: &Tensor,
    weights: Option<&Tensor>,
    roundings: f64,
) -> Result<()> {
    // A rounding may add its error to a number that was rounded before: a hundredth more covers the products.
    let unit = 1.01 * roundings * unit_roundoff(found.dtype());
    let weights = weights.map(doubles).transpose()?;
    within(found, exact, |i, exact| {
        let weight = weights.as_ref().map_or(0.0, |w| w[i].abs());
        unit * exact.abs().max(weight)
    })
}

/// Names the operation and the type in an error.
pub fn about<T>(name: &str, dtype: DType, result: Result<T>) -> Result<T> {
    result.map_err(|e| candle_core::Error::Msg(format!("{name} {dtype:?}: {e}")))
}
