//! Matrix products: which kernel of `src/hip/gemm.hip` to launch, how, and with what.
//!
//! `C[m,n] = A[m,k] * B[k,n]`, for each of `batches`, any strides (in elements; 0 repeats). Each kernel is
//! `<prefix>_<type>`, type `f32`, `f64`, `f16` or `bf16` (the last two summed in f32), and takes
//! `(const T *a, const T *b, T *c, GemmArgs args)`, [`Args`] by value. Workgroups have [`THREADS`] threads.
//!
//! | prefix | for | a workgroup makes | grid x |
//! | --- | --- | --- | --- |
//! | `gemm` | anything | [`TILE`] x [`TILE`] results | tiles of C |
//! | `gemv_k` | m <= [`GEMV_ROWS`], B's columns contiguous (weights `[n,k]`) | [`GEMV_K_COLUMNS`] columns | n / columns |
//! | `gemv_n` | m <= [`GEMV_ROWS`], B's rows contiguous | [`GEMV_N_COLUMNS`] columns | n / columns |
//!
//! Grid y is 1, grid z the batch. Kernels step over tiles and batches by the size of the grid, so a smaller grid than
//! the table's is right too; [`Plan`] stays below HIP's limits that way. `k = 0` writes zeros. With `m`, `n` or
//! `batches` 0 there is nothing to launch.

/// Threads of a workgroup; `THREADS` of gemm.hip.
pub const THREADS: u32 = 256;
/// Rows and columns of C per workgroup of `gemm`; `TILE` of gemm.hip.
pub const TILE: u32 = 64;
/// The largest m of `gemv_k` and `gemv_n`; `GEMV_ROWS` of gemm.hip.
pub const GEMV_ROWS: usize = 8;
/// Columns of C per workgroup of `gemv_k`: its warps, of 32 lanes each.
pub const GEMV_K_COLUMNS: u32 = THREADS / 32;
/// Columns of C per workgroup of `gemv_n`; `GEMV_N_COLUMNS` of gemm.hip.
pub const GEMV_N_COLUMNS: u32 = 64;

/// HIP limits a grid to 2^32 - 1 threads along x and 65,535 workgroups along z.
const MAX_GRID_X: u64 = u32::MAX as u64 / THREADS as u64;
const MAX_GRID_Z: u64 = 65_535;

/// Strides of a matrix in elements: from row to row, from column to column, from batch to batch.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strides {
    pub row: i64,
    pub column: i64,
    pub batch: i64,
}

impl Strides {
    /// The same memory read as the transposed matrix.
    fn transposed(self) -> Self {
        Strides {
            row: self.column,
            column: self.row,
            batch: self.batch,
        }
    }
}

/// `GemmArgs` of gemm.hip, byte for byte: 88 bytes without padding, one kernel argument after the three pointers.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    pub a: Strides,
    pub b: Strides,
    pub c: Strides,
    pub m: u32,
    pub n: u32,
    pub k: u32,
    pub batches: u32,
}

/// A product to compute.
#[derive(Debug, Clone, Copy)]
pub struct Problem {
    pub batches: usize,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Strides,
    pub b: Strides,
    pub c: Strides,
}

/// How to launch a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Name up to the type: the kernel is `format!("{prefix}_{type}")`.
    pub prefix: &'static str,
    /// Workgroups along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a workgroup along x, y, z.
    pub block: [u32; 3],
    /// When true the pointers of A and B change places: the transposed product is computed, into the same memory.
    pub swap: bool,
    pub args: Args,
}

impl Problem {
    /// The launch for this product; `None` when C has no element. Sizes beyond 2^32 - 1 are an error.
    pub fn plan(&self) -> Result<Option<Plan>, SizeError> {
        let size = |value: usize| u32::try_from(value).map_err(|_| SizeError { size: value });
        let (m, n, k, batches) = (
            size(self.m)?,
            size(self.n)?,
            size(self.k)?,
            size(self.batches)?,
        );
        if m == 0 || n == 0 || batches == 0 {
            return Ok(None);
        }
        // C^T = B^T * A^T: the short side becomes m.
        let swap = self.n <= GEMV_ROWS && self.n < self.m;
        let args = if swap {
            let (a, b, c) = (
                self.b.transposed(),
                self.a.transposed(),
                self.c.transposed(),
            );
            Args {
                a,
                b,
                c,
                m: n,
                n: m,
                k,
                batches,
            }
        } else {
            Args {
                a: self.a,
                b: self.b,
                c: self.c,
                m,
                n,
                k,
                batches,
            }
        };
        let (prefix, blocks) = if args.m as usize > GEMV_ROWS {
            (
                "gemm",
                u64::from(args.m.div_ceil(TILE)) * u64::from(args.n.div_ceil(TILE)),
            )
        } else if args.b.column == 1 && args.b.row != 1 {
            ("gemv_n", u64::from(args.n.div_ceil(GEMV_N_COLUMNS)))
        } else {
            ("gemv_k", u64::from(args.n.div_ceil(GEMV_K_COLUMNS)))
        };
        // Both fit u32: they are limited to less.
        let grid = [
            blocks.min(MAX_GRID_X) as u32,
            1,
            u64::from(batches).min(MAX_GRID_Z) as u32,
        ];
        Ok(Some(Plan {
            prefix,
            grid,
            block: [THREADS, 1, 1],
            swap,
            args,
        }))
    }
}

/// A dimension that the kernels' 32-bit indices cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeError {
    pub size: usize,
}

impl std::fmt::Display for SizeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a matrix product's dimension of {} is too large: the kernels take at most {}",
            self.size,
            u32::MAX
        )
    }
}

impl std::error::Error for SizeError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn row_major(columns: i64) -> Strides {
        Strides {
            row: columns,
            column: 1,
            batch: 0,
        }
    }

    /// x[m,k] times weights[n,k] transposed, as a linear layer does.
    fn linear(m: usize, n: usize, k: usize) -> Problem {
        Problem {
            batches: 1,
            m,
            n,
            k,
            a: row_major(k as i64),
            b: row_major(k as i64).transposed(),
            c: row_major(n as i64),
        }
    }

    #[test]
    fn arguments_have_the_layout_of_the_kernel() {
        assert_eq!(std::mem::size_of::<Args>(), 88);
        assert_eq!(std::mem::offset_of!(Args, c), 48);
        assert_eq!(std::mem::offset_of!(Args, batches), 84);
    }

    #[test]
    fn few_rows_go_to_gemv_by_layout() {
        let plan = linear(1, 4096, 4096).plan().unwrap().unwrap();
        assert_eq!(
            (plan.prefix, plan.grid, plan.swap),
            ("gemv_k", [512, 1, 1], false)
        );
        let plan = Problem {
            b: row_major(4096),
            ..linear(8, 4096, 64)
        }
        .plan()
        .unwrap()
        .unwrap();
        assert_eq!((plan.prefix, plan.grid), ("gemv_n", [64, 1, 1]));
        assert_eq!(linear(9, 65, 64).plan().unwrap().unwrap().grid, [2, 1, 1]);
    }

    #[test]
    fn few_columns_are_computed_transposed() {
        let plan = linear(1000, 3, 7).plan().unwrap().unwrap();
        assert!(plan.swap);
        assert_eq!((plan.args.m, plan.args.n, plan.prefix), (3, 1000, "gemv_k"));
        assert_eq!(
            (
                plan.args.a.row,
                plan.args.b.column,
                plan.args.c.row,
                plan.args.c.column
            ),
            (7, 7, 1, 3)
        );
    }

    #[test]
    fn empty_results_launch_nothing_and_empty_sums_do() {
        assert_eq!(linear(0, 4, 4).plan().unwrap(), None);
        assert!(linear(4, 4, 0).plan().unwrap().is_some());
    }

    #[test]
    fn sizes_beyond_32_bits_are_refused() {
        assert_eq!(
            linear(1 << 32, 1, 1).plan().unwrap_err(),
            SizeError { size: 1 << 32 }
        );
    }

    /// The constants that device and host share stand in both languages.
    #[test]
    fn constants_agree_with_the_kernel() {
        let source = include_str!("../hip/gemm.hip");
        for (name, value) in [
            ("THREADS", THREADS),
            ("TILE", TILE),
            ("GEMV_ROWS", GEMV_ROWS as u32),
            ("GEMV_N_COLUMNS", GEMV_N_COLUMNS),
        ] {
            assert!(
                source.contains(&format!("constexpr unsigned {name} = {value};")),
                "{name}"
            );
        }
    }
}
