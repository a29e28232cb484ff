//! Streams.
//!
//! Work runs to its end when it is enqueued, on the calling thread (a kernel's workgroups spread over
//! the cores). That is one of the orders that HIP allows: everything enqueued earlier on any stream is
//! complete, so waits are over at once. Two threads that share a stream take turns.
//!
//! A kernel that faults makes its launch fail, and the stream stays failed as a real device would:
//! later work on it is refused with the same error until the error is taken by
//! `hipStreamSynchronize`, `hipDeviceSynchronize`, or `hipGetLastError` on the thread that launched.
//! `loss.rs` has what costs more than that.

use super::error::{take_last_code, Code, HipError, Refusal};
use super::graph::{Capture, Work};
use super::runtime::{call, give, runtime, Runtime};
use std::ffi::{c_int, c_uint, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, ThreadId};

/// `hipStream_t`. 0 is the null stream; 1 (legacy) and 2 (per thread) stand for it too.
pub type StreamHandle = *mut c_void;

/// A fault that has not been taken yet.
struct Failure {
    refusal: Refusal,
    thread: ThreadId,
}

/// A queue of one device.
pub struct Stream {
    pub device: u32,
    pub flags: c_uint,
    failure: Mutex<Option<Failure>>,
    pub capture: Capture,
}

/// The right to run work on a stream.
pub struct Turn<'a> {
    failure: MutexGuard<'a, Option<Failure>>,
}

impl Stream {
    pub fn new(device: u32, flags: c_uint) -> Stream {
        Stream {
            device,
            flags,
            failure: Mutex::new(None),
            capture: Capture::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Failure>> {
        // A panic while work ran leaves only a missing failure behind.
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs work now or, while the stream captures, keeps it. `owned` makes work that can be kept.
    pub fn run(
        &self,
        now: impl FnOnce(&mut Turn<'_>) -> Result<(), Refusal>,
        owned: impl FnOnce() -> Result<Work, Refusal>,
    ) -> Result<(), Refusal> {
        match self.capture.is_active() {
            true => self.capture.keep(owned()?),
            false => now(&mut self.turn()?),
        }
    }

    /// Waits for other threads' work on this stream; refuses when it has failed, or captures.
    pub fn turn(&self) -> Result<Turn<'_>, Refusal> {
        self.capture.refuse()?;
        let failure = self.lock();
        match &*failure {
            None => Ok(Turn { failure }),
            Some(earlier) => Err(Refusal::new(
                earlier.refusal.code,
                format!("the stream failed earlier: {}", earlier.refusal.text),
            )),
        }
    }

    /// Waits for other threads' work and takes the failure, if there is one.
    pub fn settle(&self) -> Result<(), Refusal> {
        self.capture.refuse()?;
        match self.lock().take() {
            None => Ok(()),
            Some(failure) => Err(Refusal {
                loud: false,
                ..failure.refusal
            }),
        }
    }

    fn busy(&self) -> bool {
        matches!(self.failure.try_lock(), Err(TryLockError::WouldBlock))
    }

    fn forgive(&self, thread: ThreadId) {
        // A stream that is busy on another thread has no failure of this one.
        if let Ok(mut failure) = self.failure.try_lock() {
            if failure
                .as_ref()
                .is_some_and(|failure| failure.thread == thread)
            {
                *failure = None;
            }
        }
    }
}

impl Turn<'_> {
    /// Marks the stream as failed.
    pub fn fail(&mut self, refusal: Refusal) {
        *self.failure = Some(Failure {
            refusal,
            thread: thread::current().id(),
        });
    }
}

impl Runtime {
    /// The stream behind a handle.
    pub fn stream(&self, handle: StreamHandle) -> Result<Arc<Stream>, Refusal> {
        let stream = match handle as usize {
            0..=2 => Arc::clone(&self.devices[self.current() as usize].default_stream),
            _ => self.streams.get(handle)?,
        };
        self.devices[stream.device as usize].loss.count()?;
        Ok(stream)
    }

    /// Every stream, or those of one device.
    fn streams_of(&self, device: Option<u32>) -> Vec<Arc<Stream>> {
        let defaults = self
            .devices
            .iter()
            .map(|device| Arc::clone(&device.default_stream));
        let mut streams: Vec<_> = defaults.chain(self.streams.all()).collect();
        streams.retain(|stream| device.is_none_or(|device| stream.device == device));
        streams
    }
}

/// The latest error of this thread, which is then forgotten; so are failures of streams that this
/// thread's launches caused.
#[no_mangle]
pub extern "C" fn hipGetLastError() -> HipError {
    if let Ok(runtime) = runtime() {
        let thread = thread::current().id();
        for stream in runtime.streams_of(None) {
            stream.forgive(thread);
        }
    }
    take_last_code()
}

/// Waits for every stream of the current device; gives, once, the failure of one that failed.
#[no_mangle]
pub extern "C" fn hipDeviceSynchronize() -> HipError {
    call("hipDeviceSynchronize", |runtime| {
        runtime.expect_current()?;
        let streams = runtime.streams_of(Some(runtime.current()));
        let outcomes: Vec<_> = streams.iter().map(|stream| stream.settle()).collect();
        outcomes.into_iter().collect()
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipStreamCreate(stream: *mut StreamHandle) -> HipError {
    // SAFETY: forwarded to the caller.
    unsafe { hipStreamCreateWithFlags(stream, 0) }
}

/// Flags: 0, or 1 (`hipStreamNonBlocking`).
#[no_mangle]
pub unsafe extern "C" fn hipStreamCreateWithFlags(
    stream: *mut StreamHandle,
    flags: c_uint,
) -> HipError {
    call("hipStreamCreateWithFlags", |runtime| {
        if flags > 1 {
            return Err(Refusal::new(
                Code::ErrorInvalidValue,
                format!("unknown stream flags {flags:#x}"),
            ));
        }
        if stream.is_null() {
            return Err(Refusal::new(
                Code::ErrorInvalidValue,
                "the pointer for the stream is null",
            ));
        }
        runtime.expect_current()?;
        let handle = runtime
            .streams
            .insert(Stream::new(runtime.current(), flags));
        // SAFETY: not null; valid by HIP's contract.
        unsafe { give(stream, handle) }
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipStreamCreateWithPriority(
    stream: *mut StreamHandle,
    flags: c_uint,
    _priority: c_int,
) -> HipError {
    // SAFETY: forwarded to the caller.
    unsafe { hipStreamCreateWithFlags(stream, flags) }
}

#[no_mangle]
pub unsafe extern "C" fn hipStreamGetFlags(stream: StreamHandle, flags: *mut c_uint) -> HipError {
    call("hipStreamGetFlags", |runtime| {
        let stream = runtime.stream(stream)?;
        // SAFETY: valid or null by HIP's contract.
        unsafe { give(flags, stream.flags) }
    })
}

/// Waits for the stream's work and destroys it. The null stream cannot be destroyed.
#[no_mangle]
pub extern "C" fn hipStreamDestroy(stream: StreamHandle) -> HipError {
    call("hipStreamDestroy", |runtime| {
        let stream = runtime.streams.remove(stream)?;
        drop(stream.lock());
        Ok(())
    })
}

#[no_mangle]
pub extern "C" fn hipStreamSynchronize(stream: StreamHandle) -> HipError {
    call("hipStreamSynchronize", |runtime| {
        runtime.stream(stream)?.settle()
    })
}

/// `hipErrorNotReady` while another thread's work runs on the stream.
#[no_mangle]
pub extern "C" fn hipStreamQuery(stream: StreamHandle) -> HipError {
    call("hipStreamQuery", |runtime| {
        let stream = runtime.stream(stream)?;
        if stream.busy() {
            return Err(Code::ErrorNotReady.into());
        }
        stream.turn().map(drop)
    })
}
