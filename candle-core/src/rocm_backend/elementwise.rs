//! Operations that make each element of the result from the elements at the same place: affine, unary, binary,
//! comparison, cast, selection, constants.
use super::error::OrRocm;
use super::{kernel_suffix, kernels, mover, RocmDevice, RocmError, RocmStorage};
use crate::backend::BackendStorage;
use crate::op::CmpOp;
use crate::scalar::Scalar;
use crate::{DType, Layout, Result};
use candle_hip::DevicePtr;

pub(super) fn affine(x: &RocmStorage, l: &Layout, mul: f64, add: f64) -> Result<RocmStorage> {
    let (dtype, count) = (x.dtype(), l.shape().elem_count());
    let out = RocmStorage::uninit(x.device(), count, dtype)?;
    if count > 0 {
        let launch = x.device().launch(
            &kernels::AFFINE,
            "affine",
            kernel_suffix(dtype, "affine")?,
            "",
        )?;
        let launch = launch
            .arg(count)
            .layouts(&[l])?
            .arg(x.ptr(l))
            .arg(out.ptr_at(0));
        let launch = launch.scalar(dtype, mul)?.scalar(dtype, add)?.over(count);
        // SAFETY: the kernel reads `count` elements of x by its layout and writes as many to `out`.
        unsafe { launch.run() }?;
    }
    Ok(out)
}

/// `kernel` is the operation's name for kernels, such as `usilu`.
pub(crate) fn unary(x: &RocmStorage, l: &Layout, kernel: &'static str) -> Result<RocmStorage> {
    let (dtype, count) = (x.dtype(), l.shape().elem_count());
    let out = RocmStorage::uninit(x.device(), count, dtype)?;
    if count > 0 {
        let launch =
            x.device()
                .launch(&kernels::UNARY, kernel, kernel_suffix(dtype, kernel)?, "")?;
        let launch = launch
            .arg(count)
            .layouts(&[l])?
            .arg(x.ptr(l))
            .arg(out.ptr_at(0))
            .over(count);
        // SAFETY: as for `affine`.
        unsafe { launch.run() }?;
    }
    Ok(out)
}

/// A unary operation with one number, such as the exponent of a power.
pub(super) fn unary_with_parameter(
    x: &RocmStorage,
    l: &Layout,
    kernel: &'static str,
    parameter: f64,
) -> Result<RocmStorage> {
    let (dtype, count) = (x.dtype(), l.shape().elem_count());
    let out = RocmStorage::uninit(x.device(), count, dtype)?;
    if count > 0 {
        let launch =
            x.device()
                .launch(&kernels::UNARY, kernel, kernel_suffix(dtype, kernel)?, "")?;
        let launch = launch.arg(count).layouts(&[l])?.scalar(dtype, parameter)?;
        let launch = launch.arg(x.ptr(l)).arg(out.ptr_at(0)).over(count);
        // SAFETY: as for `affine`.
        unsafe { launch.run() }?;
    }
    Ok(out)
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
    let (dtype, count) = (a.dtype(), a_l.shape().elem_count());
    let out = RocmStorage::uninit(a.device(), count, out_dtype)?;
    if count > 0 {
        let launch =
            a.device()
                .launch(&kernels::BINARY, kernel, kernel_suffix(dtype, kernel)?, "")?;
        let launch = launch.arg(count).layouts(&[a_l, b_l])?;
        let launch = launch
            .arg(a.ptr(a_l))
            .arg(b.ptr(b_l))
            .arg(out.ptr_at(0))
            .over(count);
        // SAFETY: candle checked that both operands have the same shape and type; the kernel reads `count` elements
        // of each by its layout and writes as many to `out`.
        unsafe { launch.run() }?;
    }
    Ok(out)
}

/// Pairs of types between which no kernel casts; f32 lies between them, as in the CPU backend's own conversions.
fn casts_through_f32(from: DType, to: DType) -> bool {
    let narrow = |d| matches!(d, DType::F16 | DType::BF16 | DType::F8E4M3);
    let whole = |d| matches!(d, DType::I64 | DType::U32);
    let missing = |narrow_type, whole_type| {
        narrow(narrow_type)
            && whole(whole_type)
            && (whole_type == DType::I64 || narrow_type == DType::F8E4M3)
    };
    missing(from, to) || missing(to, from)
}

pub(super) fn cast(x: &RocmStorage, l: &Layout, dtype: DType) -> Result<RocmStorage> {
    if casts_through_f32(x.dtype(), dtype) {
        let wide = cast_elements(x.device(), x.ptr(l), x.dtype(), l, DType::F32)?;
        return cast(&wide, &Layout::contiguous(l.shape()), dtype);
    }
    cast_elements(x.device(), x.ptr(l), x.dtype(), l, dtype)
}

/// Elements of type `from`, found from address `x` on by the strides of `l`, in another type.
pub(crate) fn cast_elements(
    device: &RocmDevice,
    x: DevicePtr,
    from: DType,
    l: &Layout,
    dtype: DType,
) -> Result<RocmStorage> {
    let count = l.shape().elem_count();
    let out = RocmStorage::uninit(device, count, dtype)?;
    if count > 0 {
        let (from, to) = (
            kernel_suffix(from, "to_dtype")?,
            kernel_suffix(dtype, "to_dtype")?,
        );
        let launch = device.launch(&kernels::CAST, "cast", from, to)?;
        let launch = launch
            .arg(count)
            .layouts(&[l])?
            .arg(x)
            .arg(out.ptr_at(0))
            .over(count);
        // SAFETY: as for `affine`, with the result in another type.
        unsafe { launch.run() }?;
    }
    Ok(out)
}

pub(super) fn where_cond(
    condition: &RocmStorage,
    l: &Layout,
    t: &RocmStorage,
    t_l: &Layout,
    f: &RocmStorage,
    f_l: &Layout,
) -> Result<RocmStorage> {
    let (dtype, count) = (t.dtype(), l.shape().elem_count());
    let ids = match condition.dtype() {
        DType::U8 => "u8",
        DType::U32 => "u32",
        DType::I64 => "i64",
        dtype => {
            return Err(RocmError::UnsupportedDType {
                dtype,
                op: "where (condition)",
            })
            .rocm()
        }
    };
    let out = RocmStorage::uninit(t.device(), count, dtype)?;
    if count > 0 {
        let launch = t
            .device()
            .launch(&kernels::TERNARY, "where", ids, mover(dtype, "where")?)?;
        let launch = launch
            .arg(count)
            .layouts(&[l, t_l, f_l])?
            .arg(condition.ptr(l));
        let launch = launch
            .arg(t.ptr(t_l))
            .arg(f.ptr(f_l))
            .arg(out.ptr_at(0))
            .over(count);
        // SAFETY: candle checked that the three shapes agree; elements are moved, never read as numbers.
        unsafe { launch.run() }?;
    }
    Ok(out)
}

pub(super) fn const_set(x: &mut RocmStorage, value: Scalar, l: &Layout) -> Result<()> {
    let (dtype, count) = (x.dtype(), l.shape().elem_count());
    if value.dtype() != dtype {
        let (lhs, rhs, op) = (dtype, value.dtype(), "const-set");
        return Err(crate::Error::DTypeMismatchBinaryOp { lhs, rhs, op }.bt());
    }
    if count > 0 {
        let op = "const_set";
        let launch = x
            .device()
            .launch(&kernels::FILL, op, mover(dtype, op)?, "")?;
        let launch = launch.arg(count).layouts(&[l])?;
        let launch = match value {
            Scalar::U8(v) => launch.arg(v),
            Scalar::U32(v) => launch.arg(v),
            Scalar::I16(v) => launch.arg(v as u16),
            Scalar::I32(v) => launch.arg(v as u32),
            Scalar::I64(v) => launch.arg(v),
            Scalar::BF16(v) => launch.arg(v.to_bits()),
            Scalar::F16(v) => launch.arg(v.to_bits()),
            Scalar::F32(v) => launch.arg(v.to_bits()),
            Scalar::F64(v) => launch.arg(v.to_bits()),
            Scalar::F8E4M3(v) => launch.arg(v.to_bits()),
        };
        let launch = launch.arg(x.ptr(l)).over(count);
        // SAFETY: the kernel writes the elements of x that the layout names, bit patterns of its own type.
        unsafe { launch.run() }?;
    }
    Ok(())
}
