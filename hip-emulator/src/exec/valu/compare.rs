//! Comparisons: every relation of every type.

// The relations are written as AMD defines them: "not less than" is true for NaNs, "less or greater"
// is not "not equal".
#![allow(clippy::neg_cmp_op_on_partial_ord, clippy::double_comparisons)]

use super::transcendental::{in_class_f16, in_class_f32, in_class_f64};
use super::*;

/// The sixteen relations of a floating-point type. The negated ones are true for NaNs.
macro_rules! float_relations {
    ($table:ident, $t:ident, $($f:literal $lt:literal $eq:literal $le:literal $gt:literal $lg:literal $ge:literal
        $o:literal $u:literal $nge:literal $nlg:literal $ngt:literal $nle:literal $neq:literal $nlt:literal
        $tru:literal $t_:literal),*) => {
        compares! { $table: $(
            $f, |_a: $t, _b: $t| { false }
            $lt, |a: $t, b: $t| { a < b }
            $eq, |a: $t, b: $t| { a == b }
            $le, |a: $t, b: $t| { a <= b }
            $gt, |a: $t, b: $t| { a > b }
            $lg, |a: $t, b: $t| { a < b || a > b }
            $ge, |a: $t, b: $t| { a >= b }
            $o, |a: $t, b: $t| { !a.is_nan() && !b.is_nan() }
            $u, |a: $t, b: $t| { a.is_nan() || b.is_nan() }
            $nge, |a: $t, b: $t| { !(a >= b) }
            $nlg, |a: $t, b: $t| { !(a < b || a > b) }
            $ngt, |a: $t, b: $t| { !(a > b) }
            $nle, |a: $t, b: $t| { !(a <= b) }
            $neq, |a: $t, b: $t| { a != b }
            $nlt, |a: $t, b: $t| { !(a < b) }
            $tru | $t_, |_a: $t, _b: $t| { true }
        )* }
    };
}

float_relations! { F32, F32,
    "v_cmp_f_f32" "v_cmp_lt_f32" "v_cmp_eq_f32" "v_cmp_le_f32" "v_cmp_gt_f32" "v_cmp_lg_f32" "v_cmp_ge_f32" "v_cmp_o_f32" "v_cmp_u_f32" "v_cmp_nge_f32" "v_cmp_nlg_f32" "v_cmp_ngt_f32" "v_cmp_nle_f32" "v_cmp_neq_f32" "v_cmp_nlt_f32" "v_cmp_tru_f32" "v_cmp_t_f32"
}
float_relations! { F64, F64,
    "v_cmp_f_f64" "v_cmp_lt_f64" "v_cmp_eq_f64" "v_cmp_le_f64" "v_cmp_gt_f64" "v_cmp_lg_f64" "v_cmp_ge_f64" "v_cmp_o_f64" "v_cmp_u_f64" "v_cmp_nge_f64" "v_cmp_nlg_f64" "v_cmp_ngt_f64" "v_cmp_nle_f64" "v_cmp_neq_f64" "v_cmp_nlt_f64" "v_cmp_tru_f64" "v_cmp_t_f64"
}
float_relations! { F16, F16,
    "v_cmp_f_f16" "v_cmp_lt_f16" "v_cmp_eq_f16" "v_cmp_le_f16" "v_cmp_gt_f16" "v_cmp_lg_f16" "v_cmp_ge_f16" "v_cmp_o_f16" "v_cmp_u_f16" "v_cmp_nge_f16" "v_cmp_nlg_f16" "v_cmp_ngt_f16" "v_cmp_nle_f16" "v_cmp_neq_f16" "v_cmp_nlt_f16" "v_cmp_tru_f16" "v_cmp_t_f16"
}

/// The eight relations of integer types.
macro_rules! integer_relations {
    ($table:ident: $($t:ident $f:literal $lt:literal $eq:literal $le:literal $gt:literal $ne:literal $ge:literal
        $true_:literal)*) => {
        compares! { $table: $(
            $f, |_a: $t, _b: $t| { false }
            $lt, |a: $t, b: $t| { a < b }
            $eq, |a: $t, b: $t| { a == b }
            $le, |a: $t, b: $t| { a <= b }
            $gt, |a: $t, b: $t| { a > b }
            $ne, |a: $t, b: $t| { a != b }
            $ge, |a: $t, b: $t| { a >= b }
            $true_, |_a: $t, _b: $t| { true }
        )* }
    };
}

integer_relations! { INTEGERS:
    U16 "v_cmp_f_u16" "v_cmp_lt_u16" "v_cmp_eq_u16" "v_cmp_le_u16" "v_cmp_gt_u16" "v_cmp_ne_u16" "v_cmp_ge_u16" "v_cmp_t_u16"
    I16 "v_cmp_f_i16" "v_cmp_lt_i16" "v_cmp_eq_i16" "v_cmp_le_i16" "v_cmp_gt_i16" "v_cmp_ne_i16" "v_cmp_ge_i16" "v_cmp_t_i16"
    U32 "v_cmp_f_u32" "v_cmp_lt_u32" "v_cmp_eq_u32" "v_cmp_le_u32" "v_cmp_gt_u32" "v_cmp_ne_u32" "v_cmp_ge_u32" "v_cmp_t_u32"
    I32 "v_cmp_f_i32" "v_cmp_lt_i32" "v_cmp_eq_i32" "v_cmp_le_i32" "v_cmp_gt_i32" "v_cmp_ne_i32" "v_cmp_ge_i32" "v_cmp_t_i32"
    U64 "v_cmp_f_u64" "v_cmp_lt_u64" "v_cmp_eq_u64" "v_cmp_le_u64" "v_cmp_gt_u64" "v_cmp_ne_u64" "v_cmp_ge_u64" "v_cmp_t_u64"
    I64 "v_cmp_f_i64" "v_cmp_lt_i64" "v_cmp_eq_i64" "v_cmp_le_i64" "v_cmp_gt_i64" "v_cmp_ne_i64" "v_cmp_ge_i64" "v_cmp_t_i64"
}

compares! { CLASSES:
    "v_cmp_class_f32", |a: F32, b: U32| { in_class_f32(a, b) }
    "v_cmp_class_f64", |a: F64, b: U32| { in_class_f64(a, b) }
    "v_cmp_class_f16", |a: U16, b: U32| { in_class_f16(a, b) }
}
