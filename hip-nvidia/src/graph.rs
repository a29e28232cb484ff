//! Stream capture and graphs. Capture modes have the same numbers in HIP and CUDA.

use crate::context::current;
use crate::cuda::Handle;
use crate::error::{check, HipError};
use crate::stream::forward;
use std::ffi::{c_uint, c_ulonglong};

forward! {
    hipStreamBeginCapture(stream: Handle, mode: c_uint) = capture_begin;
    hipStreamEndCapture(stream: Handle, graph: *mut Handle) = capture_end;
    hipGraphInstantiateWithFlags(executable: *mut Handle, graph: Handle, flags: c_ulonglong) = graph_instantiate;
    hipGraphLaunch(executable: Handle, stream: Handle) = graph_launch;
    hipGraphDestroy(graph: Handle) = graph_destroy;
    hipGraphExecDestroy(executable: Handle) = graph_exec_destroy;
}
