//! `RocmDevice`: one AMD GPU, its stream, its memory and its kernels.
use super::allocator::{Allocator, Block, PoolStatistics};
use super::error::{OrRocm, RocmError};
use super::fault::Faults;
use super::graph::Recorder;
use super::kernel_cache::{KernelCache, KernelName};
use super::matmul::Blas;
use super::random::Generator;
use super::shape_info::{ShapeInfo, ShapeInfoCache};
use super::{RocmBuffer, RocmStorage};
use crate::backend::{BackendDevice, BackendStorage};
use crate::{CpuStorage, DType, DeviceLocation, Result, Shape, WithDType};
use candle_hip::{Device as HipDevice, DeviceProperties, DevicePtr, Function, Module, Stream};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// An AMD GPU. Clones, and devices made again with the same number while one is alive, are the same device: they
/// share the stream, the memory pool and the loaded kernels.
#[derive(Clone)]
pub struct RocmDevice {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    ordinal: usize,
    pub(super) hip: HipDevice,
    pub(super) stream: Stream,
    kernels: KernelCache,
    modules: Mutex<HashMap<&'static str, Module>>,
    shape_infos: ShapeInfoCache,
    pub(super) allocator: Allocator,
    pub(super) recorder: Recorder,
    generator: Mutex<Generator>,
    pub(super) faults: Faults,
    pub(super) blas: Blas,
}

/// The devices that are alive, by number.
static DEVICES: Mutex<Vec<(usize, Weak<Inner>)>> = Mutex::new(Vec::new());

impl std::fmt::Debug for RocmDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "RocmDevice({}, {})",
            self.inner.ordinal,
            self.properties().target
        )
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Work may still be running on memory that is about to be freed. A failure here has no reader; candle-hip
        // keeps it.
        let _ = self.stream.synchronize();
        for block in self.shape_infos.drain() {
            self.allocator.release(block);
        }
    }
}

impl RocmDevice {
    /// Whether a HIP runtime answers on this machine with at least one device.
    pub fn is_available() -> bool {
        HipDevice::count().is_ok_and(|n| n > 0)
    }

    /// Name, target, wave size, memory and limits of the GPU.
    pub fn properties(&self) -> &DeviceProperties {
        self.inner.hip.properties()
    }

    /// The device's only stream: everything candle enqueues runs on it, in order.
    pub fn stream(&self) -> &Stream {
        &self.inner.stream
    }

    /// What the memory pool holds.
    pub fn pool_statistics(&self) -> PoolStatistics {
        self.inner.allocator.statistics()
    }

    /// Gives memory that is cached for reuse back to HIP; returns its size in bytes. Waits for the device.
    pub fn trim_pool(&self) -> usize {
        self.inner.allocator.trim()
    }

    /// Free and total memory of the GPU in bytes, as HIP counts them.
    ///
    /// # Errors
    /// HIP's error of the call.
    pub fn memory_info(&self) -> Result<(usize, usize)> {
        self.inner.hip.memory_info().rocm()
    }

    /// `bytes` of memory whose content is whatever was there before.
    ///
    /// # Errors
    /// [`RocmError::OutOfMemory`](crate::RocmError::OutOfMemory), after the pool gave back what it had cached.
    pub fn allocate(&self, bytes: usize) -> Result<RocmBuffer> {
        let block = self.allocate_block(bytes)?;
        Ok(RocmBuffer::new(self.clone(), block, bytes))
    }

    fn allocate_block(&self, bytes: usize) -> Result<Block> {
        // HIP is not asked for what no address space holds, nor rounded up beyond it.
        if isize::try_from(bytes).is_err() {
            return Err(self.out_of_memory(bytes)).rocm();
        }
        // While another thread records a graph, blocks are that graph's.
        let _turn = self.queue();
        match self.inner.allocator.allocate(bytes) {
            Err(e) if e.is_out_of_memory() => Err(self.out_of_memory(bytes)).rocm(),
            other => other.rocm(),
        }
    }

    fn out_of_memory(&self, requested: usize) -> RocmError {
        let inner = &*self.inner;
        let (free, total) = inner.hip.memory_info().unwrap_or((0, 0));
        RocmError::OutOfMemory {
            ordinal: inner.ordinal,
            requested,
            free,
            total,
            pool: self.pool_statistics(),
        }
    }

    pub(super) fn release(&self, block: Block) {
        self.inner.allocator.release(block)
    }

    /// `bytes` of memory, all zero.
    ///
    /// # Errors
    /// As [`Self::allocate`].
    pub fn allocate_zeroed(&self, bytes: usize) -> Result<RocmBuffer> {
        let mut buffer = self.allocate(bytes)?;
        buffer.fill_zero(0..bytes)?;
        Ok(buffer)
    }

    /// Copies host memory to a new buffer.
    ///
    /// # Errors
    /// As [`Self::allocate`]; what the device reports when it is waited for.
    pub fn upload(&self, bytes: &[u8]) -> Result<RocmBuffer> {
        let mut buffer = self.allocate(bytes.len())?;
        buffer.copy_from_host(0, bytes)?;
        Ok(buffer)
    }

    /// The kernel `name` of an embedded module, loading the module's code object at its first use.
    pub(crate) fn kernel(
        &self,
        module: &candle_kernels::rocm::Module,
        name: &KernelName,
    ) -> Result<Function> {
        candle_hip::expect_own_process().rocm()?;
        self.inner.kernels.get(name, || {
            let module = self.module(module)?;
            module.function(&name.symbol()).rocm()
        })
    }

    fn module(&self, module: &candle_kernels::rocm::Module) -> Result<Module> {
        let mut modules = self
            .inner
            .modules
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = modules.get(module.name) {
            return Ok(loaded.clone());
        }
        let code_object = module.select(&self.properties().target).rocm()?;
        let loaded = Module::load(&self.inner.hip, code_object.bytes).rocm()?;
        modules.insert(module.name, loaded.clone());
        Ok(loaded)
    }

    /// Loads a code object of the caller's own, for custom operations.
    ///
    /// # Errors
    /// HIP's error where the code object is damaged or of another target.
    pub fn load_module(
        &self,
        code_object: impl Into<std::borrow::Cow<'static, [u8]>>,
    ) -> Result<Module> {
        Module::load(&self.inner.hip, code_object).rocm()
    }

    /// Dimensions and strides on the device, for kernels that read them from memory.
    pub(super) fn shape_info(&self, words: &[usize]) -> Result<ShapeInfo<'_>> {
        let upload = || -> Result<Block> {
            let bytes: Vec<u8> = words
                .iter()
                .flat_map(|w| (*w as u64).to_le_bytes())
                .collect();
            let block = self.allocate_block(bytes.len())?;
            self.copy_to_device(block.ptr, &bytes)
                .inspect_err(|_| self.release(block))?;
            Ok(block)
        };
        self.inner
            .shape_infos
            .get(words, upload, |block| self.release(block))
    }

    /// Copies host memory to the device and waits until it has been read.
    pub(super) fn copy_to_device(&self, ptr: DevicePtr, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the callers pass addresses of blocks that hold at least `bytes.len()` bytes; the host memory
        // outlives the copy because of the synchronisation.
        unsafe { self.queue().copy_to_device(ptr, bytes) }.rocm()?;
        self.synchronize()
    }

    /// Copies device memory to the host and waits for it; errors of earlier launches come out here.
    pub(super) fn copy_to_host(&self, bytes: &mut [u8], ptr: DevicePtr) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: as in `copy_to_device`, with the directions exchanged.
        unsafe { self.queue().copy_to_host(bytes, ptr) }.rocm()?;
        self.synchronize()
    }

    pub(super) fn generator(&self) -> std::sync::MutexGuard<'_, Generator> {
        self.inner
            .generator
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Storage from the raw little-endian bytes of its elements.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub fn storage_from_raw_bytes(&self, bytes: &[u8], dtype: DType) -> Result<RocmStorage> {
        Ok(RocmStorage::new(self.upload(bytes)?, dtype))
    }
}

/// Bytes of a tensor with these dimensions; a product that wraps around would get a buffer that is too small.
pub(super) fn bytes_of(dims: &[usize], dtype: DType) -> Result<usize> {
    let elements = dims.iter().copied().try_fold(1, usize::checked_mul);
    let bytes = elements.and_then(|n| n.checked_mul(dtype.size_in_bytes()));
    let too_large = || {
        let text =
            format!("a tensor of {dims:?} elements of {dtype:?} is larger than an address space");
        RocmError::from(text)
    };
    bytes.ok_or_else(too_large).rocm()
}

impl From<&RocmDevice> for crate::Device {
    fn from(device: &RocmDevice) -> Self {
        Self::Rocm(device.clone())
    }
}

impl BackendDevice for RocmDevice {
    type Storage = RocmStorage;

    fn new(ordinal: usize) -> Result<Self> {
        // Before the first lock: whoever held it when the process was forked will not let go of it.
        candle_hip::expect_own_process().rocm()?;
        let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        devices.retain(|(_, device)| device.strong_count() > 0);
        let alive = devices.iter().find(|(n, _)| *n == ordinal);
        if let Some(inner) = alive.and_then(|(_, device)| device.upgrade()) {
            return Ok(Self { inner });
        }
        let hip = HipDevice::new(ordinal).rocm()?;
        let stream = Stream::new(&hip).rocm()?;
        let inner = Arc::new(Inner {
            ordinal,
            allocator: Allocator::new(hip.clone()),
            recorder: Recorder::default(),
            hip,
            stream,
            kernels: KernelCache::new(),
            modules: Mutex::default(),
            shape_infos: ShapeInfoCache::default(),
            generator: Mutex::default(),
            faults: Faults::default(),
            blas: Blas::default(),
        });
        devices.push((ordinal, Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    fn location(&self) -> DeviceLocation {
        let gpu_id = self.inner.ordinal;
        DeviceLocation::Rocm { gpu_id }
    }

    fn same_device(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    fn zeros_impl(&self, shape: &Shape, dtype: DType) -> Result<RocmStorage> {
        let bytes = bytes_of(shape.dims(), dtype)?;
        Ok(RocmStorage::new(self.allocate_zeroed(bytes)?, dtype))
    }

    unsafe fn alloc_uninit(&self, shape: &Shape, dtype: DType) -> Result<RocmStorage> {
        let bytes = bytes_of(shape.dims(), dtype)?;
        Ok(RocmStorage::new(self.allocate(bytes)?, dtype))
    }

    fn storage_from_slice<T: WithDType>(&self, values: &[T]) -> Result<RocmStorage> {
        // SAFETY: candle's element types are plain data without padding, so each of their bytes is initialised.
        let bytes = unsafe {
            std::slice::from_raw_parts(values.as_ptr().cast(), std::mem::size_of_val(values))
        };
        self.storage_from_raw_bytes(bytes, T::DTYPE)
    }

    fn storage_from_cpu_storage(&self, storage: &CpuStorage) -> Result<RocmStorage> {
        super::host::with_bytes(storage, |bytes| {
            self.storage_from_raw_bytes(bytes, storage.dtype())
        })
    }

    fn storage_from_cpu_storage_owned(&self, storage: CpuStorage) -> Result<RocmStorage> {
        self.storage_from_cpu_storage(&storage)
    }

    fn rand_uniform(
        &self,
        shape: &Shape,
        dtype: DType,
        low: f64,
        high: f64,
    ) -> Result<RocmStorage> {
        super::random::uniform(self, shape, dtype, low, high)
    }

    fn rand_normal(&self, shape: &Shape, dtype: DType, mean: f64, std: f64) -> Result<RocmStorage> {
        super::random::normal(self, shape, dtype, mean, std)
    }

    fn set_seed(&self, seed: u64) -> Result<()> {
        *self.generator() = Generator::new(seed);
        Ok(())
    }

    fn get_current_seed(&self) -> Result<u64> {
        Ok(self.generator().seed())
    }

    fn synchronize(&self) -> Result<()> {
        self.queue().synchronize().rocm()?;
        self.check_faults()
    }
}
