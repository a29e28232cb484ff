//! Element types as kernels name them: in the kernel's name, by width, or by number.
use super::error::OrRocm;
use super::RocmError;
use crate::{DType, Result};
use DType::{BF16, F16, F32, F64, F8E4M3, I16, I32, I64, U32, U8};

/// The types that are numbers to kernels, in the order of `convert_from` in candle-kernels' convert.hip.
pub(super) const NUMBERS: &[DType] = &[U8, U32, I16, I32, I64, BF16, F16, F32, F64, F8E4M3];
pub(super) const INTEGERS: &[DType] = &[U8, U32, I16, I32, I64];
pub(super) const FLOATS: &[DType] = &[BF16, F16, F32, F64, F8E4M3];
/// Floats that are stored only; kernels compute them as f32.
pub(super) const NARROW_FLOATS: &[DType] = &[BF16, F16, F8E4M3];
/// Types of matrix products.
pub(super) const MATRIX: &[DType] = &[BF16, F16, F32, F64];
/// Indices of gathering operations; scattering ones that add take any integer.
pub(super) const INDICES: &[DType] = &[U8, U32, I64];

fn position(list: &[DType], dtype: DType, op: &'static str) -> Result<u32> {
    match list.iter().position(|d| *d == dtype) {
        Some(number) => Ok(number as u32),
        None => Err(RocmError::UnsupportedDType { dtype, op }).rocm(),
    }
}

/// The number of a type for the `convert` kernels.
pub(super) fn number_kind(dtype: DType, op: &'static str) -> Result<u32> {
    position(NUMBERS, dtype, op)
}

/// The number of an integer type: `IntegerKind` of element.h. `allowed` are those that `op` takes.
pub(super) fn integer_kind(allowed: &[DType], dtype: DType, op: &'static str) -> Result<u32> {
    position(allowed, dtype, op)?;
    position(INTEGERS, dtype, op)
}

/// The name of kernels that move elements as wide as `dtype`.
pub(super) fn width(dtype: DType, op: &'static str) -> Result<&'static str> {
    Ok(match dtype.size_in_bytes() {
        1 => "b8",
        2 => "b16",
        4 => "b32",
        8 => "b64",
        _ => return Err(RocmError::UnsupportedDType { dtype, op }).rocm(),
    })
}

/// Refuses operands of different types.
pub(super) fn same_dtype(lhs: DType, rhs: DType, op: &'static str) -> Result<()> {
    match lhs == rhs {
        true => Ok(()),
        false => Err(crate::Error::DTypeMismatchBinaryOp { lhs, rhs, op }.bt()),
    }
}
