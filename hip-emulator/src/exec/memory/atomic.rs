//! Atomic read-modify-write. Workgroups run on several threads, so these are real host atomics: a
//! compare-exchange loop around the operation.

use super::space::{watch, Buffer, Flat, Global, GlobalScalar, Lds, Request, Scratch, Seen, Space};
use crate::exec::float::{f16_to_f32, f32_to_f16, max_f32, max_f64, min_f32, min_f64};
use crate::exec::program::{Op, Run};
use crate::exec::unwritten;
use crate::exec::wave::Wave;
use crate::exec::word::LANES;
use crate::fault::{Access, FaultKind};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// `(old, data, compare) -> new`; 32-bit operations use the low halves.
type Change = fn(u64, u64, u64) -> u64;

pub struct Atomic {
    /// Names without the space's prefix, returning ones of LDS included.
    pub names: &'static [&'static str],
    /// Registers of one value: 1 or 2.
    pub words: u8,
    /// The data is followed (global) by the value to compare with.
    pub compares: bool,
    pub change: Change,
}

fn f32_op(old: u64, data: u64, f: impl Fn(f32, f32) -> f32) -> u64 {
    u64::from(f(f32::from_bits(old as u32), f32::from_bits(data as u32)).to_bits())
}

fn f64_op(old: u64, data: u64, f: impl Fn(f64, f64) -> f64) -> u64 {
    f(f64::from_bits(old), f64::from_bits(data)).to_bits()
}

fn pk_add_f16(old: u64, data: u64, _: u64) -> u64 {
    let add = |a: u32, b: u32| f32_to_f16(f16_to_f32(a) + f16_to_f32(b));
    let (a, b) = (old as u32, data as u32);
    u64::from(add(a, b) | add(a >> 16, b >> 16) << 16)
}

const fn row(names: &'static [&'static str], words: u8, change: Change) -> Atomic {
    Atomic {
        names,
        words,
        compares: false,
        change,
    }
}

/// Every atomic, in every family's spelling.
pub static ATOMICS: &[Atomic] = &[
    row(
        &["atomic_add", "atomic_add_u32", "add_u32", "add_rtn_u32"],
        1,
        |o, d, _| o.wrapping_add(d),
    ),
    row(
        &["atomic_sub", "atomic_sub_u32", "sub_u32", "sub_rtn_u32"],
        1,
        |o, d, _| o.wrapping_sub(d),
    ),
    row(
        &["atomic_smin", "atomic_min_i32", "min_i32", "min_rtn_i32"],
        1,
        |o, d, _| (o as i32).min(d as i32) as u64,
    ),
    row(
        &["atomic_smax", "atomic_max_i32", "max_i32", "max_rtn_i32"],
        1,
        |o, d, _| (o as i32).max(d as i32) as u64,
    ),
    row(
        &["atomic_umin", "atomic_min_u32", "min_u32", "min_rtn_u32"],
        1,
        |o, d, _| (o as u32).min(d as u32).into(),
    ),
    row(
        &["atomic_umax", "atomic_max_u32", "max_u32", "max_rtn_u32"],
        1,
        |o, d, _| (o as u32).max(d as u32).into(),
    ),
    row(
        &["atomic_and", "atomic_and_b32", "and_b32", "and_rtn_b32"],
        1,
        |o, d, _| o & d,
    ),
    row(
        &["atomic_or", "atomic_or_b32", "or_b32", "or_rtn_b32"],
        1,
        |o, d, _| o | d,
    ),
    row(
        &["atomic_xor", "atomic_xor_b32", "xor_b32", "xor_rtn_b32"],
        1,
        |o, d, _| o ^ d,
    ),
    row(
        &[
            "atomic_swap",
            "atomic_swap_b32",
            "wrxchg_rtn_b32",
            "storexchg_rtn_b32",
        ],
        1,
        |_, d, _| d,
    ),
    row(
        &["atomic_inc", "atomic_inc_u32", "inc_u32", "inc_rtn_u32"],
        1,
        |o, d, _| {
            if o as u32 >= d as u32 {
                0
            } else {
                o + 1
            }
        },
    ),
    row(
        &["atomic_dec", "atomic_dec_u32", "dec_u32", "dec_rtn_u32"],
        1,
        |o, d, _| {
            if o as u32 == 0 || o as u32 > d as u32 {
                d
            } else {
                o - 1
            }
        },
    ),
    row(
        &["atomic_add_f32", "add_f32", "add_rtn_f32"],
        1,
        |o, d, _| f32_op(o, d, |a, b| a + b),
    ),
    row(
        &["atomic_min_f32", "atomic_fmin", "min_f32", "min_rtn_f32"],
        1,
        |o, d, _| f32_op(o, d, min_f32),
    ),
    row(
        &["atomic_max_f32", "atomic_fmax", "max_f32", "max_rtn_f32"],
        1,
        |o, d, _| f32_op(o, d, max_f32),
    ),
    row(
        &["atomic_pk_add_f16", "pk_add_f16", "pk_add_rtn_f16"],
        1,
        pk_add_f16,
    ),
    row(
        &["atomic_add_x2", "atomic_add_u64", "add_u64", "add_rtn_u64"],
        2,
        |o, d, _| o.wrapping_add(d),
    ),
    row(
        &["atomic_sub_x2", "atomic_sub_u64", "sub_u64", "sub_rtn_u64"],
        2,
        |o, d, _| o.wrapping_sub(d),
    ),
    row(
        &["atomic_smin_x2", "atomic_min_i64", "min_i64", "min_rtn_i64"],
        2,
        |o, d, _| (o as i64).min(d as i64) as u64,
    ),
    row(
        &["atomic_smax_x2", "atomic_max_i64", "max_i64", "max_rtn_i64"],
        2,
        |o, d, _| (o as i64).max(d as i64) as u64,
    ),
    row(
        &["atomic_umin_x2", "atomic_min_u64", "min_u64", "min_rtn_u64"],
        2,
        |o, d, _| o.min(d),
    ),
    row(
        &["atomic_umax_x2", "atomic_max_u64", "max_u64", "max_rtn_u64"],
        2,
        |o, d, _| o.max(d),
    ),
    row(
        &["atomic_and_x2", "atomic_and_b64", "and_b64", "and_rtn_b64"],
        2,
        |o, d, _| o & d,
    ),
    row(
        &["atomic_or_x2", "atomic_or_b64", "or_b64", "or_rtn_b64"],
        2,
        |o, d, _| o | d,
    ),
    row(
        &["atomic_xor_x2", "atomic_xor_b64", "xor_b64", "xor_rtn_b64"],
        2,
        |o, d, _| o ^ d,
    ),
    row(
        &[
            "atomic_swap_x2",
            "atomic_swap_b64",
            "wrxchg_rtn_b64",
            "storexchg_rtn_b64",
        ],
        2,
        |_, d, _| d,
    ),
    row(
        &["atomic_add_f64", "add_f64", "add_rtn_f64"],
        2,
        |o, d, _| f64_op(o, d, |a, b| a + b),
    ),
    row(
        &["atomic_min_f64", "min_f64", "min_rtn_f64"],
        2,
        |o, d, _| f64_op(o, d, min_f64),
    ),
    row(
        &["atomic_max_f64", "max_f64", "max_rtn_f64"],
        2,
        |o, d, _| f64_op(o, d, max_f64),
    ),
    Atomic {
        names: &[
            "atomic_cmpswap",
            "atomic_cmpswap_b32",
            "cmpst_b32",
            "cmpst_rtn_b32",
            "cmpstore_b32",
            "cmpstore_rtn_b32",
        ],
        words: 1,
        compares: true,
        change: |o, d, c| if o as u32 == c as u32 { d } else { o },
    },
    Atomic {
        names: &[
            "atomic_cmpswap_x2",
            "atomic_cmpswap_b64",
            "cmpst_b64",
            "cmpst_rtn_b64",
            "cmpstore_b64",
            "cmpstore_rtn_b64",
        ],
        words: 2,
        compares: true,
        change: |o, d, c| if o == c { d } else { o },
    },
];

/// The atomic of an instruction's name without its prefix.
pub fn find(name: &str) -> Option<usize> {
    ATOMICS
        .iter()
        .position(|atomic| atomic.names.contains(&name))
}

/// Space of an atomic, for `run`.
pub fn run(space: &str) -> Run {
    match space {
        "global" => execute::<Global>,
        "global_scalar" => execute::<GlobalScalar>,
        "lds" => execute::<Lds>,
        "scratch" => execute::<Scratch>,
        "flat" => execute::<Flat>,
        _ => execute::<Buffer>,
    }
}

/// `op.src[2]` and `op.src[3]` are the data and the compare rows; `op.dst` the returned value's row
/// if `op.count` is not 0; `op.mask` the index of the row in `ATOMICS`.
unsafe fn execute<S: Space>(wave: &mut Wave, op: &Op) {
    let atomic = &ATOMICS[op.mask as usize];
    let bytes = 4 * u32::from(atomic.words);
    for pass in 0..wave.passes {
        let exec = wave.exec(pass);
        if exec == 0 {
            continue;
        }
        let request = Request {
            pass,
            exec,
            bytes,
            access: Access::Atomic,
        };
        // SAFETY: the op was lowered for this space.
        let Some(pointers) = (unsafe { S::resolve(wave, op, request) }) else {
            return;
        };
        // SAFETY: resolved just now.
        if !unsafe { watch::<S>(wave, op, request, &pointers) } {
            return;
        }
        let tracked = wave.watches_unwritten && matches!(S::SEEN, Seen::Global | Seen::Both);
        for lane in (0..LANES).filter(|lane| exec >> lane & 1 != 0) {
            let pointer = pointers[lane];
            if tracked && !unwritten::written(wave, op, pointer, bytes, lane + pass * LANES) {
                return;
            }
            if pointer % u64::from(bytes) != 0 {
                let what = format!(
                    "atomic access at address {pointer:#x}, which is not aligned to {bytes} bytes"
                );
                wave.raise(
                    op,
                    Some((lane + pass * LANES) as u32),
                    FaultKind::Illegal(what),
                );
                return;
            }
            // SAFETY: rows are the op's. The pointer was checked for `bytes` bytes and is aligned;
            // device memory is only reached through raw pointers, so a host atomic may alias it.
            unsafe {
                let value = |offset: u32| {
                    let row = wave.row(offset, pass).add(lane);
                    if atomic.words == 2 {
                        u64::from(*row) | u64::from(*row.add(wave.stride)) << 32
                    } else {
                        u64::from(*row)
                    }
                };
                let (data, compare) = (value(op.src[2]), value(op.src[3]));
                // `try_update` from Rust 1.99 on, a name that 1.87 does not have.
                #[allow(deprecated)]
                let old = if atomic.words == 2 {
                    let cell = AtomicU64::from_ptr(pointer as *mut u64);
                    let change = |old| Some((atomic.change)(old, data, compare));
                    cell.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change)
                        .unwrap_or_default()
                } else {
                    let cell = AtomicU32::from_ptr(pointer as *mut u32);
                    let change =
                        |old: u32| Some((atomic.change)(u64::from(old), data, compare) as u32);
                    u64::from(
                        cell.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change)
                            .unwrap_or_default(),
                    )
                };
                if tracked {
                    wave.launch()
                        .memory
                        .wrote_pattern(pointer, pointer + u64::from(bytes));
                }
                if op.count != 0 {
                    let row = wave.row(op.dst, pass).add(lane);
                    *row = old as u32;
                    if atomic.words == 2 {
                        *row.add(wave.stride) = (old >> 32) as u32;
                    }
                }
            }
        }
    }
}
