//! Products by the kernels of candle-kernels' gemm.hip.
use super::super::error::OrRocm;
use super::super::{kernel_suffix, kernels, RocmDevice, RocmError, RocmStorage};
use super::Product;
use crate::{DType, Result};
use candle_hip::KernelArg;
use kernels::gemm::{on_cores, Args, Problem, Strides};

/// `Args`, as a kernel's argument.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct GemmArgs(Args);

// SAFETY: `Args` is `repr(C)` and, as its own tests hold, laid out like the kernel's struct.
unsafe impl KernelArg for GemmArgs {}

/// Queues the product.
///
/// # Safety
/// The operands' strides stay within live memory, and C has room for its elements.
pub(super) unsafe fn run(device: &RocmDevice, product: &Product) -> Result<()> {
    let Product { m, n, k, .. } = *product;
    let problem = Problem {
        batches: product.batches,
        m,
        n,
        k,
        a: product.a.1,
        b: product.b.1,
        c: Strides {
            row: n as i64,
            column: 1,
            batch: (m * n) as i64,
        },
    };
    let suffix = kernel_suffix(product.dtype, "matmul")?;
    let plan = problem
        .plan(on_cores(&device.properties().target, suffix))
        .map_err(|e| RocmError::Message(e.to_string()));
    let Some(plan) = plan.rocm()? else {
        return Ok(());
    };
    let (first, second) = match plan.swap {
        true => (product.b.0, product.a.0),
        false => (product.a.0, product.b.0),
    };
    let parts = plan.parts();
    let room = match &parts {
        None => None,
        Some(parts) => {
            let sums = match product.dtype {
                DType::F64 => DType::F64,
                _ => DType::F32,
            };
            Some(RocmStorage::uninit(device, parts.room, sums)?)
        }
    };
    let into = room.as_ref().map_or(product.c, |room| room.ptr_at(0));
    let launch = device.launch(&kernels::GEMM, plan.prefix, suffix, "")?;
    let launch = launch
        .arg(first)
        .arg(second)
        .arg(into)
        .arg(GemmArgs(plan.args));
    // SAFETY: the caller's promise; the room is what the plan asks for.
    unsafe { launch.geometry(plan.grid, plan.block).run() }?;
    let Some(parts) = parts else {
        return Ok(());
    };
    let launch = device.launch(&kernels::GEMM, "gemm_join", suffix, "")?;
    let launch = launch
        .arg(into)
        .arg(product.c)
        .arg(parts.elements)
        .arg(parts.splits);
    // SAFETY: the launch before fills all of the room; C is contiguous, with room for a part's elements.
    unsafe { launch.geometry(parts.grid, plan.block).run() }
}
