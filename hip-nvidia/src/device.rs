//! Devices: what there is, what it is, which one a thread uses.

use crate::attributes::{self, Card, Layout, ROCM5, ROCM6};
use crate::context::{choose, current, device, global, handle, primary};
use crate::cuda::Driver;
use crate::error::{check, finish, Failure, HipError, INVALID_VALUE, NO_DEVICE};
use std::ffi::{c_char, c_int, c_uint, c_void};

/// The HIP release whose structures this library writes: 6.0.
const HIP_VERSION: c_int = 60_000_000;

/// Opens the CUDA driver. Without one: `hipErrorSharedObjectInitFailed`, and `hipGetErrorString` says what to do.
#[no_mangle]
pub extern "C" fn hipInit(_flags: c_uint) -> HipError {
    global(|_| Ok(()))
}

/// Answers without a driver too: who opens the library asks before anything else.
#[no_mangle]
pub unsafe extern "C" fn hipRuntimeGetVersion(version: *mut c_int) -> HipError {
    // SAFETY: valid or null by HIP's contract.
    finish(unsafe { give(version, HIP_VERSION) })
}

/// Writes a result.
///
/// # Safety
/// `at` is null or may be written.
unsafe fn give<T>(at: *mut T, value: T) -> Result<(), Failure> {
    if at.is_null() {
        return Err(Failure::Own(
            INVALID_VALUE,
            "the pointer for the result is null".into(),
        ));
    }
    // SAFETY: the caller's promise.
    unsafe { at.write(value) };
    Ok(())
}

#[no_mangle]
pub unsafe extern "C" fn hipGetDeviceCount(count: *mut c_int) -> HipError {
    global(|driver| {
        let mut devices = 0;
        // SAFETY: the call writes one int.
        check(unsafe { (driver.device_count)(&mut devices) })?;
        // SAFETY: valid or null by HIP's contract.
        unsafe { give(count, devices) }?;
        match devices {
            0 => Err(Failure::Own(
                NO_DEVICE,
                "the CUDA driver sees no card".into(),
            )),
            _ => Ok(()),
        }
    })
}

#[no_mangle]
pub extern "C" fn hipSetDevice(ordinal: c_int) -> HipError {
    global(|driver| choose(driver, ordinal))
}

#[no_mangle]
pub unsafe extern "C" fn hipGetDevice(ordinal: *mut c_int) -> HipError {
    // SAFETY: valid or null by HIP's contract.
    current(|_| unsafe { give(ordinal, device()) })
}

#[no_mangle]
pub unsafe extern "C" fn hipDeviceGetName(
    name: *mut c_char,
    bytes: c_int,
    ordinal: c_int,
) -> HipError {
    // SAFETY: HIP's contract: `name` has `bytes` bytes.
    global(|driver| check(unsafe { (driver.device_name)(name, bytes, handle(driver, ordinal)?) }))
}

#[no_mangle]
pub unsafe extern "C" fn hipDeviceTotalMem(bytes: *mut usize, ordinal: c_int) -> HipError {
    // SAFETY: valid or null by HIP's contract; CUDA refuses null.
    global(|driver| check(unsafe { (driver.device_memory)(bytes, handle(driver, ordinal)?) }))
}

#[no_mangle]
pub unsafe extern "C" fn hipDeviceGetPCIBusId(
    id: *mut c_char,
    bytes: c_int,
    ordinal: c_int,
) -> HipError {
    // SAFETY: HIP's contract: `id` has `bytes` bytes.
    global(|driver| {
        check(unsafe { (driver.device_pci_bus_id)(id, bytes, handle(driver, ordinal)?) })
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipDeviceGetAttribute(
    value: *mut c_int,
    hip: c_int,
    ordinal: c_int,
) -> HipError {
    global(|driver| {
        let Some(cuda) = attributes::cuda_attribute(hip) else {
            let what = format!("hip-nvidia does not know the device attribute {hip}");
            return Err(Failure::Own(INVALID_VALUE, what));
        };
        // SAFETY: valid or null by HIP's contract; CUDA refuses null.
        check(unsafe { (driver.device_attribute)(value, cuda, handle(driver, ordinal)?) })
    })
}

fn card(driver: &Driver, ordinal: c_int) -> Result<Card, Failure> {
    let device = handle(driver, ordinal)?;
    let ask = |attribute| {
        let mut value = 0;
        // SAFETY: the call writes one int.
        check(unsafe { (driver.device_attribute)(&mut value, attribute, device) })?;
        Ok::<_, Failure>(value)
    };
    let (mut name, mut memory) = ([0u8; 256], 0);
    // SAFETY: the buffer has 256 bytes.
    check(unsafe { (driver.device_name)(name.as_mut_ptr().cast(), 256, device) })?;
    // SAFETY: the call writes one size_t.
    check(unsafe { (driver.device_memory)(&mut memory, device) })?;
    let length = name
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(name.len());
    Ok(Card {
        name: name[..length].to_vec(),
        memory: memory as u64,
        shared_memory: u64::try_from(ask(attributes::SHARED_MEMORY_OPTIN)?).unwrap_or(0),
        registers: ask(attributes::REGISTERS_PER_BLOCK)?,
        warp_size: ask(attributes::WARP_SIZE)?,
        max_threads: ask(attributes::THREADS_PER_BLOCK)?,
        major: ask(attributes::CAPABILITY_MAJOR)?,
        minor: ask(attributes::CAPABILITY_MINOR)?,
        multiprocessors: ask(attributes::MULTIPROCESSORS)?,
    })
}

/// # Safety
/// `properties` is null or has the layout's bytes.
unsafe fn properties(properties: *mut c_void, ordinal: c_int, layout: &Layout) -> HipError {
    global(|driver| {
        let bytes = layout.fill(&card(driver, ordinal)?);
        if properties.is_null() {
            return Err(Failure::Own(
                INVALID_VALUE,
                "the pointer to the properties is null".into(),
            ));
        }
        // SAFETY: the caller's promise.
        unsafe {
            properties
                .cast::<u8>()
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
        Ok(())
    })
}

/// ROCm 6's structure.
#[no_mangle]
pub unsafe extern "C" fn hipGetDevicePropertiesR0600(at: *mut c_void, ordinal: c_int) -> HipError {
    // SAFETY: HIP's contract.
    unsafe { properties(at, ordinal, &ROCM6) }
}

/// ROCm 5's structure, which keeps the plain name.
#[no_mangle]
pub unsafe extern "C" fn hipGetDeviceProperties(at: *mut c_void, ordinal: c_int) -> HipError {
    // SAFETY: HIP's contract.
    unsafe { properties(at, ordinal, &ROCM5) }
}

#[no_mangle]
pub extern "C" fn hipDeviceSynchronize() -> HipError {
    // SAFETY: no pointers.
    current(|driver| check(unsafe { (driver.context_synchronize)() }))
}

#[no_mangle]
pub unsafe extern "C" fn hipDeviceCanAccessPeer(
    can: *mut c_int,
    ordinal: c_int,
    peer: c_int,
) -> HipError {
    global(|driver| {
        let (device, peer) = (handle(driver, ordinal)?, handle(driver, peer)?);
        // SAFETY: valid or null by HIP's contract; CUDA refuses null.
        check(unsafe { (driver.device_can_access_peer)(can, device, peer) })
    })
}

#[no_mangle]
pub extern "C" fn hipDeviceEnablePeerAccess(peer: c_int, flags: c_uint) -> HipError {
    current(|driver| {
        let context = primary(driver, peer)?;
        // SAFETY: a context that is never released.
        check(unsafe { (driver.context_enable_peer)(context, flags) })
    })
}
