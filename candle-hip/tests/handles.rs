//! Handles, memory and launches against the fake runtime, which checks what it is given.

mod common;

use candle_hip::{
    counters, drop_failures, kernel_args, Device, DeviceMemory, DevicePtr, Error, Event, Launch,
    Module, PinnedMemory, Stream,
};
use std::sync::OnceLock;

/// Device 0 or 1 of the fake runtime, which this process opens whatever the environment says.
fn device(ordinal: usize) -> Device {
    static SETUP: OnceLock<()> = OnceLock::new();
    SETUP.get_or_init(|| std::env::set_var("CANDLE_HIP_LIBRARY", common::fake_hip(&[])));
    Device::new(ordinal).expect("the fake runtime has two devices")
}

fn stream(ordinal: usize) -> Stream {
    Stream::new(&device(ordinal)).expect("a stream")
}

#[test]
fn devices_are_numbered_and_described() {
    let (first, second) = (device(0), device(1));
    assert_eq!(first.properties().name, "Fake 0");
    // Nameless: called by its target.
    assert_eq!(second.properties().name, "gfx90a");
    assert_eq!(
        first.properties().pci_bus_id.as_deref(),
        Some("0000:03:00.0")
    );
    assert_eq!(second.properties().pci_bus_id, None);
    assert_eq!(second.properties().total_memory, 1001);
    assert_ne!(first, second);
    assert_eq!(
        Device::new(2).unwrap_err(),
        Error::NoDevice {
            ordinal: 2,
            count: 2
        }
    );
}

#[test]
fn each_call_makes_its_device_current() {
    let (first, second) = (device(0), device(1));
    // The fake runtime answers for the thread's current device.
    assert_eq!(first.memory_info().unwrap(), (400, 1000));
    assert_eq!(second.memory_info().unwrap(), (401, 1001));
    assert_eq!(first.memory_info().unwrap(), (400, 1000));
    let other_thread = std::thread::spawn(move || second.memory_info());
    assert_eq!(other_thread.join().unwrap().unwrap(), (401, 1001));
    assert_eq!(first.memory_info().unwrap(), (400, 1000));
}

#[test]
fn peers() {
    let (first, second) = (device(0), device(1));
    assert!(first.can_access_peer(&second).unwrap());
    assert!(!second.can_access_peer(&first).unwrap());
    // The second time the runtime says "already enabled".
    first.enable_peer(&second).unwrap();
    first.enable_peer(&second).unwrap();
}

#[test]
fn memory_is_written_filled_copied_and_read() {
    let stream = stream(0);
    let mut memory = DeviceMemory::new(stream.device(), 16).unwrap();
    let mut other = DeviceMemory::new(stream.device(), 8).unwrap();
    memory.fill(&stream, 0, 16, 7).unwrap();
    memory.write(&stream, 4, &[1, 2, 3]).unwrap();
    other.copy_from(&stream, 0, &memory, 2, 8).unwrap();
    let mut bytes = [0; 8];
    other.read(&stream, 0, &mut bytes).unwrap();
    assert_eq!(bytes, [7, 7, 1, 2, 3, 7, 7, 7]);
}

#[test]
fn ranges_outside_an_allocation_are_refused() {
    let stream = stream(0);
    let mut memory = DeviceMemory::new(stream.device(), 16).unwrap();
    let expected = Error::OutOfRange {
        what: "writing to device memory",
        start: 14,
        bytes: 3,
        len: 16,
    };
    assert_eq!(memory.write(&stream, 14, &[0; 3]).unwrap_err(), expected);
    assert!(matches!(
        memory.read(&stream, 17, &mut []),
        Err(Error::OutOfRange { .. })
    ));
    assert!(matches!(
        memory.fill(&stream, usize::MAX, 2, 0),
        Err(Error::OutOfRange { .. })
    ));
    memory.write(&stream, 16, &[]).unwrap();
}

#[test]
fn memory_of_another_device_is_refused() {
    let mut memory = DeviceMemory::new(&device(1), 16).unwrap();
    let error = memory.fill(&stream(0), 0, 1, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the memory belongs to device 1, the stream to device 0"
    );
}

#[test]
fn too_much_memory_is_told_apart() {
    let error = device(1).malloc(1 << 41).unwrap_err();
    assert!(error.is_out_of_memory());
    assert_eq!(
        error.to_string(),
        "allocating 2199023255552 bytes on device 1: hipMalloc failed with hipErrorOutOfMemory (2): as its name says"
    );
    assert!(PinnedMemory::new(&device(0), 1 << 41)
        .unwrap_err()
        .is_out_of_memory());
}

#[test]
fn no_bytes_need_no_allocation() {
    let memory = DeviceMemory::new(&device(0), 0).unwrap();
    assert!(memory.ptr().is_null() && memory.is_empty());
    memory.read(&stream(0), 0, &mut []).unwrap();
    assert!(PinnedMemory::new(&device(0), 0).unwrap().is_empty());
}

#[test]
fn raw_copies_and_fills_take_parts_of_allocations() {
    let stream = stream(0);
    let memory = DeviceMemory::new(stream.device(), 64).unwrap();
    let peer = DeviceMemory::new(&device(1), 8).unwrap();
    let mut pinned = PinnedMemory::new(stream.device(), 32).unwrap();
    assert_eq!(pinned[..], [0; 32]);
    // SAFETY: every range lies inside its allocation, and all of them outlive the stream's work, which
    // the fake runtime does at once.
    unsafe {
        stream.fill_u8(memory.ptr(), 0xab, 64).unwrap();
        stream.fill_u16(memory.ptr().offset(2), 0x1234, 1).unwrap();
        stream
            .fill_u32(memory.ptr().offset(4), 0x8000_0001, 2)
            .unwrap();
        stream
            .copy_on_device(memory.ptr().offset(16), memory.ptr(), 12)
            .unwrap();
        stream
            .copy_from_peer(memory.ptr().offset(24), peer.ptr(), &device(1), 0)
            .unwrap();
        stream
            .copy_to_host(&mut pinned[..16], memory.ptr().offset(16))
            .unwrap();
        let mut floats = [0f32; 2];
        stream
            .copy_to_device(memory.ptr().offset(32), &[1.5f32, -2.0])
            .unwrap();
        stream
            .copy_to_host(&mut floats, memory.ptr().offset(32))
            .unwrap();
        assert_eq!(floats, [1.5, -2.0]);
    }
    let expected = [
        0xab, 0xab, 0x34, 0x12, 1, 0, 0, 0x80, 1, 0, 0, 0x80, 0xab, 0xab, 0xab, 0xab,
    ];
    assert_eq!(pinned[..16], expected);
}

#[test]
fn events_mark_streams() {
    let stream = stream(0);
    let (start, end) = (
        Event::with_timing(stream.device()).unwrap(),
        Event::with_timing(stream.device()).unwrap(),
    );
    start.record(&stream).unwrap();
    stream.wait_event(&start).unwrap();
    end.record(&stream).unwrap();
    end.synchronize().unwrap();
    assert_eq!(start.elapsed_ms(&end).unwrap(), 1.5);
    // The fake runtime's events are never ready, its streams always.
    assert!(!end.is_complete().unwrap());
    assert!(stream.is_idle().unwrap());
    assert!(matches!(
        Event::new(&device(1)).unwrap().record(&stream),
        Err(Error::InvalidArgument(_))
    ));
}

#[test]
fn a_launch_hands_over_geometry_and_packed_arguments() {
    let stream = stream(0);
    let module = Module::load(stream.device(), common::empty_code_object()).unwrap();
    let kernel = module.function("echo").unwrap();
    drop(module);
    let memory = DeviceMemory::new(stream.device(), 256).unwrap();
    let args = kernel_args![memory.ptr(), 3u8, 0.5f32, -1i64, DevicePtr::NULL];
    let launch = Launch::new([1, 2, 3], [4, 5, 6]).with_lds(7);
    // SAFETY: the fake runtime writes 40 + 32 bytes to the first argument, which has 256.
    unsafe { kernel.launch(&launch, &stream, &args).unwrap() };
    let mut bytes = [0; 72];
    memory.read(&stream, 0, &mut bytes).unwrap();
    let words: Vec<u32> = bytes[..32]
        .chunks(4)
        .map(|w| u32::from_ne_bytes(w.try_into().unwrap()))
        .collect();
    assert_eq!(words, [1, 2, 3, 4, 5, 6, 7, 0]);
    assert_eq!(bytes[32..40], 32u64.to_ne_bytes());
    assert_eq!(bytes[40..48], memory.ptr().as_raw().to_ne_bytes());
    assert_eq!(bytes[48..52], [3, 0, 0, 0]);
    assert_eq!(bytes[52..56], 0.5f32.to_ne_bytes());
    assert_eq!(bytes[56..64], [0xff; 8]);
    assert_eq!(bytes[64..72], [0; 8]);
}

#[test]
fn impossible_launches_name_the_kernel() {
    let stream = stream(0);
    let module = Module::load(stream.device(), common::empty_code_object()).unwrap();
    let kernel = module.function("echo").unwrap();
    let text = |launch: Launch, stream: &Stream, args: &candle_hip::KernelArgs| {
        // SAFETY: every one of these launches is refused before the runtime sees it.
        unsafe { kernel.launch(&launch, stream, args) }
            .unwrap_err()
            .to_string()
    };
    let fine = Launch::new([1, 1, 1], [256, 1, 1]);
    let none = kernel_args![];
    let message = text(Launch::new([1, 1, 1], [257, 1, 1]), &stream, &none);
    assert!(
        message.starts_with("kernel 'echo' cannot be launched: a workgroup of [257, 1, 1] has"),
        "{message}"
    );
    let message = text(fine, &stream, &kernel_args![[0u64; 65]]);
    assert!(
        message.contains("its arguments take 520 bytes"),
        "{message}"
    );
    let message = text(fine, &self::stream(1), &none);
    assert_eq!(
        message,
        "the kernel belongs to device 0, the stream to device 1"
    );
}

#[test]
fn kernels_that_are_not_there_are_errors() {
    let module = Module::load(&device(0), common::empty_code_object()).unwrap();
    let message = module.function("absent").unwrap_err().to_string();
    assert!(message.starts_with("looking up the kernel 'absent': hipModuleGetFunction failed with hipErrorNotFound (500)"), "{message}");
    assert!(matches!(
        module.function("a\0b"),
        Err(Error::InvalidArgument(_))
    ));
    assert!(matches!(
        Module::load(&device(0), &b"no code object"[..]),
        Err(Error::InvalidCodeObject(_))
    ));
    let attributes = module.function("echo").unwrap().attributes().unwrap();
    assert_eq!((attributes.scratch_bytes, attributes.registers), (48, 33));
    assert_eq!(module.global("variable").unwrap().1, 1);
}

#[test]
fn graphs_are_captured_and_launched() {
    let stream = stream(0);
    let memory = DeviceMemory::new(stream.device(), 16).unwrap();
    stream.begin_capture().unwrap();
    // Twice is the runtime's error.
    assert_eq!(stream.begin_capture().unwrap_err().code(), Some(1));
    // SAFETY: `memory` has the 16 bytes, here and when the graph is launched.
    unsafe { stream.fill_u8(memory.ptr(), 0, 16).unwrap() };
    let graph = stream.end_capture().unwrap();
    let before = counters();
    // SAFETY: as above.
    unsafe { graph.launch(&stream).unwrap() };
    assert_eq!(counters().since(&before).graph_launches, 1);
    // SAFETY: refused.
    let error = unsafe { graph.launch(&self::stream(1)) }.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the graph belongs to device 0"),
        "{error}"
    );
    assert!(stream.end_capture().is_err());
}

#[test]
fn nothing_here_failed_to_be_released() {
    let stream = stream(1);
    drop((Event::new(stream.device()).unwrap(), stream));
    drop(Module::load(&device(1), common::empty_code_object()).unwrap());
    assert_eq!(drop_failures().count, 0);
}
