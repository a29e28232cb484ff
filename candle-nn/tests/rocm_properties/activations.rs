//! Sigmoid, SiLU and their kin, softmax.
use crate::cases::{family, rocm};
use crate::nearness::{
    about, accumulator_roundoff, doubles, least_roundoff, rounded, unit_roundoff, wide, within,
};
use crate::views::{dims, filled_dims, view, with_each, Content, View, MANY_ROWS};
use candle::{DType, Result, Tensor, D};
use proptest::prelude::*;

const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::BF16, DType::F64];

type Function = fn(&Tensor) -> Result<Tensor>;

/// The function and the roundings of its result or of numbers as large as its operand or 1: 4 for a function of the
/// device library (2 units in the last place), 1 for each operation.
const FUNCTIONS: &[(&str, Function, f64)] = &[
    ("sigmoid", candle_nn::ops::sigmoid, 6.0),
    ("silu", candle_nn::ops::silu, 6.0),
    ("hard_sigmoid", candle_nn::ops::hard_sigmoid, 2.0),
    ("leaky_relu", |x| candle_nn::ops::leaky_relu(x, 0.25), 2.0),
    // x · tanh(log(1 + exp(x))): three functions and two operations.
    ("mish", candle_nn::ops::mish, 14.0),
];

#[test]
fn functions_of_one_element() {
    let rows = with_each(FUNCTIONS, FLOATS);
    family(
        &rows,
        (dims(0..=4), view()),
        |&((name, apply, roundings), dtype), (dims, view)| {
            let check = || {
                let x = view.tensor(&dims, dtype, Content::Between(-6.0, 6.0))?;
                let found = apply(&x.to_device(&rocm()?)?)?;
                let weights = (wide(&x)?.abs()? + 1.0)?;
                rounded(&found, &apply(&wide(&x)?)?, Some(&weights), roundings)
            };
            about(name, dtype, check())
        },
    );
}

/// Additions that a term of a row's sum goes through: 32 lanes, then their sums in pairs; 256 in a reduction.
fn additions(terms: usize) -> f64 {
    (terms.div_ceil(32) + 10) as f64
}

/// Numbers lie in [-6, 6]: a difference of two, up to 12, is rounded to the type before its exponential is taken, and
/// the exponential and the quotient are. What is summed, and the exponential itself, has f32's roundings or better.
fn softmax(dtype: DType, dims: &[usize], view: View) -> Result<()> {
    let x = view
        .tensor(dims, dtype, Content::Between(-6.0, 6.0))?
        .contiguous()?;
    let found = candle_nn::ops::softmax_last_dim(&x.to_device(&rocm()?)?)?;
    let exact = candle_nn::ops::softmax_last_dim(&wide(&x)?)?;
    let columns = dims[dims.len() - 1];
    let sums = (8.0 + additions(columns)) * accumulator_roundoff(dtype);
    let unit = (12.0 + 2.0) * unit_roundoff(dtype) + sums;
    // The exponential may be one of f16's smallest numbers, too.
    within(&found, &exact, |_, y| {
        1.01 * unit * y + least_roundoff(dtype)
    })
}

#[test]
fn softmax_of_the_last_dimension() {
    family(
        FLOATS,
        (filled_dims(1..=4), view()),
        |&dtype, (dims, view)| about("softmax_last_dim", dtype, softmax(dtype, &dims, view)),
    );
}

#[test]
fn more_rows_than_a_grid_of_16_bits() -> Result<()> {
    for dims in MANY_ROWS {
        about(
            "softmax_last_dim",
            DType::F32,
            softmax(DType::F32, &dims, View::contiguous(3)),
        )?;
    }
    Ok(())
}

#[test]
fn softmax_of_any_dimension() {
    let case = (filled_dims(1..=4), view(), any::<prop::sample::Index>());
    family(FLOATS, case, |&dtype, (dims, view, dim)| {
        let dim = dim.index(dims.len());
        let check = || {
            let x = view.tensor(&dims, dtype, Content::Between(-6.0, 6.0))?;
            let (there, x) = (x.to_device(&rocm()?)?, wide(&x)?);
            // Each step rounds to the type: difference, exponential, sum, quotient.
            let unit = 1.01 * unit_roundoff(dtype) * (12.0 + 8.0 + additions(dims[dim]).max(32.0));
            let found = candle_nn::ops::softmax(&there, dim)?;
            within(&found, &candle_nn::ops::softmax(&x, dim)?, |_, y| {
                unit * y + least_roundoff(dtype)
            })?;
            let found = candle_nn::ops::log_softmax(&there, dim)?;
            within(&found, &candle_nn::ops::log_softmax(&x, dim)?, |_, y| {
                unit * (1.0 + y.abs())
            })
        };
        about(&format!("softmax over {dim}"), dtype, check())
    });
}

#[test]
fn softmax_of_large_and_masked_numbers() -> Result<()> {
    let row = [f32::NEG_INFINITY, 80.0, 1e4, 1e4, f32::NEG_INFINITY];
    for dtype in [DType::F32, DType::F16, DType::BF16, DType::F64] {
        let x = Tensor::new(&[row], &candle::Device::Cpu)?.to_dtype(dtype)?;
        let found = candle_nn::ops::softmax_last_dim(&x.to_device(&rocm()?)?)?;
        assert_eq!(doubles(&found)?, [0.0, 0.0, 0.5, 0.5, 0.0], "{dtype:?}");
        let found = candle_nn::ops::softmax(&x.to_device(&rocm()?)?, D::Minus1)?;
        assert_eq!(doubles(&found)?, [0.0, 0.0, 0.5, 0.5, 0.0], "{dtype:?}");
    }
    Ok(())
}
