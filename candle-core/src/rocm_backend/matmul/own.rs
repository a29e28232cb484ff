//! Products by the kernels of candle-kernels' gemm.hip.
use super::super::error::OrRocm;
use super::super::{kernel_suffix, kernels, RocmDevice, RocmError, RocmStorage};
use super::Product;
use crate::{DType, Result};
use candle_hip::{DevicePtr, KernelArg};
use kernels::gemm::{Args, Plan, Problem, Strides, Tiles};
use kernels::Module;

/// `Args`, as a kernel's argument.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct GemmArgs(Args);

// SAFETY: `Args` is `repr(C)` and, as its own tests hold, laid out like the kernel's struct.
unsafe impl KernelArg for GemmArgs {}

/// The plan for a product; `None` when there is nothing to launch.
pub(crate) fn plan(problem: &Problem, tiles: Tiles) -> Result<Option<Plan>> {
    let plan = problem.plan(tiles);
    plan.map_err(|e| RocmError::Message(e.to_string())).rocm()
}

/// Queues what a plan says: the kernel `<prefix>_<suffix>_<suffix>` (one may be empty) of a module, and what adds the parts of a
/// product that is cut along k. `c` has the type `dtype`, in which the parts' sum is stored.
///
/// # Safety
/// The plan is that of operands at `a` and `b` whose strides stay within live memory, and `c` has room for its elements.
pub(crate) unsafe fn launch(
    device: &RocmDevice,
    (module, suffixes): (&'static Module, [&'static str; 2]),
    plan: &Plan,
    (a, b): (DevicePtr, DevicePtr),
    (c, dtype): (DevicePtr, DType),
) -> Result<()> {
    let (first, second) = match plan.swap {
        true => (b, a),
        false => (a, b),
    };
    let parts = plan.parts();
    let room = match &parts {
        None => None,
        Some(parts) => {
            let sums = match dtype {
                DType::F64 => DType::F64,
                _ => DType::F32,
            };
            Some(RocmStorage::uninit(device, parts.room, sums)?)
        }
    };
    let into = room.as_ref().map_or(c, |room| room.ptr_at(0));
    let launch = device.launch(module, plan.prefix, suffixes[0], suffixes[1])?;
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
    let suffix = kernel_suffix(dtype, "matmul")?;
    let launch = device.launch(&kernels::GEMM, "gemm_join", suffix, "")?;
    let launch = launch.arg(into).arg(c);
    let launch = launch.arg(parts.elements).arg(parts.splits);
    // SAFETY: the launch before fills all of the room; C is contiguous, with room for a part's elements.
    unsafe { launch.geometry(parts.grid, plan.block).run() }
}

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
    let tiles = Tiles::of(&device.properties().target, suffix);
    let Some(plan) = plan(&problem, tiles)? else {
        return Ok(());
    };
    let kernel = (&kernels::GEMM, [suffix, ""]);
    let operands = (product.a.0, product.b.0);
    // SAFETY: the caller's promise.
    unsafe { launch(device, kernel, &plan, operands, (product.c, product.dtype)) }
}
