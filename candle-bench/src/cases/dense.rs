//! Dense products.

use crate::measure::{Bench, Case, Contestant};
use crate::weights::normal;
use anyhow::Result;
use candle_core::DType;

/// `x` of `rows` × `k` times the transposed `w` of `n` × `k`, both of `dtype`.
pub fn gemm(bench: &mut Bench, dtype: DType, rows: usize, (n, k): (usize, usize)) -> Result<()> {
    let copies = bench.copies(n * k * dtype.size_in_bytes());
    let w = normal(0.02, (n, k))?.to_dtype(dtype)?;
    let x = normal(1.0, (rows, k))?.to_dtype(dtype)?;
    let mut contestants = Vec::new();
    for (lane, l) in bench.lanes.iter().enumerate().filter(|(_, l)| l.is_plain()) {
        let x = x.to_device(&l.device)?;
        // Copied on the device: `copy` of what was uploaded once.
        let w = w.to_device(&l.device)?;
        let w = (0..copies)
            .map(|_| w.copy()?.t())
            .collect::<candle_core::Result<Vec<_>>>()?;
        let call = Box::new(move |i: usize| Ok(x.matmul(&w[i % copies])?));
        contestants.push(Contestant { lane, call });
    }
    bench.run(Case {
        group: "gemm",
        labels: vec![
            dtype.as_str().into(),
            format!("{n}x{k}"),
            format!("x{rows}"),
        ],
        bytes: ((n * k + rows * (n + k)) * dtype.size_in_bytes()) as f64,
        flops: 2.0 * (n * k * rows) as f64,
        tolerance: tolerance(dtype),
        contestants,
    })
}

/// A batch of products as attention has them: `[heads, rows, k]` × `[heads, k, n]`, the right side transposed or not.
pub fn batched(
    bench: &mut Bench,
    heads: usize,
    rows: usize,
    k: usize,
    n: usize,
    transposed: bool,
) -> Result<()> {
    let b_shape = if transposed {
        (1, heads, n, k)
    } else {
        (1, heads, k, n)
    };
    let a = normal(1.0, (1, heads, rows, k))?;
    let b = normal(1.0, b_shape)?;
    let copies = bench.copies(4 * heads * n * k);
    let mut contestants = Vec::new();
    for (lane, l) in bench.lanes.iter().enumerate().filter(|(_, l)| l.is_plain()) {
        let (a, b) = (a.to_device(&l.device)?, b.to_device(&l.device)?);
        let copy = |_| match transposed {
            true => b.copy()?.t(),
            false => b.copy(),
        };
        let b = (0..copies)
            .map(copy)
            .collect::<candle_core::Result<Vec<_>>>()?;
        let call = Box::new(move |i: usize| Ok(a.matmul(&b[i % copies])?));
        contestants.push(Contestant { lane, call });
    }
    let t = if transposed { "ᵀ" } else { "" };
    bench.run(Case {
        group: "gemm",
        labels: vec!["f32".into(), format!("{heads}·[{rows}x{k}]·[{k}x{n}]{t}")],
        bytes: (4 * heads * (rows * k + k * n + rows * n)) as f64,
        flops: 2.0 * (heads * rows * k * n) as f64,
        tolerance: tolerance(DType::F32),
        contestants,
    })
}

/// The lanes sum in another order, in f32; f16 and bf16 round the results once.
fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 1e-3,
        DType::BF16 => 8e-3,
        _ => 1e-5,
    }
}
