//! Floating-point helpers shared by the instruction tables. All are branch-free where it matters,
//! so that a loop over lanes vectorises.

/// The f32 of the half in the low 16 bits of `bits`; exact, subnormals included.
#[inline(always)]
pub fn f16_to_f32(bits: u32) -> f32 {
    let magnitude = (bits & 0x7fff) << 13;
    let sign = (bits & 0x8000) << 16;
    // As an f32, `magnitude` is 2^-112 times the half's value, since the biases differ by 112.
    let scaled = f32::from_bits(magnitude) * f32::from_bits(0x7780_0000);
    // Infinity and NaN keep an all-ones exponent. NaNs come out quiet, like the hardware's.
    let special = magnitude | 0x7f80_0000 | (u32::from(magnitude > 0x0f80_0000) << 22);
    let value = if magnitude >= 0x0f80_0000 {
        special
    } else {
        scaled.to_bits()
    };
    f32::from_bits(value | sign)
}

/// The same, but a signalling NaN stays one: for the few operations that tell it from a quiet one.
#[inline(always)]
pub fn f16_to_f32_signalling(bits: u32) -> f32 {
    let signals = bits & 0x7e00 == 0x7c00 && bits & 0x01ff != 0;
    f32::from_bits(f16_to_f32(bits).to_bits() & !(u32::from(signals) << 22))
}

/// The half nearest to `value` (ties to even), in the low 16 bits; subnormals and infinity included.
#[inline(always)]
pub fn f32_to_f16(value: f32) -> u32 {
    let bits = value.to_bits();
    let sign = (bits >> 16) & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    // Normal results: move the exponent's bias and round the 13 dropped bits to even.
    let rebiased = magnitude.wrapping_sub(112 << 23);
    let normal = rebiased.wrapping_add(0xfff + ((rebiased >> 13) & 1)) >> 13;
    // Subnormal results: adding 0.5 puts the unit of 2^-24 at the sum's last bit, which rounds.
    let subnormal = (f32::from_bits(magnitude) + 0.5)
        .to_bits()
        .wrapping_sub(0.5f32.to_bits());
    let nan = 0x7e00 | ((magnitude >> 13) & 0x3ff);
    let finite = if magnitude < 0x3880_0000 {
        subnormal
    } else {
        normal
    };
    let special = if magnitude > 0x7f80_0000 { nan } else { 0x7c00 };
    // 65520 and above round to infinity.
    sign | if magnitude >= 0x477f_f000 {
        special
    } else {
        finite
    }
}

/// a·b + c of three halves, as an f32 that rounds to the correctly rounded half: the exact result
/// with its last bit set if anything was cut off ("round to odd").
#[inline(always)]
pub fn fma_f16(a: f32, b: f32, c: f32) -> f32 {
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    // Knuth's two-sum: `error` is what rounding `sum` lost.
    let virtual_c = sum - product;
    let error = (product - (sum - virtual_c)) + (c - virtual_c);
    let bits = sum.to_bits();
    let toward_zero = bits - u64::from((error < 0.0) == (sum > 0.0) && error != 0.0);
    let inexact = error != 0.0 && error.is_finite();
    let exact_or_odd = if inexact { toward_zero | 1 } else { bits };
    // Cut to f32 the same way. A half's product is no smaller than 2^-48: f32 stays normal.
    let cut = (exact_or_odd & !0x1fff_ffff) | u64::from(exact_or_odd & 0x1fff_ffff != 0) << 29;
    if sum.is_finite() {
        f64::from_bits(cut) as f32
    } else {
        sum as f32
    }
}

macro_rules! ieee {
    ($name:ident, $apply:ident, $t:ty, $quiet:expr) => {
        /// The same in IEEE mode, in which kernels run before gfx12: a signalling NaN comes out quiet.
        #[inline(always)]
        pub fn $name(a: $t, b: $t) -> $t {
            let signals = |x: $t| x.is_nan() && x.to_bits() & $quiet == 0;
            if signals(a) {
                <$t>::from_bits(a.to_bits() | $quiet)
            } else if signals(b) {
                <$t>::from_bits(b.to_bits() | $quiet)
            } else {
                $apply(a, b)
            }
        }
    };
}
ieee!(min_ieee_f32, min_f32, f32, 1 << 22);
ieee!(max_ieee_f32, max_f32, f32, 1 << 22);
ieee!(min_ieee_f64, min_f64, f64, 1 << 51);
ieee!(max_ieee_f64, max_f64, f64, 1 << 51);

/// `minNum`: the other operand for a NaN, and -0 below +0.
#[inline(always)]
pub fn min_f32(a: f32, b: f32) -> f32 {
    let zero = f32::from_bits(a.to_bits() | b.to_bits());
    let ordered = if a == b {
        zero
    } else if a < b {
        a
    } else {
        b
    };
    if a.is_nan() {
        b
    } else if b.is_nan() {
        a
    } else {
        ordered
    }
}

/// IEEE 754-2019 `minimum`: a NaN if any operand is one, and -0 below +0.
#[inline(always)]
pub fn minimum_f32(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        f32::from_bits((if a.is_nan() { a } else { b }).to_bits() | 0x0040_0000)
    } else {
        min_f32(a, b)
    }
}

/// IEEE 754-2019 `maximum`: a NaN if any operand is one, and +0 above -0.
#[inline(always)]
pub fn maximum_f32(a: f32, b: f32) -> f32 {
    -minimum_f32(-a, -b)
}

/// Half of a value rounded toward zero.
#[inline(always)]
pub fn f16_toward_zero(value: f32) -> u32 {
    let rounded = f32_to_f16(value);
    let away = f16_to_f32(rounded & 0x7fff) > value.abs();
    // Rounded away from zero (infinity from a finite value included): one step back.
    if away && value.is_finite() {
        rounded - 1
    } else {
        rounded
    }
}

/// Two halves rounded toward zero, in one word.
#[inline(always)]
pub fn pack_toward_zero(low: f32, high: f32) -> u32 {
    f16_toward_zero(low) | f16_toward_zero(high) << 16
}

/// `maxNum`: the other operand for a NaN, and +0 above -0.
#[inline(always)]
pub fn max_f32(a: f32, b: f32) -> f32 {
    let zero = f32::from_bits(a.to_bits() & b.to_bits());
    let ordered = if a == b {
        zero
    } else if a > b {
        a
    } else {
        b
    };
    if a.is_nan() {
        b
    } else if b.is_nan() {
        a
    } else {
        ordered
    }
}

#[inline(always)]
pub fn min_f64(a: f64, b: f64) -> f64 {
    let zero = f64::from_bits(a.to_bits() | b.to_bits());
    let ordered = if a == b {
        zero
    } else if a < b {
        a
    } else {
        b
    };
    if a.is_nan() {
        b
    } else if b.is_nan() {
        a
    } else {
        ordered
    }
}

#[inline(always)]
pub fn max_f64(a: f64, b: f64) -> f64 {
    let zero = f64::from_bits(a.to_bits() & b.to_bits());
    let ordered = if a == b {
        zero
    } else if a > b {
        a
    } else {
        b
    };
    if a.is_nan() {
        b
    } else if b.is_nan() {
        a
    } else {
        ordered
    }
}

/// Median of three as AMD defines it: the minimum if one is a NaN.
#[inline(always)]
pub fn med3_f32(a: f32, b: f32, c: f32) -> f32 {
    if a.is_nan() || b.is_nan() || c.is_nan() {
        return min_f32(min_f32(a, b), c);
    }
    let largest = max_f32(max_f32(a, b), c);
    if largest == a {
        max_f32(b, c)
    } else if largest == b {
        max_f32(a, c)
    } else {
        max_f32(a, b)
    }
}

/// A subnormal becomes zero of its sign: what the instructions without subnormals do.
#[inline(always)]
pub fn flush(value: f32) -> f32 {
    let bits = value.to_bits();
    if bits & 0x7f80_0000 == 0 {
        f32::from_bits(bits & 0x8000_0000)
    } else {
        value
    }
}

/// `value`·2^`exponent`, rounded once, for any exponent.
pub fn ldexp_f64(value: f64, exponent: i32) -> f64 {
    let power = |e: i32| f64::from_bits(((e + 1023) as u64) << 52);
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    // Make it normal first, so that only the last multiplication can round.
    let (value, exponent) = if value.is_subnormal() {
        (value * power(64), exponent.saturating_sub(64))
    } else {
        (value, exponent)
    };
    let own = ((value.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    let total = own.saturating_add(exponent);
    let mantissa = f64::from_bits((value.to_bits() & 0x800f_ffff_ffff_ffff) | 1023 << 52);
    if total > 1023 {
        mantissa.signum() * f64::INFINITY
    } else if total >= -1022 {
        mantissa * power(total)
    } else if total >= -1080 {
        mantissa * power(-1022) * power(total + 1022)
    } else {
        mantissa.signum() * 0.0
    }
}

/// The same for f32; the f64 in between is exact, so there is one rounding.
pub fn ldexp_f32(value: f32, exponent: i32) -> f32 {
    ldexp_f64(f64::from(value), exponent.clamp(-400, 400)) as f32
}

/// Which of the ten classes of `v_cmp_class` a value is in, as a bit; the same for each width.
#[inline(always)]
pub fn class(
    negative: bool,
    exponent_max: bool,
    exponent_zero: bool,
    mantissa: u64,
    quiet: bool,
) -> u32 {
    let by_sign = |minus: u32, plus: u32| if negative { minus } else { plus };
    match (exponent_max, exponent_zero, mantissa != 0) {
        (true, _, true) => 1 << u32::from(quiet),
        (true, _, false) => by_sign(1 << 2, 1 << 9),
        (false, false, _) => by_sign(1 << 3, 1 << 8),
        (false, true, true) => by_sign(1 << 4, 1 << 7),
        (false, true, false) => by_sign(1 << 5, 1 << 6),
    }
}

pub fn class_f32(value: f32) -> u32 {
    let b = value.to_bits();
    let exponent = (b >> 23) & 0xff;
    class(
        b >> 31 != 0,
        exponent == 0xff,
        exponent == 0,
        u64::from(b & 0x7f_ffff),
        b & 0x40_0000 != 0,
    )
}

pub fn class_f64(value: f64) -> u32 {
    let b = value.to_bits();
    let exponent = (b >> 52) & 0x7ff;
    class(
        b >> 63 != 0,
        exponent == 0x7ff,
        exponent == 0,
        b & 0xf_ffff_ffff_ffff,
        b & 0x8_0000_0000_0000 != 0,
    )
}

pub fn class_f16(bits: u16) -> u32 {
    let b = bits;
    let exponent = (b >> 10) & 0x1f;
    class(
        b >> 15 != 0,
        exponent == 0x1f,
        exponent == 0,
        u64::from(b & 0x3ff),
        b & 0x200 != 0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_agree_with_the_half_crate() {
        for bits in 0..=u16::MAX {
            let want = half::f16::from_bits(bits);
            let got = f16_to_f32(u32::from(bits));
            if want.is_nan() {
                assert!(got.is_nan());
            } else {
                assert_eq!(got.to_bits(), want.to_f32().to_bits(), "{bits:#x}");
                assert_eq!(f32_to_f16(got), u32::from(bits));
            }
        }
        // Every exponent, with mantissas at and around the ties.
        for high in 0..=0xffffu32 {
            for low in [
                0u32, 1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0xefff, 0xf000, 0xffff,
            ] {
                let value = f32::from_bits(high << 16 | low);
                if !value.is_nan() {
                    assert_eq!(
                        f32_to_f16(value),
                        u32::from(half::f16::from_f32(value).to_bits()),
                        "{value:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn ldexp_rounds_once() {
        assert_eq!(ldexp_f64(1.5, -1074), f64::from_bits(2));
        assert_eq!(ldexp_f64(f64::from_bits(1), 1074), 1.0);
        assert_eq!(ldexp_f64(3.0, 5000), f64::INFINITY);
        assert_eq!(ldexp_f64(-1.0, -5000).to_bits(), (-0.0f64).to_bits());
        assert_eq!(ldexp_f32(1.0, -149), f32::from_bits(1));
        assert_eq!(ldexp_f32(1.5, 127), 1.5 * 2f32.powi(127));
    }

    #[test]
    fn fused_halves_round_once() {
        // 2049·1 + 2^-24: a tie between 2048 and 2050 that the tiny addend breaks upwards.
        let half = |v: f32| half::f16::from_f32(v).to_f32();
        let (a, b) = (half(683.0), half(3.0));
        assert_eq!(a * b, 2049.0);
        let tiny = f16_to_f32(1);
        assert_eq!(f16_to_f32(f32_to_f16(fma_f16(a, b, tiny))), 2050.0);
        assert_eq!(f16_to_f32(f32_to_f16(fma_f16(a, b, -tiny))), 2048.0);
        assert_eq!(f16_to_f32(f32_to_f16(fma_f16(-a, b, -tiny))), -2050.0);
        assert_eq!(f16_to_f32(f32_to_f16(fma_f16(-a, b, tiny))), -2048.0);
    }
}
