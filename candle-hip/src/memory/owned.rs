//! Device memory that frees itself.

use super::DevicePtr;
use crate::device::Device;
use crate::drop_failures;
use crate::error::{Error, Result};
use crate::stream::Stream;

/// An allocation on a device, freed when dropped.
#[derive(Debug)]
pub struct DeviceMemory {
    device: Device,
    ptr: DevicePtr,
    len: usize,
}

impl DeviceMemory {
    /// Allocates `len` bytes, uninitialised.
    ///
    /// # Errors
    /// [`is_out_of_memory`](Error::is_out_of_memory) when it does not fit.
    pub fn new(device: &Device, len: usize) -> Result<DeviceMemory> {
        let ptr = device.malloc(len)?;
        Ok(DeviceMemory {
            device: device.clone(),
            ptr,
            len,
        })
    }

    /// The allocation's first byte; null when it is empty.
    pub fn ptr(&self) -> DevicePtr {
        self.ptr
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The device it lies on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Copies `bytes` to the byte offset `start` and waits until that is done.
    ///
    /// # Errors
    /// A range that does not lie within the allocation, a stream of another device; HIP's error of the
    /// copy, or of work before it.
    pub fn write(&mut self, stream: &Stream, start: usize, bytes: &[u8]) -> Result<()> {
        let dst = self.range("writing to device memory", stream, start, bytes.len())?;
        // SAFETY: the range was checked; both sides are borrowed until the stream has been waited for.
        // Dropping frees only after the device is idle, should the wait itself fail.
        unsafe { stream.copy_to_device(dst, bytes)? };
        stream.synchronize()
    }

    /// Copies from the byte offset `start` into `bytes` and waits until that is done. What was never written
    /// has arbitrary contents.
    ///
    /// # Errors
    /// A range that does not lie within the allocation, a stream of another device; HIP's error of the
    /// copy, or of work before it.
    pub fn read(&self, stream: &Stream, start: usize, bytes: &mut [u8]) -> Result<()> {
        let src = self.range("reading device memory", stream, start, bytes.len())?;
        // SAFETY: as for `write`.
        unsafe { stream.copy_to_host(bytes, src)? };
        stream.synchronize()
    }

    /// Sets `len` bytes from the byte offset `start` on. The host does not wait.
    ///
    /// # Errors
    /// A range that does not lie within the allocation, a stream of another device; HIP's error of the
    /// call.
    pub fn fill(&mut self, stream: &Stream, start: usize, len: usize, value: u8) -> Result<()> {
        let dst = self.range("filling device memory", stream, start, len)?;
        // SAFETY: the range was checked, and hipFree waits for the device before memory goes.
        unsafe { stream.fill_u8(dst, value, len) }
    }

    /// Copies `len` bytes from `src`, of the same device. The host does not wait.
    ///
    /// # Errors
    /// A range that does not lie within the allocation, a stream of another device; HIP's error of the
    /// call.
    pub fn copy_from(
        &mut self,
        stream: &Stream,
        start: usize,
        src: &DeviceMemory,
        src_start: usize,
        len: usize,
    ) -> Result<()> {
        let dst = self.range("copying to device memory", stream, start, len)?;
        let src = src.range("copying from device memory", stream, src_start, len)?;
        // SAFETY: both ranges were checked; `&mut self` makes them distinct allocations; and hipFree
        // waits for the device before memory goes.
        unsafe { stream.copy_on_device(dst, src, len) }
    }

    /// Gives up ownership: the caller frees the pointer.
    pub fn into_raw(self) -> DevicePtr {
        let ptr = self.ptr;
        // Only the device's reference count is released.
        let mut this = self;
        this.ptr = DevicePtr::NULL;
        ptr
    }

    fn range(
        &self,
        what: &'static str,
        stream: &Stream,
        start: usize,
        len: usize,
    ) -> Result<DevicePtr> {
        stream.expect_device(&self.device, "the memory")?;
        match start.checked_add(len) {
            Some(end) if end <= self.len => Ok(self.ptr.offset(start)),
            _ => Err(Error::OutOfRange {
                what,
                start: start as u64,
                bytes: len as u64,
                len: self.len as u64,
            }),
        }
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `malloc` of this device, nobody else frees it, and hipFree
        // waits for queued work that may use it.
        drop_failures::keep_drop_failure(unsafe { self.device.free(self.ptr) });
    }
}
