//! What a model file claims about itself, checked before memory is taken for it.
//!
//! Every length in a file comes from whoever wrote the file. Here it is held against what the file has left and against
//! what fits an address space, so that reading costs no more than a small multiple of the file's size, and the error says
//! which claim was wrong and where.
use super::GgmlDType;
use crate::{Error, Result};
use std::borrow::Cow;
use std::fmt::Display;
use std::io::{Read, Seek};

/// ggml's limit, `GGML_MAX_DIMS` in ggml.h.
const MAX_DIMS: u32 = 4;

/// Bytes of the blocks of a tensor with these dimensions.
///
/// # Errors
/// More elements or bytes than an address space holds, or a number of elements that is no whole number of blocks.
pub(super) fn size_in_bytes(dims: &[usize], dtype: GgmlDType) -> Result<usize> {
    // Strides are products of the dimensions behind a zero, so these have to fit as well.
    let nonzero = dims.iter().filter(|d| **d != 0);
    let product = nonzero.copied().try_fold(1, usize::checked_mul);
    let elements = match dims.contains(&0) {
        true => product.map(|_| 0),
        false => product,
    };
    let block = dtype.block_size();
    match elements {
        Some(elements) if !elements.is_multiple_of(block) => crate::bail!(
            "the number of elements {elements} is not divisible by the block size {block} of {dtype:?}"
        ),
        _ => {}
    }
    let bytes = elements.and_then(|n| (n / block).checked_mul(dtype.type_size()));
    match bytes {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok(bytes),
        _ => crate::bail!(
            "a tensor of {dims:?} elements of {dtype:?} is larger than an address space"
        ),
    }
}

/// An error unless `count` items of at least `each` bytes lie between the reader's position and `end`.
pub(super) fn expect(
    reader: &mut impl Seek,
    end: u64,
    count: u64,
    each: u64,
    what: impl Display,
) -> Result<()> {
    let at = reader.stream_position()?;
    let (need, left) = (count.saturating_mul(each), end.saturating_sub(at));
    if need > left {
        crate::bail!("{what} needs {need} bytes at offset {at}, only {left} remaining in file")
    }
    Ok(())
}

/// An error unless a tensor may have so many dimensions.
pub(super) fn expect_dims(count: u32) -> Result<()> {
    if count > MAX_DIMS {
        crate::bail!("a tensor of {count} dimensions, max is {MAX_DIMS}")
    }
    Ok(())
}

/// `len` bytes, which `reader` has to hold before `end`.
pub(super) fn read_bytes(
    reader: &mut (impl Read + Seek),
    end: u64,
    len: usize,
    what: impl Display,
) -> Result<Vec<u8>> {
    expect(reader, end, len as u64, 1, what)?;
    let mut bytes = vec![0; len];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A count that a file keeps as a signed number.
pub(super) fn count(value: i32, what: impl Display) -> Result<usize> {
    usize::try_from(value).map_err(|_| Error::Msg(format!("{what} is {value}")).bt())
}

/// Says how far `reader` had got when `error` came up.
pub(super) fn located(reader: &mut impl Seek, format: &str, error: Error) -> Error {
    match reader.stream_position() {
        Ok(at) => error.context(format!(
            "{format}: reading failed near byte {at} of the file"
        )),
        Err(_) => error,
    }
}

/// Bytes as the blocks that they are, copied where they are not aligned. Bytes that are no whole block are left out.
///
/// # Safety
/// Every bit pattern is a `T`, and `T` has no padding.
pub(super) unsafe fn blocks<T: Clone>(bytes: &[u8]) -> Cow<'_, [T]> {
    let count = bytes.len() / std::mem::size_of::<T>();
    let bytes = &bytes[..count * std::mem::size_of::<T>()];
    // SAFETY: the caller's promise about `T`.
    let (before, aligned, _) = unsafe { bytes.align_to::<T>() };
    if before.is_empty() && aligned.len() == count {
        return Cow::Borrowed(aligned);
    }
    let mut copy = Vec::<T>::with_capacity(count);
    // SAFETY: the vector has room for `count` blocks, which are `bytes.len()` bytes; all of them are written before
    // the length says so, and any bytes are blocks.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), copy.as_mut_ptr().cast(), bytes.len());
        copy.set_len(count);
    }
    Cow::Owned(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_or_refused() {
        let size = |dims: &[usize], dtype| size_in_bytes(dims, dtype).map_err(|e| e.to_string());
        assert_eq!(size(&[2, 64], GgmlDType::Q4_0), Ok(4 * 18));
        assert_eq!(size(&[], GgmlDType::F32), Ok(4));
        assert_eq!(size(&[0, 256], GgmlDType::Q6K), Ok(0));
        let error = |dims: &[usize], dtype| size(dims, dtype).expect_err("refused");
        assert!(error(&[3, 11], GgmlDType::Q8_0)
            .contains("33 is not divisible by the block size 32 of Q8_0"));
        let half = 1 << (usize::BITS / 2);
        for dims in [[half, half], [usize::MAX, 2], [0, usize::MAX]] {
            let product = dims
                .iter()
                .filter(|d| **d != 0)
                .try_fold(1usize, |n, d| n.checked_mul(*d));
            let outcome = size(&dims, GgmlDType::F32);
            assert_eq!(outcome.is_err(), product.is_none(), "{dims:?}");
        }
        // The elements fit, their bytes do not.
        assert!(error(&[usize::MAX / 2], GgmlDType::F32).contains("address space"));
        assert!(error(&[half, half], GgmlDType::Q4_0).contains("address space"));
    }

    #[test]
    fn blocks_from_any_address() {
        let bytes: Vec<u8> = (0..41).collect();
        for start in 0..4 {
            // SAFETY: any four bytes are a u32.
            let words = unsafe { blocks::<u32>(&bytes[start..]) };
            let expected = bytes[start..].chunks_exact(4);
            assert!(words.iter().map(|w| w.to_ne_bytes().to_vec()).eq(expected));
        }
        // SAFETY: as above.
        assert!(unsafe { blocks::<u32>(&[]) }.is_empty());
    }
}
