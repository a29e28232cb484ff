//! Products of the same few rows of activations with several weights, as one launch for those of one type, or of a row with
//! those of two: queries, keys and values; gate and up. On a fast card a product of one row takes about as long as the card
//! needs to begin and end it.
use super::own::{self, Part, Product};
use super::{pairs, product};
use crate::backend::{BackendDevice, BackendStorage};
use crate::op::BackpropOp;
use crate::quantized::{QStorage, QTensor};
use crate::{DType, Result, RocmStorage, Shape, Storage, Tensor};
use candle_hip::DevicePtr;

/// `x` times each of the transposed weights, plus their bias `[n]` where they have one: `[.., k]` × `[n, k]` gives `[.., n]`, in
/// the type of `x`, with the numbers that the operations give one by one. `None`, and nothing done, where they are not all for
/// the kernels of few rows: quantized weights and biases of the type of `x` on its device, 1 to 8 rows, contiguous, in f32,
/// f16 or bf16.
///
/// # Errors
/// [`RocmError::OutOfMemory`](crate::RocmError::OutOfMemory), and what a launch reports.
pub fn products(
    weights: &[(&QTensor, Option<&Tensor>)],
    x: &Tensor,
) -> Result<Option<Vec<Tensor>>> {
    products_in(weights, x, x.dtype())
}

/// [`products`] of `x` in `dtype`, which is what biases and results are in: that of `x`, or f32. Int8 of the same numbers is
/// the same whatever their type, so that there is nothing to convert.
///
/// # Errors
/// Those of [`products`].
pub fn products_in(
    weights: &[(&QTensor, Option<&Tensor>)],
    x: &Tensor,
    dtype: DType,
) -> Result<Option<Vec<Tensor>>> {
    let float = matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16);
    let float = float && [x.dtype(), DType::F32].contains(&dtype);
    let Some((&k, outer)) = x.dims().split_last() else {
        return Ok(None);
    };
    if outer.is_empty() || !float || !x.is_contiguous() {
        return Ok(None);
    }
    let rows = outer.iter().product();
    let storage = x.storage();
    let Storage::Rocm(activations) = &*storage else {
        return Ok(None);
    };
    let mut parts = Vec::with_capacity(weights.len());
    for (tensor, bias) in weights {
        let (QStorage::Rocm(w), Ok((n, columns))) = (&tensor.storage, tensor.shape().dims2())
        else {
            return Ok(None);
        };
        let here = w.device().same_device(activations.device());
        if columns != k || !here || !product::by_vector(w, &Product { rows, n, k }) {
            return Ok(None);
        }
        let Some(bias) = bias_address(*bias, n, dtype, activations) else {
            return Ok(None);
        };
        parts.push(Part { w, n, bias });
    }

    let start = x.layout().start_offset();
    let mut results: Vec<Option<Tensor>> = vec![None; weights.len()];
    let types: Vec<_> = parts.iter().map(|part| part.w.dtype()).collect();
    for indices in pairs::launches(&types, own::MOST_WEIGHTS, rows == 1) {
        let group: Vec<Part> = indices.iter().map(|i| parts[*i]).collect();
        let outs = own::products(&group, rows, k, (activations, start), dtype)?;
        for (index, out) in indices.iter().zip(outs) {
            let shape = Shape::from([outer, &[parts[*index].n]].concat());
            let out = Storage::Rocm(out);
            let out = crate::tensor::from_storage(out, shape, BackpropOp::none(), false);
            results[*index] = Some(out);
        }
    }
    Ok(results.into_iter().collect())
}

/// Where the `n` elements of a bias lie, null without one; `None` where the kernels cannot read it. The tensor outlives the
/// launch that the address is for.
fn bias_address(
    bias: Option<&Tensor>,
    n: usize,
    dtype: DType,
    x: &RocmStorage,
) -> Option<DevicePtr> {
    let Some(bias) = bias else {
        return Some(DevicePtr::NULL);
    };
    let (storage, layout) = bias.storage_and_layout();
    let Storage::Rocm(elements) = &*storage else {
        return None;
    };
    let fits = layout.dims() == [n] && layout.is_contiguous() && bias.dtype() == dtype;
    let here = elements.device().same_device(x.device());
    (fits && here).then(|| elements.ptr_at(layout.start_offset()))
}
