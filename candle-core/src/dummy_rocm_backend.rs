//! The ROCm backend of a build without the feature `rocm`.
//!
//! A device cannot be made: every constructor returns [`Error::NotCompiledWithRocmSupport`]. The types hold a value
//! that does not exist, so whatever needs a device is unreachable by construction rather than by a panic.
use crate::backend::{BackendDevice, BackendStorage};
use crate::conv::{ParamsConv1D, ParamsConv2D, ParamsConvTranspose1D, ParamsConvTranspose2D};
use crate::op::{BinaryOpT, CmpOp, ReduceOp, UnaryOpT};
use crate::{CpuStorage, DType, DeviceLocation, Error, Layout, Result, Shape, WithDType};

/// Has no values.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Never {}

/// Stands for an AMD GPU; cannot be made without the feature `rocm`.
#[derive(Debug, Clone)]
pub struct RocmDevice {
    pub(crate) never: Never,
}

/// Stands for a tensor's data on an AMD GPU; cannot be made without the feature `rocm`.
#[derive(Debug)]
pub struct RocmStorage {
    pub(crate) never: Never,
}

/// Error of the ROCm backend; never made without the feature `rocm`.
#[derive(Debug, thiserror::Error)]
#[error("the candle crate has not been built with rocm support")]
pub struct RocmError {
    never: Never,
}

impl From<RocmError> for crate::Error {
    fn from(error: RocmError) -> Self {
        match error.never {}
    }
}

impl RocmDevice {
    /// Storage from the raw bytes of its elements; cannot be reached.
    pub fn storage_from_raw_bytes(&self, _: &[u8], _: DType) -> Result<RocmStorage> {
        match self.never {}
    }
}

impl From<&RocmDevice> for crate::Device {
    fn from(device: &RocmDevice) -> Self {
        match device.never {}
    }
}

impl RocmStorage {
    /// A copy on another GPU; cannot be reached.
    pub fn transfer_to_device(&self, _: &RocmDevice) -> Result<Self> {
        match self.never {}
    }
    pub(crate) fn changing(&mut self) -> &mut Self {
        match self.never {}
    }
}

impl BackendDevice for RocmDevice {
    type Storage = RocmStorage;

    fn new(_: usize) -> Result<Self> {
        Err(Error::NotCompiledWithRocmSupport)
    }
    fn location(&self) -> DeviceLocation {
        match self.never {}
    }
    fn same_device(&self, _: &Self) -> bool {
        match self.never {}
    }
    fn zeros_impl(&self, _: &Shape, _: DType) -> Result<RocmStorage> {
        match self.never {}
    }
    unsafe fn alloc_uninit(&self, _: &Shape, _: DType) -> Result<RocmStorage> {
        match self.never {}
    }
    fn storage_from_slice<T: WithDType>(&self, _: &[T]) -> Result<RocmStorage> {
        match self.never {}
    }
    fn storage_from_cpu_storage(&self, _: &CpuStorage) -> Result<RocmStorage> {
        match self.never {}
    }
    fn storage_from_cpu_storage_owned(&self, _: CpuStorage) -> Result<RocmStorage> {
        match self.never {}
    }
    fn rand_uniform(&self, _: &Shape, _: DType, _: f64, _: f64) -> Result<RocmStorage> {
        match self.never {}
    }
    fn rand_normal(&self, _: &Shape, _: DType, _: f64, _: f64) -> Result<RocmStorage> {
        match self.never {}
    }
    fn set_seed(&self, _: u64) -> Result<()> {
        match self.never {}
    }
    fn get_current_seed(&self) -> Result<u64> {
        match self.never {}
    }
    fn synchronize(&self) -> Result<()> {
        match self.never {}
    }
}

/// Operations that only need to exist: there is no storage to call them on.
macro_rules! unreachable_operations {
    ($($name:ident $(<$op:ident: $bound:path>)? ($($arg:ty),*);)*) => {
        $(fn $name $(<$op: $bound>)? (&self, $(_: $arg),*) -> Result<Self> {
            match self.never {}
        })*
    };
}

impl BackendStorage for RocmStorage {
    type Device = RocmDevice;

    fn dtype(&self) -> DType {
        match self.never {}
    }
    fn device(&self) -> &RocmDevice {
        match self.never {}
    }
    fn to_cpu_storage(&self) -> Result<CpuStorage> {
        match self.never {}
    }

    unreachable_operations! {
        try_clone(&Layout);
        affine(&Layout, f64, f64);
        powf(&Layout, f64);
        elu(&Layout, f64);
        reduce_op(ReduceOp, &Layout, &[usize]);
        cmp(CmpOp, &Self, &Layout, &Layout);
        to_dtype(&Layout, DType);
        unary_impl<B: UnaryOpT>(&Layout);
        binary_impl<B: BinaryOpT>(&Self, &Layout, &Layout);
        where_cond(&Layout, &Self, &Layout, &Self, &Layout);
        conv1d(&Layout, &Self, &Layout, &ParamsConv1D);
        conv_transpose1d(&Layout, &Self, &Layout, &ParamsConvTranspose1D);
        conv2d(&Layout, &Self, &Layout, &ParamsConv2D);
        conv_transpose2d(&Layout, &Self, &Layout, &ParamsConvTranspose2D);
        avg_pool2d(&Layout, (usize, usize), (usize, usize));
        max_pool2d(&Layout, (usize, usize), (usize, usize));
        upsample_nearest1d(&Layout, usize);
        upsample_nearest2d(&Layout, usize, usize);
        upsample_bilinear2d(&Layout, usize, usize, bool, Option<f64>, Option<f64>);
        gather(&Layout, &Self, &Layout, usize);
        index_select(&Self, &Layout, &Layout, usize);
        index_add(&Layout, &Self, &Layout, &Self, &Layout, usize);
        matmul(&Self, (usize, usize, usize, usize), &Layout, &Layout);
    }

    fn scatter_set(
        &mut self,
        _: &Layout,
        _: &Self,
        _: &Layout,
        _: &Self,
        _: &Layout,
        _: usize,
    ) -> Result<()> {
        match self.never {}
    }
    fn scatter_add_set(
        &mut self,
        _: &Layout,
        _: &Self,
        _: &Layout,
        _: &Self,
        _: &Layout,
        _: usize,
    ) -> Result<()> {
        match self.never {}
    }
    fn copy_strided_src(&self, _: &mut Self, _: usize, _: &Layout) -> Result<()> {
        match self.never {}
    }
    fn copy2d(
        &self,
        _: &mut Self,
        _: usize,
        _: usize,
        _: usize,
        _: usize,
        _: usize,
        _: usize,
    ) -> Result<()> {
        match self.never {}
    }
    fn const_set(&mut self, _: crate::scalar::Scalar, _: &Layout) -> Result<()> {
        match self.never {}
    }
}
