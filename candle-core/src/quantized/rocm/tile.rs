//! Products of many rows of activations by tiles: candle-kernels/src/hip/quantized/tile.hip. Which one, crossover.rs says.
use super::crossover::Parts;
use super::own::{float_type, Product, MOST_GRID_Y, SEGMENT};
use super::QRocmStorage;
use crate::backend::BackendStorage;
use crate::rocm_backend::{kernel_suffix, kernels, Launch, RocmError};
use crate::{DType, Result, RocmStorage};
use candle_hip::DevicePtr;
use kernels::gemm;

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

/// `Narrow`, whose waves share k, `Small` and `Large` of tile.hip, on every target; `Medium`, on RDNA 2.
pub(super) static NARROW: Tile = Tile {
    kernel: "tile_narrow",
    rows: 16,
    columns: 16,
    threads: 128,
};
pub(super) static SMALL: Tile = Tile {
    kernel: "tile",
    rows: 64,
    columns: 32,
    threads: 128,
};
pub(super) static MEDIUM: Tile = Tile {
    kernel: "tile_medium",
    rows: 64,
    columns: 64,
    threads: 128,
};
pub(super) static LARGE: Tile = Tile {
    kernel: "tile_large",
    rows: 128,
    columns: 128,
    threads: 256,
};

impl Tile {
    /// Tiles of the weights' rows and of the activations'.
    fn counts(&self, p: &Product) -> (usize, usize) {
        (p.n.div_ceil(self.rows), p.rows.div_ceil(self.columns))
    }

    /// Tiles of a product.
    pub(super) fn count(&self, p: &Product) -> usize {
        let (rows, columns) = self.counts(p);
        rows * columns
    }

    /// Queues the product of `x`, rows of activations.h, with quantized weights of the format `name` into `out`, of the type
    /// f32, f16 or bf16. `parts` are of the product's k.
    ///
    /// # Safety
    /// `w` and `x` have the sizes of `p`, `out` has rows × n elements.
    pub(super) unsafe fn multiply(
        &self,
        w: &QRocmStorage,
        name: &'static str,
        p: &Product,
        parts: Parts,
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
    use super::super::crossover::crossover;
    use super::super::{own::product_by, types, types::QuantizedType, QRocmStorage};
    use super::*;
    use crate::backend::{BackendDevice, BackendStorage};
    use crate::RocmDevice;

    /// What host and device share stands in both languages.
    #[test]
    fn tiles_agree_with_the_kernels() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../candle-kernels/src/hip/quantized/tile.hip"
        );
        let source = std::fs::read_to_string(path).unwrap();
        let tiles = [
            ("Narrow", &NARROW),
            ("Small", &SMALL),
            ("Medium", &MEDIUM),
            ("Large", &LARGE),
        ];
        for (name, tile) in tiles {
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

    fn values(device: &RocmDevice, count: usize, step: f32) -> Result<RocmStorage> {
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * step).sin()).collect();
        device.storage_from_slice(&values)
    }

    /// The product by a tile of weights of a type.
    fn by(
        device: &RocmDevice,
        row: &QuantizedType,
        p: &Product,
        tile: &'static Tile,
    ) -> Result<Vec<f32>> {
        let mut w = QRocmStorage::zeros(device, p.n * p.k, row.dtype)?;
        w.quantize(&values(device, p.n * p.k, 0.7)?)?;
        let x = values(device, p.rows * p.k, 0.3)?;
        let name = row.own.expect("a type with kernels");
        let out = product_by(Some(tile), &w, name, p, x.ptr_at(0), DType::F32)?;
        Ok(out.to_cpu_storage()?.as_slice::<f32>()?.to_vec())
    }

    /// Larger tiles add in the order of the small one, which rocm_quantized_products.rs holds against f64: the same bits. The
    /// narrow one adds the same products share by share. (Too few of them for a card to be chosen in a test of moderate size.)
    #[test]
    fn tiles_give_what_the_small_one_gives() -> Result<()> {
        let device = RocmDevice::new(0)?;
        for row in types::TYPES.iter().filter(|row| row.own.is_some()) {
            // Parts of tiles; an odd number of segments where the blocks allow it.
            let k = match row.dtype.block_size() {
                32 => 160,
                _ => 512,
            };
            let p = Product {
                rows: 130,
                n: 131,
                k,
            };
            let small = by(&device, row, &p, &SMALL)?;
            // A sum of so many products of segments, two with an offset, rounds as often, and each rounding is of at most the
            // sum of their amounts: below 2 for each of k's weights times activations, none of them above 1.
            let most = 2.0 * k as f32 * (2 * k / SEGMENT) as f32 * f32::EPSILON;
            for tile in crossover(&device).tiles.iter().map(|by| by.tile) {
                let other = by(&device, row, &p, tile)?;
                for (at, (a, b)) in small.iter().zip(&other).enumerate() {
                    let same = match tile == &NARROW {
                        true => (a - b).abs() <= most,
                        false => a.to_bits() == b.to_bits(),
                    };
                    let name = tile.kernel;
                    assert!(same, "{:?}, {name}, {at}: {a} and {b}", row.dtype);
                }
            }
        }
        Ok(())
    }

    /// The products whose instructions, by `HIP_EMULATOR_PROFILE` and over the number printed, stand in the table of crossover.rs.
    #[test]
    #[ignore = "for a profile"]
    fn what_tiles_cost() -> Result<()> {
        let device = RocmDevice::new(0)?;
        let p = Product {
            rows: 256,
            n: 256,
            k: 2048,
        };
        for row in types::TYPES.iter().filter(|row| row.own.is_some()) {
            for tile in crossover(&device).tiles.iter().map(|by| by.tile) {
                by(&device, row, &p, tile)?;
                let parts = tile.count(&p) * p.k / 64;
                println!("{:?} {}: {parts} times 64 of k", row.dtype, tile.kernel);
            }
        }
        Ok(())
    }
}
