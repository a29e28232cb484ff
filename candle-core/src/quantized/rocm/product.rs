//! Products of activations with quantized weights.
//!
//! | weights | activations | kernel |
//! | --- | --- | --- |
//! | quantized | 1 to 8 rows | own `vec`: a workgroup for each few rows of the weights, activations in int8 |
//! | quantized | more | own `tile_narrow`, `tile`, `tile_medium`, `tile_large` (crossover.rs chooses), activations in int8 |
//! | quantized | hundreds, where crossover.rs says so | weights dequantized to bf16, dense product on matrix cores (large.rs) |
//! | F32, F16, BF16 | of the same type | the dense product |
//! | F16, BF16 | more than 64 rows of f32, on CDNA | weights widened, then the dense product |
//! | F32, F16, BF16 | of another type | the dense product of two types: no converted copy |
//! | quantized, rows that are no whole blocks | any | weights dequantized, then the dense product |
//!
//! Activations and results are f32, f16 or bf16, without a conversion before or after.
//!
//! Candle's own kernels, translated from CUDA (`mul_mat_vec_*`, `mul_mat_*`), take the same f32 products where they are
//! right and are chosen by [`set_product_kernels`]. They are not the default: they execute more instructions (counted
//! on the emulator for 512 × 2048 weights, gfx1100 and gfx90a: 1.4 to 3.4 times ours for one or two rows, 0.9 to 2.3
//! times for eight), `mul_mat_q4_K` and others spill registers on RDNA, Q8_1 flushes activations below 1e-5 to zero and overflows above 8e6, and a NaN scale at a row's start reaches
//! the row before it.
//!
//! "Rows" of activations are the columns of the translated kernels, which see the product transposed.
use super::dense;
use super::large;
use super::own::{self, Product, MOST_GRID_Y};
use super::types::{self, ByColumns, MOST_VECTOR_COLUMNS};
use super::{QRocmStorage, MATRIX_ROW_PADDING};
use crate::backend::BackendStorage;
use crate::quantized::GgmlDType;
use crate::rocm_backend::{kernels, RocmBuffer, RocmError};
use crate::{DType, Layout, Result, RocmStorage, Shape};
use candle_hip::DevicePtr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Lanes that the kernels call a warp: a wave32, or half of a wave64.
const WARP: u32 = 32;
const QUANTIZE_THREADS: usize = 256;
static FORCE_DMMV: AtomicBool = AtomicBool::new(false);

/// Makes single rows of activations take the kernel that multiplies in f32 instead of quantizing them first, and
/// more rows the dense product: slower and more precise. For measurements and comparisons.
pub fn set_force_dmmv(force: bool) {
    FORCE_DMMV.store(force, Ordering::Relaxed)
}

/// Which kernels multiply with quantized weights, where there is a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ProductKernels {
    /// Ours, for every type and shape.
    Own,
    /// Candle's, translated from CUDA, for f32 activations wherever they are right; else ours.
    Translated,
}

static PRODUCT_KERNELS: AtomicU8 = AtomicU8::new(ProductKernels::Own as u8);

/// Chooses the kernels of all products from now on. For measurements and comparisons.
pub fn set_product_kernels(kernels: ProductKernels) {
    PRODUCT_KERNELS.store(kernels as u8, Ordering::Relaxed)
}

pub(super) fn forward(
    w: &QRocmStorage,
    shape: &Shape,
    x: &RocmStorage,
    l: &Layout,
) -> Result<(RocmStorage, Shape)> {
    let (n, k) = shape.dims2()?;
    let (last, outer) = match l.dims().split_last() {
        Some((last, outer)) if !outer.is_empty() => (*last, outer),
        _ => crate::bail!(
            "quantized matmul: the input {:?} has fewer than two dimensions",
            l.shape()
        ),
    };
    if last != k {
        crate::bail!(
            "quantized matmul: the input {:?} does not fit weights of shape {shape:?}",
            l.shape()
        )
    }
    w.expect_elements(n * k, "quantized matmul")?;
    let product = Product {
        rows: outer.iter().product(),
        n,
        k,
    };
    let out_shape = Shape::from([outer, &[n]].concat());
    if !matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16) {
        return Err(RocmError::UnsupportedDType {
            dtype: x.dtype(),
            op: "quantized matmul",
        }
        .into());
    }
    if product.rows * n == 0 {
        return Ok((RocmStorage::uninit(w.device(), 0, x.dtype())?, out_shape));
    }
    let out = if l.is_contiguous() {
        dispatch(w, &product, x, l)?
    } else {
        let mut copy = RocmStorage::uninit(w.device(), l.shape().elem_count(), x.dtype())?;
        x.copy_strided_src(&mut copy, 0, l)?;
        dispatch(w, &product, &copy, &Layout::contiguous(l.shape()))?
    };
    Ok((out, out_shape))
}

/// The product of contiguous activations; neither side is empty.
fn dispatch(w: &QRocmStorage, p: &Product, x: &RocmStorage, l: &Layout) -> Result<RocmStorage> {
    let row = types::row(w.dtype);
    let x_ptr = x.contiguous_ptr(l, "quantized matmul")?;
    if let Some(dtype) = row.dense {
        if dtype == x.dtype() {
            return matmul(x, l, &w.data.storage, p);
        }
        return match large::widening_pays(w.device(), p, x.dtype()) {
            true => dequantized(w, p, x, l),
            false => dense::product(w, dtype, p, x_ptr, x.dtype()),
        };
    }
    // A tensor's rows are whole blocks; storage that was handed shapes of its own may not be.
    if !p.k.is_multiple_of(w.dtype.block_size()) {
        return dequantized(w, p, x, l);
    }
    if FORCE_DMMV.load(Ordering::Relaxed) {
        return match row.dequantize_mul_mat_vec {
            Some(kernel) if p.rows == 1 && x.dtype() == DType::F32 => {
                dequantize_mul_mat_vec(w, p, x_ptr, kernel)
            }
            _ => dequantized(w, p, x, l),
        };
    }
    let translated = PRODUCT_KERNELS.load(Ordering::Relaxed) == ProductKernels::Translated as u8;
    if x.dtype() == DType::F32 && translated {
        let (rows_per_group, _) = vector_geometry(p.rows);
        match (&row.mul_mat_vec, row.mul_mat) {
            // A workgroup of two rows reads and stores both without asking how many there are.
            (Some(names), _)
                if p.rows <= MOST_VECTOR_COLUMNS && p.n.is_multiple_of(rows_per_group) =>
            {
                return mul_mat_vec(w, p, x_ptr, names)
            }
            // A tile with rows to spare has several waves store the last one to the same place of the LDS, unordered.
            (_, Some(tile)) if p.rows > MOST_VECTOR_COLUMNS && p.n.is_multiple_of(tile.rows) => {
                return mul_mat(w, p, x_ptr, tile);
            }
            _ => {}
        }
    }
    match row.own {
        Some(_) if large::pays(w.device(), p, x.dtype()) => large::product(w, p, x, l),
        Some(name) => own::product(w, name, p, x, l.start_offset()),
        None => dequantized(w, p, x, l),
    }
}

/// Whether `dispatch` takes the vector kernel of own.rs.
pub(super) fn by_vector(w: &QRocmStorage, p: &Product) -> bool {
    types::row(w.dtype).own.is_some()
        && (1..=own::MOST_VECTOR_ROWS).contains(&p.rows)
        && p.n > 0
        && p.k > 0
        && p.k.is_multiple_of(w.dtype.block_size())
        && !FORCE_DMMV.load(Ordering::Relaxed)
        && PRODUCT_KERNELS.load(Ordering::Relaxed) == ProductKernels::Own as u8
        && w.expect_elements(p.n * p.k, "quantized matmul").is_ok()
}

/// The product with dequantized weights, in f32: for `set_force_dmmv`, and for rows that are no whole blocks.
fn dequantized(w: &QRocmStorage, p: &Product, x: &RocmStorage, l: &Layout) -> Result<RocmStorage> {
    let weights = w.dequantize(p.n * p.k)?;
    if x.dtype() == DType::F32 {
        return matmul(x, l, &weights, p);
    }
    let wide = x.to_dtype(l, DType::F32)?;
    let out = matmul(&wide, &Layout::contiguous(l.shape()), &weights, p)?;
    out.to_dtype(&Layout::contiguous(p.rows * p.n), x.dtype())
}

/// The product of operands of one type. `weights` may hold more than n × k elements.
fn matmul(x: &RocmStorage, l: &Layout, weights: &RocmStorage, p: &Product) -> Result<RocmStorage> {
    let lhs = Layout::contiguous_with_offset((p.rows, p.k), l.start_offset());
    let rhs = Layout::new((p.k, p.n).into(), vec![1, p.k], 0);
    x.matmul(weights, (1, p.rows, p.n, p.k), &lhs, &rhs)
}

/// `rows` rows of `k` f32 elements as Q8_1 blocks, each row padded with zeros.
struct Quantized {
    buffer: RocmBuffer,
    /// Elements of a padded row.
    k_padded: usize,
}

impl Quantized {
    fn row_bytes(&self) -> usize {
        self.k_padded / GgmlDType::Q8_1.block_size() * GgmlDType::Q8_1.type_size()
    }

    /// Address of the blocks of row number `row`.
    fn row(&self, row: usize) -> DevicePtr {
        self.buffer.ptr().offset(row * self.row_bytes())
    }
}

fn quantize_q8_1(w: &QRocmStorage, x: DevicePtr, rows: usize, k: usize) -> Result<Quantized> {
    let device = w.device();
    let k_padded = k.next_multiple_of(MATRIX_ROW_PADDING);
    let bytes = rows * k_padded / GgmlDType::Q8_1.block_size() * GgmlDType::Q8_1.type_size();
    let buffer = device.allocate(bytes)?;
    let quantized = Quantized { buffer, k_padded };
    for first in (0..rows).step_by(MOST_GRID_Y) {
        let chunk = MOST_GRID_Y.min(rows - first);
        let launch = device.launch(&kernels::QUANTIZED, "quantize_q8_1", "", "")?;
        let launch = launch
            .arg(x.offset(first * k * size_of::<f32>()))
            .arg(quantized.row(first));
        let launch = launch.int("k", k)?.int("padded k", k_padded)?;
        let grid = [k_padded.div_ceil(QUANTIZE_THREADS) as u32, chunk as u32, 1];
        let launch = launch.geometry(grid, [QUANTIZE_THREADS as u32, 1, 1]);
        // SAFETY: reads `chunk` rows of k floats, writes as many padded rows; all of them, so nothing is left unset.
        unsafe { launch.run() }?;
    }
    Ok(quantized)
}

fn dequantize_mul_mat_vec(
    w: &QRocmStorage,
    p: &Product,
    x: DevicePtr,
    kernel: &'static str,
) -> Result<RocmStorage> {
    let out = RocmStorage::uninit(w.device(), p.n, DType::F32)?;
    let launch = w.device().launch(&kernels::QUANTIZED, kernel, "", "")?;
    let launch = launch.arg(w.ptr()).arg(x).arg(out.ptr_at(0));
    let launch = launch.int("columns", p.k)?;
    // The one for Q5K is not told the rows, and CUDA's driver refuses to pass more than a kernel takes.
    let launch = match kernel {
        "dequantize_mul_mat_vec_q5_k" => launch,
        _ => launch.int("rows", p.n)?,
    };
    // SAFETY: one workgroup a row of the weights; `forward` checked that the storage holds n × k elements.
    unsafe { launch.geometry([p.n as u32, 1, 1], [WARP, 1, 1]).run() }?;
    Ok(out)
}

/// Geometry by number of columns: rows of the weights per workgroup and warps, as quantized.cu was written for.
fn vector_geometry(columns: usize) -> (usize, u32) {
    match columns {
        1 => (1, 4),
        2..=4 => (2, 4),
        _ => (2, 2),
    }
}

fn mul_mat_vec(
    w: &QRocmStorage,
    p: &Product,
    x: DevicePtr,
    names: &ByColumns,
) -> Result<RocmStorage> {
    let x = quantize_q8_1(w, x, p.rows, p.k)?;
    let out = RocmStorage::uninit(w.device(), p.rows * p.n, DType::F32)?;
    let (rows_per_group, warps) = vector_geometry(p.rows);
    let name = names[p.rows - 1];
    let launch = w.device().launch(&kernels::QUANTIZED, name, "", "")?;
    let launch = launch.arg(w.ptr()).arg(x.row(0)).arg(out.ptr_at(0));
    let launch = launch.int("columns", p.k)?.int("rows", p.n)?;
    let launch = launch.int("padded k", x.k_padded)?.int("rows", p.n)?;
    let groups = p.n.div_ceil(rows_per_group) as u32;
    // SAFETY: as many columns of Q8_1 activations as the kernel's name says, n rows of weights, a whole number of
    // workgroups of them, and a result for each pair.
    unsafe { launch.geometry([groups, 1, 1], [WARP, warps, 1]).run() }?;
    Ok(out)
}

fn mul_mat(w: &QRocmStorage, p: &Product, x: DevicePtr, tile: types::Tiled) -> Result<RocmStorage> {
    let x = quantize_q8_1(w, x, p.rows, p.k)?;
    let out = RocmStorage::uninit(w.device(), p.rows * p.n, DType::F32)?;
    let columns_per_launch = MOST_GRID_Y * tile.columns;
    for first in (0..p.rows).step_by(columns_per_launch) {
        let columns = columns_per_launch.min(p.rows - first);
        let launch = w
            .device()
            .launch(&kernels::QUANTIZED, tile.kernel, "", "")?;
        let launch = launch
            .arg(w.ptr())
            .arg(x.row(first))
            .arg(out.ptr_at(first * p.n));
        let launch = launch
            .int("k", p.k)?
            .int("rows", p.n)?
            .int("columns", columns)?;
        let launch = launch.int("padded k", x.k_padded)?.int("rows", p.n)?;
        let grid = [
            p.n.div_ceil(tile.rows) as u32,
            columns.div_ceil(tile.columns) as u32,
            1,
        ];
        // SAFETY: tiles beyond the last row or column are cut by the kernel; reads past a row's end stay within the
        // zeros behind the blocks and meet the zeros of the padded activations.
        unsafe { launch.geometry(grid, [WARP, 4, 1]).run() }?;
    }
    Ok(out)
}

/// The unit tests of quantized/cuda.rs, with its numbers: the translated kernels compute them on AMD too.
#[cfg(test)]
mod tests {
    use super::super::{crossover::Parts, tile};
    use super::*;
    use crate::backend::BackendDevice;
    use crate::RocmDevice;

    fn on_device(device: &RocmDevice, values: impl Iterator<Item = f32>) -> Result<RocmStorage> {
        device.storage_from_slice(&values.collect::<Vec<f32>>())
    }

    /// The values as Q4_0 and as activations.
    fn operands(count: usize, step: f32) -> Result<(QRocmStorage, RocmStorage)> {
        let device = RocmDevice::new(0)?;
        let y = on_device(&device, (0..count).map(|v| v as f32 * step))?;
        let mut xs = QRocmStorage::zeros(&device, count, GgmlDType::Q4_0)?;
        xs.quantize(&y)?;
        Ok((xs, y))
    }

    fn values(x: &RocmStorage) -> Result<Vec<f32>> {
        Ok(x.to_cpu_storage()?.as_slice::<f32>()?.to_vec())
    }

    /// Also holds the blocks against the definition: candle's CUDA test only launches.
    #[test]
    fn rocm_quantize_q8_1() -> Result<()> {
        let (xs, y) = operands(256, 1.)?;
        let quantized = quantize_q8_1(&xs, y.ptr_at(0), 1, 256)?;
        let mut bytes = vec![0u8; quantized.row_bytes()];
        quantized.buffer.copy_to_host(0, &mut bytes)?;
        assert_eq!(bytes.len(), 512 / 32 * 36);
        for (i, block) in bytes.chunks(36).enumerate() {
            let half = |at: usize| half::f16::from_le_bytes([block[at], block[at + 1]]);
            let largest = if i < 8 { (32 * i + 31) as f32 } else { 0. };
            let sum: usize = if i < 8 {
                (32 * i..32 * i + 32).sum()
            } else {
                0
            };
            assert_eq!(half(0), half::f16::from_f32(largest / 127.), "block {i}");
            assert_eq!(half(2), half::f16::from_f32(sum as f32), "block {i}");
            assert_eq!(block[35] as i8, if i < 8 { 127 } else { 0 }, "block {i}");
        }
        Ok(())
    }

    #[test]
    fn rocm_mmv_q8_1() -> Result<()> {
        let (xs, y) = operands(256, 1.)?;
        let (rows, n, k) = (1, 1, 256);
        let row = types::row(GgmlDType::Q4_0);
        let names = row.mul_mat_vec.as_ref().expect("Q4_0 has vector kernels");
        let out = mul_mat_vec(&xs, &Product { rows, n, k }, y.ptr_at(0), names)?;
        assert_eq!(values(&out)?, [5561664.5]);
        let kernel = row.dequantize_mul_mat_vec.expect("Q4_0 has this kernel");
        let out = dequantize_mul_mat_vec(&xs, &Product { rows, n, k }, y.ptr_at(0), kernel)?;
        assert_eq!(values(&out)?, [5561851.0]);
        Ok(())
    }

    /// The weights are filled up with zeros to a tile, see `dispatch`.
    #[test]
    fn rocm_mm_q8_1() -> Result<()> {
        let tile = types::row(GgmlDType::Q4_0).mul_mat.expect("Q4_0 has tiles");
        let (rows, n, k) = (4, tile.rows, 256);
        let device = RocmDevice::new(0)?;
        let values_of_rows = |count: usize| {
            let value = move |v: usize| if v < 4 * 256 { v as f32 / 4. } else { 0. };
            on_device(&device, (0..count * 256).map(value))
        };
        let (weights, y) = (values_of_rows(n)?, values_of_rows(rows)?);
        let mut xs = QRocmStorage::zeros(&device, n * k, GgmlDType::Q4_0)?;
        xs.quantize(&weights)?;
        let out = values(&mul_mat(&xs, &Product { rows, n, k }, y.ptr_at(0), tile)?)?;
        assert_eq!(out.len(), rows * n);
        for (row, column, expected) in [
            (0, 0, 347604.0),
            (0, 1, 888153.06),
            (1, 0, 869780.7),
            (1, 1, 2483145.0),
            (2, 3, 9407368.0),
            (3, 2, 9470856.0),
            (3, 3, 13138824.0),
        ] {
            assert_eq!(
                out[row * n + column],
                expected,
                "row {row}, column {column}"
            );
        }
        Ok(())
    }

    /// Rows whose bytes the kernels cannot count are refused before anything is allocated or launched.
    #[test]
    fn rows_that_are_too_long_are_refused() -> Result<()> {
        let (w, x) = operands(256, 1.)?;
        let refused = |outcome: Result<RocmStorage>, kernel: &str, k: usize| {
            let text = outcome.expect_err("too long").to_string();
            for part in [kernel, &format!("k is {k}, more than")] {
                assert!(text.contains(part), "{part}: {text}");
            }
        };
        let k = (1 << 31) + 32;
        let p = Product { rows: 1, n: 1, k };
        let product = own::product_by(None, &w, "q4_0", &p, x.ptr_at(0), DType::F32);
        refused(product, "quantize_activations", k);
        let k = (1 << 24) + 32;
        let p = Product { rows: 9, n: 1, k };
        // SAFETY: it is refused.
        let product =
            unsafe { tile::SMALL.multiply(&w, "q4_0", &p, Parts::whole(&p), x.ptr_at(0), &x) };
        refused(product.map(|()| x), "tile_q4_0", k);
        Ok(())
    }

    /// Rows of half a block, which no tensor has: the kernels stay within their memory all the same. On the emulator a
    /// read or write outside of it is an error.
    #[test]
    fn rocm_mm_q8_1_pad() -> Result<()> {
        let (rows, n, k) = (2048, 4, 16);
        let (_, y) = operands(rows * k, 1. / 256.)?;
        let xs = QRocmStorage::zeros(y.device(), n * k, GgmlDType::Q4_0)?;
        let tile = types::row(GgmlDType::Q4_0).mul_mat.expect("Q4_0 has tiles");
        let out = values(&mul_mat(&xs, &Product { rows, n, k }, y.ptr_at(0), tile)?)?;
        assert_eq!(out.len(), rows * n);
        Ok(())
    }
}
