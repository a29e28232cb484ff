//! Device memory, pinned host memory, and what moves bytes between them.

mod copy;
mod owned;
mod pinned;

pub use owned::DeviceMemory;
pub use pinned::PinnedMemory;

use crate::counters::LIVE;
use crate::device::Device;
use crate::error::Result;
use crate::library::hip;
use std::ffi::c_void;

/// An address in device memory. It owns nothing and is checked by nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct DevicePtr(u64);

impl DevicePtr {
    /// The null pointer.
    pub const NULL: DevicePtr = DevicePtr(0);

    /// The pointer with this address.
    pub const fn from_raw(address: u64) -> DevicePtr {
        DevicePtr(address)
    }

    /// The address.
    pub const fn as_raw(self) -> u64 {
        self.0
    }

    /// The pointer `bytes` further on. It wraps around at the end of the address space.
    #[must_use]
    pub const fn offset(self, bytes: usize) -> DevicePtr {
        DevicePtr(self.0.wrapping_add(bytes as u64))
    }

    /// Whether it is the null pointer.
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn as_void(self) -> *mut c_void {
        self.0 as usize as *mut c_void
    }
}

impl std::fmt::Display for DevicePtr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// The raw allocation that allocators build on; [`DeviceMemory`] is the owning form.
impl Device {
    /// Allocates `bytes` bytes of device memory, uninitialised, aligned to at least 256 bytes. Zero
    /// bytes give the null pointer.
    ///
    /// # Errors
    /// [`is_out_of_memory`](crate::Error::is_out_of_memory) when it does not fit.
    pub fn malloc(&self, bytes: usize) -> Result<DevicePtr> {
        if bytes == 0 {
            return Ok(DevicePtr::NULL);
        }
        self.make_current()?;
        let mut ptr = std::ptr::null_mut();
        // SAFETY: the call writes one pointer.
        unsafe {
            hip!(
                self.library(),
                hipMalloc(&mut ptr, bytes),
                "allocating {bytes} bytes on device {}",
                self.ordinal()
            )?
        };
        LIVE.mallocs.add();
        Ok(DevicePtr(ptr as usize as u64))
    }

    /// Gives an allocation back. HIP waits for the device first; an allocator that caches avoids that.
    ///
    /// # Errors
    /// HIP's error of the call; also that of work before it, since it waits.
    ///
    /// # Safety
    /// `ptr` came from [`malloc`](Device::malloc) of this device and is not used afterwards, by no queued work
    /// either. Null is allowed.
    pub unsafe fn free(&self, ptr: DevicePtr) -> Result<()> {
        if ptr.is_null() {
            return Ok(());
        }
        self.make_current()?;
        // SAFETY: the caller's promise.
        unsafe {
            hip!(
                self.library(),
                hipFree(ptr.as_void()),
                "freeing {ptr} on device {}",
                self.ordinal()
            )?
        };
        LIVE.frees.add();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_plain_addresses() {
        let ptr = DevicePtr::from_raw(0x1000);
        assert_eq!(ptr.offset(0x24).as_raw(), 0x1024);
        assert_eq!(ptr.offset(0x24).to_string(), "0x1024");
        assert!(DevicePtr::NULL.is_null() && !ptr.is_null());
        assert_eq!(std::mem::size_of::<DevicePtr>(), 8);
    }
}
