//! Random tensors in random layouts, and comparison with a reference in f64.
//!
//! Inputs are rounded to the type under test first, so a reference that the CPU computes in f64 is exact but for f64's
//! own rounding, and every tolerance is a count of the type's roundings. The device is the one that
//! `CANDLE_HIP_LIBRARY` leads to: a card, or the emulator.
// Each test program that includes this uses its part of it.
#![allow(dead_code)]
use candle_core::{DType, Device, Result, Tensor};

pub const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::BF16, DType::F64];
/// Random cases of each operation; each runs in every type, with a random layout of every operand.
pub const CASES: usize = 200;

pub fn rocm() -> Result<Device> {
    Device::new_rocm(0)
}

/// Numbers that look random and are the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Neighbouring seeds start alike.
        for _ in 0..8 {
            random.next();
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 24
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.next() as usize % (high - low + 1)
    }

    /// The shape of a few images (batch, channels, height, width).
    pub fn image(&mut self, longest: usize) -> [usize; 4] {
        let (batch, channels) = (self.between(1, 3), self.between(1, 4));
        let (height, width) = (self.between(1, longest), self.between(1, longest));
        [batch, channels, height, width]
    }

    /// Numbers in [-2, 2) for floats, below 200 for integers, where two of them overflow u8.
    pub fn tensor(&mut self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let count = shape.iter().product();
        let mut number = || (self.next() % (1 << 20)) as f64 / f64::from(1 << 20);
        let numbers: Vec<f64> = match dtype.is_float() {
            true => (0..count).map(|_| number() * 4.0 - 2.0).collect(),
            false => (0..count).map(|_| (number() * 200.0).floor()).collect(),
        };
        Tensor::from_vec(numbers, shape, &Device::Cpu)?.to_dtype(dtype)
    }

    /// A tensor of this shape on the CPU: contiguous, within a larger one, with its dimensions stored backwards, or
    /// one element of the first dimension repeated.
    pub fn view(&mut self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        match self.next() % 4 {
            0 => self.tensor(shape, dtype),
            1 => {
                let larger: Vec<usize> = shape.iter().map(|d| d + 2).collect();
                let t = self.tensor(&larger, dtype)?;
                let each = shape.iter().enumerate();
                each.map(|(dim, &len)| (dim, len))
                    .try_fold(t, |t, (dim, len)| t.narrow(dim, 1, len))
            }
            2 => {
                let backwards: Vec<usize> = shape.iter().rev().copied().collect();
                let order: Vec<usize> = (0..shape.len()).rev().collect();
                self.tensor(&backwards, dtype)?.permute(order)
            }
            _ => {
                let one = [&[1], &shape[1..]].concat();
                self.tensor(&one, dtype)?.broadcast_as(shape)
            }
        }
    }
}

/// [`CASES`] cases that `draw` finds valid, each with its seed and a generator for its numbers.
pub fn cases<T>(draw: impl Fn(&mut Random) -> Option<T>) -> impl Iterator<Item = (u64, Random, T)> {
    let all = (0..).filter_map(move |seed| {
        let mut random = Random::new(seed);
        let case = draw(&mut random)?;
        Some((seed, random, case))
    });
    all.take(CASES)
}

/// Half the distance from 1 to the next number: the relative error of one rounding.
pub fn unit_roundoff(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 2f64.powi(-53),
        DType::F32 => 2f64.powi(-24),
        DType::F16 => 2f64.powi(-11),
        DType::BF16 => 2f64.powi(-8),
        _ => 0.0,
    }
}

/// Half the smallest number: the absolute error of rounding a tiny result (f16 has no smaller steps than 2^-24).
pub fn smallest_roundoff(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-25),
        _ => 0.0,
    }
}

pub fn doubles(t: &Tensor) -> Result<Vec<f64>> {
    t.to_device(&Device::Cpu)?
        .flatten_all()?
        .to_dtype(DType::F64)?
        .to_vec1()
}

/// Asserts that each element of `found` is as near to the reference as `roundings` roundings of numbers up to
/// `magnitude` allow.
pub fn assert_near(
    case: &str,
    found: &Tensor,
    exact: &Tensor,
    magnitude: &Tensor,
    roundings: f64,
) -> Result<()> {
    let dtype = found.dtype();
    assert!(
        found.device().is_rocm(),
        "{case}: the result left the device"
    );
    assert_eq!(found.dims(), exact.dims(), "{case}");
    let (unit, least) = (unit_roundoff(dtype), smallest_roundoff(dtype));
    let magnitudes = doubles(magnitude)?;
    for (i, (found, exact)) in doubles(found)?.into_iter().zip(doubles(exact)?).enumerate() {
        let allowed = roundings * (unit * magnitudes[i] + least);
        assert!(
            (found - exact).abs() <= allowed,
            "{case} {dtype:?}: element {i} is {found}, not {exact}; {allowed:e} is allowed"
        );
    }
    Ok(())
}

pub fn assert_equal(case: &str, found: &Tensor, expected: &Tensor) -> Result<()> {
    assert!(
        found.device().is_rocm(),
        "{case}: the result left the device"
    );
    assert_eq!(found.dims(), expected.dims(), "{case}");
    assert_eq!(found.dtype(), expected.dtype(), "{case}");
    assert_eq!(
        doubles(found)?,
        doubles(expected)?,
        "{case} {:?}",
        found.dtype()
    );
    Ok(())
}

/// f16 and bf16 are summed in f32, whose roundings are less than one of theirs, and rounded at the end.
pub const SUMMED_IN_F32: usize = 2;

/// Asserts that the result is an error that says `expected`.
pub fn assert_message(result: Result<Tensor>, expected: &str) {
    let message = match result {
        Ok(t) => panic!("no error but {t}"),
        Err(e) => e.to_string(),
    };
    assert!(message.contains(expected), "{message:?} lacks {expected:?}");
}
