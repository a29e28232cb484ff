//! Products of many rows of activations for which the weights are converted first: to bf16, for the dense product on matrix
//! cores, or from a short type to f32.
//!
//! bf16, because it has f32's range: f16 would lose weights and activations below 6e-8 and above 65504. Both sides are
//! rounded by at most 1/512, so each product of two is off by less than 1/255: no more than with activations in int8.
use super::own::{Product, DENSE_TILE};
use super::tile::crossover;
use super::QRocmStorage;
use crate::backend::BackendStorage;
use crate::rocm_backend::hip::{DevicePtr, KernelArg};
use crate::rocm_backend::{cast_elements, kernels, OrRocm, RocmError};
use crate::{DType, Layout, Result, RocmDevice, RocmStorage};
use kernels::gemm::{on_cores, Args, Problem, Strides};

/// The most memory that dequantized weights take for the time of a product: what 8192 × 16384 need.
const MOST_BYTES: usize = 256 << 20;

/// Whether this path executes less than the tiles. Activations in f16 would have to be converted before and after.
pub(super) fn pays(device: &RocmDevice, p: &Product, dtype: DType) -> bool {
    let enough = crossover(device)
        .dense_from
        .is_some_and(|from| p.rows >= from);
    let fits = p.n * p.k * size_of::<u16>() <= MOST_BYTES;
    // Fewer rows of weights than a tile has would be computed transposed, by vector kernels.
    enough && fits && p.n >= 64 && matches!(dtype, DType::F32 | DType::BF16)
}

/// Whether dense weights are copied in f32 for the time of a product with f32: exactly what `dense_tile` multiplies, but by
/// the dense product, which is faster by more than the copy takes where it is read for more than one tile of activations.
pub(super) fn widening_pays(p: &Product, dtype: DType) -> bool {
    let fits = p.n * p.k * size_of::<f32>() <= MOST_BYTES;
    dtype == DType::F32 && p.rows > DENSE_TILE.columns && fits
}

/// `Args`, as a kernel's argument.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct GemmArgs(Args);

// SAFETY: `Args` is `repr(C)` and, as its own tests hold, laid out like the kernel's struct.
unsafe impl KernelArg for GemmArgs {}

/// The product of contiguous activations; the result in their type. [`pays`] holds.
pub(super) fn product(
    w: &QRocmStorage,
    p: &Product,
    x: &RocmStorage,
    l: &Layout,
) -> Result<RocmStorage> {
    let weights = w.dequantize_to(p.n * p.k, DType::BF16)?;
    if x.dtype() == DType::BF16 {
        let lhs = Layout::contiguous_with_offset((p.rows, p.k), l.start_offset());
        let rhs = Layout::new((p.k, p.n).into(), vec![1, p.k], 0);
        return x.matmul(&weights, (1, p.rows, p.n, p.k), &lhs, &rhs);
    }
    let device = w.device();
    let from = x.contiguous_ptr(l, "quantized matmul")?;
    let elements = Layout::contiguous(p.rows * p.k);
    let x = cast_elements(device, from, DType::F32, &elements, DType::BF16)?;
    let out = RocmStorage::uninit(device, p.rows * p.n, DType::F32)?;
    // SAFETY: both operands hold whole matrices of bf16, the result its elements in f32.
    unsafe { f32_of_bf16(device, p, x.ptr_at(0), weights.ptr_at(0), out.ptr_at(0)) }?;
    Ok(out)
}

/// Queues the dense product of `x` `[rows, k]` and the transposed `w` `[n, k]`, bf16, with the sums as they are: f32.
///
/// # Safety
/// The addresses are those of whole matrices, `out` of rows × n f32 elements.
unsafe fn f32_of_bf16(
    device: &RocmDevice,
    p: &Product,
    x: DevicePtr,
    w: DevicePtr,
    out: DevicePtr,
) -> Result<()> {
    let matrix = |row: usize, column: usize| Strides {
        row: row as i64,
        column: column as i64,
        batch: (p.rows * p.n) as i64,
    };
    let problem = Problem {
        batches: 1,
        m: p.rows,
        n: p.n,
        k: p.k,
        a: matrix(p.k, 1),
        b: matrix(1, p.k),
        c: matrix(p.n, 1),
    };
    let plan = problem
        .plan(on_cores(&device.properties().target, "bf16"))
        .map_err(|e| RocmError::from(e.to_string()));
    let Some(mut plan) = plan.rocm()? else {
        return Ok(());
    };
    let parts = plan.parts();
    let room = match &parts {
        // A product in parts leaves them in f32. One part of several, as long as all of k, is the whole.
        None => {
            (plan.args.splits, plan.args.split_depth) = (2, plan.args.k);
            None
        }
        Some(parts) => Some(RocmStorage::uninit(device, parts.room, DType::F32)?),
    };
    let into = room.as_ref().map_or(out, |room| room.ptr_at(0));
    let launch = device.launch(&kernels::GEMM, plan.prefix, "bf16", "")?;
    let launch = launch.arg(x).arg(w).arg(into).arg(GemmArgs(plan.args));
    // SAFETY: the caller's promise; only workgroups of the first part are launched where it is the whole.
    unsafe { launch.geometry(plan.grid, plan.block).run() }?;
    let Some(parts) = parts else {
        return Ok(());
    };
    let launch = device.launch(&kernels::GEMM, "gemm_join", "f32", "")?;
    let launch = launch.arg(into).arg(out);
    let launch = launch.arg(parts.elements).arg(parts.splits);
    // SAFETY: the launch before fills the room; the result has a part's elements.
    unsafe { launch.geometry(parts.grid, plan.block).run() }
}
