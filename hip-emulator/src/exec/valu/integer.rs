//! 32-bit and 64-bit integer and bit operations.

use super::*;

#[inline(always)]
fn u24(v: u32) -> u64 {
    u64::from(v & 0xff_ffff)
}

#[inline(always)]
fn i24(v: u32) -> i64 {
    i64::from(((v << 8) as i32) >> 8)
}

/// Signed bytes of a word.
#[inline(always)]
pub fn i8s(v: u32) -> [i32; 4] {
    [
        i32::from(v as i8),
        i32::from((v >> 8) as i8),
        i32::from((v >> 16) as i8),
        i32::from((v >> 24) as i8),
    ]
}

/// Unsigned bytes of a word.
#[inline(always)]
pub fn u8s(v: u32) -> [u32; 4] {
    [v & 0xff, v >> 8 & 0xff, v >> 16 & 0xff, v >> 24]
}

#[inline(always)]
pub fn dot4_i8(a: u32, b: u32) -> i32 {
    let (a, b) = (i8s(a), i8s(b));
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3]
}

/// One byte of the eight in {a, b}, or a constant, as `v_perm_b32` selects.
#[inline(always)]
fn perm_byte(both: u64, selector: u32) -> u32 {
    let selector = selector & 0xff;
    let byte = (both >> (8 * (selector & 7))) as u32 & 0xff;
    // 8 to 11: the sign of bytes 1, 3, 5 and 7, as a byte.
    let sign_of = 2 * (selector & 3) + 1;
    let sign = if both >> (8 * sign_of + 7) & 1 != 0 {
        0xff
    } else {
        0
    };
    if selector >= 13 {
        0xff
    } else if selector == 12 {
        0
    } else if selector >= 8 {
        sign
    } else {
        byte
    }
}

#[inline(always)]
fn med3<T: Ord>(a: T, b: T, c: T) -> T {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if c < low {
        low
    } else if c > high {
        high
    } else {
        c
    }
}

lanes! { ROWS:
    "v_mov_b32" | "v_accvgpr_read_b32" | "v_accvgpr_write_b32" | "v_accvgpr_mov_b32", |a: B32| -> U32 { a }
    "v_mov_b64", |a: U64| -> U64 { a }
    "v_cndmask_b32", |a: B32, b: B32, c: Mask| -> U32 { if c { b } else { a } }
    "v_not_b32", |a: U32| -> U32 { !a }
    "v_and_b32", |a: U32, b: U32| -> U32 { a & b }
    "v_or_b32", |a: U32, b: U32| -> U32 { a | b }
    "v_xor_b32", |a: U32, b: U32| -> U32 { a ^ b }
    "v_xnor_b32", |a: U32, b: U32| -> U32 { !(a ^ b) }
    "v_and_or_b32", |a: U32, b: U32, c: U32| -> U32 { (a & b) | c }
    "v_or3_b32", |a: U32, b: U32, c: U32| -> U32 { a | b | c }
    "v_xor3_b32", |a: U32, b: U32, c: U32| -> U32 { a ^ b ^ c }
    "v_bfi_b32", |a: U32, b: U32, c: U32| -> U32 { (a & b) | (!a & c) }
    "v_bfm_b32", |a: U32, b: U32| -> U32 { ((1u32 << (a & 31)) - 1) << (b & 31) }
    "v_bfe_u32", |a: U32, b: U32, c: U32| -> U32 { (a >> (b & 31)) & ((1u32 << (c & 31)) - 1) }
    "v_bfe_i32", |a: I32, b: U32, c: U32| -> I32 {
        let width = c & 31;
        let field = (a >> (b & 31)) as u32 & ((1u32 << width) - 1);
        let sign = (1u32 << width) >> 1;
        ((field ^ sign).wrapping_sub(sign)) as i32
    }
    "v_bfrev_b32", |a: U32| -> U32 { a.reverse_bits() }
    "v_bcnt_u32_b32", |a: U32, b: U32| -> U32 { a.count_ones().wrapping_add(b) }
    "v_ffbh_u32" | "v_clz_i32_u32", |a: U32| -> U32 { if a == 0 { u32::MAX } else { a.leading_zeros() } }
    "v_ffbl_b32" | "v_ctz_i32_b32", |a: U32| -> U32 { if a == 0 { u32::MAX } else { a.trailing_zeros() } }
    "v_ffbh_i32" | "v_cls_i32", |a: I32| -> U32 {
        let folded = (a ^ (a >> 31)) as u32;
        if folded == 0 { u32::MAX } else { folded.leading_zeros() }
    }
    "v_lshlrev_b32", |a: U32, b: U32| -> U32 { b << (a & 31) }
    "v_lshrrev_b32", |a: U32, b: U32| -> U32 { b >> (a & 31) }
    "v_ashrrev_i32", |a: U32, b: I32| -> I32 { b >> (a & 31) }
    "v_lshlrev_b64", |a: U32, b: U64| -> U64 { b << (a & 63) }
    "v_lshrrev_b64", |a: U32, b: U64| -> U64 { b >> (a & 63) }
    "v_ashrrev_i64", |a: U32, b: I64| -> I64 { b >> (a & 63) }
    "v_lshl_add_u32", |a: U32, b: U32, c: U32| -> U32 { (a << (b & 31)).wrapping_add(c) }
    "v_lshl_add_u64", |a: U64, b: U32, c: U64| -> U64 { (a << (b & 7)).wrapping_add(c) }
    "v_add_lshl_u32", |a: U32, b: U32, c: U32| -> U32 { a.wrapping_add(b) << (c & 31) }
    "v_lshl_or_b32", |a: U32, b: U32, c: U32| -> U32 { (a << (b & 31)) | c }
    "v_xad_u32", |a: U32, b: U32, c: U32| -> U32 { (a ^ b).wrapping_add(c) }
    "v_add_u32" | "v_add_nc_u32", |a: U32, b: U32| -> U32 { a.wrapping_add(b) }
    "v_add_u32:clamp" | "v_add_nc_u32:clamp", |a: U32, b: U32| -> U32 { a.saturating_add(b) }
    "v_sub_u32" | "v_sub_nc_u32", |a: U32, b: U32| -> U32 { a.wrapping_sub(b) }
    "v_sub_u32:clamp" | "v_sub_nc_u32:clamp", |a: U32, b: U32| -> U32 { a.saturating_sub(b) }
    "v_subrev_u32" | "v_subrev_nc_u32", |a: U32, b: U32| -> U32 { b.wrapping_sub(a) }
    "v_subrev_u32:clamp" | "v_subrev_nc_u32:clamp", |a: U32, b: U32| -> U32 { b.saturating_sub(a) }
    "v_add_i32" | "v_add_nc_i32", |a: I32, b: I32| -> I32 { a.wrapping_add(b) }
    "v_add_i32:clamp" | "v_add_nc_i32:clamp", |a: I32, b: I32| -> I32 { a.saturating_add(b) }
    "v_sub_i32" | "v_sub_nc_i32", |a: I32, b: I32| -> I32 { a.wrapping_sub(b) }
    "v_sub_i32:clamp" | "v_sub_nc_i32:clamp", |a: I32, b: I32| -> I32 { a.saturating_sub(b) }
    "v_add3_u32", |a: U32, b: U32, c: U32| -> U32 { a.wrapping_add(b).wrapping_add(c) }
    "v_mul_lo_u32", |a: U32, b: U32| -> U32 { a.wrapping_mul(b) }
    "v_mul_hi_u32", |a: U32, b: U32| -> U32 { ((u64::from(a) * u64::from(b)) >> 32) as u32 }
    "v_mul_hi_i32", |a: I32, b: I32| -> I32 { ((i64::from(a) * i64::from(b)) >> 32) as i32 }
    "v_mul_u32_u24", |a: U32, b: U32| -> U32 { (u24(a) * u24(b)) as u32 }
    "v_mul_hi_u32_u24", |a: U32, b: U32| -> U32 { ((u24(a) * u24(b)) >> 32) as u32 }
    "v_mul_i32_i24", |a: U32, b: U32| -> U32 { (i24(a) * i24(b)) as u32 }
    "v_mul_hi_i32_i24", |a: U32, b: U32| -> U32 { ((i24(a) * i24(b)) >> 32) as u32 }
    "v_mad_u32_u24", |a: U32, b: U32, c: U32| -> U32 { ((u24(a) * u24(b)) as u32).wrapping_add(c) }
    "v_mad_i32_i24", |a: U32, b: U32, c: U32| -> U32 { ((i24(a) * i24(b)) as u32).wrapping_add(c) }
    "v_min_u32", |a: U32, b: U32| -> U32 { a.min(b) }
    "v_max_u32", |a: U32, b: U32| -> U32 { a.max(b) }
    "v_min_i32", |a: I32, b: I32| -> I32 { a.min(b) }
    "v_max_i32", |a: I32, b: I32| -> I32 { a.max(b) }
    "v_min3_u32", |a: U32, b: U32, c: U32| -> U32 { a.min(b).min(c) }
    "v_max3_u32", |a: U32, b: U32, c: U32| -> U32 { a.max(b).max(c) }
    "v_min3_i32", |a: I32, b: I32, c: I32| -> I32 { a.min(b).min(c) }
    "v_max3_i32", |a: I32, b: I32, c: I32| -> I32 { a.max(b).max(c) }
    "v_maxmin_u32", |a: U32, b: U32, c: U32| -> U32 { a.max(b).min(c) }
    "v_minmax_u32", |a: U32, b: U32, c: U32| -> U32 { a.min(b).max(c) }
    "v_maxmin_i32", |a: I32, b: I32, c: I32| -> I32 { a.max(b).min(c) }
    "v_minmax_i32", |a: I32, b: I32, c: I32| -> I32 { a.min(b).max(c) }
    "v_med3_u32", |a: U32, b: U32, c: U32| -> U32 { med3(a, b, c) }
    "v_med3_i32", |a: I32, b: I32, c: I32| -> I32 { med3(a, b, c) }
    "v_alignbit_b32", |a: U32, b: U32, c: U32| -> U32 {
        ((u64::from(a) << 32 | u64::from(b)) >> (c & 31)) as u32
    }
    "v_alignbyte_b32", |a: U32, b: U32, c: U32| -> U32 {
        ((u64::from(a) << 32 | u64::from(b)) >> (8 * (c & 3))) as u32
    }
    "v_perm_b32", |a: U32, b: U32, c: U32| -> U32 {
        let both = u64::from(a) << 32 | u64::from(b);
        perm_byte(both, c) | perm_byte(both, c >> 8) << 8 | perm_byte(both, c >> 16) << 16
            | perm_byte(both, c >> 24) << 24
    }
    "v_sad_u8", |a: U32, b: U32, c: U32| -> U32 {
        let (a, b) = (u8s(a), u8s(b));
        (0..4).fold(c, |sum, i| sum.wrapping_add(a[i].abs_diff(b[i])))
    }
    "v_sad_u32", |a: U32, b: U32, c: U32| -> U32 { a.abs_diff(b).wrapping_add(c) }
    [Accumulate] "v_dot4c_i32_i8", |a: U32, b: U32, c: I32| -> I32 { dot4_i8(a, b).wrapping_add(c) }
    "v_dot4_i32_i8", |a: U32, b: U32, c: I32| -> I32 { dot4_i8(a, b).wrapping_add(c) }
    "v_dot4_i32_i8:clamp", |a: U32, b: U32, c: I32| -> I32 { dot4_i8(a, b).saturating_add(c) }
    "v_dot4_u32_u8", |a: U32, b: U32, c: U32| -> U32 {
        let (a, b) = (u8s(a), u8s(b));
        (0..4).fold(c, |sum, i| sum.wrapping_add(a[i] * b[i]))
    }
    // v_dot4_i32_iu8 by the signedness of its operands, which its neg modifiers give.
    "v_dot4_i32_iu8:ss", |a: U32, b: U32, c: I32| -> I32 { dot4_i8(a, b).wrapping_add(c) }
    "v_dot4_i32_iu8:us", |a: U32, b: U32, c: I32| -> I32 {
        let (a, b) = (u8s(a), i8s(b));
        (0..4).fold(c, |sum, i| sum.wrapping_add(a[i] as i32 * b[i]))
    }
    "v_dot4_i32_iu8:su", |a: U32, b: U32, c: I32| -> I32 {
        let (a, b) = (i8s(a), u8s(b));
        (0..4).fold(c, |sum, i| sum.wrapping_add(a[i] * b[i] as i32))
    }
    "v_dot4_i32_iu8:uu", |a: U32, b: U32, c: I32| -> I32 {
        let (a, b) = (u8s(a), u8s(b));
        (0..4).fold(c, |sum, i| sum.wrapping_add((a[i] * b[i]) as i32))
    }
    "v_dot4_i32_iu8:ss:clamp", |a: U32, b: U32, c: I32| -> I32 { dot4_i8(a, b).saturating_add(c) }
}
