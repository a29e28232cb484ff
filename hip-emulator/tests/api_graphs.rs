//! Stream capture and graphs through the C ABI.

mod support;

use hip_emulator::api::graph::*;
use hip_emulator::api::{copy, memory, stream};
use std::ffi::c_void;
use std::ptr::null_mut;
use support::*;

const GLOBAL: u32 = 0;
const THREAD: u32 = 1;
const RELAXED: u32 = 2;

/// A stream of the current device that is destroyed at the end.
struct Stream(*mut c_void);

impl Stream {
    fn new() -> Stream {
        let mut handle = null_mut();
        // SAFETY: `handle` is valid.
        let code = unsafe { stream::hipStreamCreate(&mut handle) };
        assert_eq!(code, SUCCESS);
        Stream(handle)
    }

    fn begin(&self, mode: u32) {
        assert_eq!(
            hipStreamBeginCapture(self.0, mode),
            SUCCESS,
            "{}",
            last_text()
        );
    }

    fn end(&self) -> Result<Graph, u32> {
        let (mut graph, mut executable) = (null_mut(), null_mut());
        // SAFETY: both pointers are valid.
        unsafe {
            match hipStreamEndCapture(self.0, &mut graph) {
                SUCCESS => {}
                code => return Err(code),
            }
            assert_eq!(
                hipGraphInstantiateWithFlags(&mut executable, graph, 0),
                SUCCESS
            );
        }
        assert_eq!(hipGraphDestroy(graph), SUCCESS);
        Ok(Graph(executable))
    }

    fn is_capturing(&self) -> i32 {
        let mut status = -1;
        // SAFETY: `status` is valid.
        assert_eq!(
            unsafe { hipStreamIsCapturing(self.0, &mut status) },
            SUCCESS
        );
        status
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        stream::hipStreamDestroy(self.0);
    }
}

/// An executable graph.
struct Graph(*mut c_void);

impl Graph {
    fn launch(&self, stream: &Stream) -> u32 {
        hipGraphLaunch(self.0, stream.0)
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        assert_eq!(hipGraphExecDestroy(self.0), SUCCESS);
    }
}

/// out = a + b, then a = out by a copy and the last element of b = 0 by a fill: each launch of it gives other sums.
#[test]
fn a_graph_does_again_what_was_captured_in_its_order() {
    for (number, target) in TARGETS.iter().enumerate() {
        let module = Module::api(number);
        let n = 100usize;
        let (a, b) = (Buffer::of(&vec![1f32; n]), Buffer::of(&vec![10f32; n]));
        let out = Buffer::of(&vec![0f32; n]);
        let stream = Stream::new();
        stream.begin(RELAXED);
        assert_eq!(stream.is_capturing(), 1);
        {
            // The arguments are kept: what they were packed in goes away.
            let pointers = [&a, &b, &out].map(|buffer| buffer.address().to_le_bytes());
            let arguments = pack(&[
                &pointers[0],
                &pointers[1],
                &pointers[2],
                &(n as u32).to_le_bytes(),
            ]);
            let vadd = module.function("vadd");
            let code = launch_on(stream.0, vadd, [1, 1, 1], [128, 1, 1], 0, &arguments);
            assert_eq!(code, SUCCESS, "{target}: {}", last_text());
        }
        // SAFETY: both buffers have 4 * n bytes.
        let code = unsafe { copy::hipMemcpyDtoDAsync(a.0, out.0, 4 * n, stream.0) };
        assert_eq!(code, SUCCESS);
        let last = (b.address() + 4 * (n as u64 - 1)) as *mut c_void;
        assert_eq!(copy::hipMemsetD32Async(last, 0, 1, stream.0), SUCCESS);
        assert_eq!(out.read::<f32>(), vec![0.0; n], "{target}: nothing ran yet");
        let graph = stream.end().unwrap();
        assert_eq!(stream.is_capturing(), 0);
        for launches in 1..4 {
            assert_eq!(graph.launch(&stream), SUCCESS, "{target}: {}", last_text());
            let sums = out.read::<f32>();
            assert_eq!(sums[0], 1.0 + 10.0 * launches as f32, "{target}");
            // The first launch added the ten, the fill came after it.
            assert_eq!(sums[n - 1], 11.0, "{target}");
        }
    }
}

#[test]
fn waiting_spoils_a_capture() {
    device(0);
    let (stream, buffer) = (Stream::new(), Buffer::of(&[1u8; 16]));
    stream.begin(RELAXED);
    assert_eq!(stream::hipStreamSynchronize(stream.0), CAPTURE_UNSUPPORTED);
    assert!(last_text().contains("is capturing"), "{}", last_text());
    assert_eq!(copy::hipMemsetD8Async(buffer.0, 2, 16, stream.0), SUCCESS);
    assert_eq!(stream.end().err(), Some(CAPTURE_INVALIDATED));
    assert!(last_text().contains("waited for"), "{}", last_text());
    // The stream works again, and what was kept never ran.
    assert_eq!(stream::hipStreamSynchronize(stream.0), SUCCESS);
    assert_eq!(buffer.read::<u8>(), [1; 16]);
}

#[test]
fn only_a_relaxed_capture_lets_its_thread_allocate() {
    device(0);
    let try_to_allocate = || {
        let mut pointer = null_mut();
        // SAFETY: `pointer` is valid.
        let code = unsafe { memory::hipMalloc(&mut pointer, 16) };
        if code == SUCCESS {
            assert_eq!(memory::hipFree(pointer), SUCCESS);
        }
        code
    };
    let elsewhere = || std::thread::scope(|s| s.spawn(try_to_allocate).join().unwrap());
    let stream = Stream::new();
    stream.begin(RELAXED);
    assert_eq!((try_to_allocate(), elsewhere()), (SUCCESS, SUCCESS));
    drop(stream.end().unwrap());
    stream.begin(THREAD);
    assert_eq!(
        (try_to_allocate(), elsewhere()),
        (CAPTURE_UNSUPPORTED, SUCCESS)
    );
    drop(stream.end().unwrap());
    assert_eq!((try_to_allocate(), elsewhere()), (SUCCESS, SUCCESS));
}

#[test]
fn captures_that_do_not_fit_are_refused() {
    device(0);
    assert_eq!(
        hipStreamBeginCapture(null_mut(), GLOBAL),
        CAPTURE_UNSUPPORTED
    );
    let stream = Stream::new();
    assert_eq!(stream.end().err(), Some(ILLEGAL_STATE));
    assert_eq!(hipStreamBeginCapture(stream.0, 3), INVALID_VALUE);
    stream.begin(RELAXED);
    assert_eq!(hipStreamBeginCapture(stream.0, RELAXED), ILLEGAL_STATE);
    let graph = stream.end().unwrap();
    device(1);
    let other = Stream::new();
    assert_eq!(graph.launch(&other), INVALID_VALUE);
    assert!(last_text().contains("device 0"), "{}", last_text());
    assert_eq!(hipGraphLaunch(null_mut(), other.0), INVALID_HANDLE);
}

#[test]
fn a_graph_stops_at_memory_that_is_gone() {
    device(0);
    let (stream, buffer) = (Stream::new(), Buffer::new(16));
    let gone = Buffer::new(16);
    stream.begin(RELAXED);
    assert_eq!(copy::hipMemsetD8Async(gone.0, 1, 16, stream.0), SUCCESS);
    assert_eq!(copy::hipMemsetD8Async(buffer.0, 1, 16, stream.0), SUCCESS);
    let graph = stream.end().unwrap();
    drop(gone);
    assert_eq!(graph.launch(&stream), INVALID_DEVICE_POINTER);
    assert!(last_text().contains("memory to fill"), "{}", last_text());
    assert_eq!(buffer.read::<u8>(), [0xA5; 16]);
}
