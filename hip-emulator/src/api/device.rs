//! Devices: how many, which one, what they are, who reaches whom.

use super::error::{write_text, Code, HipError, Refusal};
use super::properties::{self, attribute, Card};
use super::runtime::{call, give, Device, Runtime};
use std::ffi::{c_char, c_int, c_uint};

/// HIP 6.2.0 in HIP's own form: major * 10000000 + minor * 100000 + patch. The ABI that is offered.
const VERSION: c_int = 60_200_000;

impl Runtime {
    fn card(&self, device: c_int) -> Result<Card, Refusal> {
        let number = self.index(device)?;
        let Device { target, .. } = self.device(device)?;
        Ok(Card {
            target,
            number,
            memory: self.memory.capacity(number),
        })
    }
}

#[no_mangle]
pub extern "C" fn hipInit(flags: c_uint) -> HipError {
    call("hipInit", |_| match flags {
        0 => Ok(()),
        _ => Err(Refusal::new(
            Code::ErrorInvalidValue,
            "hipInit takes no flags",
        )),
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipRuntimeGetVersion(version: *mut c_int) -> HipError {
    // SAFETY: valid or null by HIP's contract.
    call("hipRuntimeGetVersion", |_| unsafe {
        give(version, VERSION)
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipDriverGetVersion(version: *mut c_int) -> HipError {
    // SAFETY: valid or null by HIP's contract.
    call("hipDriverGetVersion", |_| unsafe { give(version, VERSION) })
}

/// One device per target of `HIP_EMULATOR_ARCH`. `hipErrorNoDevice`, with count 0, when the
/// environment names something that the emulator does not have.
#[no_mangle]
pub unsafe extern "C" fn hipGetDeviceCount(count: *mut c_int) -> HipError {
    if !count.is_null() {
        // SAFETY: not null; valid by HIP's contract.
        unsafe { count.write_unaligned(0) };
    }
    call("hipGetDeviceCount", |runtime| {
        // SAFETY: as above.
        unsafe { give(count, runtime.devices.len() as c_int) }
    })
}

#[no_mangle]
pub extern "C" fn hipSetDevice(device: c_int) -> HipError {
    call("hipSetDevice", |runtime| runtime.choose(device))
}

#[no_mangle]
pub unsafe extern "C" fn hipGetDevice(device: *mut c_int) -> HipError {
    // SAFETY: valid or null by HIP's contract.
    call("hipGetDevice", |runtime| unsafe {
        give(device, runtime.current() as c_int)
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipDeviceGet(device: *mut c_int, ordinal: c_int) -> HipError {
    call("hipDeviceGet", |runtime| {
        let index = runtime.index(ordinal)?;
        // SAFETY: valid or null by HIP's contract.
        unsafe { give(device, index as c_int) }
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipDeviceGetName(
    name: *mut c_char,
    size: c_int,
    device: c_int,
) -> HipError {
    call("hipDeviceGetName", |runtime| {
        let card = runtime.card(device)?;
        // SAFETY: valid or null by HIP's contract.
        unsafe { text(&card.name(), name, size) }
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipDeviceGetPCIBusId(
    id: *mut c_char,
    size: c_int,
    device: c_int,
) -> HipError {
    call("hipDeviceGetPCIBusId", |runtime| {
        let card = runtime.card(device)?;
        // SAFETY: valid or null by HIP's contract.
        unsafe { text(&format!("0000:{:02x}:00.0", card.pci_bus()), id, size) }
    })
}

/// Gives `content` as a C string that must fit in `size` bytes.
///
/// # Safety
/// `buffer` must be null or have room for `size` bytes.
unsafe fn text(content: &str, buffer: *mut c_char, size: c_int) -> Result<(), Refusal> {
    if buffer.is_null() || size <= 0 {
        return Err(Refusal::new(
            Code::ErrorInvalidValue,
            "no room for the text",
        ));
    }
    // SAFETY: the caller's promise; `size` is positive.
    unsafe { write_text(content, buffer, size as usize) };
    Ok(())
}

#[no_mangle]
pub unsafe extern "C" fn hipDeviceTotalMem(bytes: *mut usize, device: c_int) -> HipError {
    call("hipDeviceTotalMem", |runtime| {
        let card = runtime.card(device)?;
        // SAFETY: valid or null by HIP's contract.
        unsafe { give(bytes, card.memory as usize) }
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipDeviceComputeCapability(
    major: *mut c_int,
    minor: *mut c_int,
    device: c_int,
) -> HipError {
    call("hipDeviceComputeCapability", |runtime| {
        let (big, small) = runtime.card(device)?.version();
        // SAFETY: valid or null by HIP's contract.
        unsafe {
            give(major, big)?;
            give(minor, small)
        }
    })
}

/// `hipErrorInvalidValue` for an attribute that the emulator has no answer to.
#[no_mangle]
pub unsafe extern "C" fn hipDeviceGetAttribute(
    value: *mut c_int,
    number: c_int,
    device: c_int,
) -> HipError {
    call("hipDeviceGetAttribute", |runtime| {
        let card = runtime.card(device)?;
        let answer = attribute(number, &card).ok_or_else(|| {
            Refusal::new(
                Code::ErrorInvalidValue,
                format!("device attribute {number} is not known"),
            )
        })?;
        // SAFETY: valid or null by HIP's contract.
        unsafe { give(value, answer) }
    })
}

/// Fills ROCm 6's `hipDeviceProp_tR0600` (1472 bytes).
#[no_mangle]
pub unsafe extern "C" fn hipGetDevicePropertiesR0600(
    properties: *mut u8,
    device: c_int,
) -> HipError {
    call("hipGetDevicePropertiesR0600", |runtime| {
        let bytes = properties::rocm6(&runtime.card(device)?);
        // SAFETY: forwarded to the caller.
        unsafe { structure(&bytes, properties) }
    })
}

/// Fills ROCm 5's `hipDeviceProp_t` (792 bytes).
#[no_mangle]
pub unsafe extern "C" fn hipGetDeviceProperties(properties: *mut u8, device: c_int) -> HipError {
    call("hipGetDeviceProperties", |runtime| {
        let bytes = properties::rocm5(&runtime.card(device)?);
        // SAFETY: forwarded to the caller.
        unsafe { structure(&bytes, properties) }
    })
}

/// # Safety
/// `into` must be null or have room for `bytes`.
unsafe fn structure(bytes: &[u8], into: *mut u8) -> Result<(), Refusal> {
    if into.is_null() {
        return Err(Refusal::new(
            Code::ErrorInvalidValue,
            "the pointer for the properties is null",
        ));
    }
    // SAFETY: not null; the caller's structure has the size of this layout.
    unsafe { into.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    Ok(())
}

#[no_mangle]
pub unsafe extern "C" fn hipMemGetInfo(free: *mut usize, total: *mut usize) -> HipError {
    call("hipMemGetInfo", |runtime| {
        runtime.expect_current()?;
        let capacity = runtime.memory.capacity(runtime.current());
        let used = runtime.memory.used(runtime.current());
        // SAFETY: valid or null by HIP's contract.
        unsafe {
            give(free, capacity.saturating_sub(used) as usize)?;
            give(total, capacity as usize)
        }
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipDeviceCanAccessPeer(
    can: *mut c_int,
    device: c_int,
    peer: c_int,
) -> HipError {
    call("hipDeviceCanAccessPeer", |runtime| {
        let (device, peer) = (runtime.index(device)?, runtime.index(peer)?);
        // SAFETY: valid or null by HIP's contract.
        unsafe { give(can, c_int::from(device != peer)) }
    })
}

/// Lets kernels of the current device touch memory of `peer`.
#[no_mangle]
pub extern "C" fn hipDeviceEnablePeerAccess(peer: c_int, flags: c_uint) -> HipError {
    call("hipDeviceEnablePeerAccess", |runtime| {
        let peer = runtime.index(peer)?;
        if flags != 0 {
            return Err(Refusal::new(
                Code::ErrorInvalidValue,
                "peer access takes no flags",
            ));
        }
        if peer == runtime.current() {
            return Err(Code::ErrorPeerAccessUnsupported.into());
        }
        match runtime.memory.set_peer(runtime.current(), peer, true) {
            true => Ok(()),
            false => Err(Code::ErrorPeerAccessAlreadyEnabled.into()),
        }
    })
}

#[no_mangle]
pub extern "C" fn hipDeviceDisablePeerAccess(peer: c_int) -> HipError {
    call("hipDeviceDisablePeerAccess", |runtime| {
        let peer = runtime.index(peer)?;
        match runtime.memory.set_peer(runtime.current(), peer, false) {
            true => Ok(()),
            false => Err(Code::ErrorPeerAccessNotEnabled.into()),
        }
    })
}
