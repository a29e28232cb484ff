//! Sums, extremes and their positions along dimensions.
use crate::cases::{family, rocm};
use crate::nearness::{about, accumulator_roundoff, identical, unit_roundoff, wide, within};
use crate::views::{dims, filled_dims, view, with_each, Content, View, ALL, MANY_ROWS};
use candle_core::{bail, DType, Result, Tensor};
use proptest::prelude::*;

/// Additions that a partial result passes through: a work-item each for short sums, else 256 work-items whose partial
/// sums are added in pairs.
fn additions(terms: usize) -> f64 {
    match terms {
        0..=32 => terms as f64,
        _ => (terms.div_ceil(256) + 10) as f64,
    }
}

fn sum(dtype: DType, dims: &[usize], view: View, over: &[usize]) -> Result<()> {
    // A sum of 3000 ones fits f16; of u8, 255 terms of 0 or 1 do at most.
    let terms: usize = over.iter().map(|&d| dims[d]).product();
    let content = match dtype.is_int() {
        true if terms > 80 => Content::Whole(0, 0),
        true => Content::Whole(0, 3),
        false => Content::Between(-1.0, 1.0),
    };
    let x = view.tensor(dims, dtype, content)?;
    let found = x.to_device(&rocm()?)?.sum_keepdim(over)?;
    if dtype.is_int() {
        return identical(&found, &x.sum_keepdim(over)?);
    }
    let exact_x = wide(&x)?;
    let weights = crate::nearness::doubles(&exact_x.abs()?.sum_keepdim(over)?)?;
    let unit = unit_roundoff(dtype).max(accumulator_roundoff(dtype));
    within(&found, &exact_x.sum_keepdim(over)?, |i, _| {
        1.01 * unit * additions(terms) * weights[i]
    })
}

#[test]
fn sums_over_any_dimensions() {
    let case = (dims(1..=4), view(), 1u8..16);
    family(ALL, case, |&dtype, (dims, view, mask)| {
        let over: Vec<usize> = (0..dims.len()).filter(|d| mask >> d & 1 == 1).collect();
        match over.as_slice() {
            [] => Ok(()),
            over => about(
                &format!("sum over {over:?}"),
                dtype,
                sum(dtype, &dims, view, over),
            ),
        }
    });
}

type Reduction = fn(&Tensor, usize) -> Result<Tensor>;

const EXTREMES: &[(&str, Reduction, Reduction)] = &[
    ("max", |t, d| t.max_keepdim(d), |t, d| t.argmax_keepdim(d)),
    ("min", |t, d| t.min_keepdim(d), |t, d| t.argmin_keepdim(d)),
];

/// The extreme has the CPU's bits; the position is one where it stands (among equals any).
fn extreme(
    (value, position): (Reduction, Reduction),
    dtype: DType,
    dims: &[usize],
    view: View,
    dim: usize,
) -> Result<()> {
    let x = view.tensor(dims, dtype, Content::Between(0.0, 200.0))?;
    let there = x.to_device(&rocm()?)?;
    let expected = value(&x, dim)?;
    identical(&value(&there, dim)?, &expected)?;
    let positions = position(&there, dim)?;
    if positions.dtype() != DType::U32 {
        bail!("positions of type {:?}", positions.dtype())
    }
    let positions = positions.to_device(&candle_core::Device::Cpu)?;
    let stands = x.contiguous()?.gather(&positions, dim)?;
    match crate::nearness::bits(&stands)? == crate::nearness::bits(&expected)? {
        true => Ok(()),
        false => bail!("the positions {positions} do not hold the extreme"),
    }
}

#[test]
fn extremes_and_their_positions() {
    let rows = with_each(EXTREMES, ALL);
    let case = (filled_dims(1..=4), view(), any::<prop::sample::Index>());
    family(
        &rows,
        case,
        |&((name, value, position), dtype), (dims, view, dim)| {
            let dim = dim.index(dims.len());
            let checked = extreme((value, position), dtype, &dims, view, dim);
            about(&format!("{name} over {dim}"), dtype, checked)
        },
    );
}

#[test]
fn more_rows_than_a_grid_of_16_bits() -> Result<()> {
    for dims in MANY_ROWS {
        let view = View::contiguous(8);
        about("sum", DType::F32, sum(DType::F32, &dims, view, &[1]))?;
        about(
            "sum of columns",
            DType::F16,
            sum(DType::F32, &dims, view, &[0]),
        )?;
    }
    let (_, value, position) = EXTREMES[0];
    about(
        "max",
        DType::F32,
        extreme(
            (value, position),
            DType::F32,
            &[65_600, 2],
            View::contiguous(9),
            1,
        ),
    )
}
