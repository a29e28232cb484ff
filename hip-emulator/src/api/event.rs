//! Events: moments in a stream. Work runs when it is enqueued, so a recorded event is complete.

use super::error::{Code, HipError, Refusal};
use super::runtime::{call, give};
use super::stream::StreamHandle;
use std::ffi::{c_uint, c_void};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// `hipEvent_t`.
pub type EventHandle = *mut c_void;

/// `hipEventDisableTiming`.
const DISABLE_TIMING: c_uint = 2;
/// `hipEventBlockingSync`, `hipEventDisableTiming`, `hipEventInterprocess` and the two cache hints
/// (`hipEventReleaseToDevice`, `hipEventReleaseToSystem`).
const KNOWN_FLAGS: c_uint = 0xc000_0007;

pub struct Event {
    flags: c_uint,
    recorded: Mutex<Option<Instant>>,
}

impl Event {
    fn recorded(&self) -> Option<Instant> {
        *self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[no_mangle]
pub unsafe extern "C" fn hipEventCreate(event: *mut EventHandle) -> HipError {
    // SAFETY: forwarded to the caller.
    unsafe { hipEventCreateWithFlags(event, 0) }
}

#[no_mangle]
pub unsafe extern "C" fn hipEventCreateWithFlags(
    event: *mut EventHandle,
    flags: c_uint,
) -> HipError {
    call("hipEventCreateWithFlags", |runtime| {
        if flags & !KNOWN_FLAGS != 0 {
            return Err(Refusal::new(
                Code::ErrorInvalidValue,
                format!("unknown event flags {flags:#x}"),
            ));
        }
        if event.is_null() {
            return Err(Refusal::new(
                Code::ErrorInvalidValue,
                "the pointer for the event is null",
            ));
        }
        let handle = runtime.events.insert(Event {
            flags,
            recorded: Mutex::new(None),
        });
        // SAFETY: not null; valid by HIP's contract.
        unsafe { give(event, handle) }
    })
}

#[no_mangle]
pub extern "C" fn hipEventDestroy(event: EventHandle) -> HipError {
    call("hipEventDestroy", |runtime| {
        runtime.events.remove(event).map(drop)
    })
}

#[no_mangle]
pub extern "C" fn hipEventRecord(event: EventHandle, stream: StreamHandle) -> HipError {
    call("hipEventRecord", |runtime| {
        let event = runtime.events.get(event)?;
        let stream = runtime.stream(stream)?;
        // Behind the work of other threads on this stream.
        let _turn = stream.turn()?;
        *event
            .recorded
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    })
}

#[no_mangle]
pub extern "C" fn hipEventSynchronize(event: EventHandle) -> HipError {
    call("hipEventSynchronize", |runtime| {
        runtime.events.get(event).map(drop)
    })
}

/// Always complete: a recorded event's work is done, and one that was never recorded counts as done.
#[no_mangle]
pub extern "C" fn hipEventQuery(event: EventHandle) -> HipError {
    call("hipEventQuery", |runtime| {
        runtime.events.get(event).map(drop)
    })
}

/// Nothing to wait for: what the event stands for is complete.
#[no_mangle]
pub extern "C" fn hipStreamWaitEvent(
    stream: StreamHandle,
    event: EventHandle,
    _flags: c_uint,
) -> HipError {
    call("hipStreamWaitEvent", |runtime| {
        let stream = runtime.stream(stream)?;
        runtime.events.get(event)?;
        stream.turn().map(drop)
    })
}

/// Milliseconds of host time between two recorded events, both created with timing.
#[no_mangle]
pub unsafe extern "C" fn hipEventElapsedTime(
    milliseconds: *mut f32,
    start: EventHandle,
    stop: EventHandle,
) -> HipError {
    call("hipEventElapsedTime", |runtime| {
        let (start, stop) = (runtime.events.get(start)?, runtime.events.get(stop)?);
        if (start.flags | stop.flags) & DISABLE_TIMING != 0 {
            return Err(Refusal::new(
                Code::ErrorInvalidHandle,
                "an event was created without timing",
            ));
        }
        let (Some(from), Some(to)) = (start.recorded(), stop.recorded()) else {
            return Err(Refusal::new(
                Code::ErrorInvalidHandle,
                "an event was never recorded",
            ));
        };
        let seconds = match to.checked_duration_since(from) {
            Some(later) => later.as_secs_f64(),
            None => -from.duration_since(to).as_secs_f64(),
        };
        // SAFETY: valid or null by HIP's contract.
        unsafe { give(milliseconds, (seconds * 1e3) as f32) }
    })
}
