//! Which tile multiplies many rows of activations, and when tiles pay at all: candle-kernels/src/hip/quantized/tile.hip.
use super::own::{Product, MOST_GRID_Y};
use crate::rocm_backend::Launch;
use crate::RocmDevice;
use candle_kernels::rocm::targets::{base_name, find, generic_of, Family};

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

/// `Small` and `Large` of tile.hip.
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
}

/// Wave instructions as the emulator counts them (`HIP_EMULATOR_PROFILE`), weights [256, 2048], 256 rows of activations;
/// experts: `moe_q4_0` of one task beside a tile of the same rows, rounded up. No card has confirmed them.
#[rustfmt::skip]
static CROSSOVERS: &[Crossover] = &[
    Crossover { families: &[Family::Cdna2], small: 430, large: 2254, tasks_per_expert: 2, dense_tasks_per_expert: 12 },
    Crossover { families: &[Family::Cdna3], small: 408, large: 2135, tasks_per_expert: 2, dense_tasks_per_expert: 12 },
    Crossover { families: &[Family::Rdna3], small: 894, large: 4788, tasks_per_expert: 2, dense_tasks_per_expert: 12 },
    Crossover { families: &[Family::Rdna4], small: 921, large: 4810, tasks_per_expert: 2, dense_tasks_per_expert: 12 },
    // Without matrix cores.
    Crossover { families: &[Family::Rdna2, Family::Gcn5, Family::Nvidia], small: 2167, large: 14490, tasks_per_expert: 5, dense_tasks_per_expert: 12 },
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

impl Tile {
    /// Tiles of the weights' rows and of the activations'.
    fn counts(&self, p: &Product) -> (usize, usize) {
        (p.n.div_ceil(self.rows), p.rows.div_ceil(self.columns))
    }

    /// The tile for a product.
    pub(super) fn of(device: &RocmDevice, p: &Product) -> &'static Self {
        let properties = device.properties();
        Self::choose(crossover(device), properties.compute_units as usize, p)
    }

    /// The large tile where it costs less and there are enough of them to give every compute unit one.
    fn choose(crossover: &Crossover, compute_units: usize, p: &Product) -> &'static Self {
        let count = |tile: &Self| {
            let (rows, columns) = tile.counts(p);
            rows * columns
        };
        let (small, large) = (count(&SMALL), count(&LARGE));
        match large >= compute_units && large * crossover.large <= small * crossover.small {
            true => &LARGE,
            false => &SMALL,
        }
    }

    pub(super) fn geometry<'a>(&self, launch: Launch<'a>, p: &Product) -> Launch<'a> {
        let (rows, columns) = self.counts(p);
        self.grid(launch, rows, columns)
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
        // 32 large tiles for 96 compute units.
        assert_eq!(Tile::choose(rdna3, 96, &product(128, 4096)), &SMALL);
        assert_eq!(Tile::choose(rdna3, 32, &product(128, 4096)), &LARGE);
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
            let found = source.lines().any(|line| {
                line.starts_with(&format!("typedef Shape<{rows}, {columns}, {threads}, "))
                    && line.ends_with(&format!("> {name};"))
            });
            assert!(found, "{name}");
        }
    }
}
