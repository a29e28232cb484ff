//! Launches of our own product kernels: candle-kernels/src/hip/quantized/{product,tile,quantize}.hip.
//!
//! They take any number of weight rows, activation rows and blocks, read and write nothing outside of them, and take
//! and give f32, f16 and bf16 without a conversion in between.
use super::crossover::{crossover, Parts};
use super::pairs::Formats;
use super::tile::Tile;
use super::QRocmStorage;
use crate::backend::BackendStorage;
use crate::rocm_backend::{kernels, RocmBuffer, RocmError, Stretch};
use crate::{DType, Result, RocmDevice, RocmStorage};
use candle_hip::{DevicePtr, KernelArg};
use std::sync::Arc;

/// `WARP` and `SEGMENT` of the kernels' headers.
const WARP: u32 = 32;
pub(super) const SEGMENT: usize = 32;
/// `ACTIVATION_BYTES` and `ACTIVATION_LINE` of activations.h: bytes of a segment; rows have room for a multiple of so
/// many segments.
const ACTIVATION_BYTES: usize = 40;
const ACTIVATION_LINE: usize = 8;
/// `ACTIVATION_WARPS` of quantize.hip, and the blocks that each of its warps makes.
const ACTIVATION_WARPS: u32 = 8;
const BLOCKS_OF_WARP: usize = 4;
/// `WARPS` of product.hip: of a workgroup.
pub(super) const WARPS: u32 = 4;
/// The most rows of activations of the vector kernels.
pub(super) const MOST_VECTOR_ROWS: usize = 8;
/// The longest rows of quantized products: the vector kernels count a row's bytes, 40 for 32 activations, in 32 bits.
const MOST_VECTOR_K: usize = 1 << 31;
/// `MOST_WEIGHTS` of product.hip: that a vector kernel multiplies with the same activations.
pub(super) const MOST_WEIGHTS: usize = 3;
/// HIP's smallest limit of a grid in y over all targets; the kernels step over what lies beyond.
pub(super) const MOST_GRID_Y: usize = u16::MAX as usize;

/// The workgroup of all of them; where each of its warps has a row of the weights, they are [`WARPS`].
pub(super) const WORKGROUP: [u32; 3] = [WARP, WARPS, 1];

/// `[rows, k]` × transposed `[n, k]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    pub(super) rows: usize,
    pub(super) n: usize,
    pub(super) k: usize,
}

/// `FloatType` of activations.h.
pub(super) fn float_type(dtype: DType) -> Result<i32> {
    match dtype {
        DType::F32 => Ok(0),
        DType::F16 => Ok(1),
        DType::BF16 => Ok(2),
        dtype => Err(RocmError::UnsupportedDType {
            dtype,
            op: "quantized matmul",
        }
        .into()),
    }
}

/// Bytes of `rows` rows of `k` activations in int8.
pub(super) fn activation_bytes(rows: usize, k: usize) -> usize {
    rows * (k / SEGMENT).next_multiple_of(ACTIVATION_LINE) * ACTIVATION_BYTES
}

/// Activations in int8, as product.hip reads them.
pub(super) struct Activations {
    buffer: Arc<RocmBuffer>,
}

impl Activations {
    /// `rows` rows of `k` elements of `x`, a multiple of [`SEGMENT`], side by side from element `start` on. They are kept
    /// with `x`: the next product with the same ones finds them converted.
    pub(super) fn of(x: &RocmStorage, start: usize, rows: usize, k: usize) -> Result<Self> {
        let stretch = Stretch {
            start,
            rows,
            columns: k,
        };
        let buffer = x.form(stretch, || {
            Self::convert(x.device(), x.ptr_at(start), x.dtype(), rows, k)
        })?;
        Ok(Self { buffer })
    }

    /// Memory for `rows` rows of `k` elements; the content is whatever was there before.
    pub(super) fn room(device: &RocmDevice, rows: usize, k: usize) -> Result<RocmBuffer> {
        device.allocate(activation_bytes(rows, k))
    }

    fn convert(
        device: &RocmDevice,
        x: DevicePtr,
        dtype: DType,
        rows: usize,
        k: usize,
    ) -> Result<RocmBuffer> {
        if k > MOST_VECTOR_K {
            return Err(RocmError::TooLarge {
                kernel: "quantize_activations".into(),
                what: "k",
                value: k,
                limit: MOST_VECTOR_K,
            }
            .into());
        }
        let segments = k / SEGMENT;
        let blocks = rows * segments;
        let buffer = Self::room(device, rows, k)?;
        if blocks == 0 {
            return Ok(buffer);
        }
        let launch = device.launch(&kernels::QUANTIZE, "quantize_activations", "", "")?;
        let launch = launch.arg(x).arg(buffer.ptr());
        let launch = launch
            .int("segments of activations", blocks)?
            .int("k", segments)?
            .arg(float_type(dtype)?);
        let launch = launch
            .groups(blocks.div_ceil(ACTIVATION_WARPS as usize * BLOCKS_OF_WARP))?
            .block([WARP, ACTIVATION_WARPS, 1]);
        // SAFETY: reads `rows` × `k` elements of x, writes within the rows allocated above.
        unsafe { launch.run() }?;
        Ok(buffer)
    }

    pub(super) fn ptr(&self) -> DevicePtr {
        self.buffer.ptr()
    }
}

/// `Weights` of product.hip, byte for byte.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Weights {
    of: [DevicePtr; MOST_WEIGHTS],
    out: [DevicePtr; MOST_WEIGHTS],
    bias: [DevicePtr; MOST_WEIGHTS],
    rows: [u32; MOST_WEIGHTS],
    /// Bit i: whether number i is of the second type of a pair.
    second: u32,
}
const _: () = assert!(size_of::<Weights>() == 88);

// SAFETY: `repr(C)` without padding of the compiler's, laid out as the kernel's struct.
unsafe impl KernelArg for Weights {}

impl Default for Weights {
    fn default() -> Self {
        Self {
            of: [DevicePtr::NULL; MOST_WEIGHTS],
            out: [DevicePtr::NULL; MOST_WEIGHTS],
            bias: [DevicePtr::NULL; MOST_WEIGHTS],
            rows: [0; MOST_WEIGHTS],
            second: 0,
        }
    }
}

impl Weights {
    /// With the `n` rows of `w` as number `i`.
    fn with(mut self, i: usize, w: &QRocmStorage, n: usize, out: &RocmStorage) -> Result<Self> {
        let Ok(rows) = u32::try_from(n) else {
            crate::bail!("quantized matmul: {n} rows of the weights are more than a kernel counts")
        };
        (self.of[i], self.out[i], self.rows[i]) = (w.ptr(), out.ptr_at(0), rows);
        Ok(self)
    }
}

/// A vector kernel of product.hip.
struct Vector {
    /// The rows of activations that it is compiled for, as they stand in its name.
    columns: &'static str,
    /// Rows of the weights of a workgroup: `VecShape` of vector.h.
    rows: usize,
}

/// `PRODUCT_ROWS` of vector.h, on AMD and on NVIDIA.
const PRODUCT_ROWS: [[usize; 4]; 2] = [[4, 4, 4, 4], [8, 8, 4, 4]];

impl Vector {
    fn of(target: &str, rows: usize) -> Self {
        let (i, columns) = match rows {
            1 => (0, "1"),
            2 => (1, "2"),
            3 | 4 => (2, "4"),
            _ => (3, "8"),
        };
        let rows = PRODUCT_ROWS[usize::from(target.starts_with("sm_"))][i];
        Self { columns, rows }
    }
}

/// The product of `p.rows` rows of `x`, from element `start` on, with quantized weights of the format `name`; the result in
/// the type of the activations. `p.k` is a whole number of blocks and nothing is empty.
pub(super) fn product(
    w: &QRocmStorage,
    name: &'static str,
    p: &Product,
    x: &RocmStorage,
    start: usize,
) -> Result<RocmStorage> {
    let tile = match p.rows <= MOST_VECTOR_ROWS {
        true => None,
        false => Some(crossover(w.device()).choose(units(w.device()), p)),
    };
    let activations = Activations::of(x, start, p.rows, p.k)?;
    multiply(tile, w, name, p, &activations, x.dtype())
}

fn units(device: &RocmDevice) -> usize {
    device.properties().compute_units as usize
}

/// The product by one of the tiles, not cut, whatever else the size would take.
#[cfg(test)]
pub(super) fn product_by(
    tile: Option<&'static Tile>,
    w: &QRocmStorage,
    name: &'static str,
    p: &Product,
    x: DevicePtr,
    dtype: DType,
) -> Result<RocmStorage> {
    let buffer = Activations::convert(w.device(), x, dtype, p.rows, p.k)?;
    let buffer = Arc::new(buffer);
    let tile = tile.map(|tile| (tile, Parts::whole(p)));
    multiply(tile, w, name, p, &Activations { buffer }, dtype)
}

/// The product by tiles or, without one, by the vector kernel, which takes up to [`MOST_VECTOR_ROWS`] rows.
fn multiply(
    tile: Option<(&'static Tile, Parts)>,
    w: &QRocmStorage,
    name: &'static str,
    p: &Product,
    x: &Activations,
    dtype: DType,
) -> Result<RocmStorage> {
    let device = w.device();
    let out = RocmStorage::uninit(device, p.rows * p.n, dtype)?;
    if let Some((tile, parts)) = tile {
        // SAFETY: as below.
        unsafe { tile.multiply(w, name, p, parts, x.ptr(), &out) }?;
        return Ok(out);
    }
    let weights = Weights::default().with(0, w, p.n, &out)?;
    vector(device, Formats::One(name), &weights, p, x, dtype)?;
    Ok(out)
}

/// One of the weights that are multiplied together.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) w: &'a QRocmStorage,
    /// Rows of the weights.
    pub(super) n: usize,
    /// What is added to each row's products, of the results' type; or null.
    pub(super) bias: DevicePtr,
}

/// The products of up to [`MOST_WEIGHTS`] weights in one launch of a vector kernel: of one type or, with one row, of two that
/// have a kernel together. `k` is a whole number of blocks, `rows` 1 to [`MOST_VECTOR_ROWS`], nothing is empty. The activations
/// begin at element `start` of `x`; biases and results are in `dtype`.
pub(super) fn products(
    parts: &[Part],
    rows: usize,
    k: usize,
    (x, start): (&RocmStorage, usize),
    dtype: DType,
) -> Result<Vec<RocmStorage>> {
    let device = x.device();
    let Some(formats) = Formats::of(parts.iter().map(|part| part.w.dtype)) else {
        crate::bail!("quantized products: no weights, or of types without a kernel")
    };
    let activations = Activations::of(x, start, rows, k)?;
    let (mut weights, mut outs) = (Weights::default(), Vec::with_capacity(parts.len()));
    for (i, part) in parts.iter().enumerate() {
        let out = RocmStorage::uninit(device, rows * part.n, dtype)?;
        weights = weights.with(i, part.w, part.n, &out)?;
        weights.bias[i] = part.bias;
        weights.second |= u32::from(formats.is_second(part.w.dtype)) << i;
        outs.push(out);
    }
    let n = parts.iter().map(|part| part.n).sum();
    vector(
        device,
        formats,
        &weights,
        &Product { rows, n, k },
        &activations,
        dtype,
    )?;
    Ok(outs)
}

/// A vector kernel; `p.n` counts the rows of all weights.
fn vector(
    device: &RocmDevice,
    formats: Formats,
    weights: &Weights,
    p: &Product,
    x: &Activations,
    dtype: DType,
) -> Result<()> {
    let vector = Vector::of(&device.properties().target, p.rows);
    let (op, name, columns) = match formats {
        Formats::One(name) => ("vec", name, vector.columns),
        Formats::Two(pair) if p.rows == 1 => ("pair", pair.name, ""),
        Formats::Two(_) => crate::bail!("quantized products: two types with {} rows", p.rows),
    };
    let launch = device.launch(&kernels::QUANTIZED_PRODUCT, op, name, columns)?;
    let groups = weights
        .rows
        .iter()
        .map(|n| (*n as usize).div_ceil(vector.rows));
    let launch = launch.groups(groups.sum())?.block(WORKGROUP);
    let launch = launch.arg(*weights).arg(x.ptr()).int("k", p.k / SEGMENT)?;
    // Those of a pair have a row, and CUDA's driver refuses to pass more than a kernel takes.
    let launch = match formats {
        Formats::One(_) => launch.int("rows", p.rows)?,
        Formats::Two(_) => launch,
    };
    let launch = launch.arg(float_type(dtype)?);
    // SAFETY: `p` was checked against the weights, the activations and the results have its sizes.
    unsafe { launch.run() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What host and device share stands in both languages.
    #[test]
    fn constants_agree_with_the_kernels() {
        const FOLDER: &str = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../candle-kernels/src/hip/quantized/"
        );
        let source = |file: &str| std::fs::read_to_string(format!("{FOLDER}{file}")).unwrap();
        let (activations, product, vector, quantize) = (
            source("activations.h"),
            source("product.hip"),
            source("vector.h"),
            source("quantize.hip"),
        );
        let holds = |text: &str, name: &str, value: u32| {
            assert!(
                text.contains(&format!("constexpr unsigned {name} = {value};")),
                "{name}"
            );
        };
        holds(&activations, "SEGMENT", SEGMENT as u32);
        assert!(activations.contains(&format!("ACTIVATION_BYTES == {ACTIVATION_BYTES}")));
        holds(&activations, "ACTIVATION_LINE", ACTIVATION_LINE as u32);
        let lines = vector.lines();
        let tables: Vec<_> = lines.filter(|l| l.contains(" PRODUCT_ROWS[] = ")).collect();
        for (target, table) in [("gfx1100", tables[1]), ("sm_90", tables[0])] {
            let rows = [1, 2, 4, 8].map(|columns| {
                let vector = Vector::of(target, columns);
                assert_eq!(vector.columns, columns.to_string());
                vector.rows.to_string()
            });
            let line = format!(
                "constexpr unsigned PRODUCT_ROWS[] = {{{}}};",
                rows.join(", ")
            );
            assert_eq!(table, line, "{target}");
        }
        holds(&quantize, "ACTIVATION_WARPS", ACTIVATION_WARPS);
        holds(&product, "MOST_WEIGHTS", MOST_WEIGHTS as u32);
        holds(&product, "WARPS", WARPS);
    }
}
