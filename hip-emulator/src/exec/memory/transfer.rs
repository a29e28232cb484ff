//! Loads and stores of whole passes.
//!
//! Nearly all accesses lie within one segment (LDS, or the region that the instruction touched last), so that each
//! lane's place is a 32-bit offset from one base. Then a pass is checked and moved as vectors ([`quick`]); lanes that
//! are off get the place of one that is on, so that only writing has to care about EXEC. Whatever is otherwise, or may
//! be wrong, is looked at lane by lane ([`thorough`]).

use super::moves::Move;
use super::shape::{self, repeats, shapes, Shape, HALF};
use super::space::{watch, Flat, Global, GlobalScalar, Lds, Request, Seen, Space};
use crate::exec::control;
use crate::exec::lanes::commit;
use crate::exec::program::Op;
use crate::exec::unwritten;
use crate::exec::wave::Wave;
use crate::exec::word::{Registers, LANES};
use crate::fault::Access;

/// Offsets of the lanes from one base, all of them in bounds.
pub type Offsets = [u32; LANES];

/// A space whose places are mostly offsets from one base.
pub trait Segment: Space {
    /// The base, after filling in `offsets`; `None` if some active lane's access is not within the segment.
    ///
    /// # Safety
    /// The op was lowered for this space and for the program that the wave runs.
    unsafe fn offsets(wave: &Wave, op: &Op, request: Request, offsets: &mut Offsets)
        -> Option<u64>;
}

/// Gives lanes that are off the offset of one that is on. False if `outside` is not zero of a lane that is on.
#[inline(always)]
fn settle(exec: u32, offsets: &mut Offsets, outside: &Registers) -> bool {
    if exec == u32::MAX {
        return outside.iter().fold(0, |any, lane| any | lane) == 0;
    }
    let first = offsets[exec.trailing_zeros() as usize & (LANES - 1)];
    let mut any = 0;
    for lane in 0..LANES {
        let on = 0u32.wrapping_sub(exec >> lane & 1);
        any |= outside[lane] & on;
        offsets[lane] = (offsets[lane] & on) | (first & !on);
    }
    any == 0
}

/// The largest offset from the start of a window of `limit` places that is in it, if 32 bits hold it.
#[inline(always)]
fn last_offset(limit: u64) -> u32 {
    u32::try_from(limit - 1).unwrap_or(u32::MAX)
}

impl Segment for Lds {
    #[inline(always)]
    unsafe fn offsets(
        wave: &Wave,
        op: &Op,
        request: Request,
        offsets: &mut Offsets,
    ) -> Option<u64> {
        let last = wave.lds_size.checked_sub(request.bytes)?;
        let mut outside = [0; LANES];
        // SAFETY: the caller's promise: a row.
        let row = unsafe { &*wave.row(op.src[0], request.pass).cast::<Registers>() };
        for lane in 0..LANES {
            offsets[lane] = row[lane].wrapping_add(op.imm as u32);
            outside[lane] = offsets[lane].saturating_sub(last);
        }
        settle(request.exec, offsets, &outside).then_some(wave.lds as u64)
    }
}

impl Segment for GlobalScalar {
    #[inline(always)]
    unsafe fn offsets(
        wave: &Wave,
        op: &Op,
        request: Request,
        offsets: &mut Offsets,
    ) -> Option<u64> {
        // SAFETY: the caller's promise: a scalar pair, a row, a slot of the cache.
        let (base, row, window) = unsafe {
            (
                wave.scalar64(op.src[1]).wrapping_add(op.imm as u64),
                &*wave.row(op.src[0], request.pass).cast::<Registers>(),
                *wave.windows.add(op.extra as usize),
            )
        };
        let into = base.wrapping_sub(window.start);
        if into >= window.limit {
            return None;
        }
        let last = last_offset(window.limit - into);
        let mut outside = [0; LANES];
        for lane in 0..LANES {
            offsets[lane] = row[lane];
            outside[lane] = offsets[lane].saturating_sub(last);
        }
        settle(request.exec, offsets, &outside).then_some(base)
    }
}

impl Segment for Global {
    #[inline(always)]
    unsafe fn offsets(
        wave: &Wave,
        op: &Op,
        request: Request,
        offsets: &mut Offsets,
    ) -> Option<u64> {
        // SAFETY: the caller's promise: two rows, a slot of the cache.
        let (low, high, window) = unsafe {
            let row = wave.row(op.src[0], request.pass);
            (
                &*row.cast::<Registers>(),
                &*row.add(wave.stride).cast::<Registers>(),
                *wave.windows.add(op.extra as usize),
            )
        };
        if window.limit == 0 {
            return None;
        }
        let last = last_offset(window.limit);
        let start = window.start.wrapping_sub(op.imm as u64);
        let (start_low, start_high) = (start as u32, (start >> 32) as u32);
        let mut outside = [0; LANES];
        for lane in 0..LANES {
            let borrow = u32::from(low[lane] < start_low);
            offsets[lane] = low[lane].wrapping_sub(start_low);
            let upper = high[lane].wrapping_sub(start_high).wrapping_sub(borrow);
            outside[lane] = upper | offsets[lane].saturating_sub(last);
        }
        settle(request.exec, offsets, &outside).then_some(window.start)
    }
}

impl Segment for Flat {
    #[inline(always)]
    unsafe fn offsets(
        wave: &Wave,
        op: &Op,
        request: Request,
        offsets: &mut Offsets,
    ) -> Option<u64> {
        // Only global regions are in the cache, so no lane is in an aperture.
        // SAFETY: the caller's promise: the operands are as of `Global`.
        unsafe { Global::offsets(wave, op, request, offsets) }
    }
}

/// Notes half a pass's LDS access in the shadow. False if it has to be looked at word by word; what was noted until then
/// stays right.
///
/// # Safety
/// The offsets are within the LDS of the wave, whose watch checks.
#[inline(always)]
unsafe fn noted<M: Move>(wave: &Wave, offsets: &[u32; HALF], shape: Shape) -> bool {
    // SAFETY: the watch is the worker's; nothing else refers to it meanwhile.
    let shadow = unsafe { &mut (*wave.watch).shadow };
    let tag = wave.number as u8 + 1;
    // Places one after the other are as aligned as the first.
    let low = match shape {
        Shape::Scattered => offsets.iter().fold(0, |any, offset| any | offset),
        _ => offsets[0],
    };
    let load = M::ACCESS == Access::Load;
    let first = offsets[0] as usize / 4;
    let words = || offsets.map(|offset| offset / 4);
    // SAFETY: the access was found to be within LDS, which has a cell for each of its words.
    unsafe {
        if M::WORDS == 0 {
            // Bytes and halves; of those that are stored, only the slow way says what they do to a cell.
            if !load || low & (M::BYTES - 1) != 0 {
                return false;
            }
            return match shape {
                Shape::Same => shadow.loads::<1>(first, tag),
                _ => shadow.loads_of_lanes::<1, HALF>(&words(), tag),
            };
        }
        if low & 3 != 0 {
            return false;
        }
        macro_rules! access {
            ($words:literal) => {
                match shape {
                    Shape::Consecutive if load => shadow.loads::<{ $words * HALF }>(first, tag),
                    Shape::Consecutive => shadow.stores::<{ $words * HALF }>(first, tag),
                    Shape::Same if load => shadow.loads::<$words>(first, tag),
                    Shape::Same => shadow.stores::<$words>(first, tag),
                    Shape::Scattered if load => {
                        shadow.loads_of_lanes::<$words, HALF>(&words(), tag)
                    }
                    Shape::Scattered => shadow.stores_of_lanes::<$words, HALF>(&words(), tag),
                }
            };
        }
        match M::WORDS {
            1 => access!(1),
            2 => access!(2),
            3 => access!(3),
            _ => access!(4),
        }
    }
}

/// Moves all lanes between memory and the rows from `row` on, `stride` registers apart.
///
/// # Safety
/// `base` plus each offset is valid for the access, and there are as many rows as `M` moves; with `FAST`, the CPU has AVX2.
#[inline(always)]
unsafe fn all_lanes<M: Move, const FAST: bool>(
    base: u64,
    offsets: &Offsets,
    shapes: [Shape; 2],
    row: *mut u32,
    stride: usize,
) {
    let load = M::ACCESS == Access::Load;
    let rows = M::WORDS.max(1);
    // SAFETY: the caller's promise.
    unsafe {
        for (number, shape) in shapes.into_iter().enumerate() {
            let to = row.add(number * HALF);
            let half = |row: *mut u32, i: usize| &mut *row.add(i * stride).cast::<[u32; HALF]>();
            if load && number == 1 && repeats(offsets, shapes) {
                for i in 0..rows {
                    *half(to, i) = *half(row, i);
                }
                break;
            }
            let offsets = shape::half(offsets, number);
            let pointer = |lane: usize| (base + u64::from(offsets[lane])) as *mut u8;
            match shape {
                Shape::Consecutive => M::consecutive::<HALF, FAST>(pointer(0), to, stride),
                Shape::Same if M::WORDS != 0 && load => {
                    for i in 0..M::WORDS {
                        let word = pointer(0).cast::<u32>().add(i).read_unaligned();
                        *half(to, i) = [word; HALF];
                    }
                }
                _ => M::scattered::<HALF, FAST>(pointer, to, stride),
            }
        }
    }
}

/// Lanes below which they are moved one by one.
const FEW: u32 = 6;

/// One pass, if it is as nearly all are. False, with nothing done, if it is not; `None` after a fault was raised.
///
/// # Safety
/// As for `passes`.
#[inline(always)]
unsafe fn quick<S: Segment, M: Move, const FAST: bool>(
    wave: &mut Wave,
    op: &Op,
    request: Request,
) -> Option<bool> {
    let lds = S::SEEN == Seen::Lds;
    if if lds {
        wave.counts_lds
    } else {
        wave.watches_global
    } {
        return Some(false);
    }
    let Request { pass, exec, .. } = request;
    let mut offsets = [0; LANES];
    // SAFETY: the caller's promise. The offsets of all lanes are in bounds once `offsets` says so.
    // Memory that other threads write at the same time is the kernel's own race, as on a GPU.
    unsafe {
        let Some(base) = S::offsets(wave, op, request, &mut offsets) else {
            return Some(false);
        };
        let shapes = shapes(&offsets, M::BYTES);
        if lds && wave.watches_lds {
            let halves = if repeats(&offsets, shapes) { 1 } else { 2 };
            for (number, shape) in shapes.into_iter().enumerate().take(halves) {
                if !noted::<M>(wave, shape::half(&offsets, number), shape) {
                    return Some(false);
                }
            }
        }
        let (stride, row) = (wave.stride, wave.row(op.dst, pass));
        let rows = M::WORDS.max(1);
        if exec == u32::MAX {
            all_lanes::<M, FAST>(base, &offsets, shapes, row, stride);
        } else if M::ACCESS == Access::Store || exec.count_ones() < FEW {
            let mut left = exec;
            while left != 0 {
                let lane = left.trailing_zeros() as usize;
                let pointer = base + u64::from(offsets[lane]);
                M::lane(pointer as *mut u8, row.add(lane), stride);
                left &= left - 1;
            }
        } else {
            let mut loaded = [[0; LANES]; 4];
            for (i, to) in loaded.iter_mut().enumerate().take(rows) {
                *to = *row.add(i * stride).cast::<Registers>();
            }
            let to = loaded.as_mut_ptr().cast::<u32>();
            all_lanes::<M, FAST>(base, &offsets, shapes, to, LANES);
            commit(row, stride, rows, &loaded, exec);
        }
        if !lds && wave.watches_unwritten {
            let suspects = unwritten::suspects::<M>(row, stride, exec);
            if suspects != 0 {
                let pointers = offsets.map(|offset| base + u64::from(offset));
                return unwritten::look(wave, op, request, &pointers, suspects).then_some(true);
            }
        }
    }
    Some(true)
}

/// One pass, lane by lane. False after a fault was raised.
///
/// # Safety
/// As for `passes`.
#[inline(never)]
unsafe fn thorough<S: Space, M: Move>(wave: &mut Wave, op: &Op, request: Request) -> bool {
    // SAFETY: the op was lowered for this space.
    let Some(pointers) = (unsafe { S::resolve(wave, op, request) }) else {
        return false;
    };
    // SAFETY: resolved just now.
    if !unsafe { watch::<S>(wave, op, request, &pointers) } {
        return false;
    }
    let tracked = wave.watches_unwritten && matches!(S::SEEN, Seen::Global | Seen::Both);
    // SAFETY: the data rows are the op's; each active lane's pointer was checked for this access.
    // Memory that other threads write at the same time is the kernel's own race, as on a GPU.
    unsafe {
        let (stride, row) = (wave.stride, wave.row(op.dst, request.pass));
        let mut left = request.exec;
        while left != 0 {
            let lane = left.trailing_zeros() as usize;
            M::lane(pointers[lane] as *mut u8, row.add(lane), stride);
            left &= left - 1;
        }
        if tracked {
            let suspects = unwritten::suspects::<M>(row, stride, request.exec);
            return suspects == 0 || unwritten::look(wave, op, request, &pointers, suspects);
        }
    }
    true
}

/// Each pass that has lanes on, until one faults.
///
/// # Safety
/// See `Run`; with `FAST`, the CPU has AVX2.
#[inline(always)]
unsafe fn passes<S: Segment, M: Move, const FAST: bool>(wave: &mut Wave, op: &Op) {
    for pass in 0..wave.passes {
        let Some(request) = request::<M>(wave, op, pass) else {
            continue;
        };
        // SAFETY: the caller's promise. Not in a closure: it would not be compiled for the caller's level.
        unsafe {
            match quick::<S, M, FAST>(wave, op, request) {
                Some(true) => {}
                Some(false) if thorough::<S, M>(wave, op, request) => {}
                _ => return,
            }
        }
    }
}

/// What is asked of a pass; `None` if no lane is on, or after a fault was raised.
#[inline(always)]
fn request<M: Move>(wave: &mut Wave, op: &Op, pass: usize) -> Option<Request> {
    let exec = wave.exec(pass);
    if exec == 0 {
        return None;
    }
    if wave.missed != 0 {
        let missed = exec & (wave.missed >> (pass * LANES)) as u32;
        if missed != 0 {
            control::missed_barrier(wave, op, pass, missed);
            return None;
        }
    }
    Some(Request {
        pass,
        exec,
        bytes: M::BYTES,
        access: M::ACCESS,
    })
}

/// A move in a space whose lanes' places lie apart (scratch), or are hardly ever used.
///
/// # Safety
/// See `Run`.
pub unsafe fn apart<S: Space, M: Move>(wave: &mut Wave, op: &Op) {
    for pass in 0..wave.passes {
        if let Some(request) = request::<M>(wave, op, pass) {
            // SAFETY: the caller's promise.
            if !unsafe { thorough::<S, M>(wave, op, request) } {
                return;
            }
        }
    }
}

/// # Safety
/// See `Run`.
pub unsafe fn base<S: Segment, M: Move>(wave: &mut Wave, op: &Op) {
    // SAFETY: the caller's promise.
    unsafe { passes::<S, M, false>(wave, op) }
}

/// # Safety
/// See `Run`; and the CPU has these features.
#[cfg_attr(
    target_arch = "x86_64",
    target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")
)]
pub unsafe fn fast<S: Segment, M: Move>(wave: &mut Wave, op: &Op) {
    // SAFETY: the caller's promise.
    unsafe { passes::<S, M, true>(wave, op) }
}
