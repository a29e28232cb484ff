//! Streams and events. Flags have the same numbers in HIP and CUDA.

use crate::context::current;
use crate::cuda::Handle;
use crate::error::{check, HipError};
use std::ffi::c_uint;

macro_rules! forward {
    ($($(#[$text:meta])* $name:ident ($($argument:ident: $kind:ty),*) = $field:ident;)*) => {$(
        $(#[$text])*
        #[no_mangle]
        pub unsafe extern "C" fn $name($($argument: $kind),*) -> HipError {
            // SAFETY: HIP's contract is CUDA's: live handles, results that may be written.
            current(|driver| check(unsafe { (driver.$field)($($argument),*) }))
        }
    )*};
}
pub(crate) use forward;

forward! {
    hipStreamCreateWithFlags(stream: *mut Handle, flags: c_uint) = stream_create;
    hipStreamDestroy(stream: Handle) = stream_destroy;
    hipStreamSynchronize(stream: Handle) = stream_synchronize;
    hipStreamQuery(stream: Handle) = stream_query;
    hipStreamWaitEvent(stream: Handle, event: Handle, flags: c_uint) = stream_wait_event;
    hipEventCreateWithFlags(event: *mut Handle, flags: c_uint) = event_create;
    hipEventDestroy(event: Handle) = event_destroy;
    hipEventRecord(event: Handle, stream: Handle) = event_record;
    hipEventSynchronize(event: Handle) = event_synchronize;
    hipEventQuery(event: Handle) = event_query;
    hipEventElapsedTime(milliseconds: *mut f32, start: Handle, end: Handle) = event_elapsed;
}
