//! `candle_nn::moe` on rocm against the experts' products one by one, in f64.
use candle::quantized::{rocm, GgmlDType, QTensor};
use candle::{DType, Device, Result, Storage, Tensor};
use candle_nn::fused::route_token;
use candle_nn::moe::{moe_gemm, moe_gemm_gguf};

const EXPERTS: usize = 4;
const PER_TOKEN: usize = 2;

/// Numbers between -1 and 1 without a period that the tests could meet.
fn numbers(count: usize, start: f32) -> Vec<f32> {
    (0..count)
        .map(|i| ((i as f32 + start) * 1.618).sin())
        .collect()
}

/// Which expert takes which row of the result, sorted by expert as a router does it.
fn assignment(rows: usize) -> (Vec<u32>, Vec<u32>) {
    let mut pairs: Vec<(u32, u32)> = (0..rows as u32).map(|row| (row * 5 % 3, row)).collect();
    pairs.sort();
    pairs.into_iter().map(|(expert, row)| (row, expert)).unzip()
}

struct Case {
    tokens: usize,
    n: usize,
    k: usize,
    /// Whether the rows of the result are weighted; each then has an input of its own.
    weighted: bool,
}

/// Runs `product` on the device; calls `check(row, column, expected, absolute products)`.
fn run(
    case: &Case,
    w: &[f32],
    x: &[f32],
    product: impl Fn(&Option<Tensor>, &Tensor, &Tensor) -> Result<Tensor>,
    check: impl Fn(f64, f64, f64, String),
) -> Result<()> {
    let device = Device::new_rocm(0)?;
    let (n, k) = (case.n, case.k);
    let shared = if case.weighted { 1 } else { PER_TOKEN };
    let rows = case.tokens * shared;
    let (sorted, experts) = assignment(rows);
    let scales = numbers(rows, 0.5);
    let weights = match case.weighted {
        true => Some(Tensor::from_slice(&scales[..], rows, &device)?),
        false => None,
    };
    let found = product(
        &weights,
        &Tensor::from_slice(&sorted[..], rows, &device)?,
        &Tensor::from_slice(&experts[..], rows, &device)?,
    )?;
    assert_eq!(found.dims(), [rows, n]);
    let found = found.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    for (row, expert) in sorted.iter().zip(&experts) {
        let (row, expert) = (*row as usize, *expert as usize);
        let scale = if case.weighted {
            scales[row] as f64
        } else {
            1.
        };
        let x = &x[row / shared * k..][..k];
        for column in 0..n {
            let w = &w[(expert * n + column) * k..][..k];
            let products = w.iter().zip(x).map(|(w, x)| scale * *w as f64 * *x as f64);
            let absolute = products.clone().map(f64::abs).sum();
            let what = format!("row {row} of {rows}, column {column}, expert {expert}");
            check(found[row][column] as f64, products.sum(), absolute, what);
        }
    }
    Ok(())
}

/// From vector products of single rows to tiles of several groups an expert, of dense weights too.
const CASES: [Case; 5] = [
    Case {
        tokens: 1,
        n: 5,
        k: 256,
        weighted: false,
    },
    Case {
        tokens: 7,
        n: 6,
        k: 512,
        weighted: false,
    },
    Case {
        tokens: 9,
        n: 3,
        k: 256,
        weighted: true,
    },
    Case {
        tokens: 70,
        n: 66,
        k: 256,
        weighted: false,
    },
    Case {
        tokens: 70,
        n: 9,
        k: 512,
        weighted: true,
    },
];

#[test]
fn dense_experts() -> Result<()> {
    let device = Device::new_rocm(0)?;
    for case in &CASES {
        let (n, k) = (case.n, case.k);
        for (dtype, rounding) in [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-8))] {
            let rounded = |values: Vec<f32>, shape: &[usize]| -> Result<(Tensor, Vec<f32>)> {
                let t = Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?;
                let values = t.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
                Ok((t.to_device(&device)?, values))
            };
            let (w, w_values) = rounded(numbers(EXPERTS * n * k, 1.), &[EXPERTS, n, k])?;
            let (x, x_values) = rounded(numbers(case.tokens * k, 2.), &[case.tokens, k])?;
            for prefill in [false, true] {
                run(
                    case,
                    &w_values,
                    &x_values,
                    |scales, sorted, experts| {
                        moe_gemm(&x, &w, scales, sorted, experts, PER_TOKEN, prefill)
                    },
                    |found, expected, absolute, what| {
                        // The sum in f32, then the result's own rounding.
                        let bound =
                            k as f64 * 2f64.powi(-24) * absolute + rounding * expected.abs();
                        let error = (found - expected).abs();
                        assert!(
                            error <= bound,
                            "{dtype:?} {what}: {found}, expected {expected}"
                        );
                    },
                )?;
            }
        }
    }
    Ok(())
}

/// `candle::quantized::rocm::moe_gemm_gguf`, which takes activations of more types than `candle_nn::moe` does.
fn product_of_any_types(
    x: &Tensor,
    w: &QTensor,
    scales: &Option<Tensor>,
    sorted: &Tensor,
    experts: &Tensor,
) -> Result<Tensor> {
    fn on_rocm(storage: &Storage) -> &candle::RocmStorage {
        match storage {
            Storage::Rocm(storage) => storage,
            _ => panic!("not on rocm"),
        }
    }
    let tables = [Some(sorted), Some(experts), scales.as_ref()];
    let [rows, experts, scales] = tables.map(|table| table.map(Tensor::storage_and_layout));
    let (x, x_l) = x.storage_and_layout();
    let [rows, experts, weights] =
        [&rows, &experts, &scales].map(|table| table.as_ref().map(|(s, l)| (on_rocm(s), *l)));
    let tokens = rocm::SortedTokens {
        rows: rows.expect("given"),
        experts: experts.expect("given"),
        weights,
        per_token: PER_TOKEN,
    };
    let (out, shape) = rocm::moe_gemm_gguf(w, on_rocm(&x), x_l, &tokens)?;
    let (out, op) = (Storage::Rocm(out), candle::op::BackpropOp::none());
    Ok(Tensor::from_storage(out, shape, op, false))
}

/// Weights and activations of any two float types, one by one and by both tiles (32 and 128 tasks by 128 rows), whole and in part:
/// rows of any length, read from addresses that are multiples of an element's size only. Numbers that f16 has as subnormals stay what
/// they are.
#[test]
fn experts_of_two_float_types() -> Result<()> {
    let device = Device::new_rocm(0)?;
    let types = [
        (GgmlDType::F32, DType::F32),
        (GgmlDType::F16, DType::F16),
        (GgmlDType::BF16, DType::BF16),
    ];
    for (tokens, n, k, weighted) in [
        (70, 131, 100, false),
        (90, 128, 67, true),
        (70, 5, 1, false),
        (64, 66, 32, false),
        (3, 9, 67, true),
        (2, 33, 1024, false),
        (230, 130, 72, false),
        (420, 17, 33, true),
    ] {
        let case = Case {
            tokens,
            n,
            k,
            weighted,
        };
        // Half of the weights are below 2^-14.
        let small = |(i, v): (usize, f32)| if i % 2 == 0 { v } else { v * 1e-5 };
        let w = numbers(EXPERTS * n * k, 1.).into_iter().enumerate();
        let w = Tensor::from_iter(w.map(small), &Device::Cpu)?.reshape((EXPERTS, n, k))?;
        let x = Tensor::from_vec(numbers(tokens * k, 2.), (tokens, k), &Device::Cpu)?;
        for (w_type, w_dtype) in types {
            let there = QTensor::quantize_onto(&w, w_type, &device)?;
            let w = w.to_dtype(w_dtype)?.to_dtype(DType::F32)?;
            let w = w.flatten_all()?.to_vec1::<f32>()?;
            for (x_dtype, rounding) in [
                (DType::F32, 2f64.powi(-24)),
                (DType::F16, 2f64.powi(-11)),
                (DType::BF16, 2f64.powi(-8)),
            ] {
                let x = x.to_dtype(x_dtype)?;
                let on_rocm = x.to_device(&device)?;
                let x = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
                run(
                    &case,
                    &w,
                    &x,
                    |scales, sorted, experts| {
                        product_of_any_types(&on_rocm, &there, scales, sorted, experts)
                    },
                    |found, expected, absolute, what| {
                        // The sum and the scale in f32, then the result's own rounding, below 2^-14 in f16 to steps of 2^-24.
                        let sum = (k + 1) as f64 * 2f64.powi(-24) * absolute;
                        let bound = sum + rounding * expected.abs() + 2f64.powi(-25);
                        assert!(
                            (found - expected).abs() <= bound,
                            "{w_type:?} by {x_dtype:?}, k = {k}, {what}: {found}, expected {expected}"
                        );
                    },
                )?;
            }
        }
    }
    Ok(())
}

#[test]
fn quantized_experts() -> Result<()> {
    let device = Device::new_rocm(0)?;
    for case in &CASES {
        let (n, k) = (case.n, case.k);
        for dtype in [
            GgmlDType::Q4_0,
            GgmlDType::Q8_0,
            GgmlDType::Q2K,
            GgmlDType::Q3K,
            GgmlDType::Q4K,
            GgmlDType::Q5K,
            GgmlDType::Q6K,
            GgmlDType::F16,
        ] {
            let w = Tensor::from_vec(numbers(EXPERTS * n * k, 1.), (EXPERTS, n, k), &Device::Cpu)?;
            let there = QTensor::quantize_onto(&w, dtype, &device)?;
            let w = QTensor::quantize(&w, dtype)?.dequantize(&Device::Cpu)?;
            let w = w.flatten_all()?.to_vec1::<f32>()?;
            let x = numbers(case.tokens * k, 2.);
            let on_rocm = Tensor::from_slice(&x[..], (case.tokens, k), &device)?;
            for prefill in [false, true] {
                run(
                    case,
                    &w,
                    &x,
                    |scales, sorted, experts| {
                        let (x, w) = (&on_rocm, &there);
                        moe_gemm_gguf(
                            x,
                            w,
                            scales,
                            sorted,
                            experts,
                            PER_TOKEN,
                            prefill,
                            DType::F16,
                        )
                    },
                    |found, expected, _, what| {
                        // Activations below 1 are off by half a step of 1/127, the weights are below 1.1.
                        let bound = k as f64 * 1.1 / 254.;
                        let error = (found - expected).abs();
                        assert!(
                            error <= bound,
                            "{dtype:?} {what}: {found}, expected {expected}"
                        );
                    },
                )?;
            }
        }
    }
    Ok(())
}

#[test]
fn tables_that_do_not_fit_are_errors() -> Result<()> {
    let device = Device::new_rocm(0)?;
    let w = Tensor::zeros((EXPERTS, 3, 64), DType::F16, &device)?;
    let x = Tensor::zeros((2, 64), DType::F16, &device)?;
    let ids = |count: usize| Tensor::zeros(count, DType::U32, &device);
    let error = moe_gemm(&x, &w, &None, &ids(3)?, &ids(4)?, PER_TOKEN, false);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("sorted_token_ids has 3 elements, 4 are wanted"),
        "{error}"
    );
    let narrow = Tensor::zeros((2, 32), DType::F16, &device)?;
    let error = moe_gemm(&narrow, &w, &None, &ids(4)?, &ids(4)?, PER_TOKEN, false);
    assert!(error.unwrap_err().to_string().contains("does not fit"));
    Ok(())
}

/// The products whose instructions, by `HIP_EMULATOR_PROFILE`, decide in crossover.rs from how many tasks on experts' tiles pay.
#[test]
#[ignore = "for a profile"]
fn what_experts_cost() -> Result<()> {
    let device = Device::new_rocm(0)?;
    // All tasks are one expert's, of three that count.
    let (experts, n, k) = (3, 512, 2048);
    let w = Tensor::from_vec(numbers(experts * n * k, 1.), (experts, n, k), &Device::Cpu)?;
    for w_type in [GgmlDType::F32, GgmlDType::F16, GgmlDType::BF16] {
        let w = QTensor::quantize_onto(&w, w_type, &device)?;
        for x_type in [DType::F32, DType::F16, DType::BF16] {
            // Two vector products; a flat tile; three large ones.
            for tokens in [1, 16, 192] {
                let x = Tensor::zeros((tokens, k), x_type, &device)?;
                let rows = tokens * PER_TOKEN;
                let sorted = Tensor::arange(0u32, rows as u32, &device)?;
                let experts = Tensor::zeros(rows, DType::U32, &device)?;
                product_of_any_types(&x, &w, &None, &sorted, &experts)?;
            }
        }
    }
    device.synchronize()
}

/// Softmax, the largest shares, the smaller number of equal ones: by the definition, in f64.
fn exact_routes(logits: &[f32], per_token: usize, normalised: bool) -> (Vec<f64>, Vec<u32>) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits.iter().map(|x| f64::from(x - largest).exp());
    let sum: f64 = powers.clone().sum();
    let mut ranked: Vec<(f64, u32)> = powers.map(|p| p / sum).zip(0..).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.truncate(per_token);
    let total: f64 = ranked.iter().map(|(share, _)| share).sum();
    let scale = if normalised { total } else { 1.0 };
    ranked
        .into_iter()
        .map(|(share, expert)| (share / scale, expert))
        .unzip()
}

#[test]
fn a_token_is_routed_to_the_largest_shares() -> Result<()> {
    let device = Device::new_rocm(0)?;
    let words = |x: &Tensor| x.to_vec1::<u32>();
    for (count, per_token) in [
        (1, 1),
        (8, 2),
        (33, 32),
        (60, 4),
        (128, 8),
        (129, 8),
        (512, 32),
    ] {
        let spread: Vec<f32> = numbers(count, 0.25).iter().map(|x| x * 6.0).collect();
        // Each number many times: the first of equal ones are taken.
        let equal: Vec<f32> = (0..count).map(|i| (i * 7 % 5) as f32).collect();
        // Experts that no token may take, as long as there are others.
        let barred = (0..count).map(|i| match i % 3 {
            1 => f32::NEG_INFINITY,
            _ => spread[i],
        });
        for logits in [spread.clone(), equal, barred.collect()] {
            for normalised in [false, true] {
                let x = Tensor::from_slice(&logits[..], (1, count), &device)?;
                let what = format!("{per_token} of {count}, normalised: {normalised}");
                let Some(routes) = route_token(&x, per_token, normalised)? else {
                    candle::bail!("{what}: no kernel")
                };
                let (shares, chosen) = exact_routes(&logits, per_token, normalised);
                let found = routes.weights.to_vec2::<f32>()?.remove(0);
                assert_eq!(found.len(), per_token);
                for (found, share) in found.iter().zip(&shares) {
                    // Roundings of a power, of sums of up to 512 and of two quotients.
                    assert!((f64::from(*found) - share).abs() <= 2e-6 * share, "{what}");
                }
                let (experts, places) = (words(&routes.experts)?, words(&routes.places)?);
                assert!(experts.is_sorted(), "{what}");
                let by_rank: Vec<u32> = places.iter().map(|p| chosen[*p as usize]).collect();
                assert_eq!(experts, by_rank, "{what}");
                let mut every = places;
                every.sort();
                assert_eq!(every, (0..per_token as u32).collect::<Vec<_>>(), "{what}");
            }
        }
    }
    // What is not a number makes no number, of experts that there are.
    let mut logits = [0f32; 40];
    logits[7] = f32::NAN;
    let x = Tensor::from_slice(&logits[..], (1, 40), &device)?;
    let routes = route_token(&x, 3, true)?.expect("a kernel");
    assert!(routes.weights.to_vec2::<f32>()?[0]
        .iter()
        .all(|w| w.is_nan()));
    assert!(words(&routes.experts)?.iter().all(|e| *e < 40));
    // Not for the kernel.
    let of = |dims: (usize, usize), dtype| Tensor::zeros(dims, dtype, &device);
    for (x, per_token) in [
        (of((2, 8), DType::F32)?, 2),
        (of((1, 8), DType::F16)?, 2),
        (of((1, 8), DType::F32)?, 9),
        (of((1, 8), DType::F32)?, 0),
        (of((1, 513), DType::F32)?, 2),
        (of((1, 64), DType::F32)?, 33),
        (of((64, 1), DType::F32)?.t()?.narrow(1, 0, 8)?, 0),
    ] {
        assert!(
            route_token(&x, per_token, true)?.is_none(),
            "{:?}",
            x.dims()
        );
    }
    assert!(route_token(&Tensor::zeros((1, 8), DType::F32, &Device::Cpu)?, 2, true)?.is_none());
    Ok(())
}
