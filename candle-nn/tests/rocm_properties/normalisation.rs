//! RMS norm and layer norm of rows.
use crate::cases::{family, rocm};
use crate::nearness::{about, accumulator_roundoff, doubles, unit_roundoff, wide, within};
use crate::views::{view, Content, View};
use candle::{DType, Result};
use proptest::prelude::*;

const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::BF16, DType::F64];

fn shape() -> impl Strategy<Value = (Vec<usize>, usize)> {
    // A warp takes a row shorter than 1024, a workgroup a longer one.
    let columns = prop_oneof![4 => 1usize..40, 3 => 60usize..260, 1 => 1000usize..1100];
    (prop::collection::vec(1usize..5, 0..3), columns)
}

/// Sums are kept in f32, and f64 is normalised in f32 as well: so candle has it on the CPU and in CUDA.
fn sum_roundoff(dtype: DType) -> f64 {
    accumulator_roundoff(dtype).max(unit_roundoff(DType::F32))
}

/// Additions that a term goes through: its lane's share of the row, then the lanes' sums in pairs.
fn additions(columns: usize) -> f64 {
    (columns.div_ceil(32) + 12) as f64
}

/// The relative error of 1/√(v + eps) when v is off by `delta`.
fn root_error(v: f64, delta: f64, eps: f64) -> f64 {
    ((v + eps) / ((v - delta).max(0.0) + eps)).sqrt() - 1.0
}

struct Row {
    columns: usize,
    x: Vec<f64>,
    alpha: Vec<f64>,
    beta: Vec<f64>,
}

impl Row {
    fn of(&self, row: usize) -> &[f64] {
        &self.x[row * self.columns..][..self.columns]
    }

    fn mean(&self, row: usize, of: impl Fn(f64) -> f64) -> f64 {
        self.of(row).iter().map(|&x| of(x)).sum::<f64>() / self.columns as f64
    }
}

const EPS: f64 = 1e-5;

fn check(
    dtype: DType,
    (outer, columns): &(Vec<usize>, usize),
    views: (View, View, View),
    layer: bool,
) -> Result<()> {
    let columns = *columns;
    let dims = [outer.as_slice(), &[columns]].concat();
    let content = Content::Between(-2.0, 2.0);
    let x = views.0.tensor(&dims, dtype, content)?.contiguous()?;
    let alpha = View::contiguous(views.1.seed).tensor(&[columns], dtype, content)?;
    let beta = View::contiguous(views.2.seed).tensor(&[columns], dtype, content)?;
    let device = rocm()?;
    let [x_there, alpha_there, beta_there] = [&x, &alpha, &beta].map(|t| t.to_device(&device));
    let (x_there, alpha_there) = (x_there?, alpha_there?);
    let found = match layer {
        true => candle_nn::ops::layer_norm(&x_there, &alpha_there, &beta_there?, EPS as f32)?,
        false => candle_nn::ops::rms_norm(&x_there, &alpha_there, EPS as f32)?,
    };
    let row = Row {
        columns,
        x: doubles(&x)?,
        alpha: doubles(&alpha)?,
        beta: if layer {
            doubles(&beta)?
        } else {
            vec![0.0; columns]
        },
    };
    // In f64, by the definition: x - mean (of a layer norm), over the root of the mean square, times alpha, plus beta.
    let eps = f64::from(EPS as f32);
    let sum = sum_roundoff(dtype);
    let unit = unit_roundoff(dtype).max(sum);
    let mut exact = Vec::with_capacity(row.x.len());
    let mut allowed = Vec::with_capacity(row.x.len());
    for r in 0..row.x.len() / columns {
        let mean = if layer { row.mean(r, |x| x) } else { 0.0 };
        let mean_size = row.mean(r, f64::abs);
        let square = row.mean(r, |x| x * x);
        let variance = row.mean(r, |x| (x - mean).powi(2));
        let scale = (variance + eps).sqrt().recip();
        // A layer norm's variance is the difference of the mean square and the squared mean.
        let delta =
            additions(columns) * sum * (square + if layer { 3.0 * mean_size.powi(2) } else { 0.0 });
        let of_scale = root_error(variance, delta, eps) + 4.0 * sum;
        let of_mean = if layer {
            additions(columns) * sum * mean_size
        } else {
            0.0
        };
        for (c, &x) in row.of(r).iter().enumerate() {
            let normal = (x - mean) * scale;
            let y = normal * row.alpha[c] + row.beta[c];
            let weight = (normal * row.alpha[c]).abs();
            exact.push(y);
            // Three roundings in the type: the normalised number, its product with alpha, the sum with beta.
            allowed.push(
                weight * of_scale
                    + (of_mean + sum * x.abs()) * scale * row.alpha[c].abs()
                    + 3.0 * unit * (weight + row.beta[c].abs()),
            );
        }
    }
    let exact = candle::Tensor::from_vec(exact, dims, &candle::Device::Cpu)?;
    // The CPU agrees with the definition, or the reference would be a wrong one.
    let on_cpu = match layer {
        true => {
            candle_nn::ops::layer_norm_slow(&wide(&x)?, &wide(&alpha)?, &wide(&beta)?, EPS as f32)?
        }
        false => candle_nn::ops::rms_norm_slow(&wide(&x)?, &wide(&alpha)?, EPS as f32)?,
    };
    for (a, b) in doubles(&exact)?.into_iter().zip(doubles(&on_cpu)?) {
        if (a - b).abs() > 1e-6 * (1.0 + a.abs()) {
            candle::bail!("the references disagree: {a} and {b}")
        }
    }
    within(&found, &exact, |i, _| 1.01 * allowed[i])
}

#[test]
fn rms_norm() {
    family(
        FLOATS,
        (shape(), (view(), view(), view())),
        |&dtype, (shape, views)| about("rms_norm", dtype, check(dtype, &shape, views, false)),
    );
}

#[test]
fn layer_norm() {
    family(
        FLOATS,
        (shape(), (view(), view(), view())),
        |&dtype, (shape, views)| about("layer_norm", dtype, check(dtype, &shape, views, true)),
    );
}

#[test]
fn more_rows_than_a_grid_of_16_bits() -> Result<()> {
    let views = (
        View::contiguous(1),
        View::contiguous(2),
        View::contiguous(3),
    );
    let shape = (vec![65_537], 3);
    about(
        "rms_norm",
        DType::F32,
        check(DType::F32, &shape, views, false),
    )?;
    about(
        "layer_norm",
        DType::F32,
        check(DType::F32, &shape, views, true),
    )
}

#[test]
fn what_does_not_fit_is_an_error() -> Result<()> {
    let device = rocm()?;
    let x = candle::Tensor::ones((3, 8), DType::F32, &device)?;
    let ones = |n, dtype| candle::Tensor::ones(n, dtype, &device);
    assert!(candle_nn::ops::rms_norm(&x, &ones(7, DType::F32)?, 1e-5).is_err());
    assert!(candle_nn::ops::rms_norm(&x, &ones(8, DType::F16)?, 1e-5).is_err());
    assert!(
        candle_nn::ops::rms_norm(&x.t()?, &ones(3, DType::F32)?, 1e-5).is_err(),
        "rows must be contiguous"
    );
    assert_eq!(
        candle_nn::ops::rms_norm(&x, &ones(8, DType::F32)?, 0.0)?
            .sum_all()?
            .to_scalar::<f32>()?,
        24.0
    );
    Ok(())
}
