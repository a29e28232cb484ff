//! What stands between the products of a transformer: candle-nn's fused operations and plain tensor operations, in
//! the shapes of a model of 7 billion parameters.

use crate::measure::{Bench, Case, Contestant};
use crate::weights::normal;
use anyhow::Result;
use candle_core::{DType, Tensor};

/// The lanes sum rows in another order and take exp, sin and cos from other libraries, all in f32.
const TOLERANCE: f64 = 1e-5;

type Operation = fn(&[Tensor]) -> candle_core::Result<Tensor>;

/// An operation, its operands' shapes, and which of them it writes or reads beyond once: none.
struct Fused {
    name: &'static str,
    operands: Vec<Vec<usize>>,
    dtype: DType,
    operation: Operation,
}

fn rms_norm(x: &[Tensor]) -> candle_core::Result<Tensor> {
    candle_nn::ops::rms_norm(&x[0], &x[1], 1e-5)
}

fn softmax(x: &[Tensor]) -> candle_core::Result<Tensor> {
    candle_nn::ops::softmax_last_dim(&x[0])
}

fn rope_i(x: &[Tensor]) -> candle_core::Result<Tensor> {
    candle_nn::rotary_emb::rope_i(&x[0], &x[1], &x[2])
}

fn rope(x: &[Tensor]) -> candle_core::Result<Tensor> {
    candle_nn::rotary_emb::rope(&x[0], &x[1], &x[2])
}

fn gated(x: &[Tensor]) -> candle_core::Result<Tensor> {
    candle_nn::ops::silu(&x[0])? * &x[1]
}

fn add(x: &[Tensor]) -> candle_core::Result<Tensor> {
    &x[0] + &x[1]
}

fn extend(x: &[Tensor]) -> candle_core::Result<Tensor> {
    Tensor::cat(&[&x[0], &x[1]], 2)
}

fn transpose(x: &[Tensor]) -> candle_core::Result<Tensor> {
    x[0].transpose(1, 2)?.contiguous()
}

/// Operation by operation, as quantized_llama does it on CUDA.
fn attention(x: &[Tensor]) -> candle_core::Result<Tensor> {
    let scores = (x[0].matmul(&x[1].t()?)? / (x[0].dim(3)? as f64).sqrt())?;
    candle_nn::ops::softmax_last_dim(&scores)?.matmul(&x[2])
}

/// In one operation on the backends that have one.
fn attention_fused(x: &[Tensor]) -> candle_core::Result<Tensor> {
    let device = x[0].device();
    if !(device.is_rocm() || device.is_metal()) {
        return attention(x);
    }
    let scale = 1.0 / (x[0].dim(3)? as f32).sqrt();
    candle_nn::ops::sdpa(&x[0], &x[1], &x[2], None, false, scale, 1.0)
}

/// All of them, with `length` tokens before and `heads` heads of 128.
fn operations(length: usize, heads: usize) -> Vec<Fused> {
    let width = heads * 128;
    let mlp = width * 43 / 16;
    let f = |name, operands: &[&[usize]], operation| Fused {
        name,
        operands: operands.iter().map(|s| s.to_vec()).collect(),
        dtype: DType::F32,
        operation,
    };
    let mut all = Vec::new();
    for rows in [1, length] {
        let scores = if rows == 1 {
            vec![1, heads, 1, length]
        } else {
            vec![1, heads, rows, rows]
        };
        all.extend([
            f(
                "rms-norm",
                &[&[1, rows, width], &[width]],
                rms_norm as Operation,
            ),
            f("softmax", &[&scores], softmax),
            f(
                "rope-i",
                &[&[1, heads, rows, 128], &[rows, 64], &[rows, 64]],
                rope_i,
            ),
            f(
                "rope",
                &[&[1, heads, rows, 128], &[rows, 64], &[rows, 64]],
                rope,
            ),
            f("silu, mul", &[&[1, rows, mlp], &[1, rows, mlp]], gated),
            f("add", &[&[1, rows, width], &[1, rows, width]], add),
        ]);
    }
    // Of one row it is a view.
    all.push(f("transpose", &[&[1, length, heads, 128]], transpose));
    let cache: &[usize] = &[1, heads, length, 128];
    let one: &[usize] = &[1, heads, 1, 128];
    all.push(f("cat", &[cache, one], extend));
    for q in [one, cache] {
        all.push(f("attention", &[q, cache, cache], attention));
        all.push(f("attention, fused", &[q, cache, cache], attention_fused));
    }
    all
}

pub fn all(bench: &mut Bench, length: usize, heads: usize) -> Result<()> {
    for fused in operations(length, heads) {
        run(bench, &fused)?;
    }
    Ok(())
}

fn run(bench: &mut Bench, fused: &Fused) -> Result<()> {
    let host = fused.operands.iter();
    let host = host.map(|shape| Ok(normal(1.0, shape.as_slice())?.to_dtype(fused.dtype)?));
    let host = host.collect::<Result<Vec<_>>>()?;
    let elements = host.iter().map(Tensor::elem_count).sum::<usize>();
    let operands_bytes = elements * fused.dtype.size_in_bytes();
    let copies = bench.copies(operands_bytes);
    let operation = fused.operation;
    let mut result = 0;
    let mut contestants = Vec::new();
    for (lane, l) in bench.lanes.iter().enumerate().filter(|(_, l)| l.is_plain()) {
        let once = host
            .iter()
            .map(|t| t.to_device(&l.device))
            .collect::<candle_core::Result<Vec<_>>>()?;
        result = operation(&once)?.elem_count() * fused.dtype.size_in_bytes();
        let copy = |_| {
            once.iter()
                .map(Tensor::copy)
                .collect::<candle_core::Result<Vec<_>>>()
        };
        let operands = (0..copies)
            .map(copy)
            .collect::<candle_core::Result<Vec<_>>>()?;
        let call = Box::new(move |i: usize| Ok(operation(&operands[i % copies])?));
        contestants.push(Contestant { lane, call });
    }
    let shapes = fused.operands[0]
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>();
    bench.run(Case {
        group: "fused",
        labels: vec![fused.name.into(), shapes.join("x")],
        bytes: (operands_bytes + result) as f64,
        flops: 0.0,
        tolerance: TOLERANCE,
        contestants,
    })
}
