//! Quantized products on rocm against f64, within a bound that follows from rounding the activations to int8.
use candle_core::quantized::rocm::{set_force_dmmv, set_product_kernels, ProductKernels};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{DType, Device, Module, Result, Tensor};
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::sync::Mutex;

mod rocm_types;
use rocm_types::QUANTIZED;

const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// The choice of kernels is the program's, so whoever makes one holds this.
static CHOICE: Mutex<()> = Mutex::new(());

fn with_kernels<T>(kernels: ProductKernels, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let _turn = CHOICE.lock().unwrap_or_else(|e| e.into_inner());
    set_product_kernels(kernels);
    let out = work();
    set_product_kernels(ProductKernels::Own);
    out
}

fn rocm() -> Result<Device> {
    Device::new_rocm(0)
}

fn random(rows: usize, k: usize, scale: f32, seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..rows * k)
        .map(|_| scale * rng.random_range(-1f32..1f32))
        .collect()
}

/// Weights on the device and their values.
fn weights(values: Vec<f32>, n: usize, k: usize, dtype: GgmlDType) -> Result<(QTensor, Vec<f32>)> {
    let tensor = Tensor::from_vec(values, (n, k), &Device::Cpu)?;
    let q = QTensor::quantize_onto(&tensor, dtype, &rocm()?)?;
    let values = QTensor::quantize(&tensor, dtype)?
        .dequantize(&Device::Cpu)?
        .flatten_all()?
        .to_vec1()?;
    Ok((q, values))
}

/// The products of rows of `k` activations with rows of `k` weights in f64, and how far a kernel may be from each: two
/// tensors [rows of x, rows of w].
///
/// Each activation of a block of 32 is off by half a step of largest / 127. Sums in f32 round the products and the
/// offsets, which are no larger than the block's largest weight: 2^-24 of 32 of each a block, and of the k blocks' sum.
/// The translated kernels read Q8_1: step and sum of a block are rounded to f16 on top, 2^-11 of each.
fn reference(kernels: ProductKernels, w: &[f32], x: &[f32], k: usize) -> Result<(Tensor, Tensor)> {
    let per_block = match kernels {
        ProductKernels::Own => 2f64.powi(-22),
        ProductKernels::Translated => 2f64.powi(-10),
    };
    let wide = |values: &[f32]| {
        Tensor::from_slice(values, (values.len() / k, k), &Device::Cpu)?.to_dtype(DType::F64)
    };
    let (w, x) = (wide(w)?, wide(x)?);
    let (w_size, x_size) = (w.abs()?, x.abs()?);
    let blocks = |t: &Tensor| t.reshape((t.dim(0)?, k / 32, 32));
    let w_off =
        ((blocks(&w_size)?.sum(2)? / 254.)? + (blocks(&w_size)?.max(2)? * (32. * per_block))?)?;
    let quantized = blocks(&x_size)?.max(2)?.matmul(&w_off.t()?)?;
    let summed = (x_size.matmul(&w_size.t()?)? * (k as f64 * 2f64.powi(-24)))?;
    Ok((x.matmul(&w.t()?)?, (quantized + summed)?))
}

/// Half a unit in the last place of a result in this type.
fn rounding(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-11),
        DType::BF16 => 2f64.powi(-8),
        _ => 0.,
    }
}

/// Holds the product against the reference; x is rounded to `dtype` first, so that only the product is measured.
fn check(
    kernels: ProductKernels,
    q: &QMatMul,
    w: &[f32],
    x: &Tensor,
    n: usize,
    what: &str,
) -> Result<()> {
    let k = x.dim(candle_core::D::Minus1)?;
    let dtype = x.dtype();
    let found = with_kernels(kernels, || q.forward(&x.to_device(&rocm()?)?))?;
    assert_eq!(found.dtype(), dtype, "{what}");
    assert_eq!(found.dims().last(), Some(&n), "{what}");
    let floats = |t: &Tensor| -> Result<Vec<f32>> {
        t.to_device(&Device::Cpu)?
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1()
    };
    let (x, found) = (floats(x)?, floats(&found)?);
    assert_eq!(found.len(), x.len() / k * n, "{what}");
    let (expected, bound) = reference(kernels, w, &x, k)?;
    let doubles = |t: Tensor| t.flatten_all()?.to_vec1::<f64>();
    let reference = doubles(expected)?.into_iter().zip(doubles(bound)?);
    for (place, (found, (expected, bound))) in found.iter().zip(reference).enumerate() {
        let (row, column, found) = (place / n, place % n, *found as f64);
        let bound = bound + rounding(dtype) * expected.abs() + 1e-30;
        assert!(
            (found - expected).abs() <= bound,
            "{what} [{row}, {column}]: {found}, expected {expected} within {bound}"
        );
    }
    Ok(())
}

/// Rows of activations on both sides of every switch between kernels and of the tiles.
const ROWS: [usize; 8] = [1, 2, 3, 5, 8, 9, 33, 130];

/// Even and odd rows of weights, k that is and is no multiple of 512.
fn sweep(
    kernels: ProductKernels,
    dtypes: &[DType],
    weights_shapes: &[(usize, usize)],
) -> Result<()> {
    for dtype in QUANTIZED {
        for &(n, k) in weights_shapes {
            let (q, w) = weights(random(n, k, 1., 1), n, k, dtype)?;
            let q = QMatMul::from_qtensor(q)?;
            for rows in ROWS {
                let x = Tensor::from_vec(random(rows, k, 3., 2), (rows, k), &Device::Cpu)?;
                for float in dtypes {
                    let x = x.to_dtype(*float)?;
                    let what =
                        format!("{dtype:?} [{rows}, {k}] x [{n}, {k}] {float:?} {kernels:?}");
                    check(kernels, &q, &w, &x, n, &what)?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn products_by_our_kernels() -> Result<()> {
    sweep(
        ProductKernels::Own,
        &FLOATS,
        &[(32, 512), (33, 256), (7, 768)],
    )
}

#[test]
fn products_by_translated_kernels() -> Result<()> {
    // Whole tiles, which they need for more than 8 rows of activations.
    sweep(
        ProductKernels::Translated,
        &[DType::F32],
        &[(33, 256), (128, 768)],
    )
}

/// So many rows that some targets dequantize the weights and multiply in bf16: the same bound holds.
#[test]
fn hundreds_of_rows() -> Result<()> {
    for dtype in QUANTIZED {
        let (rows, n, k) = (257, 66, 256);
        let (q, w) = weights(random(n, k, 1., 19), n, k, dtype)?;
        let q = QMatMul::from_qtensor(q)?;
        let x = Tensor::from_vec(random(rows, k, 3., 20), (rows, k), &Device::Cpu)?;
        for float in [DType::F32, DType::BF16] {
            let what = format!("{dtype:?} [{rows}, {k}] x [{n}, {k}] {float:?}");
            check(ProductKernels::Own, &q, &w, &x.to_dtype(float)?, n, &what)?;
        }
    }
    Ok(())
}

/// Few tiles and a long k, which several workgroups share (a test of crossover.rs holds that they do); the last one's part is
/// shorter, of the simple types no multiple of 256.
#[test]
fn long_rows_in_parts() -> Result<()> {
    for dtype in QUANTIZED {
        let (n, k) = match dtype.block_size() {
            32 => (66, 6048),
            _ => (66, 5888),
        };
        let (q, w) = weights(random(n, k, 1., 21), n, k, dtype)?;
        let q = QMatMul::from_qtensor(q)?;
        for rows in [9, 40] {
            let x = Tensor::from_vec(random(rows, k, 3., 22), (rows, k), &Device::Cpu)?;
            for float in FLOATS {
                let what = format!("{dtype:?} [{rows}, {k}] x [{n}, {k}] {float:?}");
                check(ProductKernels::Own, &q, &w, &x.to_dtype(float)?, n, &what)?;
            }
        }
    }
    Ok(())
}

/// k of a few blocks only, which no kernel's stride divides.
#[test]
fn short_rows_of_the_simple_types() -> Result<()> {
    for dtype in QUANTIZED.into_iter().filter(|t| t.block_size() == 32) {
        for (n, k) in [(5, 32), (65, 96), (3, 544)] {
            let (q, w) = weights(random(n, k, 1., 3), n, k, dtype)?;
            let q = QMatMul::from_qtensor(q)?;
            for rows in [1, 2, 7, 66] {
                let x = Tensor::from_vec(random(rows, k, 1., 4), (rows, k), &Device::Cpu)?;
                check(
                    ProductKernels::Own,
                    &q,
                    &w,
                    &x,
                    n,
                    &format!("{dtype:?} [{rows}, {k}] x [{n}, {k}]"),
                )?;
            }
        }
    }
    Ok(())
}

/// Zeros, scales as large as f16 has them, subnormal scales, one element that outweighs its block.
#[test]
fn adversarial_values() -> Result<()> {
    let k = 512;
    let at = |f: &dyn Fn(usize) -> f32| -> Vec<f32> { (0..9 * k).map(f).collect() };
    // Q4_0's scale is an eighth of the largest value, that of Q5_0 a sixteenth; below 65520 it is finite in every type.
    let largest = at(&|i| if i % 2 == 0 { 490e3 } else { -490e3 });
    let cases = [
        ("zeros", at(&|_| 0.)),
        ("largest", largest),
        ("subnormal", at(&|i| 1e-6 * ((i % 7) as f32 - 3.))),
        ("spike", at(&|i| if i % 32 == 5 { 100. } else { 0.01 })),
    ];
    for dtype in QUANTIZED {
        for (name, values) in &cases {
            // Types with a minimum in f16 cannot hold -490000.
            let has_minimum = matches!(
                dtype,
                GgmlDType::Q4_1
                    | GgmlDType::Q5_1
                    | GgmlDType::Q2K
                    | GgmlDType::Q4K
                    | GgmlDType::Q5K
            );
            let scale = match *name == "largest" && has_minimum {
                true => 60e3 / 490e3,
                false => 1.,
            };
            let values: Vec<f32> = values.iter().map(|v| v * scale).collect();
            for n in [8, 9] {
                let (q, w) = weights(values[..n * k].to_vec(), n, k, dtype)?;
                assert!(w.iter().all(|w| w.is_finite()), "{dtype:?} {name}");
                let q = QMatMul::from_qtensor(q)?;
                for rows in ROWS {
                    let x = Tensor::from_vec(values[..k].repeat(rows), (rows, k), &Device::Cpu)?;
                    let what = format!("{dtype:?} {name} {rows} rows, {n} of the weights");
                    check(ProductKernels::Own, &q, &w, &x, n, &what)?;
                }
            }
        }
    }
    Ok(())
}

/// Blocks that hold any bits, NaN and infinite scales among them: a result is no number exactly where the CPU's product
/// with the dequantized blocks is none.
#[test]
fn what_is_no_number_is_none_on_the_cpu() -> Result<()> {
    let device = rocm()?;
    let (n, k) = (33, 256);
    let mut rng = StdRng::seed_from_u64(15);
    for dtype in QUANTIZED {
        let len = n * k / dtype.block_size() * dtype.type_size();
        let mut blocks: Vec<u8> = (0..len).map(|_| rng.random()).collect();
        if dtype == GgmlDType::Q8K {
            // Its scale is f32, and a random one may overflow in a weight or in the product with a sum of integers.
            for block in blocks.chunks_mut(dtype.type_size()) {
                let scales = [1e30, -1e20, 1e-42, f32::NAN, f32::INFINITY];
                block[..4].copy_from_slice(&scales[rng.random_range(0..5)].to_le_bytes());
            }
        }
        let tensor = |device: &Device| -> Result<QTensor> {
            let storage = QStorage::from_data(blocks.clone().into(), device, dtype)?;
            QTensor::new(storage, (n, k))
        };
        let dense = tensor(&Device::Cpu)?.dequantize(&Device::Cpu)?;
        let q = QMatMul::QTensor(tensor(&device)?.into());
        for rows in ROWS {
            // Small activations: finite weights give finite products.
            let x = Tensor::from_vec(random(rows, k, 1e-3, 16), (rows, k), &Device::Cpu)?;
            let expected = x.matmul(&dense.t()?)?.to_vec2::<f32>()?;
            let found = own(&q, &x.to_device(&device)?)?.to_vec2::<f32>()?;
            for (e, f) in expected.concat().iter().zip(found.concat()) {
                assert_eq!(
                    e.is_finite(),
                    f.is_finite(),
                    "{dtype:?} {rows} rows: {e} on the CPU, {f}"
                );
            }
        }
    }
    Ok(())
}

/// With `set_force_dmmv` activations stay in f32: the bound is that of f32 sums alone.
#[test]
fn forced_dequantization_keeps_the_activations() -> Result<()> {
    let device = rocm()?;
    for dtype in QUANTIZED {
        for (n, k) in [(9, 256), (8, 768)] {
            let (q, w) = weights(random(n, k, 1., 17), n, k, dtype)?;
            let q = QMatMul::QTensor(q.into());
            for rows in [1, 2, 9] {
                let x = random(rows, k, 1., 18);
                let there = Tensor::from_slice(&x, (rows, k), &device)?;
                let found = with_kernels(ProductKernels::Own, || {
                    set_force_dmmv(true);
                    let out = q.forward(&there);
                    set_force_dmmv(false);
                    out
                })?;
                let found = found.flatten_all()?.to_vec1::<f32>()?;
                for (row, x) in x.chunks(k).enumerate() {
                    for (column, w) in w.chunks(k).enumerate() {
                        let products = w.iter().zip(x).map(|(w, x)| *w as f64 * *x as f64);
                        let expected: f64 = products.clone().sum();
                        let absolute: f64 = products.map(f64::abs).sum();
                        // A weight is a product and a sum of f32 itself, and its sum with others k more.
                        let bound = (k + 2) as f64 * 2f64.powi(-24) * absolute;
                        let found = found[row * n + column] as f64;
                        assert!(
                            (found - expected).abs() <= bound,
                            "{dtype:?} {rows} rows: {found}, expected {expected} within {bound}"
                        );
                    }
                }
            }
        }
    }
    Ok(())
}

/// The product by our kernels, whatever other tests choose meanwhile.
fn own(q: &QMatMul, x: &Tensor) -> Result<Tensor> {
    with_kernels(ProductKernels::Own, || q.forward(x))
}

/// A scale that is NaN makes its rows NaN and no others; so does an activation.
#[test]
fn nan_stays_in_its_row() -> Result<()> {
    let (n, k) = (3, 256);
    for dtype in QUANTIZED {
        let tensor = Tensor::from_vec(random(n, k, 1., 5), (n, k), &Device::Cpu)?;
        let mut blocks = QTensor::quantize(&tensor, dtype)?.data()?.into_owned();
        let row = blocks.len() / n;
        // The scale of a block in the second row: f16 or, in Q8K, f32; 0xff is NaN in both.
        let at = row
            + match dtype {
                GgmlDType::Q2K => 80,
                GgmlDType::Q3K => 108,
                GgmlDType::Q6K => 208,
                _ => 0,
            };
        blocks[at..at + if dtype == GgmlDType::Q8K { 4 } else { 2 }].fill(0xff);
        let device = rocm()?;
        let storage = QStorage::from_data(blocks.into(), &device, dtype)?;
        let q = QMatMul::from_qtensor(QTensor::new(storage, (n, k))?)?;
        for rows in [1, 2, 9] {
            for dtype in FLOATS {
                let x = Tensor::ones((rows, k), dtype, &device)?;
                let out = own(&q, &x)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
                for row in out {
                    assert!(
                        row[1].is_nan() && !row[0].is_nan() && !row[2].is_nan(),
                        "{row:?}"
                    );
                }
            }
        }
        let mut x = vec![1f32; 2 * k];
        x[k + 40] = f32::INFINITY;
        let x = Tensor::from_vec(x, (2, k), &device)?;
        let own = own(&q, &x)?.to_vec2::<f32>()?;
        assert!(
            !own[0][0].is_nan() && own[1][0].is_nan(),
            "{dtype:?} {own:?}"
        );
    }
    Ok(())
}

/// Weights that are not quantized, every pair of types, against f64 within f32's rounding and the results' own.
/// The product with weights that are not quantized: sums of f32, in any order, of exact products.
fn check_dense(q: &QMatMul, w: &Tensor, x: &Tensor, what: &str) -> Result<()> {
    let wide = |t: &Tensor| t.to_device(&Device::Cpu)?.to_dtype(DType::F64);
    let doubles = |t: &Tensor| wide(t)?.flatten_all()?.to_vec1::<f64>();
    let found = doubles(&own(q, &x.to_device(&rocm()?)?)?)?;
    let (dtype, k) = (x.dtype(), x.dim(1)?);
    let (w, x) = (wide(w)?, wide(x)?);
    let expected = doubles(&x.matmul(&w.t()?)?)?;
    let absolute = doubles(&x.abs()?.matmul(&w.abs()?.t()?)?)?;
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, ((found, expected), absolute)) in found.iter().zip(expected).zip(absolute).enumerate() {
        let bound = k as f64 * 2f64.powi(-24) * absolute + rounding(dtype) * expected.abs();
        assert!(
            (found - expected).abs() <= bound,
            "{what}, result {i}: {found}, expected {expected} within {bound}"
        );
    }
    Ok(())
}

#[test]
fn dense_weights_with_activations_of_every_type() -> Result<()> {
    let device = rocm()?;
    for (ggml, weights_dtype) in [
        (GgmlDType::F32, DType::F32),
        (GgmlDType::F16, DType::F16),
        (GgmlDType::BF16, DType::BF16),
    ] {
        // Rows that are no whole loads of 16 bytes, and some that are, more of them than a wave has lanes; k in parts;
        // enough for middle and large tiles.
        for (n, k, rows) in [
            (33, 100, &ROWS[..]),
            (70, 33, &ROWS),
            (5, 552, &ROWS),
            (130, 1100, &[3, 9, 40, 70]),
            (17_000, 24, &[60]),
            (2045, 24, &[2043]),
        ] {
            let w = Tensor::from_vec(random(n, k, 1., 6), (n, k), &Device::Cpu)?;
            let q = QMatMul::QTensor(QTensor::quantize_onto(&w, ggml, &device)?.into());
            let w = w.to_dtype(weights_dtype)?;
            for &rows in rows {
                for dtype in FLOATS {
                    if n > 1000 && dtype == weights_dtype {
                        // Of one type: rocm_gemm.
                        continue;
                    }
                    let x = Tensor::from_vec(random(rows, k, 1., 7), (rows, k), &Device::Cpu)?;
                    let what = format!("{ggml:?} {dtype:?} [{rows}, {k}] x [{n}, {k}]");
                    check_dense(&q, &w, &x.to_dtype(dtype)?, &what)?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn views_batches_and_nothing() -> Result<()> {
    let device = rocm()?;
    let (n, k) = (9, 256);
    for dtype in [GgmlDType::Q4K, GgmlDType::Q8_1, GgmlDType::F16] {
        let (q, _) = weights(random(n, k, 1., 8), n, k, dtype)?;
        let q = QMatMul::QTensor(q.into());
        let x = Tensor::from_vec(random(12, k, 1., 9), (2, 6, k), &device)?;
        let all = own(&q, &x)?;
        assert_eq!(all.dims(), [2, 6, n]);
        let all = all.to_vec3::<f32>()?;
        // Not contiguous: the dimensions of the batch exchanged. Rows that lie elsewhere in a tile may have their f32 sums
        // rounded otherwise: a few units of 2^-24 of sums below 32.
        let turned = own(&q, &x.transpose(0, 1)?)?.to_vec3::<f32>()?;
        for i in 0..2 {
            for j in 0..6 {
                for (a, t) in all[i][j].iter().zip(&turned[j][i]) {
                    assert!(
                        (a - t).abs() <= 32. * 1e-6,
                        "{dtype:?} [{i}, {j}]: {a}, {t}"
                    );
                }
            }
        }
        let inner = own(&q, &x.narrow(1, 2, 1)?)?;
        assert_eq!(inner.dims(), [2, 1, n]);
        assert_eq!(own(&q, &x.narrow(1, 2, 0)?)?.dims(), [2, 0, n]);
        assert_eq!(own(&q, &x.narrow(0, 1, 1)?)?.dims(), [1, 6, n]);
    }
    Ok(())
}
