//! Random tensors: bounds, moments, and what the seed determines.
use crate::cases::{family, rocm};
use crate::nearness::{about, bits, doubles, unit_roundoff};
use crate::views::dims;
use candle_core::{bail, DType, Device, Result, Tensor};
use proptest::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

const DRAWN: &[DType] = &[DType::F32, DType::F16, DType::BF16, DType::F64];

/// The generator belongs to the device, which all tests share: one at a time sets its seed.
fn alone() -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

fn uniform(
    dims: &[usize],
    dtype: DType,
    (low, high): (f64, f64),
    device: &Device,
) -> Result<Tensor> {
    Tensor::zeros(dims, dtype, device)?.rand_like(low, high)
}

#[test]
fn uniform_numbers_stay_within_their_bounds() {
    let case = (dims(0..=4), -8i32..8, 1u32..16, any::<u64>());
    family(DRAWN, case, |&dtype, (dims, low, width, seed)| {
        let _alone = alone();
        let device = rocm()?;
        // Whole bounds, which every type holds.
        let (low, high) = (f64::from(low), f64::from(low) + f64::from(width));
        let check = || {
            device.set_seed(seed)?;
            if device.get_current_seed()? != seed {
                bail!("the seed is {}, not {seed}", device.get_current_seed()?)
            }
            let drawn = uniform(&dims, dtype, (low, high), &device)?;
            if drawn.dtype() != dtype || drawn.dims() != dims {
                bail!("{:?} {:?}", drawn.dtype(), drawn.dims())
            }
            if let Some(out) = doubles(&drawn)?.iter().find(|v| !(low..high).contains(*v)) {
                bail!("{out} is not in [{low}, {high})")
            }
            let next = uniform(&dims, dtype, (low, high), &device)?;
            device.set_seed(seed)?;
            if bits(&uniform(&dims, dtype, (low, high), &device)?)? != bits(&drawn)? {
                bail!("the seed {seed} gives two tensors")
            }
            // Sixteen numbers of at least eight bits are hardly the same twice.
            if drawn.elem_count() >= 16 && bits(&next)? == bits(&drawn)? {
                bail!("the next tensor is the same")
            }
            Ok(())
        };
        about(&format!("uniform in [{low}, {high})"), dtype, check())
    });
}

/// Mean and variance, each with the number of standard errors that it is off.
fn moments(t: &Tensor, mean: f64, variance: f64, fourth: f64) -> Result<(f64, f64)> {
    let values = doubles(t)?;
    let n = values.len() as f64;
    let found = values.iter().sum::<f64>() / n;
    let spread = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    let error_of_variance = ((fourth - variance * variance) / n).sqrt();
    Ok((
        (found - mean) / (variance / n).sqrt(),
        (spread - variance) / error_of_variance,
    ))
}

#[test]
fn moments_are_those_of_the_distribution() -> Result<()> {
    let _alone = alone();
    let device = rocm()?;
    device.set_seed(11)?;
    for &dtype in DRAWN {
        let zeros = Tensor::zeros(20_001, dtype, &device)?;
        // Rounding shifts every number by up to one unit of 4: less than these 20,001 numbers' standard error, but
        // for bf16, where it adds a few more.
        let slack = 5.0 + unit_roundoff(dtype) * 4.0 * (20_001f64).sqrt();
        let (mean, variance) =
            moments(&zeros.rand_like(-1.0, 3.0)?, 1.0, 16.0 / 12.0, 256.0 / 80.0)?;
        assert!(
            mean.abs() < slack && variance.abs() < slack,
            "uniform {dtype:?}: {mean}, {variance}"
        );
        let (mean, variance) = moments(&zeros.randn_like(1.0, 2.0)?, 1.0, 4.0, 3.0 * 16.0)?;
        assert!(
            mean.abs() < slack && variance.abs() < slack,
            "normal {dtype:?}: {mean}, {variance}"
        );
    }
    Ok(())
}

#[test]
fn normal_numbers_follow_the_seed_in_every_shape() {
    let case = (dims(0..=3), any::<u64>());
    family(DRAWN, case, |&dtype, (dims, seed)| {
        let _alone = alone();
        let device = rocm()?;
        let draw = || -> Result<Vec<u8>> {
            device.set_seed(seed)?;
            let drawn = Tensor::zeros(dims.as_slice(), dtype, &device)?.randn_like(3.0, 0.5)?;
            if let Some(odd) = doubles(&drawn)?
                .iter()
                .find(|v| !v.is_finite() || (**v - 3.0).abs() > 4.0)
            {
                bail!("{odd} is eight standard deviations off")
            }
            bits(&drawn)
        };
        let check = || match draw()? == draw()? {
            true => Ok(()),
            false => bail!("the seed {seed} gives two tensors"),
        };
        about("normal", dtype, check())
    });
}
