//! Streams: queues of a device, each in order.

use crate::counters::LIVE;
use crate::device::Device;
use crate::drop_failures;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::library::hip;
use crate::sys::hip::{hipError_t, hipStream_t};
use std::ffi::c_void;

/// `hipStreamNonBlocking` of hip_runtime_api.h: no implicit waiting for the null stream.
const NON_BLOCKING: u32 = 1;

/// A queue of a device: copies, fills and launches given to it run in order, without waiting for those
/// of other streams.
#[derive(Debug)]
pub struct Stream {
    device: Device,
    handle: hipStream_t,
}

// SAFETY: HIP's functions are thread-safe, and a stream may be used from any thread on which its device
// is current, which every method here sees to. The handle is only released in `Drop`.
unsafe impl Send for Stream {}
// SAFETY: as for `Send`; two threads that use one stream get their work queued in some order.
unsafe impl Sync for Stream {}

impl Stream {
    /// A new stream that does not wait for the null stream.
    ///
    /// # Errors
    /// HIP's error of the call, with what was being done.
    pub fn new(device: &Device) -> Result<Stream> {
        device.make_current()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the call writes one handle.
        unsafe {
            hip!(
                device.library(),
                hipStreamCreateWithFlags(&mut handle, NON_BLOCKING),
                "creating a stream on device {}",
                device.ordinal()
            )?
        };
        Ok(Stream {
            device: device.clone(),
            handle,
        })
    }

    /// The stream's device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The `hipStream_t`, for other libraries; it is valid as long as the stream lives.
    pub fn as_raw(&self) -> *mut c_void {
        self.handle.cast()
    }

    pub(crate) fn handle(&self) -> hipStream_t {
        self.handle
    }

    /// Waits for everything given to this stream so far.
    ///
    /// # Errors
    /// Also those of earlier kernels and copies.
    pub fn synchronize(&self) -> Result<()> {
        self.device.make_current()?;
        // SAFETY: the handle is live.
        unsafe {
            hip!(
                self.device.library(),
                hipStreamSynchronize(self.handle),
                "waiting for a stream of device {}",
                self.device.ordinal()
            )?
        };
        LIVE.synchronizations.add();
        Ok(())
    }

    /// Whether everything given to this stream so far is done.
    ///
    /// # Errors
    /// Also those of earlier kernels and copies.
    pub fn is_idle(&self) -> Result<bool> {
        self.device.make_current()?;
        // SAFETY: the handle is live.
        let status = unsafe { (self.device.library().functions().hipStreamQuery)(self.handle) };
        if status == hipError_t::hipErrorNotReady {
            return Ok(false);
        }
        self.device.library().check("hipStreamQuery", status, || {
            format!(
                "asking whether a stream of device {} is idle",
                self.device.ordinal()
            )
        })?;
        Ok(true)
    }

    /// Makes what is given to this stream from now on wait for `event`, which may be another device's.
    /// The host does not wait.
    ///
    /// # Errors
    /// HIP's error of the call, with what was being done.
    pub fn wait_event(&self, event: &Event) -> Result<()> {
        self.device.make_current()?;
        // SAFETY: both handles are live; HIP keeps what it needs of an event that is dropped early.
        unsafe {
            hip!(
                self.device.library(),
                hipStreamWaitEvent(self.handle, event.handle(), 0),
                "making a stream of device {} wait for an event",
                self.device.ordinal()
            )
        }
    }

    /// Refuses something of another device.
    pub(crate) fn expect_device(&self, device: &Device, what: &str) -> Result<()> {
        if *device == self.device {
            return Ok(());
        }
        Err(Error::InvalidArgument(format!(
            "{what} belongs to device {}, the stream to device {}",
            device.ordinal(),
            self.device.ordinal()
        )))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let release = || {
            self.device.make_current()?;
            // SAFETY: the handle is live and not used again. Work still queued runs to its end.
            unsafe {
                hip!(
                    self.device.library(),
                    hipStreamDestroy(self.handle),
                    "destroying a stream of device {}",
                    self.device.ordinal()
                )
            }
        };
        drop_failures::keep_drop_failure(release());
    }
}
