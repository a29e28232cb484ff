//! Memory, copies, streams, events and devices through the C ABI.

mod support;

use hip_emulator::api::{copy, device, error, event, memory, stream};
use hip_emulator::memory::{Kind, Limits, Memory, MemoryError};
use std::ffi::{c_void, CStr};
use std::ptr::{null, null_mut};
use std::thread;
use std::time::Duration;
use support::*;

fn copy_bytes(to: *mut c_void, from: *const c_void, bytes: usize, kind: u32) -> u32 {
    // SAFETY: the tests give valid host memory; device ends are what is being checked.
    unsafe { copy::hipMemcpyAsync(to, from, bytes, kind, null_mut()) }
}

#[test]
fn copies_reach_every_direction() {
    device(0);
    let values: Vec<u32> = (0..1000).collect();
    let (a, b) = (Buffer::of(&values), Buffer::new(4000));
    assert_eq!(copy_bytes(b.0, a.0, 4000, 3), SUCCESS);
    assert_eq!(b.read::<u32>(), values);
    // Inside one buffer, overlapping.
    let to = (b.address() + 4) as *mut c_void;
    assert_eq!(copy_bytes(to, b.0, 3996, 4), SUCCESS);
    assert_eq!(b.read::<u32>()[1..], values[..999]);
    // SAFETY: all ends are valid.
    unsafe {
        let mut back = vec![0u32; 1000];
        assert_eq!(
            copy::hipMemcpyDtoH(back.as_mut_ptr().cast(), a.0, 4000),
            SUCCESS
        );
        assert_eq!(back, values);
        assert_eq!(
            copy::hipMemcpyHtoD(b.0, back.as_mut_ptr().cast(), 4000),
            SUCCESS
        );
        assert_eq!(b.read::<u32>(), values);
    }
}

#[test]
fn fresh_memory_is_aligned_and_poisoned() {
    device(0);
    let buffer = Buffer::new(100);
    assert_eq!(buffer.address() % 256, 0);
    assert_eq!(buffer.read::<u8>(), vec![0xA5; 100]);
}

#[test]
fn copies_beyond_an_allocation_are_refused() {
    device(0);
    let buffer = Buffer::new(64);
    let mut host = [0u8; 256];
    let inside = (buffer.address() + 32) as *mut c_void;
    assert_eq!(
        copy_bytes(buffer.0, host.as_ptr().cast(), 65, 1),
        INVALID_VALUE
    );
    assert!(
        last_text().contains("1 bytes past the end of a 64-byte allocation"),
        "{}",
        last_text()
    );
    assert_eq!(
        copy_bytes(inside, host.as_ptr().cast(), 33, 1),
        INVALID_VALUE
    );
    assert_eq!(copy_bytes(inside, host.as_ptr().cast(), 32, 1), SUCCESS);
    assert_eq!(
        copy_bytes(host.as_mut_ptr().cast(), inside, 33, 2),
        INVALID_VALUE
    );
    // Overflowing sizes are no way around the check.
    assert_eq!(
        copy_bytes(inside, host.as_ptr().cast(), usize::MAX, 1),
        INVALID_VALUE
    );
    let past = (buffer.address() + 64) as *mut c_void;
    assert_eq!(
        copy_bytes(past, host.as_ptr().cast(), 1, 1),
        INVALID_DEVICE_POINTER
    );
    assert!(
        last_text().contains("0 bytes past the end"),
        "{}",
        last_text()
    );
    // Host memory is not device memory; null is nothing; directions end at 4.
    let other = [0u8; 16];
    assert_eq!(
        copy_bytes(host.as_mut_ptr().cast(), other.as_ptr().cast(), 16, 3),
        INVALID_DEVICE_POINTER
    );
    assert_eq!(
        copy_bytes(null_mut(), other.as_ptr().cast(), 16, 1),
        INVALID_VALUE
    );
    assert_eq!(copy_bytes(buffer.0, null(), 16, 1), INVALID_VALUE);
    assert_eq!(
        copy_bytes(buffer.0, other.as_ptr().cast(), 16, 5),
        INVALID_MEMCPY_DIRECTION
    );
    assert_eq!(copy_bytes(null_mut(), null(), 0, 1), SUCCESS);
}

#[test]
fn fills_write_every_element_and_check_their_range() {
    device(1);
    let buffer = Buffer::of(&[0u32; 8]);
    let at = |offset: u64| (buffer.address() + offset) as *mut c_void;
    assert_eq!(
        copy::hipMemsetD32Async(at(4), 0x0102_0304, 2, null_mut()),
        SUCCESS
    );
    assert_eq!(
        copy::hipMemsetD16Async(at(12), 0xabcd, 1, null_mut()),
        SUCCESS
    );
    assert_eq!(copy::hipMemsetD8Async(at(15), 0x77, 2, null_mut()), SUCCESS);
    let expected = [0, 0x0102_0304, 0x0102_0304, 0x7700_abcd, 0x77, 0, 0, 0];
    assert_eq!(buffer.read::<u32>(), expected);
    assert_eq!(
        copy::hipMemsetD32Async(at(0), 0, 9, null_mut()),
        INVALID_VALUE
    );
    assert_eq!(
        copy::hipMemsetD32Async(at(0), 0, usize::MAX / 2, null_mut()),
        INVALID_VALUE
    );
    assert_eq!(
        copy::hipMemsetD32Async(at(2), 0, 1, null_mut()),
        INVALID_VALUE
    );
    assert_eq!(
        copy::hipMemsetD8Async(null_mut(), 0, 1, null_mut()),
        INVALID_VALUE
    );
    assert_eq!(
        buffer.read::<u32>(),
        expected,
        "a refused fill writes nothing"
    );
}

#[test]
fn freeing_twice_or_elsewhere_is_refused() {
    device(0);
    let mut pointer = null_mut();
    // SAFETY: `pointer` is valid for the results.
    unsafe {
        assert_eq!(memory::hipMalloc(&mut pointer, 128), SUCCESS);
        let inside = (pointer as u64 + 8) as *mut c_void;
        assert_eq!(memory::hipFree(inside), INVALID_VALUE);
        assert_eq!(memory::hipHostFree(pointer), INVALID_VALUE);
        assert_eq!(memory::hipFree(pointer), SUCCESS);
        assert_eq!(memory::hipFree(pointer), INVALID_VALUE);
        assert_eq!(memory::hipFree(null_mut()), SUCCESS);
        assert_eq!(memory::hipMalloc(null_mut(), 128), INVALID_VALUE);
        assert_eq!(memory::hipMalloc(&mut pointer, 0), SUCCESS);
        assert!(pointer.is_null());
        assert_eq!(memory::hipHostMalloc(&mut pointer, 64, 0), SUCCESS);
        assert_eq!(memory::hipFree(pointer), INVALID_VALUE);
        assert_eq!(memory::hipHostFree(pointer), SUCCESS);
        assert_eq!(memory::hipHostFree(pointer), INVALID_VALUE);
    }
}

#[test]
fn more_than_the_device_has_is_out_of_memory() {
    device(0);
    let mut pointer = null_mut();
    for bytes in [17usize << 30, usize::MAX, usize::MAX - 4096] {
        // SAFETY: `pointer` is valid for the result.
        let code = unsafe { memory::hipMalloc(&mut pointer, bytes) };
        assert_eq!(code, OUT_OF_MEMORY);
        assert!(
            pointer.is_null() && last_text().contains("HIP_EMULATOR_MEMORY"),
            "{}",
            last_text()
        );
    }
    // SAFETY: as above.
    assert_eq!(
        unsafe { memory::hipHostMalloc(&mut pointer, usize::MAX, 0) },
        OUT_OF_MEMORY
    );
}

#[test]
fn accounting_follows_allocations_per_device() {
    let limits = Limits {
        device_bytes: 1000,
        poison: true,
    };
    let memory = Memory::new(limits);
    let a = memory.allocate(600, Kind::Device(0)).unwrap();
    let full = memory.allocate(401, Kind::Device(0)).unwrap_err();
    assert_eq!(
        full,
        MemoryError::DeviceFull {
            device: 0,
            asked: 401,
            free: 400,
            limit: 1000
        }
    );
    let b = memory.allocate(1000, Kind::Device(1)).unwrap();
    let host = memory.allocate(5000, Kind::Host).unwrap();
    assert_eq!((memory.used(0), memory.used(1)), (600, 1000));
    memory.free(a.start(), "hipFree", |_| true).unwrap();
    assert_eq!(memory.used(0), 0);
    let totals = memory.totals();
    assert_eq!(
        (
            totals.live_count,
            totals.live_bytes,
            totals.peak_bytes,
            totals.made
        ),
        (2, 6000, 6600, 3)
    );
    assert_eq!(
        memory.live().iter().map(|row| row.1).collect::<Vec<_>>(),
        [1000, 5000]
    );
    memory.free(b.start(), "hipFree", |_| true).unwrap();
    memory.free(host.start(), "hipHostFree", |_| true).unwrap();
    assert_eq!(memory.totals().live_count, 0);
}

#[test]
fn addresses_are_described_by_what_is_near() {
    let memory = Memory::new(Limits {
        device_bytes: 1 << 20,
        poison: true,
    });
    let block = memory.allocate(4096, Kind::Device(0)).unwrap();
    let snapshot = memory.snapshot(0);
    let (start, end) = (block.start(), block.end());
    assert_eq!(snapshot.describe(0, 4), "null");
    assert_eq!(snapshot.describe(24, 4), "null plus 24 bytes");
    let whole = "a 4096-byte allocation (no. 1) of device 0";
    assert_eq!(
        snapshot.describe(end + 32, 4),
        format!("32 bytes past the end of {whole}")
    );
    assert_eq!(
        snapshot.describe(start - 8, 4),
        format!("8 bytes before the start of {whole}")
    );
    assert_eq!(
        snapshot.describe(end - 2, 4),
        format!("starts inside and ends 2 bytes past the end of {whole}")
    );
    assert_eq!(snapshot.describe(1 << 60, 4), "not near any allocation");
    assert!(snapshot.find(start).is_some() && snapshot.find(end - 1).is_some());
    assert!(snapshot.find(end).is_none() && snapshot.find(start - 1).is_none());
    // The other device needs peer access.
    let other = memory.snapshot(1);
    assert!(other.find(start).is_none());
    assert!(
        other.describe(start, 4).contains("no peer access"),
        "{}",
        other.describe(start, 4)
    );
    memory.set_peer(1, 0, true);
    assert!(memory.snapshot(1).find(start).is_some());
    // A freed allocation is remembered; the running launch still holds it.
    memory.free(start, "hipFree", |_| true).unwrap();
    assert!(memory.snapshot(0).find(start).is_none());
    assert!(snapshot.find(start).is_some());
    let text = memory.snapshot(0).describe(start + 16, 4);
    assert_eq!(
        text,
        "inside a 4096-byte allocation (no. 1) freed by hipFree, 16 bytes from its start"
    );
}

#[test]
fn streams_and_events_check_their_handles() {
    device(0);
    let foreign = 0x7777_0000 as *mut c_void;
    // SAFETY: result pointers are valid or null; handles are never read through.
    unsafe {
        let (mut queue, mut mark) = (null_mut(), null_mut());
        assert_eq!(
            stream::hipStreamCreateWithFlags(null_mut(), 1),
            INVALID_VALUE
        );
        assert_eq!(
            stream::hipStreamCreateWithFlags(&mut queue, 64),
            INVALID_VALUE
        );
        assert_eq!(stream::hipStreamCreateWithFlags(&mut queue, 1), SUCCESS);
        assert_eq!(event::hipEventCreateWithFlags(&mut mark, 2), SUCCESS);
        assert_eq!(
            event::hipEventCreateWithFlags(&mut mark, 0x100),
            INVALID_VALUE
        );
        // A stream is no event, and the other way round.
        assert_eq!(event::hipEventRecord(queue, queue), INVALID_HANDLE);
        assert_eq!(stream::hipStreamSynchronize(mark), INVALID_HANDLE);
        for handle in [foreign, 0x10 as *mut c_void] {
            assert_eq!(stream::hipStreamSynchronize(handle), INVALID_HANDLE);
            assert_eq!(stream::hipStreamQuery(handle), INVALID_HANDLE);
            assert_eq!(stream::hipStreamDestroy(handle), INVALID_HANDLE);
            assert_eq!(event::hipEventQuery(handle), INVALID_HANDLE);
            assert_eq!(event::hipEventDestroy(handle), INVALID_HANDLE);
        }
        assert_eq!(event::hipEventQuery(mark), SUCCESS);
        assert_eq!(event::hipEventRecord(mark, queue), SUCCESS);
        assert_eq!(event::hipStreamWaitEvent(queue, mark, 0), SUCCESS);
        assert_eq!(event::hipEventSynchronize(mark), SUCCESS);
        assert_eq!(stream::hipStreamQuery(queue), SUCCESS);
        assert_eq!(stream::hipStreamDestroy(queue), SUCCESS);
        assert_eq!(stream::hipStreamDestroy(queue), INVALID_HANDLE);
        assert_eq!(stream::hipStreamDestroy(null_mut()), INVALID_HANDLE);
        assert_eq!(event::hipEventRecord(mark, queue), INVALID_HANDLE);
        assert_eq!(event::hipEventDestroy(mark), SUCCESS);
        assert_eq!(event::hipEventSynchronize(mark), INVALID_HANDLE);
    }
}

#[test]
fn events_measure_host_time() {
    device(0);
    // SAFETY: result pointers are valid.
    unsafe {
        let (mut start, mut stop, mut untimed, mut time) =
            (null_mut(), null_mut(), null_mut(), -1.0);
        event::hipEventCreate(&mut start);
        event::hipEventCreate(&mut stop);
        event::hipEventCreateWithFlags(&mut untimed, 2);
        assert_eq!(
            event::hipEventElapsedTime(&mut time, start, stop),
            INVALID_HANDLE
        );
        event::hipEventRecord(start, null_mut());
        event::hipEventRecord(untimed, null_mut());
        thread::sleep(Duration::from_millis(20));
        event::hipEventRecord(stop, null_mut());
        assert_eq!(event::hipEventElapsedTime(&mut time, start, stop), SUCCESS);
        assert!(time >= 20.0, "{time}");
        assert_eq!(
            event::hipEventElapsedTime(&mut time, start, untimed),
            INVALID_HANDLE
        );
        assert_eq!(
            event::hipEventElapsedTime(null_mut(), start, stop),
            INVALID_VALUE
        );
        for mark in [start, stop, untimed] {
            event::hipEventDestroy(mark);
        }
    }
}

#[test]
fn devices_are_those_of_the_environment() {
    device(1);
    // SAFETY: buffers have the sizes that are given.
    unsafe {
        let (mut count, mut current, mut warp) = (0, -1, 0);
        assert_eq!(device::hipGetDeviceCount(&mut count), SUCCESS);
        assert_eq!(device::hipGetDevice(&mut current), SUCCESS);
        assert_eq!((count, current), (TARGETS.len() as i32, 1));
        assert_eq!(device::hipSetDevice(count), INVALID_DEVICE);
        assert_eq!(device::hipSetDevice(-1), INVALID_DEVICE);
        for (number, wave) in [(0, 32), (1, 64), (2, 64), (3, 32), (4, 32)] {
            assert_eq!(
                device::hipDeviceGetAttribute(&mut warp, 87, number),
                SUCCESS
            );
            assert_eq!(warp, wave);
            let mut bytes = [0u8; 8192];
            assert_eq!(
                device::hipGetDevicePropertiesR0600(bytes.as_mut_ptr(), number),
                SUCCESS
            );
            let target = CStr::from_bytes_until_nul(&bytes[1160..])
                .unwrap()
                .to_str()
                .unwrap();
            assert_eq!(target.split(':').next(), Some(TARGETS[number as usize]));
            let name = CStr::from_bytes_until_nul(&bytes)
                .unwrap()
                .to_str()
                .unwrap();
            assert!(
                name.ends_with(&format!("(emulated {})", TARGETS[number as usize])),
                "{name}"
            );
            assert!(
                bytes[1472..].iter().all(|byte| *byte == 0),
                "nothing beyond the structure"
            );
            let mut short = [1i8; 9];
            assert_eq!(
                device::hipDeviceGetName(short.as_mut_ptr(), 8, number),
                SUCCESS
            );
            assert_eq!((short[7], short[8]), (0, 1), "cut to its buffer");
        }
        assert_eq!(
            device::hipDeviceGetAttribute(&mut warp, 87, count),
            INVALID_DEVICE
        );
        assert_eq!(
            device::hipDeviceGetAttribute(&mut warp, 424242, 0),
            INVALID_VALUE
        );
        let mut can = -1;
        assert_eq!(device::hipDeviceCanAccessPeer(&mut can, 0, 1), SUCCESS);
        assert_eq!(can, 1);
        assert_eq!(device::hipDeviceEnablePeerAccess(0, 0), SUCCESS);
        assert_eq!(device::hipDeviceEnablePeerAccess(0, 0), 704);
        assert_eq!(device::hipDeviceEnablePeerAccess(7, 0), INVALID_DEVICE);
        let (mut free, mut total) = (0, 0);
        assert_eq!(device::hipMemGetInfo(&mut free, &mut total), SUCCESS);
        assert!(total == 16 << 30 && free <= total);
        let mut version = 0;
        assert_eq!(device::hipRuntimeGetVersion(&mut version), SUCCESS);
        assert_eq!(version / 10_000_000, 6);
    }
}

#[test]
fn two_devices_copy_to_each_other() {
    device(0);
    let near = Buffer::of(&[1u32, 2, 3, 4]);
    device(1);
    let far = Buffer::new(16);
    // SAFETY: both buffers have 16 bytes.
    let code = unsafe { copy::hipMemcpyPeerAsync(far.0, 1, near.0, 0, 16, null_mut()) };
    assert_eq!(code, SUCCESS);
    assert_eq!(far.read::<u32>(), [1, 2, 3, 4]);
    // SAFETY: as above.
    let code = unsafe { copy::hipMemcpyPeerAsync(far.0, 1, near.0, 5, 16, null_mut()) };
    assert_eq!(code, INVALID_DEVICE);
}

#[test]
fn errors_have_names_texts_and_are_taken_once() {
    device(0);
    assert_eq!(memory::hipFree(0x1230_0000 as *mut c_void), INVALID_VALUE);
    assert_eq!(error::hipPeekAtLastError(), INVALID_VALUE);
    assert_eq!(stream::hipGetLastError(), INVALID_VALUE);
    assert_eq!(stream::hipGetLastError(), SUCCESS);
    let text = |pointer: *const std::ffi::c_char| {
        // SAFETY: HIP's strings are NUL-terminated and stay.
        unsafe { CStr::from_ptr(pointer) }
            .to_str()
            .unwrap()
            .to_string()
    };
    assert_eq!(text(error::hipGetErrorName(0)), "hipSuccess");
    assert_eq!(text(error::hipGetErrorName(700)), "hipErrorIllegalAddress");
    assert_eq!(text(error::hipGetErrorName(31337)), "hipErrorUnknown");
    let described = error::hipGetErrorString(INVALID_VALUE);
    assert!(
        text(described).contains("0x12300000"),
        "{}",
        text(described)
    );
    assert_eq!(
        described,
        error::hipGetErrorString(INVALID_VALUE),
        "one text is kept once"
    );
    assert_eq!(text(error::hipGetErrorString(2)), "out of memory");
    // Other threads have errors of their own.
    thread::spawn(|| assert_eq!(error::hipPeekAtLastError(), SUCCESS))
        .join()
        .unwrap();
}
