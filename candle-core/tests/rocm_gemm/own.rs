//! Own kernels: each tile, its edges, every way of reading an operand, sums in parts. The reference is the CPU backend's
//! product of contiguous f64 copies.
use super::rocm_support::{numbers, on, rocm};
use candle_core::{DType, Device, Result, Tensor};

const MULTIPLIED: [DType; 4] = [DType::F32, DType::F16, DType::BF16, DType::F64];

fn unit_roundoff(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 2f64.powi(-53),
        DType::F32 => 2f64.powi(-24),
        DType::F16 => 2f64.powi(-11),
        _ => 2f64.powi(-8),
    }
}

fn target(device: &Device) -> Result<String> {
    let rocm = device.as_rocm_device()?;
    Ok(rocm
        .properties()
        .target
        .split(':')
        .next()
        .unwrap_or_default()
        .to_string())
}

/// A matrix for each of `batches` in one of the layouts that kernels read differently: 0 rows contiguous, 1 columns
/// contiguous, 2 rows that begin anywhere, 3 columns that begin anywhere, 4 neither contiguous.
fn matrix(
    layout: usize,
    (batches, rows, columns): (usize, usize, usize),
    values: impl Fn(usize) -> Vec<f32>,
    dtype: DType,
) -> Result<Tensor> {
    let of = |shape: &[usize]| -> Result<Tensor> {
        Tensor::from_vec(values(shape.iter().product()), shape, &Device::Cpu)?.to_dtype(dtype)
    };
    match layout {
        0 => of(&[batches, rows, columns]),
        1 => of(&[batches, columns, rows])?.transpose(1, 2),
        2 => of(&[batches, rows, columns + 3])?.narrow(2, 2, columns),
        3 => of(&[batches, columns, rows + 5])?
            .narrow(2, 1, rows)?
            .transpose(1, 2),
        _ => of(&[batches, rows, columns, 2])?
            .narrow(3, 1, 1)?
            .squeeze(3),
    }
}

fn doubles(t: &Tensor) -> Result<Vec<f64>> {
    t.to_device(&Device::Cpu)?
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1()
}

fn exact(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let wide = |t: &Tensor| t.to_dtype(DType::F64)?.force_contiguous();
    wide(a)?.matmul(&wide(b)?)
}

/// Fails where the device's product is further from the exact one than roundings explain.
///
/// The sum of k products in a type of unit roundoff u, in any order and in any number of parts, has at most k - 1
/// additions above any product, each of which rounds once, and the product itself rounds at most once; so every product
/// comes with at most k factors of 1 + u, and the sum is off by at most ((1 + u)^k - 1) times the sum of the products'
/// magnitudes: below 1.01 k u of it for k u < 0.01. Rounding the sum to the result's type adds that type's unit roundoff of
/// the result, or half of its smallest step (2^-24 for f16) where the result is subnormal.
fn check(device: &Device, a: &Tensor, b: &Tensor, what: &str) -> Result<()> {
    let dtype = a.dtype();
    let k = a.dim(2)? as f64;
    let sums = unit_roundoff(dtype).min(unit_roundoff(DType::F32));
    let found = on(device, a)?.matmul(&on(device, b)?)?;
    assert_eq!(found.dtype(), dtype, "{what}");
    let expected = exact(a, b)?;
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let weights = exact(
        &a.to_dtype(DType::F64)?.abs()?,
        &b.to_dtype(DType::F64)?.abs()?,
    )?;
    let (found, expected, weights) = (doubles(&found)?, doubles(&expected)?, doubles(&weights)?);
    let smallest = if dtype == DType::F16 {
        2f64.powi(-25)
    } else {
        0.0
    };
    for (i, ((f, e), w)) in found.iter().zip(&expected).zip(&weights).enumerate() {
        let of_sum = 1.01 * k * sums * w;
        let allowed = of_sum + unit_roundoff(dtype) * (e.abs() + of_sum) + smallest;
        assert!(
            (f - e).abs() <= allowed,
            "{what}: element {i} is {f}, expected {e}, allowed {allowed:e}"
        );
    }
    Ok(())
}

/// Numbers of at least 2^-9 in magnitude: none is subnormal in any type, which CDNA 2 would read as zero (see the test of
/// that).
fn normal_numbers(seed: u64) -> impl Fn(usize) -> Vec<f32> {
    let away = |v: f32| if v.abs() < 2f32.powi(-9) { 0.5 } else { v };
    move |count| numbers(count, seed).into_iter().map(away).collect()
}

/// Rows and columns around the tiles' 32, 64 and 128, steps around the pieces' 8, 16 and 32.
#[test]
fn any_shape_in_any_layout() -> Result<()> {
    let device = rocm()?;
    let sides = [9, 16, 31, 33, 64, 65, 100, 127, 129, 200];
    let depths = [0, 1, 2, 7, 8, 15, 16, 31, 32, 33, 64, 72, 97];
    let mut state = 1u64;
    let mut draw = |among: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % among
    };
    for dtype in MULTIPLIED {
        for case in 0..36 {
            let (m, n, k) = (sides[draw(10)], sides[draw(10)], depths[draw(13)]);
            let batches = 1 + draw(2);
            let (left, right) = (draw(5), draw(5));
            let a = matrix(left, (batches, m, k), normal_numbers(case), dtype)?;
            let b = matrix(right, (batches, k, n), normal_numbers(case + 100), dtype)?;
            let what = format!("{dtype:?}, {batches} of {m}x{k}x{n}, layouts {left} and {right}");
            check(&device, &a, &b, &what)?;
            // One operand for all batches.
            let one = b.narrow(0, 0, 1)?.broadcast_as(b.shape())?;
            check(&device, &a, &one, &format!("{what}, one for all"))?;
        }
    }
    Ok(())
}

/// Up to 8 rows: numbers of columns around a warp's four and a workgroup's, steps that one, two, four and eight warps share,
/// with and without a rest of a 16-byte read; from either side, in any layout.
#[test]
fn few_rows() -> Result<()> {
    let device = rocm()?;
    let depths = [0, 1, 5, 32, 64, 129, 512, 1000, 1024, 2051, 4096, 4100];
    for dtype in MULTIPLIED {
        for m in 1..=8 {
            for (case, n) in [1, 3, 4, 6, 33].into_iter().enumerate() {
                let k = depths[(m * 5 + case * 7) % depths.len()];
                let batches = 1 + (m + case) % 2;
                let (left, right) = ((m + case) % 5, 1 + 2 * (case % 2));
                let a = matrix(left, (batches, m, k), normal_numbers(m as u64), dtype)?;
                let b = matrix(right, (batches, k, n), normal_numbers(case as u64), dtype)?;
                let what = format!("{dtype:?}, {batches} of {m}x{k}x{n}, {left} and {right}");
                check(&device, &a, &b, &what)?;
                let (a, b) = (a.transpose(1, 2)?, b.transpose(1, 2)?);
                check(&device, &b, &a, &format!("{what}, transposed"))?;
            }
            // Rows of both in whole reads, as of a linear layer; columns enough for two workgroups.
            let a = matrix(0, (1, m, 4096), normal_numbers(7), dtype)?;
            let b = matrix(1, (1, 4096, 9), normal_numbers(8), dtype)?;
            check(&device, &a, &b, &format!("{dtype:?}, {m} rows"))?;
        }
    }
    Ok(())
}

/// Enough tiles for the large ones, of matrix cores and (more of them) of multiply-adds, whole and with edges.
#[test]
fn many_tiles() -> Result<()> {
    let device = rocm()?;
    for dtype in MULTIPLIED {
        for (batches, m, n, layout) in [
            (100, 128, 128, 1),
            (25, 250, 250, 0),
            (256, 128, 128, 0),
            (64, 250, 250, 1),
        ] {
            let a = matrix(0, (batches, m, 40), normal_numbers(1), dtype)?;
            let b = matrix(layout, (batches, 40, n), normal_numbers(2), dtype)?;
            check(&device, &a, &b, &format!("{dtype:?}, {batches} of {m}x{n}"))?;
        }
    }
    Ok(())
}

/// Small whole numbers: every partial sum is a number of each type, so no order of additions is an excuse.
#[test]
fn whole_numbers_are_exact() -> Result<()> {
    let device = rocm()?;
    let whole = |seed| {
        move |count| -> Vec<f32> {
            let sign = |v: f32| {
                if v < -1.2 {
                    -1.0
                } else if v > 1.2 {
                    1.0
                } else {
                    0.0
                }
            };
            numbers(count, seed).into_iter().map(sign).collect()
        }
    };
    for dtype in MULTIPLIED {
        // The last two are cut along k; of 0.4 * 0.4 * k products of magnitude 1 about as many are +1 as are -1.
        for (m, n, k) in [(33, 65, 97), (129, 200, 33), (40, 9, 1100), (64, 64, 2048)] {
            for (left, right) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 3), (4, 4)] {
                let a = matrix(left, (1, m, k), whole(3), dtype)?;
                let b = matrix(right, (1, k, n), whole(4), dtype)?;
                let expected = doubles(&exact(&a, &b)?)?;
                assert!(
                    expected.iter().all(|e| e.abs() <= 256.0),
                    "beyond bf16's whole numbers"
                );
                let found = doubles(&on(&device, &a)?.matmul(&on(&device, &b)?)?)?;
                assert_eq!(
                    found, expected,
                    "{dtype:?} {m}x{k}x{n}, layouts {left} and {right}"
                );
            }
        }
    }
    Ok(())
}

/// What fills a tile beyond the matrix is never multiplied into a result: zero times infinity is not a number.
#[test]
fn infinities_stay_in_their_row_and_column() -> Result<()> {
    let device = rocm()?;
    for dtype in MULTIPLIED {
        for (left, right) in [(0, 0), (0, 1), (1, 0), (4, 4)] {
            let (m, n, k) = (37, 67, 35);
            let ones = |at: Option<usize>| {
                move |count: usize| -> Vec<f32> {
                    (0..count)
                        .map(|i| if Some(i) == at { f32::INFINITY } else { 1.0 })
                        .collect()
                }
            };
            // The very last element of A: of layout 4 the one that is left out is before it.
            let a = matrix(left, (1, m, k), ones(None), dtype)?;
            let last = Tensor::from_vec(ones(Some(m * k - 1))(m * k), (1, m, k), &Device::Cpu)?;
            let a = (a * last.to_dtype(dtype)?)?;
            let b = matrix(right, (1, k, n), ones(None), dtype)?;
            let found = doubles(&on(&device, &a)?.matmul(&on(&device, &b)?)?)?;
            for (i, value) in found.iter().enumerate() {
                let expected = if i / n == m - 1 {
                    f64::INFINITY
                } else {
                    k as f64
                };
                assert_eq!(*value, expected, "{dtype:?}, element {i}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_same_product_has_the_same_bits() -> Result<()> {
    let device = rocm()?;
    let a = on(
        &device,
        &matrix(0, (1, 64, 3000), normal_numbers(5), DType::F32)?,
    )?;
    let b = on(
        &device,
        &matrix(1, (1, 3000, 64), normal_numbers(6), DType::F32)?,
    )?;
    let first = doubles(&a.matmul(&b)?)?;
    for _ in 0..3 {
        assert_eq!(doubles(&a.matmul(&b)?)?, first);
    }
    Ok(())
}

/// 2^-20 is subnormal in f16, 2^-130 in bf16. CDNA 2's matrix cores take such elements for zero; all others keep them.
#[test]
fn subnormal_elements_count_except_on_cdna_2() -> Result<()> {
    let device = rocm()?;
    let lost = target(&device)? == "gfx90a";
    for (dtype, small, factor) in [
        (DType::F16, 2f32.powi(-20), 1024.0),
        (DType::BF16, 2f32.powi(-130), 1024.0),
        (DType::F32, 2f32.powi(-130), 1024.0),
    ] {
        let a = Tensor::full(small, (32, 16), &Device::Cpu)?.to_dtype(dtype)?;
        let b = Tensor::full(factor, (16, 32), &Device::Cpu)?.to_dtype(dtype)?;
        assert_eq!(doubles(&a)?[0], f64::from(small), "the type holds it");
        let found = doubles(&on(&device, &a)?.matmul(&on(&device, &b)?)?)?;
        let narrow = dtype != DType::F32;
        let expected = if lost && narrow {
            0.0
        } else {
            f64::from(small) * 16.0 * 1024.0
        };
        assert!(
            found.iter().all(|f| *f == expected),
            "{dtype:?}: {} for {expected}",
            found[0]
        );
    }
    Ok(())
}

/// As on CUDA, which has no such products either: an error, and it names the type.
#[test]
fn whole_number_types_are_refused() -> Result<()> {
    let device = rocm()?;
    for dtype in [
        DType::U8,
        DType::U32,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::F8E4M3,
    ] {
        let x = Tensor::ones((4, 4), dtype, &Device::Cpu)?.to_device(&device)?;
        let text = x
            .matmul(&x)
            .expect_err("not a type of products")
            .to_string();
        for part in ["matmul", &format!("{dtype:?}")] {
            assert!(text.contains(part), "{text}");
        }
    }
    Ok(())
}
