//! Packed operations: two halves of a register, or two f32 of a register pair. op_sel, op_sel_hi
//! and the neg modifiers are applied when the sources are prepared.

use super::integer::u8s;
use super::*;
use crate::exec::float::{
    fma_f16, max_f32, max_ieee_f32, maximum_f32, min_f32, min_ieee_f32, minimum_f32,
};

/// Both elements.
#[inline(always)]
fn each<T: Copy, R: Copy>(a: [T; 2], b: [T; 2], f: impl Fn(T, T) -> R) -> [R; 2] {
    [f(a[0], b[0]), f(a[1], b[1])]
}

/// Signed (or unsigned) nibbles of a word.
#[inline(always)]
fn nibble(v: u32, i: u32, signed: bool) -> i32 {
    let raw = (v >> (4 * i)) & 15;
    if signed {
        ((raw << 28) as i32) >> 28
    } else {
        raw as i32
    }
}

lanes! { ROWS:
    "v_pk_add_f32", |a: PkF32, b: PkF32| -> PkF32 { each(a, b, |a, b| a + b) }
    "v_pk_mul_f32", |a: PkF32, b: PkF32| -> PkF32 { each(a, b, |a, b| a * b) }
    "v_pk_fma_f32", |a: PkF32, b: PkF32, c: PkF32| -> PkF32 {
        [a[0].mul_add(b[0], c[0]), a[1].mul_add(b[1], c[1])]
    }
    // The preparation puts what op_sel picks into the low and what it picks into the high word.
    "v_pk_mov_b32", |a: PkF32, b: PkF32| -> PkF32 { [a[0], b[1]] }
    "v_pk_add_f16", |a: PkF16, b: PkF16| -> PkF16 { each(a, b, |a, b| a + b) }
    "v_pk_mul_f16", |a: PkF16, b: PkF16| -> PkF16 { each(a, b, |a, b| a * b) }
    "v_pk_minimum_f16", |a: PkF16, b: PkF16| -> PkF16 { each(a, b, minimum_f32) }
    "v_pk_maximum_f16", |a: PkF16, b: PkF16| -> PkF16 { each(a, b, maximum_f32) }
    "v_pk_min_f16", |a: PkSignalF16, b: PkSignalF16| -> PkF16 { each(a, b, min_ieee_f32) }
    "v_pk_max_f16", |a: PkSignalF16, b: PkSignalF16| -> PkF16 { each(a, b, max_ieee_f32) }
    "v_pk_min_num_f16", |a: PkF16, b: PkF16| -> PkF16 { each(a, b, min_f32) }
    "v_pk_max_num_f16", |a: PkF16, b: PkF16| -> PkF16 { each(a, b, max_f32) }
    "v_pk_fma_f16", |a: PkF16, b: PkF16, c: PkF16| -> PkF16 {
        [fma_f16(a[0], b[0], c[0]), fma_f16(a[1], b[1], c[1])]
    }
    [Accumulate] "v_pk_fmac_f16", |a: PkF16, b: PkF16, c: PkF16| -> PkF16 {
        [fma_f16(a[0], b[0], c[0]), fma_f16(a[1], b[1], c[1])]
    }
    "v_pk_add_u16", |a: PkU16, b: PkU16| -> PkU16 { each(a, b, u16::wrapping_add) }
    "v_pk_add_i16", |a: PkI16, b: PkI16| -> PkI16 { each(a, b, i16::wrapping_add) }
    "v_pk_add_u16:clamp", |a: PkU16, b: PkU16| -> PkU16 { each(a, b, u16::saturating_add) }
    "v_pk_add_i16:clamp", |a: PkI16, b: PkI16| -> PkI16 { each(a, b, i16::saturating_add) }
    "v_pk_sub_u16", |a: PkU16, b: PkU16| -> PkU16 { each(a, b, u16::wrapping_sub) }
    "v_pk_sub_i16", |a: PkI16, b: PkI16| -> PkI16 { each(a, b, i16::wrapping_sub) }
    "v_pk_sub_u16:clamp", |a: PkU16, b: PkU16| -> PkU16 { each(a, b, u16::saturating_sub) }
    "v_pk_sub_i16:clamp", |a: PkI16, b: PkI16| -> PkI16 { each(a, b, i16::saturating_sub) }
    "v_pk_mul_lo_u16", |a: PkU16, b: PkU16| -> PkU16 { each(a, b, u16::wrapping_mul) }
    "v_pk_mad_u16", |a: PkU16, b: PkU16, c: PkU16| -> PkU16 {
        each(each(a, b, u16::wrapping_mul), c, u16::wrapping_add)
    }
    "v_pk_mad_i16", |a: PkI16, b: PkI16, c: PkI16| -> PkI16 {
        each(each(a, b, i16::wrapping_mul), c, i16::wrapping_add)
    }
    "v_pk_min_u16", |a: PkU16, b: PkU16| -> PkU16 { each(a, b, u16::min) }
    "v_pk_max_u16", |a: PkU16, b: PkU16| -> PkU16 { each(a, b, u16::max) }
    "v_pk_min_i16", |a: PkI16, b: PkI16| -> PkI16 { each(a, b, i16::min) }
    "v_pk_max_i16", |a: PkI16, b: PkI16| -> PkI16 { each(a, b, i16::max) }
    "v_pk_lshlrev_b16", |a: PkU16, b: PkU16| -> PkU16 { each(a, b, |a, b| b << (a & 15)) }
    "v_pk_lshrrev_b16", |a: PkU16, b: PkU16| -> PkU16 { each(a, b, |a, b| b >> (a & 15)) }
    "v_pk_ashrrev_i16", |a: PkU16, b: PkI16| -> PkI16 { [b[0] >> (a[0] & 15), b[1] >> (a[1] & 15)] }
    // Dot products of halves: products are exact in f32; sums are f32 in order.
    "v_dot2_f32_f16", |a: PkF16, b: PkF16, c: F32| -> F32 { a[1].mul_add(b[1], a[0].mul_add(b[0], c)) }
    [Accumulate] "v_dot2c_f32_f16" | "v_dot2acc_f32_f16", |a: PkF16, b: PkF16, c: F32| -> F32 {
        a[1].mul_add(b[1], a[0].mul_add(b[0], c))
    }
    "v_dot2_i32_i16", |a: PkI16, b: PkI16, c: I32| -> I32 {
        c.wrapping_add(i32::from(a[0]) * i32::from(b[0])).wrapping_add(i32::from(a[1]) * i32::from(b[1]))
    }
    "v_dot2_u32_u16", |a: PkU16, b: PkU16, c: U32| -> U32 {
        c.wrapping_add(u32::from(a[0]) * u32::from(b[0])).wrapping_add(u32::from(a[1]) * u32::from(b[1]))
    }
    "v_dot8_i32_i4", |a: U32, b: U32, c: I32| -> I32 {
        (0..8).fold(c, |sum, i| sum.wrapping_add(nibble(a, i, true) * nibble(b, i, true)))
    }
    "v_dot8_u32_u4", |a: U32, b: U32, c: I32| -> I32 {
        (0..8).fold(c, |sum, i| sum.wrapping_add(nibble(a, i, false) * nibble(b, i, false)))
    }
    "v_sad_hi_u8", |a: U32, b: U32, c: U32| -> U32 {
        let (a, b) = (u8s(a), u8s(b));
        (0..4).fold(0u32, |sum, i| sum + a[i].abs_diff(b[i])).wrapping_shl(16).wrapping_add(c)
    }
}
