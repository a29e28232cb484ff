//! Reductions: sum, minimum, maximum and their positions, over any set of dimensions.
use super::{kernel_suffix, kernels, RocmStorage};
use crate::backend::BackendStorage;
use crate::op::ReduceOp;
use crate::{DType, Layout, Result, Shape};

/// Work-items of a reduction's workgroup. The translated kernels hold one partial result for each of up to 1024.
const MOST_THREADS: usize = 256;
/// Sums of at most this many elements take one work-item each instead of a workgroup.
const SMALL_SUM: usize = 32;

struct Kernel {
    name: &'static str,
    /// The result is a position: of type u32.
    position: bool,
}

fn kernel(op: ReduceOp) -> Kernel {
    let (name, position) = match op {
        ReduceOp::Sum => ("fast_sum", false),
        ReduceOp::Min => ("fast_min", false),
        ReduceOp::Max => ("fast_max", false),
        ReduceOp::ArgMin => ("fast_argmin", true),
        ReduceOp::ArgMax => ("fast_argmax", true),
    };
    Kernel { name, position }
}

/// Reduces over `reduced`, numbers of dimensions; the result holds the other dimensions in their order.
pub(super) fn reduce(
    x: &RocmStorage,
    op: ReduceOp,
    l: &Layout,
    reduced: &[usize],
) -> Result<RocmStorage> {
    let Kernel { name, position } = kernel(op);
    let dtype = x.dtype();
    // The kernels want the reduced dimensions last.
    let kept = (0..l.dims().len()).filter(|d| !reduced.contains(d));
    let order: Vec<usize> = kept.chain(reduced.iter().copied()).collect();
    let dims: Vec<usize> = order.iter().map(|&d| l.dims()[d]).collect();
    let strides: Vec<usize> = order.iter().map(|&d| l.stride()[d]).collect();
    let (kept, summed) = dims.split_at(dims.len() - reduced.len());
    let (outputs, each): (usize, usize) = (kept.iter().product(), summed.iter().product());

    let out = RocmStorage::uninit(
        x.device(),
        outputs,
        if position { DType::U32 } else { dtype },
    )?;
    if outputs == 0 {
        return Ok(out);
    }
    if each == 0 {
        if !matches!(op, ReduceOp::Sum) {
            return Err(crate::Error::EmptyTensor { op: "reduce" }.bt());
        }
        out.buffer.fill_zero(0..out.buffer.len())?;
        return Ok(out);
    }

    let small = matches!(op, ReduceOp::Sum) && each <= SMALL_SUM;
    let (name, first, grid, block) = if small {
        let groups = outputs.div_ceil(MOST_THREADS);
        ("fast_sum_small", outputs, groups, MOST_THREADS)
    } else {
        (
            name,
            outputs * each,
            outputs,
            each.min(MOST_THREADS).next_power_of_two(),
        )
    };
    let launch = x
        .device()
        .launch(&kernels::REDUCE, name, kernel_suffix(dtype, name)?, "")?;
    let launch = launch.arg(first).arg(each);
    let layout = Layout::new(Shape::from(dims.as_slice()), strides, l.start_offset());
    // Fewer dimensions are fewer divisions in the kernel. Not all of them know a null pointer as contiguous.
    let launch = match layout.is_contiguous() {
        true => launch.dims_and_strides(&[outputs, each], &[each, 1])?,
        false => launch.dims_and_strides(&dims, layout.stride())?,
    };
    let launch = launch.arg(x.ptr(&layout)).arg(out.ptr_at(0));
    let launch = launch.groups(grid)?.block([block as u32, 1, 1]);
    // SAFETY: each workgroup (or work-item, for small sums) reads `each` elements of x by the reordered layout and
    // writes one of the `outputs` results.
    unsafe { launch.run() }?;
    Ok(out)
}
