//! f64 arithmetic.

use super::*;
use crate::exec::float::{ldexp_f64, max_f64, max_ieee_f64, min_f64, min_ieee_f64};

#[inline(always)]
fn frexp_exp(a: f64) -> i32 {
    let bits = a.to_bits() & 0x7fff_ffff_ffff_ffff;
    if bits == 0 || bits >= 0x7ff0_0000_0000_0000 {
        return 0;
    }
    if bits < 1 << 52 {
        // A subnormal is mantissa·2^-1074.
        return 64 - bits.leading_zeros() as i32 - 1074;
    }
    (bits >> 52) as i32 - 1022
}

#[inline(always)]
fn frexp_mant(a: f64) -> f64 {
    if a == 0.0 || !a.is_finite() {
        return a;
    }
    ldexp_f64(a, -frexp_exp(a))
}

/// The bits of 2/π after the binary point, most significant first, 64 a word.
const TWO_OVER_PI: [u64; 20] = [
    0xa2f9_836e_4e44_1529,
    0xfc27_57d1_f534_ddc0,
    0xdb62_9599_3c43_9041,
    0xfe51_63ab_debb_c561,
    0xb724_6e3a_424d_d2e0,
    0x0649_2eea_09d1_921c,
    0xfe1d_eb1c_b129_a73e,
    0xe882_35f5_2ebb_4484,
    0xe99c_7026_b45f_7e41,
    0x3991_d639_8353_39f4,
    0x9c84_5f8b_bdf9_283b,
    0x1ff8_97ff_de05_980f,
    0xef2f_118b_5a0a_6d1f,
    0x6d36_7ecf_27cb_09b7,
    0x4f46_3f66_9e5f_ea2d,
    0x7527_bac7_ebe5_f17b,
    0x3d07_39f7_8a52_92ea,
    0x6bfb_5fb1_1f8d_5d08,
    0x5603_3046_fc7b_6bab,
    0xf0cf_bc20_9af4_361d,
];

/// 53 bits of 2/π, from the place where they matter for reducing an argument of `a`'s size
/// (AMD's ISA documents, V_TRIG_PREOP_F64).
fn trig_preop(a: f64, segment: u32) -> f64 {
    let exponent = ((a.to_bits() >> 52) & 0x7ff) as i32;
    let mut shift = (segment & 31) as i32 * 53;
    if exponent > 1077 {
        shift += exponent - 1077;
    }
    // 1201 bits are kept; the hardware's shift moves the rest out at the bottom.
    let first = shift as usize;
    let bit = |i: usize| {
        if i < 1201 {
            TWO_OVER_PI[i / 64] >> (63 - i % 64) & 1
        } else {
            0
        }
    };
    let bits = (first..first + 53).fold(0u64, |sum, i| sum << 1 | bit(i));
    let scale = -53 - shift + if exponent >= 1968 { 128 } else { 0 };
    ldexp_f64(bits as f64, scale)
}

lanes! { ROWS:
    "v_add_f64", |a: F64, b: F64| -> F64 { a + b }
    "v_mul_f64", |a: F64, b: F64| -> F64 { a * b }
    "v_fma_f64", |a: F64, b: F64, c: F64| -> F64 { a.mul_add(b, c) }
    [Accumulate] "v_fmac_f64", |a: F64, b: F64, c: F64| -> F64 { a.mul_add(b, c) }
    "v_min_f64", |a: F64, b: F64| -> F64 { min_ieee_f64(a, b) }
    "v_min_num_f64", |a: F64, b: F64| -> F64 { min_f64(a, b) }
    "v_max_f64", |a: F64, b: F64| -> F64 { max_ieee_f64(a, b) }
    "v_max_num_f64", |a: F64, b: F64| -> F64 { max_f64(a, b) }
    "v_floor_f64", |a: F64| -> F64 { a.floor() }
    "v_ceil_f64", |a: F64| -> F64 { a.ceil() }
    "v_trunc_f64", |a: F64| -> F64 { a.trunc() }
    "v_rndne_f64", |a: F64| -> F64 { a.round_ties_even() }
    "v_fract_f64", |a: F64| -> F64 { min_f64(a - a.floor(), f64::from_bits(0x3fef_ffff_ffff_ffff)) }
    "v_ldexp_f64", |a: F64, b: I32| -> F64 { ldexp_f64(a, b) }
    "v_frexp_exp_i32_f64", |a: F64| -> I32 { frexp_exp(a) }
    "v_frexp_mant_f64", |a: F64| -> F64 { frexp_mant(a) }
    "v_trig_preop_f64", |a: F64, b: U32| -> F64 { trig_preop(a, b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frexp_splits_and_joins() {
        for value in [
            1.0f64,
            0.3,
            -6.5,
            f64::MAX,
            f64::MIN_POSITIVE,
            f64::from_bits(1),
            f64::from_bits(0xf_ffff),
        ] {
            let (mantissa, exponent) = (frexp_mant(value), frexp_exp(value));
            assert!(
                (0.5..1.0).contains(&mantissa.abs()),
                "{value:e}: {mantissa}"
            );
            assert_eq!(ldexp_f64(mantissa, exponent), value);
        }
    }

    #[test]
    fn trig_preop_gives_two_over_pi() {
        // Three segments of 53 bits sum to 2/π far beyond f64; the first alone is within 2^-53.
        let first = trig_preop(1.0, 0);
        assert!((first - std::f64::consts::FRAC_2_PI).abs() <= 2f64.powi(-53));
        let second = trig_preop(1.0, 1);
        assert!(second > 0.0 && second < 2f64.powi(-52));
        assert!((first + second - std::f64::consts::FRAC_2_PI).abs() < 1e-16);
    }
}
