//! Operations with a carry out, and 64-bit multiply-adds.

use super::*;

#[inline(always)]
fn add(a: u32, b: u32, carry: bool) -> (u32, bool) {
    let sum = u64::from(a) + u64::from(b) + u64::from(carry);
    (sum as u32, sum >> 32 != 0)
}

#[inline(always)]
fn subtract(a: u32, b: u32, borrow: bool) -> (u32, bool) {
    let difference = u64::from(a)
        .wrapping_sub(u64::from(b))
        .wrapping_sub(u64::from(borrow));
    (difference as u32, difference >> 63 != 0)
}

carries! { ROWS:
    "v_add_co_u32", |a: U32, b: U32| -> U32 { add(a, b, false) }
    "v_sub_co_u32", |a: U32, b: U32| -> U32 { subtract(a, b, false) }
    "v_subrev_co_u32", |a: U32, b: U32| -> U32 { subtract(b, a, false) }
    "v_addc_co_u32" | "v_add_co_ci_u32", |a: U32, b: U32, c: Mask| -> U32 { add(a, b, c) }
    "v_subb_co_u32" | "v_sub_co_ci_u32", |a: U32, b: U32, c: Mask| -> U32 { subtract(a, b, c) }
    "v_subbrev_co_u32" | "v_subrev_co_ci_u32", |a: U32, b: U32, c: Mask| -> U32 { subtract(b, a, c) }
    "v_mad_u64_u32" | "v_mad_co_u64_u32", |a: U32, b: U32, c: U64| -> U64 {
        (u64::from(a) * u64::from(b)).overflowing_add(c)
    }
    "v_mad_i64_i32" | "v_mad_co_i64_i32", |a: I32, b: I32, c: I64| -> I64 {
        // The bit is the sign of the 65-bit sum, which the 64-bit one has lost when it overflowed.
        let (sum, overflowed) = (i64::from(a) * i64::from(b)).overflowing_add(c);
        (sum, (sum < 0) != overflowed)
    }
}
