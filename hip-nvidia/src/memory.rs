//! Memory: allocations, copies, fills.

use crate::context::{current, primary};
use crate::cuda::{Driver, Handle};
use crate::error::{check, Failure, HipError, INVALID_VALUE};
use std::ffi::{c_int, c_uint, c_void};

/// `hipErrorInvalidMemcpyDirection` is not CUDA's; a plain invalid value says as much.
const KINDS: &str = "hipMemcpyKind goes from 0 to 4";
/// `hipHostMallocPortable` and `hipHostMallocMapped`, which have CUDA's numbers: HIP's host memory is both always.
const PORTABLE_AND_MAPPED: c_uint = 3;
/// `hipHostMallocWriteCombined`, likewise.
const WRITE_COMBINED: c_uint = 4;

#[no_mangle]
pub unsafe extern "C" fn hipMemGetInfo(free: *mut usize, total: *mut usize) -> HipError {
    // SAFETY: valid by HIP's contract.
    current(|driver| check(unsafe { (driver.memory_info)(free, total) }))
}

/// # Safety
/// `at` is null or may be written.
unsafe fn allocate(
    at: *mut *mut c_void,
    bytes: usize,
    work: impl FnOnce(&Driver, &mut *mut c_void) -> Result<(), Failure>,
) -> HipError {
    current(|driver| {
        if at.is_null() {
            return Err(Failure::Own(
                INVALID_VALUE,
                "the pointer for the address is null".into(),
            ));
        }
        let mut memory = std::ptr::null_mut();
        // HIP gives null for nothing; CUDA refuses.
        if bytes != 0 {
            work(driver, &mut memory)?;
        }
        // SAFETY: the caller's promise.
        unsafe { at.write(memory) };
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipMalloc(at: *mut *mut c_void, bytes: usize) -> HipError {
    let work = |driver: &Driver, memory: &mut *mut c_void| {
        let mut pointer = 0;
        // SAFETY: the call writes one address.
        check(unsafe { (driver.memory_allocate)(&mut pointer, bytes) })?;
        *memory = pointer as *mut c_void;
        Ok(())
    };
    // SAFETY: HIP's contract.
    unsafe { allocate(at, bytes, work) }
}

#[no_mangle]
pub unsafe extern "C" fn hipFree(memory: *mut c_void) -> HipError {
    current(|driver| match memory.is_null() {
        true => Ok(()),
        // SAFETY: CUDA refuses what it has not allocated.
        false => check(unsafe { (driver.memory_free)(memory as u64) }),
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipHostMalloc(
    at: *mut *mut c_void,
    bytes: usize,
    flags: c_uint,
) -> HipError {
    let work = |driver: &Driver, memory: &mut *mut c_void| {
        let flags = flags & WRITE_COMBINED | PORTABLE_AND_MAPPED;
        // SAFETY: the call writes one pointer.
        check(unsafe { (driver.host_allocate)(memory, bytes, flags) })
    };
    // SAFETY: HIP's contract.
    unsafe { allocate(at, bytes, work) }
}

#[no_mangle]
pub unsafe extern "C" fn hipHostFree(memory: *mut c_void) -> HipError {
    current(|driver| match memory.is_null() {
        true => Ok(()),
        // SAFETY: CUDA refuses what it has not allocated.
        false => check(unsafe { (driver.host_free)(memory) }),
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipMemcpyAsync(
    to: *mut c_void,
    from: *const c_void,
    bytes: usize,
    kind: c_int,
    stream: Handle,
) -> HipError {
    current(|driver| {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: HIP's contract: both ranges are valid on the sides that `kind` says, until the stream has passed.
        check(unsafe {
            match kind {
                1 => (driver.copy_to_device)(to as u64, from, bytes, stream),
                2 => (driver.copy_to_host)(to, from as u64, bytes, stream),
                3 => (driver.copy_on_device)(to as u64, from as u64, bytes, stream),
                // Host to host, and by the addresses: unified addressing tells.
                0 | 4 => (driver.copy_any)(to as u64, from as u64, bytes, stream),
                _ => return Err(Failure::Own(INVALID_VALUE, KINDS.into())),
            }
        })
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipMemcpyPeerAsync(
    to: *mut c_void,
    to_device: c_int,
    from: *const c_void,
    from_device: c_int,
    bytes: usize,
    stream: Handle,
) -> HipError {
    current(|driver| {
        let (to_context, from_context) =
            (primary(driver, to_device)?, primary(driver, from_device)?);
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: HIP's contract, as for hipMemcpyAsync.
        check(unsafe {
            (driver.copy_peer)(
                to as u64,
                to_context,
                from as u64,
                from_context,
                bytes,
                stream,
            )
        })
    })
}

macro_rules! fills {
    ($($name:ident, $field:ident, $value:ty;)*) => {$(
        /// `count` counts elements.
        #[no_mangle]
        pub unsafe extern "C" fn $name(at: *mut c_void, value: $value, count: usize, stream: Handle) -> HipError {
            current(|driver| match count {
                0 => Ok(()),
                // SAFETY: HIP's contract: the elements are device memory.
                _ => check(unsafe { (driver.$field)(at as u64, value as _, count, stream) }),
            })
        }
    )*};
}

fills! {
    hipMemsetD8Async, fill_u8, u8;
    hipMemsetD16Async, fill_u16, u16;
    hipMemsetD32Async, fill_u32, c_int;
}
