//! Host storage as bytes and back.
use crate::{CpuStorage, DType, Result};

/// The element types and the variant of `CpuStorage` that holds each.
macro_rules! for_each_variant {
    ($with:ident) => {
        $with! {
            U8 u8, U32 u32, I16 i16, I32 i32, I64 i64, BF16 half::bf16, F16 half::f16, F32 f32, F64 f64,
            F8E4M3 float8::F8E4M3, F6E2M3 u8, F6E3M2 u8, F4 u8, F8E8M0 u8
        }
    };
}

/// Calls `f` with the elements of `storage` as bytes.
pub(super) fn with_bytes<R>(storage: &CpuStorage, f: impl FnOnce(&[u8]) -> R) -> R {
    macro_rules! bytes_of {
        ($($variant:ident $t:ty),*) => {
            match storage {
                $(CpuStorage::$variant(v) => {
                    // SAFETY: the element types are plain data without padding; the slice covers the vector.
                    f(unsafe { std::slice::from_raw_parts(v.as_ptr().cast(), std::mem::size_of_val(v.as_slice())) })
                })*
            }
        };
    }
    for_each_variant!(bytes_of)
}

/// Host storage of `len` bytes and type `dtype`, whose bytes are written by `fill`.
pub(super) fn from_bytes(
    dtype: DType,
    len: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<()>,
) -> Result<CpuStorage> {
    macro_rules! storage_of {
        ($($variant:ident $t:ty),*) => {
            match dtype {
                $(DType::$variant => {
                    let count = len / std::mem::size_of::<$t>();
                    let mut values = vec![<$t>::default(); count];
                    // SAFETY: plain data without padding, for which every bit pattern is a value.
                    fill(unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), count * std::mem::size_of::<$t>()) })?;
                    Ok(CpuStorage::$variant(values))
                })*
            }
        };
    }
    for_each_variant!(storage_of)
}
