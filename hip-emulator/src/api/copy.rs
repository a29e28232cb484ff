//! Copies and fills, checked against the live allocations.

use super::error::{Code, HipError, Refusal};
use super::runtime::{call, Runtime};
use super::stream::StreamHandle;
use crate::memory::Block;
use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

/// What a copy's caller says about one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Must lie in a live allocation.
    Device,
    /// Any memory of the process.
    Host,
}

/// `hipMemcpyKind` as (destination, source). `hipMemcpyDefault` (4) finds out by the address.
fn ends(kind: c_uint) -> Result<(End, End), Refusal> {
    match kind {
        0 | 4 => Ok((End::Host, End::Host)),
        1 => Ok((End::Device, End::Host)),
        2 => Ok((End::Host, End::Device)),
        3 => Ok((End::Device, End::Device)),
        _ => Err(Refusal::new(
            Code::ErrorInvalidMemcpyDirection,
            format!("direction {kind}"),
        )),
    }
}

/// Checks one end of a copy. The block, if any, must be held until the copy is over.
fn check(
    runtime: &Runtime,
    what: &str,
    pointer: u64,
    bytes: usize,
    end: End,
) -> Result<Option<Arc<Block>>, Refusal> {
    if pointer == 0 {
        return Err(Refusal::new(
            Code::ErrorInvalidValue,
            format!("the {what} is null"),
        ));
    }
    match runtime.memory.block_at(pointer) {
        Some(block) if bytes as u64 <= block.end() - pointer => Ok(Some(block)),
        None if end == End::Host => Ok(None),
        block => {
            let code = match block {
                Some(_) => Code::ErrorInvalidValue,
                None => Code::ErrorInvalidDevicePointer,
            };
            let place = runtime.memory.describe(pointer, bytes as u64, None);
            Err(Refusal::new(
                code,
                format!("the {what}, {bytes} bytes at {pointer:#x}: {place}"),
            ))
        }
    }
}

/// Copies on a stream.
///
/// # Safety
/// An end that is host memory must be valid for `bytes` bytes.
unsafe fn copy(
    runtime: &Runtime,
    destination: *mut c_void,
    source: *const c_void,
    bytes: usize,
    (to, from): (End, End),
    stream: StreamHandle,
) -> Result<(), Refusal> {
    let stream = runtime.stream(stream)?;
    if bytes == 0 {
        return Ok(());
    }
    let (destination, source) = (destination as u64, source as u64);
    let move_bytes = move |runtime: &Runtime| {
        let to_block = check(runtime, "destination of the copy", destination, bytes, to)?;
        let from_block = check(runtime, "source of the copy", source, bytes, from)?;
        // SAFETY: both ends are inside live blocks, held until here, or host memory that the caller
        // vouches for, also when a captured copy runs later. `copy` allows them to overlap.
        unsafe { (source as *const u8).copy_to(destination as *mut u8, bytes) };
        if to_block.is_some() {
            // What was never written stays so where it is copied to.
            let source = from_block.is_some().then_some(source);
            runtime.memory.copied(destination, bytes as u64, source);
        }
        Ok(())
    };
    stream.run(
        |_| move_bytes(runtime),
        || Ok(Box::new(move |runtime, _| move_bytes(runtime))),
    )
}

macro_rules! copies {
    ($($name:ident($destination:ty, $source:ty $(, $extra:ident: $extra_type:ty)*) => $ends:expr, $stream:expr;)*) => {
        $(
            #[no_mangle]
            pub unsafe extern "C" fn $name(
                destination: $destination,
                source: $source,
                bytes: usize,
                $($extra: $extra_type,)*
            ) -> HipError {
                call(stringify!($name), |runtime| {
                    // SAFETY: HIP's contract: host memory is valid for the copy.
                    unsafe { copy(runtime, destination, source.cast(), bytes, $ends, $stream) }
                })
            }
        )*
    };
}

/// The null stream.
const NULL: StreamHandle = std::ptr::null_mut();

copies! {
    hipMemcpy(*mut c_void, *const c_void, kind: c_uint) => ends(kind)?, NULL;
    hipMemcpyAsync(*mut c_void, *const c_void, kind: c_uint, stream: StreamHandle) => ends(kind)?, stream;
    hipMemcpyWithStream(*mut c_void, *const c_void, kind: c_uint, stream: StreamHandle) => ends(kind)?, stream;
    hipMemcpyHtoD(*mut c_void, *mut c_void) => (End::Device, End::Host), NULL;
    hipMemcpyDtoH(*mut c_void, *mut c_void) => (End::Host, End::Device), NULL;
    hipMemcpyDtoD(*mut c_void, *mut c_void) => (End::Device, End::Device), NULL;
    hipMemcpyHtoDAsync(*mut c_void, *mut c_void, stream: StreamHandle) => (End::Device, End::Host), stream;
    hipMemcpyDtoHAsync(*mut c_void, *mut c_void, stream: StreamHandle) => (End::Host, End::Device), stream;
    hipMemcpyDtoDAsync(*mut c_void, *mut c_void, stream: StreamHandle) => (End::Device, End::Device), stream;
}

/// Copies between devices; needs no peer access, as on real cards (the host relays).
#[no_mangle]
pub unsafe extern "C" fn hipMemcpyPeerAsync(
    destination: *mut c_void,
    destination_device: c_int,
    source: *const c_void,
    source_device: c_int,
    bytes: usize,
    stream: StreamHandle,
) -> HipError {
    call("hipMemcpyPeerAsync", |runtime| {
        runtime.index(destination_device)?;
        runtime.index(source_device)?;
        // SAFETY: both ends are checked to be device memory.
        unsafe {
            copy(
                runtime,
                destination,
                source,
                bytes,
                (End::Device, End::Device),
                stream,
            )
        }
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipMemcpyPeer(
    destination: *mut c_void,
    destination_device: c_int,
    source: *const c_void,
    source_device: c_int,
    bytes: usize,
) -> HipError {
    // SAFETY: forwarded to the caller.
    unsafe {
        hipMemcpyPeerAsync(
            destination,
            destination_device,
            source,
            source_device,
            bytes,
            NULL,
        )
    }
}

/// Fills `count` elements of `N` bytes.
fn fill<const N: usize>(
    runtime: &Runtime,
    destination: *mut c_void,
    value: [u8; N],
    count: usize,
    stream: StreamHandle,
) -> Result<(), Refusal> {
    let stream = runtime.stream(stream)?;
    let bytes = count.checked_mul(N).ok_or_else(|| {
        Refusal::new(
            Code::ErrorInvalidValue,
            format!("{count} elements of {N} bytes"),
        )
    })?;
    if bytes == 0 {
        return Ok(());
    }
    let address = destination as u64;
    if !address.is_multiple_of(N as u64) {
        return Err(Refusal::new(
            Code::ErrorInvalidValue,
            format!("{address:#x} is not aligned for elements of {N} bytes"),
        ));
    }
    let write = move |runtime: &Runtime| {
        let _block = check(runtime, "memory to fill", address, bytes, End::Device)?;
        let destination = address as *mut [u8; N];
        for index in 0..count {
            // SAFETY: all `count` elements lie inside a live block that is held until the end; an array
            // of bytes needs no alignment.
            unsafe { destination.add(index).write(value) };
        }
        runtime.memory.wrote(address, address + bytes as u64);
        Ok(())
    };
    stream.run(
        |_| write(runtime),
        || Ok(Box::new(move |runtime, _| write(runtime))),
    )
}

macro_rules! fills {
    ($($name:ident($value:ident: $type:ty $(, $extra:ident)?) => $bytes:expr, $stream:expr;)*) => {
        $(
            #[no_mangle]
            pub extern "C" fn $name(
                destination: *mut c_void,
                $value: $type,
                count: usize,
                $($extra: StreamHandle,)?
            ) -> HipError {
                call(stringify!($name), |runtime| fill(runtime, destination, $bytes, count, $stream))
            }
        )*
    };
}

fills! {
    hipMemset(value: c_int) => [value as u8], NULL;
    hipMemsetAsync(value: c_int, stream) => [value as u8], stream;
    hipMemsetD8(value: u8) => [value], NULL;
    hipMemsetD8Async(value: u8, stream) => [value], stream;
    hipMemsetD16(value: u16) => value.to_ne_bytes(), NULL;
    hipMemsetD16Async(value: u16, stream) => value.to_ne_bytes(), stream;
    hipMemsetD32(value: c_int) => value.to_ne_bytes(), NULL;
    hipMemsetD32Async(value: c_int, stream) => value.to_ne_bytes(), stream;
}
