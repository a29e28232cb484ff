//! Reductions: sum, minimum, maximum and their positions, over any set of dimensions.
use super::cast::cast;
use super::error::OrRocm;
use super::kind::NARROW_FLOATS;
use super::operations::{Operation, JOIN_PLACES, REDUCE, SUM_WIDE};
use super::walk::{each_part_of, Part, Walk};
use super::{RocmError, RocmStorage};
use crate::backend::BackendStorage;
use crate::op::ReduceOp;
use crate::{DType, Layout, Result};
use candle_hip::KernelArg;

/// Threads of a workgroup that makes one result; `MOST_THREADS` of candle-kernels' fold.hip.
const MOST_THREADS: usize = 256;
/// The cross-lane steps are over this many; no workgroup is smaller.
const WARP: usize = 32;
/// Results of at most this many elements take one thread each instead of a workgroup.
const SMALL: usize = 32;
/// So many results keep a GPU busy with one thread each, if neighbouring threads read neighbouring elements.
const MANY: usize = 4096;

/// Workgroups that occupy a large GPU; fewer results than this are cut into parts.
const BUSY: usize = 512;
/// Results of fewer elements are not cut: a second launch takes as long as they do.
const LONG: usize = 1 << 13;
/// Elements of a part, at least: eight for each thread (docs/performance.md).
const PART: usize = 1 << 11;

/// `PartOf` of fold.hip.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct PartOf {
    length: u32,
    continued: u32,
}

// SAFETY: `repr(C)`, two 32-bit words, as in fold.hip.
unsafe impl KernelArg for PartOf {}

fn rows(op: ReduceOp) -> &'static [Operation; 2] {
    match op {
        ReduceOp::Sum => &REDUCE[0],
        ReduceOp::Min => &REDUCE[1],
        ReduceOp::Max => &REDUCE[2],
        ReduceOp::ArgMin => &REDUCE[3],
        ReduceOp::ArgMax => &REDUCE[4],
    }
}

/// Dimensions with their strides.
#[derive(Default)]
struct Space {
    dims: Vec<usize>,
    strides: Vec<usize>,
}

impl Space {
    fn of(l: &Layout, dims: impl Iterator<Item = usize>) -> Self {
        let (dims, strides) = dims.map(|d| (l.dims()[d], l.stride()[d])).unzip();
        Space { dims, strides }
    }

    fn count(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether walking it moves from element to neighbouring element.
    fn is_dense(&self) -> bool {
        let inner = self.dims.iter().zip(&self.strides).rev();
        inner
            .into_iter()
            .find(|(dim, _)| **dim > 1)
            .is_some_and(|(_, stride)| *stride == 1)
    }
}

/// Reduces over `reduced`, numbers of dimensions; the result holds the other dimensions in their order.
pub(super) fn reduce(
    x: &RocmStorage,
    op: ReduceOp,
    l: &Layout,
    reduced: &[usize],
) -> Result<RocmStorage> {
    let (device, dtype) = (x.device(), x.dtype());
    let rows = rows(op);
    rows[0].suffix_for(dtype)?;
    let position = matches!(op, ReduceOp::ArgMin | ReduceOp::ArgMax);
    let kept = Space::of(l, (0..l.dims().len()).filter(|d| !reduced.contains(d)));
    let mut order = reduced.to_vec();
    order.sort_unstable();
    let within = Space::of(l, order.into_iter());
    let (outputs, each) = (kept.count(), within.count());
    if outputs * each == 0 && !matches!(op, ReduceOp::Sum) {
        return Err(crate::Error::EmptyTensor { op: "reduce" }.bt());
    }
    let out_dtype = if position { DType::U32 } else { dtype };
    if each == 0 || outputs == 0 {
        let zeros = device.allocate_zeroed(outputs * out_dtype.size_in_bytes())?;
        return Ok(RocmStorage::new(zeros, out_dtype));
    }

    let mut segments = Vec::new();
    each_part_of(&within.dims, [&within.strides], |part: &Part<1>| {
        segments.push((part.walk, part.count, part.offsets[0]));
        Ok(())
    })?;
    if position && segments.len() > 1 {
        let (kernel, what) = (rows[0].name.to_string(), "number of elements of one result");
        let (value, limit) = (each, 1 << 31);
        return Err(RocmError::TooLarge {
            kernel,
            what,
            value,
            limit,
        })
        .rocm();
    }
    let coalesced = kept.is_dense() && !within.is_dense() && outputs >= MANY;
    let parts = match coalesced {
        true => 1,
        false => parts_of(outputs, each / segments.len()),
    };
    // Parts of a sum keep the precision that the sum is computed in.
    let in_parts = segments.len() * parts > 1;
    let wide = in_parts && matches!(op, ReduceOp::Sum) && NARROW_FLOATS.contains(&dtype);
    let part_dtype = if wide { DType::F32 } else { out_dtype };
    let out = RocmStorage::uninit(device, segments.len() * parts * outputs, part_dtype)?;
    for (number, (walk, count, offset)) in segments.iter().enumerate() {
        let one_thread = parts == 1 && !wide && (*count <= SMALL || coalesced);
        let row = match (wide, one_thread) {
            (true, _) => &SUM_WIDE,
            (_, true) => &rows[0],
            _ => &rows[1],
        };
        let part_of = PartOf {
            length: count.div_ceil(parts) as u32,
            continued: u32::from(number > 0),
        };
        each_part_of(&kept.dims, [&kept.strides], |part: &Part<1>| {
            let launch = row
                .launch(device, dtype)?
                .arg(part.walk)
                .arg(*walk)
                .arg(part_of)
                .arg(x.ptr_at(l.start_offset() + offset + part.offsets[0]))
                .arg(out.ptr_at(number * parts * outputs + part.first));
            let threads = count.next_power_of_two().clamp(WARP, MOST_THREADS);
            let launch = match one_thread {
                true => launch.over(part.count),
                false => launch.groups_of(part.count, parts as u32, threads as u32),
            };
            // SAFETY: the kernel reads the elements that both walks reach, which are x's by its layout, and writes
            // the part's results.
            unsafe { launch.run() }
        })?;
    }
    if !in_parts {
        return Ok(out);
    }
    if position {
        return join_places(x, op, l, (&kept, &segments), (&out, parts));
    }
    let of_parts = Layout::contiguous((segments.len() * parts, outputs));
    let out = reduce(&out, op, &of_parts, &[0])?;
    match wide {
        true => cast(&out, &Layout::contiguous(outputs), dtype),
        false => Ok(out),
    }
}

/// Of the places that each part of each result found, those that count. There is one segment, and one launch for all results:
/// what is cut into parts are few.
fn join_places(
    x: &RocmStorage,
    op: ReduceOp,
    l: &Layout,
    (kept, segments): (&Space, &[(Walk<1>, usize, usize)]),
    (places, parts): (&RocmStorage, usize),
) -> Result<RocmStorage> {
    let (device, outputs) = (x.device(), kept.count());
    let (walk, _, offset) = segments[0];
    let row = match op {
        ReduceOp::ArgMin => &JOIN_PLACES[0],
        _ => &JOIN_PLACES[1],
    };
    let out = RocmStorage::uninit(device, outputs, DType::U32)?;
    each_part_of(&kept.dims, [&kept.strides], |part: &Part<1>| {
        let launch = row
            .launch(device, x.dtype())?
            .arg(part.walk)
            .arg(walk)
            .arg(parts as u32)
            .arg(x.ptr_at(l.start_offset() + offset + part.offsets[0]))
            .arg(places.ptr_at(part.first))
            .arg(out.ptr_at(part.first));
        let threads = parts.next_power_of_two().clamp(WARP, MOST_THREADS);
        let launch = launch.groups_of(part.count, 1, threads as u32);
        // SAFETY: `places` has `parts` times `outputs` places, each beyond the end or that of an element, which both walks
        // reach; a workgroup a result is written.
        unsafe { launch.run() }
    })?;
    Ok(out)
}

/// Into how many parts a result of `each` elements is cut, so that a few long results occupy the whole GPU.
fn parts_of(outputs: usize, each: usize) -> usize {
    match outputs < BUSY && each >= LONG {
        true => (each / PART).clamp(1, BUSY / outputs),
        false => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_long_results_are_cut() {
        assert_eq!(parts_of(1, 1000), 1);
        assert_eq!(parts_of(1, 8191), 1);
        assert_eq!(parts_of(1, 32_000), 15);
        assert_eq!(parts_of(1, 1 << 30), BUSY);
        assert_eq!(parts_of(100, 1 << 30), BUSY / 100);
        assert_eq!(parts_of(4096, 1 << 20), 1);
    }
}
