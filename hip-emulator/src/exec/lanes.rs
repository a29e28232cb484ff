//! The loops over lanes: every vector ALU operation is one of three forms, and each form is one
//! loop here, instantiated per operation and per CPU level.
//!
//! A pass computes all 32 lanes into a local array, whatever EXEC says, and commits the result:
//! a plain copy where EXEC is full, a blend where it is not. The local array is what lets LLVM
//! vectorise without asking whether the destination overlaps a source.

use super::program::Op;
use super::wave::Wave;
use super::word::{Registers, Rows, Word, LANES};
use super::{post, prep};
use crate::decode::slot;

/// A result per lane.
pub trait Lane {
    type A: Word;
    type B: Word;
    type C: Word;
    type E: Word;
    type D: Word;
    fn at(
        a: <Self::A as Word>::V,
        b: <Self::B as Word>::V,
        c: <Self::C as Word>::V,
        e: <Self::E as Word>::V,
    ) -> <Self::D as Word>::V;
}

/// A result and a bit per lane (carries, div_scale).
pub trait Carry {
    type A: Word;
    type B: Word;
    type C: Word;
    type D: Word;
    fn at(
        a: <Self::A as Word>::V,
        b: <Self::B as Word>::V,
        c: <Self::C as Word>::V,
    ) -> (<Self::D as Word>::V, bool);
}

/// A bit per lane.
pub trait Compare {
    type A: Word;
    type B: Word;
    fn at(a: <Self::A as Word>::V, b: <Self::B as Word>::V) -> bool;
}

/// Writes a pass's result where EXEC allows.
///
/// # Safety
/// `dst` points to `rows` rows of the file, `stride` registers apart.
#[inline(always)]
pub unsafe fn commit(dst: *mut u32, stride: usize, rows: usize, result: &[Registers], exec: u32) {
    for (r, row) in result.iter().enumerate().take(rows) {
        // SAFETY: the caller's promise. Rows are only ever reached through such short-lived borrows.
        let to = unsafe { &mut *dst.add(r * stride).cast::<[u32; LANES]>() };
        if exec == u32::MAX {
            *to = *row;
        } else {
            for lane in 0..LANES {
                to[lane] = if exec >> lane & 1 != 0 {
                    row[lane]
                } else {
                    to[lane]
                };
            }
        }
    }
}

/// The rows of source `index`, for an operand of type `W`.
///
/// # Safety
/// Lowering made the offset for an operand of this type.
#[inline(always)]
pub unsafe fn rows<'a, W: Word>(
    wave: &Wave,
    op: &Op,
    index: usize,
    pass: usize,
) -> [&'a Registers; 2] {
    // SAFETY: the caller's promise. Nothing writes the file while a pass computes.
    unsafe {
        let first = wave.row(op.src[index], pass);
        let second = if W::KIND.rows() == 2 {
            first.offset(op.spread[index] as isize)
        } else {
            first
        };
        [&*first.cast::<Registers>(), &*second.cast::<Registers>()]
    }
}

/// A bit per lane, of lanes that are all ones or zero.
#[inline(always)]
fn bits(flags: &Registers) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        let mut bits = 0;
        for half in 0..2 {
            // SAFETY: 16 lanes of the row; every x86-64 CPU has SSE2.
            unsafe {
                let from = flags.as_ptr().add(16 * half).cast::<__m128i>();
                let low = _mm_packs_epi32(_mm_loadu_si128(from), _mm_loadu_si128(from.add(1)));
                let high =
                    _mm_packs_epi32(_mm_loadu_si128(from.add(2)), _mm_loadu_si128(from.add(3)));
                bits |= (_mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32) << (16 * half);
            }
        }
        bits
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let lanes = flags.iter().zip(0..);
        lanes.fold(0, |bits, (flag, lane)| bits | (flag & 1) << lane)
    }
}

/// An operation of which all lanes are on and nothing else is asked: the most frequent case by far, in a function of its
/// own that calls no other and so saves no registers. Anything else is `lane_fast`'s business.
///
/// # Safety
/// As for `lane_fast`.
#[cfg_attr(
    target_arch = "x86_64",
    target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")
)]
pub unsafe fn lane_whole<K: Lane>(wave: &mut Wave, op: &Op) {
    if !wave.is_full() {
        // SAFETY: the caller's promise.
        return unsafe { lane_fast::<K>(wave, op) };
    }
    for pass in 0..wave.passes {
        // SAFETY: as in `lane_loop`.
        unsafe {
            let (a, b) = (
                rows::<K::A>(wave, op, 0, pass),
                rows::<K::B>(wave, op, 1, pass),
            );
            let (c, e) = (
                rows::<K::C>(wave, op, 2, pass),
                rows::<K::E>(wave, op, 3, pass),
            );
            let mut result: Rows = [[0; LANES]; 2];
            for lane in 0..LANES {
                let value = K::at(
                    K::A::load(a, lane),
                    K::B::load(b, lane),
                    K::C::load(c, lane),
                    K::E::load(e, lane),
                );
                K::D::store(&mut result, lane, value);
            }
            let dst = wave.row(op.dst, pass);
            commit(dst, wave.stride, K::D::KIND.rows(), &result, u32::MAX);
        }
    }
}

/// The same for operations that also make a bit.
///
/// # Safety
/// As for `carry_fast`.
#[cfg_attr(
    target_arch = "x86_64",
    target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")
)]
pub unsafe fn carry_whole<K: Carry>(wave: &mut Wave, op: &Op) {
    if !wave.is_full() {
        // SAFETY: the caller's promise.
        return unsafe { carry_fast::<K>(wave, op) };
    }
    let mut mask = 0u64;
    // SAFETY: as in `lane_loop`.
    unsafe {
        for pass in 0..wave.passes {
            let (a, b) = (
                rows::<K::A>(wave, op, 0, pass),
                rows::<K::B>(wave, op, 1, pass),
            );
            let c = rows::<K::C>(wave, op, 2, pass);
            let mut result: Rows = [[0; LANES]; 2];
            let mut flags = [0; LANES];
            for (lane, flag) in flags.iter_mut().enumerate() {
                let (value, bit) = K::at(
                    K::A::load(a, lane),
                    K::B::load(b, lane),
                    K::C::load(c, lane),
                );
                K::D::store(&mut result, lane, value);
                *flag = 0u32.wrapping_sub(u32::from(bit));
            }
            let dst = wave.row(op.dst, pass);
            commit(dst, wave.stride, K::D::KIND.rows(), &result, u32::MAX);
            mask |= u64::from(bits(&flags)) << (pass * LANES);
        }
        wave.set_mask(op.mask, mask);
    }
}

#[inline(always)]
unsafe fn lane_loop<K: Lane>(wave: &mut Wave, op: &Op) {
    // SAFETY: offsets were made by lowering for this program and kind of operand.
    unsafe {
        if op.prep_count != 0 {
            prep::all(wave, op);
        }
        for pass in 0..wave.passes {
            let exec = wave.exec(pass);
            if exec == 0 {
                continue;
            }
            let stride = wave.stride;
            let (a, b) = (
                rows::<K::A>(wave, op, 0, pass),
                rows::<K::B>(wave, op, 1, pass),
            );
            let (c, e) = (
                rows::<K::C>(wave, op, 2, pass),
                rows::<K::E>(wave, op, 3, pass),
            );
            let mut result: Rows = [[0; LANES]; 2];
            for lane in 0..LANES {
                let value = K::at(
                    K::A::load(a, lane),
                    K::B::load(b, lane),
                    K::C::load(c, lane),
                    K::E::load(e, lane),
                );
                K::D::store(&mut result, lane, value);
            }
            let dst = wave.row(op.dst, pass);
            if op.post.any {
                // A copy: an array whose address leaves the function would not vectorise.
                let mut changed = result;
                post::apply(&op.post, dst, &mut changed);
                commit(dst, stride, K::D::KIND.rows(), &changed, exec);
            } else {
                commit(dst, stride, K::D::KIND.rows(), &result, exec);
            }
        }
    }
}

#[inline(always)]
unsafe fn carry_loop<K: Carry>(wave: &mut Wave, op: &Op) {
    // SAFETY: as in `lane_loop`.
    unsafe {
        if op.prep_count != 0 {
            prep::all(wave, op);
        }
        let mut mask = 0u64;
        for pass in 0..wave.passes {
            let exec = wave.exec(pass);
            if exec == 0 {
                continue;
            }
            let stride = wave.stride;
            let (a, b) = (
                rows::<K::A>(wave, op, 0, pass),
                rows::<K::B>(wave, op, 1, pass),
            );
            let c = rows::<K::C>(wave, op, 2, pass);
            let mut result: Rows = [[0; LANES]; 2];
            let mut flags = [0; LANES];
            for (lane, flag) in flags.iter_mut().enumerate() {
                let (value, bit) = K::at(
                    K::A::load(a, lane),
                    K::B::load(b, lane),
                    K::C::load(c, lane),
                );
                K::D::store(&mut result, lane, value);
                *flag = 0u32.wrapping_sub(u32::from(bit));
            }
            let dst = wave.row(op.dst, pass);
            if op.post.any {
                // A copy: an array whose address leaves the function would not vectorise.
                let mut changed = result;
                post::apply(&op.post, dst, &mut changed);
                commit(dst, stride, K::D::KIND.rows(), &changed, exec);
            } else {
                commit(dst, stride, K::D::KIND.rows(), &result, exec);
            }
            mask |= u64::from(bits(&flags) & exec) << (pass * LANES);
        }
        wave.set_mask(op.mask, mask);
    }
}

#[inline(always)]
unsafe fn compare_loop<K: Compare>(wave: &mut Wave, op: &Op) {
    // SAFETY: as in `lane_loop`.
    unsafe {
        if op.prep_count != 0 {
            prep::all(wave, op);
        }
        let mut mask = 0u64;
        for pass in 0..wave.passes {
            let exec = wave.exec(pass);
            if exec == 0 {
                continue;
            }
            let (a, b) = (
                rows::<K::A>(wave, op, 0, pass),
                rows::<K::B>(wave, op, 1, pass),
            );
            let mut flags = [0; LANES];
            for (lane, flag) in flags.iter_mut().enumerate() {
                let bit = K::at(K::A::load(a, lane), K::B::load(b, lane));
                *flag = 0u32.wrapping_sub(u32::from(bit));
            }
            mask |= u64::from(bits(&flags) & exec) << (pass * LANES);
        }
        // `extra` is a second destination: v_cmpx before gfx10 writes VCC (or an SGPR) and EXEC.
        wave.set_mask(op.mask, mask);
        if op.extra != 0 {
            wave.set_mask(u32::from(slot::EXEC), mask);
        }
    }
}

macro_rules! level {
    ($base:ident, $fast:ident, $form:ident, $loop:ident) => {
        /// # Safety
        /// See `Run`.
        pub unsafe fn $base<K: $form>(wave: &mut Wave, op: &Op) {
            // SAFETY: the caller's promise.
            unsafe { $loop::<K>(wave, op) }
        }

        /// # Safety
        /// See `Run`; and the CPU has these features.
        // Never part of the `whole` function that calls it seldom: that would have to save registers for it.
        #[inline(never)]
        #[cfg_attr(
            target_arch = "x86_64",
            target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")
        )]
        pub unsafe fn $fast<K: $form>(wave: &mut Wave, op: &Op) {
            // SAFETY: the caller's promise.
            unsafe { $loop::<K>(wave, op) }
        }
    };
}

level!(lane_base, lane_fast, Lane, lane_loop);
level!(carry_base, carry_fast, Carry, carry_loop);
level!(compare_base, compare_fast, Compare, compare_loop);

/// Whether the host's CPU has what the fast level needs; the index of the level to use.
pub fn host_level() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let fast = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        usize::from(fast)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        1
    }
}
