//! Products by the kernels of candle-kernels' gemm.hip.
use super::super::error::OrRocm;
use super::super::{kernel_suffix, kernels, RocmDevice, RocmError};
use super::Product;
use crate::Result;
use candle_hip::KernelArg;
use kernels::gemm::{Args, Problem, Strides};

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
    let plan = problem
        .plan()
        .map_err(|e| RocmError::Message(e.to_string()));
    let Some(plan) = plan.rocm()? else {
        return Ok(());
    };
    let (first, second) = match plan.swap {
        true => (product.b.0, product.a.0),
        false => (product.a.0, product.b.0),
    };
    let suffix = kernel_suffix(product.dtype, "matmul")?;
    let launch = device.launch(&kernels::GEMM, plan.prefix, suffix, "")?;
    let launch = launch
        .arg(first)
        .arg(second)
        .arg(product.c)
        .arg(GemmArgs(plan.args));
    // SAFETY: the caller's promise.
    unsafe { launch.geometry(plan.grid, plan.block).run() }
}
