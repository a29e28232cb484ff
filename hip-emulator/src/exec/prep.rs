//! Preparation of sources: whatever is not a plain row becomes one, in a temporary row, before the
//! operation runs. Lowering chains these steps, so that operations never look at operand kinds.

use super::float::f16_to_f32;
use super::program::{Op, Prep};
use super::wave::Wave;
use super::word::LANES;

/// Runs the preparations of `op`.
///
/// # Safety
/// See `Run`.
#[inline(never)]
pub unsafe fn all(wave: &mut Wave, op: &Op) {
    let preps: *const Prep = wave.launch().program.preps.as_ptr();
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
unsafe fn map(wave: &mut Wave, prep: &Prep, change: impl Fn(u32) -> u32) {
    for pass in 0..wave.passes {
        // SAFETY: both offsets are rows of this program's file. The source is copied first since
        // it may be the destination.
        unsafe {
            let from: [u32; LANES] = *wave.row(prep.from, pass).cast();
            let to = &mut *wave.row(prep.to, pass).cast::<[u32; LANES]>();
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
            unsafe fn body($wave: &mut Wave, $prep: &Prep) {
                // SAFETY: the prep was made by lowering for the program that the wave runs.
                unsafe { $body }
            }
            /// # Safety
            /// The prep was made by lowering for the program that the wave runs.
            pub unsafe fn base(wave: &mut Wave, prep: &Prep) {
                // SAFETY: the caller's promise.
                unsafe { body(wave, prep) }
            }
            /// # Safety
            /// As for `base`; and the CPU has AVX2.
            #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
            pub unsafe fn fast(wave: &mut Wave, prep: &Prep) {
                // SAFETY: the caller's promise.
                unsafe { body(wave, prep) }
            }
            pub const LEVELS: [unsafe fn(&mut Wave, &Prep); 2] = [base, fast];
        }
    };
}

step! {
    /// A scalar, in every lane.
    broadcast, |wave, prep| {
        let value = wave.scalar(prep.from);
        for pass in 0..wave.passes {
            *wave.row(prep.to, pass).cast::<[u32; LANES]>() = [value; LANES];
        }
    }
}

step! {
    /// A bit per lane of a scalar mask, as all ones or zero.
    expand_mask, |wave, prep| {
        for pass in 0..wave.passes {
            let bits = wave.scalar(prep.from + pass as u32);
            let to = &mut *wave.row(prep.to, pass).cast::<[u32; LANES]>();
            for (lane, word) in to.iter_mut().enumerate() {
                *word = if bits >> lane & 1 != 0 { u32::MAX } else { 0 };
            }
        }
    }
}

step! {
    /// Flips the bits of `control`: negation.
    flip, |wave, prep| { let bits = prep.control; map(wave, prep, |w| w ^ bits) }
}

step! {
    /// Keeps the bits of `control`: absolute value.
    keep, |wave, prep| { let bits = prep.control; map(wave, prep, |w| w & bits) }
}

step! {
    /// A plain copy.
    copy, |wave, prep| { map(wave, prep, |w| w) }
}

step! {
    /// `control` is shift | bits << 8: an unsigned part of the register.
    part, |wave, prep| {
        let (shift, bits) = (prep.control & 31, prep.control >> 8);
        let mask = u32::MAX >> (32 - bits);
        map(wave, prep, |w| (w >> shift) & mask)
    }
}

step! {
    /// The same, signed.
    signed_part, |wave, prep| {
        let (shift, bits) = (prep.control & 31, prep.control >> 8);
        let up = 32 - bits - shift;
        map(wave, prep, |w| (((w << up) as i32) >> (up + shift)) as u32)
    }
}

step! {
    /// Halves of a packed source: bit 0 of `control` picks the low result's, bit 1 the high one's.
    halves, |wave, prep| {
        let (low, high) = ((prep.control & 1) * 16, (prep.control >> 1 & 1) * 16);
        map(wave, prep, |w| (w >> low & 0xffff) | (w >> high & 0xffff) << 16)
    }
}

step! {
    /// f32 of the half at bit `control` (0 or 16).
    widen, |wave, prep| { let shift = prep.control; map(wave, prep, |w| f16_to_f32(w >> shift).to_bits()) }
}

/// The three versions of a step differ only in speed; level 0 runs anywhere.
pub type Step = [unsafe fn(&mut Wave, &Prep); 2];
