//! Random tensors.
//!
//! Numbers are drawn on the host, where the generator's state lives, and copied over: the same seed gives the same
//! tensor on every target.
use super::{RocmDevice, RocmError, RocmStorage};
use crate::backend::BackendDevice;
use crate::{CpuStorage, DType, Result, Shape};
use rand::{distr::Distribution, rngs::StdRng, SeedableRng};

/// The seed of a new device, the same as the CUDA backend's.
const DEFAULT_SEED: u64 = 299_792_458;

pub(super) struct Generator {
    seed: u64,
    rng: StdRng,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { seed, rng }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }
}

impl Default for Generator {
    fn default() -> Self {
        Self::new(DEFAULT_SEED)
    }
}

pub(super) fn uniform(
    dev: &RocmDevice,
    shape: &Shape,
    dtype: DType,
    low: f64,
    high: f64,
) -> Result<RocmStorage> {
    let distribution = rand::distr::Uniform::new(low, high).map_err(crate::Error::wrap)?;
    // Rounding to a narrower type can reach the excluded upper end; the lower end is a value of the range.
    sample(dev, shape, dtype, "rand-uniform", distribution, |rounded| {
        if rounded < high {
            rounded
        } else {
            low
        }
    })
}

pub(super) fn normal(
    dev: &RocmDevice,
    shape: &Shape,
    dtype: DType,
    mean: f64,
    std: f64,
) -> Result<RocmStorage> {
    let distribution = rand_distr::Normal::new(mean, std).map_err(crate::Error::wrap)?;
    sample(dev, shape, dtype, "rand-normal", distribution, |rounded| {
        rounded
    })
}

fn sample(
    dev: &RocmDevice,
    shape: &Shape,
    dtype: DType,
    op: &'static str,
    distribution: impl Distribution<f64>,
    settle: impl Fn(f64) -> f64,
) -> Result<RocmStorage> {
    let values: Vec<f64> = {
        let rng = &mut dev.generator().rng;
        (0..shape.elem_count())
            .map(|_| distribution.sample(rng))
            .collect()
    };
    let storage = match dtype {
        DType::F64 => CpuStorage::F64(values.into_iter().map(settle).collect()),
        DType::F32 => CpuStorage::F32(
            values
                .iter()
                .map(|v| settle(f64::from(*v as f32)) as f32)
                .collect(),
        ),
        DType::F16 | DType::BF16 => {
            let round = |v: f64| match dtype {
                DType::F16 => half::f16::from_f64(v).to_f64(),
                _ => half::bf16::from_f64(v).to_f64(),
            };
            let settled = values.into_iter().map(|v| settle(round(v)));
            match dtype {
                DType::F16 => CpuStorage::F16(settled.map(half::f16::from_f64).collect()),
                _ => CpuStorage::BF16(settled.map(half::bf16::from_f64).collect()),
            }
        }
        dtype => return Err(RocmError::UnsupportedDType { dtype, op }.into()),
    };
    dev.storage_from_cpu_storage_owned(storage)
}
