//! f16 arithmetic. Lanes are f32 values of halves; storing rounds to the nearest half. One f32
//! addition or multiplication of halves followed by that rounding rounds like a single one.

use super::*;
use crate::exec::float::{
    fma_f16, ldexp_f32, max_f32, max_ieee_f32, maximum_f32, med3_f32, min_f32, min_ieee_f32,
    minimum_f32,
};

lanes! { ROWS:
    "v_add_f16", |a: F16, b: F16| -> F16 { a + b }
    "v_sub_f16", |a: F16, b: F16| -> F16 { a - b }
    "v_subrev_f16", |a: F16, b: F16| -> F16 { b - a }
    "v_mul_f16", |a: F16, b: F16| -> F16 { a * b }
    [KeepHalf] "v_fma_f16" | "v_fmamk_f16" | "v_fmaak_f16", |a: F16, b: F16, c: F16| -> F16 { fma_f16(a, b, c) }
    [Accumulate] "v_fmac_f16", |a: F16, b: F16, c: F16| -> F16 { fma_f16(a, b, c) }
    "v_min_f16", |a: SignalF16, b: SignalF16| -> F16 { min_ieee_f32(a, b) }
    "v_max_f16", |a: SignalF16, b: SignalF16| -> F16 { max_ieee_f32(a, b) }
    [KeepHalf] "v_min3_f16", |a: SignalF16, b: SignalF16, c: SignalF16| -> F16 { min_ieee_f32(min_ieee_f32(a, b), c) }
    [KeepHalf] "v_max3_f16", |a: SignalF16, b: SignalF16, c: SignalF16| -> F16 { max_ieee_f32(max_ieee_f32(a, b), c) }
    "v_min_num_f16", |a: F16, b: F16| -> F16 { min_f32(a, b) }
    "v_max_num_f16", |a: F16, b: F16| -> F16 { max_f32(a, b) }
    [KeepHalf] "v_min3_num_f16", |a: F16, b: F16, c: F16| -> F16 { min_f32(min_f32(a, b), c) }
    [KeepHalf] "v_max3_num_f16", |a: F16, b: F16, c: F16| -> F16 { max_f32(max_f32(a, b), c) }
    [KeepHalf] "v_med3_f16" | "v_med3_num_f16", |a: F16, b: F16, c: F16| -> F16 { med3_f32(a, b, c) }
    "v_minimum_f16", |a: F16, b: F16| -> F16 { minimum_f32(a, b) }
    "v_maximum_f16", |a: F16, b: F16| -> F16 { maximum_f32(a, b) }
    "v_minimum3_f16", |a: F16, b: F16, c: F16| -> F16 { minimum_f32(minimum_f32(a, b), c) }
    "v_maximum3_f16", |a: F16, b: F16, c: F16| -> F16 { maximum_f32(maximum_f32(a, b), c) }
    "v_minimummaximum_f16", |a: F16, b: F16, c: F16| -> F16 { maximum_f32(minimum_f32(a, b), c) }
    "v_maximumminimum_f16", |a: F16, b: F16, c: F16| -> F16 { minimum_f32(maximum_f32(a, b), c) }
    "v_floor_f16", |a: F16| -> F16 { a.floor() }
    "v_ceil_f16", |a: F16| -> F16 { a.ceil() }
    "v_trunc_f16", |a: F16| -> F16 { a.trunc() }
    "v_rndne_f16", |a: F16| -> F16 { a.round_ties_even() }
    "v_fract_f16", |a: F16| -> F16 { min_f32(a - a.floor(), 0.999_511_7) }
    "v_ldexp_f16", |a: F16, b: I16| -> F16 { ldexp_f32(a, i32::from(b)) }
    "v_pack_b32_f16", |a: U16, b: U16| -> U32 { u32::from(a) | u32::from(b) << 16 }
}
