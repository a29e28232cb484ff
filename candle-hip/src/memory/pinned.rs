//! Host memory that the device can read and write directly.

use crate::counters::LIVE;
use crate::device::Device;
use crate::drop_failures;
use crate::error::Result;
use crate::library::hip;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// `hipHostMallocDefault` of hip_runtime_api.h.
const DEFAULT: u32 = 0;

/// Page-locked host memory, as a byte slice: copies from and to it run at full speed and do not hold up the
/// host. Allocating is slow: keep it and use it again.
#[derive(Debug)]
pub struct PinnedMemory {
    device: Device,
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its bytes like a Vec<u8>; the pages belong to no thread.
unsafe impl Send for PinnedMemory {}
// SAFETY: shared access only reads.
unsafe impl Sync for PinnedMemory {}

impl PinnedMemory {
    /// Allocates `len` bytes, set to zero.
    ///
    /// # Errors
    /// [`is_out_of_memory`](crate::Error::is_out_of_memory) when the system does not lock that much.
    pub fn new(device: &Device, len: usize) -> Result<PinnedMemory> {
        let mut memory = PinnedMemory {
            device: device.clone(),
            ptr: NonNull::dangling(),
            len: 0,
        };
        if len == 0 {
            return Ok(memory);
        }
        device.make_current()?;
        let mut ptr = std::ptr::null_mut();
        let library = device.library();
        let context = || format!("allocating {len} bytes of pinned host memory");
        // SAFETY: the call writes one pointer.
        let status = unsafe { (library.functions().hipHostMalloc)(&mut ptr, len, DEFAULT) };
        library.check("hipHostMalloc", status, context)?;
        if let Some(ptr) = NonNull::new(ptr.cast::<u8>()) {
            // SAFETY: `ptr` points to `len` fresh bytes. A byte slice must be initialised.
            unsafe { ptr.as_ptr().write_bytes(0, len) };
            memory.ptr = ptr;
            memory.len = len;
            LIVE.pinned_mallocs.add();
            return Ok(memory);
        }
        let status = crate::sys::hip::hipError_t::hipErrorOutOfMemory;
        Err(library.failure("hipHostMalloc", status, context()))
    }
}

impl Deref for PinnedMemory {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes that live as long as `self`, or a dangling pointer and none.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for PinnedMemory {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl Drop for PinnedMemory {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        let release = || {
            self.device.make_current()?;
            // SAFETY: the pointer came from hipHostMalloc and is not used again; HIP waits for the
            // devices before it unlocks pages.
            unsafe {
                hip!(
                    self.device.library(),
                    hipHostFree(self.ptr.as_ptr().cast()),
                    "freeing pinned host memory"
                )?
            };
            LIVE.pinned_frees.add();
            Ok(())
        };
        drop_failures::keep_drop_failure(release());
    }
}
