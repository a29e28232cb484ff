//! Choosing between two tensors, element by element.
use super::kind::{integer_kind, same_dtype, INTEGERS};
use super::operations::WHERE;
use super::walk::{each_part, Part};
use super::RocmStorage;
use crate::backend::BackendStorage;
use crate::{Layout, Result};

/// `t` where the condition is not zero, else `f`.
pub(super) fn where_cond(
    condition: &RocmStorage,
    l: &Layout,
    t: &RocmStorage,
    t_l: &Layout,
    f: &RocmStorage,
    f_l: &Layout,
) -> Result<RocmStorage> {
    let (device, dtype) = (t.device(), t.dtype());
    let kind = integer_kind(INTEGERS, condition.dtype(), "where (condition)")?;
    same_dtype(dtype, f.dtype(), WHERE.name)?;
    WHERE.suffix_for(dtype)?;
    let out = RocmStorage::uninit(device, l.shape().elem_count(), dtype)?;
    each_part([l, t_l, f_l], |part: &Part<3>| {
        let launch = WHERE
            .launch(device, dtype)?
            .arg(part.walk)
            .arg(kind)
            .arg(condition.ptr_at(l.start_offset() + part.offsets[0]))
            .arg(t.ptr_at(t_l.start_offset() + part.offsets[1]))
            .arg(f.ptr_at(f_l.start_offset() + part.offsets[2]))
            .arg(out.ptr_at(part.first));
        // SAFETY: candle checked that the three shapes agree; the kernel reads the part's elements of each by its
        // layout, moved and never read as numbers, and writes as many to `out`.
        unsafe { launch.over(part.count).run() }
    })?;
    Ok(out)
}
