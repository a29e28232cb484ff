//! Tensors on AMD GPUs.
//!
//! - [`RocmDevice`] (device.rs): one GPU, its stream, the caching allocator (allocator.rs) behind [`RocmBuffer`]
//!   (buffer.rs), kernels found once by name (kernel_cache.rs), shapes kept on the device (shape_info.rs).
//! - [`RocmStorage`]: a buffer and the type of its elements. One file per family of operations implements what
//!   `BackendStorage` asks for; each hands arguments to a kernel through [`Launch`] (launch.rs).
//! - [`RocmGraph`] (graph.rs): work that is recorded once and launched as one.
//! - Kernels come from `candle_kernels::rocm`: candle's CUDA kernels translated to HIP, and own ones.
//!
//! ```no_run
//! use candle_core::{Device, Tensor};
//! let device = Device::new_rocm(0)?;
//! let x = Tensor::randn(0f32, 1.0, (2, 4096), &device)?;
//! println!("{}", x.matmul(&x.t()?)?);
//! println!("{}", device.as_rocm_device()?.pool_statistics());
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! Launches are asynchronous and run in order on the device's one stream. A fault inside a kernel is therefore
//! reported by the next call that waits for the device or asks for its errors.
use crate::backend::BackendStorage;
use crate::conv::{ParamsConv1D, ParamsConv2D, ParamsConvTranspose1D, ParamsConvTranspose2D};
use crate::op::{BinaryOpT, CmpOp, ReduceOp, UnaryOpT};
use crate::scalar::Scalar;
use crate::{CpuStorage, DType, Layout, Result};
use candle_hip::DevicePtr;
use std::sync::Arc;

mod allocator;
mod buffer;
mod cast;
mod convolution;
mod copy;
mod device;
mod elementwise;
mod error;
mod fault;
mod forms;
mod graph;
mod host;
mod indexing;
mod kernel_cache;
mod kind;
mod launch;
pub(crate) mod matmul;
mod operations;
mod random;
mod reduce;
mod select;
mod shape_info;
mod sort;
mod walk;

pub use allocator::PoolStatistics;
pub use buffer::RocmBuffer;
pub use candle_hip as hip;
pub use candle_kernels::rocm as kernels;
pub(crate) use cast::cast_elements;
pub use device::RocmDevice;
pub use elementwise::unary;
pub(crate) use error::OrRocm;
pub use error::RocmError;
pub(crate) use fault::{FaultReport, FaultyOp};
use forms::Forms;
pub(crate) use forms::Stretch;
pub use graph::RocmGraph;
pub use launch::Launch;
pub use operations::operations_document;

/// The data of a tensor on an AMD GPU: untyped memory and the type of its elements.
#[derive(Debug)]
pub struct RocmStorage {
    buffer: RocmBuffer,
    dtype: DType,
    forms: Forms,
}

impl RocmStorage {
    /// The elements of type `dtype` in `buffer`.
    pub fn new(buffer: RocmBuffer, dtype: DType) -> Self {
        let forms = Forms::default();
        Self {
            buffer,
            dtype,
            forms,
        }
    }

    /// Room for `count` elements, whose content is whatever was there before.
    ///
    /// # Errors
    /// A size beyond the address space; [`RocmError::OutOfMemory`](crate::RocmError::OutOfMemory).
    pub fn uninit(device: &RocmDevice, count: usize, dtype: DType) -> Result<Self> {
        let bytes = device::bytes_of(&[count], dtype)?;
        Ok(Self::new(device.allocate(bytes)?, dtype))
    }

    /// The memory, untyped.
    pub fn buffer(&self) -> &RocmBuffer {
        &self.buffer
    }

    pub(crate) fn buffer_mut(&mut self) -> &mut RocmBuffer {
        &mut self.changing().buffer
    }

    /// As [`Self::buffer`], without the type.
    pub fn into_buffer(self) -> RocmBuffer {
        self.buffer
    }

    /// Address of the element number `offset`.
    pub fn ptr_at(&self, offset: usize) -> DevicePtr {
        self.buffer
            .ptr()
            .offset(offset * self.dtype.size_in_bytes())
    }

    /// Address of the first element of a tensor with this layout.
    pub fn ptr(&self, layout: &Layout) -> DevicePtr {
        self.ptr_at(layout.start_offset())
    }

    /// Address of a contiguous tensor's first element; any other layout is the error that candle's CPU and CUDA
    /// backends return.
    ///
    /// # Errors
    /// [`Error::RequiresContiguous`](crate::Error::RequiresContiguous).
    pub fn contiguous_ptr(&self, layout: &Layout, op: &'static str) -> Result<DevicePtr> {
        match layout.contiguous_offsets() {
            Some((start, _)) => Ok(self.ptr_at(start)),
            None => Err(crate::Error::RequiresContiguous { op }.bt()),
        }
    }

    /// The storage of a tensor that must have the type `dtype`.
    ///
    /// # Errors
    /// [`Error::UnexpectedDType`](crate::Error::UnexpectedDType).
    pub fn expect_dtype(&self, dtype: DType, op: &'static str) -> Result<&Self> {
        if self.dtype != dtype {
            let (msg, expected, got) = (op, dtype, self.dtype);
            return Err(crate::Error::UnexpectedDType { msg, expected, got }.bt());
        }
        Ok(self)
    }

    /// An error unless the storage holds `count` elements from element `start` on.
    fn expect_room(&self, start: usize, count: usize, op: &'static str) -> Result<()> {
        let held = self.buffer.len() / self.dtype.size_in_bytes();
        if start.checked_add(count).is_none_or(|end| end > held) {
            crate::bail!("rocm: {op}: elements {start} to {start} + {count} of a storage of {held}")
        }
        Ok(())
    }

    /// The storage as one whose elements are about to change: what is kept of the old ones is dropped.
    pub(crate) fn changing(&mut self) -> &mut Self {
        self.forms.clear();
        self
    }

    /// What `make` makes of a stretch of the elements, made once and kept until the elements change.
    pub(crate) fn form(
        &self,
        stretch: Stretch,
        make: impl FnOnce() -> Result<RocmBuffer>,
    ) -> Result<Arc<RocmBuffer>> {
        // Before the lock, which may have been held when the process was forked.
        candle_hip::expect_own_process().rocm()?;
        self.forms.get_or_make(stretch, make)
    }

    /// Keeps what was made of a stretch of the elements by whoever wrote them.
    pub(crate) fn keep_form(&mut self, stretch: Stretch, form: RocmBuffer) {
        self.forms.put(stretch, form);
    }

    /// A copy on another GPU.
    ///
    /// # Errors
    /// [`RocmError::OutOfMemory`](crate::RocmError::OutOfMemory) there; what the device reports when it is waited for.
    pub fn transfer_to_device(&self, device: &RocmDevice) -> Result<Self> {
        let copy = self.buffer.copy_to_peer(self.buffer.len(), device)?;
        Ok(Self::new(copy, self.dtype))
    }
}

/// The name that kernels give to an element type.
///
/// # Errors
/// A type that no kernel computes with.
pub fn kernel_suffix(dtype: DType, op: &'static str) -> Result<&'static str> {
    Ok(match dtype {
        DType::U8 => "u8",
        DType::U32 => "u32",
        DType::I16 => "i16",
        DType::I32 => "i32",
        DType::I64 => "i64",
        DType::BF16 => "bf16",
        DType::F16 => "f16",
        DType::F32 => "f32",
        DType::F64 => "f64",
        DType::F8E4M3 => "f8_e4m3",
        DType::F6E2M3 | DType::F6E3M2 | DType::F4 | DType::F8E8M0 => {
            return Err(RocmError::UnsupportedDType { dtype, op }).rocm()
        }
    })
}

/// The unsigned type as wide as `dtype`, in which kernels that only move elements are launched.
pub(crate) fn mover(dtype: DType, op: &'static str) -> Result<&'static str> {
    Ok(match dtype.size_in_bytes() {
        1 => "u8",
        2 => "f16",
        4 => "u32",
        8 => "i64",
        _ => return Err(RocmError::UnsupportedDType { dtype, op }).rocm(),
    })
}

impl BackendStorage for RocmStorage {
    type Device = RocmDevice;

    fn try_clone(&self, _: &Layout) -> Result<Self> {
        let len = self.buffer.len();
        let mut copy = self.device().allocate(len)?;
        self.buffer.copy_to(0..len, &mut copy, 0)?;
        Ok(Self::new(copy, self.dtype))
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn device(&self) -> &RocmDevice {
        self.buffer.device()
    }

    fn to_cpu_storage(&self) -> Result<CpuStorage> {
        host::from_bytes(self.dtype, self.buffer.len(), |bytes| {
            self.buffer.copy_to_host(0, bytes)
        })
    }

    fn affine(&self, l: &Layout, mul: f64, add: f64) -> Result<Self> {
        elementwise::affine(self, l, mul, add)
    }

    fn powf(&self, l: &Layout, exponent: f64) -> Result<Self> {
        elementwise::powf(self, l, exponent)
    }

    fn elu(&self, l: &Layout, alpha: f64) -> Result<Self> {
        elementwise::elu(self, l, alpha)
    }

    fn unary_impl<B: UnaryOpT>(&self, l: &Layout) -> Result<Self> {
        elementwise::unary(self, l, B::KERNEL)
    }

    fn binary_impl<B: BinaryOpT>(
        &self,
        rhs: &Self,
        lhs_l: &Layout,
        rhs_l: &Layout,
    ) -> Result<Self> {
        elementwise::binary(self, rhs, lhs_l, rhs_l, B::KERNEL, self.dtype)
    }

    fn cmp(&self, op: CmpOp, rhs: &Self, lhs_l: &Layout, rhs_l: &Layout) -> Result<Self> {
        elementwise::binary(
            self,
            rhs,
            lhs_l,
            rhs_l,
            elementwise::comparison(op),
            DType::U8,
        )
    }

    fn to_dtype(&self, l: &Layout, dtype: DType) -> Result<Self> {
        cast::cast(self, l, dtype)
    }

    fn where_cond(
        &self,
        l: &Layout,
        t: &Self,
        t_l: &Layout,
        f: &Self,
        f_l: &Layout,
    ) -> Result<Self> {
        select::where_cond(self, l, t, t_l, f, f_l)
    }

    fn const_set(&mut self, value: Scalar, l: &Layout) -> Result<()> {
        copy::const_set(self.changing(), value, l)
    }

    fn reduce_op(&self, op: ReduceOp, l: &Layout, dims: &[usize]) -> Result<Self> {
        reduce::reduce(self, op, l, dims)
    }

    fn index_select(&self, ids: &Self, l: &Layout, ids_l: &Layout, dim: usize) -> Result<Self> {
        indexing::index_select(self, l, ids, ids_l, dim)
    }

    fn gather(&self, l: &Layout, ids: &Self, ids_l: &Layout, dim: usize) -> Result<Self> {
        indexing::gather(self, l, ids, ids_l, dim)
    }

    fn scatter_set(
        &mut self,
        l: &Layout,
        ids: &Self,
        ids_l: &Layout,
        src: &Self,
        src_l: &Layout,
        dim: usize,
    ) -> Result<()> {
        let x = self.changing();
        indexing::scatter(x, l, ids, ids_l, src, src_l, dim, indexing::Scatter::Set)
    }

    fn scatter_add_set(
        &mut self,
        l: &Layout,
        ids: &Self,
        ids_l: &Layout,
        src: &Self,
        src_l: &Layout,
        dim: usize,
    ) -> Result<()> {
        let x = self.changing();
        indexing::scatter(x, l, ids, ids_l, src, src_l, dim, indexing::Scatter::Add)
    }

    fn index_add(
        &self,
        l: &Layout,
        ids: &Self,
        ids_l: &Layout,
        src: &Self,
        src_l: &Layout,
        dim: usize,
    ) -> Result<Self> {
        indexing::index_add(self, l, ids, ids_l, src, src_l, dim)
    }

    fn matmul(
        &self,
        rhs: &Self,
        bmnk: (usize, usize, usize, usize),
        lhs_l: &Layout,
        rhs_l: &Layout,
    ) -> Result<Self> {
        matmul::matmul(self, rhs, bmnk, lhs_l, rhs_l)
    }

    fn copy_strided_src(&self, dst: &mut Self, dst_offset: usize, src_l: &Layout) -> Result<()> {
        copy::strided(self, src_l, dst.changing(), dst_offset)
    }

    fn copy2d(
        &self,
        dst: &mut Self,
        rows: usize,
        columns: usize,
        src_stride: usize,
        dst_stride: usize,
        src_offset: usize,
        dst_offset: usize,
    ) -> Result<()> {
        let from = copy::Rows {
            stride: src_stride,
            offset: src_offset,
        };
        let to = copy::Rows {
            stride: dst_stride,
            offset: dst_offset,
        };
        copy::rows(self, from, dst.changing(), to, rows, columns)
    }

    fn conv1d(&self, l: &Layout, k: &Self, k_l: &Layout, p: &ParamsConv1D) -> Result<Self> {
        convolution::conv1d(self, l, k, k_l, p)
    }

    fn conv_transpose1d(
        &self,
        l: &Layout,
        k: &Self,
        k_l: &Layout,
        p: &ParamsConvTranspose1D,
    ) -> Result<Self> {
        convolution::conv_transpose1d(self, l, k, k_l, p)
    }

    fn conv2d(&self, l: &Layout, k: &Self, k_l: &Layout, p: &ParamsConv2D) -> Result<Self> {
        convolution::conv2d(self, l, k, k_l, p)
    }

    fn conv_transpose2d(
        &self,
        l: &Layout,
        k: &Self,
        k_l: &Layout,
        p: &ParamsConvTranspose2D,
    ) -> Result<Self> {
        convolution::conv_transpose2d(self, l, k, k_l, p)
    }

    fn avg_pool2d(
        &self,
        l: &Layout,
        kernel: (usize, usize),
        stride: (usize, usize),
    ) -> Result<Self> {
        convolution::pool2d(self, l, kernel, stride, "avg_pool2d")
    }

    fn max_pool2d(
        &self,
        l: &Layout,
        kernel: (usize, usize),
        stride: (usize, usize),
    ) -> Result<Self> {
        convolution::pool2d(self, l, kernel, stride, "max_pool2d")
    }

    fn upsample_nearest1d(&self, l: &Layout, size: usize) -> Result<Self> {
        convolution::upsample_nearest1d(self, l, size)
    }

    fn upsample_nearest2d(&self, l: &Layout, height: usize, width: usize) -> Result<Self> {
        convolution::upsample_nearest2d(self, l, height, width)
    }

    fn upsample_bilinear2d(
        &self,
        l: &Layout,
        height: usize,
        width: usize,
        align_corners: bool,
        scale_h: Option<f64>,
        scale_w: Option<f64>,
    ) -> Result<Self> {
        convolution::upsample_bilinear2d(
            self,
            l,
            (height, width),
            align_corners,
            (scale_h, scale_w),
        )
    }
}
