//! Operations that make each element of the result from the elements at the same place: unary, affine, binary,
//! comparison.
pub(super) use super::cast::cast;
use super::fault::FaultyOp;
use super::kind::{self, same_dtype};
use super::operations::{self, Operation, AFFINE, ELU, POWF};
use super::walk::{each_part, Part};
use super::{Launch, RocmStorage};
use crate::backend::BackendStorage;
use crate::op::CmpOp;
use crate::{DType, Layout, Result};

/// Launches `row` over x: `(walk, what `parameters` adds, x, out)`.
fn pointwise(
    x: &RocmStorage,
    l: &Layout,
    row: &Operation,
    parameters: impl Fn(Launch<'_>) -> Result<Launch<'_>>,
) -> Result<RocmStorage> {
    let (device, dtype) = (x.device(), x.dtype());
    row.suffix_for(dtype)?;
    let out = RocmStorage::uninit(device, l.shape().elem_count(), dtype)?;
    each_part([l], |part: &Part<1>| {
        let launch = row.launch(device, dtype)?.arg(part.walk);
        let launch = parameters(launch)?
            .arg(x.ptr_at(l.start_offset() + part.offsets[0]))
            .arg(out.ptr_at(part.first));
        // SAFETY: the kernel reads the part's elements of x by its layout and writes as many to `out`.
        unsafe { launch.over(part.count).run() }
    })?;
    Ok(out)
}

pub(super) fn affine(x: &RocmStorage, l: &Layout, mul: f64, add: f64) -> Result<RocmStorage> {
    let dtype = x.dtype();
    pointwise(x, l, &AFFINE, |launch| {
        launch.scalar(dtype, mul)?.scalar(dtype, add)
    })
}

/// `kernel` is the operation's name for kernels, such as `usilu`.
///
/// # Errors
/// An operation or type that has no kernel.
pub fn unary(x: &RocmStorage, l: &Layout, kernel: &'static str) -> Result<RocmStorage> {
    let row = operations::find(operations::UNARY, kernel, x.dtype())?;
    pointwise(x, l, row, |launch| Ok(launch))
}

pub(super) fn powf(x: &RocmStorage, l: &Layout, exponent: f64) -> Result<RocmStorage> {
    pointwise(x, l, &POWF, |launch| launch.scalar(x.dtype(), exponent))
}

pub(super) fn elu(x: &RocmStorage, l: &Layout, alpha: f64) -> Result<RocmStorage> {
    pointwise(x, l, &ELU, |launch| launch.scalar(x.dtype(), alpha))
}

pub(super) fn comparison(op: CmpOp) -> &'static str {
    match op {
        CmpOp::Eq => "eq",
        CmpOp::Ne => "ne",
        CmpOp::Lt => "lt",
        CmpOp::Le => "le",
        CmpOp::Gt => "gt",
        CmpOp::Ge => "ge",
    }
}

pub(super) fn binary(
    a: &RocmStorage,
    b: &RocmStorage,
    a_l: &Layout,
    b_l: &Layout,
    kernel: &'static str,
    out_dtype: DType,
) -> Result<RocmStorage> {
    let (device, dtype) = (a.device(), a.dtype());
    let row = operations::find(operations::BINARY, kernel, dtype)?;
    same_dtype(dtype, b.dtype(), row.name)?;
    let out = RocmStorage::uninit(device, a_l.shape().elem_count(), out_dtype)?;
    let can_fail = row.name == "div" && kind::INTEGERS.contains(&dtype);
    each_part([a_l, b_l], |part: &Part<2>| {
        let launch = row
            .launch(device, dtype)?
            .arg(part.walk)
            .arg(a.ptr_at(a_l.start_offset() + part.offsets[0]))
            .arg(b.ptr_at(b_l.start_offset() + part.offsets[1]))
            .arg(out.ptr_at(part.first));
        let launch = match can_fail {
            true => launch.arg(device.fault_report(FaultyOp::Divide)?),
            false => launch,
        };
        // SAFETY: candle checked that both operands have the same shape; the kernel reads the part's elements of
        // each by its layout and writes as many to `out`.
        unsafe { launch.over(part.count).run() }
    })?;
    Ok(out)
}
