//! Reciprocals, roots, exponentials and the like. The hardware's results are within about one ulp;
//! these are computed in f64 and rounded once, so that they are at least as good. A comparison with
//! real hardware must allow for that ulp.

use super::*;
use crate::exec::float::{class_f16, class_f32, class_f64};
use std::f64::consts::TAU;

/// sin and cos take revolutions; beyond 256 the hardware's range ends in AMD's documents, but the
/// reduction here is exact for any f32.
#[inline(always)]
fn revolutions(a: f32) -> f64 {
    let a = f64::from(a);
    (a - a.floor()) * TAU
}

lanes! { ROWS:
    "v_rcp_f32" | "v_rcp_iflag_f32" | "v_s_rcp_f32", |a: F32| -> F32 { 1.0 / a }
    "v_rcp_f64", |a: F64| -> F64 { 1.0 / a }
    "v_rcp_f16", |a: F16| -> F16 { 1.0 / a }
    "v_rsq_f32" | "v_s_rsq_f32", |a: F32| -> F32 { (1.0 / f64::from(a).sqrt()) as f32 }
    "v_rsq_f64", |a: F64| -> F64 { 1.0 / a.sqrt() }
    "v_rsq_f16", |a: F16| -> F16 { (1.0 / f64::from(a).sqrt()) as f32 }
    "v_sqrt_f32" | "v_s_sqrt_f32", |a: F32| -> F32 { a.sqrt() }
    "v_sqrt_f64", |a: F64| -> F64 { a.sqrt() }
    "v_sqrt_f16", |a: F16| -> F16 { a.sqrt() }
    "v_exp_f32" | "v_s_exp_f32", |a: F32| -> F32 { f64::from(a).exp2() as f32 }
    "v_exp_f16", |a: F16| -> F16 { f64::from(a).exp2() as f32 }
    "v_log_f32" | "v_s_log_f32", |a: F32| -> F32 { f64::from(a).log2() as f32 }
    "v_log_f16", |a: F16| -> F16 { f64::from(a).log2() as f32 }
    "v_sin_f32", |a: F32| -> F32 { revolutions(a).sin() as f32 }
    "v_cos_f32", |a: F32| -> F32 { revolutions(a).cos() as f32 }
    "v_sin_f16", |a: F16| -> F16 { revolutions(a).sin() as f32 }
    "v_cos_f16", |a: F16| -> F16 { revolutions(a).cos() as f32 }
}

/// `v_cmp_class`: whether the value is in one of the classes of a mask.
pub fn in_class_f32(a: f32, mask: u32) -> bool {
    class_f32(a) & mask != 0
}
pub fn in_class_f64(a: f64, mask: u32) -> bool {
    class_f64(a) & mask != 0
}
pub fn in_class_f16(a: u16, mask: u32) -> bool {
    class_f16(a) & mask != 0
}
