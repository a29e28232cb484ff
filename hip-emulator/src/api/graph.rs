//! Stream capture and graphs.
//!
//! While a stream captures, kernels, copies and fills given to it are checked and kept instead of run; a launch of the
//! graph runs them in their order. What HIP forbids meanwhile is refused and, as there, spoils the capture: waiting for the
//! stream or asking it anything, and, unless the mode is relaxed, allocating. Events and other streams joining a capture
//! are not imitated: recording an event on a stream that captures is refused too.

use super::error::{Code, HipError, Refusal};
use super::runtime::{call, give, Runtime};
use super::stream::{StreamHandle, Turn};
use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_ulonglong, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Work that was kept: as often as it is called, it does what it would have done.
pub type Work = Box<dyn Fn(&'static Runtime, &mut Turn<'_>) -> Result<(), Refusal> + Send + Sync>;

/// `hipGraph_t`: the work of a capture, in order.
pub struct Graph {
    device: u32,
    work: Vec<Work>,
}

/// `hipStreamCaptureMode`: whom a capture keeps from allocating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Global,
    ThreadLocal,
    Relaxed,
}

/// Captures in the global mode, which bind every thread.
static GLOBAL: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Captures that bind the thread that began them.
    static THREAD: Cell<usize> = const { Cell::new(0) };
}

/// Refuses what a capture that is under way keeps this thread from doing.
pub fn expect_no_capture(what: &str) -> Result<(), Refusal> {
    match GLOBAL.load(Ordering::Relaxed) + THREAD.get() {
        0 => Ok(()),
        _ => Err(Refusal::new(
            Code::ErrorStreamCaptureUnsupported,
            format!("{what} while a stream is capturing; a relaxed capture allows it"),
        )),
    }
}

struct Kept {
    mode: Mode,
    work: Vec<Work>,
    /// Something that is forbidden was tried.
    spoilt: Option<Refusal>,
}

/// What a stream has captured since it began to.
#[derive(Default)]
pub struct Capture {
    active: AtomicBool,
    kept: Mutex<Option<Kept>>,
}

impl Capture {
    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Refuses what cannot be kept, and spoils the capture with it.
    pub fn refuse(&self) -> Result<(), Refusal> {
        if !self.is_active() {
            return Ok(());
        }
        let refusal = Refusal::new(
            Code::ErrorStreamCaptureUnsupported,
            "the stream is capturing: nothing can be waited for or asked until the capture ends",
        );
        if let Some(kept) = self.kept().as_mut() {
            kept.spoilt.get_or_insert_with(|| refusal.clone());
        }
        Err(refusal)
    }

    pub fn keep(&self, work: Work) -> Result<(), Refusal> {
        match self.kept().as_mut() {
            Some(kept) => {
                kept.work.push(work);
                Ok(())
            }
            None => Err(Code::ErrorIllegalState.into()),
        }
    }

    fn begin(&self, mode: Mode) -> Result<(), Refusal> {
        let mut kept = self.kept();
        if kept.is_some() {
            return Err(Refusal::new(
                Code::ErrorIllegalState,
                "the stream is capturing already",
            ));
        }
        *kept = Some(Kept {
            mode,
            work: Vec::new(),
            spoilt: None,
        });
        self.active.store(true, Ordering::Release);
        match mode {
            Mode::Global => {
                GLOBAL.fetch_add(1, Ordering::Relaxed);
            }
            Mode::ThreadLocal => THREAD.set(THREAD.get() + 1),
            Mode::Relaxed => {}
        }
        Ok(())
    }

    fn end(&self) -> Result<Vec<Work>, Refusal> {
        let kept = self
            .kept()
            .take()
            .ok_or_else(|| Refusal::new(Code::ErrorIllegalState, "the stream is not capturing"))?;
        self.active.store(false, Ordering::Release);
        match kept.mode {
            Mode::Global => {
                GLOBAL.fetch_sub(1, Ordering::Relaxed);
            }
            Mode::ThreadLocal => THREAD.set(THREAD.get().saturating_sub(1)),
            Mode::Relaxed => {}
        }
        match kept.spoilt {
            None => Ok(kept.work),
            Some(refusal) => Err(Refusal::new(
                Code::ErrorStreamCaptureInvalidated,
                format!("the capture has failed: {}", refusal.text),
            )),
        }
    }
}

/// Modes: 0 (global), 1 (this thread), 2 (relaxed).
#[no_mangle]
pub extern "C" fn hipStreamBeginCapture(stream: StreamHandle, mode: c_uint) -> HipError {
    call("hipStreamBeginCapture", |runtime| {
        let mode = match mode {
            0 => Mode::Global,
            1 => Mode::ThreadLocal,
            2 => Mode::Relaxed,
            _ => {
                let what = format!("unknown capture mode {mode}");
                return Err(Refusal::new(Code::ErrorInvalidValue, what));
            }
        };
        if stream as usize <= 1 {
            return Err(Refusal::new(
                Code::ErrorStreamCaptureUnsupported,
                "the null stream cannot capture",
            ));
        }
        runtime.stream(stream)?.capture.begin(mode)
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipStreamEndCapture(
    stream: StreamHandle,
    graph: *mut *mut c_void,
) -> HipError {
    call("hipStreamEndCapture", |runtime| {
        // SAFETY: valid or null by HIP's contract. Refuses null before the capture ends.
        unsafe { give(graph, std::ptr::null_mut()) }?;
        let stream = runtime.stream(stream)?;
        let captured = Graph {
            device: stream.device,
            work: stream.capture.end()?,
        };
        // SAFETY: as above.
        unsafe { give(graph, runtime.graphs.insert(captured)) }
    })
}

/// 0 (`hipStreamCaptureStatusNone`) or 1 (`…Active`).
#[no_mangle]
pub unsafe extern "C" fn hipStreamIsCapturing(
    stream: StreamHandle,
    status: *mut c_int,
) -> HipError {
    call("hipStreamIsCapturing", |runtime| {
        let active = runtime.stream(stream)?.capture.is_active();
        // SAFETY: valid or null by HIP's contract.
        unsafe { give(status, active as c_int) }
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipGraphInstantiateWithFlags(
    executable: *mut *mut c_void,
    graph: *mut c_void,
    flags: c_ulonglong,
) -> HipError {
    call("hipGraphInstantiateWithFlags", |runtime| {
        if flags != 0 {
            return Err(Refusal::new(
                Code::ErrorNotSupported,
                format!("flags {flags:#x} of a graph"),
            ));
        }
        let graph = runtime.graphs.get(graph)?;
        // SAFETY: valid or null by HIP's contract.
        unsafe { give(executable, runtime.executables.insert(graph)) }
    })
}

/// `node` and `log`, for the place of an error, are never written: nothing here can fail but an unknown handle.
#[no_mangle]
pub unsafe extern "C" fn hipGraphInstantiate(
    executable: *mut *mut c_void,
    graph: *mut c_void,
    _node: *mut *mut c_void,
    _log: *mut u8,
    _size: usize,
) -> HipError {
    // SAFETY: forwarded to the caller.
    unsafe { hipGraphInstantiateWithFlags(executable, graph, 0) }
}

/// Runs the graph's work in its order, or as far as it goes without an error.
#[no_mangle]
pub extern "C" fn hipGraphLaunch(executable: *mut c_void, stream: StreamHandle) -> HipError {
    call("hipGraphLaunch", |runtime| {
        let graph = Arc::clone(&runtime.executables.get(executable)?);
        let stream = runtime.stream(stream)?;
        if stream.device != graph.device {
            return Err(Refusal::new(
                Code::ErrorInvalidValue,
                format!(
                    "the graph was captured on device {}, the stream is of device {}",
                    graph.device, stream.device
                ),
            ));
        }
        let run = move |runtime: &'static Runtime, turn: &mut Turn<'_>| {
            graph.work.iter().try_for_each(|work| work(runtime, turn))
        };
        let again = run.clone();
        stream.run(|turn| run(runtime, turn), || Ok(Box::new(again)))
    })
}

/// What was instantiated from the graph stands by itself.
#[no_mangle]
pub extern "C" fn hipGraphDestroy(graph: *mut c_void) -> HipError {
    call("hipGraphDestroy", |runtime| {
        runtime.graphs.remove(graph).map(drop)
    })
}

#[no_mangle]
pub extern "C" fn hipGraphExecDestroy(executable: *mut c_void) -> HipError {
    call("hipGraphExecDestroy", |runtime| {
        runtime.executables.remove(executable).map(drop)
    })
}
