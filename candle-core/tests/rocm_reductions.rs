//! Reductions in every element type: sums, extrema and their positions, of rows of every length, against the CPU
//! backend. The device is the one that `CANDLE_HIP_LIBRARY` leads to: a card, or the emulator.
mod rocm_support;

use candle_core::{DType, Device, Result, Tensor};
use rocm_support::{assert_near, on, rocm, tolerance, unary, INTEGERS, NUMBERS};

#[test]
fn reductions() -> Result<()> {
    for &dtype in NUMBERS {
        // Sums round differently in another order: by at most a unit of the sum for each doubling of the 120 terms.
        let near = move |d| {
            if INTEGERS.contains(&d) {
                0.0
            } else {
                8.0 * tolerance(d)
            }
        };
        for dim in 0..3 {
            unary("sum", &[dtype], near, |t| t.sum(dim))?;
            unary("min", &[dtype], |_| 0.0, |t| t.min(dim))?;
            unary("max", &[dtype], |_| 0.0, |t| t.max(dim))?;
            unary("argmin", &[dtype], |_| 0.0, |t| t.argmin(dim))?;
            unary("argmax", &[dtype], |_| 0.0, |t| t.argmax(dim))?;
        }
        if dtype != DType::U8 {
            unary("sum of all", &[dtype], near, |t| t.sum_all())?;
            unary("sum of two", &[dtype], near, |t| t.sum((0, 2)))?;
        }
    }
    Ok(())
}

/// Rows of every length around the widths of warp, wave and workgroup; columns enough for a thread each.
#[test]
fn reductions_of_many_shapes() -> Result<()> {
    let device = rocm()?;
    let shapes = [1, 2, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1000].map(|n| (3, n));
    for (rows, columns) in shapes
        .into_iter()
        .chain([(5000, 3), (70_000, 2), (40, 5000)])
    {
        let whole = (0..rows * columns)
            .map(|i| ((i * 7919) % 101) as f32)
            .collect::<Vec<_>>();
        let t = Tensor::from_vec(whole, (rows, columns), &Device::Cpu)?;
        let there = on(&device, &t)?;
        let what = format!("{rows} x {columns}");
        for dim in [0, 1] {
            // Whole numbers below 2^24: every order gives the same sum.
            assert_near(&t.sum(dim)?, &there.sum(dim)?, 0.0, &what)?;
            assert_near(&t.max(dim)?, &there.max(dim)?, 0.0, &what)?;
            // Equal values occur: the first counts.
            assert_near(&t.argmin(dim)?, &there.argmin(dim)?, 0.0, &what)?;
            assert_near(&t.argmax(dim)?, &there.argmax(dim)?, 0.0, &what)?;
        }
    }
    Ok(())
}

/// Results of so many elements that several workgroups share each.
#[test]
fn long_reductions() -> Result<()> {
    let device = rocm()?;
    let count = 3 * (1 << 16) + 5;
    let values: Vec<f32> = (0..2 * count)
        .map(|i| ((i * 7919) % 61) as f32 - 30.0)
        .collect();
    let t = Tensor::from_vec(values, (2, count), &Device::Cpu)?;
    for dtype in [
        DType::F32,
        DType::F64,
        DType::F16,
        DType::BF16,
        DType::I32,
        DType::I64,
    ] {
        let (t, there) = (t.to_dtype(dtype)?, on(&device, &t)?.to_dtype(dtype)?);
        // Whole numbers whose partial sums f32 holds: exact but for the last rounding.
        let exact = t.to_dtype(DType::F64)?.sum(1)?.to_dtype(dtype)?;
        assert_near(&exact, &there.sum(1)?, 0.0, &format!("sum {dtype:?}"))?;
        for dim in [0, 1] {
            assert_near(
                &t.min(dim)?,
                &there.min(dim)?,
                0.0,
                &format!("min {dtype:?}"),
            )?;
            assert_near(
                &t.max(dim)?,
                &there.max(dim)?,
                0.0,
                &format!("max {dtype:?}"),
            )?;
            assert_near(
                &t.argmax(dim)?,
                &there.argmax(dim)?,
                0.0,
                &format!("argmax {dtype:?}"),
            )?;
        }
    }
    // NaN leads a part that is not the first: it is passed over, and the rest of the part counts.
    let mut values = vec![1f32; count];
    (0..count).step_by(1024).for_each(|i| values[i] = f32::NAN);
    values[0] = 2.0;
    values[count - 1] = -3.0;
    let t = Tensor::from_vec(values, count, &Device::Cpu)?;
    assert_near(&t.min(0)?, &on(&device, &t)?.min(0)?, 0.0, "min")?;
    assert_near(&t.max(0)?, &on(&device, &t)?.max(0)?, 0.0, "max")
}

/// Positions in results that several workgroups share: of equals the first counts, in whichever parts they lie; NaN is passed
/// over, also where a part has nothing else, unless it leads.
#[test]
fn positions_in_long_results() -> Result<()> {
    let device = rocm()?;
    let (rows, count) = (3, 20_000);
    let base = |i: usize| ((i * 7919) % 61) as f32 - 30.0;
    let mut rising: Vec<f32> = (0..rows * count).map(base).collect();
    // The largest and the smallest twice, in parts of their own.
    for (i, v) in [
        (5_000, 99.0),
        (19_999, 99.0),
        (7_000, -99.0),
        (7_001, -99.0),
    ] {
        rising[i] = v;
    }
    let infinite = vec![f32::NEG_INFINITY; rows * count];
    let mut nan = vec![f32::NAN; rows * count];
    nan[0] = 1.0;
    nan[17_000] = 2.0;
    // The second row is led by NaN, the third has one number in front.
    nan[count + 100] = 5.0;
    nan[2 * count] = f32::INFINITY;
    for values in [rising, infinite, nan] {
        let t = Tensor::from_vec(values, (rows, count), &Device::Cpu)?;
        let columns = t.t()?.contiguous()?;
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            for (t, dim) in [(&t, 1), (&columns, 0)] {
                let t = t.to_dtype(dtype)?;
                let there = on(&device, &t)?;
                assert_near(&t.argmax(dim)?, &there.argmax(dim)?, 0.0, "argmax")?;
                assert_near(&t.argmin(dim)?, &there.argmin(dim)?, 0.0, "argmin")?;
                let one = (t.narrow(1 - dim, 0, 1)?, there.narrow(1 - dim, 0, 1)?);
                assert_near(&one.0.argmax(dim)?, &one.1.argmax(dim)?, 0.0, "of one")?;
            }
        }
    }
    Ok(())
}

#[test]
fn nan_and_infinity_in_reductions() -> Result<()> {
    let device = rocm()?;
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let rows = [
        [nan, 1., 2.],
        [1., nan, 0.],
        [inf, inf, inf],
        [-inf, 3., nan],
        [nan, nan, nan],
        [0., -0., nan],
    ];
    let t = Tensor::new(&rows, &Device::Cpu)?;
    for &dtype in &[DType::F32, DType::F16, DType::BF16, DType::F64] {
        let t = t.to_dtype(dtype)?;
        let there = on(&device, &t)?;
        assert_near(&t.min(1)?, &there.min(1)?, 0.0, "min")?;
        assert_near(&t.max(1)?, &there.max(1)?, 0.0, "max")?;
        assert_near(&t.argmin(1)?, &there.argmin(1)?, 0.0, "argmin")?;
        assert_near(&t.argmax(1)?, &there.argmax(1)?, 0.0, "argmax")?;
        type Pair = fn(&Tensor, &Tensor) -> Result<Tensor>;
        let pairs: [Pair; 2] = [|a, b| a.minimum(b), |a, b| a.maximum(b)];
        for op in pairs {
            let (a, b) = (t.narrow(1, 0, 1)?, t.narrow(1, 1, 1)?);
            assert_near(
                &op(&a, &b)?,
                &op(&on(&device, &a)?, &on(&device, &b)?)?,
                0.0,
                "of two",
            )?;
        }
        assert_near(&t.relu()?, &there.relu()?, 0.0, "relu")?;
        assert_near(&t.sign()?, &there.sign()?, 0.0, "sign")?;
    }
    Ok(())
}
