//! Modules: loading code objects, looking up kernels and globals.

use super::error::{Code, HipError, Refusal};
use super::runtime::{call, give, Runtime};
use crate::code_object::{read_image, CodeObject, CodeObjectError, Image};
use crate::launch::{Function, MAX_LDS};
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_uint, c_void, CStr};
use std::sync::{Arc, Mutex, PoisonError};

/// `hipModule_t`.
pub type ModuleHandle = *mut c_void;
/// `hipFunction_t`.
pub type FunctionHandle = *mut c_void;

/// A loaded code object; its kernels run on the device that was current at loading.
pub struct Module {
    image: Arc<Image>,
    device: u32,
    /// Handles of the kernels that were looked up: a second look-up gives the same one, decoded or not.
    functions: Mutex<HashMap<String, usize>>,
}

impl From<CodeObjectError> for Refusal {
    fn from(error: CodeObjectError) -> Refusal {
        match error {
            CodeObjectError::Memory(error) => error.into(),
            CodeObjectError::WrongTarget { .. } | CodeObjectError::WrongFeatures { .. } => {
                Refusal::loud(Code::ErrorNoBinaryForGpu, error.to_string())
            }
            CodeObjectError::Invalid(_) => {
                Refusal::loud(Code::ErrorInvalidImage, error.to_string())
            }
        }
    }
}

/// # Safety
/// `module` must be null (which is refused) or valid.
unsafe fn load(
    runtime: &Runtime,
    module: *mut ModuleHandle,
    bytes: Vec<u8>,
) -> Result<(), Refusal> {
    runtime.expect_current()?;
    let device = runtime.current();
    let target = runtime.devices[device as usize].target;
    let image = Image::load(CodeObject::parse(bytes)?, &runtime.memory, device, target)?;
    let handle = runtime.modules.insert(Module {
        image: Arc::new(image),
        device,
        functions: Mutex::default(),
    });
    // SAFETY: forwarded to the caller.
    unsafe { give(module, handle) }
}

/// Loads a code object from memory; its length comes from its ELF header.
#[no_mangle]
pub unsafe extern "C" fn hipModuleLoadData(
    module: *mut ModuleHandle,
    image: *const c_void,
) -> HipError {
    call("hipModuleLoadData", |runtime| {
        if module.is_null() || image.is_null() {
            return Err(Refusal::new(
                Code::ErrorInvalidValue,
                "the module's or the image's pointer is null",
            ));
        }
        // SAFETY: HIP's contract: `image` points to a code object; anything else is an error.
        let bytes = unsafe { read_image(image as u64) }?;
        // SAFETY: `module` is not null; valid by HIP's contract.
        unsafe { load(runtime, module, bytes) }
    })
}

/// The same; options only concern just-in-time compilers.
#[no_mangle]
pub unsafe extern "C" fn hipModuleLoadDataEx(
    module: *mut ModuleHandle,
    image: *const c_void,
    _count: c_uint,
    _options: *mut c_int,
    _values: *mut *mut c_void,
) -> HipError {
    // SAFETY: forwarded to the caller.
    unsafe { hipModuleLoadData(module, image) }
}

/// Loads a code object from a file.
#[no_mangle]
pub unsafe extern "C" fn hipModuleLoad(module: *mut ModuleHandle, path: *const c_char) -> HipError {
    call("hipModuleLoad", |runtime| {
        // SAFETY: valid or null by HIP's contract.
        let path = unsafe { text(path) }?;
        if module.is_null() {
            return Err(Refusal::new(
                Code::ErrorInvalidValue,
                "the pointer for the module is null",
            ));
        }
        let bytes = std::fs::read(path)
            .map_err(|error| Refusal::new(Code::ErrorFileNotFound, format!("{path}: {error}")))?;
        // SAFETY: not null; valid by HIP's contract.
        unsafe { load(runtime, module, bytes) }
    })
}

/// Unloads a module: its functions become unknown handles. A kernel that runs meanwhile on another
/// thread ends first.
#[no_mangle]
pub extern "C" fn hipModuleUnload(module: ModuleHandle) -> HipError {
    call("hipModuleUnload", |runtime| {
        let module = runtime.modules.remove(module)?;
        runtime
            .functions
            .remove_where(|function| function.belongs_to(&module.image));
        runtime
            .memory
            .free(module.image.base(), "hipModuleUnload", |_| true)?;
        Ok(())
    })
}

/// `hipErrorNotFound`, with the kernels that there are, for an unknown name.
#[no_mangle]
pub unsafe extern "C" fn hipModuleGetFunction(
    function: *mut FunctionHandle,
    module: ModuleHandle,
    name: *const c_char,
) -> HipError {
    call("hipModuleGetFunction", |runtime| {
        let module = runtime.modules.get(module)?;
        // SAFETY: valid or null by HIP's contract.
        let name = unsafe { text(name) }?;
        if function.is_null() {
            return Err(Refusal::new(
                Code::ErrorInvalidValue,
                "the pointer for the function is null",
            ));
        }
        let mut functions = module
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = functions.get(name) {
            // SAFETY: not null; valid by HIP's contract.
            return unsafe { give(function, *handle as FunctionHandle) };
        }
        let Some((kernel, metadata)) = module.image.kernel(name)? else {
            let known: Vec<_> = module
                .image
                .kernels()
                .iter()
                .map(|k| k.name.as_str())
                .collect();
            return Err(Refusal::new(
                Code::ErrorNotFound,
                format!(
                    "the code object has no kernel {name}; it has {}",
                    listing(&known)
                ),
            ));
        };
        let kernel = Function::new(kernel, metadata, module.device, Arc::clone(&module.image));
        let handle = runtime.functions.insert(kernel);
        functions.insert(name.to_string(), handle as usize);
        // SAFETY: not null; valid by HIP's contract.
        unsafe { give(function, handle) }
    })
}

fn listing(names: &[&str]) -> String {
    const SHOWN: usize = 20;
    match names.len() {
        0 => "none".to_string(),
        count if count > SHOWN => {
            format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN)
        }
        _ => names.join(", "),
    }
}

/// Address and size of a module's variable; either result pointer may be null.
#[no_mangle]
pub unsafe extern "C" fn hipModuleGetGlobal(
    pointer: *mut *mut c_void,
    bytes: *mut usize,
    module: ModuleHandle,
    name: *const c_char,
) -> HipError {
    call("hipModuleGetGlobal", |runtime| {
        let module = runtime.modules.get(module)?;
        // SAFETY: valid or null by HIP's contract.
        let name = unsafe { text(name) }?;
        let global = module.image.global(name).ok_or_else(|| {
            Refusal::new(
                Code::ErrorNotFound,
                format!("the code object has no variable {name}"),
            )
        })?;
        if !pointer.is_null() {
            // SAFETY: not null; valid by HIP's contract.
            unsafe { give(pointer, global.address as *mut c_void) }?;
        }
        if !bytes.is_null() {
            // SAFETY: as above.
            unsafe { give(bytes, global.bytes as usize) }?;
        }
        Ok(())
    })
}

/// # Safety
/// `text` must be null (which is refused) or a C string.
unsafe fn text<'a>(text: *const c_char) -> Result<&'a str, Refusal> {
    if text.is_null() {
        return Err(Refusal::new(Code::ErrorInvalidValue, "the name is null"));
    }
    // SAFETY: not null, and a C string by the caller's contract.
    unsafe { CStr::from_ptr(text) }
        .to_str()
        .map_err(|_| Refusal::new(Code::ErrorInvalidValue, "the name is not UTF-8"))
}

/// `hipFunction_attribute`, numbered as in ROCm 5.2's and 6's header.
#[no_mangle]
pub unsafe extern "C" fn hipFuncGetAttribute(
    value: *mut c_int,
    attribute: c_int,
    function: FunctionHandle,
) -> HipError {
    call("hipFuncGetAttribute", |runtime| {
        let function = runtime.functions.get(function)?;
        let metadata = &function.metadata;
        let lds = function.kernel.descriptor.group_segment_fixed_size;
        let number = match attribute {
            0 => function.max_workgroup(),
            1 => lds,
            2 => 0, // constant memory: variables are the module's, not the kernel's
            3 => metadata.scratch_bytes,
            4 => metadata.vgprs,
            8 => MAX_LDS.saturating_sub(lds),
            _ => {
                let what = format!("function attribute {attribute} is not known");
                return Err(Refusal::new(Code::ErrorInvalidValue, what));
            }
        };
        // SAFETY: valid or null by HIP's contract.
        unsafe { give(value, number as c_int) }
    })
}
