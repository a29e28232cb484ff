//! Convolutions, pooling and upsampling.
use super::error::OrRocm;
use super::{RocmError, RocmStorage};
use crate::conv::{ParamsConv1D, ParamsConv2D, ParamsConvTranspose1D, ParamsConvTranspose2D};
use crate::{Layout, Result};

fn missing(op: &'static str) -> Result<RocmStorage> {
    Err(RocmError::UnsupportedOp { op }).rocm()
}

pub(super) fn conv1d(
    _: &RocmStorage,
    _: &Layout,
    _: &RocmStorage,
    _: &Layout,
    _: &ParamsConv1D,
) -> Result<RocmStorage> {
    missing("conv1d")
}

pub(super) fn conv_transpose1d(
    _: &RocmStorage,
    _: &Layout,
    _: &RocmStorage,
    _: &Layout,
    _: &ParamsConvTranspose1D,
) -> Result<RocmStorage> {
    missing("conv-transpose1d")
}

pub(super) fn conv2d(
    _: &RocmStorage,
    _: &Layout,
    _: &RocmStorage,
    _: &Layout,
    _: &ParamsConv2D,
) -> Result<RocmStorage> {
    missing("conv2d")
}

pub(super) fn conv_transpose2d(
    _: &RocmStorage,
    _: &Layout,
    _: &RocmStorage,
    _: &Layout,
    _: &ParamsConvTranspose2D,
) -> Result<RocmStorage> {
    missing("conv-transpose2d")
}

pub(super) fn pool2d(
    _: &RocmStorage,
    _: &Layout,
    _: (usize, usize),
    _: (usize, usize),
    op: &'static str,
) -> Result<RocmStorage> {
    missing(op)
}

pub(super) fn upsample_nearest1d(_: &RocmStorage, _: &Layout, _: usize) -> Result<RocmStorage> {
    missing("upsample-nearest1d")
}

pub(super) fn upsample_nearest2d(
    _: &RocmStorage,
    _: &Layout,
    _: usize,
    _: usize,
) -> Result<RocmStorage> {
    missing("upsample-nearest2d")
}

pub(super) fn upsample_bilinear2d(
    _: &RocmStorage,
    _: &Layout,
    _: (usize, usize),
    _: bool,
    _: (Option<f64>, Option<f64>),
) -> Result<RocmStorage> {
    missing("upsample-bilinear2d")
}
