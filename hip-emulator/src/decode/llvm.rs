//! LLVM's AMDGPU disassembler, opened at run time through its C API.

use libloading::Library;
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

type Handle = *mut c_void;
type Initialize = unsafe extern "C" fn();
type Create = unsafe extern "C" fn(
    triple: *const c_char,
    cpu: *const c_char,
    features: *const c_char,
    info: *mut c_void,
    tag_type: c_int,
    get_info: *const c_void,
    look_up: *const c_void,
) -> Handle;
type Decode = unsafe extern "C" fn(
    handle: Handle,
    bytes: *mut u8,
    length: u64,
    pc: u64,
    text: *mut c_char,
    text_size: usize,
) -> usize;
type Dispose = unsafe extern "C" fn(handle: Handle);

/// LLVM releases that are looked for, newest first.
const VERSIONS: [u32; 6] = [22, 21, 20, 19, 18, 17];

/// The opened library. It is never closed: LLVM's static state does not survive unloading.
struct Llvm {
    create: Create,
    decode: Decode,
    dispose: Dispose,
    _library: Library,
}

/// A disassembler of one target.
pub struct Disassembler {
    llvm: Arc<Llvm>,
    handle: Handle,
}

/// Where a libLLVM may lie, in the order tried.
fn candidates() -> Vec<PathBuf> {
    if let Some(named) = std::env::var_os("HIP_EMULATOR_LLVM") {
        return vec![PathBuf::from(named)];
    }
    let mut paths = Vec::new();
    for version in VERSIONS {
        paths.push(PathBuf::from(format!("libLLVM.so.{version}.1")));
        paths.push(PathBuf::from(format!("libLLVM-{version}.so.1")));
        paths.push(PathBuf::from(format!("libLLVM-{version}.so")));
        paths.push(PathBuf::from(format!("libLLVM.so.{version}")));
    }
    for version in VERSIONS {
        paths.push(PathBuf::from(format!(
            "/usr/lib/llvm-{version}/lib/libLLVM.so"
        )));
        paths.push(PathBuf::from(format!(
            "/usr/lib/llvm-{version}/lib/libLLVM.so.{version}.1"
        )));
        paths.push(PathBuf::from(format!(
            "/usr/lib/llvm-{version}/lib/libLLVM-{version}.so"
        )));
    }
    paths.push(PathBuf::from("/opt/rocm/llvm/lib/libLLVM.so"));
    paths
}

impl Llvm {
    /// Opens the first library found that has the AMDGPU target. The error says what to install.
    fn open() -> Result<Llvm, String> {
        let mut tried = Vec::new();
        for path in candidates() {
            match Llvm::open_at(&path) {
                Ok(llvm) => return Ok(llvm),
                Err(reason) => tried.push(format!("{}: {reason}", path.display())),
            }
        }
        Err(format!(
            "the emulator decodes kernels with libLLVM (version 17 or newer, with the AMDGPU target) and found none; \
             install llvm-19 or libllvm19, or set HIP_EMULATOR_LLVM to a libLLVM.so. Tried: {}",
            tried.join("; ")
        ))
    }

    fn open_at(path: &Path) -> Result<Llvm, String> {
        // SAFETY: loading runs libLLVM's static constructors, which have no preconditions.
        let library = unsafe { Library::new(path) }.map_err(|e| e.to_string())?;
        // SAFETY: the types above restate the prototypes of llvm-c/Target.h and llvm-c/Disassembler.h,
        // which LLVM keeps stable. The initialisers take no arguments and may be called repeatedly.
        unsafe {
            for part in ["TargetInfo", "Target", "TargetMC", "Disassembler"] {
                let name = format!("LLVMInitializeAMDGPU{part}\0");
                let initialize = library
                    .get::<Initialize>(name.as_bytes())
                    .map_err(|_| "it lacks the AMDGPU target".to_string())?;
                initialize();
            }
            let create = *library
                .get::<Create>(b"LLVMCreateDisasmCPUFeatures\0")
                .map_err(|e| e.to_string())?;
            let decode = *library
                .get::<Decode>(b"LLVMDisasmInstruction\0")
                .map_err(|e| e.to_string())?;
            let dispose = *library
                .get::<Dispose>(b"LLVMDisasmDispose\0")
                .map_err(|e| e.to_string())?;
            Ok(Llvm {
                create,
                decode,
                dispose,
                _library: library,
            })
        }
    }

    /// The process's library, opened once.
    fn get() -> Result<Arc<Llvm>, String> {
        static LLVM: OnceLock<Result<Arc<Llvm>, String>> = OnceLock::new();
        LLVM.get_or_init(|| Llvm::open().map(Arc::new)).clone()
    }
}

impl Disassembler {
    /// A disassembler of `cpu` (such as `gfx1100`) with LLVM's feature string (such as
    /// `+wavefrontsize64`, or empty).
    pub fn new(cpu: &str, features: &str) -> Result<Disassembler, String> {
        let llvm = Llvm::get()?;
        let words = |s: &str| CString::new(s).map_err(|e| e.to_string());
        let (triple, name, features) = (words("amdgcn-amd-amdhsa")?, words(cpu)?, words(features)?);
        // SAFETY: three NUL-terminated strings that outlive the call; no callbacks.
        let handle = unsafe {
            (llvm.create)(
                triple.as_ptr(),
                name.as_ptr(),
                features.as_ptr(),
                std::ptr::null_mut(),
                0,
                std::ptr::null(),
                std::ptr::null(),
            )
        };
        if handle.is_null() {
            return Err(format!("libLLVM has no disassembler for {cpu}"));
        }
        Ok(Disassembler { llvm, handle })
    }

    /// The text and the length in bytes of the instruction at the start of `code`, which lies
    /// `offset` bytes into the kernel; `None` if these bytes are no instruction.
    pub fn decode(&mut self, code: &[u8], offset: u64) -> Option<(String, usize)> {
        // The longest instruction is 20 bytes; LLVM's C API wants a mutable pointer.
        let mut bytes = [0u8; 24];
        let length = code.len().min(bytes.len());
        bytes[..length].copy_from_slice(&code[..length]);
        let mut text = [0 as c_char; 512];
        // SAFETY: the handle is live; both buffers are ours and their lengths are given.
        let used = unsafe {
            (self.llvm.decode)(
                self.handle,
                bytes.as_mut_ptr(),
                length as u64,
                offset,
                text.as_mut_ptr(),
                text.len(),
            )
        };
        if used == 0 {
            return None;
        }
        // SAFETY: LLVM terminates the text with a NUL within the buffer.
        let text = unsafe { CStr::from_ptr(text.as_ptr()) };
        Some((text.to_string_lossy().trim().to_string(), used))
    }
}

impl Drop for Disassembler {
    fn drop(&mut self) {
        // SAFETY: the handle came from `create` and is disposed of once.
        unsafe { (self.llvm.dispose)(self.handle) }
    }
}
