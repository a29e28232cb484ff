//! Mixtures of experts on rocm against the experts' products one by one, in f64.
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Result, Tensor};
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::sync::Mutex;

mod rocm_types;

/// A bad expert is reported to whoever waits next for the device: tests take turns.
static DEVICE: Mutex<()> = Mutex::new(());

fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1f32..1f32)).collect()
}

#[test]
fn picked_experts_of_every_type() -> Result<()> {
    let _turn = DEVICE.lock().unwrap_or_else(|e| e.into_inner());
    let device = Device::new_rocm(0)?;
    let experts = 3;
    for dtype in rocm_types::all() {
        // Experts of 5 × 96 weights are no whole number of 256, which the translated kernel takes for granted.
        let (n, k) = if dtype.block_size() == 256 {
            (5, 256)
        } else {
            (5, 96)
        };
        let w = Tensor::from_vec(random(experts * n * k, 1), (experts, n, k), &Device::Cpu)?;
        let weights = QTensor::quantize_onto(&w, dtype, &device)?;
        let w = QTensor::quantize(&w, dtype)?
            .dequantize(&Device::Cpu)?
            .to_vec3::<f32>()?;
        // Vector products; tiles of part of a group, of one and of several groups an expert.
        for (batch, inputs, picked) in [(1, 1, 2), (4, 1, 2), (3, 2, 2), (70, 1, 1), (100, 1, 2)] {
            let x = Tensor::from_vec(
                random(batch * inputs * k, 2),
                (batch, inputs, k),
                &Device::Cpu,
            )?;
            let ids: Vec<u32> = (0..batch * picked)
                .map(|i| (i * 7 % 5 % experts) as u32)
                .collect();
            let ids = Tensor::from_vec(ids, (batch, picked), &Device::Cpu)?;
            let found =
                weights.indexed_moe_forward(&x.to_device(&device)?, &ids.to_device(&device)?)?;
            assert_eq!(found.dims(), [batch, picked, n]);
            let (found, x, ids) = (
                found.to_vec3::<f32>()?,
                x.to_vec3::<f32>()?,
                ids.to_vec2::<u32>()?,
            );
            for token in 0..batch {
                for pick in 0..picked {
                    let x = &x[token][if inputs == 1 { 0 } else { pick }];
                    for row in 0..n {
                        let w = &w[ids[token][pick] as usize][row];
                        let expected: f64 =
                            w.iter().zip(x).map(|(w, x)| *w as f64 * *x as f64).sum();
                        // Activations below 1 rounded to steps of 1/127: half a step of each weight.
                        let bound: f64 =
                            w.iter().map(|w| w.abs() as f64 / 254.).sum::<f64>() + 1e-4;
                        let found = found[token][pick][row] as f64;
                        assert!(
                            (found - expected).abs() <= bound,
                            "{dtype:?} token {token} pick {pick} row {row}: {found}, expected {expected}"
                        );
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn an_expert_that_does_not_exist_is_an_error() -> Result<()> {
    let _turn = DEVICE.lock().unwrap_or_else(|e| e.into_inner());
    let device = Device::new_rocm(0)?;
    let (n, k) = (5, 256);
    for dtype in [GgmlDType::Q4K, GgmlDType::Q8_0, GgmlDType::F16] {
        let w = Tensor::from_vec(random(2 * n * k, 3), (2, n, k), &Device::Cpu)?;
        let weights = QTensor::quantize_onto(&w, dtype, &device)?;
        let x = Tensor::ones((2, 1, k), candle_core::DType::F32, &device)?;
        let good = Tensor::new(&[[0u32, 1], [1, 0]], &device)?;
        for id in [2, 4_000_000_000] {
            let bad = Tensor::new(&[[0u32, id], [1, 0]], &device)?;
            let out = weights.indexed_moe_forward(&x, &bad)?;
            let error = out.to_vec3::<f32>().unwrap_err().to_string();
            let what =
                format!("mixture of experts: index {id} is out of range for a dimension of size 2");
            assert!(error.contains(&what), "{error}");
            // Once reported it is over; the row that had no expert holds no number.
            let out = out.to_vec3::<f32>()?;
            assert!(out[0][1].iter().all(|v| v.is_nan()), "{dtype:?}: {out:?}");
            let others = out[0][0].iter().chain(&out[1][0]).chain(&out[1][1]);
            assert!(
                others.into_iter().all(|v| v.is_finite()),
                "{dtype:?}: {out:?}"
            );
            weights.indexed_moe_forward(&x, &good)?.to_vec3::<f32>()?;
        }
    }
    Ok(())
}

/// Here because a fault of a kernel is reported to whoever waits next, and these tests take turns.
#[test]
fn a_row_of_an_embedding_that_does_not_exist_is_an_error() -> Result<()> {
    let _turn = DEVICE.lock().unwrap_or_else(|e| e.into_inner());
    let device = Device::new_rocm(0)?;
    let ids = Tensor::new(&[1u32, 5], &device)?;
    let w = Tensor::from_vec(random(5 * 256, 5), (5, 256), &Device::Cpu)?;
    for dtype in [GgmlDType::Q4_0, GgmlDType::Q6K, GgmlDType::F16] {
        let weights = QTensor::quantize_onto(&w, dtype, &device)?;
        let error = weights.embedding(&ids)?.to_vec2::<f32>();
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("index 5 is out of range for a dimension of size 5"),
            "{error}"
        );
    }
    Ok(())
}

#[test]
fn shapes_that_do_not_fit_are_errors() -> Result<()> {
    let _turn = DEVICE.lock().unwrap_or_else(|e| e.into_inner());
    let device = Device::new_rocm(0)?;
    let w = Tensor::from_vec(random(2 * 3 * 64, 4), (2, 3, 64), &Device::Cpu)?;
    let weights = QTensor::quantize_onto(&w, GgmlDType::Q8_0, &device)?;
    let x = |shape: (usize, usize, usize)| Tensor::zeros(shape, candle_core::DType::F32, &device);
    let ids = |shape: (usize, usize)| Tensor::zeros(shape, candle_core::DType::U32, &device);
    for (x, ids) in [
        (x((2, 1, 32))?, ids((2, 2))?),
        (x((2, 1, 64))?, ids((3, 2))?),
        (x((2, 3, 64))?, ids((2, 2))?),
    ] {
        let error = weights
            .indexed_moe_forward(&x, &ids)
            .unwrap_err()
            .to_string();
        assert!(error.contains("do not fit"), "{error}");
    }
    let none = weights.indexed_moe_forward(&x((0, 1, 64))?, &ids((0, 2))?)?;
    assert_eq!(none.dims(), [0, 2, 3]);
    Ok(())
}
