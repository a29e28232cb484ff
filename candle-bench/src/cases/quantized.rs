//! Dequantization and products with quantized weights.

use crate::measure::{Bench, Case, Contestant};
use crate::weights::{bytes_of, Blocks};
use anyhow::Result;
use candle_core::quantized::{GgmlDType, QMatMul};
use candle_core::{Device, Module, Tensor};
use std::sync::Arc;

/// The lanes multiply in int8 with activations rounded in blocks of their own sizes and sums in their own order; the
/// rounding alone is 1/254 of a block's largest value for each.
const PRODUCT_TOLERANCE: f64 = 0.03;
/// Dequantization is one product and one sum: the lanes may differ in a fused rounding.
const DEQUANTIZE_TOLERANCE: f64 = 1e-6;

/// Blocks to f32.
pub fn dequantize(
    bench: &mut Bench,
    name: &str,
    dtype: GgmlDType,
    shape: (usize, usize),
) -> Result<()> {
    let blocks = Blocks::new(dtype)?;
    let elements = shape.0 * shape.1;
    let size = bytes_of(dtype, elements);
    let copies = bench.copies(size);
    let mut contestants = Vec::new();
    for (lane, l) in bench.lanes.iter().enumerate().filter(|(_, l)| l.is_plain()) {
        let weights = (0..copies).map(|i| blocks.tensor(shape, i, &l.device));
        let weights = weights.collect::<Result<Vec<_>>>()?;
        let device = l.device.clone();
        let call = Box::new(move |i: usize| Ok(weights[i % copies].dequantize(&device)?));
        contestants.push(Contestant { lane, call });
    }
    bench.run(Case {
        group: "dequantize",
        labels: vec![name.into(), format!("{}x{}", shape.0, shape.1)],
        bytes: (size + 4 * elements) as f64,
        flops: 0.0,
        tolerance: DEQUANTIZE_TOLERANCE,
        contestants,
    })
}

/// `columns` rows of activations in f32 times the transposed weights of `shape`, for each of `columns`.
pub fn product(
    bench: &mut Bench,
    name: &str,
    dtype: GgmlDType,
    shape: (usize, usize),
    columns: &[usize],
) -> Result<()> {
    let (n, k) = shape;
    let blocks = Blocks::new(dtype)?;
    let size = bytes_of(dtype, n * k);
    let copies = bench.copies(size);
    // Lanes of one device share their weights.
    let mut weights: Vec<(Device, Arc<Vec<QMatMul>>)> = Vec::new();
    for lane in &bench.lanes {
        if weights
            .iter()
            .any(|(d, _)| d.location() == lane.device.location())
        {
            continue;
        }
        let copy = |i| {
            Ok(QMatMul::QTensor(Arc::new(blocks.tensor(
                shape,
                i,
                &lane.device,
            )?)))
        };
        let copies = (0..copies).map(copy).collect::<Result<Vec<_>>>()?;
        weights.push((lane.device.clone(), Arc::new(copies)));
    }
    for &columns in columns {
        let x = Tensor::randn(0f32, 1f32, (columns, k), &Device::Cpu)?;
        let mut contestants = Vec::new();
        for (lane, l) in bench.lanes.iter().enumerate() {
            if l.is_translated() && !has_translated(dtype, columns) {
                continue;
            }
            let of_device = weights
                .iter()
                .find(|(d, _)| d.location() == l.device.location());
            let Some((_, weights)) = of_device else {
                continue;
            };
            let (weights, x) = (weights.clone(), x.to_device(&l.device)?);
            if l.is_quantized_cu() {
                #[cfg(feature = "cuda")]
                if let Some(call) = crate::quantized_cu::product(dtype, weights, x)? {
                    contestants.push(Contestant { lane, call });
                }
                continue;
            }
            let call = Box::new(move |i: usize| Ok(weights[i % copies].forward(&x)?));
            contestants.push(Contestant { lane, call });
        }
        bench.run(Case {
            group: "product",
            labels: vec![name.into(), format!("{n}x{k}"), format!("x{columns}")],
            bytes: (size + 4 * columns * (n + k)) as f64,
            flops: 2.0 * (n * k * columns) as f64,
            tolerance: PRODUCT_TOLERANCE,
            contestants,
        })?;
    }
    Ok(())
}

/// Whether a translated kernel serves the product on rocm; else that lane would measure rocm's own kernels again.
fn has_translated(dtype: GgmlDType, columns: usize) -> bool {
    match dtype {
        GgmlDType::Q8K | GgmlDType::F16 | GgmlDType::BF16 | GgmlDType::F32 => false,
        // mul_mat_q6_K stores to shared memory without an order, so rocm does not take it.
        GgmlDType::Q6K => columns <= 8,
        _ => true,
    }
}
