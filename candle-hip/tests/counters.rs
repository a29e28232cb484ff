//! The process-wide counters, in a process where nothing else calls the runtime.

mod common;

use candle_hip::{counters, reset_counters, Device, DeviceMemory, PinnedMemory, Stream, Transfers};

#[test]
fn calls_are_counted_by_kind() {
    std::env::set_var("CANDLE_HIP_LIBRARY", common::fake_hip(&[]));
    let device = Device::new(0).unwrap();
    let stream = Stream::new(&device).unwrap();
    reset_counters();
    let before = counters();
    assert_eq!(before, Default::default());
    let mut memory = DeviceMemory::new(&device, 32).unwrap();
    memory.fill(&stream, 0, 32, 0).unwrap();
    memory.write(&stream, 0, &[1; 10]).unwrap();
    memory.read(&stream, 0, &mut [0; 3]).unwrap();
    memory.read(&stream, 0, &mut [0; 4]).unwrap();
    assert!(device.malloc(usize::MAX).is_err());
    drop(memory);
    drop(PinnedMemory::new(&device, 8).unwrap());
    let counted = counters().since(&before);
    assert_eq!(
        (counted.mallocs, counted.frees),
        (1, 1),
        "a failed allocation does not count"
    );
    assert_eq!((counted.pinned_mallocs, counted.pinned_frees), (1, 1));
    assert_eq!(
        (counted.memsets, counted.synchronizations, counted.launches),
        (1, 3, 0)
    );
    assert_eq!(
        counted.host_to_device,
        Transfers {
            count: 1,
            bytes: 10
        }
    );
    assert_eq!(counted.device_to_host, Transfers { count: 2, bytes: 7 });
    assert_eq!(counted.device_to_device, Transfers::default());
}
