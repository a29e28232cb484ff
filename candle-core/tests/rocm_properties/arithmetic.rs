//! Affine maps, functions of two elements at the same place, comparisons, selection.
use crate::cases::{family, rocm};
use crate::nearness::{about, identical, rounded, wide};
use crate::views::{dims, view, with_each, Content, View, ALL, FLOATS, INTEGERS, MANY_ROWS};
use candle_core::{DType, Result, Tensor};
use proptest::prelude::*;

type Operation = fn(&Tensor, &Tensor) -> Result<Tensor>;

#[derive(Clone, Copy)]
struct Binary {
    name: &'static str,
    apply: Operation,
    roundings: f64,
}

const fn binary(name: &'static str, apply: Operation, roundings: f64) -> Binary {
    Binary {
        name,
        apply,
        roundings,
    }
}

/// One rounding each; a quotient of f32 may come from a reciprocal with one more.
const ARITHMETIC: &[Binary] = &[
    binary("add", |a, b| a + b, 1.0),
    binary("sub", |a, b| a - b, 1.0),
    binary("mul", |a, b| a * b, 1.0),
    binary("div", |a, b| a / b, 2.0),
    binary("maximum", |a, b| a.maximum(b), 0.0),
    binary("minimum", |a, b| a.minimum(b), 0.0),
];

fn pair(
    dims: &[usize],
    views: (View, View),
    dtype: DType,
    content: (Content, Content),
) -> Result<[Tensor; 2]> {
    let a = views.0.tensor(dims, dtype, content.0)?;
    Ok([a, views.1.tensor(dims, dtype, content.1)?])
}

fn arithmetic(row: &Binary, dtype: DType, dims: &[usize], views: (View, View)) -> Result<()> {
    let device = rocm()?;
    if dtype.is_int() {
        // Products fit u8, differences do not go below zero, nothing is divided by zero: the CPU panics there.
        let content = (Content::Whole(12, 20), Content::Whole(1, 12));
        let [a, b] = pair(dims, views, dtype, content)?;
        let found = (row.apply)(&a.to_device(&device)?, &b.to_device(&device)?)?;
        return identical(&found, &(row.apply)(&a, &b)?);
    }
    // Away from zero on the right, so that f8 holds the quotients.
    let content = (Content::Between(-9.0, 9.0), Content::Between(0.25, 9.0));
    let [a, b] = pair(dims, views, dtype, content)?;
    let exact = (row.apply)(&wide(&a)?, &wide(&b)?)?;
    let found = (row.apply)(&a.to_device(&device)?, &b.to_device(&device)?)?;
    rounded(&found, &exact, None, row.roundings)
}

#[test]
fn arithmetic_of_two_tensors() {
    let rows = with_each(ARITHMETIC, ALL);
    family(
        &rows,
        (dims(0..=4), (view(), view())),
        |(row, dtype), (dims, views)| {
            about(row.name, *dtype, arithmetic(row, *dtype, &dims, views))
        },
    );
}

#[test]
fn integers_wrap_around() -> Result<()> {
    // As Rust's release builds do; a debug build of the CPU backend panics.
    let device = rocm()?;
    let of = |t: Result<Tensor>| t?.to_dtype(DType::I64)?.to_vec1::<i64>();
    let (a, b) = (
        Tensor::new(&[250u8, 3, 20], &device)?,
        Tensor::new(&[10u8, 5, 20], &device)?,
    );
    assert_eq!(of(&a + &b)?, [4, 8, 40]);
    assert_eq!(of(&a - &b)?, [240, 254, 0]);
    assert_eq!(of(&a * &b)?, [196, 15, 144]);
    let (a, b) = (
        Tensor::new(&[u32::MAX, 3], &device)?,
        Tensor::new(&[2u32, 5], &device)?,
    );
    assert_eq!((&a + &b)?.to_vec1::<u32>()?, [1, 8]);
    assert_eq!((&a - &b)?.to_vec1::<u32>()?, [u32::MAX - 2, u32::MAX - 1]);
    assert_eq!((&a * &b)?.to_vec1::<u32>()?, [u32::MAX - 1, 15]);
    Ok(())
}

const COMPARISONS: &[(&str, Operation)] = &[
    ("eq", |a, b| a.eq(b)),
    ("ne", |a, b| a.ne(b)),
    ("lt", |a, b| a.lt(b)),
    ("le", |a, b| a.le(b)),
    ("gt", |a, b| a.gt(b)),
    ("ge", |a, b| a.ge(b)),
];

#[test]
fn comparisons_of_two_tensors() {
    let rows = with_each(COMPARISONS, ALL);
    // Three values, so that a third of the pairs are equal; or anything, with NaN among it.
    let content = prop_oneof![Just(Content::Whole(0, 2)), Just(Content::Anything)];
    let case = (dims(0..=4), (view(), view()), content);
    family(
        &rows,
        case,
        |((name, apply), dtype), (dims, views, content)| {
            let check = || {
                let [a, b] = pair(&dims, views, *dtype, (content, content))?;
                let device = rocm()?;
                identical(
                    &apply(&a.to_device(&device)?, &b.to_device(&device)?)?,
                    &apply(&a, &b)?,
                )
            };
            about(name, *dtype, check())
        },
    );
}

/// Operands of different shapes: dimensions of one operand are 1, or missing in front.
#[test]
fn operands_that_are_broadcast() {
    let rows: Vec<(Binary, DType)> = with_each(&ARITHMETIC[..3], ALL);
    let case = (dims(1..=4), (view(), view()), any::<u8>(), 0usize..3);
    family(&rows, case, |(row, dtype), (dims, views, ones, missing)| {
        let check = || {
            let short: Vec<usize> = dims
                .iter()
                .enumerate()
                .skip(missing.min(dims.len() - 1))
                .map(|(i, &d)| if ones >> i & 1 == 1 { 1 } else { d })
                .collect();
            let content = (Content::Whole(12, 20), Content::Whole(1, 12));
            let a = views.0.tensor(&dims, *dtype, content.0)?;
            let b = views.1.tensor(&short, *dtype, content.1)?;
            let apply: Operation = match row.name {
                "add" => Tensor::broadcast_add,
                "sub" => Tensor::broadcast_sub,
                _ => Tensor::broadcast_mul,
            };
            let device = rocm()?;
            let exact = match dtype.is_int() {
                true => apply(&a, &b)?,
                false => apply(&wide(&a)?, &wide(&b)?)?,
            };
            rounded(
                &apply(&a.to_device(&device)?, &b.to_device(&device)?)?,
                &exact,
                None,
                row.roundings,
            )
        };
        about(row.name, *dtype, check())
    });
}

#[test]
fn affine_maps() {
    // Eighths, which every type holds, so that neither number is rounded on the way to the kernel.
    let case = (dims(0..=4), view(), -24i32..=24, -24i32..=24);
    family(FLOATS, case, |&dtype, (dims, view, mul, add)| {
        let (mul, add) = (exact_in(mul, dtype), exact_in(add, dtype));
        let check = || {
            let x = view.tensor(&dims, dtype, Content::Between(-9.0, 9.0))?;
            let exact_x = wide(&x)?;
            let weights = (exact_x.abs()? * mul.abs())?.affine(1.0, add.abs())?;
            let found = x.to_device(&rocm()?)?.affine(mul, add)?;
            // The product and the sum.
            rounded(&found, &exact_x.affine(mul, add)?, Some(&weights), 2.0)
        };
        about(&format!("affine {mul} {add}"), dtype, check())
    });
    let case = (dims(0..=4), view(), 0u8..=12, 0u8..=12);
    family(INTEGERS, case, |&dtype, (dims, view, mul, add)| {
        let check = || {
            let x = view.tensor(&dims, dtype, Content::Whole(0, 15))?;
            let found = x.to_device(&rocm()?)?.affine(mul.into(), add.into())?;
            identical(&found, &x.affine(mul.into(), add.into())?)
        };
        about(&format!("affine {mul} {add}"), dtype, check())
    });
}

/// Eighths, or whole numbers for f8, which has four significant bits.
fn exact_in(eighths: i32, dtype: DType) -> f64 {
    match dtype {
        DType::F8E4M3 => f64::from(eighths / 4),
        _ => f64::from(eighths) / 8.0,
    }
}

#[test]
fn selection_by_a_condition() {
    let rows = with_each(INTEGERS, ALL);
    let case = (dims(0..=4), (view(), view(), view()));
    family(&rows, case, |&(condition, dtype), (dims, views)| {
        let check = || {
            let condition = views.0.tensor(&dims, condition, Content::Whole(0, 2))?;
            let yes = views.1.tensor(&dims, dtype, Content::Anything)?;
            let no = views.2.tensor(&dims, dtype, Content::Anything)?;
            let device = rocm()?;
            let found = condition
                .to_device(&device)?
                .where_cond(&yes.to_device(&device)?, &no.to_device(&device)?)?;
            identical(&found, &condition.where_cond(&yes, &no)?)
        };
        about(&format!("where {condition:?}"), dtype, check())
    });
}

#[test]
fn more_rows_than_a_grid_of_16_bits() -> Result<()> {
    let (a, b) = (
        View::contiguous(5),
        View {
            way: crate::views::Way::Inside,
            seed: 6,
        },
    );
    for dims in MANY_ROWS {
        about(
            "add",
            DType::F32,
            arithmetic(&ARITHMETIC[0], DType::F32, &dims, (a, b)),
        )?;
    }
    Ok(())
}
