//! Which tile multiplies many rows of activations, and when tiles pay at all: candle-kernels/src/hip/quantized/tile.hip.
use super::own::{float_type, Product, MOST_GRID_Y, SEGMENT};
use super::QRocmStorage;
use crate::backend::BackendStorage;
use crate::rocm_backend::{kernel_suffix, kernels, Launch, RocmError};
use crate::{DType, Result, RocmDevice, RocmStorage};
use candle_hip::DevicePtr;
use candle_kernels::rocm::targets::{base_name, find, generic_of, Family};
use kernels::gemm;

/// Threads of workgroups that a compute unit should have at a time: less, and nothing bridges the time that a load takes.
/// Measured on an H200 (docs/performance.md).
const THREADS_OF_UNIT: usize = 512;
/// The most parts that k is cut into to have so many, and the fewest segments of a part.
const MOST_PARTS: usize = 8;
const PART_SEGMENTS: usize = 16;
/// Segments that a part is a multiple of: those of a block of 256 elements.
const BLOCK_SEGMENTS: usize = 8;
/// The longest rows: the kernels count the bytes of a tile's rows in 32 bits.
pub(super) const MOST_K: usize = 1 << 24;

/// A tile: the kernels' name up to the type, its extent, its workgroup.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) kernel: &'static str,
    /// Rows of the weights.
    pub(super) rows: usize,
    /// Rows of the activations.
    pub(super) columns: usize,
    pub(super) threads: u32,
}

/// `Small` and `Large` of tile.hip, on every target.
pub(super) static SMALL: Tile = Tile {
    kernel: "tile",
    rows: 64,
    columns: 32,
    threads: 128,
};
static LARGE: Tile = Tile {
    kernel: "tile_large",
    rows: 128,
    columns: 128,
    threads: 256,
};

/// What decides among the kernels on a family of targets.
#[derive(Debug)]
pub(super) struct Crossover {
    families: &'static [Family],
    /// Wave instructions that 64 elements along k of Q4_0 weights cost in a small and in a large tile. (Their ratio is
    /// within 8 % the same for the other types.)
    small: usize,
    large: usize,
    /// Tasks of an expert, on average, from which a tile costs less than a vector product for each.
    pub(super) tasks_per_expert: usize,
    /// The same of weights that are not quantized.
    pub(super) dense_tasks_per_expert: usize,
    /// Rows of activations from which the dense product with dequantized weights pays (large.rs).
    pub(super) dense_from: Option<usize>,
}

/// Wave instructions as the emulator counts them (`HIP_EMULATOR_PROFILE`), weights [256, 2048], 256 rows of activations;
/// experts: `moe_q4_0` of one task beside a tile of the same rows, rounded up. No card has confirmed them.
///
/// `dense_from`: for 256 rows `tile_large_q4_0` takes 605 (gfx1100) and 240 (gfx90a) thousand instructions, as many of them
/// on matrix cores as `gemm_large` with 194 and 90, to which dequantizing adds 126 and 70 once. 256 is where it won on
/// gfx1101 (candle pull request 3801). CDNA 3 and RDNA 4 multiply int8 twice as fast as bf16: never there, as in llama.cpp.
#[rustfmt::skip]
static CROSSOVERS: &[Crossover] = &[
    Crossover { families: &[Family::Cdna2], small: 398, large: 1879, tasks_per_expert: 2, dense_tasks_per_expert: 12, dense_from: Some(256) },
    Crossover { families: &[Family::Cdna3], small: 374, large: 1734, tasks_per_expert: 2, dense_tasks_per_expert: 12, dense_from: None },
    Crossover { families: &[Family::Rdna3], small: 839, large: 4727, tasks_per_expert: 2, dense_tasks_per_expert: 12, dense_from: Some(256) },
    Crossover { families: &[Family::Rdna4], small: 807, large: 4586, tasks_per_expert: 2, dense_tasks_per_expert: 12, dense_from: None },
    // Without matrix cores.
    Crossover { families: &[Family::Rdna2, Family::Gcn5, Family::Nvidia], small: 2211, large: 14501, tasks_per_expert: 5, dense_tasks_per_expert: 12, dense_from: None },
];

/// The row of a family.
pub(super) fn row_of(family: Family) -> &'static Crossover {
    let mut rows = CROSSOVERS.iter();
    rows.find(|row| row.families.contains(&family))
        // Every family has one, which the test below holds.
        .unwrap_or(&CROSSOVERS[CROSSOVERS.len() - 1])
}

/// The row of a device.
pub(super) fn crossover(device: &RocmDevice) -> &'static Crossover {
    let name = base_name(&device.properties().target);
    let target = find(name).or_else(|| find(generic_of(name)?));
    // Nothing was built for a target that has no row: no launch comes this far.
    row_of(target.map_or(Family::Gcn5, |target| target.family))
}

/// How k is cut: parts of `segments` segments, the last one the rest. Several workgroups then make a tile together.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    count: usize,
    segments: usize,
}

impl Tile {
    /// The parts that give every compute unit enough to do.
    fn parts(&self, compute_units: usize, p: &Product) -> Parts {
        let (rows, columns) = self.counts(p);
        let segments = p.k / SEGMENT;
        let wanted = compute_units * THREADS_OF_UNIT / (rows * columns * self.threads as usize);
        let most = MOST_PARTS.min(segments / PART_SEGMENTS);
        let segments_each = segments
            .div_ceil(wanted.min(most).max(1))
            .next_multiple_of(BLOCK_SEGMENTS);
        Parts {
            count: segments.div_ceil(segments_each),
            segments: segments_each,
        }
    }

    /// Tiles of the weights' rows and of the activations'.
    fn counts(&self, p: &Product) -> (usize, usize) {
        (p.n.div_ceil(self.rows), p.rows.div_ceil(self.columns))
    }

    /// The tile for a product.
    pub(super) fn of(device: &RocmDevice, p: &Product) -> &'static Self {
        let properties = device.properties();
        Self::choose(crossover(device), properties.compute_units as usize, p)
    }

    /// The large tile where it costs less and there are enough of them, or of their parts, to give every compute unit one.
    fn choose(crossover: &Crossover, compute_units: usize, p: &Product) -> &'static Self {
        let count = |tile: &Self| {
            let (rows, columns) = tile.counts(p);
            rows * columns
        };
        let (small, large) = (count(&SMALL), count(&LARGE));
        let parts = LARGE.parts(compute_units, p).count;
        match large * parts >= compute_units && large * crossover.large <= small * crossover.small {
            true => &LARGE,
            false => &SMALL,
        }
    }

    /// Queues the product of `x`, rows of activations.h, with quantized weights of the format `name` into `out`, of the type
    /// f32, f16 or bf16.
    ///
    /// # Safety
    /// `w` and `x` have the sizes of `p`, `out` has rows × n elements.
    pub(super) unsafe fn multiply(
        &self,
        w: &QRocmStorage,
        name: &'static str,
        p: &Product,
        x: DevicePtr,
        out: &RocmStorage,
    ) -> Result<()> {
        let device = w.device();
        if p.k > MOST_K {
            return Err(RocmError::TooLarge {
                kernel: format!("{}_{name}", self.kernel),
                what: "k",
                value: p.k,
                limit: MOST_K,
            }
            .into());
        }
        let parts = self.parts(device.properties().compute_units as usize, p);
        let room = match parts.count {
            1 => None,
            count => Some(RocmStorage::uninit(
                device,
                count * p.rows * p.n,
                DType::F32,
            )?),
        };
        let into = room.as_ref().unwrap_or(out);
        let (rows, columns) = self.counts(p);
        let launch = device.launch(&kernels::QUANTIZED_TILE, self.kernel, name, "")?;
        let launch = launch.arg(w.ptr()).arg(x).arg(into.ptr_at(0));
        let launch = launch
            .int("rows of the weights", p.n)?
            .int("k", p.k / SEGMENT)?
            .int("rows", p.rows)?
            .arg(float_type(into.dtype())?)
            .int("k", parts.segments)?;
        let grid = [
            rows as u32,
            columns.min(MOST_GRID_Y) as u32,
            parts.count as u32,
        ];
        // SAFETY: the caller's promise; the room has a matrix of the result's size for each part.
        unsafe { launch.geometry(grid, [self.threads, 1, 1]).run() }?;
        if room.is_none() {
            return Ok(());
        }
        let suffix = kernel_suffix(out.dtype(), "quantized matmul")?;
        let join = gemm::Parts::of(p.rows * p.n, parts.count);
        let launch = device.launch(&kernels::GEMM, "gemm_join", suffix, "")?;
        let launch = launch.arg(into.ptr_at(0)).arg(out.ptr_at(0));
        let launch = launch.arg(join.elements).arg(join.splits);
        // SAFETY: the launch before fills the room; the result has a part's elements.
        unsafe { launch.geometry(join.grid, [gemm::THREADS, 1, 1]).run() }
    }

    /// A grid of tiles; the kernels step over columns beyond HIP's smallest limit.
    pub(super) fn grid<'a>(&self, launch: Launch<'a>, rows: usize, columns: usize) -> Launch<'a> {
        let grid = [rows as u32, columns.min(MOST_GRID_Y) as u32, 1];
        launch.geometry(grid, [self.threads, 1, 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_one_row() {
        use Family::*;
        for family in [Gcn5, Cdna2, Cdna3, Rdna2, Rdna3, Rdna4, Nvidia] {
            let rows = CROSSOVERS
                .iter()
                .filter(|row| row.families.contains(&family));
            assert_eq!(rows.count(), 1, "{family:?}");
        }
    }

    #[test]
    fn large_tiles_where_they_fill_the_card() {
        let rdna3 = &CROSSOVERS[2];
        assert!(rdna3.families.contains(&Family::Rdna3));
        let product = |rows, n| Product { rows, n, k: 4096 };
        // A third of a large tile of activations would be wasted work.
        assert_eq!(Tile::choose(rdna3, 96, &product(32, 1 << 20)), &SMALL);
        assert_eq!(Tile::choose(rdna3, 96, &product(512, 4096)), &LARGE);
        // 32 large tiles for 96 compute units: in parts they are enough, where k is long.
        assert_eq!(Tile::choose(rdna3, 96, &product(128, 4096)), &LARGE);
        let short = Product {
            k: 1024,
            ..product(128, 4096)
        };
        assert_eq!(Tile::choose(rdna3, 96, &short), &SMALL);
        assert_eq!(Tile::choose(rdna3, 32, &short), &LARGE);
    }

    #[test]
    fn parts_fill_the_card_and_cover_k() {
        let parts = |tile: &Tile, units, rows, n, k| {
            let parts = tile.parts(units, &Product { rows, n, k });
            (parts.count, parts.segments)
        };
        // 64 workgroups of 128 threads for 132 compute units of 512.
        assert_eq!(parts(&SMALL, 132, 16, 4096, 14336), (8, 56));
        assert_eq!(parts(&SMALL, 132, 64, 4096, 14336), (4, 112));
        assert_eq!(parts(&LARGE, 132, 512, 4096, 14336), (2, 224));
        // Enough as it is; too short; no multiple of a block.
        assert_eq!(parts(&LARGE, 132, 4096, 4096, 4096), (1, 128));
        assert_eq!(parts(&SMALL, 132, 16, 64, 992), (1, 32));
        assert_eq!(parts(&SMALL, 132, 16, 64, 1056), (2, 24));
        for k in (1..600).map(|segments| segments * SEGMENT) {
            let parts = SMALL.parts(300, &Product { rows: 9, n: 70, k });
            assert!(parts.segments * parts.count >= k / SEGMENT, "{k}");
            assert!(parts.segments * (parts.count - 1) < k / SEGMENT, "{k}");
        }
    }

    /// What host and device share stands in both languages.
    #[test]
    fn tiles_agree_with_the_kernels() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../candle-kernels/src/hip/quantized/tile.hip"
        );
        let source = std::fs::read_to_string(path).unwrap();
        for (name, tile) in [("Small", &SMALL), ("Large", &LARGE)] {
            let (rows, columns, threads) = (tile.rows, tile.columns, tile.threads);
            let mut lines = source
                .lines()
                .filter_map(|line| line.split_once(&format!("using {name} = ")))
                .peekable();
            assert!(lines.peek().is_some(), "{name}");
            let shape = format!("Shape<{rows}, {columns}, {threads}, ");
            assert!(lines.all(|(_, line)| line.starts_with(&shape)), "{name}");
        }
    }

    /// The large tile adds in the order of the small one, which rocm_quantized_products.rs holds against f64: the same bits.
    /// (Too few of them for a card to be chosen in a test of moderate size.)
    #[test]
    fn large_tiles_give_what_small_ones_give() -> crate::Result<()> {
        use crate::backend::{BackendDevice, BackendStorage};
        use crate::quantized::rocm::{own::product_by, types, QRocmStorage};
        let device = RocmDevice::new(0)?;
        let values = |count: usize, step: f32| -> crate::Result<crate::RocmStorage> {
            let values: Vec<f32> = (0..count).map(|i| (i as f32 * step).sin()).collect();
            device.storage_from_slice(&values)
        };
        for row in types::TYPES {
            let Some(name) = row.own else { continue };
            // Parts of tiles; an odd number of segments where the blocks allow it.
            let k = if row.dtype.block_size() == 32 {
                160
            } else {
                512
            };
            let p = Product {
                rows: 130,
                n: 131,
                k,
            };
            let mut w = QRocmStorage::zeros(&device, p.n * p.k, row.dtype)?;
            w.quantize(&values(p.n * p.k, 0.7)?)?;
            let x = values(p.rows * p.k, 0.3)?;
            let by = |tile: &'static Tile| -> crate::Result<Vec<u32>> {
                let out = product_by(Some(tile), &w, name, &p, x.ptr_at(0), crate::DType::F32)?;
                let out = out.to_cpu_storage()?;
                Ok(out.as_slice::<f32>()?.iter().map(|v| v.to_bits()).collect())
            };
            assert_eq!(by(&SMALL)?, by(&LARGE)?, "{:?}", row.dtype);
        }
        Ok(())
    }
}
