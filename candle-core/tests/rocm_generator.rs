//! Random tensors on rocm: the very numbers of Philox4x32-10, and their distributions.
mod rocm_support;

use candle_core::{DType, Device, Result, Tensor};
use rocm_support::{rocm, FLOATS, INTEGERS};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The generator belongs to the device, which the tests of this file share.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Philox4x32-10 as its authors define it (Salmon et al., SC 2011, section 4.3).
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let product = |m: u32, c: u32| u64::from(m) * u64::from(c);
        let (a, b) = (
            product(0xD251_1F53, counter[0]),
            product(0xCD9E_8D57, counter[2]),
        );
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [
            key[0].wrapping_add(0x9E37_79B9),
            key[1].wrapping_add(0xBB67_AE85),
        ];
    }
    counter
}

/// The vectors that the authors publish (Random123, tests/kat_vectors, "philox4x32 10").
#[test]
fn the_reference_is_philox() {
    assert_eq!(
        philox([0; 4], [0; 2]),
        [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
    );
    assert_eq!(
        philox([u32::MAX; 4], [u32::MAX; 2]),
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
    );
    assert_eq!(
        philox(
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0]
        ),
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
    );
}

/// The words of block after block under a seed.
fn words(seed: u64, first: u64, blocks: u64) -> Vec<u32> {
    let key = [seed as u32, (seed >> 32) as u32];
    let block = |n: u64| philox([n as u32, (n >> 32) as u32, 0, 0], key);
    (first..first + blocks).flat_map(block).collect()
}

#[test]
fn uniform_numbers_are_the_words_of_the_seed() -> Result<()> {
    let _alone = alone();
    let (device, seed) = (rocm()?, 0x1234_5678_9abc_def0);
    device.set_seed(seed)?;
    assert_eq!(device.get_current_seed()?, seed);
    // 1001 numbers use up 251 blocks; the next tensor begins with block 251.
    let first = Tensor::rand(0f32, 1f32, 1001, &device)?.to_vec1::<f32>()?;
    let second = Tensor::rand(0f64, 1f64, 7, &device)?.to_vec1::<f64>()?;
    let expected = words(seed, 0, 251).into_iter().take(1001);
    for (found, word) in first.iter().zip(expected) {
        assert_eq!(*found, (word >> 8) as f32 / (1 << 24) as f32);
    }
    let later = words(seed, 251, 4);
    for (found, pair) in second.iter().zip(later.chunks(2)) {
        let bits = (u64::from(pair[1]) << 32 | u64::from(pair[0])) >> 11;
        assert_eq!(*found, bits as f64 / (1u64 << 53) as f64);
    }
    // Setting the seed starts again.
    device.set_seed(seed)?;
    assert_eq!(
        first,
        Tensor::rand(0f32, 1f32, 1001, &device)?.to_vec1::<f32>()?
    );
    Ok(())
}

/// The numbers of Box and Muller's formula, computed in f64 from the same words.
#[test]
fn normal_numbers_are_box_and_mullers() -> Result<()> {
    let _alone = alone();
    let device = rocm()?;
    device.set_seed(99)?;
    let found = Tensor::randn(1f32, 2f32, 4000, &device)?.to_vec1::<f32>()?;
    let double = Tensor::randn(0f64, 1f64, 1000, &device)?.to_vec1::<f64>()?;
    let mut worst = 0f64;
    for (pair, word) in found.chunks(2).zip(words(99, 0, 1000).chunks(2)) {
        let u = (f64::from(word[0]) + 0.5) / 4294967296.0;
        let angle = std::f64::consts::TAU * f64::from(word[1] >> 8) / f64::from(1 << 24);
        let radius = (-2.0 * u.ln()).sqrt();
        for (found, expected) in pair
            .iter()
            .zip([radius * angle.cos(), radius * angle.sin()])
        {
            worst = worst.max((f64::from(*found) - (1.0 + 2.0 * expected)).abs());
        }
    }
    // A dozen roundings of values up to 2 × 6.8 in f32.
    assert!(worst < 12.0 * 13.6 * 2f64.powi(-24), "f32 is {worst} off");
    let mut worst = 0f64;
    for (pair, word) in double.chunks(2).zip(words(99, 1000, 1000).chunks(4)) {
        let bits = |i: usize| (u64::from(word[i + 1]) << 32 | u64::from(word[i])) >> 11;
        let unit = 1.0 / (1u64 << 53) as f64;
        let (u, turns) = ((bits(0) as f64 + 0.5) * unit, bits(2) as f64 * unit);
        let (radius, angle) = ((-2.0 * u.ln()).sqrt(), std::f64::consts::TAU * turns);
        for (found, expected) in pair
            .iter()
            .zip([radius * angle.cos(), radius * angle.sin()])
        {
            worst = worst.max((found - expected).abs());
        }
    }
    // The angle itself, up to 2 pi, is rounded in the reference.
    assert!(worst < 32.0 * 8.6 * 2f64.powi(-53), "f64 is {worst} off");
    Ok(())
}

fn draw(
    dtype: DType,
    normal: bool,
    a: f64,
    b: f64,
    count: usize,
    device: &Device,
) -> Result<Vec<f64>> {
    let like = Tensor::zeros(count, dtype, device)?;
    let t = match normal {
        true => like.randn_like(a, b)?,
        false => like.rand_like(a, b)?,
    };
    assert_eq!(t.dtype(), dtype);
    t.to_dtype(DType::F64)?.to_vec1()
}

/// Largest distance between the distribution of `values` and `cumulative` (Kolmogorov, Smirnov). `step` widens the
/// comparison by a type's rounding: a rounded value stands for all that round to it.
fn kolmogorov_smirnov(
    mut values: Vec<f64>,
    step: impl Fn(f64) -> f64,
    cumulative: impl Fn(f64) -> f64,
) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let distance = |(i, &v): (usize, &f64)| {
        let (above, below) = (cumulative(v + step(v)), cumulative(v - step(v)));
        (i as f64 / n - above)
            .max(below - (i + 1) as f64 / n)
            .max(0.0)
    };
    values.iter().enumerate().map(distance).fold(0.0, f64::max)
}

/// Half the distance to the next value of the type, at most.
fn rounding(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-11),
        DType::BF16 => 2f64.powi(-8),
        DType::F8E4M3 => 2f64.powi(-4),
        _ => 0.0,
    }
}

const COUNT: usize = 20_000;
/// The distance that a right generator exceeds once in a thousand seeds is 1.95 / sqrt(n); the seed is fixed, so the
/// outcome is too. A wrong distribution is off by far more.
const CRITICAL: f64 = 1.95;

#[test]
fn uniform_numbers_are_uniform_in_every_type() -> Result<()> {
    let _alone = alone();
    let device = rocm()?;
    for &dtype in FLOATS {
        device.set_seed(42)?;
        let (low, high) = (-1.0, 3.0);
        let values = draw(dtype, false, low, high, COUNT, &device)?;
        assert!(
            values.iter().all(|v| (low..high).contains(v)),
            "{dtype:?} leaves its range"
        );
        // The last value below the end also stands for what would round to the end.
        let last = values.iter().copied().fold(low, f64::max);
        let step = |v: f64| {
            let half = rounding(dtype) * v.abs().max(2f64.powi(-6));
            if v == last {
                2.0 * half
            } else {
                half
            }
        };
        let distance = kolmogorov_smirnov(values.clone(), step, |v| {
            ((v - low) / (high - low)).clamp(0.0, 1.0)
        });
        assert!(
            distance < CRITICAL / (COUNT as f64).sqrt(),
            "{dtype:?}: {distance}"
        );
        if rounding(dtype) < 0.01 {
            let mean = values.iter().sum::<f64>() / COUNT as f64;
            let variance =
                values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / COUNT as f64;
            // Five standard errors: of the mean (high - low) / sqrt(12 n), of the variance (high - low)^2 / sqrt(180 n).
            assert!(
                (mean - 1.0).abs() < 5.0 * 4.0 / (12.0 * COUNT as f64).sqrt(),
                "{dtype:?}: mean {mean}"
            );
            let error = 5.0 * 16.0 / (180.0 * COUNT as f64).sqrt();
            assert!(
                (variance - 16.0 / 12.0).abs() < error,
                "{dtype:?}: variance {variance}"
            );
        }
    }
    Ok(())
}

#[test]
fn normal_numbers_are_normal_in_every_type() -> Result<()> {
    let _alone = alone();
    let device = rocm()?;
    for &dtype in FLOATS {
        device.set_seed(43)?;
        let values = draw(dtype, true, 0.5, 2.0, COUNT, &device)?;
        let cumulative =
            |v: f64| 0.5 * (1.0 + libm::erf((v - 0.5) / 2.0 / std::f64::consts::SQRT_2));
        let step = |v: f64| rounding(dtype) * v.abs().max(2f64.powi(-6));
        let distance = kolmogorov_smirnov(values.clone(), step, cumulative);
        assert!(
            distance < CRITICAL / (COUNT as f64).sqrt(),
            "{dtype:?}: {distance}"
        );
        if rounding(dtype) < 0.01 {
            let mean = values.iter().sum::<f64>() / COUNT as f64;
            let variance =
                values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / COUNT as f64;
            // Five standard errors: deviation / sqrt(n) and deviation^2 sqrt(2 / n).
            assert!(
                (mean - 0.5).abs() < 5.0 * 2.0 / (COUNT as f64).sqrt(),
                "{dtype:?}: mean {mean}"
            );
            assert!(
                (variance - 4.0).abs() < 5.0 * 4.0 * (2.0 / COUNT as f64).sqrt(),
                "{dtype:?}: {variance}"
            );
        }
    }
    Ok(())
}

#[test]
fn draws_are_independent() -> Result<()> {
    let _alone = alone();
    let device = rocm()?;
    device.set_seed(7)?;
    let draws: Vec<Vec<f64>> = (0..3)
        .map(|_| draw(DType::F32, true, 0.0, 1.0, COUNT, &device))
        .collect::<Result<_>>()?;
    device.set_seed(8)?;
    let other_seed = draw(DType::F32, true, 0.0, 1.0, COUNT, &device)?;
    let correlation =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / a.len() as f64;
    // Five standard errors of the correlation of independent numbers.
    let most = 5.0 / (COUNT as f64).sqrt();
    for (a, b) in [
        (&draws[0], &draws[1]),
        (&draws[0], &draws[2]),
        (&draws[0], &other_seed),
    ] {
        assert_ne!(a, b);
        let found = correlation(a, b);
        assert!(found.abs() < most, "{found}");
    }
    // Neighbours within a draw: the two numbers of a pair share a radius, not a direction.
    for distance in 1..4 {
        let found = correlation(&draws[0][distance..], &draws[0]);
        assert!(found.abs() < most, "at distance {distance}: {found}");
    }
    Ok(())
}

/// The upper end is left out even where rounding to the type would reach it.
#[test]
fn the_upper_end_is_left_out() -> Result<()> {
    let _alone = alone();
    let device = rocm()?;
    device.set_seed(1)?;
    for dtype in [DType::BF16, DType::F8E4M3, DType::F16] {
        let values = draw(dtype, false, 0.0, 1.0, COUNT, &device)?;
        assert!(values.iter().all(|v| *v < 1.0), "{dtype:?}");
        let values = draw(dtype, false, -2.0, -1.0, COUNT, &device)?;
        assert!(values.iter().all(|v| (-2.0..-1.0).contains(v)), "{dtype:?}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_drawn_is_an_error() -> Result<()> {
    let device = rocm()?;
    for &dtype in INTEGERS {
        let like = Tensor::zeros(3, dtype, &device)?;
        for (error, op) in [
            (like.rand_like(0., 1.).unwrap_err(), "rand_uniform"),
            (like.randn_like(0., 1.).unwrap_err(), "rand_normal"),
        ] {
            let text = error.to_string();
            assert!(
                text.contains(op) && text.contains(&format!("{dtype:?}")),
                "{text}"
            );
        }
    }
    for (low, high) in [(1f32, 1f32), (2., 1.), (f32::NAN, 1.), (0., f32::INFINITY)] {
        let text = Tensor::rand(low, high, 3, &device).unwrap_err().to_string();
        assert!(text.contains("is not a range of F32"), "{text}");
    }
    let text = Tensor::randn(0f32, f32::NAN, 3, &device)
        .unwrap_err()
        .to_string();
    assert!(text.contains("must be finite"), "{text}");
    assert_eq!(Tensor::rand(0f32, 1f32, (0, 3), &device)?.dims(), [0, 3]);
    Ok(())
}
