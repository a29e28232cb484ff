//! Output modifiers: omod, clamp, and results that go to a part of a register.

use super::float::{f16_to_f32, f32_to_f16};
use super::program::{Part, Post};
use super::word::{Registers, Rows, LANES};

/// DX10 clamp: to [0, 1], a NaN to 0.
fn clamp(value: f64) -> f64 {
    if value > 0.0 {
        value.min(1.0)
    } else {
        0.0
    }
}

fn scale(omod: u8) -> f64 {
    [1.0, 2.0, 4.0, 0.5][usize::from(omod & 3)]
}

/// Applies `post` to a pass's result.
///
/// # Safety
/// `dst` points to the destination's row, which a partial write reads.
#[inline(always)]
pub unsafe fn apply(post: &Post, dst: *const u32, result: &mut Rows) {
    if post.clamp || post.omod != 0 {
        floats(post, result);
    }
    // Half of a register, as 16-bit results of gfx10 and later are: frequent, so on vectors.
    if let Part::Keep { shift, bits } = post.part {
        let (shift, mask) = (
            u32::from(shift),
            (u32::MAX >> (32 - u32::from(bits))) << shift,
        );
        // SAFETY: the caller's promise: a row of at least 32 registers.
        let old = unsafe { &*dst.cast::<Registers>() };
        for (value, old) in result[0].iter_mut().zip(old) {
            *value = (old & !mask) | ((*value << shift) & mask);
        }
    } else if post.part != Part::Whole {
        // SAFETY: as above.
        unsafe { merge_row(post.part, dst, &mut result[0]) }
    }
}

#[inline(never)]
fn floats(post: &Post, result: &mut Rows) {
    for lane in 0..LANES {
        float(post, result, lane);
    }
}

/// # Safety
/// `dst` points to a row.
#[inline(never)]
unsafe fn merge_row(part: Part, dst: *const u32, row: &mut Registers) {
    for (lane, value) in row.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *value = merge(part, unsafe { *dst.add(lane) }, *value);
    }
}

fn float(post: &Post, result: &mut Rows, lane: usize) {
    let change = |value: f64| {
        let scaled = value * scale(post.omod);
        if post.clamp {
            clamp(scaled)
        } else {
            scaled
        }
    };
    match post.float {
        16 => {
            let value = change(f64::from(f16_to_f32(result[0][lane]))) as f32;
            result[0][lane] = f32_to_f16(value);
        }
        // Two halves (packed results).
        17 => {
            let low = change(f64::from(f16_to_f32(result[0][lane]))) as f32;
            let high = change(f64::from(f16_to_f32(result[0][lane] >> 16))) as f32;
            result[0][lane] = f32_to_f16(low) | f32_to_f16(high) << 16;
        }
        // Two f32 (packed results).
        33 => {
            for row in result {
                row[lane] = (change(f64::from(f32::from_bits(row[lane]))) as f32).to_bits();
            }
        }
        64 => {
            let bits = u64::from(result[0][lane]) | u64::from(result[1][lane]) << 32;
            let value = change(f64::from_bits(bits)).to_bits();
            result[0][lane] = value as u32;
            result[1][lane] = (value >> 32) as u32;
        }
        _ => {
            result[0][lane] = (change(f64::from(f32::from_bits(result[0][lane]))) as f32).to_bits()
        }
    }
}

fn merge(part: Part, old: u32, value: u32) -> u32 {
    let place = |shift: u8, bits: u8| {
        let mask = u32::MAX >> (32 - u32::from(bits));
        (mask << shift, (value & mask) << shift)
    };
    match part {
        Part::Whole => value,
        Part::Keep { shift, bits } => {
            let (mask, placed) = place(shift, bits);
            (old & !mask) | placed
        }
        Part::Zero { shift, bits } => place(shift, bits).1,
        Part::Sign { shift, bits } => {
            let (_, placed) = place(shift, bits);
            let above = 32 - u32::from(shift) - u32::from(bits);
            (((placed << above) as i32) >> above) as u32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_writes() {
        assert_eq!(
            merge(
                Part::Keep {
                    shift: 16,
                    bits: 16
                },
                0x1111_2222,
                0xffff_3333
            ),
            0x3333_2222
        );
        assert_eq!(
            merge(Part::Zero { shift: 8, bits: 8 }, 0x1111_2222, 0x1ff),
            0xff00
        );
        assert_eq!(
            merge(Part::Sign { shift: 8, bits: 8 }, 0, 0x80),
            0xffff_8000
        );
        assert_eq!(merge(Part::Whole, 1, 2), 2);
    }

    #[test]
    fn clamp_takes_a_nan_to_zero() {
        let post = Post {
            any: true,
            clamp: true,
            float: 32,
            ..Post::default()
        };
        for (value, want) in [(f32::NAN, 0.0), (-1.0, 0.0), (0.25, 0.25), (7.0, 1.0)] {
            let mut rows: Rows = [[value.to_bits(); LANES]; 2];
            float(&post, &mut rows, 3);
            assert_eq!(f32::from_bits(rows[0][3]), want);
        }
    }
}
