//! [`crate::fused::CachedConv`] on AMD GPUs: `gated_conv` of candle-kernels' fused.hip.
use super::fused::{address, BLOCK, MOST_GRID_Y};
use candle::backend::BackendStorage;
use candle::quantized::rocm::Int8Rows;
use candle::rocm_backend::hip::DevicePtr;
use candle::rocm_backend::{kernel_suffix, kernels};
use candle::{CpuStorage, CustomOp2, InplaceOp1, Layout, Result, RocmStorage, Shape, Tensor};

/// A position of `bcx`, `[batch, 1, 3 * channels]`, with the weights `[channels, taps]`. What a product reads of the result is left
/// in int8.
pub(crate) struct GatedConv<'a> {
    /// `[batch, channels, taps]` of the type of `bcx`, in storage of its own; changed in place.
    pub(crate) state: &'a Tensor,
}

/// The launch, with all that is known before the state is locked.
struct IntoState {
    bcx: DevicePtr,
    weight: DevicePtr,
    out: DevicePtr,
    int8: DevicePtr,
}

impl CustomOp2 for GatedConv<'_> {
    only_on_rocm!("gated-conv", bcx weight);

    fn rocm_fwd(
        &self,
        bcx: &RocmStorage,
        bcx_l: &Layout,
        weight: &RocmStorage,
        weight_l: &Layout,
    ) -> Result<(RocmStorage, Shape)> {
        let op = self.name();
        let (batch, _, _) = bcx_l.shape().dims3()?;
        let (channels, _) = weight_l.shape().dims2()?;
        let weight = weight.expect_dtype(bcx.dtype(), op)?;
        let (device, count) = (bcx.device(), batch * channels);
        let mut out = RocmStorage::uninit(device, count, bcx.dtype())?;
        let int8 = Int8Rows::for_rows(device, batch, channels)?;
        if count > 0 {
            self.state.inplace_op1(&IntoState {
                bcx: bcx.contiguous_ptr(bcx_l, op)?,
                weight: weight.contiguous_ptr(weight_l, op)?,
                out: out.ptr_at(0),
                int8: address(&int8),
            })?;
        }
        if let Some(int8) = int8 {
            int8.keep(&mut out, 0);
        }
        Ok((out, (batch, 1, channels).into()))
    }
}

impl InplaceOp1 for IntoState {
    only_on_rocm!("gated-conv", in place);

    fn rocm_fwd(&self, state: &mut RocmStorage, l: &Layout) -> Result<()> {
        let op = self.name();
        let (rows, channels, taps) = l.shape().dims3()?;
        let suffix = kernel_suffix(state.dtype(), op)?;
        let into = state.contiguous_ptr(l, op)?;
        let launch = state
            .device()
            .launch(&kernels::FUSED, "gated_conv", suffix, "")?;
        let launch = launch.arg(self.bcx).arg(self.weight).arg(into);
        let launch = launch.arg(self.out).arg(self.int8);
        let launch = launch.int("rows", rows)?.int("channels", channels)?;
        let launch = launch.int("taps", taps)?;
        let grid = [
            channels.div_ceil(BLOCK as usize) as u32,
            rows.min(MOST_GRID_Y) as u32,
            1,
        ];
        // SAFETY: `CachedConv` has checked that operands, state and result have the sizes that rows, channels and taps say; the
        // state is borrowed mutably.
        unsafe { launch.geometry(grid, [BLOCK, 1, 1]).run() }
    }
}
