//! Upstream's tests of `sdpa` on `Device::Rocm`: `candle-nn/tests/sdpa.rs` runs them on Metal only. Shapes, numbers and the
//! errors allowed are upstream's; what is allowed is the sum of all relative errors against attention composed of products
//! and softmax on the same device.
use candle::{DType, Device, Result, Tensor};
use rand::SeedableRng;
use rand_distr::{Distribution, Normal};

const BATCH: usize = 4;
const HEADS: usize = 3;
const WIDTH: usize = 64;
/// What `sdpa` takes for scores as they are.
const NO_CAP: f64 = 1.0;

fn normal(rng: &mut rand::rngs::StdRng, positions: usize, device: &Device) -> Result<Tensor> {
    let shape = (BATCH, HEADS, positions, WIDTH);
    let distribution = Normal::new(0f32, 1.0).expect("a positive deviation");
    let numbers = distribution.sample_iter(rng);
    let numbers: Vec<f32> = numbers.take(BATCH * HEADS * positions * WIDTH).collect();
    Tensor::from_vec(numbers, shape, device)
}

fn check(seed: u64, queries: usize, keys: usize, cap: f64, allowed: f32) -> Result<()> {
    let device = Device::new_rocm(0)?;
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let q = normal(&mut rng, queries, &device)?;
    let k = normal(&mut rng, keys, &device)?;
    let v = normal(&mut rng, keys, &device)?;
    let scale = (WIDTH as f64).sqrt().recip();

    let mut scores = (&q * scale)?.matmul(&k.t()?)?;
    if cap != NO_CAP {
        scores = ((scores / cap)?.tanh()? * cap)?;
    }
    let expected = candle_nn::ops::softmax_last_dim(&scores)?.matmul(&v)?;
    let found = candle_nn::ops::sdpa(&q, &k, &v, None, false, scale as f32, cap as f32)?;
    assert_eq!((found.dims(), found.dtype()), (expected.dims(), DType::F32));
    let relative = ((&expected - &found)?.abs()? / expected.abs()?)?;
    let error = relative.sum_all()?.to_scalar::<f32>()?;
    assert!(error <= allowed, "{error}, {allowed} allowed");
    Ok(())
}

#[test]
fn sdpa_full() -> Result<()> {
    check(42, 16, 16, NO_CAP, 0.02)
}

/// One key: its value, to the bit.
#[test]
fn sdpa_vector() -> Result<()> {
    check(4242, 1, 1, NO_CAP, 0.0)
}

#[test]
fn sdpa_full_softcapping() -> Result<()> {
    check(424242, 1, 4, 50.0, 0.002)
}

#[test]
fn sdpa_vector_softcapping() -> Result<()> {
    check(42424242, 1, 1, 50.0, 0.0001)
}

#[test]
fn sdpa_vector_cross() -> Result<()> {
    check(4242424242, 1, 24, NO_CAP, 0.0013)
}
