//! Conversions. Float to integer truncates, saturates, and takes a NaN to zero, as Rust's `as` does.

use super::*;
use crate::exec::float::pack_toward_zero;

#[inline(always)]
fn snorm16(v: f32) -> u32 {
    u32::from((v.clamp(-1.0, 1.0) * 32767.0).round_ties_even() as i16 as u16)
}

#[inline(always)]
fn unorm16(v: f32) -> u32 {
    u32::from((v.clamp(0.0, 1.0) * 65535.0).round_ties_even() as u16)
}

lanes! { ROWS:
    "v_cvt_f32_i32", |a: I32| -> F32 { a as f32 }
    "v_cvt_f32_u32", |a: U32| -> F32 { a as f32 }
    "v_cvt_i32_f32", |a: F32| -> I32 { a as i32 }
    "v_cvt_u32_f32", |a: F32| -> U32 { a as u32 }
    "v_cvt_f32_f16", |a: F16| -> F32 { a }
    "v_cvt_f16_f32", |a: F32| -> F16 { a }
    "v_cvt_f32_f64", |a: F64| -> F32 { a as f32 }
    "v_cvt_f64_f32", |a: F32| -> F64 { f64::from(a) }
    "v_cvt_f64_i32", |a: I32| -> F64 { f64::from(a) }
    "v_cvt_f64_u32", |a: U32| -> F64 { f64::from(a) }
    "v_cvt_i32_f64", |a: F64| -> I32 { a as i32 }
    "v_cvt_u32_f64", |a: F64| -> U32 { a as u32 }
    "v_cvt_f16_u16", |a: U16| -> F16 { f32::from(a) }
    "v_cvt_f16_i16", |a: I16| -> F16 { f32::from(a) }
    "v_cvt_u16_f16", |a: F16| -> U16 { a as u16 }
    "v_cvt_i16_f16", |a: F16| -> I16 { a as i16 }
    "v_cvt_i32_i16", |a: I16| -> I32 { i32::from(a) }
    "v_cvt_u32_u16", |a: U16| -> U32 { u32::from(a) }
    "v_cvt_f32_ubyte0", |a: U32| -> F32 { (a & 0xff) as f32 }
    "v_cvt_f32_ubyte1", |a: U32| -> F32 { (a >> 8 & 0xff) as f32 }
    "v_cvt_f32_ubyte2", |a: U32| -> F32 { (a >> 16 & 0xff) as f32 }
    "v_cvt_f32_ubyte3", |a: U32| -> F32 { (a >> 24) as f32 }
    "v_cvt_rpi_i32_f32" | "v_cvt_nearest_i32_f32", |a: F32| -> I32 { (f64::from(a) + 0.5).floor() as i32 }
    "v_cvt_flr_i32_f32" | "v_cvt_floor_i32_f32", |a: F32| -> I32 { a.floor() as i32 }
    "v_cvt_pkrtz_f16_f32" | "v_cvt_pk_rtz_f16_f32", |a: F32, b: F32| -> U32 {
        pack_toward_zero(a, b)
    }
    "v_cvt_pk_u16_u32", |a: U32, b: U32| -> U32 { a.min(0xffff) | b.min(0xffff) << 16 }
    "v_cvt_pk_i16_i32", |a: I32, b: I32| -> U32 {
        (a.clamp(-32768, 32767) as u32 & 0xffff) | (b.clamp(-32768, 32767) as u32) << 16
    }
    "v_cvt_pk_u8_f32", |a: F32, b: U32, c: U32| -> U32 {
        let shift = (b & 3) * 8;
        (c & !(0xff << shift)) | u32::from(a as u8) << shift
    }
    "v_cvt_pknorm_i16_f32" | "v_cvt_pk_norm_i16_f32", |a: F32, b: F32| -> U32 { snorm16(a) | snorm16(b) << 16 }
    "v_cvt_pknorm_u16_f32" | "v_cvt_pk_norm_u16_f32", |a: F32, b: F32| -> U32 { unorm16(a) | unorm16(b) << 16 }
}

#[cfg(test)]
mod tests {
    use crate::exec::float::f16_toward_zero;

    #[test]
    fn halves_toward_zero_never_grow() {
        for value in [
            0.1f32, 1.0, 65519.0, 65520.0, 1e30, 3e-8, 5.96e-8, -0.1, -65530.0, 2049.0, 2051.0,
        ] {
            let got = ::half::f16::from_bits(f16_toward_zero(value) as u16).to_f32();
            let next = ::half::f16::from_bits(f16_toward_zero(value) as u16 + 1).to_f32();
            assert!(
                got.abs() <= value.abs() && next.abs() > value.abs(),
                "{value}: {got}"
            );
        }
    }
}
