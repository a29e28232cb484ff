//! 16-bit integer operations. On gfx9 the instructions that also exist there in a 32-bit encoding
//! clear the high half of the destination; lowering takes care of that, and `KeepHalf` names the
//! ones that never do: those of which gfx9 has a `_legacy_` twin that does (v_mad_u16, v_fma_f16, v_div_fixup_f16 …). So LLVM
//! has it, which leaves the clearing to them: `GCNSubtarget::zeroesHigh16BitsOfDest`, "mostly derived from experimentation".

use super::*;

lanes! { ROWS:
    "v_add_u16" | "v_add_nc_u16", |a: U16, b: U16| -> U16 { a.wrapping_add(b) }
    "v_add_u16:clamp" | "v_add_nc_u16:clamp", |a: U16, b: U16| -> U16 { a.saturating_add(b) }
    "v_sub_u16" | "v_sub_nc_u16", |a: U16, b: U16| -> U16 { a.wrapping_sub(b) }
    "v_sub_u16:clamp" | "v_sub_nc_u16:clamp", |a: U16, b: U16| -> U16 { a.saturating_sub(b) }
    "v_subrev_u16", |a: U16, b: U16| -> U16 { b.wrapping_sub(a) }
    [KeepHalf] "v_add_i16" | "v_add_nc_i16", |a: I16, b: I16| -> I16 { a.wrapping_add(b) }
    [KeepHalf] "v_add_i16:clamp" | "v_add_nc_i16:clamp", |a: I16, b: I16| -> I16 { a.saturating_add(b) }
    [KeepHalf] "v_sub_i16" | "v_sub_nc_i16", |a: I16, b: I16| -> I16 { a.wrapping_sub(b) }
    [KeepHalf] "v_sub_i16:clamp" | "v_sub_nc_i16:clamp", |a: I16, b: I16| -> I16 { a.saturating_sub(b) }
    "v_mul_lo_u16", |a: U16, b: U16| -> U16 { a.wrapping_mul(b) }
    "v_mad_legacy_u16", |a: U16, b: U16, c: U16| -> U16 { a.wrapping_mul(b).wrapping_add(c) }
    "v_mad_legacy_i16", |a: I16, b: I16, c: I16| -> I16 { a.wrapping_mul(b).wrapping_add(c) }
    [KeepHalf] "v_mad_u16", |a: U16, b: U16, c: U16| -> U16 { a.wrapping_mul(b).wrapping_add(c) }
    [KeepHalf] "v_mad_i16", |a: I16, b: I16, c: I16| -> I16 { a.wrapping_mul(b).wrapping_add(c) }
    "v_mad_u32_u16", |a: U16, b: U16, c: U32| -> U32 { (u32::from(a) * u32::from(b)).wrapping_add(c) }
    "v_mad_i32_i16", |a: I16, b: I16, c: I32| -> I32 { (i32::from(a) * i32::from(b)).wrapping_add(c) }
    "v_lshlrev_b16", |a: U16, b: U16| -> U16 { b << (a & 15) }
    "v_lshrrev_b16", |a: U16, b: U16| -> U16 { b >> (a & 15) }
    "v_ashrrev_i16", |a: U16, b: I16| -> I16 { b >> (a & 15) }
    "v_min_u16", |a: U16, b: U16| -> U16 { a.min(b) }
    "v_max_u16", |a: U16, b: U16| -> U16 { a.max(b) }
    "v_min_i16", |a: I16, b: I16| -> I16 { a.min(b) }
    "v_max_i16", |a: I16, b: I16| -> I16 { a.max(b) }
    [KeepHalf] "v_min3_u16", |a: U16, b: U16, c: U16| -> U16 { a.min(b).min(c) }
    [KeepHalf] "v_max3_u16", |a: U16, b: U16, c: U16| -> U16 { a.max(b).max(c) }
    [KeepHalf] "v_min3_i16", |a: I16, b: I16, c: I16| -> I16 { a.min(b).min(c) }
    [KeepHalf] "v_max3_i16", |a: I16, b: I16, c: I16| -> I16 { a.max(b).max(c) }
    [KeepHalf] "v_mov_b16", |a: U16| -> U16 { a }
    [KeepHalf] "v_not_b16", |a: U16| -> U16 { !a }
    [KeepHalf] "v_and_b16", |a: U16, b: U16| -> U16 { a & b }
    [KeepHalf] "v_or_b16", |a: U16, b: U16| -> U16 { a | b }
    [KeepHalf] "v_xor_b16", |a: U16, b: U16| -> U16 { a ^ b }
    [KeepHalf] "v_cndmask_b16", |a: U16, b: U16, c: Mask| -> U16 { if c { b } else { a } }
}
