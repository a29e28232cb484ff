//! Allocation: device memory, pinned host memory, registered host memory.

use super::error::{Code, HipError, Refusal};
use super::graph::expect_no_capture;
use super::runtime::{call, give, Runtime};
use super::stream::StreamHandle;
use crate::memory::{Kind, MemoryError};
use std::ffi::{c_int, c_uint, c_void};

impl From<MemoryError> for Refusal {
    fn from(error: MemoryError) -> Refusal {
        let code = match error {
            MemoryError::DeviceFull { .. } | MemoryError::HostFull(_) => Code::ErrorOutOfMemory,
            MemoryError::NotAnAllocation { .. } => Code::ErrorInvalidValue,
            MemoryError::Overlap { .. } => Code::ErrorHostMemoryAlreadyRegistered,
        };
        Refusal::new(code, error.to_string())
    }
}

/// Allocates and gives the address; nothing, and null, for 0 bytes.
///
/// # Safety
/// `pointer` must be null (which is refused) or valid.
unsafe fn allocate(
    runtime: &Runtime,
    pointer: *mut *mut c_void,
    bytes: usize,
    kind: Kind,
) -> Result<(), Refusal> {
    // SAFETY: forwarded to the caller. Refuses null before anything is allocated.
    unsafe { give(pointer, std::ptr::null_mut()) }?;
    if bytes == 0 {
        return Ok(());
    }
    let block = runtime.memory.allocate(bytes, kind)?;
    // SAFETY: as above.
    unsafe { give(pointer, block.start() as *mut c_void) }
}

/// Frees what starts at `pointer`; null is fine.
fn free(
    runtime: &Runtime,
    pointer: *mut c_void,
    by: &'static str,
    accept: impl Fn(Kind) -> bool,
) -> Result<(), Refusal> {
    match pointer.is_null() {
        true => Ok(()),
        false => Ok(runtime.memory.free(pointer as u64, by, accept)?),
    }
}

fn is_device(kind: Kind) -> bool {
    matches!(kind, Kind::Device(_))
}

/// Memory of the current device, 256-byte aligned, filled with 0xA5 unless `HIP_EMULATOR_POISON=0`.
#[no_mangle]
pub unsafe extern "C" fn hipMalloc(pointer: *mut *mut c_void, bytes: usize) -> HipError {
    call("hipMalloc", |runtime| {
        expect_no_capture("hipMalloc")?;
        runtime.expect_current()?;
        // SAFETY: valid or null by HIP's contract.
        unsafe { allocate(runtime, pointer, bytes, Kind::Device(runtime.current())) }
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipMallocAsync(
    pointer: *mut *mut c_void,
    bytes: usize,
    stream: StreamHandle,
) -> HipError {
    call("hipMallocAsync", |runtime| {
        let device = runtime.stream(stream)?.device;
        // SAFETY: valid or null by HIP's contract.
        unsafe { allocate(runtime, pointer, bytes, Kind::Device(device)) }
    })
}

/// Frees device memory. A kernel that runs meanwhile on another thread keeps it until it ends. That of a lost device is
/// gone too, and the loss is said.
#[no_mangle]
pub extern "C" fn hipFree(pointer: *mut c_void) -> HipError {
    call("hipFree", |runtime| {
        expect_no_capture("hipFree")?;
        free(runtime, pointer, "hipFree", is_device)?;
        runtime.expect_current()
    })
}

#[no_mangle]
pub extern "C" fn hipFreeAsync(pointer: *mut c_void, stream: StreamHandle) -> HipError {
    call("hipFreeAsync", |runtime| {
        runtime.stream(stream)?;
        free(runtime, pointer, "hipFreeAsync", is_device)
    })
}

/// Pinned host memory, which every device reaches. Flags only tune a real device.
#[no_mangle]
pub unsafe extern "C" fn hipHostMalloc(
    pointer: *mut *mut c_void,
    bytes: usize,
    _flags: c_uint,
) -> HipError {
    call("hipHostMalloc", |runtime| {
        // SAFETY: valid or null by HIP's contract.
        unsafe { allocate(runtime, pointer, bytes, Kind::Host) }
    })
}

#[no_mangle]
pub extern "C" fn hipHostFree(pointer: *mut c_void) -> HipError {
    call("hipHostFree", |runtime| {
        free(runtime, pointer, "hipHostFree", |kind| kind == Kind::Host)
    })
}

/// Makes the caller's memory reachable for kernels at its own address.
#[no_mangle]
pub unsafe extern "C" fn hipHostRegister(
    pointer: *mut c_void,
    bytes: usize,
    _flags: c_uint,
) -> HipError {
    call("hipHostRegister", |runtime| {
        if pointer.is_null() || bytes == 0 {
            return Err(Refusal::new(Code::ErrorInvalidValue, "nothing to register"));
        }
        // SAFETY: HIP's contract is the same: the memory stays until it is unregistered.
        unsafe { runtime.memory.register(pointer as u64, bytes) }?;
        Ok(())
    })
}

#[no_mangle]
pub extern "C" fn hipHostUnregister(pointer: *mut c_void) -> HipError {
    call("hipHostUnregister", |runtime| {
        let accept = |kind| kind == Kind::Registered;
        runtime
            .memory
            .free(pointer as u64, "hipHostUnregister", accept)
            .map_err(|error| Refusal::new(Code::ErrorHostMemoryNotRegistered, error.to_string()))
    })
}

/// Device addresses are host addresses.
#[no_mangle]
pub unsafe extern "C" fn hipHostGetDevicePointer(
    device_pointer: *mut *mut c_void,
    host_pointer: *mut c_void,
    _flags: c_uint,
) -> HipError {
    call("hipHostGetDevicePointer", |runtime| {
        let known = runtime.memory.block_at(host_pointer as u64);
        match known.map(|block| block.kind) {
            // SAFETY: valid or null by HIP's contract.
            Some(Kind::Host | Kind::Registered) => unsafe { give(device_pointer, host_pointer) },
            _ => Err(Refusal::new(
                Code::ErrorInvalidValue,
                "the memory is neither pinned nor registered",
            )),
        }
    })
}

/// Counts live `hipMalloc` and `hipHostMalloc` allocations. Either pointer may be null.
///
/// # Safety
/// Each pointer must be null or valid.
#[no_mangle]
pub unsafe extern "C" fn hipEmulatorLiveAllocations(
    count: *mut usize,
    bytes: *mut usize,
) -> HipError {
    call("hipEmulatorLiveAllocations", |runtime| {
        let totals = runtime.memory.totals();
        for (pointer, value) in [(count, totals.live_count), (bytes, totals.live_bytes)] {
            if !pointer.is_null() {
                // SAFETY: not null; valid by this function's contract.
                unsafe { give(pointer, value) }?;
            }
        }
        Ok(())
    })
}

/// `hipDeviceSetLimit` and memory pools are not offered; candle-hip allocates from its own pool.
#[no_mangle]
pub extern "C" fn hipDeviceSetLimit(_limit: c_int, _value: usize) -> HipError {
    call("hipDeviceSetLimit", |_| Err(Code::ErrorNotSupported.into()))
}
