//! The current device of each thread: CUDA's current context is set once, to the device's primary context.

use crate::cuda::{self, Driver};
use crate::error::{check, finish, Failure, HipError, INVALID_DEVICE};
use std::cell::Cell;
use std::ffi::c_int;
use std::sync::OnceLock;

/// More cards than a machine has.
const MAX_DEVICES: usize = 64;

thread_local! {
    /// The device that this thread chose, once its context is current.
    static CURRENT: Cell<Option<c_int>> = const { Cell::new(None) };
}

/// Runs a call that needs no context.
pub fn global(work: impl FnOnce(&'static Driver) -> Result<(), Failure>) -> HipError {
    finish(Driver::get().map_err(Failure::from).and_then(work))
}

/// Runs a call with this thread's device; device 0 until it chose one, as HIP does.
#[inline]
pub fn current(work: impl FnOnce(&'static Driver) -> Result<(), Failure>) -> HipError {
    global(|driver| {
        if CURRENT.get().is_none() {
            choose(driver, 0)?;
        }
        work(driver)
    })
}

/// This thread's device.
pub fn device() -> c_int {
    CURRENT.get().unwrap_or(0)
}

/// Makes `ordinal` this thread's device.
pub fn choose(driver: &Driver, ordinal: c_int) -> Result<(), Failure> {
    let context = primary(driver, ordinal)?;
    // SAFETY: a context that is never released.
    check(unsafe { (driver.context_set)(context) })?;
    CURRENT.set(Some(ordinal));
    Ok(())
}

/// CUDA's number of a device.
pub fn handle(driver: &Driver, ordinal: c_int) -> Result<cuda::Device, Failure> {
    let mut device = 0;
    // SAFETY: the call writes one int.
    check(unsafe { (driver.device_get)(&mut device, ordinal) })?;
    Ok(device)
}

/// The primary context of a device, retained once and for the rest of the process.
pub fn primary(driver: &Driver, ordinal: c_int) -> Result<cuda::Handle, Failure> {
    static CONTEXTS: [OnceLock<Result<usize, cuda::Status>>; MAX_DEVICES] =
        [const { OnceLock::new() }; MAX_DEVICES];
    let slot = usize::try_from(ordinal).ok().and_then(|i| CONTEXTS.get(i));
    let Some(slot) = slot else {
        return Err(Failure::Own(
            INVALID_DEVICE,
            format!("there is no device {ordinal}"),
        ));
    };
    let device = handle(driver, ordinal)?;
    slot.get_or_init(|| {
        let mut context = std::ptr::null_mut();
        // SAFETY: the call writes one handle.
        match unsafe { (driver.context_retain)(&mut context, device) } {
            cuda::SUCCESS => Ok(context as usize),
            status => Err(status),
        }
    })
    .map(|context| context as cuda::Handle)
    .map_err(Failure::Cuda)
}
