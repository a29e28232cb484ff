//! `CachedConv` against the convolution by its definition.
use crate::{numbers, off, rocm, rounding, there, wide, DTYPES};
use candle::quantized::{GgmlDType, QMatMul, QTensor};
use candle::{DType, Device, Module, Result, Tensor};
use candle_nn::fused::CachedConv;

/// A convolution, and in f64 what it has seen: positions of `[batch, channels]`, zeros at first.
struct Case {
    weight: Tensor,
    taps: usize,
    seen: Vec<Tensor>,
}

impl Case {
    fn new(batch: usize, channels: usize, taps: usize, dtype: DType) -> Result<Self> {
        let weight = numbers(&[channels, taps], 9)?.to_dtype(dtype)?;
        let zeros = Tensor::zeros((batch, channels), DType::F64, &Device::Cpu)?;
        let seen = vec![zeros; taps];
        Ok(Self { weight, taps, seen })
    }

    /// The next position's result, in f64.
    fn exact(&mut self, bcx: &Tensor) -> Result<Tensor> {
        let parts = wide(bcx)?.squeeze(1)?.chunk(3, 1)?;
        self.seen.push((&parts[0] * &parts[2])?);
        let from = self.seen.len() - self.taps;
        let mut sum = parts[0].zeros_like()?;
        for (tap, value) in self.seen[from..].iter().enumerate() {
            let factors = wide(&self.weight)?.narrow(1, tap, 1)?.t()?;
            sum = (sum + value.broadcast_mul(&factors)?)?;
        }
        (&parts[1] * sum)?.unsqueeze(1)
    }
}

#[test]
fn steps_are_a_convolution() -> Result<()> {
    for dtype in DTYPES {
        for (batch, channels, taps) in [(1, 256, 3), (2, 77, 4), (3, 320, 1), (1, 1000, 2)] {
            let mut case = Case::new(batch, channels, taps, dtype)?;
            let weight = there(&case.weight, dtype)?;
            let mut conv = CachedConv::new();
            let token = |seed| numbers(&[batch, 1, 3 * channels], seed)?.to_dtype(dtype);
            for seed in 0..6 {
                let bcx = token(seed)?;
                if seed == 3 {
                    // What a clone sees is not seen here.
                    conv.clone().step(&there(&bcx, dtype)?, &weight)?;
                }
                if seed == 4 {
                    // Other positions before, of strides of their own.
                    let before = numbers(&[batch, taps, channels], 100)?.to_dtype(dtype)?;
                    case.seen = (0..taps)
                        .map(|tap| wide(&before)?.narrow(1, tap, 1)?.squeeze(1))
                        .collect::<Result<_>>()?;
                    conv.set(&there(&before, dtype)?.transpose(1, 2)?)?;
                }
                let found = conv.step(&there(&bcx, dtype)?, &weight)?;
                assert_eq!(found.dtype(), dtype);
                let exact = case.exact(&bcx)?;
                // Each value, its products, their sum and the result are rounded, as the operations by themselves round.
                let allowed = 6.0 * rounding(dtype);
                let off = off(&found, &exact)?;
                assert!(
                    off <= allowed,
                    "{batch} x {channels}, {taps} taps, {dtype:?}, step {seed}: {off:e}, {allowed:e} allowed"
                );
            }
        }
    }
    Ok(())
}

/// Products of what is left in int8 are those of a copy, which they convert themselves.
#[test]
fn its_result_is_left_in_int8() -> Result<()> {
    let device = rocm()?;
    for dtype in DTYPES {
        for (batch, channels) in [(1, 256), (2, 320), (9, 32)] {
            let w = numbers(&[24, channels], 1)?;
            let w = QTensor::quantize_onto(&w, GgmlDType::Q8_0, &device)?;
            let w = QMatMul::from_qtensor(w)?;
            let weight = there(&numbers(&[channels, 3], 2)?, dtype)?;
            let bcx = there(&numbers(&[batch, 1, 3 * channels], 3)?, dtype)?;
            let found = CachedConv::new().step(&bcx, &weight)?;
            let copy = found.to_device(&Device::Cpu)?.to_device(&device)?;
            let expected = wide(&w.forward(&copy)?)?;
            assert_eq!(
                off(&w.forward(&found)?, &expected)?,
                0.0,
                "{channels} {dtype:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error() -> Result<()> {
    let of = |dims: &[usize], dtype| there(&numbers(dims, 1)?, dtype);
    let weight = of(&[8, 3], DType::F32)?;
    let mut conv = CachedConv::new();
    conv.step(&of(&[1, 1, 24], DType::F32)?, &weight)?;
    let mut says = |bcx: &Tensor, weight: &Tensor, part: &str| {
        let error = conv.step(bcx, weight).expect_err(part).to_string();
        assert!(error.contains(part), "no '{part}' in: {error}");
    };
    let not_one = "not one position's b, c and x";
    says(&of(&[1, 2, 24], DType::F32)?, &weight, not_one);
    says(&of(&[1, 1, 23], DType::F32)?, &weight, not_one);
    says(
        &of(&[1, 1, 24], DType::F32)?,
        &of(&[8, 0], DType::F32)?,
        not_one,
    );
    let other = "does not continue [1, 8, 3]";
    says(&of(&[2, 1, 24], DType::F32)?, &weight, other);
    says(&of(&[1, 1, 24], DType::F16)?, &weight, other);
    says(
        &of(&[1, 1, 24], DType::F32)?,
        &of(&[8, 4], DType::F32)?,
        other,
    );
    says(&numbers(&[1, 1, 24], 1)?, &weight, "on Cpu");
    let half = of(&[8, 3], DType::F16)?;
    says(
        &of(&[1, 1, 24], DType::F32)?,
        &half,
        "expected: F32, got: F16",
    );
    Ok(())
}
