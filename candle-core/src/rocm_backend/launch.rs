//! One kernel launch: the kernel, its arguments, its geometry.
use super::error::{OrRocm, RocmError};
use super::kernel_cache::KernelName;
use super::shape_info::ShapeInfo;
use super::RocmDevice;
use crate::{DType, Layout, Result};
use candle_hip::{DevicePtr, Function, KernelArg, KernelArgs};
use candle_kernels::rocm::Module;

/// Work-items of a workgroup for element-wise kernels: a multiple of both wave sizes that every target launches.
const BLOCK: u32 = 256;
/// Element-wise kernels stride over the grid, so a grid larger than any GPU can hold at once gains nothing.
const MOST_BLOCKS: usize = 1 << 16;

/// A launch being put together. Arguments are given in the order of the kernel's parameters.
pub struct Launch<'a> {
    device: &'a RocmDevice,
    function: Function,
    name: KernelName,
    args: KernelArgs,
    grid: [u32; 3],
    block: [u32; 3],
    lds: u32,
    /// Keeps the shape words alive until the launch is enqueued.
    info: Option<ShapeInfo<'a>>,
}

impl RocmDevice {
    /// Starts a launch of the kernel `op`, `op_a` or `op_a_b` of an embedded module. Names are constants, so nothing
    /// is allocated to find a kernel again.
    ///
    /// # Errors
    /// No code object for the device, or no such kernel in the module.
    pub fn launch(
        &self,
        module: &Module,
        op: &'static str,
        a: &'static str,
        b: &'static str,
    ) -> Result<Launch<'_>> {
        let module_name = module.name;
        let name = KernelName {
            module: module_name,
            op,
            a,
            b,
        };
        Ok(Launch {
            device: self,
            function: self.kernel(module, &name)?,
            name,
            args: KernelArgs::new(),
            grid: [1; 3],
            block: [1; 3],
            lds: 0,
            info: None,
        })
    }
}

impl<'a> Launch<'a> {
    /// The next argument.
    pub fn arg(mut self, value: impl KernelArg) -> Self {
        self.args.push(value);
        self
    }

    /// A count or stride that the kernel takes as a 32-bit signed integer.
    ///
    /// # Errors
    /// [`RocmError::TooLarge`](crate::RocmError::TooLarge).
    pub fn int(self, what: &'static str, value: usize) -> Result<Self> {
        match i32::try_from(value) {
            Ok(v) => Ok(self.arg(v)),
            Err(_) => Err(RocmError::TooLarge {
                kernel: self.name.symbol(),
                what,
                value,
                limit: i32::MAX as usize,
            })
            .rocm(),
        }
    }

    /// The two arguments `num_dims` and `info` of the translated kernels: dimensions, then the strides of each
    /// operand. All operands contiguous is said by a null pointer.
    ///
    /// # Errors
    /// [`RocmError::OutOfMemory`](crate::RocmError::OutOfMemory), HIP's error of the upload.
    pub fn layouts(mut self, layouts: &[&Layout]) -> Result<Self> {
        if layouts.iter().all(|l| l.is_contiguous()) {
            return Ok(self.arg(0usize).arg(DevicePtr::NULL));
        }
        let dims = layouts[0].dims();
        let mut words: Vec<usize> = dims.to_vec();
        layouts
            .iter()
            .for_each(|l| words.extend_from_slice(l.stride()));
        let info = self.device.shape_info(&words)?;
        self.args.push(dims.len());
        self.args.push(info.ptr);
        self.info = Some(info);
        Ok(self)
    }

    /// Words that the kernel reads from device memory, handed over as one pointer: for the translated kernels that
    /// take `info` without `num_dims`.
    pub(super) fn words(mut self, words: &[usize]) -> Result<Self> {
        let info = self.device.shape_info(words)?;
        self.args.push(info.ptr);
        self.info = Some(info);
        Ok(self)
    }

    /// A scalar in the kernel's element type.
    pub(super) fn scalar(self, dtype: DType, value: f64) -> Result<Self> {
        Ok(match dtype {
            DType::U8 => self.arg(value as u8),
            DType::U32 => self.arg(value as u32),
            DType::I16 => self.arg(value as i16),
            DType::I32 => self.arg(value as i32),
            DType::I64 => self.arg(value as i64),
            DType::F32 => self.arg(value as f32),
            DType::F64 => self.arg(value),
            DType::F16 => self.arg(half::f16::from_f64(value).to_bits()),
            DType::BF16 => self.arg(half::bf16::from_f64(value).to_bits()),
            DType::F8E4M3 => self.arg(float8::F8E4M3::from_f64(value).to_bits()),
            DType::F6E2M3 | DType::F6E3M2 | DType::F4 | DType::F8E8M0 => {
                let op = self.name.op;
                return Err(RocmError::UnsupportedDType { dtype, op }).rocm();
            }
        })
    }

    /// Grid and block for a kernel that strides over `count` elements.
    pub fn over(self, count: usize) -> Self {
        let blocks = count.div_ceil(BLOCK as usize).min(MOST_BLOCKS);
        self.geometry([blocks as u32, 1, 1], [BLOCK, 1, 1])
    }

    /// Grid and block for a kernel whose workgroups, of `threads` work-items, stride over `count` results, each in
    /// `parts`.
    pub(super) fn groups_of(self, count: usize, parts: u32, threads: u32) -> Self {
        self.geometry([count.min(MOST_BLOCKS) as u32, parts, 1], [threads, 1, 1])
    }

    /// Workgroups of the grid and work-items of a workgroup, each in x, y, z.
    pub fn geometry(mut self, grid: [u32; 3], block: [u32; 3]) -> Self {
        self.grid = grid;
        self.block = block;
        self
    }

    /// Grid and block for a kernel that gives each work-item one of `count` elements.
    ///
    /// # Errors
    /// As [`Self::groups`].
    pub fn one_each(self, count: usize) -> Result<Self> {
        self.block([BLOCK, 1, 1])
            .groups(count.div_ceil(BLOCK as usize))
    }

    /// A grid of `count` workgroups along x.
    ///
    /// # Errors
    /// More workgroups than a grid has.
    pub fn groups(mut self, count: usize) -> Result<Self> {
        self.grid = [grid_size(self.name.op, count)?, 1, 1];
        Ok(self)
    }

    /// Work-items of a workgroup in x, y, z.
    pub fn block(mut self, block: [u32; 3]) -> Self {
        self.block = block;
        self
    }

    /// Bytes of LDS beyond what the kernel declares.
    pub fn dynamic_lds(mut self, bytes: u32) -> Self {
        self.lds = bytes;
        self
    }

    /// Enqueues the launch.
    ///
    /// # Errors
    /// HIP's error of the call. A fault of the kernel comes later, from a call that waits.
    ///
    /// # Safety
    /// The arguments are those that the kernel takes, and its accesses stay within the memory they name. That memory
    /// may be released right after: the release is ordered behind the launch.
    pub unsafe fn run(self) -> Result<()> {
        let launch = candle_hip::Launch::new(self.grid, self.block).with_lds(self.lds);
        // SAFETY: the caller's promise above is the one that the HIP layer asks for.
        unsafe {
            self.function
                .launch(&launch, &self.device.queue(), &self.args)
        }
        .rocm()
    }
}

/// The number of workgroups as HIP takes it, or an error that names the kernel. HIP counts the work-items of a
/// dimension in 32 bits; 1024 of them are the most that a workgroup has.
fn grid_size(kernel: &str, value: usize) -> Result<u32> {
    let limit = (u32::MAX / 1024) as usize;
    if value <= limit {
        return Ok(value as u32);
    }
    let (kernel, what) = (kernel.to_string(), "number of workgroups");
    Err(RocmError::TooLarge {
        kernel,
        what,
        value,
        limit,
    })
    .rocm()
}
