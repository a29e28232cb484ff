//! Matrix products: batches that are broadcast, operands in every layout.
//!
//! The reference is the CPU's f64 product of contiguous copies with the batch written out: given views, the CPU folds
//! the batch into rows where the right operand is broadcast and the left is not in row order, which is wrong.
use crate::cases::{family, rocm};
use crate::nearness::{about, accumulator_roundoff, doubles, unit_roundoff, wide, within};
use crate::views::{view, Content, View};
use candle_core::{DType, Device, Result, Tensor};
use proptest::prelude::*;

const MULTIPLIED: &[DType] = &[DType::F32, DType::F16, DType::BF16, DType::F64];

/// Batch dimensions with, for each operand, those that are 1 there.
#[derive(Clone, Debug)]
struct Shape {
    batch: Vec<(usize, bool, bool)>,
    m: usize,
    n: usize,
    k: usize,
}

fn shape() -> impl Strategy<Value = Shape> {
    let side = || {
        prop_oneof![
            Just(0usize),
            Just(1usize),
            2usize..9,
            9usize..40,
            60usize..70
        ]
    };
    let batch = (1usize..4, any::<bool>(), any::<bool>());
    let batch = prop::collection::vec(batch, 0..3);
    (batch, side(), side(), side()).prop_map(|(batch, m, n, k)| Shape { batch, m, n, k })
}

fn expanded(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    wide(x)?.broadcast_as(dims)?.force_contiguous()
}

fn check(shape: &Shape, dtype: DType, views: (View, View)) -> Result<()> {
    let Shape { batch, m, n, k } = shape;
    let of = |pick: fn(&(usize, bool, bool)) -> usize, matrix: [usize; 2]| -> Vec<usize> {
        batch.iter().map(pick).chain(matrix).collect()
    };
    let content = Content::Between(-1.0, 1.0);
    let a = of(|&(len, one, _)| if one { 1 } else { len }, [*m, *k]);
    let b = of(|&(len, _, one)| if one { 1 } else { len }, [*k, *n]);
    let (a, b) = (
        views.0.tensor(&a, dtype, content)?,
        views.1.tensor(&b, dtype, content)?,
    );
    let both_one = |&(len, a, b): &(usize, bool, bool)| if a && b { 1 } else { len };
    let (a_dims, b_dims) = (of(both_one, [*m, *k]), of(both_one, [*k, *n]));
    let (a_wide, b_wide) = (expanded(&a, &a_dims)?, expanded(&b, &b_dims)?);

    let device = rocm()?;
    let found = a
        .to_device(&device)?
        .broadcast_matmul(&b.to_device(&device)?)?;
    let exact = a_wide.matmul(&b_wide)?;
    // The sum of k products in the accumulator's type, in any order, and the rounding of the result.
    let error = 1.01 * ((*k as f64 + 1.0) * accumulator_roundoff(dtype) + unit_roundoff(dtype));
    let weights = doubles(&a_wide.abs()?.matmul(&b_wide.abs()?)?)?;
    let lost = doubles(&lost(&device, dtype, &a_wide, &b_wide)?)?;
    within(&found, &exact, |i, _| error * weights[i] + lost[i])
}

/// The magnitude of what CDNA 2's matrix cores leave out: they take subnormal elements for zero (MI200's instruction set
/// document). Those of bf16 are smaller than any number of these tests; those of f16 begin below 2^-14.
fn lost(device: &Device, dtype: DType, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (a, b) = (a.abs()?, b.abs()?);
    let target = &device.as_rocm_device()?.properties().target;
    if dtype != DType::F16 || !target.starts_with("gfx90a") {
        return a.matmul(&b)?.zeros_like();
    }
    let subnormal = |x: &Tensor| x * x.lt(2f64.powi(-14))?.to_dtype(DType::F64)?;
    subnormal(&a)?.matmul(&b)? + a.matmul(&subnormal(&b)?)?
}

#[test]
fn products_of_every_layout() {
    family(
        MULTIPLIED,
        (shape(), (view(), view())),
        |&dtype, (shape, views)| about("matmul", dtype, check(&shape, dtype, views)),
    );
}

#[test]
fn more_rows_than_a_grid_of_16_bits() -> Result<()> {
    for (m, n) in [(65_600, 1), (1, 65_600), (66_000, 3)] {
        let shape = Shape {
            batch: vec![],
            m,
            n,
            k: 2,
        };
        let views = (
            View::contiguous(1),
            View {
                way: crate::views::Way::Backwards,
                seed: 2,
            },
        );
        about("matmul", DType::F32, check(&shape, DType::F32, views))?;
    }
    let batch = vec![(66_000, false, true)];
    let many = Shape {
        batch,
        m: 1,
        n: 2,
        k: 2,
    };
    about(
        "matmul of many",
        DType::F32,
        check(
            &many,
            DType::F32,
            (View::contiguous(1), View::contiguous(2)),
        ),
    )
}
