//! A launch allocates nothing on the host's heap.

mod common;

use candle_hip::{kernel_args, Device, DeviceMemory, Launch, Module, Stream};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending counts nothing any more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn launches_copies_and_fills_allocate_nothing() {
    std::env::set_var("CANDLE_HIP_LIBRARY", common::fake_hip(&[]));
    let device = Device::new(0).unwrap();
    let stream = Stream::new(&device).unwrap();
    let module = Module::load(&device, common::empty_code_object()).unwrap();
    let kernel = module.function("echo").unwrap();
    let memory = DeviceMemory::new(&device, 256).unwrap();
    let work = || {
        // SAFETY: the fake runtime writes 40 + 24 bytes to the first argument; every range lies in its 256.
        unsafe {
            let args = kernel_args![memory.ptr(), 7u32, 0.5f32, 9usize];
            kernel
                .launch(&Launch::linear(1000, 256), &stream, &args)
                .unwrap();
            stream.fill_u32(memory.ptr(), 0, 64).unwrap();
            stream
                .copy_on_device(memory.ptr(), memory.ptr().offset(128), 128)
                .unwrap();
        }
        stream.synchronize().unwrap();
    };
    // The first time may set up what is per thread.
    work();
    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..100 {
        work();
    }
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
    drop(std::hint::black_box(Box::new(before)));
    assert_eq!(
        ALLOCATIONS.with(Cell::get) - before,
        1,
        "the allocator counts"
    );
}
