//! Dense matrix products.
use super::error::OrRocm;
use super::{copy, kernel_suffix, kernels, RocmError, RocmStorage};
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
    let (mut lhs_copy, mut rhs_copy) = (None, None);
    let a = operand(lhs, lhs_l, &mut lhs_copy)?;
    let b_operand = operand(rhs, rhs_l, &mut rhs_copy)?;
    let c = Strides {
        row: n as i64,
        column: 1,
        batch: (m * n) as i64,
    };

    let out = RocmStorage::uninit(device, b * m * n, dtype)?;
    let problem = Problem {
        batches: b,
        m,
        n,
        k,
        a: a.1,
        b: b_operand.1,
        c,
    };
    let plan = problem
        .plan()
        .map_err(|e| RocmError::Message(e.to_string()));
    let Some(plan) = plan.rocm()? else {
        return Ok(out);
    };
    let (first, second) = if plan.swap {
        (b_operand.0, a.0)
    } else {
        (a.0, b_operand.0)
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

/// An operand's address and strides; `copy` holds a contiguous copy when one is needed.
fn operand(
    x: &RocmStorage,
    l: &Layout,
    copy_of: &mut Option<RocmStorage>,
) -> Result<(candle_hip::DevicePtr, Strides)> {
    if let Some(strides) = strides(l) {
        return Ok((x.ptr(l), strides));
    }
    let contiguous = Layout::contiguous(l.shape());
    let mut copied = RocmStorage::uninit(x.device(), l.shape().elem_count(), x.dtype())?;
    copy::strided(x, l, &mut copied, 0)?;
    let strides = strides(&contiguous)
        .ok_or_else(|| RocmError::from("a contiguous layout has one step".to_string()));
    let ptr = copied.ptr_at(0);
    *copy_of = Some(copied);
    Ok((ptr, strides.rocm()?))
}
