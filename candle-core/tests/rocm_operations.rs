//! The operations that a quantized language model calls, on rocm against the CPU backend.
//!
//! Every case runs on contiguous tensors and on views (transposed, offset, broadcast), in each type that the kernels
//! know. The device is the one that `CANDLE_HIP_LIBRARY` leads to: a card, or the emulator.
use candle_core::{DType, Device, Result, Tensor, D};

fn rocm() -> Result<Device> {
    Device::new_rocm(0)
}

/// `count` numbers in [-2, 2) that look random and are the same everywhere.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 * 4.0 - 2.0
    };
    (0..count).map(|_| next()).collect()
}

fn tensor(shape: &[usize], seed: u64) -> Result<Tensor> {
    Tensor::from_vec(numbers(shape.iter().product(), seed), shape, &Device::Cpu)
}

/// A tensor as it is and as views of it that are no plain copy.
fn views(t: &Tensor) -> Result<Vec<Tensor>> {
    let mut views = vec![t.clone()];
    if t.rank() >= 2 {
        views.push(t.t()?);
        let n = t.dim(0)?;
        views.push(t.narrow(0, n / 2, n - n / 2)?);
        views.push(t.narrow(D::Minus1, 1, t.dim(D::Minus1)? - 1)?);
        let mut wide = t.dims().to_vec();
        wide[0] *= 2;
        views.push(
            t.narrow(0, 0, 1)?
                .broadcast_as([&wide[..1], &t.dims()[1..]].concat())?,
        );
    }
    Ok(views)
}

/// Views come out of the same steps on both sides: a copy between devices keeps the layout.
fn on(device: &Device, t: &Tensor) -> Result<Tensor> {
    t.to_device(device)
}

/// Largest difference relative to the larger of 1 and the expected value.
fn distance(expected: &Tensor, found: &Tensor) -> Result<f64> {
    assert_eq!(expected.dtype(), found.dtype());
    assert_eq!(expected.shape(), found.shape());
    let flat = |t: &Tensor| {
        t.to_device(&Device::Cpu)?
            .flatten_all()?
            .to_dtype(DType::F64)?
            .to_vec1::<f64>()
    };
    let pairs = flat(expected)?.into_iter().zip(flat(found)?);
    Ok(pairs.fold(0.0, |worst: f64, (e, f)| {
        let d = if e == f || (e.is_nan() && f.is_nan()) {
            0.0
        } else {
            (e - f).abs() / e.abs().max(1.0)
        };
        // A NaN on one side only must not get lost in `max`.
        if d.is_nan() {
            f64::INFINITY
        } else {
            worst.max(d)
        }
    }))
}

/// A few units in the last place of the type: the kernels' functions (exp, tanh, erf) are allowed 1 to 4, and a
/// result passes through one or two of them.
fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-13,
        DType::F32 => 1e-6,
        DType::F16 => 4e-3,
        DType::BF16 => 3e-2,
        _ => 0.0,
    }
}

/// Runs `op` on both sides for every view and type, and compares.
fn check(name: &str, dtypes: &[DType], op: impl Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
    let device = rocm()?;
    for &dtype in dtypes {
        for (i, view) in views(&tensor(&[6, 10], 7)?.to_dtype(dtype)?)?
            .iter()
            .enumerate()
        {
            let expected = op(view)?;
            let found = op(&on(&device, view)?)?;
            assert!(
                found.device().is_rocm(),
                "{name}: the result left the device"
            );
            let d = distance(&expected, &found)?;
            assert!(
                d <= tolerance(dtype),
                "{name} {dtype:?} view {i}: differs by {d}\n{expected}\n{found}"
            );
        }
    }
    Ok(())
}

const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::BF16, DType::F64];
const NUMBERS: &[DType] = &[
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::F64,
    DType::U8,
    DType::U32,
    DType::I64,
];

#[test]
fn unary_operations() -> Result<()> {
    let operations: &[(&str, fn(&Tensor) -> Result<Tensor>)] = &[
        ("exp", Tensor::exp),
        ("sqr", Tensor::sqr),
        ("neg", Tensor::neg),
        ("abs", Tensor::abs),
        ("sin", Tensor::sin),
        ("cos", Tensor::cos),
        ("tanh", Tensor::tanh),
        ("relu", Tensor::relu),
        ("silu", Tensor::silu),
        ("gelu", Tensor::gelu),
        ("gelu_erf", Tensor::gelu_erf),
        ("recip", Tensor::recip),
        ("floor", Tensor::floor),
        ("ceil", Tensor::ceil),
        ("round", Tensor::round),
        ("sign", Tensor::sign),
    ];
    for (name, op) in operations {
        check(name, FLOATS, op)?;
    }
    check("sqrt", FLOATS, |t| t.abs()?.sqrt())?;
    check("log", FLOATS, |t| t.abs()?.log())?;
    check("affine", NUMBERS, |t| t.affine(2.0, 1.0))?;
    check("powf", FLOATS, |t| t.abs()?.powf(1.5))?;
    check("elu", FLOATS, |t| t.elu(0.7))
}

#[test]
fn binary_operations_and_comparisons() -> Result<()> {
    let operations: &[(&str, fn(&Tensor, &Tensor) -> Result<Tensor>)] = &[
        ("add", |a, b| a + b),
        ("sub", |a, b| a - b),
        ("mul", |a, b| a * b),
        ("max", |a, b| a.maximum(b)),
        ("min", |a, b| a.minimum(b)),
        ("eq", |a, b| a.eq(b)),
        ("ne", |a, b| a.ne(b)),
        ("lt", |a, b| a.lt(b)),
        ("le", |a, b| a.le(b)),
        ("gt", |a, b| a.gt(b)),
        ("ge", |a, b| a.ge(b)),
    ];
    let device = rocm()?;
    for (name, op) in operations {
        for &dtype in NUMBERS {
            // Absolute values: unsigned types would wrap differently in the cast from negative numbers.
            let make = |seed| tensor(&[6, 10], seed)?.abs()?.to_dtype(dtype);
            let (left, right) = (views(&make(1)?)?, views(&make(2)?)?);
            for (i, (a, b)) in left.iter().zip(&right).enumerate() {
                // Unsigned subtraction must not go below zero.
                let a = if *name == "sub" { (a + b)? } else { a.clone() };
                let d = distance(&op(&a, b)?, &op(&on(&device, &a)?, &on(&device, b)?)?)?;
                assert!(
                    d <= tolerance(dtype),
                    "{name} {dtype:?} view {i}: differs by {d}"
                );
            }
        }
    }
    let (a, row) = (tensor(&[4, 3, 10], 3)?, tensor(&[10], 4)?);
    let found = on(&device, &a)?.broadcast_add(&on(&device, &row)?)?;
    assert_eq!(
        distance(&a.broadcast_add(&row)?, &found)?,
        0.0,
        "one addition rounds the same everywhere"
    );
    Ok(())
}

#[test]
fn casts_between_every_pair_of_types() -> Result<()> {
    let device = rocm()?;
    // Whole numbers that each type holds, so that every cast is exact.
    let whole: Vec<f32> = (0..60).map(|i| (i % 100) as f32).collect();
    for &from in NUMBERS {
        for &to in NUMBERS {
            let t = Tensor::from_slice(&whole, (6, 10), &Device::Cpu)?.to_dtype(from)?;
            for (i, view) in views(&t)?.iter().enumerate() {
                let d = distance(&view.to_dtype(to)?, &on(&device, view)?.to_dtype(to)?)?;
                assert_eq!(d, 0.0, "{from:?} to {to:?}, view {i}");
            }
        }
    }
    Ok(())
}

#[test]
fn reductions() -> Result<()> {
    // Sums of up to 3000 terms in another order: the error grows with the terms.
    let device = rocm()?;
    let close =
        |name: &str, dtype: DType, expected: Tensor, found: Tensor, terms: usize| -> Result<()> {
            let d = distance(&expected, &found)?;
            let allowed = tolerance(dtype) * (terms as f64).sqrt().max(1.0);
            assert!(
                d <= allowed,
                "{name} {dtype:?}: differs by {d}, allowed {allowed}"
            );
            Ok(())
        };
    for &dtype in FLOATS {
        for shape in [[4, 5, 6], [1, 1, 3000], [3, 40, 2], [33, 1, 65]] {
            let t = tensor(&shape, 11)?.to_dtype(dtype)?;
            let r = on(&device, &t)?;
            for dim in 0..3 {
                close("sum", dtype, t.sum(dim)?, r.sum(dim)?, shape[dim])?;
                close("max", dtype, t.max(dim)?, r.max(dim)?, 1)?;
                close("min", dtype, t.min(dim)?, r.min(dim)?, 1)?;
                if dtype == DType::F32 {
                    // Distinct numbers, so that the position is unique.
                    close("argmax", DType::U32, t.argmax(dim)?, r.argmax(dim)?, 1)?;
                    close("argmin", DType::U32, t.argmin(dim)?, r.argmin(dim)?, 1)?;
                }
            }
            let all: usize = shape.iter().product();
            close("sum of all", dtype, t.sum_all()?, r.sum_all()?, all)?;
            close(
                "sum of a transposed view",
                dtype,
                t.t()?.sum(1)?,
                r.t()?.sum(1)?,
                all,
            )?;
        }
    }
    Ok(())
}

#[test]
fn copies_concatenation_and_padding() -> Result<()> {
    for &dtype in NUMBERS {
        check("contiguous", &[dtype], |t| t.contiguous())?;
        check("cat on dim 0", &[dtype], |t| {
            Tensor::cat(&[t, t, &t.narrow(0, 0, 1)?], 0)
        })?;
        check("cat on dim 1", &[dtype], |t| {
            Tensor::cat(&[t, &t.narrow(1, 0, 1)?, t], 1)
        })?;
        check("stack", &[dtype], |t| Tensor::stack(&[t, t], 1))?;
    }
    check("pad", &[DType::F32], |t| t.pad_with_zeros(1, 2, 3))?;
    check("reshape", &[DType::F32], |t| t.flatten_all())
}

#[test]
fn selection_by_index() -> Result<()> {
    let device = rocm()?;
    let ids = Tensor::new(&[3u32, 0, 5, 3], &Device::Cpu)?;
    for &dtype in NUMBERS {
        let t = tensor(&[6, 7, 3], 5)?.abs()?.to_dtype(dtype)?;
        for dim in [0, 1] {
            let found = on(&device, &t)?.index_select(&on(&device, &ids)?, dim)?;
            assert_eq!(
                distance(&t.index_select(&ids, dim)?, &found)?,
                0.0,
                "index_select {dtype:?} dim {dim}"
            );
        }
        let positions = Tensor::new(&[[0u32, 2, 1], [2, 2, 0]], &Device::Cpu)?;
        let matrix = t.narrow(0, 0, 2)?.narrow(1, 0, 1)?.reshape((2, 3))?;
        let found = on(&device, &matrix)?.gather(&on(&device, &positions)?, 1)?;
        assert_eq!(
            distance(&matrix.gather(&positions, 1)?, &found)?,
            0.0,
            "gather {dtype:?}"
        );
        let mask = Tensor::new(&[[1u8, 0, 1], [0, 0, 1]], &Device::Cpu)?;
        let zeros = matrix.zeros_like()?;
        let found =
            on(&device, &mask)?.where_cond(&on(&device, &matrix)?, &on(&device, &zeros)?)?;
        assert_eq!(
            distance(&mask.where_cond(&matrix, &zeros)?, &found)?,
            0.0,
            "where {dtype:?}"
        );
    }
    Ok(())
}

#[test]
fn matrix_products_of_every_layout() -> Result<()> {
    let device = rocm()?;
    // m covers both the few-row kernels and the tiled one; nothing is a multiple of a tile.
    for (m, n, k) in [
        (1, 1, 1),
        (1, 65, 130),
        (3, 33, 257),
        (8, 64, 64),
        (9, 7, 5),
        (70, 67, 33),
        (65, 2, 40),
    ] {
        for &dtype in FLOATS {
            let a = tensor(&[2, m, k], 21)?.to_dtype(dtype)?;
            let b = tensor(&[2, k, n], 22)?.to_dtype(dtype)?;
            let b_transposed = tensor(&[2, n, k], 23)?.to_dtype(dtype)?.t()?;
            let shared = b.narrow(0, 0, 1)?.broadcast_as((2, k, n))?;
            for (name, b) in [
                ("rows", &b),
                ("columns", &b_transposed),
                ("one for all", &shared),
            ] {
                // The reference in f64: both sides round their products, this one does not matter at that scale.
                let expected = a
                    .to_dtype(DType::F64)?
                    .matmul(&b.to_dtype(DType::F64)?.contiguous()?)?;
                let found = on(&device, &a)?
                    .matmul(&on(&device, b)?)?
                    .to_dtype(DType::F64)?;
                let d = distance(&expected, &found)?;
                let allowed = tolerance(dtype) * (k as f64).sqrt().max(1.0);
                assert!(
                    d <= allowed,
                    "matmul {dtype:?} {m}x{k}x{n} {name}: differs by {d}, allowed {allowed}"
                );
            }
        }
    }
    let empty = Tensor::zeros((3, 0), DType::F32, &device)?.matmul(&Tensor::zeros(
        (0, 4),
        DType::F32,
        &device,
    )?)?;
    assert_eq!(
        empty.to_vec2::<f32>()?,
        vec![vec![0.0; 4]; 3],
        "a sum of nothing is zero"
    );
    Ok(())
}

#[test]
fn empty_tensors() -> Result<()> {
    let device = rocm()?;
    let t = Tensor::zeros((0, 5), DType::F32, &device)?;
    assert_eq!(t.exp()?.dims(), [0, 5]);
    assert_eq!((&t + &t)?.to_vec2::<f32>()?, Vec::<Vec<f32>>::new());
    assert_eq!(t.sum(0)?.to_vec1::<f32>()?, vec![0.0; 5]);
    Ok(())
}

#[test]
fn random_numbers_follow_the_seed() -> Result<()> {
    let device = rocm()?;
    device.set_seed(42)?;
    assert_eq!(device.get_current_seed()?, 42);
    let draw = || {
        Tensor::rand(-1f32, 3f32, (40, 50), &device)?
            .flatten_all()?
            .to_vec1::<f32>()
    };
    let first = draw()?;
    device.set_seed(42)?;
    assert_eq!(first, draw()?);
    assert_ne!(first, draw()?);
    assert!(first.iter().all(|v| (-1.0..3.0).contains(v)));
    let mean = first.iter().sum::<f32>() / first.len() as f32;
    // Standard error of the mean: 4 / sqrt(12 × 2000) = 0.026; five of them.
    assert!((mean - 1.0).abs() < 0.13, "mean {mean}");
    Ok(())
}

#[test]
fn devices_with_one_number_are_one_device() -> Result<()> {
    let (a, b) = (rocm()?, rocm()?);
    assert!(a.same_device(&b));
    let sum = (Tensor::ones(3, DType::F32, &a)? + Tensor::ones(3, DType::F32, &b)?)?;
    assert_eq!(sum.to_vec1::<f32>()?, [2.0; 3]);
    assert_eq!(format!("{:?}", a.location()), "Rocm { gpu_id: 0 }");
    Ok(())
}
