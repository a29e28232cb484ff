//! What lanes that launch kernels on candle's CUDA device by themselves read there.

use anyhow::Result;
use candle_core::cuda::cudarc::driver::CudaView;
use candle_core::{Storage, Tensor};

/// Calls `read` with the elements of `x`, a contiguous f32 tensor of a CUDA device.
///
/// # Errors
/// Those of `read`; a tensor of another device, type or order of elements.
pub fn with_elements<T>(
    x: &Tensor,
    read: impl FnOnce(&CudaView<'_, f32>) -> Result<T>,
) -> Result<T> {
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        anyhow::bail!("a tensor on {:?} where one on CUDA is read", x.device())
    };
    let Some((first, end)) = layout.contiguous_offsets() else {
        anyhow::bail!("a tensor whose elements do not lie side by side: {layout:?}")
    };
    read(&storage.as_cuda_slice::<f32>()?.slice(first..end))
}
