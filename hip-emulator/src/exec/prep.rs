//! Preparation of sources: whatever is not a plain row becomes one, in a temporary row, before the
//! operation runs. Lowering chains these steps, so that operations never look at operand kinds.
//!
//! A step is an op before the op that it prepares for. Only what a DPP operation permutes is made ready within that
//! op, since the permutation comes first.
//!
//! Of a step, `src[0]` is where from (a file offset, or a scalar's slot), `dst` the row it makes, `mask` what else
//! it has to know.

use super::float::f16_to_f32;
use super::program::{Op, Run, LEVELS as VERSIONS};
use super::wave::Wave;
use super::word::LANES;

/// Runs the preparations that are within `op`.
///
/// # Safety
/// See `Run`.
#[inline(never)]
pub unsafe fn all(wave: &mut Wave, op: &Op) {
    let preps: *const Op = wave.launch().program.preps.as_ptr();
    for i in 0..usize::from(op.prep_count) {
        // SAFETY: lowering made the range for this op; the program outlives the wave.
        unsafe {
            let prep = &*preps.add(op.preps as usize + i);
            (prep.run)(wave, prep);
        }
    }
}

/// Applies `change` to every register of a row.
#[inline(always)]
unsafe fn map(wave: &mut Wave, prep: &Op, change: impl Fn(u32) -> u32) {
    for pass in 0..wave.passes {
        // SAFETY: both offsets are rows of this program's file. The source is copied first since
        // it may be the destination.
        unsafe {
            let from: [u32; LANES] = *wave.row(prep.src[0], pass).cast();
            let to = &mut *wave.row(prep.dst, pass).cast::<[u32; LANES]>();
            for lane in 0..LANES {
                to[lane] = change(from[lane]);
            }
        }
    }
}

/// One step: a module with its version per CPU level.
macro_rules! step {
    ($(#[$doc:meta])* $name:ident, |$wave:ident, $prep:ident| $body:block) => {
        $(#[$doc])*
        pub mod $name {
            use super::*;
            #[inline(always)]
            unsafe fn body($wave: &mut Wave, $prep: &Op) {
                // SAFETY: the prep was made by lowering for the program that the wave runs.
                unsafe { $body }
            }
            /// # Safety
            /// The prep was made by lowering for the program that the wave runs.
            pub unsafe fn base(wave: &mut Wave, prep: &Op) {
                // SAFETY: the caller's promise.
                unsafe { body(wave, prep) }
            }
            /// # Safety
            /// As for `base`; and the CPU has AVX2.
            #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
            pub unsafe fn fast(wave: &mut Wave, prep: &Op) {
                // SAFETY: the caller's promise.
                unsafe { body(wave, prep) }
            }
            pub const LEVELS: Step = [base, fast];
        }
    };
}

step! {
    /// A scalar, in every lane.
    broadcast, |wave, prep| {
        let value = wave.scalar(prep.src[0]);
        for pass in 0..wave.passes {
            *wave.row(prep.dst, pass).cast::<[u32; LANES]>() = [value; LANES];
        }
    }
}

step! {
    /// A bit per lane of a scalar mask, as all ones or zero.
    expand_mask, |wave, prep| {
        for pass in 0..wave.passes {
            let bits = wave.scalar(prep.src[0] + pass as u32);
            let to = &mut *wave.row(prep.dst, pass).cast::<[u32; LANES]>();
            for (lane, word) in to.iter_mut().enumerate() {
                *word = if bits >> lane & 1 != 0 { u32::MAX } else { 0 };
            }
        }
    }
}

step! {
    /// Flips the bits of `mask`: negation.
    flip, |wave, prep| { let bits = prep.mask; map(wave, prep, |w| w ^ bits) }
}

step! {
    /// Keeps the bits of `mask`: absolute value.
    keep, |wave, prep| { let bits = prep.mask; map(wave, prep, |w| w & bits) }
}

step! {
    /// A plain copy.
    copy, |wave, prep| { map(wave, prep, |w| w) }
}

step! {
    /// `mask` is shift | bits << 8: an unsigned part of the register.
    part, |wave, prep| {
        let (shift, bits) = (prep.mask & 31, prep.mask >> 8);
        let mask = u32::MAX >> (32 - bits);
        map(wave, prep, |w| (w >> shift) & mask)
    }
}

step! {
    /// The same, signed.
    signed_part, |wave, prep| {
        let (shift, bits) = (prep.mask & 31, prep.mask >> 8);
        let up = 32 - bits - shift;
        map(wave, prep, |w| (((w << up) as i32) >> (up + shift)) as u32)
    }
}

step! {
    /// Halves of a packed source: bit 0 of `mask` picks the low result's, bit 1 the high one's.
    halves, |wave, prep| {
        let (low, high) = ((prep.mask & 1) * 16, (prep.mask >> 1 & 1) * 16);
        map(wave, prep, |w| (w >> low & 0xffff) | (w >> high & 0xffff) << 16)
    }
}

step! {
    /// f32 of the half at bit `mask` (0 or 16).
    widen, |wave, prep| { let shift = prep.mask; map(wave, prep, |w| f16_to_f32(w >> shift).to_bits()) }
}

/// The three versions of a step differ only in speed; level 0 runs anywhere.
pub type Step = [Run; VERSIONS];
