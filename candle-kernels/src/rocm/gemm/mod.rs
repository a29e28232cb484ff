//! Matrix products: which kernel of `src/hip/gemm.hip` to launch, how, and with what.
//!
//! `C[m,n] = A[m,k] * B[k,n]`, for each of `batches`, any strides (in elements; 0 repeats). Each kernel is
//! `<prefix>_<type>`, type `f32`, `f64`, `f16` or `bf16` (the last two summed in f32), and takes
//! `(const T *a, const T *b, T *c, GemmArgs args)`, [`Args`] by value. Workgroups have [`THREADS`] threads.
//!
//! | prefix | for | a workgroup makes |
//! | --- | --- | --- |
//! | `gemm_flat`, `gemm_small`, `gemm_large` | targets with matrix cores for the type | a tile of `src/hip/gemm/tiles.h` |
//! | `gemm_fma_flat`, `gemm_fma_small`, `gemm_fma_middle`, `gemm_fma_large` | the others (f64: small) | a tile of `src/hip/gemm/fma_tiles.h` |
//! | `gemv_k1`, `gemv_k2`, `gemv_k4`, `gemv_k8` | m up to that number, B's columns contiguous (weights `[n,k]`) | [`GEMV_K_COLUMNS`] columns for each of the groups that its warps form |
//! | `gemv_n` | m <= [`GEMV_ROWS`], B's rows contiguous | [`GEMV_N_COLUMNS`] columns |
//!
//! A product with few tiles and a long k is cut along k: C is then room for the parts ([`Plan::parts`]), which
//! `gemm_join_<type>` adds. A and B of two types: [`Tiles::OfTwoTypes`]. `k = 0` writes zeros. With `m`, `n` or `batches` 0 there is nothing to launch.

mod tiles;

pub use tiles::Tiles;

/// Threads of a workgroup; `THREADS` of gemm/args.h.
pub const THREADS: u32 = 256;
/// The largest m of `gemv_k8` and `gemv_n`; `GEMV_ROWS` of gemm/vector.h.
pub const GEMV_ROWS: usize = 8;
/// Columns of C that a warp of `gemv_k…` takes at a time; `GEMV_K_COLUMNS` of gemm/vector.h.
pub const GEMV_K_COLUMNS: u32 = 4;
/// Warps of a workgroup, of 32 lanes each; `GEMV_WARPS` of gemm/vector.h.
const GEMV_WARPS: u32 = THREADS / 32;
/// Warps of one of `gemv_k…` that keep a card busy, and the steps along k that pay for one more warp on the same columns.
const BUSY_WARPS: u64 = 4096;
const WORTH_A_WARP: u32 = 512;
/// Columns of C per workgroup of `gemv_n`; `GEMV_N_COLUMNS` of gemm/vector.h.
pub const GEMV_N_COLUMNS: u32 = 64;

/// HIP limits a grid to 2^32 - 1 threads along x and 65,535 workgroups along y and z.
const MAX_GRID_X: u64 = u32::MAX as u64 / THREADS as u64;
const MAX_GRID_YZ: u32 = 65_535;

/// Strides of a matrix in elements: from row to row, from column to column, from batch to batch.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strides {
    /// From row to row.
    pub row: i64,
    /// From column to column.
    pub column: i64,
    /// From batch entry to batch entry.
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

/// `GemmArgs` of gemm/args.h, byte for byte: 96 bytes without padding, one kernel argument after the three pointers.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// Of A, `[batches, m, k]`.
    pub a: Strides,
    /// Of B, `[batches, k, n]`.
    pub b: Strides,
    /// Of the result, `[batches, m, n]`.
    pub c: Strides,
    /// Rows of A and C.
    pub m: u32,
    /// Columns of B and C.
    pub n: u32,
    /// Columns of A, rows of B.
    pub k: u32,
    /// Products to compute.
    pub batches: u32,
    /// Parts that k is cut into, and the steps of each; 1 and k for the products that are not cut. For `gemv_k…`: warps that
    /// share columns.
    pub splits: u32,
    /// Steps along k of a part.
    pub split_depth: u32,
}

/// A product to compute.
#[derive(Debug, Clone, Copy)]
pub struct Problem {
    /// Products to compute.
    pub batches: usize,
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
    /// Of A, `[batches, m, k]`.
    pub a: Strides,
    /// Of B, `[batches, k, n]`.
    pub b: Strides,
    /// Of the result, `[batches, m, n]`.
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
    /// The argument after the three pointers.
    pub args: Args,
    /// C takes the sums as they are, whatever the type of the operands ([`Plan::leaving_sums`]).
    sums: bool,
}

/// A product that is computed in parts: what C has to be instead, and the launch after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Elements of room for the parts, in the type of the sums (f32; f64 for f64).
    pub room: usize,
    /// Elements of a part: C's.
    pub elements: u64,
    /// Parts to add up.
    pub splits: u32,
    /// Workgroups of `gemm_join_<type>`, which takes `(const Sum *parts, T *c, uint64_t elements, uint32_t splits)`.
    pub grid: [u32; 3],
}

impl Plan {
    /// The same product of tiles, C in the type of the sums: f32 for f16 and bf16.
    pub fn leaving_sums(mut self) -> Self {
        if self.parts().is_none() {
            // Parts are left so, and one part of two, as long as all of k, is the whole; nobody is launched for the other.
            (self.args.splits, self.args.split_depth) = (2, self.args.k);
            self.sums = true;
        }
        self
    }

    /// What there is to do besides when k is cut. C then is contiguous: [`Problem::plan`] cuts nothing else.
    pub fn parts(&self) -> Option<Parts> {
        let Args {
            m,
            n,
            batches,
            splits,
            ..
        } = self.args;
        let elements = m as usize * n as usize * batches as usize;
        let cut = splits > 1 && !self.sums && !self.prefix.starts_with("gemv");
        cut.then(|| Parts::of(elements, splits as usize))
    }
}

impl Parts {
    /// Of `count` parts with `elements` elements each.
    pub fn of(elements: usize, count: usize) -> Self {
        let groups = (elements as u64).div_ceil(THREADS.into());
        Self {
            room: elements * count,
            elements: elements as u64,
            // Parts are few.
            splits: count as u32,
            grid: [groups.min(MAX_GRID_X) as u32, 1, 1],
        }
    }
}

/// The kernel for `m` rows.
fn gemv_k(m: u32) -> &'static str {
    match m {
        0..=1 => "gemv_k1",
        2 => "gemv_k2",
        3..=4 => "gemv_k4",
        _ => "gemv_k8",
    }
}

/// How many of a workgroup's warps share the columns of one of `gemv_k…`: more of them where k is long, and all where there
/// are few columns. It depends on the shape alone: one product has the same bits on every card.
fn warps_that_share(n: u32, k: u32, batches: u32) -> u32 {
    let groups = u64::from(n.div_ceil(GEMV_K_COLUMNS)) * u64::from(batches);
    let most = match groups * 4 < BUSY_WARPS {
        true => GEMV_WARPS,
        false => GEMV_WARPS / 2,
    };
    let worth = (k / WORTH_A_WARP).max(1);
    most.min(1 << worth.ilog2())
}

impl Problem {
    /// The launch for this product; `None` when C has no element. `tiles`: what [`Tiles::of`] says of device and type.
    /// Sizes beyond 2^32 - 1, and more tiles or batches than a grid has, are an error.
    ///
    /// # Errors
    /// A size beyond 2^32 - 1, or more tiles or batches than a grid has.
    pub fn plan(&self, tiles: Tiles) -> Result<Option<Plan>, SizeError> {
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
        let swap = self.n <= GEMV_ROWS && self.n < self.m && tiles != Tiles::OfTwoTypes;
        let (a, b, c, m, n) = match swap {
            false => (self.a, self.b, self.c, m, n),
            true => (
                self.b.transposed(),
                self.a.transposed(),
                self.c.transposed(),
                n,
                m,
            ),
        };
        let by_rows = b.column == 1 && b.row != 1;
        // A step that is never taken, whatever it is, does not keep a kernel from reading 16 bytes at a time.
        let (mut a, mut b) = (a, b);
        if m == 1 {
            a.row = 0;
        }
        if n == 1 {
            b.column = 0;
        }
        if batches == 1 {
            (a.batch, b.batch) = (0, 0);
        }
        let mut args = Args {
            a,
            b,
            c,
            m,
            n,
            k,
            batches,
            splits: 1,
            split_depth: k,
        };
        let (prefix, grid) = if m as usize > GEMV_ROWS {
            let cut = tiles::cut(tiles, (m, n, k), batches);
            let dense =
                c.column == 1 && c.row == i64::from(n) && self.c.batch == c.row * i64::from(m);
            if dense {
                (args.splits, args.split_depth) = (cut.splits, cut.split_depth);
            }
            let z = batches.min(MAX_GRID_YZ);
            let y = batches.div_ceil(z) * args.splits;
            if cut.tiles > MAX_GRID_X || y > MAX_GRID_YZ {
                let size = self.m.max(self.n).max(self.batches);
                return Err(SizeError { size });
            }
            (cut.prefix, [cut.tiles as u32, y, z])
        } else {
            // These walk on by the size of the grid.
            let (prefix, columns) = match by_rows {
                true => ("gemv_n", GEMV_N_COLUMNS),
                false => {
                    args.splits = warps_that_share(n, k, batches);
                    let groups = GEMV_WARPS / args.splits;
                    (gemv_k(m), groups * GEMV_K_COLUMNS)
                }
            };
            let blocks = u64::from(n.div_ceil(columns)).min(MAX_GRID_X);
            (prefix, [blocks as u32, 1, batches.min(MAX_GRID_YZ)])
        };
        Ok(Some(Plan {
            prefix,
            grid,
            block: [THREADS, 1, 1],
            swap,
            args,
            sums: false,
        }))
    }
}

/// A dimension that the kernels' 32-bit indices cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeError {
    /// Its size in elements.
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
        assert_eq!(std::mem::size_of::<Args>(), 96);
        assert_eq!(std::mem::offset_of!(Args, c), 48);
        assert_eq!(std::mem::offset_of!(Args, batches), 84);
    }

    #[test]
    fn few_rows_go_to_gemv_by_layout() {
        let plan = linear(1, 4096, 4096).plan(Tiles::OnCores).unwrap().unwrap();
        assert_eq!(
            (plan.prefix, plan.grid, plan.swap),
            ("gemv_k1", [512, 1, 1], false)
        );
        assert_eq!(plan.parts(), None);
        let plan = Problem {
            b: row_major(4096),
            ..linear(8, 4096, 64)
        }
        .plan(Tiles::OnCores)
        .unwrap()
        .unwrap();
        assert_eq!((plan.prefix, plan.grid), ("gemv_n", [64, 1, 1]));
        let plan = linear(9, 65, 64).plan(Tiles::ByFma).unwrap().unwrap();
        assert_eq!((plan.prefix, plan.grid), ("gemm_fma_small", [2, 1, 1]));
    }

    #[test]
    fn warps_share_columns_of_long_sums() {
        assert_eq!(warps_that_share(4096, 4096, 1), 4);
        assert_eq!(warps_that_share(32_000, 14_336, 1), 4);
        assert_eq!(warps_that_share(1024, 4096, 1), 8);
        assert_eq!(warps_that_share(1024, 1500, 1), 2);
        // Attention's scores: 32 heads of 128.
        assert_eq!(warps_that_share(512, 128, 32), 1);
        assert_eq!(warps_that_share(1, 0, 1), 1);
    }

    /// What candle gives for the batch's step of a single matrix is 1.
    #[test]
    fn steps_that_are_never_taken_do_not_matter() {
        let mut one = linear(1, 4096, 4096);
        (one.a.row, one.a.batch, one.b.batch) = (1, 1, 1);
        let args = one.plan(Tiles::OnCores).unwrap().unwrap().args;
        assert_eq!((args.a.row, args.a.batch, args.b.batch), (0, 0, 0));
        assert_eq!((args.a.column, args.b.row, args.b.column), (1, 1, 4096));
    }

    #[test]
    fn few_columns_are_computed_transposed() {
        let plan = linear(1000, 3, 7).plan(Tiles::OnCores).unwrap().unwrap();
        assert!(plan.swap);
        assert_eq!(
            (plan.args.m, plan.args.n, plan.prefix),
            (3, 1000, "gemv_k4")
        );
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
        assert_eq!(linear(0, 4, 4).plan(Tiles::OnCores).unwrap(), None);
        assert!(linear(4, 4, 0).plan(Tiles::OnCores).unwrap().is_some());
    }

    #[test]
    fn sizes_beyond_32_bits_are_refused() {
        assert_eq!(
            linear(1 << 32, 1, 1).plan(Tiles::OnCores).unwrap_err(),
            SizeError { size: 1 << 32 }
        );
    }

    #[test]
    fn batches_beyond_z_go_to_y() {
        let many = Problem {
            batches: 140_000,
            ..linear(9, 9, 8)
        };
        let plan = many.plan(Tiles::OnCores).unwrap().unwrap();
        assert_eq!((plan.prefix, plan.grid), ("gemm_small", [1, 3, 65_535]));
        assert_eq!(plan.parts(), None);
    }

    #[test]
    fn long_sums_come_in_parts() {
        let mut long = linear(64, 64, 4096);
        long.c.batch = 64 * 64;
        let plan = long.plan(Tiles::OnCores).unwrap().unwrap();
        assert_eq!((plan.grid, plan.args.split_depth), ([1, 8, 1], 512));
        let parts = plan.parts().unwrap();
        assert_eq!(
            (parts.room, parts.elements, parts.splits),
            (8 * 4096, 4096, 8)
        );
        assert_eq!(parts.grid, [16, 1, 1]);
        // C with gaps: the parts would not lie side by side.
        long.c.row = 70;
        assert_eq!(long.plan(Tiles::OnCores).unwrap().unwrap().parts(), None);
    }

    /// The constants that device and host share stand in both languages.
    #[test]
    fn constants_agree_with_the_kernel() {
        let source = concat!(
            include_str!("../../hip/gemm/args.h"),
            include_str!("../../hip/gemm/vector.h"),
            include_str!("../../hip/gemm/fma.h")
        );
        for (name, value) in [
            ("THREADS", THREADS),
            ("GEMV_ROWS", GEMV_ROWS as u32),
            ("GEMV_K_COLUMNS", GEMV_K_COLUMNS),
            ("GEMV_N_COLUMNS", GEMV_N_COLUMNS),
        ] {
            assert!(
                source.contains(&format!("constexpr unsigned {name} = {value};")),
                "{name}"
            );
        }
    }
}
