//! Events: marks in streams.

use crate::counters::LIVE;
use crate::device::Device;
use crate::drop_failures;
use crate::error::Result;
use crate::library::hip;
use crate::stream::Stream;
use crate::sys::hip::{hipError_t, hipEvent_t};

/// `hipEventDefault` and `hipEventDisableTiming` of hip_runtime_api.h.
const TIMING: u32 = 0;
const NO_TIMING: u32 = 2;

/// A mark in a stream that others can wait for and, if it was made for it, that knows its time.
#[derive(Debug)]
pub struct Event {
    device: Device,
    handle: hipEvent_t,
}

// SAFETY: HIP's functions are thread-safe and an event belongs to no thread; each method makes its
// device current. The handle is only released in `Drop`.
unsafe impl Send for Event {}
// SAFETY: as for `Send`.
unsafe impl Sync for Event {}

impl Event {
    /// An event for ordering; the cheapest kind.
    ///
    /// # Errors
    /// HIP's error of the call, with what was being done.
    pub fn new(device: &Device) -> Result<Event> {
        Event::with_flags(device, NO_TIMING)
    }

    /// An event that also takes the time.
    ///
    /// # Errors
    /// HIP's error of the call, with what was being done.
    pub fn with_timing(device: &Device) -> Result<Event> {
        Event::with_flags(device, TIMING)
    }

    fn with_flags(device: &Device, flags: u32) -> Result<Event> {
        device.make_current()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the call writes one handle.
        unsafe {
            hip!(
                device.library(),
                hipEventCreateWithFlags(&mut handle, flags),
                "creating an event on device {}",
                device.ordinal()
            )?
        };
        Ok(Event {
            device: device.clone(),
            handle,
        })
    }

    pub(crate) fn handle(&self) -> hipEvent_t {
        self.handle
    }

    /// Marks the present end of `stream`, of the same device; an earlier mark is forgotten.
    ///
    /// # Errors
    /// A stream of another device; HIP's error of the call.
    pub fn record(&self, stream: &Stream) -> Result<()> {
        stream.expect_device(&self.device, "the event")?;
        self.device.make_current()?;
        // SAFETY: both handles are live.
        unsafe {
            hip!(
                self.device.library(),
                hipEventRecord(self.handle, stream.handle()),
                "recording an event on device {}",
                self.device.ordinal()
            )
        }
    }

    /// Waits until the stream has passed the mark.
    ///
    /// # Errors
    /// What the stream's work before the mark ended with, or HIP's error of the call.
    pub fn synchronize(&self) -> Result<()> {
        self.device.make_current()?;
        // SAFETY: the handle is live.
        unsafe {
            hip!(
                self.device.library(),
                hipEventSynchronize(self.handle),
                "waiting for an event on device {}",
                self.device.ordinal()
            )?
        };
        LIVE.synchronizations.add();
        Ok(())
    }

    /// Whether the stream has passed the mark; true for an event that was never recorded.
    ///
    /// # Errors
    /// What the stream's work before the mark ended with, or HIP's error of the call.
    pub fn is_complete(&self) -> Result<bool> {
        self.device.make_current()?;
        // SAFETY: the handle is live.
        let status = unsafe { (self.device.library().functions().hipEventQuery)(self.handle) };
        if status == hipError_t::hipErrorNotReady {
            return Ok(false);
        }
        let context = || {
            format!(
                "asking whether an event on device {} is complete",
                self.device.ordinal()
            )
        };
        self.device
            .library()
            .check("hipEventQuery", status, context)?;
        Ok(true)
    }

    /// Milliseconds from `self` to `end`. Both must be made with timing, recorded and complete.
    ///
    /// # Errors
    /// HIP's error of the call, among them for an event without timing, not recorded, or not complete.
    pub fn elapsed_ms(&self, end: &Event) -> Result<f32> {
        self.device.make_current()?;
        let mut ms = 0.0;
        // SAFETY: both handles are live; the call writes one float.
        unsafe {
            hip!(
                self.device.library(),
                hipEventElapsedTime(&mut ms, self.handle, end.handle),
                "taking the time between two events on device {}",
                self.device.ordinal()
            )?
        };
        Ok(ms)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let release = || {
            self.device.make_current()?;
            // SAFETY: the handle is live and not used again.
            unsafe {
                hip!(
                    self.device.library(),
                    hipEventDestroy(self.handle),
                    "destroying an event on device {}",
                    self.device.ordinal()
                )
            }
        };
        drop_failures::keep_drop_failure(release());
    }
}
