//! `candle_nn::moe` on AMD GPUs.
use candle::op::BackpropOp;
use candle::quantized::rocm::{self, SortedTokens};
use candle::quantized::QTensor;
use candle::{DType, Layout, Result, RocmStorage, Storage, Tensor};
use std::ops::Deref;

/// The storage of a tensor that has to lie on a GPU.
fn on_rocm<'a>(storage: &'a impl Deref<Target = Storage>, what: &str) -> Result<&'a RocmStorage> {
    match &**storage {
        Storage::Rocm(storage) => Ok(storage),
        _ => candle::bail!("mixture of experts: the input is on rocm, {what} is not"),
    }
}

/// Calls `work` with the input and the tables of tokens; its result becomes a tensor.
fn with_tokens(
    input: &Tensor,
    topk_weights: &Option<Tensor>,
    sorted_token_ids: &Tensor,
    experts_ids: &Tensor,
    per_token: usize,
    work: impl FnOnce(&RocmStorage, &Layout, &SortedTokens<'_>) -> Result<(RocmStorage, candle::Shape)>,
) -> Result<Tensor> {
    let (x, x_l) = input.storage_and_layout();
    let (rows, rows_l) = sorted_token_ids.storage_and_layout();
    let (experts, experts_l) = experts_ids.storage_and_layout();
    let weights = topk_weights.as_ref().map(Tensor::storage_and_layout);
    let weights = match &weights {
        Some((storage, layout)) => Some((on_rocm(storage, "topk_weights")?, *layout)),
        None => None,
    };
    let tokens = SortedTokens {
        rows: (on_rocm(&rows, "sorted_token_ids")?, rows_l),
        experts: (on_rocm(&experts, "experts_ids")?, experts_l),
        weights,
        per_token,
    };
    let (out, shape) = work(on_rocm(&x, "the input")?, x_l, &tokens)?;
    let (out, op) = (Storage::Rocm(out), BackpropOp::none());
    Ok(Tensor::from_storage(out, shape, op, false))
}

/// [`crate::moe::moe_gemm`]: `input` `[tokens, k]` and `weights` `[experts, n, k]` in f16 or bf16. The number of
/// rows an expert decides between a vector kernel and tiles, for prefill and decode alike.
pub(crate) fn moe_gemm(
    input: &Tensor,
    weights: &Tensor,
    topk_weights: &Option<Tensor>,
    sorted_token_ids: &Tensor,
    experts_ids: &Tensor,
    per_token: usize,
) -> Result<Tensor> {
    if !matches!(input.dtype(), DType::F16 | DType::BF16) {
        candle::bail!("moe_gemm only accepts f16/bf16 inputs")
    }
    let (w, w_l) = weights.storage_and_layout();
    let w = on_rocm(&w, "the weight")?;
    with_tokens(
        input,
        topk_weights,
        sorted_token_ids,
        experts_ids,
        per_token,
        |x, x_l, tokens| rocm::moe_gemm(w, w_l, x, x_l, tokens),
    )
}

/// [`crate::moe::moe_gemm_gguf`]: `input` `[tokens, k]` in f32, `weights` of any quantized type; the result in f32.
/// Prefill does not pass through a 16-bit type, as it does on CUDA.
pub(crate) fn moe_gemm_gguf(
    input: &Tensor,
    weights: &QTensor,
    topk_weights: &Option<Tensor>,
    sorted_token_ids: &Tensor,
    experts_ids: &Tensor,
    per_token: usize,
) -> Result<Tensor> {
    if input.dtype() != DType::F32 {
        candle::bail!("moe_gemm_gguf only accepts f32 inputs")
    }
    with_tokens(
        input,
        topk_weights,
        sorted_token_ids,
        experts_ids,
        per_token,
        |x, x_l, tokens| rocm::moe_gemm_gguf(weights, x, x_l, tokens),
    )
}
