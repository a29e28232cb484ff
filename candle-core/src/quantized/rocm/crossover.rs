//! Which kernel multiplies many rows of activations with quantized weights: the tile of tile.hip, how many workgroups share
//! one, and from how many rows on tiles pay at all. One row of a table for each family of targets.
use super::own::{Product, SEGMENT};
use super::tile::{Tile, LARGE, MEDIUM, NARROW, SMALL};
use crate::RocmDevice;
use candle_kernels::rocm::targets::{family_of, Family};

/// The most parts that k is cut into, and the fewest segments of a part.
const MOST_PARTS: usize = 8;
const PART_SEGMENTS: usize = 16;
/// Segments that a part is a multiple of: those of a block of 256 elements.
const BLOCK_SEGMENTS: usize = 8;

/// A tile, and the wave instructions that 64 elements along k of Q4_0 weights cost in one. (Their ratio is within 20 %
/// the same for the other types.)
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) tile: &'static Tile,
    /// Segments of a piece (tile.hip).
    depth: usize,
    instructions: usize,
}

const fn candidate(tile: &'static Tile, depth: usize, instructions: usize) -> Candidate {
    Candidate {
        tile,
        depth,
        instructions,
    }
}

impl Candidate {
    /// The narrow tile is for as many rows of activations as it has. For more, two of them side by side would execute twice as
    /// much as a small one for a row of weights: on an H200 1.2 to 1.7 of the time of small ones in parts.
    fn suits(&self, p: &Product) -> bool {
        self.tile != &NARROW || p.rows <= NARROW.columns
    }
}

/// What decides among the kernels on a family of targets.
#[derive(Debug)]
pub(super) struct Crossover {
    families: &'static [Family],
    /// From the smallest to the largest.
    pub(super) tiles: &'static [Candidate],
    schedule: Schedule,
    /// Tasks of an expert, on average, from which a tile costs less than a vector product for each.
    pub(super) tasks_per_expert: usize,
    /// The same of weights that are not quantized: of a 16-bit type that the activations share, and others.
    pub(super) dense_tasks_per_expert: [usize; 2],
    /// Rows of activations from which the dense product with dequantized weights pays (large.rs).
    pub(super) dense_from: Option<usize>,
}

/// Wave instructions as the emulator counts them, weights [256, 2048], 256 rows of activations: the ignored test
/// `what_tiles_cost` of tile.rs prints them. Experts: `moe_q4_0` of one task beside a tile of the same rows, rounded up;
/// `dense_moe` beside `dense_moe_tile` for weights that are not quantized (`what_experts_cost` of candle-nn's rocm_moe.rs), and at least
/// 2, since few tiles leave a card idle. No card has confirmed them.
///
/// `dense_from`: for 256 rows `tile_large_q4_0` takes 566 (gfx1100) and 219 (gfx90a) thousand instructions, as many of them
/// on matrix cores as `gemm_large` with 194 and 90, to which dequantizing adds 126 and 70 once. 256 is where it won on
/// gfx1101 (candle pull request 3801). CDNA 3 and RDNA 4 multiply int8 twice as fast as bf16: never there, as in llama.cpp.
#[rustfmt::skip]
static CROSSOVERS: &[Crossover] = &[
    Crossover { families: &[Family::Cdna2], tiles: &[candidate(&NARROW, 8, 87), candidate(&SMALL, 2, 378), candidate(&LARGE, 2, 1708)], schedule: CDNA, tasks_per_expert: 2, dense_tasks_per_expert: [2, 2], dense_from: Some(256) },
    Crossover { families: &[Family::Cdna3], tiles: &[candidate(&NARROW, 8, 84), candidate(&SMALL, 2, 356), candidate(&LARGE, 2, 1583)], schedule: CDNA, tasks_per_expert: 2, dense_tasks_per_expert: [2, 2], dense_from: None },
    Crossover { families: &[Family::Rdna3], tiles: &[candidate(&NARROW, 8, 191), candidate(&SMALL, 4, 791), candidate(&LARGE, 4, 4426)], schedule: RDNA, tasks_per_expert: 2, dense_tasks_per_expert: [2, 5], dense_from: Some(256) },
    Crossover { families: &[Family::Rdna4], tiles: &[candidate(&NARROW, 8, 184), candidate(&SMALL, 4, 758), candidate(&LARGE, 4, 4484)], schedule: RDNA, tasks_per_expert: 2, dense_tasks_per_expert: [2, 5], dense_from: None },
    // Without matrix cores.
    Crossover { families: &[Family::Rdna2], tiles: &[candidate(&NARROW, 8, 335), candidate(&SMALL, 4, 1796), candidate(&MEDIUM, 4, 3220), candidate(&LARGE, 4, 12246)], schedule: RDNA, tasks_per_expert: 4, dense_tasks_per_expert: [7, 7], dense_from: None },
    // What a narrow tile costs nothing asks for there.
    Crossover { families: &[Family::Gcn5, Family::Nvidia], tiles: &[candidate(&NARROW, 8, 0), candidate(&SMALL, 4, 2211), candidate(&LARGE, 4, 14501)], schedule: Schedule::Filled, tasks_per_expert: 5, dense_tasks_per_expert: [7, 7], dense_from: None },
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
    // Nothing was built for a target that has no row: no launch comes this far.
    row_of(family_of(&device.properties().target).unwrap_or(Family::Gcn5))
}

/// How k is cut: parts of `segments` segments, the last one the rest. Several workgroups then make a tile together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) count: usize,
    pub(super) segments: usize,
}

impl Parts {
    /// All of k.
    pub(super) fn whole(p: &Product) -> Self {
        Self::about(1, p)
    }

    /// About `wanted` parts, as many as k allows.
    fn about(wanted: usize, p: &Product) -> Self {
        let segments = p.k / SEGMENT;
        let most = MOST_PARTS.min(segments / PART_SEGMENTS);
        let each = segments
            .div_ceil(wanted.min(most).max(1))
            .next_multiple_of(BLOCK_SEGMENTS);
        Self {
            count: segments.div_ceil(each),
            segments: each,
        }
    }
}

/// How workgroups meet compute units, and what decides on tile and parts.
#[derive(Debug)]
enum Schedule {
    /// As measured on an H200 (docs/performance.md): parts until every unit has [`THREADS_OF_UNIT`], the large tile where it
    /// costs less and gives every unit one.
    Filled,
    /// The least time of a model.
    Modelled(Model),
}

/// Threads of workgroups that a unit should have at a time: less, and nothing bridges the time that a load takes. (A workgroup
/// whose waves share k has pieces twice as deep under way: one is enough.)
const THREADS_OF_UNIT: usize = 512;

/// A time of tiles that no card has confirmed: what a unit's SIMDs issue, what they wait for, what parts add.
#[derive(Debug)]
struct Model {
    /// Lanes of a wave.
    lanes: usize,
    /// Picoseconds in which a SIMD, of which a unit has [`SIMDS`], issues a wave instruction.
    issue: usize,
}

/// A SIMD of 16 lanes takes four clocks for a wave, at 1.7 to 2.1 GHz.
const CDNA: Schedule = Schedule::Modelled(Model {
    lanes: 64,
    issue: 2000,
});
/// One clock, at 2.2 to 3 GHz.
const RDNA: Schedule = Schedule::Modelled(Model {
    lanes: 32,
    issue: 400,
});

/// SIMDs of what HIP counts as a unit: a compute unit of CDNA, two of RDNA.
const SIMDS: usize = 4;
/// Picoseconds of a piece in which the workgroups of a unit only wait: what the H200's times with one, two and four of them have
/// in common.
const EXPOSED: usize = 250_000;
/// Picoseconds that `gemm_join` takes beside its bytes: a launch (3.4 µs by docs/predictions.md), for which the card empties.
const JOIN: usize = 4_000_000;
/// Bytes that the memory moves for a unit in a nanosecond: 14 to 20 on RX 6800 XT, 7900 XTX, 9070 XT, MI210, MI300X.
const UNIT_BYTES: usize = 16;
/// How many times as fast parts have to be as whole tiles: the bytes that they add are certain, the model is not.
const PARTS_PAY: usize = 2;

impl Model {
    /// Picoseconds that the product takes by these tiles in parts; more than that where parts would not pay.
    fn time(&self, by: &Candidate, units: usize, p: &Product, parts: Parts) -> usize {
        let waves = by.tile.threads as usize / self.lanes;
        // A unit's workgroups stand on its SIMDs wave by wave; each wave issues its share of the tile's instructions.
        let workgroups = (by.tile.count(p) * parts.count).div_ceil(units);
        let waves_of_simd = (workgroups * waves).div_ceil(SIMDS);
        let piece = waves_of_simd * by.instructions * by.depth * self.issue / (2 * waves);
        let pieces = parts.segments.min(p.k / SEGMENT).div_ceil(by.depth);
        let product = pieces * (piece + EXPOSED);
        if parts.count == 1 {
            return product;
        }
        // Sums in f32, written and read.
        let bytes = 2 * size_of::<f32>() * parts.count * p.rows * p.n;
        PARTS_PAY * (product + JOIN + bytes / units * 1000 / UNIT_BYTES)
    }
}

impl Crossover {
    /// The tile for a product on a card of so many compute units, and its parts.
    pub(super) fn choose(&self, units: usize, p: &Product) -> (&'static Tile, Parts) {
        let units = units.max(1);
        let with_parts = |by| (by, self.parts(by, units, p));
        let (narrow, small) = (&self.tiles[0], &self.tiles[1]);
        let large = &self.tiles[self.tiles.len() - 1];
        let (by, parts) = match &self.schedule {
            Schedule::Filled if narrow.suits(p) => with_parts(narrow),
            Schedule::Filled => {
                let (by, parts) = with_parts(large);
                let cost = |by: &Candidate| by.tile.count(p) * by.instructions;
                match by.tile.count(p) * parts.count >= units && cost(large) <= cost(small) {
                    true => (by, parts),
                    false => with_parts(small),
                }
            }
            Schedule::Modelled(model) => {
                let all = self.tiles.iter().filter(|by| by.suits(p)).map(with_parts);
                all.min_by_key(|(by, parts)| model.time(by, units, p, *parts))
                    .unwrap_or_else(|| with_parts(small))
            }
        };
        (by.tile, parts)
    }

    /// The parts for a product by one of the row's tiles.
    fn parts(&self, by: &Candidate, units: usize, p: &Product) -> Parts {
        match &self.schedule {
            Schedule::Filled => {
                let threads = by.tile.count(p) * by.tile.threads as usize;
                let enough = match by.tile == &NARROW {
                    true => by.tile.threads as usize,
                    false => THREADS_OF_UNIT,
                };
                Parts::about(units * enough / threads, p)
            }
            Schedule::Modelled(model) => {
                let all = (1..=MOST_PARTS).map(|wanted| Parts::about(wanted, p));
                all.min_by_key(|parts| model.time(by, units, p, *parts))
                    .unwrap_or_else(|| Parts::whole(p))
            }
        }
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
            let tiles = row_of(family).tiles;
            assert_eq!(
                [tiles[0].tile, tiles[1].tile],
                [&NARROW, &SMALL],
                "{family:?}"
            );
            let sizes = tiles.windows(2).map(|pair| [pair[0].tile, pair[1].tile]);
            assert!(
                sizes
                    .clone()
                    .all(|[a, b]| a.rows * a.columns < b.rows * b.columns),
                "{family:?}"
            );
        }
    }

    /// Rows of activations, rows of weights, k.
    fn product((rows, n, k): (usize, usize, usize)) -> Product {
        Product { rows, n, k }
    }

    #[test]
    fn filled_cards_have_large_tiles() {
        let row = row_of(Family::Nvidia);
        let of = |units, shape| row.choose(units, &product(shape)).0;
        // A third of a large tile of activations would be wasted work.
        assert_eq!(of(96, (32, 1 << 20, 4096)), &SMALL);
        assert_eq!(of(96, (16, 1 << 20, 4096)), &NARROW);
        assert_eq!(of(96, (17, 64, 4096)), &SMALL);
        assert_eq!(of(96, (512, 4096, 4096)), &LARGE);
        // 32 large tiles for 96 units: in parts they are enough, where k is long.
        assert_eq!(of(96, (128, 4096, 4096)), &LARGE);
        assert_eq!(of(96, (128, 4096, 1024)), &SMALL);
        assert_eq!(of(32, (128, 4096, 1024)), &LARGE);
    }

    #[test]
    fn parts_fill_the_card_and_cover_k() {
        let row = row_of(Family::Nvidia);
        let parts = |tile: usize, units, shape| {
            let parts = row.parts(&row.tiles[tile], units, &product(shape));
            (parts.count, parts.segments)
        };
        // 64 workgroups of 128 threads for 132 units of 512.
        assert_eq!(parts(1, 132, (32, 4096, 14336)), (8, 56));
        assert_eq!(parts(1, 132, (64, 4096, 14336)), (4, 112));
        assert_eq!(parts(2, 132, (512, 4096, 14336)), (2, 224));
        // Enough as it is; too short; no multiple of a block.
        assert_eq!(parts(2, 132, (4096, 4096, 4096)), (1, 128));
        assert_eq!(parts(1, 132, (32, 64, 992)), (1, 32));
        assert_eq!(parts(1, 132, (32, 64, 1056)), (2, 24));
        // Narrow tiles only until every unit has one.
        assert_eq!(parts(0, 132, (16, 4096, 14336)), (1, 448));
        assert_eq!(parts(0, 132, (16, 1024, 4096)), (2, 64));
        for row in CROSSOVERS {
            for k in (1..600).map(|segments| segments * SEGMENT) {
                let (_, parts) = row.choose(300, &product((9, 70, k)));
                assert!(parts.segments * parts.count >= k / SEGMENT, "{k}");
                assert!(parts.segments * (parts.count - 1) < k / SEGMENT, "{k}");
            }
        }
    }

    /// Sums in parts are bytes that the product by itself does not have: only where most of a card would be idle.
    #[test]
    fn parts_where_the_model_says_that_they_pay() {
        let of = |family, units, shape| {
            let (tile, parts) = row_of(family).choose(units, &product(shape));
            (tile.kernel, parts.count)
        };
        // Units of RX 6800 XT, RX 7900 XTX, RX 9070 XT, MI210, MI300X. A layer that fills them, and 64 and 128 rows.
        let cards = [
            (Family::Rdna2, 36, "tile_medium", "tile_large"),
            (Family::Rdna3, 48, "tile", "tile_large"),
            (Family::Rdna4, 32, "tile", "tile_large"),
            (Family::Cdna2, 104, "tile", "tile"),
            (Family::Cdna3, 304, "tile", "tile"),
        ];
        for (family, units, few, many) in cards {
            for (rows, n, k) in [(9, 1024, 4096), (16, 4096, 2048), (16, 32000, 4096)] {
                let narrow = of(family, units, (rows, n, k));
                assert_eq!(narrow, ("tile_narrow", 1), "{family:?} {rows} {n} {k}");
            }
            assert_eq!(of(family, units, (64, 4096, 2048)), (few, 1), "{family:?}");
            assert_eq!(
                of(family, units, (128, 4096, 2048)),
                (many, 1),
                "{family:?}"
            );
        }
        // 128 small tiles for 304 units; the same for 36 and 48.
        assert_eq!(of(Family::Cdna3, 304, (64, 4096, 4096)), ("tile", 8));
        assert_eq!(of(Family::Rdna2, 36, (64, 4096, 4096)), ("tile_medium", 1));
        assert_eq!(of(Family::Rdna3, 48, (32, 4096, 4096)), ("tile", 1));
        // No units, as a broken driver may say.
        assert_eq!(of(Family::Rdna3, 0, (16, 64, 512)), ("tile_narrow", 1));
    }
}
