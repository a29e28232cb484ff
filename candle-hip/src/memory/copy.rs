//! Copies and fills, in the order of a stream.
//!
//! These are the raw forms: they take addresses, so that an allocator may hand out parts of an
//! allocation. [`DeviceMemory`](crate::DeviceMemory) has checked ones.

use super::DevicePtr;
use crate::counters::LIVE;
use crate::device::Device;
use crate::error::Result;
use crate::library::hip;
use crate::stream::Stream;
use crate::sys::hip::hipMemcpyKind as Kind;

macro_rules! fill {
    ($(#[$doc:meta])* $name:ident, $function:ident, $value:ty as $c_value:ty) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// HIP's error of the call, with what was being done.
        ///
        /// # Safety
        /// The elements from `dst` on lie in one live allocation that this device can access, at the
        /// element's alignment, and stay allocated until the stream has passed this point.
        pub unsafe fn $name(&self, dst: DevicePtr, value: $value, count: usize) -> Result<()> {
            if count == 0 {
                return Ok(());
            }
            self.device().make_current()?;
            // SAFETY: the caller's promise; the stream is live.
            unsafe {
                hip!(
                    self.device().library(),
                    $function(dst.as_void(), value as $c_value, count, self.handle()),
                    "filling {count} × {} at {dst} on device {}",
                    stringify!($value),
                    self.device().ordinal()
                )?
            };
            LIVE.memsets.add();
            Ok(())
        }
    };
}

impl Stream {
    /// Copies `src` to the device. The host may go on before the copy is done.
    ///
    /// # Errors
    /// HIP's error of the call, with what was being done.
    ///
    /// # Safety
    /// `T` has no padding. `dst` points to `size_of_val(src)` bytes of one live allocation. Both sides stay
    /// allocated, and `src` unchanged, until the stream has passed this point.
    pub unsafe fn copy_to_device<T: Copy>(&self, dst: DevicePtr, src: &[T]) -> Result<()> {
        let bytes = std::mem::size_of_val(src);
        if bytes == 0 {
            return Ok(());
        }
        self.device().make_current()?;
        // SAFETY: the caller's promise; the stream is live.
        unsafe {
            hip!(
                self.device().library(),
                hipMemcpyAsync(
                    dst.as_void(),
                    src.as_ptr().cast(),
                    bytes,
                    Kind::hipMemcpyHostToDevice,
                    self.handle()
                ),
                "copying {bytes} bytes from the host to {dst} on device {}",
                self.device().ordinal()
            )?
        };
        LIVE.host_to_device.add(bytes);
        Ok(())
    }

    /// Copies from the device into `dst`. The host may go on before the copy is done.
    ///
    /// # Errors
    /// HIP's error of the call, with what was being done.
    ///
    /// # Safety
    /// Every bit pattern is a valid `T`. `src` points to `size_of_val(dst)` bytes of one live allocation. Both
    /// sides stay allocated, and `dst` is neither read nor written, until the stream has passed this
    /// point.
    pub unsafe fn copy_to_host<T: Copy>(&self, dst: &mut [T], src: DevicePtr) -> Result<()> {
        let bytes = std::mem::size_of_val(dst);
        if bytes == 0 {
            return Ok(());
        }
        self.device().make_current()?;
        // SAFETY: the caller's promise; the stream is live.
        unsafe {
            hip!(
                self.device().library(),
                hipMemcpyAsync(
                    dst.as_mut_ptr().cast(),
                    src.as_void(),
                    bytes,
                    Kind::hipMemcpyDeviceToHost,
                    self.handle()
                ),
                "copying {bytes} bytes from {src} on device {} to the host",
                self.device().ordinal()
            )?
        };
        LIVE.device_to_host.add(bytes);
        Ok(())
    }

    /// Copies within the stream's device.
    ///
    /// # Errors
    /// HIP's error of the call, with what was being done.
    ///
    /// # Safety
    /// `dst` and `src` each point to `bytes` bytes of a live allocation of this device; the ranges do not overlap;
    /// both stay allocated until the stream has passed this point.
    pub unsafe fn copy_on_device(
        &self,
        dst: DevicePtr,
        src: DevicePtr,
        bytes: usize,
    ) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        self.device().make_current()?;
        // SAFETY: the caller's promise; the stream is live.
        unsafe {
            hip!(
                self.device().library(),
                hipMemcpyAsync(
                    dst.as_void(),
                    src.as_void(),
                    bytes,
                    Kind::hipMemcpyDeviceToDevice,
                    self.handle()
                ),
                "copying {bytes} bytes from {src} to {dst} on device {}",
                self.device().ordinal()
            )?
        };
        LIVE.device_to_device.add(bytes);
        Ok(())
    }

    /// Copies from another device to this stream's. It does not wait for the other device's streams: record
    /// an [`Event`](crate::Event) there and [`wait_event`](Stream::wait_event) for it here.
    ///
    /// # Errors
    /// HIP's error of the call, with what was being done.
    ///
    /// # Safety
    /// `dst` points to `bytes` bytes of a live allocation of this stream's device, `src` of `src_device`'s;
    /// both stay allocated until the stream has passed this point.
    pub unsafe fn copy_from_peer(
        &self,
        dst: DevicePtr,
        src: DevicePtr,
        src_device: &Device,
        bytes: usize,
    ) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        self.device().make_current()?;
        let (to, from) = (self.device(), src_device);
        // SAFETY: the caller's promise; the stream is live.
        unsafe {
            hip!(
                to.library(),
                hipMemcpyPeerAsync(
                    dst.as_void(),
                    to.handle(),
                    src.as_void(),
                    from.handle(),
                    bytes,
                    self.handle()
                ),
                "copying {bytes} bytes from {src} on device {} to {dst} on device {}",
                from.ordinal(),
                to.ordinal()
            )?
        };
        LIVE.device_to_device.add(bytes);
        Ok(())
    }

    fill!(
        /// Sets `count` bytes.
        fill_u8, hipMemsetD8Async, u8 as u8
    );
    fill!(
        /// Sets `count` 16-bit elements.
        fill_u16, hipMemsetD16Async, u16 as u16
    );
    fill!(
        /// Sets `count` 32-bit elements.
        fill_u32, hipMemsetD32Async, u32 as i32
    );
}
