//! Conversions between every pair of types.
use crate::cases::{family, rocm};
use crate::nearness::{about, doubles, identical, rounded, wide};
use crate::views::{dims, view, Content, View, ALL, FLOATS, MANY_ROWS};
use candle_core::{DType, Device, Result, Tensor};

/// Numbers that both types hold but for their precision; with fractions, so that a cast to an integer truncates.
fn common(from: DType, to: DType) -> Content {
    let unsigned = |d| matches!(d, DType::U8 | DType::U32);
    let high = match (from, to) {
        (DType::U8, _) | (_, DType::U8) => 250.0,
        (DType::F8E4M3, _) | (_, DType::F8E4M3) => 440.0,
        _ => 30_000.0,
    };
    let low = if unsigned(from) || unsigned(to) {
        0.0
    } else {
        -high
    };
    Content::Between(low, high)
}

fn check(from: DType, to: DType, dims: &[usize], view: View) -> Result<()> {
    let x = view.tensor(dims, from, common(from, to))?;
    let found = x.to_device(&rocm()?)?.to_dtype(to)?;
    if to.is_int() {
        return identical(&found, &x.to_dtype(to)?);
    }
    // Wide numbers may be rounded to f32 on the way to a narrow type: a little more than one rounding.
    rounded(&found, &wide(&x)?, None, 1.0)
}

#[test]
fn every_pair_of_types() {
    let pairs: Vec<(DType, DType)> = ALL
        .iter()
        .flat_map(|&from| ALL.iter().map(move |&to| (from, to)))
        .collect();
    family(
        &pairs,
        (dims(0..=4), view()),
        |&(from, to), (dims, view)| {
            about(&format!("{from:?} to"), to, check(from, to, &dims, view))
        },
    );
}

#[test]
fn infinities_and_nan_stay_what_they_are() -> Result<()> {
    let odd = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.0, -0.0];
    let odd = Tensor::new(&odd, &Device::Cpu)?;
    let wide = FLOATS.iter().filter(|&&d| d != DType::F8E4M3);
    for &from in wide.clone() {
        for &to in wide.clone() {
            let x = odd.to_dtype(from)?;
            let (expected, found) = (
                doubles(&x)?,
                doubles(&x.to_device(&rocm()?)?.to_dtype(to)?)?,
            );
            let same =
                |(e, f): (&f64, &f64)| (e.is_nan() && f.is_nan()) || e.to_bits() == f.to_bits();
            assert!(
                expected.iter().zip(&found).all(same),
                "{from:?} to {to:?}: {found:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn large_integers_keep_their_digits() -> Result<()> {
    // Beyond what f32 holds: a detour through it would show.
    let large = Tensor::new(
        &[16_777_217i64, 2_000_000_011, 123_456_789, 0],
        &Device::Cpu,
    )?;
    for from in [DType::I64, DType::U32, DType::I32, DType::F64] {
        for to in [DType::I64, DType::U32, DType::I32, DType::F64] {
            let x = large.to_dtype(from)?;
            let found = x.to_device(&rocm()?)?.to_dtype(to)?;
            assert_eq!(doubles(&found)?, doubles(&large)?, "{from:?} to {to:?}");
        }
    }
    Ok(())
}

#[test]
fn more_rows_than_a_grid_of_16_bits() -> Result<()> {
    for dims in MANY_ROWS {
        let turned = View {
            way: crate::views::Way::Backwards,
            seed: 4,
        };
        about(
            "F32 to",
            DType::F16,
            check(DType::F32, DType::F16, &dims, turned),
        )?;
    }
    Ok(())
}
