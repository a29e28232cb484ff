//! Products of the same few rows of activations with several weights, as one launch for those of one type: queries, keys and
//! values; gate and up. On a fast card a product of one row takes about as long as the card needs to begin and end it.
use super::own::{self, Product};
use super::product;
use super::QRocmStorage;
use crate::backend::{BackendDevice, BackendStorage};
use crate::op::BackpropOp;
use crate::quantized::{GgmlDType, QStorage, QTensor};
use crate::{DType, Result, Shape, Storage, Tensor};

/// One of the weights, and where its product belongs.
struct Member<'a> {
    w: &'a QRocmStorage,
    /// Rows of the weights.
    n: usize,
    index: usize,
}

/// `x` times each of the transposed weights: `[.., k]` × `[n, k]` gives `[.., n]`, in the type of `x`, as each of the products
/// by itself. `None`, and nothing done, where they are not all quantized, on the device of `x`, and for the kernels of few rows:
/// 1 to 8 of them, contiguous, in f32, f16 or bf16.
///
/// # Errors
/// [`RocmError::OutOfMemory`](crate::RocmError::OutOfMemory), and what a launch reports.
pub fn products(weights: &[&QTensor], x: &Tensor) -> Result<Option<Vec<Tensor>>> {
    let float = matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16);
    let Some((&k, outer)) = x.dims().split_last() else {
        return Ok(None);
    };
    if outer.is_empty() || !float || !x.is_contiguous() {
        return Ok(None);
    }
    let rows = outer.iter().product();
    let guard = x.storage();
    let Storage::Rocm(activations) = &*guard else {
        return Ok(None);
    };
    let mut members = Vec::with_capacity(weights.len());
    for (index, tensor) in weights.iter().enumerate() {
        let (QStorage::Rocm(w), Ok((n, columns))) = (&tensor.storage, tensor.shape().dims2())
        else {
            return Ok(None);
        };
        let p = Product { rows, n, k };
        let here = w.device().same_device(activations.device());
        if columns != k || !here || !product::by_vector(w, &p) {
            return Ok(None);
        }
        members.push(Member { w, n, index });
    }

    let start = x.layout().start_offset();
    let mut results: Vec<Option<Tensor>> = vec![None; weights.len()];
    let mut types: Vec<GgmlDType> = members.iter().map(|m| m.w.dtype()).collect();
    types.dedup();
    while let Some(dtype) = types.pop() {
        types.retain(|other| *other != dtype);
        let of_type: Vec<&Member> = members.iter().filter(|m| m.w.dtype() == dtype).collect();
        for group in of_type.chunks(own::MOST_WEIGHTS) {
            let parts: Vec<_> = group.iter().map(|m| (m.w, m.n)).collect();
            let outs = own::products(&parts, rows, k, activations, start)?;
            for (member, out) in group.iter().zip(outs) {
                let shape = Shape::from([outer, &[member.n]].concat());
                let out = Storage::Rocm(out);
                let out = crate::tensor::from_storage(out, shape, BackpropOp::none(), false);
                results[member.index] = Some(out);
            }
        }
    }
    Ok(results.into_iter().collect())
}
