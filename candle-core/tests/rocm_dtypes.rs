//! Every operation in every element type that the CPU backend knows for it, on layouts of every kind, against the CPU
//! backend. The device is the one that `CANDLE_HIP_LIBRARY` leads to: a card, or the emulator.
mod rocm_support;

use candle_core::{DType, Device, Result, Tensor, D};
use rocm_support::{
    assert_near, cast, on, rocm, sample, tolerance, unary, views, FLOATS, INTEGERS, NUMBERS,
};

#[test]
fn functions_of_one_operand() -> Result<()> {
    type Function = fn(&Tensor) -> Result<Tensor>;
    // The CPU backend rounds narrow types after every step of these; here they are rounded once, at the end.
    let functions: &[(&str, Function)] = &[
        ("exp", Tensor::exp),
        ("sin", Tensor::sin),
        ("cos", Tensor::cos),
        ("tanh", Tensor::tanh),
        ("recip", Tensor::recip),
        ("sqr", Tensor::sqr),
        ("gelu", Tensor::gelu),
        ("gelu_erf", Tensor::gelu_erf),
        ("erf", Tensor::erf),
        ("silu", Tensor::silu),
        ("log", |t| t.abs()?.log()),
        ("sqrt", |t| t.abs()?.sqrt()),
        ("powf", |t| t.abs()?.powf(1.5)),
        ("elu", |t| t.elu(0.7)),
    ];
    for (name, function) in functions {
        unary(name, FLOATS, tolerance, function)?;
    }
    unary("neg", FLOATS, |_| 0.0, Tensor::neg)?;
    let exact: &[(&str, Function)] = &[
        ("abs", Tensor::abs),
        ("ceil", Tensor::ceil),
        ("floor", Tensor::floor),
        ("round", Tensor::round),
        ("relu", Tensor::relu),
        ("sign", Tensor::sign),
    ];
    for (name, function) in exact {
        unary(name, NUMBERS, |_| 0.0, function)?;
    }
    // Both sides round the product, then the sum.
    unary("affine", NUMBERS, |_| 0.0, |t| t.affine(3.0, 2.0))
}

#[test]
fn operations_on_two_operands() -> Result<()> {
    type Pair = fn(&Tensor, &Tensor) -> Result<Tensor>;
    let operations: &[(&str, Pair)] = &[
        ("add", |a, b| a + b),
        ("sub", |a, b| a - b),
        ("mul", |a, b| a * b),
        ("div", |a, b| a / b),
        ("maximum", |a, b| a.maximum(b)),
        ("minimum", |a, b| a.minimum(b)),
        ("eq", |a, b| a.eq(b)),
        ("ne", |a, b| a.ne(b)),
        ("lt", |a, b| a.lt(b)),
        ("le", |a, b| a.le(b)),
        ("gt", |a, b| a.gt(b)),
        ("ge", |a, b| a.ge(b)),
    ];
    let device = rocm()?;
    for &dtype in NUMBERS {
        let left = views(&sample(&[6, 5, 4], 1, dtype)?)?;
        let right = views(&sample(&[6, 5, 4], 2, dtype)?)?;
        for ((view, a), (_, b)) in left.iter().zip(&right) {
            for (name, op) in operations {
                // The CPU backend panics on whole numbers that leave their range and on a division by zero.
                let unsigned = matches!(dtype, DType::U8 | DType::U32);
                let a = if *name == "sub" && unsigned {
                    (a + b)?
                } else {
                    a.clone()
                };
                let b = match *name == "div" && INTEGERS.contains(&dtype) {
                    true => (b.abs()? + b.ones_like()?)?,
                    false => b.clone(),
                };
                let (expected, found) = (op(&a, &b)?, op(&on(&device, &a)?, &on(&device, &b)?)?);
                // One operation, correctly rounded on both sides.
                assert_near(&expected, &found, 0.0, &format!("{name} {dtype:?} {view}"))?;
            }
        }
    }
    Ok(())
}

/// Two layouts that differ: one operand transposed, the other broadcast.
#[test]
fn operands_of_different_layouts() -> Result<()> {
    let device = rocm()?;
    for &dtype in NUMBERS {
        let a = sample(&[4, 6, 5], 3, dtype)?.transpose(0, 2)?;
        let b = sample(&[6, 1], 4, dtype)?.broadcast_as((5, 6, 4))?;
        let found = (on(&device, &a)? + on(&device, &b)?)?;
        assert_near(&(&a + &b)?, &found, 0.0, &format!("{dtype:?}"))?;
        let mask = Tensor::from_vec(vec![1u8, 0, 0, 1], (1, 1, 4), &Device::Cpu)?
            .broadcast_as((5, 6, 4))?;
        let found = on(&device, &mask)?.where_cond(&on(&device, &a)?, &on(&device, &b)?)?;
        assert_near(
            &mask.where_cond(&a, &b)?,
            &found,
            0.0,
            &format!("where {dtype:?}"),
        )?;
    }
    Ok(())
}

#[test]
fn whole_numbers_wrap_around() -> Result<()> {
    let device = rocm()?;
    let add = |dtype, value: f64, more: f64| -> Result<f64> {
        let t = Tensor::new(&[value], &Device::Cpu)?
            .to_dtype(dtype)?
            .to_device(&device)?;
        let more = Tensor::new(&[more], &Device::Cpu)?
            .to_dtype(dtype)?
            .to_device(&device)?;
        (t + more)?
            .to_device(&Device::Cpu)?
            .to_dtype(DType::F64)?
            .get(0)?
            .to_scalar()
    };
    assert_eq!(add(DType::U8, 250.0, 10.0)?, 4.0);
    assert_eq!(add(DType::I16, 32767.0, 2.0)?, -32767.0);
    assert_eq!(add(DType::I32, 2147483647.0, 1.0)?, -2147483648.0);
    assert_eq!(add(DType::U32, 4294967295.0, 3.0)?, 2.0);
    let lowest = Tensor::new(&[i64::MIN], &device)?;
    let minus_one = Tensor::new(&[-1i64], &device)?;
    assert_eq!((&lowest / &minus_one)?.to_vec1::<i64>()?, [i64::MIN]);
    assert_eq!(lowest.abs()?.to_vec1::<i64>()?, [i64::MIN]);
    Ok(())
}

#[test]
fn casts_between_every_pair() -> Result<()> {
    let device = rocm()?;
    // Edges of the types, halves, and values that round; what a type does not hold is limited, cut or made 0 (NaN) by
    // `as`, and the CPU backend uses `as` throughout.
    let mut values = vec![
        0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -1.7, 254.9, 255.0, 256.5, 300.0, -300.0, 447.0, 449.0,
        1e-3,
    ];
    values.extend([
        32767.0, 32768.0, -32769.0, 65504.0, 65519.0, 65520.0, 1e5, 16777217.0, 33554434.0, 1e9,
        -1e9,
    ]);
    values.extend([
        2147483647.0,
        2147483648.0,
        4294967295.0,
        4294967296.0,
        1e19,
        -1e19,
        1e300,
        -1e300,
    ]);
    values.extend([
        9007199254740993.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        1e-8,
        6e-8,
        3.0517578125e-5,
    ]);
    values.extend((0..60).map(|i| (i * i * 37 - 20_000) as f64 / 7.0));
    let count = values.len() / 4 * 4;
    let all = Tensor::from_vec(values[..count].to_vec(), (count / 4, 4), &Device::Cpu)?;
    for &from in NUMBERS {
        let source = all.to_dtype(from)?;
        for &to in NUMBERS {
            for (view, t) in [("as it is", source.clone()), ("transposed", source.t()?)] {
                let (expected, found) = (cast(&t, to)?, on(&device, &t)?.to_dtype(to)?);
                assert_near(
                    &expected,
                    &found,
                    0.0,
                    &format!("{from:?} to {to:?} {view}"),
                )?;
            }
        }
    }
    Ok(())
}

/// Just above and below the middle of two neighbours of a narrow type, by less than f32 can tell: rounding to f32
/// first, as some CPUs' instructions make the CPU backend do, would go to the wrong one.
#[test]
fn f64_is_rounded_once() -> Result<()> {
    let device = rocm()?;
    let little = 2f64.powi(-40);
    for (dtype, digits) in [(DType::F16, 10), (DType::BF16, 7), (DType::F8E4M3, 3)] {
        let ulp = 2f64.powi(-digits);
        let values = [
            1.0 + 0.5 * ulp + little,
            1.0 + 1.5 * ulp - little,
            -1.0 - 0.5 * ulp - little,
        ];
        let expected = [1.0 + ulp, 1.0 + ulp, -1.0 - ulp];
        let found = Tensor::new(&values, &device)?.to_dtype(dtype)?;
        assert_eq!(
            found.to_dtype(DType::F64)?.to_vec1::<f64>()?,
            expected,
            "{dtype:?}"
        );
    }
    Ok(())
}

#[test]
fn whole_numbers_beyond_the_floats() -> Result<()> {
    let device = rocm()?;
    let values = [
        i64::MAX,
        i64::MIN,
        (1 << 53) + 1,
        -(1 << 53) - 1,
        1 << 40,
        16_777_217,
        -1,
    ];
    let t = Tensor::new(&values, &Device::Cpu)?;
    for &to in NUMBERS {
        let found = on(&device, &t)?.to_dtype(to)?;
        assert_near(&t.to_dtype(to)?, &found, 0.0, &format!("I64 to {to:?}"))?;
    }
    let t = Tensor::new(&[u32::MAX, 1 << 31, 16_777_217], &Device::Cpu)?;
    for &to in NUMBERS {
        let found = on(&device, &t)?.to_dtype(to)?;
        assert_near(&t.to_dtype(to)?, &found, 0.0, &format!("U32 to {to:?}"))?;
    }
    Ok(())
}

#[test]
fn copies_constants_and_joins() -> Result<()> {
    let joined = |t: &Tensor| Tensor::cat(&[t, &t.narrow(1, 0, 1)?, t], 1);
    unary("contiguous", NUMBERS, |_| 0.0, Tensor::contiguous)?;
    unary("cat on dim 1", NUMBERS, |_| 0.0, joined)?;
    unary(
        "stack",
        NUMBERS,
        |_| 0.0,
        |t| Tensor::stack(&[t, t], D::Minus1),
    )?;
    unary("pad", NUMBERS, |_| 0.0, |t| t.pad_with_zeros(1, 2, 3))?;
    unary("ones", NUMBERS, |_| 0.0, Tensor::ones_like)?;
    let device = rocm()?;
    for &dtype in NUMBERS {
        // A constant written to a view: every second column.
        let base = sample(&[4, 6], 9, dtype)?;
        let set = |t: &Tensor| -> Result<Tensor> {
            let t = t.copy()?;
            let view = t.reshape((4, 3, 2))?.narrow(2, 1, 1)?;
            view.one_set()?;
            Ok(t)
        };
        assert_near(
            &set(&base)?,
            &set(&on(&device, &base)?)?,
            0.0,
            &format!("one_set {dtype:?}"),
        )?;
    }
    Ok(())
}

#[test]
fn conditions_of_every_integer_type() -> Result<()> {
    let device = rocm()?;
    for &kind in INTEGERS {
        let mask = Tensor::new(&[[1u8, 0, 2], [0, 0, 100]], &Device::Cpu)?.to_dtype(kind)?;
        for &dtype in NUMBERS {
            let (t, f) = (sample(&[2, 3], 1, dtype)?, sample(&[3, 2], 2, dtype)?.t()?);
            let found = on(&device, &mask)?.where_cond(&on(&device, &t)?, &on(&device, &f)?)?;
            assert_near(
                &mask.where_cond(&t, &f)?,
                &found,
                0.0,
                &format!("where {kind:?} {dtype:?}"),
            )?;
        }
    }
    Ok(())
}

#[test]
fn rows_and_elements_by_index() -> Result<()> {
    let device = rocm()?;
    for &kind in &[DType::U8, DType::U32, DType::I64] {
        let ids = Tensor::new(&[3u32, 0, 5, 3], &Device::Cpu)?.to_dtype(kind)?;
        let positions =
            Tensor::new(&[[0u32, 2, 1, 5], [2, 2, 0, 3]], &Device::Cpu)?.to_dtype(kind)?;
        for &dtype in NUMBERS {
            let what = format!("{dtype:?} by {kind:?}");
            let t = sample(&[6, 7, 6], 5, dtype)?;
            for dim in [0, 2] {
                let found = on(&device, &t)?.index_select(&on(&device, &ids)?, dim)?;
                assert_near(
                    &t.index_select(&ids, dim)?,
                    &found,
                    0.0,
                    &format!("index-select {what}"),
                )?;
            }
            let matrix = t.narrow(0, 0, 2)?.narrow(1, 3, 1)?.reshape((2, 6))?;
            let found = on(&device, &matrix)?.gather(&on(&device, &positions)?, 1)?;
            assert_near(
                &matrix.gather(&positions, 1)?,
                &found,
                0.0,
                &format!("gather {what}"),
            )?;
            let (base, src) = (sample(&[2, 6], 6, dtype)?, sample(&[2, 4], 8, dtype)?);
            let scatter = |b: &Tensor, p: &Tensor, s: &Tensor| b.scatter(p, s, 1);
            let found = scatter(
                &on(&device, &base)?,
                &on(&device, &positions)?,
                &on(&device, &src)?,
            )?;
            assert_near(
                &scatter(&base, &positions, &src)?,
                &found,
                0.0,
                &format!("scatter {what}"),
            )?;
        }
    }
    Ok(())
}

#[test]
fn sums_by_index() -> Result<()> {
    let device = rocm()?;
    for &kind in INTEGERS {
        let ids = Tensor::new(&[3u32, 0, 5, 3], &Device::Cpu)?.to_dtype(kind)?;
        let positions =
            Tensor::new(&[[0u32, 2, 2, 5], [2, 2, 2, 3]], &Device::Cpu)?.to_dtype(kind)?;
        for &dtype in NUMBERS {
            let what = format!("{dtype:?} by {kind:?}");
            let (base, src) = (sample(&[2, 6], 6, dtype)?, sample(&[2, 4], 8, dtype)?);
            let there = [&base, &src, &positions, &ids].map(|t| on(&device, t));
            let [base_there, src_there, positions_there, ids_there] = there;
            let (base_there, src_there) = (base_there?, src_there?);
            // One thread adds in the CPU's order, so equal indices give equal bits.
            let found = base_there.scatter_add(&positions_there?, &src_there, 1)?;
            assert_near(
                &base.scatter_add(&positions, &src, 1)?,
                &found,
                0.0,
                &format!("scatter-add {what}"),
            )?;
            let found = base_there.index_add(&ids_there?, &src_there, 1)?;
            assert_near(
                &base.index_add(&ids, &src, 1)?,
                &found,
                0.0,
                &format!("index-add {what}"),
            )?;
        }
    }
    Ok(())
}

/// Operands by index that are views: the CPU backend wants most of them contiguous, so its operands are copies.
#[test]
fn views_by_index() -> Result<()> {
    let device = rocm()?;
    let t = sample(&[6, 7], 5, DType::F32)?;
    let ids = Tensor::new(&[0u32, 9, 3, 9, 5, 9], &Device::Cpu)?
        .reshape((3, 2))?
        .narrow(1, 0, 1)?
        .flatten_all()?;
    let (x, x_there) = (t.t()?, on(&device, &t)?.t()?);
    let ids_there = on(&device, &ids)?;
    let found = x_there.index_select(&ids_there, 1)?;
    assert_near(
        &x.contiguous()?.index_select(&ids, 1)?,
        &found,
        0.0,
        "index-select",
    )?;

    let base = sample(&[9, 6], 6, DType::F32)?.narrow(0, 2, 7)?;
    let found = on(&device, &base)?.index_add(&ids_there, &x_there.narrow(1, 1, 3)?, 1)?;
    let expected = base.index_add(&ids, &x.narrow(1, 1, 3)?.contiguous()?, 1)?;
    assert_near(
        &expected,
        &found,
        0.0,
        "index-add to a view that starts within its storage",
    )?;

    let positions = Tensor::new(&[[0u32, 2, 1], [4, 4, 3]], &Device::Cpu)?.t()?;
    let x = x.narrow(0, 0, 3)?;
    let found = x_there
        .narrow(0, 0, 3)?
        .gather(&on(&device, &positions)?, 1)?;
    assert_near(
        &x.contiguous()?.gather(&positions.contiguous()?, 1)?,
        &found,
        0.0,
        "gather",
    )
}

/// Indices shorter than the tensor in a dimension that is not indexed, as PyTorch's `gather` allows.
#[test]
fn gathering_from_a_part_of_the_tensor() -> Result<()> {
    let device = rocm()?;
    let t = Tensor::arange(0u32, 24, &device)?.reshape((2, 3, 4))?;
    let ids = Tensor::new(&[[[2u32, 0], [1, 1]]], &device)?;
    // result[i][j][k] = t[i][ids[i][j][k]][k]
    let found = t.gather(&ids, 1)?;
    assert_eq!(found.to_vec3::<u32>()?, [[[8, 1], [4, 5]]]);
    Ok(())
}

/// Tensors of more than 2^16 rows and of nine dimensions that do not merge.
#[test]
fn long_and_deep_tensors() -> Result<()> {
    let device = rocm()?;
    let rows = (1 << 16) + 3;
    let t = Tensor::arange(0u32, 2 * rows, &Device::Cpu)?.reshape((rows as usize, 2))?;
    let there = on(&device, &t)?;
    assert_near(
        &t.t()?.contiguous()?,
        &there.t()?.contiguous()?,
        0.0,
        "transposed",
    )?;
    assert_near(&t.sum(1)?, &there.sum(1)?, 0.0, "sum")?;
    let deep = Tensor::arange(0f32, 4f32.powi(9), &Device::Cpu)?.reshape(vec![4; 9])?;
    let view = |t: &Tensor| (0..9).try_fold(t.clone(), |t, d| t.narrow(d, 1, 2));
    let (here, there) = (view(&deep)?, view(&on(&device, &deep)?)?);
    assert_eq!(here.layout().stride().len(), 9);
    assert_near(&(&here + 1.0)?, &(&there + 1.0)?, 0.0, "nine dimensions")?;
    assert_near(
        &here.sum(vec![0, 2, 4, 6, 8])?,
        &there.sum(vec![0, 2, 4, 6, 8])?,
        0.0,
        "sum of five",
    )
}
