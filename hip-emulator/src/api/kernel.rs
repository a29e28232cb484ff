//! Launching kernels.

use super::error::{Code, HipError, Refusal};
use super::module::FunctionHandle;
use super::runtime::{call, give, Runtime};
use super::stream::{StreamHandle, Turn};
use crate::code_object::KernelMetadata;
use crate::launch::{Arguments, Function, LaunchError, Request, MAX_LDS};
use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

/// Keys of the `extra` list (`HIP_LAUNCH_PARAM_*`).
const END: usize = 3;
const BUFFER_POINTER: usize = 1;
const BUFFER_SIZE: usize = 2;
/// A list longer than this has lost its end.
const MAX_EXTRA: usize = 16;

impl From<LaunchError> for Refusal {
    fn from(error: LaunchError) -> Refusal {
        let text = error.to_string();
        match error {
            LaunchError::Configuration { .. } => {
                Refusal::new(Code::ErrorInvalidConfiguration, text)
            }
            LaunchError::Arguments { .. } | LaunchError::Lds { .. } => {
                Refusal::new(Code::ErrorInvalidValue, text)
            }
            LaunchError::Memory(error) => error.into(),
            LaunchError::Fault(fault) if fault.kind.is_access() => {
                Refusal::loud(Code::ErrorIllegalAddress, text)
            }
            LaunchError::Fault(_) => Refusal::loud(Code::ErrorLaunchFailure, text),
        }
    }
}

/// Runs a kernel to its end before it returns. A kernel that faults gives `hipErrorIllegalAddress`
/// or `hipErrorLaunchFailure` here, and the stream stays failed (see the module on streams).
///
/// Grid sizes count workgroups. Arguments come from `kernel_params` (a pointer per parameter) or
/// from `extra` (one packed buffer), not both.
#[no_mangle]
pub unsafe extern "C" fn hipModuleLaunchKernel(
    function: FunctionHandle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    dynamic_lds: c_uint,
    stream: StreamHandle,
    kernel_params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> HipError {
    call("hipModuleLaunchKernel", |runtime| {
        let function = runtime.functions.get(function)?;
        let stream = runtime.stream(stream)?;
        if stream.device != function.device {
            return Err(Refusal::new(
                Code::ErrorInvalidHandle,
                format!(
                    "kernel {} is loaded on device {}, the stream is of device {}",
                    function.kernel.name, function.device, stream.device
                ),
            ));
        }
        // SAFETY: valid or null by HIP's contract.
        let arguments = unsafe { arguments(&function.metadata, kernel_params, extra) }?;
        let request = Request {
            grid: [grid_x, grid_y, grid_z],
            block: [block_x, block_y, block_z],
            dynamic_lds,
            arguments,
        };
        stream.run(
            |turn| run(runtime, &function, &request, turn),
            || {
                let owned = function.own(&request)?;
                let function = Arc::clone(&function);
                Ok(Box::new(move |runtime, turn| {
                    run(runtime, &function, &owned.request(), turn)
                }))
            },
        )
    })
}

/// Runs a kernel; one that faults fails the stream.
fn run(
    runtime: &Runtime,
    function: &Function,
    request: &Request<'_>,
    turn: &mut Turn<'_>,
) -> Result<(), Refusal> {
    let Err(error) = function.launch(request, &runtime.memory, &runtime.recorder) else {
        return Ok(());
    };
    let sticky = matches!(error, LaunchError::Fault(_));
    let refusal = Refusal::from(error);
    if sticky {
        turn.fail(refusal.clone());
        if runtime.settings.sticky {
            runtime.devices[function.device as usize]
                .loss
                .lose(refusal.clone());
        }
    }
    Err(refusal)
}

/// # Safety
/// `kernel_params` is null or has a pointer per explicit parameter of the kernel; `extra` is null or a
/// list of `HIP_LAUNCH_PARAM_*` keys and values that ends with `HIP_LAUNCH_PARAM_END`.
unsafe fn arguments<'a>(
    metadata: &KernelMetadata,
    kernel_params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Result<Arguments<'a>, Refusal> {
    let refuse = |what: &str| {
        Err(Refusal::new(
            Code::ErrorInvalidValue,
            format!("kernel {}: {what}", metadata.name),
        ))
    };
    match (kernel_params.is_null(), extra.is_null()) {
        (true, true) => return Ok(Arguments::None),
        (false, false) => return refuse("arguments by kernelParams and by extra at once"),
        // SAFETY: the caller's promise.
        (false, true) => return Ok(unsafe { Arguments::pointers(kernel_params.cast(), metadata) }),
        (true, false) => {}
    }
    let (mut buffer, mut size) = (std::ptr::null::<u8>(), None);
    let mut at = 0;
    loop {
        if at >= MAX_EXTRA {
            return refuse("the extra list does not end");
        }
        // SAFETY: the list has not ended yet, so this element is part of it.
        let key = unsafe { *extra.add(at) } as usize;
        if key == END {
            break;
        }
        // SAFETY: a key other than the end has a value.
        let value = unsafe { *extra.add(at + 1) };
        match key {
            BUFFER_POINTER => buffer = value.cast(),
            // SAFETY: HIP's contract: the value points to the size.
            BUFFER_SIZE if !value.is_null() => {
                size = Some(unsafe { value.cast::<usize>().read_unaligned() })
            }
            BUFFER_SIZE => return refuse("the pointer to the arguments' size is null"),
            _ => return refuse("an unknown key in the extra list"),
        }
        at += 2;
    }
    match size {
        None => refuse("the extra list has no size"),
        Some(0) => Ok(Arguments::None),
        Some(_) if buffer.is_null() => refuse("the buffer of arguments is null"),
        // Read only what a kernarg segment can hold, whatever the size says.
        Some(size) if size > metadata.kernarg_bytes.next_multiple_of(64) => refuse(&format!(
            "it takes {} bytes of arguments, {size} were given",
            metadata.explicit_end()
        )),
        // SAFETY: HIP's contract: the buffer has this many bytes, for the duration of the call.
        Some(size) => Ok(Arguments::Packed(unsafe {
            std::slice::from_raw_parts(buffer, size)
        })),
    }
}

/// Workgroups that fit on a multiprocessor by LDS and by 2048 resident work-items; registers are not
/// counted.
#[no_mangle]
pub unsafe extern "C" fn hipModuleOccupancyMaxActiveBlocksPerMultiprocessor(
    blocks: *mut c_int,
    function: FunctionHandle,
    block_size: c_int,
    dynamic_lds: usize,
) -> HipError {
    call(
        "hipModuleOccupancyMaxActiveBlocksPerMultiprocessor",
        |runtime| {
            let function = runtime.functions.get(function)?;
            let items = u32::try_from(block_size)
                .ok()
                .filter(|n| (1..=function.max_workgroup()).contains(n));
            let Some(items) = items else {
                let what = format!("a block of {block_size} work-items");
                return Err(Refusal::new(Code::ErrorInvalidValue, what));
            };
            let fixed = function.kernel.descriptor.group_segment_fixed_size as usize;
            let by_lds = match fixed.saturating_add(dynamic_lds) {
                0 => u32::MAX,
                lds => (MAX_LDS as usize / lds) as u32,
            };
            // SAFETY: valid or null by HIP's contract.
            unsafe { give(blocks, (2048 / items).min(by_lds) as c_int) }
        },
    )
}
