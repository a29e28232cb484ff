//! Reads of device memory that nothing wrote.
//!
//! Fresh device memory holds a pattern ([`crate::memory::POISON`]). A word that still holds it was
//! either never written, or written with that very value; the latter are rare and remembered by
//! [`crate::memory::Memory`]. So a load needs one comparison, and only a match looks closer. What is
//! not noticed: an unwritten byte in a word of which another byte was written.

use super::memory::moves::Move;
use super::memory::space::{Pointers, Request};
use super::program::Op;
use super::wave::Wave;
use super::word::LANES;
use crate::fault::{Access, FaultKind};
use crate::memory::POISON;

const PATTERN: u32 = u32::from_ne_bytes([POISON; 4]);

/// The lanes whose word `is` what is looked for. Hardly any is, and that none is takes few instructions to see.
#[inline(always)]
fn matching(row: &[u32; LANES], is: impl Fn(u32) -> bool) -> u32 {
    let any = row.iter().fold(false, |any, word| any | is(*word));
    if any {
        let lanes = row.iter().zip(0..);
        return lanes.fold(0, |found, (word, lane)| {
            found | u32::from(is(*word)) << lane
        });
    }
    0
}

/// Whether a word of the row is the pattern: `matching` by hand, for the reason that `memory::shape` tells.
#[inline(always)]
fn has_pattern(row: &[u32; LANES]) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        // SAFETY: eight times four words; every x86-64 CPU has SSE2.
        unsafe {
            let pattern = _mm_set1_epi32(PATTERN as i32);
            let mut found = _mm_setzero_si128();
            for four in row.chunks_exact(4) {
                let four = _mm_loadu_si128(four.as_ptr().cast());
                found = _mm_or_si128(found, _mm_cmpeq_epi32(four, pattern));
            }
            _mm_movemask_epi8(found) != 0
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    row.contains(&PATTERN)
}

/// Lanes of `exec` in whose rows, loaded or stored by `M`, a word is the pattern, or, for narrow data, may be part
/// of it.
///
/// # Safety
/// `row` points to a pass of the data rows, `stride` registers apart.
#[inline(always)]
pub unsafe fn suspects<M: Move>(row: *const u32, stride: usize, exec: u32) -> u32 {
    let mut found = 0;
    // SAFETY: the caller's promise.
    unsafe {
        for i in 0..M::WORDS {
            let row = &*row.add(i * stride).cast();
            if has_pattern(row) {
                found |= matching(row, |word| word == PATTERN);
            }
        }
        if M::WORDS == 0 {
            // A byte or half: it lies in the low or the upper half of its row.
            let mask = (1u32 << (8 * M::BYTES)) - 1;
            found = matching(&*row.cast(), |word| {
                let word = word ^ PATTERN;
                (word & mask == 0) | (word >> 16 & mask == 0)
            });
        }
    }
    found & exec
}

/// Looks at the suspects of an access that was just made. A loaded word that nothing wrote is a fault (then the result is
/// false); a word that was stored with the pattern is remembered.
#[cold]
#[inline(never)]
pub fn look(wave: &mut Wave, op: &Op, request: Request, pointers: &Pointers, found: u32) -> bool {
    if request.access == Access::Store {
        remember(wave, request, pointers, found);
        return true;
    }
    all_written(wave, op, request, pointers, found)
}

fn all_written(
    wave: &mut Wave,
    op: &Op,
    request: Request,
    pointers: &Pointers,
    found: u32,
) -> bool {
    for lane in (0..LANES).filter(|lane| found >> lane & 1 != 0) {
        if !written(
            wave,
            op,
            pointers[lane],
            request.bytes,
            lane + request.pass * LANES,
        ) {
            return false;
        }
    }
    true
}

/// Whether no word of the access is unwritten; raises the fault if one is.
pub fn written(wave: &mut Wave, op: &Op, address: u64, bytes: u32, lane: usize) -> bool {
    let memory = wave.launch().memory;
    for word in (address & !3..address + u64::from(bytes)).step_by(4) {
        // SAFETY: the access was checked; a word around a valid byte is in the same page.
        let suspect = unsafe { (word as *const u32).read() } == PATTERN;
        if suspect && memory.is_unwritten(word) {
            let what = format!(
                "uninitialised read: {} of {bytes} bytes at {address:#x}, of which nothing wrote {word:#x}: {}",
                Access::Load,
                memory.describe(word, 4)
            );
            wave.raise(op, Some(lane as u32), FaultKind::Illegal(what));
            return false;
        }
    }
    true
}

/// Remembers the words that a store wrote with the pattern.
fn remember(wave: &Wave, request: Request, pointers: &Pointers, found: u32) {
    // SAFETY: the access was checked; a word around a valid byte is in the same page.
    let holds_pattern = |at: u64| unsafe { ((at & !3) as *const u32).read() } == PATTERN;
    for lane in (0..LANES).filter(|lane| found >> lane & 1 != 0) {
        if request.bytes < 4 && !holds_pattern(pointers[lane]) {
            continue;
        }
        let end = pointers[lane] + u64::from(request.bytes);
        wave.launch().memory.wrote_pattern(pointers[lane], end);
    }
}
