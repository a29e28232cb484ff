//! Scalar ALU instructions as rows of a table, like the vector ones.

use super::float::{f16_to_f32, f32_to_f16};
use super::program::{Op, Run};
use super::wave::Wave;
use crate::decode::slot;
use std::collections::HashMap;
use std::sync::OnceLock;

/// Width of a scalar operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    None,
    W32,
    W64,
}

/// A type of scalar operand.
pub trait Scalar {
    type V: Copy;
    const WIDTH: Width;
    /// 64-bit literals of this type are sign-extended.
    const SIGNED: bool;
    /// # Safety
    /// `slot` (and the next, for 64 bits) is within the scalar file.
    unsafe fn load(wave: &Wave, slot: u32) -> Self::V;
    /// # Safety
    /// As for `load`.
    unsafe fn store(wave: &mut Wave, slot: u32, value: Self::V);
}

macro_rules! scalars {
    ($($name:ident: $value:ty, $width:ident, $signed:literal,
        |$w:ident, $s:ident| $load:expr, |$ws:ident, $ss:ident, $v:ident| $store:expr;)*) => {$(
        pub struct $name;
        impl Scalar for $name {
            type V = $value;
            const WIDTH: Width = Width::$width;
            const SIGNED: bool = $signed;
            // `Nothing` does nothing.
            #[allow(unused_unsafe)]
            #[inline(always)]
            unsafe fn load($w: &Wave, $s: u32) -> $value {
                // SAFETY: the caller's promise.
                unsafe { $load }
            }
            #[allow(unused_unsafe)]
            #[inline(always)]
            unsafe fn store($ws: &mut Wave, $ss: u32, $v: $value) {
                // SAFETY: the caller's promise.
                unsafe { $store }
            }
        }
    )*};
}

scalars! {
    Nothing: (), None, false, |_w, _s| (), |_w, _s, _v| ();
    U32: u32, W32, false, |w, s| w.scalar(s), |w, s, v| w.set_scalar(s, v);
    I32: i32, W32, true, |w, s| w.scalar(s) as i32, |w, s, v| w.set_scalar(s, v as u32);
    U64: u64, W64, false, |w, s| w.scalar64(s), |w, s, v| w.set_scalar64(s, v);
    F32: f32, W32, false, |w, s| f32::from_bits(w.scalar(s)), |w, s, v| w.set_scalar(s, v.to_bits());
    // Its value; a result clears the upper half.
    F16: f32, W32, false, |w, s| f16_to_f32(w.scalar(s)), |w, s, v| w.set_scalar(s, f32_to_f16(v));
    I64: i64, W64, true, |w, s| w.scalar64(s) as i64, |w, s, v| w.set_scalar64(s, v as u64);
}

/// What an operation does to SCC.
pub trait Status {
    fn set(self) -> Option<bool>;
}
impl Status for () {
    fn set(self) -> Option<bool> {
        None
    }
}
impl Status for bool {
    fn set(self) -> Option<bool> {
        Some(self)
    }
}

/// One scalar operation: the result and the new SCC, `()` for unchanged. `scc` is the old one.
pub trait Operation {
    type A: Scalar;
    type B: Scalar;
    type D: Scalar;
    type S: Status;
    fn at(
        a: <Self::A as Scalar>::V,
        b: <Self::B as Scalar>::V,
        scc: u32,
        old: <Self::D as Scalar>::V,
    ) -> (<Self::D as Scalar>::V, Self::S);
}

unsafe fn execute<K: Operation>(wave: &mut Wave, op: &Op) {
    // SAFETY: slots were made by lowering.
    unsafe {
        let a = K::A::load(wave, op.src[0]);
        let b = K::B::load(wave, op.src[1]);
        let scc = wave.scalar(u32::from(slot::SCC));
        let old = K::D::load(wave, op.dst);
        let (value, status) = K::at(a, b, scc, old);
        K::D::store(wave, op.dst, value);
        if let Some(bit) = status.set() {
            wave.set_scalar(u32::from(slot::SCC), u32::from(bit));
        }
    }
}

pub struct Row {
    pub names: &'static [&'static str],
    pub sources: [Width; 2],
    /// Of each source: how a literal is extended to 64 bits.
    pub signed: [bool; 2],
    pub dest: Width,
    pub run: Run,
}

/// The row of `name`.
pub fn find(name: &str) -> Option<&'static Row> {
    static MAP: OnceLock<HashMap<&'static str, &'static Row>> = OnceLock::new();
    MAP.get_or_init(|| {
        ROWS.iter()
            .chain(float::ROWS)
            .flat_map(|row| row.names.iter().map(move |name| (*name, row)))
            .collect()
    })
    .get(name)
    .copied()
}

macro_rules! status_type {
    (scc) => {
        bool
    };
    (keep) => {
        ()
    };
}

/// `"name" | "other", |a: U32, b: U32; scc, old| -> U32, scc { (value, bit) }`; `keep` and `()`
/// where SCC is not written.
macro_rules! rows {
    ($table:ident: $($($name:literal)|+, |$($a:ident: $A:ident $(, $b:ident: $B:ident)?)?; $scc:ident, $old:ident| -> $D:ident, $status:ident $body:block)*) => {
        pub static $table: &[Row] = &[$({
            struct K;
            impl Operation for K {
                type A = type_or_nothing!($($A)?);
                type B = type_or_nothing!($($($B)?)?);
                type D = $D;
                type S = status_type!($status);
                #[inline(always)]
                fn at(
                    name_or_none!($($a)?): <Self::A as Scalar>::V,
                    name_or_none!($($($b)?)?): <Self::B as Scalar>::V,
                    $scc: u32,
                    $old: <Self::D as Scalar>::V,
                ) -> (<Self::D as Scalar>::V, Self::S) $body
            }
            Row {
                names: &[$($name),+],
                sources: [<K as Operation>::A::WIDTH, <K as Operation>::B::WIDTH],
                signed: [<K as Operation>::A::SIGNED, <K as Operation>::B::SIGNED],
                dest: <K as Operation>::D::WIDTH,
                run: execute::<K>,
            }
        }),*];
    };
}
macro_rules! type_or_nothing {
    () => {
        Nothing
    };
    ($t:ident) => {
        $t
    };
}
macro_rules! name_or_none {
    () => {
        _
    };
    ($n:ident) => {
        $n
    };
}

#[inline(always)]
fn bfe_u(a: u64, control: u32, limit: u32) -> u64 {
    let (shift, width) = (control & (limit - 1), control >> 16 & 0x7f);
    let shifted = a >> shift;
    if width >= 64 {
        shifted
    } else {
        shifted & ((1u64 << width) - 1)
    }
}

#[inline(always)]
fn bfe_i(a: i64, control: u32, limit: u32) -> i64 {
    let (shift, width) = (control & (limit - 1), control >> 16 & 0x7f);
    if width == 0 {
        return 0;
    }
    let shifted = a >> shift;
    if width >= 64 {
        shifted
    } else {
        (shifted << (64 - width)) >> (64 - width)
    }
}

#[inline(always)]
fn first_or_minus_one(found: u32, limit: u32) -> u32 {
    if found >= limit {
        u32::MAX
    } else {
        found
    }
}

mod float;
pub use float::fused;

rows! { ROWS:
    "s_mov_b32" | "s_movk_i32", |a: U32; _s, _o| -> U32, keep { (a, ()) }
    "s_mov_b64", |a: U64; _s, _o| -> U64, keep { (a, ()) }
    "s_cmov_b32" | "s_cmovk_i32", |a: U32; s, o| -> U32, keep { (if s != 0 { a } else { o }, ()) }
    "s_cmov_b64", |a: U64; s, o| -> U64, keep { (if s != 0 { a } else { o }, ()) }
    "s_cselect_b32", |a: U32, b: U32; s, _o| -> U32, keep { (if s != 0 { a } else { b }, ()) }
    "s_cselect_b64", |a: U64, b: U64; s, _o| -> U64, keep { (if s != 0 { a } else { b }, ()) }
    "s_add_u32" | "s_add_co_u32", |a: U32, b: U32; _s, _o| -> U32, scc { a.overflowing_add(b) }
    "s_add_i32" | "s_addk_i32" | "s_add_co_i32" | "s_addk_co_i32", |a: I32, b: I32; _s, _o| -> I32, scc { a.overflowing_add(b) }
    "s_addc_u32" | "s_add_co_ci_u32", |a: U32, b: U32; s, _o| -> U32, scc {
        let sum = u64::from(a) + u64::from(b) + u64::from(s);
        (sum as u32, sum >> 32 != 0)
    }
    "s_sub_u32" | "s_sub_co_u32", |a: U32, b: U32; _s, _o| -> U32, scc { a.overflowing_sub(b) }
    "s_sub_i32" | "s_sub_co_i32", |a: I32, b: I32; _s, _o| -> I32, scc { a.overflowing_sub(b) }
    "s_subb_u32" | "s_sub_co_ci_u32", |a: U32, b: U32; s, _o| -> U32, scc {
        let difference = u64::from(a).wrapping_sub(u64::from(b)).wrapping_sub(u64::from(s));
        (difference as u32, difference >> 63 != 0)
    }
    "s_add_u64" | "s_add_nc_u64", |a: U64, b: U64; _s, _o| -> U64, keep { (a.wrapping_add(b), ()) }
    "s_sub_u64" | "s_sub_nc_u64", |a: U64, b: U64; _s, _o| -> U64, keep { (a.wrapping_sub(b), ()) }
    "s_mul_i32" | "s_mulk_i32", |a: U32, b: U32; _s, _o| -> U32, keep { (a.wrapping_mul(b), ()) }
    "s_mul_u64", |a: U64, b: U64; _s, _o| -> U64, keep { (a.wrapping_mul(b), ()) }
    "s_mul_hi_u32", |a: U32, b: U32; _s, _o| -> U32, keep { (((u64::from(a) * u64::from(b)) >> 32) as u32, ()) }
    "s_mul_hi_i32", |a: I32, b: I32; _s, _o| -> I32, keep { (((i64::from(a) * i64::from(b)) >> 32) as i32, ()) }
    "s_min_u32", |a: U32, b: U32; _s, _o| -> U32, scc { (a.min(b), a < b) }
    "s_max_u32", |a: U32, b: U32; _s, _o| -> U32, scc { (a.max(b), a >= b) }
    "s_min_i32", |a: I32, b: I32; _s, _o| -> I32, scc { (a.min(b), a < b) }
    "s_max_i32", |a: I32, b: I32; _s, _o| -> I32, scc { (a.max(b), a >= b) }
    "s_abs_i32", |a: I32; _s, _o| -> I32, scc { (a.wrapping_abs(), a != 0) }
    "s_absdiff_i32", |a: I32, b: I32; _s, _o| -> I32, scc {
        let difference = a.wrapping_sub(b).wrapping_abs();
        (difference, difference != 0)
    }
    "s_not_b32", |a: U32; _s, _o| -> U32, scc { (!a, !a != 0) }
    "s_not_b64", |a: U64; _s, _o| -> U64, scc { (!a, !a != 0) }
    "s_and_b32", |a: U32, b: U32; _s, _o| -> U32, scc { (a & b, a & b != 0) }
    "s_and_b64", |a: U64, b: U64; _s, _o| -> U64, scc { (a & b, a & b != 0) }
    "s_or_b32", |a: U32, b: U32; _s, _o| -> U32, scc { (a | b, a | b != 0) }
    "s_or_b64", |a: U64, b: U64; _s, _o| -> U64, scc { (a | b, a | b != 0) }
    "s_xor_b32", |a: U32, b: U32; _s, _o| -> U32, scc { (a ^ b, a ^ b != 0) }
    "s_xor_b64", |a: U64, b: U64; _s, _o| -> U64, scc { (a ^ b, a ^ b != 0) }
    "s_andn2_b32" | "s_and_not1_b32", |a: U32, b: U32; _s, _o| -> U32, scc { (a & !b, a & !b != 0) }
    "s_andn2_b64" | "s_and_not1_b64", |a: U64, b: U64; _s, _o| -> U64, scc { (a & !b, a & !b != 0) }
    "s_orn2_b32" | "s_or_not1_b32", |a: U32, b: U32; _s, _o| -> U32, scc { (a | !b, a | !b != 0) }
    "s_orn2_b64" | "s_or_not1_b64", |a: U64, b: U64; _s, _o| -> U64, scc { (a | !b, a | !b != 0) }
    "s_nand_b32", |a: U32, b: U32; _s, _o| -> U32, scc { (!(a & b), !(a & b) != 0) }
    "s_nand_b64", |a: U64, b: U64; _s, _o| -> U64, scc { (!(a & b), !(a & b) != 0) }
    "s_nor_b32", |a: U32, b: U32; _s, _o| -> U32, scc { (!(a | b), !(a | b) != 0) }
    "s_nor_b64", |a: U64, b: U64; _s, _o| -> U64, scc { (!(a | b), !(a | b) != 0) }
    "s_xnor_b32", |a: U32, b: U32; _s, _o| -> U32, scc { (!(a ^ b), !(a ^ b) != 0) }
    "s_xnor_b64", |a: U64, b: U64; _s, _o| -> U64, scc { (!(a ^ b), !(a ^ b) != 0) }
    "s_lshl_b32", |a: U32, b: U32; _s, _o| -> U32, scc { let v = a << (b & 31); (v, v != 0) }
    "s_lshl_b64", |a: U64, b: U32; _s, _o| -> U64, scc { let v = a << (b & 63); (v, v != 0) }
    "s_lshr_b32", |a: U32, b: U32; _s, _o| -> U32, scc { let v = a >> (b & 31); (v, v != 0) }
    "s_lshr_b64", |a: U64, b: U32; _s, _o| -> U64, scc { let v = a >> (b & 63); (v, v != 0) }
    "s_ashr_i32", |a: I32, b: U32; _s, _o| -> I32, scc { let v = a >> (b & 31); (v, v != 0) }
    "s_ashr_i64", |a: I64, b: U32; _s, _o| -> I64, scc { let v = a >> (b & 63); (v, v != 0) }
    "s_lshl1_add_u32", |a: U32, b: U32; _s, _o| -> U32, scc { shift_add(a, b, 1) }
    "s_lshl2_add_u32", |a: U32, b: U32; _s, _o| -> U32, scc { shift_add(a, b, 2) }
    "s_lshl3_add_u32", |a: U32, b: U32; _s, _o| -> U32, scc { shift_add(a, b, 3) }
    "s_lshl4_add_u32", |a: U32, b: U32; _s, _o| -> U32, scc { shift_add(a, b, 4) }
    "s_bfm_b32", |a: U32, b: U32; _s, _o| -> U32, keep { (((1u32 << (a & 31)) - 1) << (b & 31), ()) }
    "s_bfm_b64", |a: U32, b: U32; _s, _o| -> U64, keep { (((1u64 << (a & 63)) - 1) << (b & 63), ()) }
    "s_bfe_u32", |a: U32, b: U32; _s, _o| -> U32, scc { let v = bfe_u(u64::from(a), b, 32) as u32; (v, v != 0) }
    "s_bfe_u64", |a: U64, b: U32; _s, _o| -> U64, scc { let v = bfe_u(a, b, 64); (v, v != 0) }
    "s_bfe_i32", |a: I32, b: U32; _s, _o| -> I32, scc { let v = bfe_i(i64::from(a), b, 32) as i32; (v, v != 0) }
    "s_bfe_i64", |a: I64, b: U32; _s, _o| -> I64, scc { let v = bfe_i(a, b, 64); (v, v != 0) }
    "s_brev_b32", |a: U32; _s, _o| -> U32, keep { (a.reverse_bits(), ()) }
    "s_brev_b64", |a: U64; _s, _o| -> U64, keep { (a.reverse_bits(), ()) }
    "s_bcnt0_i32_b32", |a: U32; _s, _o| -> U32, scc { (a.count_zeros(), a.count_zeros() != 0) }
    "s_bcnt0_i32_b64", |a: U64; _s, _o| -> U32, scc { (a.count_zeros(), a.count_zeros() != 0) }
    "s_bcnt1_i32_b32", |a: U32; _s, _o| -> U32, scc { (a.count_ones(), a != 0) }
    "s_bcnt1_i32_b64", |a: U64; _s, _o| -> U32, scc { (a.count_ones(), a != 0) }
    "s_ff0_i32_b32", |a: U32; _s, _o| -> U32, keep { (first_or_minus_one(a.trailing_ones(), 32), ()) }
    "s_ff0_i32_b64", |a: U64; _s, _o| -> U32, keep { (first_or_minus_one(a.trailing_ones(), 64), ()) }
    "s_ff1_i32_b32" | "s_ctz_i32_b32", |a: U32; _s, _o| -> U32, keep { (first_or_minus_one(a.trailing_zeros(), 32), ()) }
    "s_ff1_i32_b64" | "s_ctz_i32_b64", |a: U64; _s, _o| -> U32, keep { (first_or_minus_one(a.trailing_zeros(), 64), ()) }
    "s_flbit_i32_b32" | "s_clz_i32_u32", |a: U32; _s, _o| -> U32, keep { (first_or_minus_one(a.leading_zeros(), 32), ()) }
    "s_flbit_i32_b64" | "s_clz_i32_u64", |a: U64; _s, _o| -> U32, keep { (first_or_minus_one(a.leading_zeros(), 64), ()) }
    "s_flbit_i32" | "s_cls_i32", |a: I32; _s, _o| -> U32, keep {
        (first_or_minus_one(((a ^ (a >> 31)) as u32).leading_zeros(), 32), ())
    }
    "s_flbit_i32_i64" | "s_cls_i32_i64", |a: I64; _s, _o| -> U32, keep {
        (first_or_minus_one(((a ^ (a >> 63)) as u64).leading_zeros(), 64), ())
    }
    "s_sext_i32_i8", |a: I32; _s, _o| -> I32, keep { (i32::from(a as i8), ()) }
    "s_sext_i32_i16", |a: I32; _s, _o| -> I32, keep { (i32::from(a as i16), ()) }
    "s_bitset0_b32", |a: U32; _s, o| -> U32, keep { (o & !(1 << (a & 31)), ()) }
    "s_bitset1_b32", |a: U32; _s, o| -> U32, keep { (o | 1 << (a & 31), ()) }
    "s_bitset0_b64", |a: U32; _s, o| -> U64, keep { (o & !(1 << (a & 63)), ()) }
    "s_bitset1_b64", |a: U32; _s, o| -> U64, keep { (o | 1 << (a & 63), ()) }
    "s_pack_ll_b32_b16", |a: U32, b: U32; _s, _o| -> U32, keep { (a & 0xffff | b << 16, ()) }
    "s_pack_lh_b32_b16", |a: U32, b: U32; _s, _o| -> U32, keep { (a & 0xffff | b & 0xffff_0000, ()) }
    "s_pack_hh_b32_b16", |a: U32, b: U32; _s, _o| -> U32, keep { (a >> 16 | b & 0xffff_0000, ()) }
    "s_pack_hl_b32_b16", |a: U32, b: U32; _s, _o| -> U32, keep { (a >> 16 | b << 16, ()) }
    "s_cmp_eq_u32" | "s_cmp_eq_i32" | "s_cmpk_eq_u32" | "s_cmpk_eq_i32", |a: U32, b: U32; _s, _o| -> Nothing, scc { ((), a == b) }
    "s_cmp_lg_u32" | "s_cmp_lg_i32" | "s_cmpk_lg_u32" | "s_cmpk_lg_i32", |a: U32, b: U32; _s, _o| -> Nothing, scc { ((), a != b) }
    "s_cmp_gt_u32" | "s_cmpk_gt_u32", |a: U32, b: U32; _s, _o| -> Nothing, scc { ((), a > b) }
    "s_cmp_ge_u32" | "s_cmpk_ge_u32", |a: U32, b: U32; _s, _o| -> Nothing, scc { ((), a >= b) }
    "s_cmp_lt_u32" | "s_cmpk_lt_u32", |a: U32, b: U32; _s, _o| -> Nothing, scc { ((), a < b) }
    "s_cmp_le_u32" | "s_cmpk_le_u32", |a: U32, b: U32; _s, _o| -> Nothing, scc { ((), a <= b) }
    "s_cmp_gt_i32" | "s_cmpk_gt_i32", |a: I32, b: I32; _s, _o| -> Nothing, scc { ((), a > b) }
    "s_cmp_ge_i32" | "s_cmpk_ge_i32", |a: I32, b: I32; _s, _o| -> Nothing, scc { ((), a >= b) }
    "s_cmp_lt_i32" | "s_cmpk_lt_i32", |a: I32, b: I32; _s, _o| -> Nothing, scc { ((), a < b) }
    "s_cmp_le_i32" | "s_cmpk_le_i32", |a: I32, b: I32; _s, _o| -> Nothing, scc { ((), a <= b) }
    "s_cmp_eq_u64", |a: U64, b: U64; _s, _o| -> Nothing, scc { ((), a == b) }
    "s_cmp_lg_u64", |a: U64, b: U64; _s, _o| -> Nothing, scc { ((), a != b) }
    "s_bitcmp0_b32", |a: U32, b: U32; _s, _o| -> Nothing, scc { ((), a >> (b & 31) & 1 == 0) }
    "s_bitcmp1_b32", |a: U32, b: U32; _s, _o| -> Nothing, scc { ((), a >> (b & 31) & 1 != 0) }
    "s_bitcmp0_b64", |a: U64, b: U32; _s, _o| -> Nothing, scc { ((), a >> (b & 63) & 1 == 0) }
    "s_bitcmp1_b64", |a: U64, b: U32; _s, _o| -> Nothing, scc { ((), a >> (b & 63) & 1 != 0) }
}

#[inline(always)]
fn shift_add(a: u32, b: u32, shift: u32) -> (u32, bool) {
    let sum = (u64::from(a) << shift) + u64::from(b);
    (sum as u32, sum >> 32 != 0)
}

/// The saveexec family: the destination gets the old EXEC (or the new one, for wrexec), EXEC the
/// combination of source and EXEC, SCC whether any lane is on.
pub struct ExecRow {
    pub names: &'static [&'static str],
    pub run: Run,
}

macro_rules! exec_rows {
    ($($name32:literal, $name64:literal $(, $other32:literal, $other64:literal)?: |$s:ident, $e:ident| $body:expr, $written:ident;)*) => {
        pub static EXEC_ROWS: &[ExecRow] = &[$({
            unsafe fn run(wave: &mut Wave, op: &Op) {
                // SAFETY: slots were made by lowering. A wave32's mask has 32 bits.
                unsafe {
                    let all = if wave.passes == 1 { u64::from(u32::MAX) } else { u64::MAX };
                    let old = wave.exec_mask();
                    let new = { let ($s, $e) = (wave.mask(op.src[0]), old); ($body) & all };
                    let saved = written!($written, old, new);
                    wave.set_mask(op.dst, saved);
                    wave.set_mask(u32::from(slot::EXEC), new);
                    wave.set_scalar(u32::from(slot::SCC), u32::from(new != 0));
                }
            }
            ExecRow { names: &[$name32, $name64 $(, $other32, $other64)?], run }
        }),*];
    };
}
macro_rules! written {
    (old, $old:ident, $new:ident) => {
        $old
    };
    (new, $old:ident, $new:ident) => {
        $new
    };
}

exec_rows! {
    "s_and_saveexec_b32", "s_and_saveexec_b64": |s, e| s & e, old;
    "s_or_saveexec_b32", "s_or_saveexec_b64": |s, e| s | e, old;
    "s_xor_saveexec_b32", "s_xor_saveexec_b64": |s, e| s ^ e, old;
    "s_nand_saveexec_b32", "s_nand_saveexec_b64": |s, e| !(s & e), old;
    "s_nor_saveexec_b32", "s_nor_saveexec_b64": |s, e| !(s | e), old;
    "s_xnor_saveexec_b32", "s_xnor_saveexec_b64": |s, e| !(s ^ e), old;
    "s_andn2_saveexec_b32", "s_andn2_saveexec_b64", "s_and_not1_saveexec_b32", "s_and_not1_saveexec_b64": |s, e| s & !e, old;
    "s_orn2_saveexec_b32", "s_orn2_saveexec_b64", "s_or_not1_saveexec_b32", "s_or_not1_saveexec_b64": |s, e| s | !e, old;
    "s_andn1_saveexec_b32", "s_andn1_saveexec_b64", "s_and_not0_saveexec_b32", "s_and_not0_saveexec_b64": |s, e| !s & e, old;
    "s_orn1_saveexec_b32", "s_orn1_saveexec_b64", "s_or_not0_saveexec_b32", "s_or_not0_saveexec_b64": |s, e| !s | e, old;
    "s_andn2_wrexec_b32", "s_andn2_wrexec_b64", "s_and_not1_wrexec_b32", "s_and_not1_wrexec_b64": |s, e| s & !e, new;
    "s_andn1_wrexec_b32", "s_andn1_wrexec_b64", "s_and_not0_wrexec_b32", "s_and_not0_wrexec_b64": |s, e| !s & e, new;
}
