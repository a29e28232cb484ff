//! The tiles that a workgroup computes, and which one a product is cut into.

use super::super::targets::{self, Family};
use super::super::GEMM;

/// A row of `src/hip/gemm/tiles.h`, which says what the columns mean.
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

const fn tiles(flat: Tile, small: Tile, large: Tile) -> [Tile; 3] {
    [flat, small, large]
}

/// Kernels on matrix cores, each with its tile.
const ON_CORES: [(&str, Tile); 3] = {
    let [flat, small, large] = include!("../../hip/gemm/tiles.h");
    [
        ("gemm_flat", flat),
        ("gemm_small", small),
        ("gemm_large", large),
    ]
};
/// The kernel without them; `TILE` of gemm/fma.h.
const BY_FMA: [(&str, Tile); 1] = [("gemm", tile(64, 64, 1, 100))];

/// Compute units to keep busy. Cards have 32 (RX 9060 XT) to 304 (MI300X); the choice need not be exact, and with one number
/// for all the same product is summed in the same order on each.
const UNITS: u64 = 96;
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

    /// Products of m x k by k x n in this tile, and what the busiest compute unit then has to do: products of a step times
    /// their cost.
    fn cut(&self, (m, n, k): (u32, u32, u32), batches: u32) -> (u128, Cut) {
        let tiles = self.count(m, n);
        let all = tiles * u64::from(batches);
        let idle_factor = UNITS / all.max(1);
        let mut splits = idle_factor.min(u64::from(k / LEAST_DEPTH)).max(1) as u32;
        let mut split_depth = k;
        if splits > 1 {
            split_depth = k.div_ceil(splits).next_multiple_of(DEPTH_STEP);
            splits = k.div_ceil(split_depth);
        }
        let rounds = (u128::from(all) * u128::from(splits)).div_ceil(UNITS.into());
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
pub(super) fn cut(on_cores: bool, shape: (u32, u32, u32), batches: u32) -> Cut {
    let among: &[(&str, Tile)] = if on_cores { &ON_CORES } else { &BY_FMA };
    let mut best = (u128::MAX, among[0].0, among[0].1.cut(shape, batches).1);
    for &(prefix, tile) in among {
        let (time, cut) = tile.cut(shape, batches);
        // Of equals the larger tile: it reads less.
        if time <= best.0 {
            best = (time, prefix, cut);
        }
    }
    let (_, prefix, cut) = best;
    Cut { prefix, ..cut }
}

/// Whether products of `element` (`f32`, `f64`, `f16`, `bf16`) run on matrix cores on `device` (HIP's gcnArchName): as
/// include/matrix_cores.h has them for the code object that the device gets.
pub fn on_cores(device: &str, element: &str) -> bool {
    GEMM.select(device)
        .is_ok_and(|object| target_has_cores(object.target, element))
}

fn target_has_cores(target: &str, element: &str) -> bool {
    match targets::find(target).map(|target| target.family) {
        Some(Family::Cdna2 | Family::Cdna3) => true,
        Some(Family::Rdna3 | Family::Rdna4) => matches!(element, "f16" | "bf16"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(m: u32, n: u32) -> &'static str {
        cut(true, (m, n, 4096), 1).prefix
    }

    #[test]
    fn tiles_fit_the_shape() {
        // A short prompt times a weight matrix.
        assert_eq!(prefix(9, 4096), "gemm_flat");
        assert_eq!(prefix(32, 14_336), "gemm_flat");
        // Few tiles: small ones occupy more of the card.
        assert_eq!(prefix(256, 256), "gemm_small");
        assert_eq!(cut(true, (500, 500, 512), 1).prefix, "gemm_small");
        // A long prompt.
        assert_eq!(prefix(2048, 4096), "gemm_large");
        assert_eq!(cut(true, (128, 128, 64), 500).prefix, "gemm_large");
        assert_eq!(cut(false, (2048, 4096, 64), 1).prefix, "gemm");
    }

    #[test]
    fn long_sums_of_few_results_are_cut() {
        let long = cut(true, (64, 64, 16_384), 1);
        assert_eq!((long.splits, long.split_depth), (32, 512));
        // Parts cover k, the last one with fewer steps.
        let odd = cut(true, (64, 64, 1500), 1);
        assert_eq!((odd.splits, odd.split_depth), (2, 768));
        // Enough tiles, or a short sum: whole.
        assert_eq!(cut(true, (4096, 4096, 16_384), 1).splits, 1);
        assert_eq!(cut(true, (64, 64, 16_384), 96).splits, 1);
        assert_eq!(
            (
                cut(true, (64, 64, 1000), 1).splits,
                cut(true, (64, 64, 1000), 1).split_depth
            ),
            (1, 1000)
        );
        assert_eq!(cut(false, (9, 9, 0), 1).splits, 1);
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
                for (prefix, _) in ON_CORES {
                    let kernel = format!("{prefix}_{element}.kd");
                    let expected = target_has_cores(object.target, element);
                    assert_eq!(has(&kernel), expected, "{kernel} for {}", object.target);
                }
            }
        }
    }
}
