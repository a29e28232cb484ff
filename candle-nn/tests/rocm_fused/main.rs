//! `candle_nn::fused` on rocm against the operations that it stands for: on the same device where they round alike, else on the
//! CPU in f64.
use candle::quantized::{GgmlDType, QMatMul, QTensor};
use candle::{DType, Device, Module, Result, Tensor, D};
use candle_nn::fused::{
    add_rms_norm, add_rms_norms, biased_products, product_in, products, silu_mul,
};

mod attention;
mod conv;

const DTYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

fn rocm() -> Result<Device> {
    Device::new_rocm(0)
}

/// Numbers in [-2, 2) that look random (xorshift).
fn numbers(shape: &[usize], seed: u64) -> Result<Tensor> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 * 4.0 - 2.0
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn there(x: &Tensor, dtype: DType) -> Result<Tensor> {
    x.to_dtype(dtype)?.to_device(&rocm()?)
}

/// Values as f64 on the CPU.
fn wide(x: &Tensor) -> Result<Tensor> {
    x.to_device(&Device::Cpu)?.to_dtype(DType::F64)
}

/// The largest difference, as a share of the largest value.
fn off(found: &Tensor, expected: &Tensor) -> Result<f64> {
    assert_eq!(found.dims(), expected.dims());
    let largest = expected.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()?;
    let off = (wide(found)? - expected)?.abs()?;
    let off = off.flatten_all()?.max(0)?.to_scalar::<f64>()?;
    assert!(off.is_finite() && largest > 0.0);
    Ok(off / largest)
}

/// Half a unit in the last place of numbers near 1.
fn rounding(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-11),
        DType::BF16 => 2f64.powi(-8),
        _ => 2f64.powi(-24),
    }
}

#[test]
fn silu_mul_rounds_as_its_parts() -> Result<()> {
    for dtype in DTYPES {
        for shape in [&[1, 1, 1000][..], &[3, 77], &[2, 5, 256], &[0, 8]] {
            let gate = there(&numbers(shape, 1)?, dtype)?;
            let up = there(&numbers(shape, 2)?, dtype)?;
            let parts = (candle_nn::ops::silu(&gate)? * &up)?;
            let found = silu_mul(&gate, &up)?;
            assert_eq!(found.dims(), shape);
            let bits = |x: &Tensor| wide(x)?.flatten_all()?.to_vec1::<f64>();
            assert_eq!(bits(&found)?, bits(&parts)?, "{shape:?} {dtype:?}");
        }
        // Halves of one product, as phi3 has them, and columns that do not lie side by side.
        let both = there(&numbers(&[2, 3, 600], 3)?, dtype)?;
        let (gate, up) = (both.narrow(2, 0, 300)?, both.narrow(2, 300, 300)?);
        let parts = (gate.silu()? * &up)?;
        assert_eq!(off(&silu_mul(&gate, &up)?, &wide(&parts)?)?, 0.0);
        let (gate, up) = (gate.transpose(1, 2)?, up.transpose(1, 2)?);
        assert_eq!(
            off(&silu_mul(&gate, &up)?, &wide(&parts.transpose(1, 2)?)?)?,
            0.0
        );
    }
    let (a, b) = (
        there(&numbers(&[2, 4], 4)?, DType::F32)?,
        there(&numbers(&[4, 2], 5)?, DType::F32)?,
    );
    assert!(silu_mul(&a, &b).is_err(), "other shapes");
    Ok(())
}

#[test]
fn products_together_are_those_of_each() -> Result<()> {
    use GgmlDType::{F32, Q4K, Q4_0, Q6K};
    let quantized = |dtype, n: usize, k: usize, seed| {
        let weights = numbers(&[n, k], seed)?;
        QMatMul::from_qtensor(QTensor::quantize_onto(&weights, dtype, &rocm()?)?)
    };
    let bits = |x: &Tensor| wide(x)?.flatten_all()?.to_vec1::<f64>();
    // Types of queries, keys and values, and rows of each. Dense weights are multiplied apart.
    let cases = [
        ([Q4_0, Q4_0, Q4_0], [64, 7, 1]),
        ([Q4K, Q4K, Q6K], [33, 16, 16]),
        ([Q4K, Q6K, Q4K], [5, 6, 9]),
        ([Q4_0, F32, Q4_0], [8, 8, 8]),
    ];
    for dtype in DTYPES {
        for (types, n) in cases {
            if types.contains(&F32) && dtype != DType::F32 {
                continue;
            }
            let w = |i: usize| quantized(types[i], n[i], 512, i as u64 + 1);
            let w = [w(0)?, w(1)?, w(2)?];
            for rows in [1, 2, 8, 9] {
                let x = there(&numbers(&[1, rows, 512], 7)?, dtype)?;
                let found = products([&w[0], &w[1], &w[2]], &x)?;
                for (w, found) in w.iter().zip(&found) {
                    // Whatever stands in a workgroup beside it, a row is multiplied in the same order.
                    let alone = w.forward(&x)?;
                    assert_eq!(found.dims(), alone.dims());
                    assert!(found.is_contiguous() && found.dtype() == alone.dtype());
                    assert_eq!(bits(found)?, bits(&alone)?, "{types:?} {rows} {dtype:?}");
                }
                // A bias for two of them.
                let b = [
                    there(&numbers(&[n[0]], 8)?, dtype)?,
                    there(&numbers(&[n[2]], 9)?, dtype)?,
                ];
                let biases = [Some(&b[0]), None, Some(&b[1])];
                let biased = [0, 1, 2].map(|i| (&w[i], biases[i]));
                for (i, sum) in biased_products(biased, &x)?.iter().enumerate() {
                    let parts = match biases[i] {
                        Some(bias) => found[i].broadcast_add(bias)?,
                        None => found[i].clone(),
                    };
                    assert_eq!(
                        bits(sum)?,
                        bits(&parts)?,
                        "bias, {types:?} {rows} {dtype:?}"
                    );
                }
            }
        }
    }
    // One weight, more than a launch takes, halves of a row that do not lie side by side, and none.
    let w = quantized(Q4_0, 10, 64, 1)?;
    let x = there(&numbers(&[3, 64], 2)?, DType::F32)?;
    let [one] = products([&w], &x)?;
    for found in &products([&w; 5], &x)? {
        assert_eq!(bits(found)?, bits(&one)?);
    }
    let apart = there(&numbers(&[64, 3], 2)?, DType::F32)?.t()?;
    let [found] = products([&w], &apart)?;
    assert_eq!(bits(&found)?, bits(&w.forward(&apart.contiguous()?)?)?);
    let [] = products([], &x)?;
    // Errors are those of the product alone.
    let short = there(&numbers(&[1, 32], 3)?, DType::F32)?;
    let message = |e: candle::Error| e.to_string().lines().next().map(str::to_string);
    let alone = w.forward(&short).map_err(message).unwrap_err();
    let several = products([&w, &w], &short).map_err(message).unwrap_err();
    assert_eq!(several, alone);
    let long = there(&numbers(&[11], 3)?, DType::F32)?;
    assert!(biased_products([(&w, Some(&long))], &x).is_err());
    let on_cpu = numbers(&[1, 64], 3)?;
    assert!(products([&w, &w], &on_cpu).is_err());
    Ok(())
}

#[test]
fn a_product_in_another_type_is_that_of_the_converted() -> Result<()> {
    let bits = |x: &Tensor| wide(x)?.flatten_all()?.to_vec1::<f64>();
    for weights in [GgmlDType::Q4K, GgmlDType::F32, GgmlDType::F16] {
        let w = QTensor::quantize_onto(&numbers(&[24, 512], 1)?, weights, &rocm()?)?;
        let w = QMatMul::from_qtensor(w)?;
        for (from, to) in DTYPES
            .into_iter()
            .flat_map(|from| DTYPES.map(|to| (from, to)))
        {
            for rows in [0, 1, 8, 9] {
                let x = there(&numbers(&[1, rows, 512], 2)?, from)?;
                let (found, apart) = (product_in(&w, &x, to), w.forward(&x.to_dtype(to)?));
                let what = format!("{weights:?}, {rows} rows in {from:?} as {to:?}");
                match (found, apart) {
                    (Ok(found), Ok(apart)) => {
                        assert_eq!((found.dtype(), found.dims()), (to, apart.dims()), "{what}");
                        assert_eq!(bits(&found)?, bits(&apart)?, "{what}");
                    }
                    // A dequantized matrix takes its own type alone.
                    (found, apart) => assert!(found.is_err() && apart.is_err(), "{what}"),
                }
            }
        }
    }
    Ok(())
}

/// More than the work-items hold in registers, of few rows and of many; and what is not read 16 bytes at a time.
const NORMS: [(usize, usize); 9] = [
    (1, 4096),
    (1, 31),
    (5, 256),
    (3, 1500),
    (2, 1),
    (2, 17_000),
    (1, 9001),
    (65, 5000),
    (64, 777),
];

/// The rows of `x` normalised, in f64.
fn exact_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    let exact = wide(x)?;
    let mean = exact.sqr()?.mean_keepdim(D::Minus1)?;
    let exact = exact.broadcast_div(&(mean + f64::from(eps))?.sqrt()?)?;
    exact.broadcast_mul(&wide(weight)?)
}

/// The result's rounding; in f32 a few more of the sum, the root and the products, each of one rounding.
fn allowed_of_norm(dtype: DType) -> f64 {
    rounding(dtype) * if dtype == DType::F32 { 8.0 } else { 1.1 }
}

#[test]
fn add_rms_norm_is_a_sum_and_its_norm() -> Result<()> {
    let eps = 1e-5;
    for dtype in DTYPES {
        for (rows, columns) in NORMS {
            let shape = [1, rows, columns];
            let x = there(&numbers(&shape, 1)?, dtype)?;
            let branch = there(&numbers(&shape, 2)?, dtype)?;
            let weight = there(&numbers(&[columns], 3)?, dtype)?;
            let (sum, normed) = add_rms_norm(&x, &branch, &weight, eps)?;
            assert_eq!((sum.dtype(), normed.dtype()), (dtype, dtype));
            let parts = (&x + &branch)?;
            assert_eq!(
                off(&sum, &wide(&parts)?)?,
                0.0,
                "{rows} x {columns} {dtype:?}"
            );
            let off = off(&normed, &exact_norm(&parts, &weight, eps)?)?;
            let allowed = allowed_of_norm(dtype);
            assert!(
                off <= allowed,
                "{rows} x {columns} {dtype:?}: {off:e}, {allowed:e} allowed"
            );
        }
    }
    let x = there(&numbers(&[2, 64], 4)?, DType::F32)?;
    let short = there(&numbers(&[32], 5)?, DType::F32)?;
    assert!(
        add_rms_norm(&x, &x, &short, eps).is_err(),
        "too few weights"
    );
    Ok(())
}

#[test]
fn add_rms_norms_is_the_sum_with_a_normalised_branch_and_its_norm() -> Result<()> {
    let (branch_eps, eps) = (1e-3, 1e-5);
    for dtype in DTYPES {
        for (rows, columns) in NORMS {
            let shape = [1, rows, columns];
            let x = there(&numbers(&shape, 1)?, dtype)?;
            // As small as what the larger of both epsilons tells apart.
            let branch = there(&(numbers(&shape, 2)? * 0.05)?, dtype)?;
            let of_branch = there(&numbers(&[columns], 3)?, dtype)?;
            let weight = there(&numbers(&[columns], 4)?, dtype)?;
            let (sum, normed) =
                add_rms_norms(&x, &branch, (&of_branch, branch_eps), (&weight, eps))?;
            assert_eq!((sum.dtype(), normed.dtype()), (dtype, dtype));
            let exact = (wide(&x)? + exact_norm(&branch, &of_branch, branch_eps)?)?;
            // The branch is rounded, and the sum.
            let allowed = allowed_of_norm(dtype) + rounding(dtype);
            let off_sum = off(&sum, &exact)?;
            assert!(
                off_sum <= allowed,
                "sum, {rows} x {columns} {dtype:?}: {off_sum:e}, {allowed:e} allowed"
            );
            let off = off(&normed, &exact_norm(&sum, &weight, eps)?)?;
            let allowed = allowed_of_norm(dtype);
            assert!(
                off <= allowed,
                "{rows} x {columns} {dtype:?}: {off:e}, {allowed:e} allowed"
            );
        }
    }
    let x = there(&numbers(&[2, 64], 5)?, DType::F32)?;
    let (short, fits) = (
        there(&numbers(&[32], 6)?, DType::F32)?,
        there(&numbers(&[64], 7)?, DType::F32)?,
    );
    let of = |branch: &Tensor, weight: &Tensor| add_rms_norms(&x, &x, (branch, eps), (weight, eps));
    of(&fits, &fits)?;
    assert!(of(&short, &fits).is_err() && of(&fits, &short).is_err());
    Ok(())
}

/// The int8 form that the kernels leave is the one that a product would make: zeros, and numbers of every size.
#[test]
fn what_products_read_is_left_in_int8() -> Result<()> {
    let device = rocm()?;
    for dtype in DTYPES {
        for (rows, columns) in [(1, 256), (5, 512), (2, 1280), (66, 3104), (1, 17_024)] {
            let weights = numbers(&[24, columns], 1)?;
            let weights = QTensor::quantize_onto(&weights, GgmlDType::Q8_0, &device)?;
            let weights = QMatMul::from_qtensor(weights)?;
            let shape = [1, rows, columns];
            // A segment in three of zeros, the others from large to tiny.
            let scales: Vec<f32> = (0..rows * columns)
                .map(|i| (i / 32 % 3) as f32 * 0.5f32.powi((i / 96 % 20) as i32))
                .collect();
            let scales = Tensor::from_vec(scales, &shape[..], &Device::Cpu)?;
            let of = |seed| there(&(numbers(&shape, seed)? * &scales)?, dtype);
            let (x, y, weight) = (of(2)?, of(3)?, there(&numbers(&[columns], 4)?, dtype)?);
            let norm = (&weight, 1e-5);
            let made = [
                silu_mul(&x, &y)?,
                add_rms_norm(&x, &y, &weight, 1e-5)?.1,
                add_rms_norms(&x, &y, norm, norm)?.1,
            ];
            // From an address where no 16 bytes can be read at once.
            let moved = Tensor::cat(&[x.narrow(2, 0, 1)?, x.clone()], 2)?.narrow(2, 1, columns)?;
            let moved = match rows {
                1 => Some(add_rms_norm(&moved, &y, &weight, 1e-5)?.1),
                _ => None,
            };
            for made in made.into_iter().chain(moved) {
                let copy = made.to_device(&Device::Cpu)?.to_device(&device)?;
                let expected = wide(&weights.forward(&copy)?)?;
                assert_eq!(
                    off(&weights.forward(&made)?, &expected)?,
                    0.0,
                    "{shape:?} {dtype:?}"
                );
            }
        }
    }
    // As from a product of its own, a segment with an infinite element makes NaN.
    let infinite = (0..64).map(|i| if i == 40 { f32::INFINITY } else { 1.0 });
    let infinite = Tensor::from_iter(infinite, &device)?.reshape((1, 64))?;
    let weights = QTensor::quantize_onto(&numbers(&[1, 64], 5)?, GgmlDType::Q8_0, &device)?;
    let made = silu_mul(&infinite, &infinite)?;
    let out = QMatMul::from_qtensor(weights)?.forward(&made)?;
    assert!(out.to_vec2::<f32>()?[0][0].is_nan());
    Ok(())
}
