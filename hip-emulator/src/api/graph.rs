//! Stream capture and graphs: not offered yet. Each function says so with `hipErrorNotSupported`;
//! asking whether a stream is capturing has an answer (no).

use super::error::{Code, HipError, Refusal};
use super::runtime::{call, give};
use super::stream::StreamHandle;
use std::ffi::{c_int, c_ulonglong, c_void};

macro_rules! not_offered {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        $(
            #[no_mangle]
            pub extern "C" fn $name($($argument: $type),*) -> HipError {
                call(stringify!($name), |_| {
                    Err(Refusal::new(Code::ErrorNotSupported, "the emulator has no graphs yet"))
                })
            }
        )*
    };
}

not_offered! {
    hipStreamBeginCapture(_stream: StreamHandle, _mode: c_int);
    hipStreamEndCapture(_stream: StreamHandle, _graph: *mut *mut c_void);
    hipGraphInstantiate(_exec: *mut *mut c_void, _graph: *mut c_void, _node: *mut *mut c_void, _log: *mut u8, _size: usize);
    hipGraphInstantiateWithFlags(_exec: *mut *mut c_void, _graph: *mut c_void, _flags: c_ulonglong);
    hipGraphLaunch(_exec: *mut c_void, _stream: StreamHandle);
    hipGraphDestroy(_graph: *mut c_void);
    hipGraphExecDestroy(_exec: *mut c_void);
}

/// Always 0, `hipStreamCaptureStatusNone`.
#[no_mangle]
pub unsafe extern "C" fn hipStreamIsCapturing(
    stream: StreamHandle,
    status: *mut c_int,
) -> HipError {
    call("hipStreamIsCapturing", |runtime| {
        runtime.stream(stream)?;
        // SAFETY: valid or null by HIP's contract.
        unsafe { give(status, 0) }
    })
}
