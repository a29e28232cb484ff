//! Rows and elements by index along one dimension: index-select, gather, scatter, scatter-add, index-add.
//!
//! Every operand is read by its own layout; nothing is made contiguous first.
use super::copy;
use super::fault::{FaultReport, FaultyOp};
use super::kind::{integer_kind, same_dtype, INDICES, INTEGERS};
use super::operations::{self, Operation};
use super::walk::{each_part_of, Part};
use super::RocmStorage;
use crate::backend::BackendStorage;
use crate::{DType, Layout, Result};
use candle_hip::{DevicePtr, KernelArg};

/// `Ids` of candle-kernels' pick.hip.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Ids {
    ids: DevicePtr,
    size: u64,
    step: u64,
    fault: FaultReport,
    kind: u32,
    unused: u32,
}

// SAFETY: `repr(C)` without padding: six 64-bit and two 32-bit words, as in pick.hip.
unsafe impl KernelArg for Ids {}

/// `Along` of pick.hip: the dimension that a thread goes along.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Along {
    count: u64,
    src_stride: u64,
    ids_stride: u64,
}

// SAFETY: `repr(C)`, three 64-bit words, as in pick.hip.
unsafe impl KernelArg for Along {}

/// `values` without the one at `dim`.
fn without(values: &[usize], dim: usize) -> Vec<usize> {
    [&values[..dim], &values[dim + 1..]].concat()
}

/// `values` with another one at `dim`.
fn with(values: &[usize], dim: usize, value: usize) -> Vec<usize> {
    [&values[..dim], &[value], &values[dim + 1..]].concat()
}

pub(super) fn index_select(
    x: &RocmStorage,
    l: &Layout,
    ids: &RocmStorage,
    ids_l: &Layout,
    dim: usize,
) -> Result<RocmStorage> {
    let (picked, ids_stride) = match (ids_l.dims(), ids_l.stride()) {
        ([picked], [stride]) => (*picked, *stride),
        _ => {
            let (expected, got, shape) = (1, ids_l.dims().len(), ids_l.shape().clone());
            return Err(crate::Error::UnexpectedNumberOfDims {
                expected,
                got,
                shape,
            }
            .bt());
        }
    };
    let ids_strides = with(&vec![0; l.dims().len()], dim, ids_stride);
    let dims = with(l.dims(), dim, picked);
    let of = (&operations::INDEX_SELECT, FaultyOp::IndexSelect);
    pick(
        x,
        l,
        ids,
        ids_l.start_offset(),
        &dims,
        &ids_strides,
        dim,
        of,
    )
}

pub(super) fn gather(
    x: &RocmStorage,
    l: &Layout,
    ids: &RocmStorage,
    ids_l: &Layout,
    dim: usize,
) -> Result<RocmStorage> {
    let of = (&operations::GATHER, FaultyOp::Gather);
    let start = ids_l.start_offset();
    pick(x, l, ids, start, ids_l.dims(), ids_l.stride(), dim, of)
}

/// A result of dimensions `dims` whose element at a place is x's at the same place, except that the coordinate `dim`
/// comes from the indices.
#[allow(clippy::too_many_arguments)]
fn pick(
    x: &RocmStorage,
    l: &Layout,
    ids: &RocmStorage,
    ids_start: usize,
    dims: &[usize],
    ids_strides: &[usize],
    dim: usize,
    (row, op): (&Operation, FaultyOp),
) -> Result<RocmStorage> {
    let (device, dtype) = (x.device(), x.dtype());
    let kind = integer_kind(INDICES, ids.dtype(), row.name)?;
    row.suffix_for(dtype)?;
    let out = RocmStorage::uninit(device, dims.iter().product(), dtype)?;
    let x_strides = with(l.stride(), dim, 0);
    each_part_of(dims, [&x_strides, ids_strides], |part: &Part<2>| {
        let indices = Ids {
            ids: ids.ptr_at(ids_start + part.offsets[1]),
            size: l.dims()[dim] as u64,
            step: l.stride()[dim] as u64,
            fault: device.fault_report(op)?,
            kind,
            unused: 0,
        };
        let launch = row
            .launch(device, dtype)?
            .arg(part.walk)
            .arg(indices)
            .arg(x.ptr_at(l.start_offset() + part.offsets[0]))
            .arg(out.ptr_at(part.first));
        // SAFETY: the kernel reads x by its layout, the coordinate `dim` checked against its size, and writes the
        // part's elements of `out`.
        unsafe { launch.over(part.count).run() }
    })?;
    Ok(out)
}

/// What a scatter does with the element at a place.
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
    let (row, op, kinds) = match what {
        Scatter::Set => (&operations::SCATTER, FaultyOp::Scatter, INDICES),
        Scatter::Add => (&operations::SCATTER_ADD, FaultyOp::ScatterAdd, INTEGERS),
    };
    let ids_strides = ids_l.stride();
    put(
        x,
        l,
        ids,
        ids_l.start_offset(),
        ids_strides,
        src,
        src_l,
        dim,
        (row, op, kinds),
    )
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
    let mut out = RocmStorage::uninit(x.device(), l.shape().elem_count(), x.dtype())?;
    copy::strided(x, l, &mut out, 0)?;
    let out_l = Layout::contiguous(l.shape());
    let ids_strides = with(&vec![0; l.dims().len()], dim, ids_l.stride()[0]);
    let of = (&operations::INDEX_ADD, FaultyOp::IndexAdd, INTEGERS);
    let ids_start = ids_l.start_offset();
    put(
        &mut out,
        &out_l,
        ids,
        ids_start,
        &ids_strides,
        src,
        src_l,
        dim,
        of,
    )?;
    Ok(out)
}

/// Brings each element of src to the same place of x, except that the coordinate `dim` comes from the indices.
#[allow(clippy::too_many_arguments)]
fn put(
    x: &mut RocmStorage,
    l: &Layout,
    ids: &RocmStorage,
    ids_start: usize,
    ids_strides: &[usize],
    src: &RocmStorage,
    src_l: &Layout,
    dim: usize,
    (row, op, kinds): (&Operation, FaultyOp, &[DType]),
) -> Result<()> {
    let (device, dtype) = (x.device(), x.dtype());
    let kind = integer_kind(kinds, ids.dtype(), row.name)?;
    same_dtype(dtype, src.dtype(), row.name)?;
    row.suffix_for(dtype)?;
    let along = Along {
        count: src_l.dims()[dim] as u64,
        src_stride: src_l.stride()[dim] as u64,
        ids_stride: ids_strides[dim] as u64,
    };
    let dims = without(src_l.dims(), dim);
    let strides = [src_l.stride(), ids_strides, l.stride()].map(|s| without(s, dim));
    each_part_of(
        &dims,
        strides.each_ref().map(Vec::as_slice),
        |part: &Part<3>| {
            let indices = Ids {
                ids: ids.ptr_at(ids_start + part.offsets[1]),
                size: l.dims()[dim] as u64,
                step: l.stride()[dim] as u64,
                fault: device.fault_report(op)?,
                kind,
                unused: 0,
            };
            let launch = row
                .launch(device, dtype)?
                .arg(part.walk)
                .arg(indices)
                .arg(src.ptr_at(src_l.start_offset() + part.offsets[0]))
                .arg(x.ptr_at(l.start_offset() + part.offsets[2]))
                .arg(along);
            // SAFETY: a thread owns all places of x that differ in the coordinate `dim` only, so no two write the same
            // one; that coordinate is checked against x's size.
            unsafe { launch.over(part.count).run() }
        },
    )
}
