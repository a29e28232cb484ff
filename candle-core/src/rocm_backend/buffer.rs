//! `RocmBuffer`: a stretch of device memory that goes back to its pool when dropped.
use super::allocator::Block;
use super::error::OrRocm;
use super::RocmDevice;
use crate::backend::BackendDevice;
use crate::Result;
use candle_hip::DevicePtr;
use std::ops::Range;

/// Device memory of a known length. Dropping it is ordered after all work enqueued so far.
pub struct RocmBuffer {
    device: RocmDevice,
    block: Block,
    len: usize,
}

impl std::fmt::Debug for RocmBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RocmBuffer({} bytes on {:?})", self.len, self.device)
    }
}

impl Drop for RocmBuffer {
    fn drop(&mut self) {
        self.device.release(self.block)
    }
}

impl RocmBuffer {
    pub(super) fn new(device: RocmDevice, block: Block, len: usize) -> Self {
        Self { device, block, len }
    }

    /// The GPU that it lies on.
    pub fn device(&self) -> &RocmDevice {
        &self.device
    }

    /// Length in bytes, as it was asked for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Address of the first byte; valid as long as the buffer lives.
    pub fn ptr(&self) -> DevicePtr {
        self.block.ptr
    }

    /// The address of `range` within the buffer, checked against its length.
    fn at(&self, range: &Range<usize>) -> Result<DevicePtr> {
        if range.start > range.end || range.end > self.len {
            crate::bail!(
                "bytes {range:?} lie outside of a rocm buffer of {} bytes",
                self.len
            )
        }
        Ok(self.ptr().offset(range.start))
    }

    /// Enqueues zeros for the bytes of `range`.
    ///
    /// # Errors
    /// A range that does not lie within the buffer; HIP's error of the call.
    pub fn fill_zero(&mut self, range: Range<usize>) -> Result<()> {
        let ptr = self.at(&range)?;
        if range.is_empty() {
            return Ok(());
        }
        // SAFETY: `at` checked that the range lies within this buffer.
        unsafe { self.device.queue().fill_u8(ptr, 0, range.len()) }.rocm()
    }

    /// Copies `bytes` to the position `offset` and waits for the copy.
    ///
    /// # Errors
    /// A range that does not lie within the buffer; what the device reports when it is waited for.
    pub fn copy_from_host(&mut self, offset: usize, bytes: &[u8]) -> Result<()> {
        let ptr = self.at(&(offset..offset + bytes.len()))?;
        self.device.copy_to_device(ptr, bytes)
    }

    /// Copies the bytes from position `offset` on to the host and waits for the copy.
    ///
    /// # Errors
    /// A range that does not lie within the buffer; what the device reports when it is waited for.
    pub fn copy_to_host(&self, offset: usize, bytes: &mut [u8]) -> Result<()> {
        let ptr = self.at(&(offset..offset + bytes.len()))?;
        self.device.copy_to_host(bytes, ptr)
    }

    /// Enqueues a copy of `range` to the position `dst_offset` of a buffer on the same device.
    ///
    /// # Errors
    /// A range that does not lie within its buffer; HIP's error of the call.
    pub fn copy_to(
        &self,
        range: Range<usize>,
        dst: &mut RocmBuffer,
        dst_offset: usize,
    ) -> Result<()> {
        let len = range.len();
        let from = self.at(&range)?;
        let to = dst.at(&(dst_offset..dst_offset + len))?;
        if len == 0 {
            return Ok(());
        }
        // SAFETY: both ranges were checked above, and `dst` is borrowed mutably, so they do not overlap.
        unsafe { self.device.queue().copy_on_device(to, from, len) }.rocm()
    }

    /// A copy of the first `len` bytes on another device.
    ///
    /// # Errors
    /// More bytes than the buffer has; [`RocmError::OutOfMemory`](crate::RocmError::OutOfMemory) on the other device;
    /// what the device reports when it is waited for.
    pub fn copy_to_peer(&self, len: usize, device: &RocmDevice) -> Result<RocmBuffer> {
        self.at(&(0..len))?;
        let dst = device.allocate(len)?;
        if len > 0 {
            // The source's content may not be there yet; the copy itself runs on the destination's stream, behind
            // whatever last used its block.
            self.device.synchronize()?;
            let stream = device.queue();
            // SAFETY: both ranges lie within their buffers and outlive the synchronisation below.
            unsafe { stream.copy_from_peer(dst.ptr(), self.ptr(), &self.device.inner.hip, len) }
                .rocm()?;
            stream.synchronize().rocm()?;
        }
        Ok(dst)
    }
}
