//! Average and maximum over windows of an image.
use super::super::{elementwise, reduce, RocmStorage};
use super::table::{AVG_POOL2D, MAX_POOL2D};
use super::view::Windows;
use super::{invalid, one_each};
use crate::backend::BackendStorage;
use crate::op::ReduceOp;
use crate::{DType, Layout, Result};

/// x (batch, channels, height, width); `size` and `stride` of the window, vertically and horizontally. `op` is
/// `avg_pool2d` or `max_pool2d`.
pub(in super::super) fn pool2d(
    x: &RocmStorage,
    l: &Layout,
    size: (usize, usize),
    stride: (usize, usize),
    op: &'static str,
) -> Result<RocmStorage> {
    let (batch, channels, height, width) = l.shape().dims4()?;
    let positions = |length: usize, size: usize, stride: usize| {
        let rest = length.checked_sub(size).filter(|_| size > 0);
        match rest.and_then(|rest| rest.checked_div(stride)) {
            Some(steps) => Ok(steps + 1),
            None => invalid(format!(
                "{op}: a window of size {size} with stride {stride} does not fit into an input of size {length}"
            )),
        }
    };
    let rows = positions(height, size.0, stride.0)?;
    let columns = positions(width, size.1, stride.1)?;
    let (taps, strides) = ([size.0, size.1], [stride.0, stride.1]);
    let windows = Windows::new(l, &[rows, columns], &taps, &strides, &[1, 1]).layout(l);
    match (op, x.dtype()) {
        ("avg_pool2d", DType::F64 | DType::U8 | DType::U32) => average(x, &windows),
        ("max_pool2d", DType::I64) => reduce::reduce(x, ReduceOp::Max, &windows, &[4, 5]),
        (_, dtype) => {
            let row = if op == AVG_POOL2D.name {
                &AVG_POOL2D
            } else {
                &MAX_POOL2D
            };
            row.suffix_for(dtype)?;
            let count = batch * channels * rows * columns;
            let out = RocmStorage::uninit(x.device(), count, dtype)?;
            if count == 0 {
                return Ok(out);
            }
            let launch = row.launch(x.device(), dtype)?;
            let launch = launch.arg(l.shape().elem_count());
            // The kernel's "w" is the third dimension and its "h" the fourth.
            let launch = launch.arg(size.0).arg(size.1).arg(stride.0).arg(stride.1);
            let launch = launch.words(&[l.dims(), l.stride()].concat())?;
            let launch = launch.arg(x.ptr(l)).arg(out.ptr_at(0));
            // SAFETY: the kernel reads x by its layout, windows that lie within it, and writes `count` elements.
            unsafe { one_each(launch, count)?.run() }?;
            Ok(out)
        }
    }
}

/// Averages in double precision. The translated kernel would multiply by a single-precision reciprocal and add up
/// integers in their own type, where 256 ones of u8 are nothing. Averages of integers are rounded down.
fn average(x: &RocmStorage, windows: &Layout) -> Result<RocmStorage> {
    let (dtype, taps) = (x.dtype(), windows.dims()[4] * windows.dims()[5]);
    let sums = if dtype == DType::F64 {
        reduce::reduce(x, ReduceOp::Sum, windows, &[4, 5])?
    } else {
        let doubles = elementwise::cast(x, windows, DType::F64)?;
        let doubles_l = Layout::contiguous(windows.shape());
        reduce::reduce(&doubles, ReduceOp::Sum, &doubles_l, &[4, 5])?
    };
    let scale = 1.0 / taps as f64;
    let sums_l = Layout::contiguous(&windows.dims()[..4]);
    if dtype == DType::F64 {
        return elementwise::affine(&sums, &sums_l, scale, 0.0);
    }
    // Half of a sum's unit more, so that rounding never turns a whole average into the next smaller one.
    let averages = elementwise::affine(&sums, &sums_l, scale, 0.5 * scale)?;
    elementwise::cast(&averages, &sums_l, dtype)
}
