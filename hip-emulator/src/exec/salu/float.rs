//! Floating-point operations of scalars, which gfx12 has (and gfx1150 on). None but comparisons writes SCC.

// The relations are written as AMD defines them: "not less than" is true for NaNs.
#![allow(clippy::neg_cmp_op_on_partial_ord, clippy::double_comparisons)]

use super::*;
use crate::exec::float::{fma_f16, max_f32, maximum_f32, min_f32, minimum_f32, pack_toward_zero};

rows! { ROWS:
    "s_add_f32", |a: F32, b: F32; _s, _o| -> F32, keep { (a + b, ()) }
    "s_sub_f32", |a: F32, b: F32; _s, _o| -> F32, keep { (a - b, ()) }
    "s_mul_f32", |a: F32, b: F32; _s, _o| -> F32, keep { (a * b, ()) }
    "s_fmac_f32", |a: F32, b: F32; _s, o| -> F32, keep { (a.mul_add(b, o), ()) }
    "s_min_f32" | "s_min_num_f32", |a: F32, b: F32; _s, _o| -> F32, keep { (min_f32(a, b), ()) }
    "s_max_f32" | "s_max_num_f32", |a: F32, b: F32; _s, _o| -> F32, keep { (max_f32(a, b), ()) }
    "s_minimum_f32", |a: F32, b: F32; _s, _o| -> F32, keep { (minimum_f32(a, b), ()) }
    "s_maximum_f32", |a: F32, b: F32; _s, _o| -> F32, keep { (maximum_f32(a, b), ()) }
    "s_ceil_f32", |a: F32; _s, _o| -> F32, keep { (a.ceil(), ()) }
    "s_floor_f32", |a: F32; _s, _o| -> F32, keep { (a.floor(), ()) }
    "s_trunc_f32", |a: F32; _s, _o| -> F32, keep { (a.trunc(), ()) }
    "s_rndne_f32", |a: F32; _s, _o| -> F32, keep { (a.round_ties_even(), ()) }
    "s_cvt_f32_i32", |a: I32; _s, _o| -> F32, keep { (a as f32, ()) }
    "s_cvt_f32_u32", |a: U32; _s, _o| -> F32, keep { (a as f32, ()) }
    "s_cvt_i32_f32", |a: F32; _s, _o| -> I32, keep { (a as i32, ()) }
    "s_cvt_u32_f32", |a: F32; _s, _o| -> U32, keep { (a as u32, ()) }
    // AMD's pseudocode is `D0.f16 = …`; what becomes of the upper half is not said. Here it is cleared.
    "s_cvt_f16_f32", |a: F32; _s, _o| -> F16, keep { (a, ()) }
    "s_cvt_f32_f16", |a: F16; _s, _o| -> F32, keep { (a, ()) }
    "s_cvt_hi_f32_f16", |a: U32; _s, _o| -> F32, keep { (f16_to_f32(a >> 16), ()) }
    "s_cvt_pk_rtz_f16_f32", |a: F32, b: F32; _s, _o| -> U32, keep { (pack_toward_zero(a, b), ()) }
    "s_add_f16", |a: F16, b: F16; _s, _o| -> F16, keep { (a + b, ()) }
    "s_sub_f16", |a: F16, b: F16; _s, _o| -> F16, keep { (a - b, ()) }
    "s_mul_f16", |a: F16, b: F16; _s, _o| -> F16, keep { (a * b, ()) }
    "s_fmac_f16", |a: F16, b: F16; _s, o| -> F16, keep { (fma_f16(a, b, o), ()) }
    "s_min_f16" | "s_min_num_f16", |a: F16, b: F16; _s, _o| -> F16, keep { (min_f32(a, b), ()) }
    "s_max_f16" | "s_max_num_f16", |a: F16, b: F16; _s, _o| -> F16, keep { (max_f32(a, b), ()) }
    "s_minimum_f16", |a: F16, b: F16; _s, _o| -> F16, keep { (minimum_f32(a, b), ()) }
    "s_maximum_f16", |a: F16, b: F16; _s, _o| -> F16, keep { (maximum_f32(a, b), ()) }
    "s_ceil_f16", |a: F16; _s, _o| -> F16, keep { (a.ceil(), ()) }
    "s_floor_f16", |a: F16; _s, _o| -> F16, keep { (a.floor(), ()) }
    "s_trunc_f16", |a: F16; _s, _o| -> F16, keep { (a.trunc(), ()) }
    "s_rndne_f16", |a: F16; _s, _o| -> F16, keep { (a.round_ties_even(), ()) }
    "s_cmp_lt_f32", |a: F32, b: F32; _s, _o| -> Nothing, scc { ((), a < b) }
    "s_cmp_eq_f32", |a: F32, b: F32; _s, _o| -> Nothing, scc { ((), a == b) }
    "s_cmp_le_f32", |a: F32, b: F32; _s, _o| -> Nothing, scc { ((), a <= b) }
    "s_cmp_gt_f32", |a: F32, b: F32; _s, _o| -> Nothing, scc { ((), a > b) }
    "s_cmp_lg_f32", |a: F32, b: F32; _s, _o| -> Nothing, scc { ((), a < b || a > b) }
    "s_cmp_ge_f32", |a: F32, b: F32; _s, _o| -> Nothing, scc { ((), a >= b) }
    "s_cmp_o_f32", |a: F32, b: F32; _s, _o| -> Nothing, scc { ((), !a.is_nan() && !b.is_nan()) }
    "s_cmp_u_f32", |a: F32, b: F32; _s, _o| -> Nothing, scc { ((), a.is_nan() || b.is_nan()) }
    "s_cmp_nge_f32", |a: F32, b: F32; _s, _o| -> Nothing, scc { ((), !(a >= b)) }
    "s_cmp_nlg_f32", |a: F32, b: F32; _s, _o| -> Nothing, scc { ((), !(a < b || a > b)) }
    "s_cmp_ngt_f32", |a: F32, b: F32; _s, _o| -> Nothing, scc { ((), !(a > b)) }
    "s_cmp_nle_f32", |a: F32, b: F32; _s, _o| -> Nothing, scc { ((), !(a <= b)) }
    "s_cmp_neq_f32", |a: F32, b: F32; _s, _o| -> Nothing, scc { ((), !(a == b)) }
    "s_cmp_nlt_f32", |a: F32, b: F32; _s, _o| -> Nothing, scc { ((), !(a < b)) }
    "s_cmp_lt_f16", |a: F16, b: F16; _s, _o| -> Nothing, scc { ((), a < b) }
    "s_cmp_eq_f16", |a: F16, b: F16; _s, _o| -> Nothing, scc { ((), a == b) }
    "s_cmp_le_f16", |a: F16, b: F16; _s, _o| -> Nothing, scc { ((), a <= b) }
    "s_cmp_gt_f16", |a: F16, b: F16; _s, _o| -> Nothing, scc { ((), a > b) }
    "s_cmp_lg_f16", |a: F16, b: F16; _s, _o| -> Nothing, scc { ((), a < b || a > b) }
    "s_cmp_ge_f16", |a: F16, b: F16; _s, _o| -> Nothing, scc { ((), a >= b) }
    "s_cmp_o_f16", |a: F16, b: F16; _s, _o| -> Nothing, scc { ((), !a.is_nan() && !b.is_nan()) }
    "s_cmp_u_f16", |a: F16, b: F16; _s, _o| -> Nothing, scc { ((), a.is_nan() || b.is_nan()) }
    "s_cmp_nge_f16", |a: F16, b: F16; _s, _o| -> Nothing, scc { ((), !(a >= b)) }
    "s_cmp_nlg_f16", |a: F16, b: F16; _s, _o| -> Nothing, scc { ((), !(a < b || a > b)) }
    "s_cmp_ngt_f16", |a: F16, b: F16; _s, _o| -> Nothing, scc { ((), !(a > b)) }
    "s_cmp_nle_f16", |a: F16, b: F16; _s, _o| -> Nothing, scc { ((), !(a <= b)) }
    "s_cmp_neq_f16", |a: F16, b: F16; _s, _o| -> Nothing, scc { ((), !(a == b)) }
    "s_cmp_nlt_f16", |a: F16, b: F16; _s, _o| -> Nothing, scc { ((), !(a < b)) }
}

/// s_fmamk_f32 and s_fmaak_f32: three sources, one of them a literal.
///
/// # Safety
/// See `Run`.
pub unsafe fn fused(wave: &mut Wave, op: &Op) {
    // SAFETY: slots were made by lowering.
    unsafe {
        let value = F32::load(wave, op.src[0])
            .mul_add(F32::load(wave, op.src[1]), F32::load(wave, op.src[2]));
        F32::store(wave, op.dst, value);
    }
}
