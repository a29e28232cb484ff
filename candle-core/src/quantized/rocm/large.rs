//! Products of many rows of activations for which the weights are converted first: to bf16, for the dense product on matrix
//! cores, or from a short type to f32.
//!
//! bf16, because it has f32's range: f16 would lose weights and activations below 6e-8 and above 65504. Both sides are
//! rounded by at most 1/512, so each product of two is off by less than 1/255: no more than with activations in int8.
use super::crossover::crossover;
use super::own::Product;
use super::QRocmStorage;
use crate::backend::BackendStorage;
use crate::rocm_backend::hip::DevicePtr;
use crate::rocm_backend::{cast_elements, kernels, matmul};
use crate::{DType, Layout, Result, RocmDevice, RocmStorage};
use kernels::gemm::Tiles;

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

/// Rows of f32 from which dense weights of another type are copied in f32 for the time of a product, where matrix cores
/// multiply f32: more than one tile of activations that the product of two types would widen them for.
const WIDENED_FROM: usize = 65;

/// Whether dense weights are copied in f32.
pub(super) fn widening_pays(device: &RocmDevice, p: &Product, dtype: DType) -> bool {
    let cores = Tiles::of(&device.properties().target, "f32") == Tiles::OnCores;
    let fits = p.n * p.k * size_of::<f32>() <= MOST_BYTES;
    cores && dtype == DType::F32 && p.rows >= WIDENED_FROM && fits
}

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
    let tiles = Tiles::of(&device.properties().target, "bf16");
    let Some(plan) = matmul::plan(&p.dense(), tiles)? else {
        return Ok(());
    };
    let kernel = (&kernels::GEMM, ["bf16", ""]);
    let plan = plan.leaving_sums();
    // SAFETY: the caller's promise.
    unsafe { matmul::launch(device, kernel, &plan, (x, w), (out, DType::F32)) }
}
