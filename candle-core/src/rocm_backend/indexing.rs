//! Rows and elements by position: index-select, gather, scatter, index-add.
//!
//! A tensor is seen as `left` × the indexed dimension × `right`.
use super::copy::{self, Contiguous};
use super::error::OrRocm;
use super::{kernel_suffix, kernels, mover, RocmError, RocmStorage};
use crate::backend::BackendStorage;
use crate::{DType, Layout, Result};

/// The sizes on both sides of dimension `dim`.
fn around(l: &Layout, dim: usize) -> (usize, usize) {
    let dims = l.dims();
    (
        dims[..dim].iter().product(),
        dims[dim + 1..].iter().product(),
    )
}

fn ids_suffix(ids: &RocmStorage, op: &'static str) -> Result<&'static str> {
    match ids.dtype() {
        DType::U8 | DType::U32 | DType::I64 => kernel_suffix(ids.dtype(), op),
        dtype => Err(RocmError::UnsupportedDType { dtype, op }).rocm(),
    }
}

pub(super) fn index_select(
    x: &RocmStorage,
    l: &Layout,
    ids: &RocmStorage,
    ids_l: &Layout,
    dim: usize,
) -> Result<RocmStorage> {
    let op = "index-select";
    let (left, right) = around(l, dim);
    let picked = ids_l.shape().elem_count();
    let count = left * picked * right;
    let out = RocmStorage::uninit(x.device(), count, x.dtype())?;
    let ids_in_order = Contiguous::of(ids, ids_l)?;
    if count > 0 {
        let launch = x.device().launch(
            &kernels::INDEXING,
            "is",
            ids_suffix(ids, op)?,
            mover(x.dtype(), op)?,
        )?;
        let launch = launch
            .arg(count)
            .layouts(&[l])?
            .arg(ids_in_order.ptr())
            .arg(x.ptr(l))
            .arg(out.ptr_at(0));
        let launch = launch
            .arg(left)
            .arg(l.dims()[dim])
            .arg(picked)
            .arg(right)
            .over(count);
        // SAFETY: the kernel writes `count` elements and reads x by its layout at the positions in `ids`.
        unsafe { launch.run() }?;
    }
    Ok(out)
}

pub(super) fn gather(
    x: &RocmStorage,
    l: &Layout,
    ids: &RocmStorage,
    ids_l: &Layout,
    dim: usize,
) -> Result<RocmStorage> {
    let op = "gather";
    let (left, right) = around(l, dim);
    let count = ids_l.shape().elem_count();
    let out = RocmStorage::uninit(x.device(), count, x.dtype())?;
    let (x_in_order, ids_in_order) = (Contiguous::of(x, l)?, Contiguous::of(ids, ids_l)?);
    if count > 0 {
        let launch = x.device().launch(
            &kernels::INDEXING,
            "gather",
            ids_suffix(ids, op)?,
            mover(x.dtype(), op)?,
        )?;
        let launch = launch
            .arg(count)
            .arg(ids_in_order.ptr())
            .arg(x_in_order.ptr())
            .arg(out.ptr_at(0));
        let launch = launch
            .arg(left)
            .arg(l.dims()[dim])
            .arg(ids_l.dims()[dim])
            .arg(right)
            .over(count);
        // SAFETY: as for `index_select`, both operands being contiguous.
        unsafe { launch.run() }?;
    }
    Ok(out)
}

/// What a scatter does with the element at a position.
#[derive(Clone, Copy)]
pub(super) enum Scatter {
    Set,
    Add,
}

#[allow(clippy::too_many_arguments)]
pub(super) fn scatter(
    x: &mut RocmStorage,
    l: &Layout,
    ids: &RocmStorage,
    ids_l: &Layout,
    src: &RocmStorage,
    src_l: &Layout,
    dim: usize,
    what: Scatter,
) -> Result<()> {
    let (op, kernel) = match what {
        Scatter::Set => ("scatter", "s"),
        Scatter::Add => ("scatter-add", "sa"),
    };
    let (left, right) = around(src_l, dim);
    let element = match what {
        Scatter::Set => mover(x.dtype(), op)?,
        Scatter::Add => kernel_suffix(x.dtype(), op)?,
    };
    let x_ptr = x.contiguous_ptr(l, op)?;
    let (ids_in_order, src_in_order) = (Contiguous::of(ids, ids_l)?, Contiguous::of(src, src_l)?);
    if src_l.shape().elem_count() > 0 {
        let launch =
            x.device()
                .launch(&kernels::INDEXING, kernel, ids_suffix(ids, op)?, element)?;
        let launch = launch
            .arg(ids_in_order.ptr())
            .arg(src_in_order.ptr())
            .arg(x_ptr);
        let launch = launch
            .arg(left)
            .arg(src_l.dims()[dim])
            .arg(l.dims()[dim])
            .arg(right);
        // SAFETY: a work-item owns one (left, right) pair, so no two write the same element; the positions are
        // those of the contiguous operands.
        unsafe { launch.over(left * right).run() }?;
    }
    Ok(())
}

pub(super) fn index_add(
    x: &RocmStorage,
    l: &Layout,
    ids: &RocmStorage,
    ids_l: &Layout,
    src: &RocmStorage,
    src_l: &Layout,
    dim: usize,
) -> Result<RocmStorage> {
    let op = "index-add";
    let mut out = RocmStorage::uninit(x.device(), l.shape().elem_count(), x.dtype())?;
    copy::strided(x, l, &mut out, 0)?;
    let (left, right) = around(src_l, dim);
    let (ids_in_order, src_in_order) = (Contiguous::of(ids, ids_l)?, Contiguous::of(src, src_l)?);
    if src_l.shape().elem_count() > 0 {
        let launch = x.device().launch(
            &kernels::INDEXING,
            "ia",
            ids_suffix(ids, op)?,
            kernel_suffix(x.dtype(), op)?,
        )?;
        let launch = launch
            .arg(ids_in_order.ptr())
            .arg(ids_l.dims()[0])
            .arg(src_in_order.ptr())
            .arg(out.ptr_at(0));
        let launch = launch
            .arg(left)
            .arg(src_l.dims()[dim])
            .arg(l.dims()[dim])
            .arg(right);
        // SAFETY: as for `scatter`; the result is contiguous and starts at its first element.
        unsafe { launch.over(left * right).run() }?;
    }
    Ok(out)
}
