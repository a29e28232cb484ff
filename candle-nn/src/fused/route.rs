//! Which experts of a mixture take a token.
use candle::{Result, Tensor};

/// What a router says, as [`crate::moe::moe_gemm_gguf`] takes it.
#[derive(Debug, Clone)]
pub struct Routes {
    /// `[tokens, per token]`: shares of the chosen experts, the largest first.
    pub weights: Tensor,
    /// `[tokens * per token]`, u32: all of those experts, the smallest number first.
    pub experts: Tensor,
    /// `[tokens * per token]`, u32: where each of `experts` stands in `weights`, counted row by row.
    pub places: Tensor,
}

/// The `per_token` experts with the largest shares of a token's softmax, in one launch on rocm; `logits` are `[1, experts]`. The
/// shares are divided by their sum if `normalised`. Of equal ones the expert with the smaller number is taken.
///
/// `None`, and nothing done, for more tokens, types other than f32, more than 512 experts or 32 of them for a token, and on
/// other devices: softmax and sorting are then the caller's.
///
/// # Errors
/// What the launch reports.
pub fn route_token(logits: &Tensor, per_token: usize, normalised: bool) -> Result<Option<Routes>> {
    #[cfg(feature = "rocm")]
    return crate::rocm::route::route_token(logits, per_token, normalised);
    #[cfg(not(feature = "rocm"))]
    {
        let _ = (logits, per_token, normalised);
        Ok(None)
    }
}
