//! Products with weights that are not quantized: those whose type differs from the activations', without a converted copy of
//! either (candle-kernels/src/hip/quantized/dense.hip).
use super::own::Product;
use super::tile::Tile;
use super::QRocmStorage;
use crate::rocm_backend::hip::DevicePtr;
use crate::rocm_backend::{kernel_suffix, kernels, matmul};
use crate::{DType, Result, RocmStorage};
use kernels::gemm::{Problem, Strides, Tiles};

/// The flat tile of gemm/tiles.h and gemm/fma_tiles.h: of a mixture's experts.
pub(super) static EXPERTS_TILE: Tile = Tile {
    kernel: "dense_moe_tile",
    rows: 128,
    columns: 32,
    threads: kernels::gemm::THREADS,
};

impl Product {
    /// As dense products have it: contiguous activations, transposed contiguous weights, a contiguous result.
    pub(super) fn dense(&self) -> Problem {
        let strides = |row: usize, column: usize| Strides {
            row: row as i64,
            column: column as i64,
            batch: (self.rows * self.n) as i64,
        };
        Problem {
            batches: 1,
            m: self.rows,
            n: self.n,
            k: self.k,
            a: strides(self.k, 1),
            b: strides(1, self.k),
            c: strides(self.n, 1),
        }
    }
}

/// The product with dense weights of the type `weights`, another than the activations' `dtype`; the result in the type of the
/// activations.
pub(super) fn product(
    w: &QRocmStorage,
    weights: DType,
    p: &Product,
    x: DevicePtr,
    dtype: DType,
) -> Result<RocmStorage> {
    let op = "quantized matmul";
    let device = w.device();
    let out = RocmStorage::uninit(device, p.rows * p.n, dtype)?;
    let suffixes = [kernel_suffix(weights, op)?, kernel_suffix(dtype, op)?];
    let Some(plan) = matmul::plan(&p.dense(), Tiles::OfTwoTypes)? else {
        return Ok(out);
    };
    let kernel = (&kernels::QUANTIZED_DENSE, suffixes);
    // SAFETY: `p` was checked against the weights, x holds rows × k elements of its type, the result rows × n.
    unsafe { matmul::launch(device, kernel, &plan, (x, w.ptr()), (out.ptr_at(0), dtype)) }?;
    Ok(out)
}
