//! Operations of a transformer's layer that a GPU computes in fewer launches than their parts take.
//!
//! On rocm each is one launch (attention two or three) for f32, f16 and bf16; everywhere else, and for other types and
//! layouts, [`products`], [`biased_products`], [`product_in`], [`silu_mul`], [`add_rms_norm`] and [`add_rms_norms`] are the
//! operations that they are named after. None has a gradient on rocm, as [`crate::ops::rms_norm`] has none anywhere.
use candle::quantized::QMatMul;
use candle::{DType, Module, Result, Tensor};

mod attention;
mod conv;
mod recorded;
mod route;
#[cfg(feature = "rocm")]
pub(crate) use attention::Norms;
pub use attention::{CachedAttention, Rotary};
pub use conv::CachedConv;
pub use recorded::RecordedStep;
pub use route::{route_token, Routes};

/// `x` times each of `weights`, which read the same activations: queries, keys and values, or gate and up. See
/// [`biased_products`].
///
/// # Errors
/// Those of [`QMatMul::forward`](Module::forward).
pub fn products<const N: usize>(weights: [&QMatMul; N], x: &Tensor) -> Result<[Tensor; N]> {
    biased_products(weights.map(|w| (w, None)), x)
}

/// `x` times each of the weights, plus its bias `[n]` where it has one. On rocm one launch for those of one quantized type, for
/// up to eight rows of `x`; else an operation after the other, with the same numbers.
///
/// # Errors
/// Those of [`QMatMul::forward`](Module::forward) and [`Tensor::broadcast_add`].
pub fn biased_products<const N: usize>(
    weights: [(&QMatMul, Option<&Tensor>); N],
    x: &Tensor,
) -> Result<[Tensor; N]> {
    #[cfg(feature = "rocm")]
    if let Some(results) = crate::rocm::fused::products(&weights, x, x.dtype())? {
        if let Ok(results) = <[Tensor; N]>::try_from(results) {
            return Ok(results);
        }
    }
    let results = weights.iter().map(|(w, bias)| match bias {
        Some(bias) => w.forward(x)?.broadcast_add(bias),
        None => w.forward(x),
    });
    let results = results.collect::<Result<Vec<_>>>()?;
    match results.try_into() {
        Ok(results) => Ok(results),
        Err(_) => candle::bail!("products: not {N} results"),
    }
}

/// `x` as `dtype` times `weight`: what attention gives in f16 or bf16 and the rest of a model goes on with in f32. On rocm the
/// conversion is none of its own, for up to eight rows of `x` and a wider `dtype`; the numbers are the same.
///
/// # Errors
/// Those of [`Tensor::to_dtype`] and [`QMatMul::forward`](Module::forward).
pub fn product_in(weight: &QMatMul, x: &Tensor, dtype: DType) -> Result<Tensor> {
    #[cfg(feature = "rocm")]
    if let Some(mut results) = crate::rocm::fused::products(&[(weight, None)], x, dtype)? {
        if let Some(result) = results.pop() {
            return Ok(result);
        }
    }
    weight.forward(&x.to_dtype(dtype)?)
}

/// `silu(gate) * up`, of tensors of one shape: the gated activation of a feed-forward network.
///
/// # Errors
/// Shapes or types that differ.
pub fn silu_mul(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "rocm")]
    if crate::rocm::fused::takes(&[gate, up]) {
        return gate.apply_op2_no_bwd(up, &crate::rocm::fused::SiluMul);
    }
    crate::ops::silu(gate)? * up
}

/// `x + branch`, and that sum normalised as [`crate::ops::rms_norm`] does: the end of one part of a layer and the beginning of
/// the next. `weight` has as many elements as the last dimension.
///
/// # Errors
/// Shapes that do not fit, types that differ.
pub fn add_rms_norm(
    x: &Tensor,
    branch: &Tensor,
    weight: &Tensor,
    eps: f32,
) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "rocm")]
    if let Some(both) = crate::rocm::fused::add_rms_norm(x, branch, None, (weight, eps))? {
        return Ok(both);
    }
    let sum = (x + branch)?;
    let normed = crate::ops::rms_norm(&sum, weight, eps)?;
    Ok((sum, normed))
}

/// [`add_rms_norm`] of `x` and of `branch` normalised, as a part of a layer ends with a norm of its own in Gemma's and GLM's
/// models. `branch_norm` and `norm` are the weights of either norm and what is added to its mean square.
///
/// # Errors
/// Those of [`add_rms_norm`].
pub fn add_rms_norms(
    x: &Tensor,
    branch: &Tensor,
    branch_norm: (&Tensor, f32),
    norm: (&Tensor, f32),
) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "rocm")]
    if let Some(both) = crate::rocm::fused::add_rms_norm(x, branch, Some(branch_norm), norm)? {
        return Ok(both);
    }
    let branch = crate::ops::rms_norm(branch, branch_norm.0, branch_norm.1)?;
    add_rms_norm(&branch, x, norm.0, norm.1)
}
