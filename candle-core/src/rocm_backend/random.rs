//! Random tensors, made on the device.
//!
//! The generator is a function of seed and counter (Philox4x32-10, see candle-kernels' random.hip): its state is two
//! numbers on the host, and the same seed gives the same numbers on every target.
use super::error::OrRocm;
use super::operations::{Operation, RAND_NORMAL, RAND_UNIFORM};
use super::{RocmDevice, RocmError, RocmStorage};
use crate::{DType, Result, Shape};

/// The seed of a new device, the same as the CUDA backend's.
const DEFAULT_SEED: u64 = 299_792_458;

pub(super) struct Generator {
    seed: u64,
    /// The first block of random words that was not used yet.
    next: u64,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, next: 0 }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Seed and number of the first of `blocks` blocks that belong to the caller alone.
    fn take(&mut self, blocks: u64) -> (u64, u64) {
        let first = self.next;
        self.next = first.wrapping_add(blocks);
        (self.seed, first)
    }
}

impl Default for Generator {
    fn default() -> Self {
        Self::new(DEFAULT_SEED)
    }
}

/// `value` rounded to `dtype`.
fn rounded(dtype: DType, value: f64) -> f64 {
    match dtype {
        DType::F32 => f64::from(value as f32),
        DType::F16 => half::f16::from_f64(value).to_f64(),
        DType::BF16 => half::bf16::from_f64(value).to_f64(),
        DType::F8E4M3 => float8::F8E4M3::from_f64(value).to_f64(),
        _ => value,
    }
}

/// The largest value of `dtype` below `value`, which is one of `dtype` and finite.
fn below(dtype: DType, value: f64) -> f64 {
    // The neighbour's bits: one less for positive numbers, one more for negative ones; zero has the smallest
    // negative number below it.
    macro_rules! neighbour {
        ($t:ty, $bits:ty) => {{
            let sign: $bits = 1 << (<$bits>::BITS - 1);
            let bits = <$t>::from_f64(value).to_bits();
            let next = match bits & !sign {
                0 => sign | 1,
                _ if bits & sign == 0 => bits - 1,
                _ => bits + 1,
            };
            <$t>::from_bits(next).to_f64()
        }};
    }
    match dtype {
        DType::F32 => f64::from((value as f32).next_down()),
        DType::F16 => neighbour!(half::f16, u16),
        DType::BF16 => neighbour!(half::bf16, u16),
        DType::F8E4M3 => neighbour!(float8::F8E4M3, u8),
        _ => value.next_down(),
    }
}

/// Numbers in [low, high).
pub(super) fn uniform(
    dev: &RocmDevice,
    shape: &Shape,
    dtype: DType,
    low: f64,
    high: f64,
) -> Result<RocmStorage> {
    RAND_UNIFORM.suffix_for(dtype)?;
    let (start, end) = (rounded(dtype, low), rounded(dtype, high));
    let span = end - start;
    if !(start < end && span.is_finite()) {
        let text = format!("rand_uniform: [{low}, {high}) is not a range of {dtype:?}");
        return Err(RocmError::Message(text)).rocm();
    }
    let parameters = [start, span, below(dtype, end)];
    sample(dev, shape, dtype, &RAND_UNIFORM, &parameters)
}

/// Numbers of the normal distribution.
pub(super) fn normal(
    dev: &RocmDevice,
    shape: &Shape,
    dtype: DType,
    mean: f64,
    std: f64,
) -> Result<RocmStorage> {
    RAND_NORMAL.suffix_for(dtype)?;
    if !(mean.is_finite() && std.is_finite()) {
        let text = format!("rand_normal: mean {mean} and deviation {std} must be finite");
        return Err(RocmError::Message(text)).rocm();
    }
    sample(dev, shape, dtype, &RAND_NORMAL, &[mean, std])
}

/// Launches a generating kernel: `(out, count, seed, first block, parameters…)`.
fn sample(
    dev: &RocmDevice,
    shape: &Shape,
    dtype: DType,
    row: &Operation,
    parameters: &[f64],
) -> Result<RocmStorage> {
    let count = shape.elem_count();
    let out = RocmStorage::uninit(dev, count, dtype)?;
    if count == 0 {
        return Ok(out);
    }
    // A block is four words: four numbers of up to 32 bits or two of 64.
    let blocks = count.div_ceil(if dtype == DType::F64 { 2 } else { 4 });
    let (seed, first) = dev.generator().take(blocks as u64);
    let launch = row.launch(dev, dtype)?;
    let launch = launch.arg(out.ptr_at(0)).arg(count as u64);
    let mut launch = launch.arg(seed).arg(first);
    for parameter in parameters {
        // In the type that the kernel computes in.
        launch = match dtype {
            DType::F64 => launch.arg(*parameter),
            _ => launch.arg(*parameter as f32),
        };
    }
    // SAFETY: the kernel writes the `count` elements of `out`.
    unsafe { launch.over(blocks).run() }?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_below_is_the_nearest_smaller_one() {
        assert_eq!(below(DType::F16, 1.0), 1.0 - 2f64.powi(-11));
        assert_eq!(below(DType::BF16, 1.0), 1.0 - 2f64.powi(-8));
        assert_eq!(below(DType::F8E4M3, 1.0), 0.9375);
        assert_eq!(below(DType::F16, -1.0), -1.0 - 2f64.powi(-10));
        assert_eq!(below(DType::BF16, 0.0), -half::bf16::from_bits(1).to_f64());
        assert_eq!(below(DType::F32, 1.0), 1.0 - 2f64.powi(-24));
    }

    #[test]
    fn blocks_are_handed_out_once() {
        let mut generator = Generator::new(7);
        assert_eq!(generator.take(10), (7, 0));
        assert_eq!(generator.take(1), (7, 10));
        assert_eq!(generator.seed(), 7);
    }
}
