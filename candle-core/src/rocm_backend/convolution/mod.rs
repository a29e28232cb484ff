//! Convolutions, transposed convolutions, pooling and upsampling.
//!
//! Which kernel an operation takes for which types, and what is done without one: table.rs.
//!
//! Groups never come here: candle calls once per group, with views of the input and of the kernel. The kernels read
//! any strides, so no input is copied to make it contiguous.
use super::error::OrRocm;
use super::{copy, Launch, RocmError, RocmStorage};
use crate::backend::BackendStorage;
use crate::{DType, Layout, Result};

mod conv;
mod pool;
mod table;
mod transposed;
mod upsample;
mod view;

pub(super) use conv::{conv1d, conv2d};
pub(super) use pool::pool2d;
pub(super) use table::{NOTE, ROWS};
pub(super) use transposed::{conv_transpose1d, conv_transpose2d};
pub(super) use upsample::{upsample_bilinear2d, upsample_nearest1d, upsample_nearest2d};

/// Elements that workgroups of 256 cover within the grid that [`Launch::groups`] allows.
const MOST_BY_SMALL_GROUPS: usize = 1 << 30;

/// The type that input and kernel share.
fn common_dtype(x: &RocmStorage, kernel: &RocmStorage, op: &'static str) -> Result<DType> {
    let (lhs, rhs) = (x.dtype(), kernel.dtype());
    if lhs != rhs {
        return Err(crate::Error::DTypeMismatchBinaryOp { lhs, rhs, op }.bt());
    }
    Ok(lhs)
}

/// An error unless `l` has the shape that the operation's parameters say.
fn expect_shape(op: &str, what: &str, l: &Layout, expected: &[usize]) -> Result<()> {
    if l.dims() == expected {
        return Ok(());
    }
    let found = l.dims();
    invalid(format!(
        "{op}: the {what} has the shape {found:?}; its parameters ask for {expected:?}"
    ))
}

fn invalid<T>(message: String) -> Result<T> {
    Err(RocmError::Message(message)).rocm()
}

/// A work-item for each of `count` elements. Upstream's kernels here take workgroups of up to 1024; those are used when
/// ones of 256 would be too many.
fn one_each(launch: Launch<'_>, count: usize) -> Result<Launch<'_>> {
    if count <= MOST_BY_SMALL_GROUPS {
        return launch.one_each(count);
    }
    launch.block([1024, 1, 1]).groups(count.div_ceil(1024))
}

/// The tensor as `batches` times the same matrix, its first dimension the rows and all others the columns. `copied`
/// holds a contiguous copy when the columns are not in equal steps.
fn repeated_matrix<'a>(
    x: &'a RocmStorage,
    l: &Layout,
    batches: usize,
    copied: &'a mut Option<RocmStorage>,
) -> Result<(&'a RocmStorage, Layout)> {
    let (rows, others) = (l.dims()[0], &l.dims()[1..]);
    let columns = others.iter().product();
    let layout = |row, column, start| {
        Layout::new((batches, rows, columns).into(), vec![0, row, column], start)
    };
    if let Some(column) = view::merged_stride(others, &l.stride()[1..]) {
        return Ok((x, layout(l.stride()[0], column, l.start_offset())));
    }
    let mut copy_of_x = RocmStorage::uninit(x.device(), rows * columns, x.dtype())?;
    copy::strided(x, l, &mut copy_of_x, 0)?;
    Ok((copied.insert(copy_of_x), layout(columns, 1, 0)))
}
