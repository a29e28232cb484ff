//! Copies on the device: strided to contiguous, and rows of a matrix.
use super::{kernels, mover, RocmStorage};
use crate::backend::BackendStorage;
use crate::{Layout, Result};
use candle_hip::DevicePtr;

/// Copies the elements of `src_l`, in order, to consecutive places of `dst` from element `dst_offset` on.
pub(super) fn strided(
    src: &RocmStorage,
    src_l: &Layout,
    dst: &mut RocmStorage,
    dst_offset: usize,
) -> Result<()> {
    let (dtype, count) = (src.dtype(), src_l.shape().elem_count());
    let size = dtype.size_in_bytes();
    if let Some((start, end)) = src_l.contiguous_offsets() {
        return src
            .buffer
            .copy_to(start * size..end * size, &mut dst.buffer, dst_offset * size);
    }
    if count > 0 {
        let launch = src
            .device()
            .launch(&kernels::UNARY, "ucopy", mover(dtype, "copy")?, "")?;
        let launch = launch.arg(count).layouts(&[src_l])?;
        let launch = launch
            .arg(src.ptr(src_l))
            .arg(dst.ptr_at(dst_offset))
            .over(count);
        // SAFETY: the kernel reads `count` elements by the layout; candle made `dst` large enough for them.
        unsafe { launch.run() }?;
    }
    Ok(())
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

/// Copies `rows` rows of `columns` elements.
pub(super) fn rows(
    src: &RocmStorage,
    from: Rows,
    dst: &mut RocmStorage,
    to: Rows,
    rows: usize,
    columns: usize,
) -> Result<()> {
    let (dtype, count) = (src.dtype(), rows * columns);
    let size = dtype.size_in_bytes();
    if count == 0 {
        return Ok(());
    }
    if rows == 1 || (from.stride == columns && to.stride == columns) {
        let range = from.offset * size..(from.offset + count) * size;
        return src.buffer.copy_to(range, &mut dst.buffer, to.offset * size);
    }
    let launch = src
        .device()
        .launch(&kernels::FILL, "copy2d", mover(dtype, "copy2d")?, "")?;
    let launch = launch
        .arg(src.ptr_at(from.offset))
        .arg(dst.ptr_at(to.offset));
    let launch = launch.int("rows", rows)?.int("columns", columns)?;
    let launch = launch
        .int("source stride", from.stride)?
        .int("destination stride", to.stride)?;
    let launch = launch.one_each(count)?;
    // SAFETY: candle's callers name rows that lie within both tensors.
    unsafe { launch.run() }
}
