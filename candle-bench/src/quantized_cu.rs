//! The product kernels of quantized.cu, launched on the CUDA device as candle's host code launches them.
//!
//! Candle's CUDA backend prefers newer kernels for these types, so that no tensor operation reaches them; rocm's
//! translated kernels come from this very source, and are compared with it here.

use crate::cases::quantized::Activations;
use crate::on_cuda::with_elements;
use anyhow::{Context, Result};
use candle_core::cuda::cudarc::driver::{LaunchConfig, PushKernelArg};
use candle_core::cuda::kernels;
use candle_core::op::BackpropOp;
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{CudaDevice, CudaStorage, Device, Storage, Tensor};
use std::sync::Arc;

type Call = Box<dyn Fn(usize) -> Result<Tensor>>;

/// Rows are padded to this many elements for the kernels.
const ROW_PADDING: usize = 512;
const WARP: u32 = 32;

/// A type's name in the kernels' names, and the tile (activation columns, weight rows) of its matrix kernel in candle
/// 0.11.1.
fn kernel(dtype: GgmlDType) -> Option<(&'static str, (usize, usize))> {
    Some(match dtype {
        GgmlDType::Q4_0 => ("q4_0", (64, 128)),
        GgmlDType::Q4_1 => ("q4_1", (64, 128)),
        GgmlDType::Q5_0 => ("q5_0", (128, 64)),
        GgmlDType::Q5_1 => ("q5_1", (128, 64)),
        GgmlDType::Q8_0 => ("q8_0", (128, 64)),
        GgmlDType::Q2K => ("q2_K", (64, 128)),
        GgmlDType::Q3K => ("q3_K", (128, 128)),
        GgmlDType::Q4K => ("q4_K", (64, 128)),
        GgmlDType::Q5K => ("q5_K", (64, 128)),
        GgmlDType::Q6K => ("q6_K", (64, 64)),
        _ => return None,
    })
}

/// The product of `x` with each of `weights` in turn, or `None` for a type without such kernels.
pub fn product(
    dtype: GgmlDType,
    weights: Arc<Vec<QMatMul>>,
    x: Activations,
) -> Result<Option<Call>> {
    let Some((name, tile)) = kernel(dtype) else {
        return Ok(None);
    };
    let (symbol, tile) = match x.columns() {
        columns @ 1..=8 => (format!("mul_mat_vec_{name}_q8_1_cuda{columns}"), None),
        _ => (format!("mul_mat_{name}"), Some(tile)),
    };
    Ok(Some(Box::new(move |i| {
        let QMatMul::QTensor(weights) = &weights[i % weights.len()] else {
            anyhow::bail!("these weights are not quantized")
        };
        launch(&symbol, tile, weights, x.next())
    })))
}

fn launch(
    symbol: &str,
    tile: Option<(usize, usize)>,
    weights: &QTensor,
    x: &Tensor,
) -> Result<Tensor> {
    let Device::Cuda(device) = x.device() else {
        anyhow::bail!("the activations are not on a CUDA device")
    };
    let ((n, k), (columns, _)) = (weights.shape().dims2()?, x.dims2()?);
    let k_padded = k.next_multiple_of(ROW_PADDING);
    let quantized = quantize(device, x, k_padded)?;
    // SAFETY: every element is written by the kernel below.
    let out = unsafe { device.alloc::<f32>(n * columns)? };
    let function = device.get_or_load_func(symbol, &kernels::QUANTIZED)?;
    let (grid, warps) = match (tile, columns) {
        (Some((x, y)), _) => ((n.div_ceil(y) as u32, columns.div_ceil(x) as u32, 1), 4),
        (None, 1) => ((n as u32, 1, 1), 4),
        (None, 2..=4) => ((n.div_ceil(2) as u32, 1, 1), 4),
        (None, _) => ((n.div_ceil(2) as u32, 1, 1), 2),
    };
    let stream = device.cuda_stream();
    let (pointer, _guard) = weights.device_ptr_with_guard(&stream)?;
    let pointer = pointer as u64;
    let (k, n_int, columns_int, k_padded) = (k as i32, n as i32, columns as i32, k_padded as i32);
    let mut args = function.builder();
    args.arg(&pointer)
        .arg(&quantized)
        .arg(&out)
        .arg(&k)
        .arg(&n_int);
    if tile.is_some() {
        args.arg(&columns_int);
    }
    args.arg(&k_padded).arg(&n_int);
    let config = LaunchConfig {
        grid_dim: grid,
        block_dim: (WARP, warps, 1),
        shared_mem_bytes: 0,
    };
    // SAFETY: the kernel's arguments and geometry as in candle's quantized/cuda.rs; the buffers have those sizes.
    unsafe { args.launch(config) }.context("the product kernel")?;
    let storage = CudaStorage::wrap_cuda_slice(out, device.clone());
    Ok(Tensor::from_storage(
        Storage::Cuda(storage),
        (columns, n),
        BackpropOp::none(),
        false,
    ))
}

/// The activations as Q8_1 blocks.
fn quantize(
    device: &CudaDevice,
    x: &Tensor,
    k_padded: usize,
) -> Result<candle_core::cuda::cudarc::driver::CudaSlice<u8>> {
    let (columns, k) = x.dims2()?;
    let bytes = columns * k_padded / GgmlDType::Q8_1.block_size() * GgmlDType::Q8_1.type_size();
    // SAFETY: the kernel writes every block of every padded row.
    let quantized = unsafe { device.alloc::<u8>(bytes)? };
    let function = device.get_or_load_func("quantize_q8_1", &kernels::QUANTIZED)?;
    let (k, padded) = (k as i32, k_padded as i32);
    let config = LaunchConfig {
        grid_dim: (k_padded.div_ceil(256) as u32, columns as u32, 1),
        block_dim: (256, 1, 1),
        shared_mem_bytes: 0,
    };
    with_elements(x, |values| {
        let mut args = function.builder();
        args.arg(values).arg(&quantized).arg(&k).arg(&padded);
        // SAFETY: as above.
        unsafe { args.launch(config) }.context("quantize_q8_1")
    })?;
    Ok(quantized)
}
