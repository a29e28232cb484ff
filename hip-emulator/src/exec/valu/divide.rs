//! The steps of a correctly rounded division: v_div_scale, v_div_fmas and v_div_fixup, after AMD's
//! pseudocode; except that v_div_fmas undoes the scaling by the power of two that v_div_scale used,
//! 2^±64 or 2^±128 by the size of the quotient, where the pseudocode's 2^32 and 2^64 undo nothing.

use super::*;
use crate::exec::float::{ldexp_f32, ldexp_f64};

#[inline(always)]
fn exponent32(a: f32) -> i32 {
    (a.to_bits() >> 23 & 0xff) as i32
}

#[inline(always)]
fn exponent64(a: f64) -> i32 {
    (a.to_bits() >> 52 & 0x7ff) as i32
}

fn power64(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// a + b and what its rounding lost.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let virtual_b = sum - a;
    (sum, (a - (sum - virtual_b)) + (b - virtual_b))
}

/// `value` with its last bit set if `lost` (what rounding cut off) is not zero: a later rounding to
/// fewer bits then rounds as if there had been one.
fn to_odd(value: f64, lost: f64) -> f64 {
    if lost == 0.0 || !lost.is_finite() || !value.is_finite() || value == 0.0 {
        return value;
    }
    let toward_zero = value.to_bits() - u64::from((lost < 0.0) == (value > 0.0));
    f64::from_bits(toward_zero | 1)
}

/// 2^±64·(a·b + c), rounded once: the sign of the exponent is that of the quotient estimate `c`.
fn fmas32(a: f32, b: f32, c: f32) -> f32 {
    let scale = power64(if exponent32(c) > 127 { 64 } else { -64 });
    let (sum, lost) = two_sum(f64::from(a) * f64::from(b), f64::from(c));
    (to_odd(sum, lost) * scale) as f32
}

/// 2^±128·(a·b + c), rounded once. The error of the fused sum is Boldo and Muller's ErrFma.
fn fmas64(a: f64, b: f64, c: f64) -> f64 {
    let value = a.mul_add(b, c);
    if exponent64(c) > 1023 {
        return value * power64(128);
    }
    let product = a * b;
    let product_lost = a.mul_add(b, -product);
    let (low, low_lost) = two_sum(c, product_lost);
    let (high, high_lost) = two_sum(product, low);
    let lost = ((high - value) + high_lost) + low_lost;
    let scaled = value * power64(-128);
    // Only a subnormal result is rounded again.
    if scaled.abs() < f64::MIN_POSITIVE {
        to_odd(value, lost) * power64(-128)
    } else {
        scaled
    }
}

/// Scales one of numerator `c` and denominator `b` (`a` is one of the two) away from overflow and
/// subnormals; the bit says that v_div_fmas must undo it.
fn scale32(a: f32, b: f32, c: f32) -> (f32, bool) {
    let (is_denominator, is_numerator) = (a == b, a == c);
    if c == 0.0 || b == 0.0 {
        (f32::NAN, false)
    } else if exponent32(c) - exponent32(b) >= 96 {
        (if is_denominator { ldexp_f32(a, 64) } else { a }, true)
    } else if b.is_subnormal() {
        (ldexp_f32(a, 64), false)
    } else if (1.0 / f64::from(b)).is_subnormal() && (c / b).is_subnormal() {
        (if is_denominator { ldexp_f32(a, 64) } else { a }, true)
    } else if (1.0 / f64::from(b)).is_subnormal() {
        (ldexp_f32(a, -64), false)
    } else if (c / b).is_subnormal() {
        (if is_numerator { ldexp_f32(a, 64) } else { a }, true)
    } else if exponent32(c) <= 23 {
        (ldexp_f32(a, 64), false)
    } else {
        (a, false)
    }
}

fn scale64(a: f64, b: f64, c: f64) -> (f64, bool) {
    let (is_denominator, is_numerator) = (a == b, a == c);
    if c == 0.0 || b == 0.0 {
        (f64::NAN, false)
    } else if exponent64(c) - exponent64(b) >= 768 {
        (if is_denominator { ldexp_f64(a, 128) } else { a }, true)
    } else if b.is_subnormal() {
        (ldexp_f64(a, 128), false)
    } else if (1.0 / b).is_subnormal() && (c / b).is_subnormal() {
        (if is_denominator { ldexp_f64(a, 128) } else { a }, true)
    } else if (1.0 / b).is_subnormal() {
        (ldexp_f64(a, -128), false)
    } else if (c / b).is_subnormal() {
        (if is_numerator { ldexp_f64(a, 128) } else { a }, true)
    } else if exponent64(c) <= 53 {
        (ldexp_f64(a, 128), false)
    } else {
        (a, false)
    }
}

/// The quotient `a`, or what the special cases of numerator `c` by denominator `b` demand.
fn fixup32(a: f32, b: f32, c: f32) -> f32 {
    let sign = (b.to_bits() ^ c.to_bits()) & 0x8000_0000;
    let signed = |magnitude: f32| f32::from_bits(magnitude.to_bits() & 0x7fff_ffff | sign);
    let invalid = f32::from_bits(0xffc0_0000);
    if c.is_nan() {
        f32::from_bits(c.to_bits() | 0x0040_0000)
    } else if b.is_nan() {
        f32::from_bits(b.to_bits() | 0x0040_0000)
    } else if (b == 0.0 && c == 0.0) || (b.is_infinite() && c.is_infinite()) {
        invalid
    } else if b == 0.0 || c.is_infinite() {
        signed(f32::INFINITY)
    } else if b.is_infinite() || c == 0.0 {
        signed(0.0)
    } else if exponent32(c) - exponent32(b) < -150 || (a.is_nan() && (c / b).is_infinite()) {
        // Too far apart for the scaling: the quotient underflows, or the iteration overflowed and
        // left a NaN where the result is infinity.
        c / b
    } else {
        signed(a)
    }
}

fn fixup64(a: f64, b: f64, c: f64) -> f64 {
    let sign = (b.to_bits() ^ c.to_bits()) & 1 << 63;
    let signed = |magnitude: f64| f64::from_bits(magnitude.to_bits() & !(1 << 63) | sign);
    if c.is_nan() {
        f64::from_bits(c.to_bits() | 1 << 51)
    } else if b.is_nan() {
        f64::from_bits(b.to_bits() | 1 << 51)
    } else if (b == 0.0 && c == 0.0) || (b.is_infinite() && c.is_infinite()) {
        f64::from_bits(0xfff8 << 48)
    } else if b == 0.0 || c.is_infinite() {
        signed(f64::INFINITY)
    } else if b.is_infinite() || c == 0.0 {
        signed(0.0)
    } else if exponent64(c) - exponent64(b) < -1075 || (a.is_nan() && (c / b).is_infinite()) {
        // As for f32.
        c / b
    } else {
        signed(a)
    }
}

/// Halves have no scaling step: only the special cases matter.
fn fixup16(a: f32, b: f32, c: f32) -> f32 {
    let negative = b.is_sign_negative() != c.is_sign_negative();
    let signed = |magnitude: f32| {
        if negative {
            -magnitude.abs()
        } else {
            magnitude.abs()
        }
    };
    if c.is_nan() || b.is_nan() || (b == 0.0 && c == 0.0) || (b.is_infinite() && c.is_infinite()) {
        f32::NAN
    } else if b == 0.0 || c.is_infinite() {
        signed(f32::INFINITY)
    } else if b.is_infinite() || c == 0.0 {
        signed(0.0)
    } else {
        signed(a)
    }
}

carries! { SCALES:
    "v_div_scale_f32", |a: F32, b: F32, c: F32| -> F32 { scale32(a, b, c) }
    "v_div_scale_f64", |a: F64, b: F64, c: F64| -> F64 { scale64(a, b, c) }
}

lanes! { ROWS:
    [Vcc] "v_div_fmas_f32", |a: F32, b: F32, c: F32, scaled: Mask| -> F32 {
        if scaled { fmas32(a, b, c) } else { a.mul_add(b, c) }
    }
    [Vcc] "v_div_fmas_f64", |a: F64, b: F64, c: F64, scaled: Mask| -> F64 {
        if scaled { fmas64(a, b, c) } else { a.mul_add(b, c) }
    }
    "v_div_fixup_f32", |a: F32, b: F32, c: F32| -> F32 { fixup32(a, b, c) }
    "v_div_fixup_f64", |a: F64, b: F64, c: F64| -> F64 { fixup64(a, b, c) }
    [KeepHalf] "v_div_fixup_f16", |a: F16, b: F16, c: F16| -> F16 { fixup16(a, b, c) }
}
