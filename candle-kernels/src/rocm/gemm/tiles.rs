//! The tiles that a workgroup computes, and which one a product is cut into.

use super::super::targets;
use super::super::GEMM;

/// A row of `src/hip/gemm/tiles.h` or `src/hip/gemm/fma_tiles.h`, which say what the columns mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) rows: u32,
    pub(super) columns: u32,
    /// For the kernels alone.
    _wave_rows: u32,
    cost: u32,
}

const fn tile(rows: u32, columns: u32, wave_rows: u32, cost: u32) -> Tile {
    Tile {
        rows,
        columns,
        _wave_rows: wave_rows,
        cost,
    }
}

/// The kernels on matrix cores, each with its tile.
const ON_CORES: [(&str, Tile); 3] = {
    const fn tiles(flat: Tile, small: Tile, large: Tile) -> [Tile; 3] {
        [flat, small, large]
    }
    let [flat, small, large] = include!("../../hip/gemm/tiles.h");
    [
        ("gemm_flat", flat),
        ("gemm_small", small),
        ("gemm_large", large),
    ]
};
/// The kernels by fused multiply-adds, each with its tile.
const BY_FMA: [(&str, Tile); 4] = {
    const fn tiles(flat: Tile, small: Tile, middle: Tile, large: Tile) -> [Tile; 4] {
        [flat, small, middle, large]
    }
    let [flat, small, middle, large] = include!("../../hip/gemm/fma_tiles.h");
    [
        ("gemm_fma_flat", flat),
        ("gemm_fma_small", small),
        ("gemm_fma_middle", middle),
        ("gemm_fma_large", large),
    ]
};
/// Those of them for f64: more sums take too many registers.
const OF_DOUBLES: [(&str, Tile); 1] = [BY_FMA[1]];
/// Those for operands of two types.
const OF_TWO_TYPES: [(&str, Tile); 3] = [BY_FMA[0], BY_FMA[2], BY_FMA[3]];

/// The kernels that multiply by tiles, by what they multiply with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiles {
    /// Matrix cores.
    OnCores,
    /// Fused multiply-adds.
    ByFma,
    /// Fused multiply-adds of f64.
    OfDoubles,
    /// Fused multiply-adds of operands of two types, A's and B's, with B's columns contiguous (weights `[n,k]`): the kernels
    /// `<prefix>_<B's type>_<A's type>` of the module `QUANTIZED_DENSE`. The operands do not change places.
    OfTwoTypes,
}

impl Tiles {
    /// For products of `element` (`f32`, `f64`, `f16`, `bf16`) on `device` (HIP's gcnArchName): matrix cores where
    /// include/matrix_cores.h has them for the code object that the device gets.
    pub fn of(device: &str, element: &str) -> Self {
        let object = GEMM.select(device);
        match object.is_ok_and(|object| target_has_cores(object.target, element)) {
            true => Self::OnCores,
            false if element == "f64" => Self::OfDoubles,
            false => Self::ByFma,
        }
    }

    fn rows(self) -> &'static [(&'static str, Tile)] {
        match self {
            Self::OnCores => &ON_CORES,
            Self::ByFma => &BY_FMA,
            Self::OfDoubles => &OF_DOUBLES,
            Self::OfTwoTypes => &OF_TWO_TYPES,
        }
    }

    /// Workgroups to keep busy. Cards have 32 (RX 9060 XT) to 304 (MI300X) compute units; the choice need not be exact, and
    /// with one number for all the same product is summed in the same order on each. By multiply-adds an H200's 132 are
    /// busiest with two each (docs/gemm.md).
    fn workgroups(self) -> u64 {
        match self {
            Self::OnCores => 96,
            _ => 256,
        }
    }
}

/// Steps along k of a part at least. A part of a small tile writes 16 KiB of sums, which are read again to be added; with
/// 512 steps it has read 128 KiB of f16, so that cutting costs no more than a quarter of the traffic.
const LEAST_DEPTH: u32 = 512;
/// Parts begin at multiples of this: every kernel's piece along k, and 16 bytes of every type.
const DEPTH_STEP: u32 = 64;

/// How a product is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) prefix: &'static str,
    /// Tiles of one of the batches.
    pub(super) tiles: u64,
    /// Parts of k, and their steps.
    pub(super) splits: u32,
    pub(super) split_depth: u32,
}

impl Tile {
    /// Tiles of a matrix of m x n.
    fn count(&self, m: u32, n: u32) -> u64 {
        u64::from(m.div_ceil(self.rows)) * u64::from(n.div_ceil(self.columns))
    }

    /// Products of m x k by k x n in this tile, and what the busiest of the workgroups at a time then has to do: products of a step times
    /// their cost.
    fn cut(&self, workgroups: u64, (m, n, k): (u32, u32, u32), batches: u32) -> (u128, Cut) {
        let tiles = self.count(m, n);
        let all = tiles * u64::from(batches);
        let idle_factor = workgroups / all.max(1);
        let mut splits = idle_factor.min(u64::from(k / LEAST_DEPTH)).max(1) as u32;
        let mut split_depth = k;
        if splits > 1 {
            split_depth = k.div_ceil(splits).next_multiple_of(DEPTH_STEP);
            splits = k.div_ceil(split_depth);
        }
        let rounds = (u128::from(all) * u128::from(splits)).div_ceil(workgroups.into());
        let each = u128::from(self.rows * self.columns * self.cost);
        let time = rounds * each * u128::from(split_depth);
        let cut = Cut {
            prefix: "",
            tiles,
            splits,
            split_depth,
        };
        (time, cut)
    }
}

/// The tile and the parts for products of m x k by k x n.
pub(super) fn cut(among: Tiles, shape: (u32, u32, u32), batches: u32) -> Cut {
    let cuts = among.rows().iter().map(|&(prefix, tile)| {
        let (time, cut) = tile.cut(among.workgroups(), shape, batches);
        // Of equals the tiles that are least work together.
        let all = u128::from(cut.tiles) * u128::from(tile.rows * tile.columns * tile.cost);
        ((time, all), Cut { prefix, ..cut })
    });
    let best = cuts.min_by_key(|(costs, _)| *costs);
    best.expect("every kind has a tile").1
}

fn target_has_cores(target: &str, element: &str) -> bool {
    let half = matches!(element, "f16" | "bf16");
    targets::find(target).is_some_and(|target| target.family.multiplies_floats(half))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(m: u32, n: u32) -> &'static str {
        cut(Tiles::OnCores, (m, n, 4096), 1).prefix
    }

    #[test]
    fn tiles_fit_the_shape() {
        // A short prompt times a weight matrix.
        assert_eq!(prefix(9, 4096), "gemm_flat");
        assert_eq!(prefix(32, 14_336), "gemm_flat");
        // Few tiles: small ones occupy more of the card.
        assert_eq!(prefix(256, 256), "gemm_small");
        assert_eq!(cut(Tiles::OnCores, (500, 500, 512), 1).prefix, "gemm_small");
        // A long prompt.
        assert_eq!(prefix(2048, 4096), "gemm_large");
        assert_eq!(
            cut(Tiles::OnCores, (128, 128, 64), 500).prefix,
            "gemm_large"
        );
    }

    #[test]
    fn tiles_by_multiply_adds_fit_the_shape() {
        let by = |m, n| {
            let cut = cut(Tiles::ByFma, (m, n, 4096), 1);
            (cut.prefix, cut.splits)
        };
        assert_eq!(by(16, 4096), ("gemm_fma_flat", 8));
        assert_eq!(by(64, 4096), ("gemm_fma_middle", 8));
        assert_eq!(by(64, 64), ("gemm_fma_small", 8));
        assert_eq!(by(512, 4096), ("gemm_fma_large", 2));
        assert_eq!(by(4096, 4096), ("gemm_fma_large", 1));
        let two = cut(Tiles::OfTwoTypes, (4096, 4096, 4096), 1);
        assert_eq!((two.prefix, two.splits), ("gemm_fma_large", 1));
        let doubles = cut(Tiles::OfDoubles, (4096, 4096, 4096), 1);
        assert_eq!((doubles.prefix, doubles.splits), ("gemm_fma_small", 1));
    }

    #[test]
    fn long_sums_of_few_results_are_cut() {
        let long = cut(Tiles::OnCores, (64, 64, 16_384), 1);
        assert_eq!((long.splits, long.split_depth), (32, 512));
        // Parts cover k, the last one with fewer steps.
        let odd = cut(Tiles::OnCores, (64, 64, 1500), 1);
        assert_eq!((odd.splits, odd.split_depth), (2, 768));
        // Enough tiles, or a short sum: whole.
        assert_eq!(cut(Tiles::OnCores, (4096, 4096, 16_384), 1).splits, 1);
        assert_eq!(cut(Tiles::OnCores, (64, 64, 16_384), 96).splits, 1);
        assert_eq!(
            (
                cut(Tiles::OnCores, (64, 64, 1000), 1).splits,
                cut(Tiles::OnCores, (64, 64, 1000), 1).split_depth
            ),
            (1, 1000)
        );
        assert_eq!(cut(Tiles::ByFma, (9, 9, 0), 1).splits, 1);
    }

    /// The kernels that the host may ask for are those that were compiled.
    #[test]
    fn code_objects_have_the_kernels_of_their_target() {
        for object in GEMM.code_objects {
            let has = |name: &str| {
                object
                    .bytes
                    .windows(name.len())
                    .any(|bytes| bytes == name.as_bytes())
            };
            for element in ["f16", "bf16", "f32", "f64"] {
                let cores = target_has_cores(object.target, element);
                for (prefix, _) in ON_CORES {
                    let kernel = format!("{prefix}_{element}.kd");
                    assert_eq!(has(&kernel), cores, "{kernel} for {}", object.target);
                }
                for (prefix, _) in BY_FMA {
                    let kernel = format!("{prefix}_{element}.kd");
                    let expected = !cores && (element != "f64" || prefix == OF_DOUBLES[0].0);
                    assert_eq!(has(&kernel), expected, "{kernel} for {}", object.target);
                }
            }
        }
    }
}
