//! Copies on the device (strided to contiguous, rows of a matrix) and constants.
use super::kind::same_dtype;
use super::operations::{CONST_SET, COPY, COPY2D};
use super::walk::{each_part, each_part_of, Part};
use super::RocmStorage;
use crate::backend::BackendStorage;
use crate::scalar::Scalar;
use crate::{Layout, Result};
use candle_hip::DevicePtr;

/// Copies the elements of `src_l`, in order, to consecutive places of `dst` from element `dst_offset` on.
pub(super) fn strided(
    src: &RocmStorage,
    src_l: &Layout,
    dst: &mut RocmStorage,
    dst_offset: usize,
) -> Result<()> {
    let (device, dtype) = (src.device(), src.dtype());
    same_dtype(dtype, dst.dtype(), COPY.name)?;
    let size = dtype.size_in_bytes();
    if let Some((start, end)) = src_l.contiguous_offsets() {
        return src
            .buffer
            .copy_to(start * size..end * size, &mut dst.buffer, dst_offset * size);
    }
    dst.expect_room(dst_offset, src_l.shape().elem_count(), COPY.name)?;
    each_part([src_l], |part: &Part<1>| {
        let launch = COPY
            .launch(device, dtype)?
            .arg(part.walk)
            .arg(src.ptr_at(src_l.start_offset() + part.offsets[0]))
            .arg(dst.ptr_at(dst_offset + part.first));
        // SAFETY: the kernel reads the part's elements by the layout; `dst` was checked to have room for them.
        unsafe { launch.over(part.count).run() }
    })
}

/// A tensor's elements one after the other: where they are, or a copy of them.
pub(super) enum Contiguous {
    InPlace(DevicePtr),
    Copy(RocmStorage),
}

impl Contiguous {
    pub(super) fn of(x: &RocmStorage, l: &Layout) -> Result<Self> {
        if let Some((start, _)) = l.contiguous_offsets() {
            return Ok(Self::InPlace(x.ptr_at(start)));
        }
        let mut copy = RocmStorage::uninit(x.device(), l.shape().elem_count(), x.dtype())?;
        strided(x, l, &mut copy, 0)?;
        Ok(Self::Copy(copy))
    }

    /// Valid as long as `self` and the tensor live, or until what is enqueued by then has run.
    pub(super) fn ptr(&self) -> DevicePtr {
        match self {
            Self::InPlace(ptr) => *ptr,
            Self::Copy(copy) => copy.ptr_at(0),
        }
    }
}

/// Where the rows of a matrix lie, in elements.
pub(super) struct Rows {
    pub(super) stride: usize,
    pub(super) offset: usize,
}

impl Rows {
    /// One past the last element of `rows` rows of `columns`.
    fn end(&self, rows: usize, columns: usize) -> usize {
        self.offset + (rows - 1) * self.stride + columns
    }
}

/// Copies `rows` rows of `columns` elements.
pub(super) fn rows(
    src: &RocmStorage,
    from: Rows,
    dst: &mut RocmStorage,
    to: Rows,
    rows: usize,
    columns: usize,
) -> Result<()> {
    let (device, dtype) = (src.device(), src.dtype());
    let (size, count) = (dtype.size_in_bytes(), rows * columns);
    same_dtype(dtype, dst.dtype(), COPY2D.name)?;
    if count == 0 {
        return Ok(());
    }
    if rows == 1 || (from.stride == columns && to.stride == columns) {
        let range = from.offset * size..(from.offset + count) * size;
        return src.buffer.copy_to(range, &mut dst.buffer, to.offset * size);
    }
    src.expect_room(0, from.end(rows, columns), COPY2D.name)?;
    dst.expect_room(0, to.end(rows, columns), COPY2D.name)?;
    let strides = [&[from.stride, 1][..], &[to.stride, 1]];
    each_part_of(&[rows, columns], strides, |part: &Part<2>| {
        let launch = COPY2D
            .launch(device, dtype)?
            .arg(part.walk)
            .arg(src.ptr_at(from.offset + part.offsets[0]))
            .arg(dst.ptr_at(to.offset + part.offsets[1]));
        // SAFETY: both matrices were checked to lie within their storages.
        unsafe { launch.over(part.count).run() }
    })
}

/// Sets the elements that the layout names.
pub(super) fn const_set(x: &mut RocmStorage, value: Scalar, l: &Layout) -> Result<()> {
    let dtype = x.dtype();
    same_dtype(dtype, value.dtype(), CONST_SET.name)?;
    each_part([l], |part: &Part<1>| {
        let launch = CONST_SET.launch(x.device(), dtype)?.arg(part.walk);
        let launch = match value {
            Scalar::U8(v) => launch.arg(v),
            Scalar::U32(v) => launch.arg(v),
            Scalar::I16(v) => launch.arg(v),
            Scalar::I32(v) => launch.arg(v),
            Scalar::I64(v) => launch.arg(v),
            Scalar::BF16(v) => launch.arg(v.to_bits()),
            Scalar::F16(v) => launch.arg(v.to_bits()),
            Scalar::F32(v) => launch.arg(v.to_bits()),
            Scalar::F64(v) => launch.arg(v.to_bits()),
            Scalar::F8E4M3(v) => launch.arg(v.to_bits()),
        };
        let launch = launch.arg(x.ptr_at(l.start_offset() + part.offsets[0]));
        // SAFETY: the kernel writes the part's elements of x, bit patterns of its own type.
        unsafe { launch.over(part.count).run() }
    })
}
