//! Dequantization and products with quantized weights.

use crate::lanes::Lane;
use crate::measure::{Bench, Case, Contestant};
use crate::weights::{bytes_of, is_dense, normal, Blocks};
use anyhow::Result;
use candle_core::quantized::{GgmlDType, QMatMul};
use candle_core::{Device, Module, Tensor};
use std::cell::Cell;
use std::sync::Arc;

/// The lanes multiply in int8: rounding normal activations to 1/127 of their block's largest puts a result off by 0.7 % (one
/// standard deviation) of what weights around zero give. Candle's kernels multiply offsets of the weights by the sum of
/// activations that are not rounded and the rest, numbers from zero on of 2.7 times the size, by those that are: 2 %, the same
/// for all results of a row of activations, so that of one row the whole norm is off by as much. Four such deviations.
const PRODUCT_TOLERANCE: f64 = 0.08;
/// Sums of f32 in another order.
const DENSE_TOLERANCE: f64 = 1e-5;
/// Dequantization is one product and one sum: the lanes may differ in a fused rounding.
const DEQUANTIZE_TOLERANCE: f64 = 1e-6;

/// Blocks to f32. Plain numbers are left out: that is a cast.
pub fn dequantize(
    bench: &mut Bench,
    name: &str,
    dtype: GgmlDType,
    shape: (usize, usize),
) -> Result<()> {
    if is_dense(dtype) {
        return Ok(());
    }
    let blocks = Blocks::new(dtype)?;
    let elements = shape.0 * shape.1;
    let size = bytes_of(dtype, elements);
    let copies = bench.copies(size);
    let mut contestants = Vec::new();
    for (lane, l) in bench.lanes.iter().enumerate().filter(|(_, l)| l.is_plain()) {
        if on_host(l, dtype) {
            continue;
        }
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

/// Most columns of which the kernel is also timed alone: beyond, other kernels than one over int8 activations take part.
const MOST_KERNEL_COLUMNS: usize = 8;

/// `columns` rows of activations in f32 times the transposed weights of `shape`, for each of `columns`: the whole
/// operation, and with up to 8 columns of quantized weights as group `kernel` what of it is left where the activations are
/// in int8 already. Weights of plain numbers are in f32 by then, as `QMatMul` has them.
pub fn product(
    bench: &mut Bench,
    name: &str,
    dtype: GgmlDType,
    shape: (usize, usize),
    columns: &[usize],
) -> Result<()> {
    let (n, k) = shape;
    let blocks = Blocks::new(dtype)?;
    let size = match is_dense(dtype) {
        true => 4 * n * k,
        false => bytes_of(dtype, n * k),
    };
    let copies = bench.copies(size);
    // Lanes of one device share their weights.
    let mut weights: Vec<Copies> = Vec::new();
    for lane in bench.lanes.iter().filter(|l| has_product(l, dtype, 1)) {
        if weights
            .iter()
            .any(|(d, _)| d.location() == lane.device.location())
        {
            continue;
        }
        let copy = |i| {
            let weights = blocks.tensor(shape, i, &lane.device)?;
            Ok(QMatMul::from_arc(Arc::new(weights))?)
        };
        let copies = (0..copies).map(copy).collect::<Result<Vec<_>>>()?;
        weights.push((lane.device.clone(), Arc::new(copies)));
    }
    for &columns in columns {
        let x = normal(1.0, (columns + 1, k))?;
        let mut contestants = Vec::new();
        for (lane, l) in bench.lanes.iter().enumerate() {
            if !has_product(l, dtype, columns) {
                continue;
            }
            let of_device = weights
                .iter()
                .find(|(d, _)| d.location() == l.device.location());
            let Some((_, weights)) = of_device else {
                continue;
            };
            let weights = weights.clone();
            let x = Activations::new(&x.to_device(&l.device)?, columns)?;
            #[cfg(feature = "cuda")]
            if let Some(ggml) = l.ggml() {
                if let Some(call) = ggml.product(dtype, weights, x, false)? {
                    contestants.push(Contestant { lane, call });
                }
                continue;
            }
            if l.is_quantized_cu() {
                #[cfg(feature = "cuda")]
                if let Some(call) = crate::quantized_cu::product(dtype, weights, x)? {
                    contestants.push(Contestant { lane, call });
                }
                continue;
            }
            let call = Box::new(move |i: usize| Ok(weights[i % copies].forward(x.next())?));
            contestants.push(Contestant { lane, call });
        }
        bench.run(Case {
            group: "product",
            labels: vec![name.into(), format!("{n}x{k}"), format!("x{columns}")],
            bytes: (size + 4 * columns * (n + k)) as f64,
            flops: 2.0 * (n * k * columns) as f64,
            tolerance: match is_dense(dtype) {
                true => DENSE_TOLERANCE,
                false => PRODUCT_TOLERANCE,
            },
            contestants,
        })?;
        if columns <= MOST_KERNEL_COLUMNS && !is_dense(dtype) {
            let labels = vec![name.into(), format!("{n}x{k}"), format!("x{columns}")];
            match kernels(bench, dtype, &weights, &x, columns) {
                Ok(contestants) => bench.run(Case {
                    group: "kernel",
                    labels,
                    bytes: (size + columns * (4 * n + k)) as f64,
                    flops: 2.0 * (n * k * columns) as f64,
                    tolerance: PRODUCT_TOLERANCE,
                    contestants,
                })?,
                Err(e) => bench.failed("kernel", &labels, &e)?,
            }
        }
    }
    Ok(())
}

/// A device's copies of the weights.
type Copies = (Device, Arc<Vec<QMatMul>>);

/// The product kernels of those lanes that can be had without the conversion of the activations.
fn kernels(
    bench: &Bench,
    dtype: GgmlDType,
    weights: &[Copies],
    x: &Tensor,
    columns: usize,
) -> Result<Vec<Contestant>> {
    let mut contestants = Vec::new();
    for (lane, l) in bench.lanes.iter().enumerate() {
        let of_device = weights
            .iter()
            .find(|(d, _)| d.location() == l.device.location());
        let Some((_, weights)) = of_device.filter(|_| has_product(l, dtype, columns)) else {
            continue;
        };
        let weights = weights.clone();
        #[cfg(feature = "cuda")]
        if let Some(ggml) = l.ggml() {
            let x = Activations::new(&x.to_device(&l.device)?, columns)?;
            if let Some(call) = ggml.product(dtype, weights, x, true)? {
                contestants.push(Contestant { lane, call });
            }
            continue;
        }
        if !l.keeps_activations() {
            continue;
        }
        let x = Activations::new(&x.to_device(&l.device)?, columns)?;
        let call = Box::new(move |i: usize| Ok(weights[i % weights.len()].forward(x.first())?));
        l.select();
        one_launch(&*call)?;
        contestants.push(Contestant { lane, call });
    }
    Ok(contestants)
}

/// Makes sure that a call of the kind that was made just before is the product's kernel and nothing else.
#[cfg(feature = "rocm")]
fn one_launch(call: &dyn Fn(usize) -> Result<Tensor>) -> Result<()> {
    call(0)?;
    let before = candle_hip::counters();
    call(1)?;
    let launches = candle_hip::counters().since(&before).launches;
    anyhow::ensure!(
        launches == 1,
        "rocm launches {launches} kernels for a product whose activations are in int8 already, not 1"
    );
    Ok(())
}

#[cfg(not(feature = "rocm"))]
fn one_launch(_: &dyn Fn(usize) -> Result<Tensor>) -> Result<()> {
    Ok(())
}

/// Activations of which no call has the ones of the call before: rocm keeps the int8 form of those that it multiplied
/// last, and every call is to make it.
pub struct Activations {
    views: [Tensor; 2],
    turn: Cell<usize>,
}

impl Activations {
    /// Two views of `columns` rows, one row apart.
    fn new(x: &Tensor, columns: usize) -> Result<Self> {
        Ok(Self {
            views: [x.narrow(0, 0, columns)?, x.narrow(0, 1, columns)?],
            turn: Cell::new(0),
        })
    }

    /// Rows of either, which are columns of the product.
    #[cfg(feature = "cuda")]
    pub fn columns(&self) -> usize {
        self.views[0].dims()[0]
    }

    /// Always the same.
    pub fn first(&self) -> &Tensor {
        &self.views[0]
    }

    /// The one whose turn it is.
    pub fn next(&self) -> &Tensor {
        let turn = self.turn.get();
        self.turn.set(turn + 1);
        &self.views[turn % 2]
    }
}

/// Whether a lane computes these products by kernels of its own. The translated ones do not serve all types and would
/// hand the rest to rocm's own; candle's CUDA backend has no products with Q8_1 and Q8K.
fn has_product(lane: &Lane, dtype: GgmlDType, columns: usize) -> bool {
    match dtype {
        GgmlDType::F16 | GgmlDType::BF16 | GgmlDType::F32 => lane.is_plain(),
        GgmlDType::Q8_1 | GgmlDType::Q8K => lane.is_plain() && !lane.is_cuda(),
        // mul_mat_q6_K stores to shared memory without an order, so rocm does not take it.
        GgmlDType::Q6K => !lane.is_translated() || columns <= 8,
        _ => true,
    }
}

/// Whether a lane dequantizes the type on the host: candle's CUDA backend has no kernel for Q8_1.
fn on_host(lane: &Lane, dtype: GgmlDType) -> bool {
    lane.is_cuda() && dtype == GgmlDType::Q8_1
}
