//! Conversions between element types.
use super::kind::number_kind;
use super::operations::TO_DTYPE;
use super::walk::{each_part, Part};
use super::{RocmDevice, RocmStorage};
use crate::backend::BackendStorage;
use crate::{DType, Layout, Result};
use candle_hip::DevicePtr;

pub(super) fn cast(x: &RocmStorage, l: &Layout, dtype: DType) -> Result<RocmStorage> {
    let mut out = cast_elements(x.device(), x.ptr(l), x.dtype(), l, dtype)?;
    // Every f16 and every bf16 is an f32.
    let same_numbers = matches!((x.dtype(), dtype), (DType::F16 | DType::BF16, DType::F32));
    if same_numbers && l.is_contiguous() {
        let count = l.shape().elem_count();
        x.forms.hand_on(l.start_offset(), count, &mut out.forms);
    }
    Ok(out)
}

/// Elements of type `from`, found from address `x` on by the strides of `l`, in another type.
pub(crate) fn cast_elements(
    device: &RocmDevice,
    x: DevicePtr,
    from: DType,
    l: &Layout,
    dtype: DType,
) -> Result<RocmStorage> {
    let kind = number_kind(from, TO_DTYPE.name)?;
    TO_DTYPE.suffix_for(dtype)?;
    let out = RocmStorage::uninit(device, l.shape().elem_count(), dtype)?;
    each_part([l], |part: &Part<1>| {
        let launch = TO_DTYPE
            .launch(device, dtype)?
            .arg(part.walk)
            .arg(kind)
            .arg(x.offset(part.offsets[0] * from.size_in_bytes()))
            .arg(out.ptr_at(part.first));
        // SAFETY: the kernel reads the part's elements, of the type that `kind` names, and writes as many to `out`.
        unsafe { launch.over(part.count).run() }
    })?;
    Ok(out)
}
