//! Dense matrix products.
use super::copy::Contiguous;
use super::error::OrRocm;
use super::{kernel_suffix, kernels, RocmError, RocmStorage};
use crate::backend::BackendStorage;
use crate::{DType, Layout, Result};
use candle_hip::KernelArg;
use kernels::gemm::{Args, Problem, Strides};

/// `Args`, as a kernel's argument.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct GemmArgs(Args);

// SAFETY: `Args` is `repr(C)` and, as its own tests hold, laid out like the kernel's struct.
unsafe impl KernelArg for GemmArgs {}

/// The strides of a batch of matrices whose batch dimensions are one step apart, or `None` when no single step leads
/// from each matrix to the next (a broadcast over an outer dimension, say).
fn strides(l: &Layout) -> Option<Strides> {
    let rank = l.dims().len();
    let (batch_dims, batch_strides) = (&l.dims()[..rank - 2], &l.stride()[..rank - 2]);
    let mut batch = None;
    let mut span = 1;
    for (&dim, &stride) in batch_dims.iter().zip(batch_strides).rev() {
        if dim == 1 {
            continue;
        }
        match batch {
            None => batch = Some(stride),
            Some(step) if stride == step * span => {}
            Some(_) => return None,
        }
        span *= dim;
    }
    Some(Strides {
        row: l.stride()[rank - 2] as i64,
        column: l.stride()[rank - 1] as i64,
        batch: batch.unwrap_or(0) as i64,
    })
}

/// `lhs[b, m, k]` × `rhs[b, k, n]`, contiguous. Any strides are taken as they are; only an operand whose batch
/// dimensions cannot be walked in equal steps is copied first.
pub(super) fn matmul(
    lhs: &RocmStorage,
    rhs: &RocmStorage,
    (b, m, n, k): (usize, usize, usize, usize),
    lhs_l: &Layout,
    rhs_l: &Layout,
) -> Result<RocmStorage> {
    let (device, dtype) = (lhs.device(), lhs.dtype());
    if rhs.dtype() != dtype {
        let (lhs, rhs, op) = (dtype, rhs.dtype(), "matmul");
        return Err(crate::Error::DTypeMismatchBinaryOp { lhs, rhs, op }.bt());
    }
    if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16 | DType::F64) {
        return Err(RocmError::UnsupportedDType {
            dtype,
            op: "matmul",
        })
        .rocm();
    }
    let (lhs, lhs_strides) = operand(lhs, lhs_l)?;
    let (rhs, rhs_strides) = operand(rhs, rhs_l)?;

    let out = RocmStorage::uninit(device, b * m * n, dtype)?;
    let problem = Problem {
        batches: b,
        m,
        n,
        k,
        a: lhs_strides,
        b: rhs_strides,
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
        return Ok(out);
    };
    let (first, second) = match plan.swap {
        true => (rhs.ptr(), lhs.ptr()),
        false => (lhs.ptr(), rhs.ptr()),
    };
    let launch = device.launch(
        &kernels::GEMM,
        plan.prefix,
        kernel_suffix(dtype, "matmul")?,
        "",
    )?;
    let launch = launch
        .arg(first)
        .arg(second)
        .arg(out.ptr_at(0))
        .arg(GemmArgs(plan.args));
    // SAFETY: the strides are those of the layouts, whose elements lie within their storages; C is contiguous.
    unsafe { launch.geometry(plan.grid, plan.block).run() }?;
    Ok(out)
}

/// An operand's strides and where its elements are.
fn operand(x: &RocmStorage, l: &Layout) -> Result<(Contiguous, Strides)> {
    if let Some(strides) = strides(l) {
        return Ok((Contiguous::InPlace(x.ptr(l)), strides));
    }
    let copy = Contiguous::of(x, l)?;
    let strides = strides(&Layout::contiguous(l.shape()));
    let missing = || RocmError::from("a contiguous layout has one step".to_string());
    Ok((copy, strides.ok_or_else(missing).rocm()?))
}
