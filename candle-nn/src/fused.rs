//! Operations of a transformer's layer that a GPU computes in fewer launches than their parts take.
//!
//! On rocm each is one launch (attention two or three) for f32, f16 and bf16; everywhere else, and for other types and
//! layouts, [`products`], [`biased_products`], [`silu_mul`] and [`add_rms_norm`] are the operations that they are named after. None has a gradient on rocm, as
//! [`crate::ops::rms_norm`] has none anywhere.
use candle::quantized::QMatMul;
use candle::{Module, Result, Tensor};

mod attention;
mod recorded;
#[cfg(feature = "rocm")]
pub(crate) use attention::Norms;
pub use attention::{CachedAttention, Rotary};
pub use recorded::RecordedStep;

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
    if let Some(results) = crate::rocm::fused::products(&weights, x)? {
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
    if crate::rocm::fused::takes(&[x, branch, weight])
        && [x, branch].iter().all(|t| t.is_contiguous())
    {
        let op = crate::rocm::fused::AddRmsNorm { eps };
        let both = x.apply_op3_no_bwd(branch, weight, &op)?;
        return Ok((both.get(0)?, both.get(1)?));
    }
    let sum = (x + branch)?;
    let normed = crate::ops::rms_norm(&sum, weight, eps)?;
    Ok((sum, normed))
}
