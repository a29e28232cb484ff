//! Products with weights that are not quantized: those whose type differs from the activations', without a converted copy of
//! either (candle-kernels/src/hip/quantized/dense.hip).
use super::own::Product;
use super::tile::Tile;
use super::QRocmStorage;
use crate::rocm_backend::hip::DevicePtr;
use crate::rocm_backend::{kernel_suffix, kernels, matmul};
use crate::{DType, Result, RocmStorage};
use kernels::gemm::{Problem, Strides, Tiles};

/// The tiles of a mixture's experts, the flat and the large one of gemm/tiles.h and gemm/fma_tiles.h.
static EXPERTS_FLAT: Tile = Tile {
    kernel: "dense_moe_tile",
    rows: 128,
    columns: 32,
    threads: kernels::gemm::THREADS,
};
static EXPERTS_LARGE: Tile = Tile {
    kernel: "dense_moe_tile_large",
    rows: 128,
    columns: 128,
    threads: kernels::gemm::THREADS,
};

/// Tasks of an expert, on average, from which large tiles cost less.
pub(super) const MANY_TASKS: usize = 96;

/// The tile for `tasks` of `experts`.
pub(super) fn experts_tile(tasks: usize, experts: usize) -> &'static Tile {
    match tasks >= experts * MANY_TASKS {
        true => &EXPERTS_LARGE,
        false => &EXPERTS_FLAT,
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// What host and device share stands in both languages.
    #[test]
    fn experts_tiles_agree_with_the_kernels() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../candle-kernels/src/hip/gemm/"
        );
        for table in ["tiles.h", "fma_tiles.h"] {
            let source = std::fs::read_to_string(format!("{folder}{table}")).unwrap();
            let lines = source.lines().map(str::trim);
            let rows: Vec<_> = lines.filter(|line| line.starts_with("tile(")).collect();
            // The first and the last of a table; activations stand first there.
            for (row, tile) in [(0, &EXPERTS_FLAT), (rows.len() - 1, &EXPERTS_LARGE)] {
                let shape = format!("tile({}, {}, ", tile.columns, tile.rows);
                assert!(rows[row].starts_with(&shape), "{table}: {}", rows[row]);
            }
        }
    }
}
