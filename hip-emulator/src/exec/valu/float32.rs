//! f32 arithmetic. Subnormals are kept, except by the legacy multiply-adds, which flush them.

use super::*;
use crate::exec::float::{
    flush, ldexp_f32, max_f32, max_ieee_f32, maximum_f32, med3_f32, min_f32, min_ieee_f32,
    minimum_f32,
};

/// Legacy multiply-add: two roundings, subnormals flushed on the way in and out. The ISA documents do not say so; LLVM does
/// (`SITargetLowering::isFMADLegal`) and selects it only where flushing is asked for, as its expansion of division does.
#[inline(always)]
fn mad(a: f32, b: f32, c: f32) -> f32 {
    let product = flush(flush(a) * flush(b));
    flush(product + flush(c))
}

/// DX9 rule: zero times anything is zero.
#[inline(always)]
fn mul_legacy(a: f32, b: f32) -> f32 {
    if a == 0.0 || b == 0.0 {
        0.0
    } else {
        a * b
    }
}

/// The fractional part, below 1 even where the subtraction rounds up.
#[inline(always)]
fn fract(a: f32) -> f32 {
    min_f32(a - a.floor(), f32::from_bits(0x3f7f_ffff))
}

/// Exponent such that a = mantissa·2^e with the mantissa in [0.5, 1).
#[inline(always)]
fn frexp_exp(a: f32) -> i32 {
    let bits = a.to_bits() & 0x7fff_ffff;
    if bits == 0 || bits >= 0x7f80_0000 {
        return 0;
    }
    if bits < 0x0080_0000 {
        // A subnormal is mantissa·2^-149.
        return 32 - bits.leading_zeros() as i32 - 149;
    }
    (bits >> 23) as i32 - 126
}

#[inline(always)]
fn frexp_mant(a: f32) -> f32 {
    if a == 0.0 || !a.is_finite() {
        return a;
    }
    ldexp_f32(a, -frexp_exp(a))
}

lanes! { ROWS:
    "v_add_f32", |a: F32, b: F32| -> F32 { a + b }
    "v_sub_f32", |a: F32, b: F32| -> F32 { a - b }
    "v_subrev_f32", |a: F32, b: F32| -> F32 { b - a }
    "v_mul_f32", |a: F32, b: F32| -> F32 { a * b }
    "v_mul_legacy_f32" | "v_mul_dx9_zero_f32", |a: F32, b: F32| -> F32 { mul_legacy(a, b) }
    "v_fma_f32" | "v_fmamk_f32" | "v_fmaak_f32", |a: F32, b: F32, c: F32| -> F32 { a.mul_add(b, c) }
    [Accumulate] "v_fmac_f32", |a: F32, b: F32, c: F32| -> F32 { a.mul_add(b, c) }
    "v_mad_f32" | "v_madmk_f32" | "v_madak_f32", |a: F32, b: F32, c: F32| -> F32 { mad(a, b, c) }
    [Accumulate] "v_mac_f32", |a: F32, b: F32, c: F32| -> F32 { mad(a, b, c) }
    "v_min_f32", |a: F32, b: F32| -> F32 { min_ieee_f32(a, b) }
    "v_min_num_f32", |a: F32, b: F32| -> F32 { min_f32(a, b) }
    "v_max_f32", |a: F32, b: F32| -> F32 { max_ieee_f32(a, b) }
    "v_max_num_f32", |a: F32, b: F32| -> F32 { max_f32(a, b) }
    "v_min3_f32", |a: F32, b: F32, c: F32| -> F32 { min_ieee_f32(min_ieee_f32(a, b), c) }
    "v_min3_num_f32", |a: F32, b: F32, c: F32| -> F32 { min_f32(min_f32(a, b), c) }
    "v_max3_f32", |a: F32, b: F32, c: F32| -> F32 { max_ieee_f32(max_ieee_f32(a, b), c) }
    "v_max3_num_f32", |a: F32, b: F32, c: F32| -> F32 { max_f32(max_f32(a, b), c) }
    "v_minmax_f32", |a: F32, b: F32, c: F32| -> F32 { max_ieee_f32(min_ieee_f32(a, b), c) }
    "v_minmax_num_f32", |a: F32, b: F32, c: F32| -> F32 { max_f32(min_f32(a, b), c) }
    "v_maxmin_f32", |a: F32, b: F32, c: F32| -> F32 { min_ieee_f32(max_ieee_f32(a, b), c) }
    "v_maxmin_num_f32", |a: F32, b: F32, c: F32| -> F32 { min_f32(max_f32(a, b), c) }
    "v_med3_f32" | "v_med3_num_f32", |a: F32, b: F32, c: F32| -> F32 { med3_f32(a, b, c) }
    "v_minimum_f32", |a: F32, b: F32| -> F32 { minimum_f32(a, b) }
    "v_maximum_f32", |a: F32, b: F32| -> F32 { maximum_f32(a, b) }
    "v_minimum3_f32", |a: F32, b: F32, c: F32| -> F32 { minimum_f32(minimum_f32(a, b), c) }
    "v_maximum3_f32", |a: F32, b: F32, c: F32| -> F32 { maximum_f32(maximum_f32(a, b), c) }
    "v_minimummaximum_f32", |a: F32, b: F32, c: F32| -> F32 { maximum_f32(minimum_f32(a, b), c) }
    "v_maximumminimum_f32", |a: F32, b: F32, c: F32| -> F32 { minimum_f32(maximum_f32(a, b), c) }
    "v_floor_f32", |a: F32| -> F32 { a.floor() }
    "v_ceil_f32", |a: F32| -> F32 { a.ceil() }
    "v_trunc_f32", |a: F32| -> F32 { a.trunc() }
    "v_rndne_f32", |a: F32| -> F32 { a.round_ties_even() }
    "v_fract_f32", |a: F32| -> F32 { fract(a) }
    "v_ldexp_f32", |a: F32, b: I32| -> F32 { ldexp_f32(a, b) }
    "v_frexp_exp_i32_f32", |a: F32| -> I32 { frexp_exp(a) }
    "v_frexp_mant_f32", |a: F32| -> F32 { frexp_mant(a) }
    // Sources widened by their preparation; the halves of the result by op_sel.
    "v_fma_mix_f32", |a: Mix, b: Mix, c: Mix| -> F32 { a.mul_add(b, c) }
    [LowHalf] "v_fma_mixlo_f16", |a: Mix, b: Mix, c: Mix| -> F16 { a.mul_add(b, c) }
    [HighHalf] "v_fma_mixhi_f16", |a: Mix, b: Mix, c: Mix| -> F16 { a.mul_add(b, c) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frexp_splits_and_joins() {
        let tiny = f32::from_bits(1);
        for value in [
            1.0f32,
            0.5,
            3.25,
            -7.0,
            f32::MAX,
            f32::MIN_POSITIVE,
            tiny,
            f32::from_bits(0x7f_ffff),
        ] {
            let (mantissa, exponent) = (frexp_mant(value), frexp_exp(value));
            assert!(
                (0.5..1.0).contains(&mantissa.abs()),
                "{value:e}: {mantissa}"
            );
            assert_eq!(f64::from(mantissa) * 2f64.powi(exponent), f64::from(value));
        }
        assert_eq!((frexp_mant(0.0), frexp_exp(0.0)), (0.0, 0));
        assert_eq!(
            (frexp_mant(f32::INFINITY), frexp_exp(f32::INFINITY)),
            (f32::INFINITY, 0)
        );
    }
}
