//! How the places of a pass's lanes lie to each other: of each half, since workgroups are often 16 work-items wide.

use super::transfer::Offsets;
use crate::exec::word::LANES;

/// Lanes of half a pass.
pub const HALF: usize = LANES / 2;

/// The shape of half a pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One after the other, without gaps.
    Consecutive,
    /// All at the same place.
    Same,
    Scattered,
}

/// The offsets of half `half`.
#[inline(always)]
pub fn half(offsets: &Offsets, half: usize) -> &[u32; HALF] {
    let part = match half {
        0 => offsets.first_chunk(),
        _ => offsets.last_chunk(),
    };
    part.expect("two halves")
}

#[inline(always)]
fn of(offsets: &[u32; HALF], bytes: u32) -> Shape {
    let (first, last) = (offsets[0], offsets[HALF - 1]);
    // Most that are neither show it in their last lane.
    let step = match last.wrapping_sub(first) {
        0 => 0,
        distance if distance == (HALF as u32 - 1) * bytes => bytes,
        _ => return Shape::Scattered,
    };
    match (are(offsets, first, step, bytes), step) {
        (false, _) => Shape::Scattered,
        (true, 0) => Shape::Same,
        (true, _) => Shape::Consecutive,
    }
}

/// Whether the offsets start with `first` and rise by `step`, which is 0 or `bytes`.
///
/// By hand: of a loop over lanes the compiler would leave out the first one and load the others across the vectors that
/// were stored just now, which the CPU takes long to do.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn are(offsets: &[u32; HALF], first: u32, step: u32, bytes: u32) -> bool {
    use std::arch::x86_64::*;
    // SAFETY: four times four offsets; every x86-64 CPU has SSE2.
    unsafe {
        let all = |value: u32| _mm_set1_epi32(value as i32);
        let moves = all(0u32.wrapping_sub(u32::from(step != 0)));
        let mut equal = all(u32::MAX);
        for (i, four) in offsets.chunks_exact(4).enumerate() {
            let lane = |lane: usize| (bytes * (4 * i + lane) as u32) as i32;
            let steps = _mm_set_epi32(lane(3), lane(2), lane(1), lane(0));
            let expected = _mm_add_epi32(all(first), _mm_and_si128(steps, moves));
            let four = _mm_loadu_si128(four.as_ptr().cast());
            equal = _mm_and_si128(equal, _mm_cmpeq_epi32(four, expected));
        }
        _mm_movemask_epi8(equal) == 0xffff
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn are(offsets: &[u32; HALF], first: u32, step: u32, _bytes: u32) -> bool {
    let mut difference = 0;
    for (lane, offset) in offsets.iter().enumerate() {
        difference |= offset ^ first.wrapping_add(step * lane as u32);
    }
    difference == 0
}

/// The shapes of both halves, for accesses of `bytes` bytes.
#[inline(always)]
pub fn shapes(offsets: &Offsets, bytes: u32) -> [Shape; 2] {
    [of(half(offsets, 0), bytes), of(half(offsets, 1), bytes)]
}

/// Whether the second half is at the places of the first.
#[inline(always)]
pub fn repeats(offsets: &Offsets, shapes: [Shape; 2]) -> bool {
    shapes[0] != Shape::Scattered && shapes[0] == shapes[1] && offsets[0] == offsets[HALF]
}
