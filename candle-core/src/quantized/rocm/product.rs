//! Products of activations with quantized weights.
//!
//! | activations | kernel |
//! | --- | --- |
//! | 1 to 8 rows | `mul_mat_vec`: a workgroup per row (or two) of the weights, activations in Q8_1 |
//! | more | `mul_mat`: tiles, activations in Q8_1 |
//! | a type without these | weights dequantized, then the dense product |
//!
//! "Rows" of activations are the columns of the kernels, which see the product transposed.
use super::types::{self, ByColumns, MOST_VECTOR_COLUMNS};
use super::{QRocmStorage, MATRIX_ROW_PADDING};
use crate::backend::BackendStorage;
use crate::quantized::GgmlDType;
use crate::rocm_backend::{kernels, RocmBuffer, RocmError};
use crate::{DType, Layout, Result, RocmStorage, Shape};
use candle_hip::DevicePtr;
use std::sync::atomic::{AtomicBool, Ordering};

/// Lanes that the kernels call a warp: a wave32, or half of a wave64.
const WARP: u32 = 32;
const QUANTIZE_THREADS: usize = 256;
/// HIP's smallest limit of a grid in y over all targets.
const MOST_GRID_Y: usize = u16::MAX as usize;

static FORCE_DMMV: AtomicBool = AtomicBool::new(false);

/// Makes single rows of activations take the kernel that multiplies in f32 instead of quantizing them first, and
/// more rows the dense product: slower and more precise. For measurements and comparisons.
pub fn set_force_dmmv(force: bool) {
    FORCE_DMMV.store(force, Ordering::Relaxed)
}

/// `[.., k]` × transposed `[n, k]`.
struct Product {
    rows: usize,
    n: usize,
    k: usize,
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
    if product.rows * n == 0 {
        return Ok((RocmStorage::uninit(w.device(), 0, x.dtype())?, out_shape));
    }
    let out = match x.dtype() {
        DType::F32 => forward_f32(w, &product, x, l)?,
        DType::F16 | DType::BF16 => {
            let contiguous = Layout::contiguous(l.shape());
            let wide = x.to_dtype(l, DType::F32)?;
            let out = forward_f32(w, &product, &wide, &contiguous)?;
            out.to_dtype(&Layout::contiguous(&out_shape), x.dtype())?
        }
        dtype => {
            return Err(RocmError::UnsupportedDType {
                dtype,
                op: "quantized matmul",
            }
            .into())
        }
    };
    Ok((out, out_shape))
}

fn forward_f32(w: &QRocmStorage, p: &Product, x: &RocmStorage, l: &Layout) -> Result<RocmStorage> {
    let kernels = types::row(w.dtype);
    let whole_blocks = p.k % w.dtype.block_size() == 0;
    let x_ptr = x.contiguous_ptr(l, "quantized matmul")?;
    if FORCE_DMMV.load(Ordering::Relaxed) {
        return match kernels.dequantize_mul_mat_vec {
            Some(kernel) if p.rows == 1 && whole_blocks => {
                dequantize_mul_mat_vec(w, p, x_ptr, kernel)
            }
            _ => dense(w, p, x, l),
        };
    }
    match (&kernels.mul_mat_vec, kernels.mul_mat) {
        (Some(names), _) if p.rows <= MOST_VECTOR_COLUMNS && whole_blocks => {
            mul_mat_vec(w, p, x_ptr, names)
        }
        (_, Some(tile)) if whole_blocks => mul_mat(w, p, x_ptr, tile),
        _ => dense(w, p, x, l),
    }
}

/// The product with dequantized weights, for types and shapes that no quantized kernel takes.
fn dense(w: &QRocmStorage, p: &Product, x: &RocmStorage, l: &Layout) -> Result<RocmStorage> {
    let weights = w.dequantize(p.n * p.k)?;
    let lhs = Layout::contiguous_with_offset((p.rows, p.k), l.start_offset());
    let rhs = Layout::new((p.k, p.n).into(), vec![1, p.k], 0);
    x.matmul(&weights, (1, p.rows, p.n, p.k), &lhs, &rhs)
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
    let launch = launch.arg(w.data.buffer.ptr()).arg(x).arg(out.ptr_at(0));
    let launch = launch.int("columns", p.k)?.int("rows", p.n)?;
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
    let (mut rows_per_group, _) = vector_geometry(p.rows);
    // A workgroup of two rows stores both without asking how many there are: an odd number of rows goes column by
    // column, with the kernel that takes one row.
    let step = if p.n % rows_per_group == 0 { p.rows } else { 1 };
    for first in (0..p.rows).step_by(step) {
        let warps;
        (rows_per_group, warps) = vector_geometry(step);
        let launch = w
            .device()
            .launch(&kernels::QUANTIZED, names[step - 1], "", "")?;
        let launch = launch
            .arg(w.data.buffer.ptr())
            .arg(x.row(first))
            .arg(out.ptr_at(first * p.n));
        let launch = launch.int("columns", p.k)?.int("rows", p.n)?;
        let launch = launch.int("padded k", x.k_padded)?.int("rows", p.n)?;
        let groups = p.n.div_ceil(rows_per_group) as u32;
        // SAFETY: `step` columns of Q8_1 activations from `first` on, n rows of weights, and a result for each pair.
        unsafe { launch.geometry([groups, 1, 1], [WARP, warps, 1]).run() }?;
    }
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
            .arg(w.data.buffer.ptr())
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

pub(super) fn indexed_moe(
    w: &QRocmStorage,
    shape: &Shape,
    x: &RocmStorage,
    x_l: &Layout,
    ids: &RocmStorage,
    ids_l: &Layout,
) -> Result<(RocmStorage, Shape)> {
    let op = "indexed_moe_forward";
    let Some(kernel) = types::row(w.dtype).indexed_moe else {
        crate::bail!(
            "{op}: quantized type {:?} is not supported on rocm",
            w.dtype
        )
    };
    let (experts, n, k) = shape.dims3()?;
    let (batch, inputs, x_k) = x_l.shape().dims3()?;
    let (ids_batch, picked) = ids_l.shape().dims2()?;
    if x_k != k
        || ids_batch != batch
        || (inputs != 1 && inputs != picked)
        || k % w.dtype.block_size() != 0
    {
        let (x, ids) = (x_l.shape(), ids_l.shape());
        crate::bail!("{op}: input {x:?} and ids {ids:?} do not fit weights of shape {shape:?}")
    }
    w.expect_elements(experts * n * k, op)?;
    let x_ptr = x.expect_dtype(DType::F32, op)?.contiguous_ptr(x_l, op)?;
    let ids_ptr = ids
        .expect_dtype(DType::U32, op)?
        .contiguous_ptr(ids_l, op)?;
    let out = RocmStorage::uninit(w.device(), batch * picked * n, DType::F32)?;
    let out_shape = Shape::from((batch, picked, n));
    if batch * picked * n == 0 {
        return Ok((out, out_shape));
    }
    if batch > MOST_GRID_Y || picked > MOST_GRID_Y {
        crate::bail!("{op}: {batch} tokens with {picked} experts each are more than {MOST_GRID_Y}")
    }
    let quantized = quantize_q8_1(w, x_ptr, batch * inputs, k)?;
    let launch = w.device().launch(&kernels::QUANTIZED, kernel, "", "")?;
    let launch = launch
        .arg(w.data.buffer.ptr())
        .arg(quantized.buffer.ptr())
        .arg(ids_ptr)
        .arg(out.ptr_at(0));
    let launch = launch
        .int("n", n)?
        .int("k", k)?
        .int("batch", batch)?
        .int("experts per token", picked)?;
    let launch = launch
        .int("padded k", quantized.k_padded)?
        .int("inputs per token", inputs)?;
    let launch = launch.geometry([n as u32, batch as u32, picked as u32], [WARP, 4, 1]);
    // SAFETY: one workgroup for each output element; sizes were checked against each other above.
    unsafe { launch.run() }?;
    Ok((out, out_shape))
}
