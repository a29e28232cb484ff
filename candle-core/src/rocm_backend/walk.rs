//! Shapes and strides as kernels take them: by value, merged and with divisions prepared.
//!
//! A layout that was never seen before costs nothing more than a known one: no copy to the device, no allocation.
use crate::{Layout, Result};
use candle_hip::KernelArg;

/// Dimensions that one launch can walk; `MAX_RANK` of candle-kernels' walk.h.
const MAX_RANK: usize = 8;
/// Elements of one launch: kernels number them in 32 bits, and their divisions are exact below this.
const MOST_ELEMENTS: usize = 1 << 31;

/// The step from element to element when the dimensions are walked in order as one, or `None` when the steps differ.
pub(super) fn merged_stride(dims: &[usize], strides: &[usize]) -> Option<usize> {
    let (mut step, mut span) = (None, 1);
    for (&dim, &stride) in dims.iter().zip(strides).rev().filter(|(&dim, _)| dim != 1) {
        match step {
            None => step = Some(stride),
            Some(step) if stride == step * span => {}
            Some(_) => return None,
        }
        span *= dim;
    }
    Some(step.unwrap_or(1))
}

/// `Walk` of walk.h, byte for byte. Dimension 0 is the innermost; strides count elements.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<const N: usize> {
    count: u32,
    rank: u32,
    size: [u32; MAX_RANK],
    magic: [u32; MAX_RANK],
    shift: [u32; MAX_RANK],
    stride: [[u64; MAX_RANK]; N],
}

// SAFETY: `repr(C)`, integers only, no padding: 104 + 64 N bytes on both sides.
unsafe impl<const N: usize> KernelArg for Walk<N> {}

/// What one launch covers of a walk through N operands of one shape.
#[derive(Debug)]
pub(super) struct Part<const N: usize> {
    pub(super) walk: Walk<N>,
    /// Elements in this part.
    pub(super) count: usize,
    /// Where the part begins in each operand, in elements from the operand's first.
    pub(super) offsets: [usize; N],
    /// Where it begins in the order of the elements.
    pub(super) first: usize,
}

/// A dimension with its stride in each operand.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Dim<const N: usize> {
    size: usize,
    strides: [usize; N],
}

/// Merged dimensions, innermost first.
struct Dims<const N: usize> {
    inner: [Dim<N>; MAX_RANK],
    len: usize,
    /// What does not fit into one launch; nearly always empty, and then not allocated.
    outer: Vec<Dim<N>>,
}

impl<const N: usize> Dims<N> {
    /// Leaves out dimensions of size 1 and merges neighbours that are evenly spaced in every operand.
    fn merged(dims: &[usize], strides: [&[usize]; N]) -> Self {
        let nothing = Dim {
            size: 1,
            strides: [0; N],
        };
        let mut merged = Dims {
            inner: [nothing; MAX_RANK],
            len: 0,
            outer: Vec::new(),
        };
        for (d, &size) in dims.iter().enumerate().rev() {
            if size == 1 {
                continue;
            }
            let dim = Dim {
                size,
                strides: strides.map(|s| s[d]),
            };
            match merged.last() {
                Some(last) if (0..N).all(|n| dim.strides[n] == last.strides[n] * last.size) => {
                    last.size *= size;
                }
                _ => merged.push(dim),
            }
        }
        // A single element is a dimension of size 1.
        merged.len = merged.len.max(1);
        merged
    }

    fn last(&mut self) -> Option<&mut Dim<N>> {
        match self.outer.is_empty() {
            true => self.inner[..self.len].last_mut(),
            false => self.outer.last_mut(),
        }
    }

    fn push(&mut self, dim: Dim<N>) {
        if self.len < MAX_RANK {
            self.inner[self.len] = dim;
            self.len += 1;
        } else {
            self.outer.push(dim);
        }
    }
}

/// Calls `launch` for each part of a walk through tensors with these layouts, which have one shape. Nearly always
/// that is one part; none for an empty shape.
pub(super) fn each_part<const N: usize>(
    layouts: [&Layout; N],
    launch: impl FnMut(&Part<N>) -> Result<()>,
) -> Result<()> {
    each_part_of(layouts[0].dims(), layouts.map(Layout::stride), launch)
}

/// As [`each_part`], for dimensions and strides that are no tensor's layout.
pub(super) fn each_part_of<const N: usize>(
    dims: &[usize],
    strides: [&[usize]; N],
    mut launch: impl FnMut(&Part<N>) -> Result<()>,
) -> Result<()> {
    if dims.contains(&0) {
        return Ok(());
    }
    cut(
        &Dims::merged(dims, strides),
        MOST_ELEMENTS,
        &mut |offsets, first, dims| {
            let walk = Walk::new(dims);
            let count = walk.count as usize;
            launch(&Part {
                walk,
                count,
                offsets,
                first,
            })
        },
    )
}

type Emit<'a, const N: usize> = &'a mut dyn FnMut([usize; N], usize, &[Dim<N>]) -> Result<()>;

/// Cuts a walk into parts of at most `most` elements and `MAX_RANK` dimensions.
fn cut<const N: usize>(dims: &Dims<N>, most: usize, emit: Emit<N>) -> Result<()> {
    let each: usize = dims.inner[..dims.len].iter().map(|d| d.size).product();
    let repeats: usize = dims.outer.iter().map(|d| d.size).product();
    for repeat in 0..repeats {
        let (mut offsets, mut rest) = ([0; N], repeat);
        for dim in &dims.outer {
            advance(&mut offsets, dim, rest % dim.size);
            rest /= dim.size;
        }
        cut_inner(&dims.inner[..dims.len], most, offsets, repeat * each, emit)?;
    }
    Ok(())
}

fn cut_inner<const N: usize>(
    dims: &[Dim<N>],
    most: usize,
    offsets: [usize; N],
    first: usize,
    emit: Emit<N>,
) -> Result<()> {
    let count: usize = dims.iter().map(|d| d.size).product();
    let (outermost, within) = match dims.split_last() {
        Some(split) if count > most => split,
        _ => return emit(offsets, first, dims),
    };
    let each = count / outermost.size;
    let step = (most / each).max(1);
    let mut part = [*outermost; MAX_RANK];
    part[..within.len()].copy_from_slice(within);
    for start in (0..outermost.size).step_by(step) {
        let mut offsets = offsets;
        advance(&mut offsets, outermost, start);
        let first = first + start * each;
        if each > most {
            cut_inner(within, most, offsets, first, emit)?;
        } else {
            part[within.len()].size = step.min(outermost.size - start);
            emit(offsets, first, &part[..dims.len()])?;
        }
    }
    Ok(())
}

fn advance<const N: usize>(offsets: &mut [usize; N], dim: &Dim<N>, steps: usize) {
    for (offset, stride) in offsets.iter_mut().zip(dim.strides) {
        *offset += stride * steps;
    }
}

impl<const N: usize> Walk<N> {
    fn new(dims: &[Dim<N>]) -> Self {
        let mut walk = Walk {
            count: 1,
            rank: dims.len() as u32,
            size: [1; MAX_RANK],
            magic: [1; MAX_RANK],
            shift: [0; MAX_RANK],
            stride: [[0; MAX_RANK]; N],
        };
        for (d, dim) in dims.iter().enumerate() {
            let size = dim.size as u32;
            (walk.magic[d], walk.shift[d]) = division(size);
            walk.size[d] = size;
            walk.count *= size;
            for (n, stride) in dim.strides.into_iter().enumerate() {
                walk.stride[n][d] = stride as u64;
            }
        }
        walk
    }
}

/// Magic number and shift with which n / divisor is `(mulhi(n, magic) + n) >> shift` for n below 2^31. T. Granlund
/// and P. Montgomery, "Division by invariant integers using multiplication", PLDI 1994, figure 4.1.
fn division(divisor: u32) -> (u32, u32) {
    let shift = 32 - (divisor - 1).leading_zeros();
    let magic = (((1u64 << shift) - u64::from(divisor)) << 32) / u64::from(divisor) + 1;
    (magic as u32, shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's walk, on the host.
    fn place<const N: usize>(walk: &Walk<N>, mut index: u32) -> [usize; N] {
        let mut offsets = [0; N];
        for d in 0..walk.rank as usize {
            let high = ((u64::from(index) * u64::from(walk.magic[d])) >> 32) as u32;
            let last = d + 1 == walk.rank as usize;
            let quotient = if last {
                0
            } else {
                (high + index) >> walk.shift[d]
            };
            let coordinate = index - quotient * walk.size[d];
            (0..N).for_each(|n| offsets[n] += walk.stride[n][d] as usize * coordinate as usize);
            index = quotient;
        }
        offsets
    }

    /// Every place in order, by the definition of strides.
    fn expected(dims: &[usize], strides: &[usize]) -> Vec<usize> {
        let mut places = vec![0];
        for (&size, &stride) in dims.iter().zip(strides) {
            places = places
                .iter()
                .flat_map(|p| (0..size).map(move |i| p + i * stride))
                .collect();
        }
        places
    }

    #[test]
    fn divisions_are_exact() {
        let edges = [1, 2, 3, 5, 7, 10, 255, 256, 257, 641, 65535, 65537, 1 << 30];
        for divisor in edges.into_iter().chain([(1 << 31) - 1, 1 << 31]) {
            let (magic, shift) = division(divisor);
            let near = (0..4).flat_map(|k| {
                let multiple = u64::from(divisor) * (k * 1000 + 1);
                [multiple - 1, multiple, multiple + 1]
            });
            for n in near.chain(0..2000).chain((1 << 31) - 2000..1 << 31) {
                if n < 1 << 31 {
                    let q = ((n * u64::from(magic)) >> 32) + n;
                    assert!(q <= u64::from(u32::MAX));
                    assert_eq!(q >> shift, n / u64::from(divisor), "{n} / {divisor}");
                }
            }
        }
    }

    #[test]
    fn every_element_is_reached_once_and_in_order_however_the_walk_is_cut() {
        let cases: &[(&[usize], &[usize])] = &[
            (&[], &[]),
            (&[7], &[1]),
            (&[3, 4, 5], &[20, 5, 1]),
            (&[3, 4, 5], &[1, 3, 12]),
            (&[3, 1, 5], &[0, 99, 2]),
            (&[2, 3, 2, 3], &[18, 6, 0, 1]),
            // Ten dimensions that do not merge: more than one launch walks.
            (
                &[2, 2, 2, 2, 2, 2, 2, 2, 2, 3],
                &[3, 2, 5, 7, 11, 13, 17, 19, 23, 29],
            ),
        ];
        for (dims, strides) in cases {
            let contiguous = Layout::contiguous(*dims);
            let expected = expected(dims, strides);
            for most in [1, 2, 5, 16, MOST_ELEMENTS] {
                let mut found = Vec::new();
                let merged = Dims::merged(dims, [strides, contiguous.stride()]);
                let mut collect = |offsets: [usize; 2], first: usize, dims: &[Dim<2>]| {
                    assert_eq!(first, found.len());
                    let walk = Walk::new(dims);
                    assert!(walk.count as usize <= most);
                    for i in 0..walk.count {
                        let at = place(&walk, i);
                        assert_eq!(at[1] + offsets[1], found.len());
                        found.push(at[0] + offsets[0]);
                    }
                    Ok(())
                };
                cut(&merged, most, &mut collect).unwrap();
                assert_eq!(found, expected, "{dims:?} {strides:?} by {most}");
            }
        }
    }

    #[test]
    fn neighbours_merge_when_every_operand_allows_it() {
        let sizes = |dims: &[usize], a: &[usize], b: &[usize]| {
            let merged = Dims::merged(dims, [a, b]);
            merged.inner[..merged.len]
                .iter()
                .map(|d| d.size)
                .collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[3, 4, 5], &[20, 5, 1], &[20, 5, 1]), [60]);
        assert_eq!(sizes(&[3, 4, 5], &[20, 5, 1], &[40, 5, 1]), [20, 3]);
        assert_eq!(sizes(&[3, 4, 5], &[20, 5, 1], &[0, 0, 1]), [5, 12]);
        assert_eq!(sizes(&[1, 1], &[1, 1], &[5, 5]), [1]);
    }
}
