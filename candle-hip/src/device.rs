//! A device and the thread's current device.

use crate::counters::LIVE;
use crate::error::{Error, Result};
use crate::fork;
use crate::library::{hip, Library};
use crate::properties::DeviceProperties;
use crate::sys::hip::hipError_t;
use std::cell::Cell;
use std::ffi::c_int;
use std::sync::Arc;

/// A GPU. Cheap to clone; two values with the same ordinal are the same device.
#[derive(Debug, Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    library: &'static Library,
    ordinal: usize,
    properties: DeviceProperties,
}

impl PartialEq for Device {
    fn eq(&self, other: &Device) -> bool {
        self.inner.ordinal == other.inner.ordinal
    }
}

impl Eq for Device {}

thread_local! {
    /// The device that this thread made current, so that it need not ask the runtime at every call.
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Whether a call that names no device says that there is none: `hipErrorNoDevice`, or
/// `hipErrorInvalidDevice` (seen: `hipInit` of ROCm 5.2.3 on a machine without a card).
fn means_no_device(status: hipError_t) -> bool {
    matches!(
        status,
        hipError_t::hipErrorNoDevice | hipError_t::hipErrorInvalidDevice
    )
}

impl Device {
    /// How many devices the runtime sees; 0 when it sees none.
    ///
    /// # Errors
    /// Those of [`Library::get`], and the runtime's own.
    pub fn count() -> Result<usize> {
        let library = Library::get()?;
        let functions = library.functions();
        let context = || "counting the devices".to_string();
        // SAFETY: no pointers; repeated calls do nothing.
        let status = unsafe { (functions.hipInit)(0) };
        if means_no_device(status) {
            return Ok(0);
        }
        library.check("hipInit", status, context)?;
        let mut count = 0;
        // SAFETY: the call writes one int.
        let status = unsafe { (functions.hipGetDeviceCount)(&mut count) };
        if means_no_device(status) {
            return Ok(0);
        }
        library.check("hipGetDeviceCount", status, context)?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// The device with this ordinal, as `HIP_VISIBLE_DEVICES` numbers them, with its properties.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when there is no such device; those of [`Library::get`];
    /// [`Error::UnknownDevice`] when the runtime's answers make no sense to this version.
    pub fn new(ordinal: usize) -> Result<Device> {
        let count = Device::count()?;
        if ordinal >= count {
            return Err(Error::NoDevice { ordinal, count });
        }
        let library = Library::get()?;
        let properties = DeviceProperties::query(library, ordinal)?;
        let inner = Inner {
            library,
            ordinal,
            properties,
        };
        Ok(Device {
            inner: Arc::new(inner),
        })
    }

    /// The device's number.
    pub fn ordinal(&self) -> usize {
        self.inner.ordinal
    }

    /// What the device is.
    pub fn properties(&self) -> &DeviceProperties {
        &self.inner.properties
    }

    pub(crate) fn library(&self) -> &'static Library {
        self.inner.library
    }

    /// The ordinal as HIP takes it; `new` accepted only ordinals below a C int.
    pub(crate) fn handle(&self) -> c_int {
        self.inner.ordinal as c_int
    }

    /// Makes this the calling thread's current device. Free when it is already, as far as this crate
    /// knows: code that calls `hipSetDevice` by other means on the same thread must set it back.
    ///
    /// Every other call of this crate does it by itself.
    ///
    /// # Errors
    /// [`Error::Forked`], and those of `hipSetDevice`.
    #[inline]
    pub fn make_current(&self) -> Result<()> {
        fork::expect_own_process()?;
        // `try_with`: a thread that is ending may drop handles after its locals are gone.
        let current = CURRENT.try_with(Cell::get).unwrap_or(None);
        if current == Some(self.inner.ordinal) {
            return Ok(());
        }
        self.set_current()
    }

    #[cold]
    fn set_current(&self) -> Result<()> {
        // SAFETY: no pointers.
        unsafe {
            hip!(
                self.library(),
                hipSetDevice(self.handle()),
                "making device {} current",
                self.ordinal()
            )?
        };
        let _ = CURRENT.try_with(|current| current.set(Some(self.inner.ordinal)));
        Ok(())
    }

    /// Free and total device memory in bytes.
    ///
    /// # Errors
    /// HIP's error of the call, with what was being done.
    pub fn memory_info(&self) -> Result<(usize, usize)> {
        self.make_current()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: the call writes two size_t.
        unsafe {
            hip!(
                self.library(),
                hipMemGetInfo(&mut free, &mut total),
                "asking device {} for its free memory",
                self.ordinal()
            )?
        };
        Ok((free, total))
    }

    /// Waits for everything that was given to the device, on all streams.
    ///
    /// # Errors
    /// Also those of earlier kernels and copies.
    pub fn synchronize(&self) -> Result<()> {
        self.make_current()?;
        // SAFETY: no pointers.
        unsafe {
            hip!(
                self.library(),
                hipDeviceSynchronize(),
                "waiting for device {}",
                self.ordinal()
            )?
        };
        LIVE.synchronizations.add();
        Ok(())
    }

    /// Whether kernels of this device can be given access to `peer`'s memory.
    ///
    /// # Errors
    /// HIP's error of the call, with what was being done.
    pub fn can_access_peer(&self, peer: &Device) -> Result<bool> {
        if self == peer {
            return Ok(true);
        }
        let mut can = 0;
        // SAFETY: the call writes one int.
        unsafe {
            hip!(
                self.library(),
                hipDeviceCanAccessPeer(&mut can, self.handle(), peer.handle()),
                "asking whether device {} can access device {}",
                self.ordinal(),
                peer.ordinal()
            )?
        };
        Ok(can != 0)
    }

    /// Gives kernels of this device access to `peer`'s memory. Again is not an error.
    ///
    /// # Errors
    /// HIP's error of the call: [`can_access_peer`](Device::can_access_peer) says beforehand whether it can succeed.
    pub fn enable_peer(&self, peer: &Device) -> Result<()> {
        if self == peer {
            return Ok(());
        }
        self.make_current()?;
        // SAFETY: no pointers.
        let status =
            unsafe { (self.library().functions().hipDeviceEnablePeerAccess)(peer.handle(), 0) };
        if status == hipError_t::hipErrorPeerAccessAlreadyEnabled {
            return Ok(());
        }
        self.library()
            .check("hipDeviceEnablePeerAccess", status, || {
                format!(
                    "giving device {} access to device {}",
                    self.ordinal(),
                    peer.ordinal()
                )
            })
    }
}
