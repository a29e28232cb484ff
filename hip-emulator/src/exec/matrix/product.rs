//! The product itself. The columns of B and of D lie in neighbouring lanes, as do the rows of A, so every step works
//! on one register of `SIZE` lanes: elements are brought from registers into two small matrices, and each row of D
//! is summed from its row of C on, with the elements of A one after the other.

use super::{
    eight_bits, f32_to_bf16, integer, result_row, Element, Matrix, Options, Sum, MATRICES, SOURCES,
};
use crate::exec::float::{f16_to_f32, f32_to_f16, flush as flushed};
use crate::exec::matrix::Layout;
use crate::exec::program::{Op, Run, LEVELS};
use crate::exec::wave::Wave;
use std::mem::MaybeUninit;

/// A or B as [block][k][row or column].
type Elements<T> = [MaybeUninit<T>; SOURCES];

/// Brings A (`which` 0) or B from registers; `value` gets the bits of an element in the low bits of its first word,
/// and its second word.
///
/// # Safety
/// Lowering checked the operand's registers against the matrix, whose size is `SIZE`.
#[inline(always)]
unsafe fn gather<T: Copy, const SIZE: usize>(
    wave: &Wave,
    op: &Op,
    (matrix, layout): (&Matrix, Layout),
    which: usize,
    to: &mut Elements<T>,
    value: impl Fn(u32, u32) -> T,
) {
    let lanes = wave.stride;
    // gfx11's upper half repeats the lower one.
    let read = if layout == Layout::Wmma11 { 16 } else { lanes };
    let bits = matrix.element.bits();
    for part in 0..read / SIZE {
        for e in 0..matrix.elements(layout, lanes) {
            let (block, at) = matrix.source_place(layout, lanes, part * SIZE, e);
            // SAFETY: the caller's promise.
            let (words, high) = unsafe {
                let row = wave
                    .file
                    .add(op.src[which] as usize + e * bits / 32 * lanes + part * SIZE);
                let second = if bits == 64 { row.add(lanes) } else { row };
                (*row.cast::<[u32; SIZE]>(), *second.cast::<[u32; SIZE]>())
            };
            let shift = (e * bits % 32) as u32;
            let from = (block * matrix.k + at) * SIZE;
            let to = &mut to[from..from + SIZE];
            for column in 0..SIZE {
                to[column].write(value(words[column] >> shift, high[column]));
            }
        }
    }
}

/// The same, for elements that count as floats.
///
/// # Safety
/// As for `gather`.
#[inline(always)]
unsafe fn gather_floats<const SIZE: usize>(
    wave: &Wave,
    op: &Op,
    (matrix, options): (&Matrix, Options),
    which: usize,
    to: &mut Elements<f64>,
) {
    let places = (matrix, options.layout);
    // SAFETY: the caller's promise.
    unsafe {
        match matrix.element {
            Element::F64 => gather::<f64, SIZE>(wave, op, places, which, to, |low, high| {
                f64::from_bits(u64::from(low) | u64::from(high) << 32)
            }),
            Element::F32 => gather::<f64, SIZE>(wave, op, places, which, to, |word, _| {
                f64::from(f32::from_bits(word))
            }),
            Element::F16 => gather::<f64, SIZE>(wave, op, places, which, to, |word, _| {
                let zero = options.flush && word & 0x7c00 == 0;
                let value = f64::from(f16_to_f32(word));
                if zero {
                    0.0
                } else {
                    value
                }
            }),
            Element::Bf16 => gather::<f64, SIZE>(wave, op, places, which, to, |word, _| {
                let zero = options.flush && word & 0x7f80 == 0;
                let value = f64::from(f32::from_bits(word << 16));
                if zero {
                    0.0
                } else {
                    value
                }
            }),
            _ => gather::<f64, SIZE>(wave, op, places, which, to, |word, _| {
                eight_bits(matrix.element, word as u8, which, options)
            }),
        }
    }
}

/// Sums row `row` of block `block` of A·B onto `sums`, in the order of k.
///
/// # Safety
/// `a` and `b` hold the matrix's elements.
#[inline(always)]
unsafe fn sum_row<T: Copy, const SIZE: usize>(
    k: usize,
    (a, b): (&Elements<T>, &Elements<T>),
    (block, row): (usize, usize),
    sums: &mut [T; SIZE],
    add: impl Fn(T, T, T) -> T,
) {
    for at in (block * k..(block + 1) * k).map(|at| at * SIZE) {
        // SAFETY: the caller's promise; `MaybeUninit<T>` lies as a `T`.
        let (left, right) = unsafe {
            (
                a[at + row].assume_init(),
                &*b[at..at + SIZE].as_ptr().cast::<[T; SIZE]>(),
            )
        };
        for column in 0..SIZE {
            sums[column] = add(left, right[column], sums[column]);
        }
    }
}

/// A matrix instruction. `src` are A, B and C, `extra` the row of [`MATRICES`], `mask` the packed [`Options`];
/// `count` is zero if C is a constant, whose one row stands for all.
///
/// `FUSED`: the CPU has an instruction that multiplies and adds. It rounds once, which changes nothing: products of all
/// elements but f64 are exact in f64.
///
/// # Safety
/// See `Run`; the matrix's size is `SIZE`.
#[inline(always)]
unsafe fn product<const SIZE: usize, const FUSED: bool>(wave: &mut Wave, op: &Op, matrix: &Matrix) {
    let options = Options::unpack(op.mask);
    let (layout, lanes) = (options.layout, wave.stride);
    // SAFETY: lowering checked the operands' registers against the matrix.
    unsafe {
        let mut held = Vec::new();
        let (to, from) = (
            wave.file.add(op.dst as usize),
            wave.file.add(op.src[2] as usize),
        );
        let rows = matrix.result_registers(layout, lanes);
        let (from, stride) = if op.count == 0 {
            (from.cast_const(), 0)
        } else if from != to && (from as usize).abs_diff(to as usize) < 4 * rows * lanes {
            // Results must not be written over addends that are still to be read.
            held.extend_from_slice(std::slice::from_raw_parts(from, rows * lanes));
            (held.as_ptr(), lanes)
        } else {
            (from.cast_const(), lanes)
        };
        let rows =
            (0..lanes / SIZE).flat_map(|part| (0..matrix.results(lanes)).map(move |r| (part, r)));
        if matrix.sum == Sum::I32 {
            let (mut a, mut b) = (
                [const { MaybeUninit::<i32>::uninit() }; SOURCES],
                [const { MaybeUninit::uninit() }; SOURCES],
            );
            let places = (matrix, layout);
            gather::<i32, SIZE>(wave, op, places, 0, &mut a, |word, _| {
                integer(matrix.element, word, 0, options)
            });
            gather::<i32, SIZE>(wave, op, places, 1, &mut b, |word, _| {
                integer(matrix.element, word, 1, options)
            });
            for (part, r) in rows {
                let place = matrix.result_place(layout, lanes, part * SIZE, r);
                let addends = *from.add(r * stride + part * SIZE).cast::<[u32; SIZE]>();
                let mut sums = [0i32; SIZE];
                sum_row(matrix.k, (&a, &b), place, &mut sums, |a, b, c| {
                    a.wrapping_mul(b).wrapping_add(c)
                });
                let to = &mut *to.add(r * lanes + part * SIZE).cast::<[u32; SIZE]>();
                for column in 0..SIZE {
                    let addend = addends[column] as i32;
                    to[column] = if options.clamp {
                        addend.saturating_add(sums[column])
                    } else {
                        addend.wrapping_add(sums[column])
                    } as u32;
                }
            }
            return;
        }
        let flush = options.flush && matches!(matrix.element, Element::F16 | Element::Bf16);
        let (mut a, mut b) = (
            [const { MaybeUninit::<f64>::uninit() }; SOURCES],
            [const { MaybeUninit::uninit() }; SOURCES],
        );
        gather_floats::<SIZE>(wave, op, (matrix, options), 0, &mut a);
        gather_floats::<SIZE>(wave, op, (matrix, options), 1, &mut b);
        for (part, r) in rows {
            let place = matrix.result_place(layout, lanes, part * SIZE, r);
            let (row, shift) = result_row(matrix.sum, options, r);
            let addends = |row: usize| *from.add(row * stride + part * SIZE).cast::<[u32; SIZE]>();
            let (low, high) = (
                addends(row),
                if matrix.sum == Sum::F64 {
                    addends(row + 1)
                } else {
                    [0; SIZE]
                },
            );
            let mut sums = [0f64; SIZE];
            for column in 0..SIZE {
                sums[column] = match matrix.sum {
                    Sum::F32 if flush => f64::from(flushed(f32::from_bits(low[column]))),
                    Sum::F64 => {
                        f64::from_bits(u64::from(low[column]) | u64::from(high[column]) << 32)
                    }
                    Sum::F16 => f64::from(f16_to_f32(low[column] >> shift)),
                    Sum::Bf16 => f64::from(f32::from_bits(low[column] >> shift << 16)),
                    _ => f64::from(f32::from_bits(low[column])),
                };
            }
            if FUSED && matrix.element != Element::F64 {
                sum_row(matrix.k, (&a, &b), place, &mut sums, f64::mul_add);
            } else {
                sum_row(matrix.k, (&a, &b), place, &mut sums, |a, b, c| a * b + c);
            }
            let to = |row: usize| &mut *to.add(row * lanes + part * SIZE).cast::<[u32; SIZE]>();
            if matrix.sum == Sum::F64 {
                let to = to(row + 1);
                for column in 0..SIZE {
                    to[column] = (sums[column].to_bits() >> 32) as u32;
                }
            }
            let to = to(row);
            for column in 0..SIZE {
                let sum = sums[column];
                let half = |bits: u32| to[column] & !(0xffff << shift) | (bits & 0xffff) << shift;
                to[column] = match matrix.sum {
                    Sum::F64 => sum.to_bits() as u32,
                    Sum::F32 if flush => flushed(sum as f32).to_bits(),
                    Sum::F16 => half(f32_to_f16(sum as f32)),
                    Sum::Bf16 => half(f32_to_bf16(sum as f32)),
                    _ => (sum as f32).to_bits(),
                };
            }
        }
    }
}

/// # Safety
/// See `Run`.
#[inline(always)]
unsafe fn any_size<const FUSED: bool>(wave: &mut Wave, op: &Op) {
    let matrix = &MATRICES[op.extra as usize];
    // SAFETY: the caller's promise. The table has no other sizes: a test says so.
    unsafe {
        match matrix.size {
            32 => product::<32, FUSED>(wave, op, matrix),
            16 => product::<16, FUSED>(wave, op, matrix),
            _ => product::<4, FUSED>(wave, op, matrix),
        }
    }
}

unsafe fn base(wave: &mut Wave, op: &Op) {
    // SAFETY: the caller's promise.
    unsafe { any_size::<false>(wave, op) }
}

#[cfg_attr(
    target_arch = "x86_64",
    target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")
)]
unsafe fn fast(wave: &mut Wave, op: &Op) {
    // SAFETY: the caller's promise.
    unsafe { any_size::<true>(wave, op) }
}

/// A matrix instruction, by CPU level.
pub const RUN: [Run; LEVELS] = [base, fast];
