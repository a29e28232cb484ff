//! [`crate::fused::route_token`] on AMD GPUs: `route_token` of candle-kernels' fused.hip.
use super::WARP;
use crate::fused::Routes;
use candle::backend::BackendStorage;
use candle::op::BackpropOp;
use candle::rocm_backend::kernels;
use candle::{DType, Result, RocmStorage, Shape, Storage, Tensor};

/// `EXPERTS_OF_LANE` of the kernel, for each of the lanes.
const MOST_EXPERTS: usize = 16 * WARP as usize;

/// The routes of one token, or `None` where it is not for the kernel.
pub(crate) fn route_token(
    logits: &Tensor,
    per_token: usize,
    normalised: bool,
) -> Result<Option<Routes>> {
    let (storage, l) = logits.storage_and_layout();
    let Storage::Rocm(x) = &*storage else {
        return Ok(None);
    };
    let &[1, count] = l.dims() else {
        return Ok(None);
    };
    let takes = x.dtype() == DType::F32
        && l.is_contiguous()
        && (1..=MOST_EXPERTS).contains(&count)
        && (1..=count.min(WARP as usize)).contains(&per_token);
    if !takes {
        return Ok(None);
    }
    let device = x.device();
    let weights = RocmStorage::uninit(device, per_token, DType::F32)?;
    let experts = RocmStorage::uninit(device, per_token, DType::U32)?;
    let places = RocmStorage::uninit(device, per_token, DType::U32)?;
    let launch = device.launch(&kernels::FUSED, "route_token", "", "")?;
    let launch = launch.arg(x.contiguous_ptr(l, "route")?);
    let launch = launch.arg(weights.ptr_at(0));
    let launch = launch.arg(experts.ptr_at(0)).arg(places.ptr_at(0));
    let launch = launch
        .int("experts", count)?
        .int("experts of a token", per_token)?;
    let launch = launch.arg(u32::from(normalised));
    // SAFETY: one warp reads `count` logits and writes `per_token` elements of each result.
    unsafe { launch.groups(1)?.block([WARP, 1, 1]).run() }?;
    let tensor = |storage, shape: Shape| {
        Tensor::from_storage(Storage::Rocm(storage), shape, BackpropOp::none(), false)
    };
    Ok(Some(Routes {
        weights: tensor(weights, (1, per_token).into()),
        experts: tensor(experts, per_token.into()),
        places: tensor(places, per_token.into()),
    }))
}
