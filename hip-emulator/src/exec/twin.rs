//! Packed f32 operations: one plain f32 operation on two pairs (or triples) of rows.
//!
//! As an operation on pairs of f32 (its row in [`super::valu`]) the loop over lanes would shuffle both rows together and
//! apart again; as two operations it would be called twice. Here each row is a loop of its own, and both are done before
//! either is committed, so a destination may be any of the sources.

use super::lanes::{commit, rows};
use super::program::{Op, Run, LEVELS};
use super::wave::Wave;
use super::word::{PkF32, Registers, LANES};

/// What one lane of one row computes.
trait Twin {
    fn at(a: f32, b: f32, c: f32) -> f32;
}

/// One row. By value, since it is what makes the loop one of vectors that stay in registers.
#[inline(always)]
fn row<K: Twin>(a: &Registers, b: &Registers, c: &Registers) -> Registers {
    let mut result = [0; LANES];
    for lane in 0..LANES {
        let value = |row: &Registers| f32::from_bits(row[lane]);
        result[lane] = K::at(value(a), value(b), value(c)).to_bits();
    }
    result
}

/// # Safety
/// See `Run`.
#[inline(always)]
unsafe fn one_pass<K: Twin>(wave: &mut Wave, op: &Op, pass: usize, exec: u32) {
    // SAFETY: offsets were made by lowering for this program and kind of operand; of an operation with two sources the
    // third is the file's first row, whose values go nowhere.
    unsafe {
        let (a, b) = (
            rows::<PkF32>(wave, op, 0, pass),
            rows::<PkF32>(wave, op, 1, pass),
        );
        let c = rows::<PkF32>(wave, op, 2, pass);
        let result = [row::<K>(a[0], b[0], c[0]), row::<K>(a[1], b[1], c[1])];
        commit(wave.row(op.dst, pass), wave.stride, 2, &result, exec);
    }
}

/// Some lanes are off.
///
/// # Safety
/// See `Run`.
#[inline(never)]
unsafe fn base<K: Twin>(wave: &mut Wave, op: &Op) {
    for pass in 0..wave.passes {
        let exec = wave.exec(pass);
        if exec != 0 {
            // SAFETY: the caller's promise.
            unsafe { one_pass::<K>(wave, op, pass, exec) }
        }
    }
}

/// # Safety
/// See `Run`; and the CPU has these features.
#[inline(never)]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
unsafe fn fast<K: Twin>(wave: &mut Wave, op: &Op) {
    for pass in 0..wave.passes {
        let exec = wave.exec(pass);
        if exec != 0 {
            // SAFETY: the caller's promise.
            unsafe { one_pass::<K>(wave, op, pass, exec) }
        }
    }
}

/// All lanes are on, nearly always; as [`super::lanes::lane_whole`].
///
/// # Safety
/// As for `fast`.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
unsafe fn whole<K: Twin>(wave: &mut Wave, op: &Op) {
    if !wave.is_full() {
        // SAFETY: the caller's promise.
        return unsafe { fast::<K>(wave, op) };
    }
    for pass in 0..wave.passes {
        // SAFETY: the caller's promise.
        unsafe { one_pass::<K>(wave, op, pass, u32::MAX) }
    }
}

struct Fma;
impl Twin for Fma {
    #[inline(always)]
    fn at(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

struct Mul;
impl Twin for Mul {
    #[inline(always)]
    fn at(a: f32, b: f32, _: f32) -> f32 {
        a * b
    }
}

struct Add;
impl Twin for Add {
    #[inline(always)]
    fn at(a: f32, b: f32, _: f32) -> f32 {
        a + b
    }
}

/// The versions of a packed operation without output modifiers.
pub fn find(name: &str) -> Option<[Run; LEVELS]> {
    Some(match name {
        "v_pk_fma_f32" => [base::<Fma>, whole::<Fma>],
        "v_pk_mul_f32" => [base::<Mul>, whole::<Mul>],
        "v_pk_add_f32" => [base::<Add>, whole::<Add>],
        _ => return None,
    })
}
