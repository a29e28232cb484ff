//! Functions of one element.
use crate::cases::{family, rocm};
use crate::nearness::{about, identical, rounded, wide};
use crate::views::{dims, view, with_each, Content, View, FLOATS, INTEGERS, MANY_ROWS};
use candle_core::{DType, Result, Tensor};

/// Rounded functions of the device library are good to 2 units in the last place, 4 roundings.
const FUNCTION: f64 = 4.0;
const EXACT: f64 = 0.0;

/// The numbers whose rounding the result carries.
#[derive(Clone, Copy)]
enum Weight {
    Result,
    /// Intermediate results as large as the operand cancel out.
    Operand,
    /// An intermediate result near 1 cancels out.
    One,
}

#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    apply: fn(&Tensor) -> Result<Tensor>,
    low: f64,
    high: f64,
    roundings: f64,
    weight: Weight,
}

const fn row(
    name: &'static str,
    apply: fn(&Tensor) -> Result<Tensor>,
    (low, high): (f64, f64),
    roundings: f64,
    weight: Weight,
) -> Row {
    Row {
        name,
        apply,
        low,
        high,
        roundings,
        weight,
    }
}

/// Domains keep results below 448, the largest f8.
const ROWS: &[Row] = &[
    row("abs", Tensor::abs, (-9.0, 9.0), EXACT, Weight::Result),
    row("neg", Tensor::neg, (-9.0, 9.0), EXACT, Weight::Result),
    row("relu", Tensor::relu, (-9.0, 9.0), EXACT, Weight::Result),
    row("sign", Tensor::sign, (-9.0, 9.0), EXACT, Weight::Result),
    row("ceil", Tensor::ceil, (-9.0, 9.0), EXACT, Weight::Result),
    row("floor", Tensor::floor, (-9.0, 9.0), EXACT, Weight::Result),
    row("round", Tensor::round, (-9.0, 9.0), EXACT, Weight::Result),
    row("sqr", Tensor::sqr, (-9.0, 9.0), 1.0, Weight::Result),
    row("recip", Tensor::recip, (0.1, 9.0), 2.0, Weight::Result),
    row("sqrt", Tensor::sqrt, (0.0, 99.0), 2.0, Weight::Result),
    row("exp", Tensor::exp, (-5.0, 5.0), FUNCTION, Weight::Result),
    row("log", Tensor::log, (0.01, 99.0), FUNCTION, Weight::Result),
    row("sin", Tensor::sin, (-9.0, 9.0), FUNCTION, Weight::Result),
    row("cos", Tensor::cos, (-9.0, 9.0), FUNCTION, Weight::Result),
    row("tanh", Tensor::tanh, (-5.0, 5.0), FUNCTION, Weight::Result),
    row("erf", Tensor::erf, (-3.0, 3.0), FUNCTION, Weight::Result),
    // exp, 1 + exp, the quotient.
    row(
        "silu",
        Tensor::silu,
        (-6.0, 6.0),
        FUNCTION + 2.0,
        Weight::Result,
    ),
    // x · (1 + tanh(…)) / 2: for negative x the sum cancels; its argument has four roundings of its own, each
    // weighed by up to |t · tanh'(t)| < 1/2.
    row(
        "gelu",
        Tensor::gelu,
        (-4.0, 4.0),
        FUNCTION + 4.0,
        Weight::Operand,
    ),
    row(
        "gelu_erf",
        Tensor::gelu_erf,
        (-4.0, 4.0),
        FUNCTION + 3.0,
        Weight::Operand,
    ),
    // Powers and exponentials with one number.
    row(
        "powf(1.5)",
        |t| t.powf(1.5),
        (0.1, 9.0),
        FUNCTION,
        Weight::Result,
    ),
    row(
        "powf(-2)",
        |t| t.powf(-2.0),
        (0.3, 9.0),
        FUNCTION,
        Weight::Result,
    ),
    row(
        "powf(3) of a negative",
        |t| t.powf(3.0),
        (-4.0, -0.5),
        FUNCTION,
        Weight::Result,
    ),
    // alpha · (exp(x) - 1), alpha being 3/4 in every type.
    row(
        "elu(0.75)",
        |t| t.elu(0.75),
        (-6.0, 6.0),
        FUNCTION + 2.0,
        Weight::One,
    ),
];

/// Functions that whole numbers have as well: the first seven rows but for `neg`.
fn of_integers() -> impl Iterator<Item = Row> {
    ROWS[..7].iter().copied().filter(|row| row.name != "neg")
}

#[test]
fn functions_of_whole_numbers() {
    let rows = with_each(&of_integers().collect::<Vec<_>>(), INTEGERS);
    family(
        &rows,
        (dims(0..=4), view()),
        |(row, dtype), (dims, view)| {
            let low = if matches!(dtype, DType::U8 | DType::U32) {
                0
            } else {
                -99
            };
            let compare = || {
                let x = view.tensor(&dims, *dtype, Content::Whole(low, 99))?;
                identical(&(row.apply)(&x.to_device(&rocm()?)?)?, &(row.apply)(&x)?)
            };
            about(row.name, *dtype, compare())
        },
    );
}

fn check(row: &Row, dtype: DType, dims: &[usize], view: View) -> Result<()> {
    let x = view.tensor(dims, dtype, Content::Between(row.low, row.high))?;
    let exact = (row.apply)(&wide(&x)?)?;
    let found = (row.apply)(&x.to_device(&rocm()?)?)?;
    let weights = match row.weight {
        Weight::Result => None,
        Weight::Operand => Some(x),
        Weight::One => Some(exact.ones_like()?),
    };
    rounded(&found, &exact, weights.as_ref(), row.roundings)
}

#[test]
fn every_function_on_every_layout() {
    let rows = with_each(ROWS, FLOATS);
    family(
        &rows,
        (dims(0..=4), view()),
        |(row, dtype), (dims, view)| about(row.name, *dtype, check(row, *dtype, &dims, view)),
    );
}

#[test]
fn more_rows_than_a_grid_of_16_bits() -> Result<()> {
    for dims in MANY_ROWS {
        about(
            "neg",
            DType::F32,
            check(&ROWS[1], DType::F32, &dims, View::contiguous(3)),
        )?;
        let turned = View {
            way: crate::views::Way::Backwards,
            seed: 4,
        };
        about(
            "exp",
            DType::BF16,
            check(&ROWS[10], DType::BF16, &dims, turned),
        )?;
    }
    Ok(())
}
