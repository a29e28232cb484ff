//! What the tests of the C ABI share: code objects compiled from `tests/kernels`, and thin wrappers.

// Each test binary uses a part of this.
#![allow(dead_code)]

use hip_emulator::api;
use hip_emulator::api::error::HipError;
use std::ffi::{c_void, CStr, CString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::null_mut;
use std::sync::{Mutex, Once, PoisonError};

/// The devices of the tests, in this order.
pub const TARGETS: [&str; 5] = ["gfx1100", "gfx90a", "gfx942", "gfx1030", "gfx1201"];

pub const SUCCESS: HipError = 0;
pub const INVALID_VALUE: HipError = 1;
pub const OUT_OF_MEMORY: HipError = 2;
pub const INVALID_CONFIGURATION: HipError = 9;
pub const INVALID_DEVICE_POINTER: HipError = 17;
pub const INVALID_MEMCPY_DIRECTION: HipError = 21;
pub const NO_DEVICE: HipError = 100;
pub const INVALID_DEVICE: HipError = 101;
pub const INVALID_IMAGE: HipError = 200;
pub const NO_BINARY_FOR_GPU: HipError = 209;
pub const INVALID_HANDLE: HipError = 400;
pub const ILLEGAL_STATE: HipError = 401;
pub const NOT_FOUND: HipError = 500;
pub const ILLEGAL_ADDRESS: HipError = 700;
pub const LAUNCH_FAILURE: HipError = 719;
pub const NOT_SUPPORTED: HipError = 801;
pub const CAPTURE_UNSUPPORTED: HipError = 900;
pub const CAPTURE_INVALIDATED: HipError = 901;

/// Makes this process have one device per target, device `number` being current on this thread.
pub fn device(number: usize) {
    static ENVIRONMENT: Once = Once::new();
    ENVIRONMENT.call_once(|| std::env::set_var("HIP_EMULATOR_ARCH", TARGETS.join(",")));
    assert_eq!(api::device::hipSetDevice(number as i32), SUCCESS);
    api::stream::hipGetLastError();
}

/// clang 19 or the one that `CLANG` names.
fn clang() -> String {
    std::env::var("CLANG").unwrap_or_else(|_| "clang-19".to_string())
}

/// Compiles `tests/kernels/NAME.hip`, unless that was done since it was last changed. A missing
/// compiler is a failure that says what to install.
pub fn compile(name: &str, target: &str, version: u32) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/kernels/{name}.hip"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let compiler = clang();
    let tag: String = compiler
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let out = folder.join(format!("{name}-{target}-v{version}-{tag}.hsaco"));
    let changed = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    if changed(&out).is_some_and(|made| changed(&source).is_some_and(|edited| edited < made)) {
        return out;
    }
    // Other test programs may compile the same file now: each writes its own and renames it.
    let own = out.with_extension(std::process::id().to_string());
    let output = Command::new(&compiler)
        .args(["-x", "hip", "--cuda-device-only", "--no-gpu-bundle-output"])
        .args(["-nogpuinc", "-nogpulib", "-O2"])
        .arg(format!("--offload-arch={target}"))
        .arg(format!("-mcode-object-version={version}"))
        .arg(&source)
        .arg("-o")
        .arg(&own)
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{compiler}: {error}; install clang-19 and lld-19 (apt), or name a clang in CLANG"
            )
        });
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{compiler} failed on {}:\n{text}",
        source.display()
    );
    std::fs::rename(&own, &out).expect("renaming the code object that was just compiled");
    out
}

pub fn code_object(name: &str, target: &str) -> Vec<u8> {
    std::fs::read(compile(name, target, 5)).expect("the code object that was just compiled")
}

/// The text that goes with the latest error of this thread, through the C function.
pub fn last_text() -> String {
    // SAFETY: asking for the length takes no buffer; then the buffer has that length and a NUL.
    unsafe {
        let length = api::error::hipEmulatorLastFault(null_mut(), 0);
        let mut buffer = vec![0u8; length + 1];
        api::error::hipEmulatorLastFault(buffer.as_mut_ptr().cast(), buffer.len());
        CStr::from_bytes_until_nul(&buffer)
            .unwrap()
            .to_string_lossy()
            .into_owned()
    }
}

/// A module on the current device.
pub struct Module(pub *mut c_void);

impl Module {
    pub fn load(bytes: &[u8]) -> Result<Module, HipError> {
        let mut module = null_mut();
        // SAFETY: `module` is valid and `bytes` is memory of this process.
        match unsafe { api::module::hipModuleLoadData(&mut module, bytes.as_ptr().cast()) } {
            SUCCESS => Ok(Module(module)),
            code => Err(code),
        }
    }

    pub fn api(number: usize) -> Module {
        device(number);
        Module::load(&code_object("api", TARGETS[number])).expect("the tests' own kernels load")
    }

    pub fn function(&self, name: &str) -> *mut c_void {
        let (mut function, name) = (null_mut(), CString::new(name).unwrap());
        // SAFETY: all pointers are valid.
        let code =
            unsafe { api::module::hipModuleGetFunction(&mut function, self.0, name.as_ptr()) };
        assert_eq!(code, SUCCESS, "{}", last_text());
        function
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        api::module::hipModuleUnload(self.0);
    }
}

/// Device memory of the current device.
pub struct Buffer(pub *mut c_void, pub usize);

impl Buffer {
    pub fn new(bytes: usize) -> Buffer {
        let mut pointer = null_mut();
        // SAFETY: `pointer` is valid.
        assert_eq!(
            unsafe { api::memory::hipMalloc(&mut pointer, bytes) },
            SUCCESS
        );
        Buffer(pointer, bytes)
    }

    pub fn of<T: Copy>(values: &[T]) -> Buffer {
        let buffer = Buffer::new(std::mem::size_of_val(values));
        // SAFETY: both sides have `buffer.1` bytes.
        let code = unsafe { api::copy::hipMemcpy(buffer.0, values.as_ptr().cast(), buffer.1, 1) };
        assert_eq!(code, SUCCESS, "{}", last_text());
        buffer
    }

    pub fn read<T: Copy + Default>(&self) -> Vec<T> {
        let mut values = vec![T::default(); self.1 / std::mem::size_of::<T>()];
        let bytes = std::mem::size_of_val(values.as_slice());
        // SAFETY: both sides have `bytes` bytes.
        let code = unsafe { api::copy::hipMemcpy(values.as_mut_ptr().cast(), self.0, bytes, 2) };
        assert_eq!(code, SUCCESS, "{}", last_text());
        values
    }

    pub fn address(&self) -> u64 {
        self.0 as u64
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        api::memory::hipFree(self.0);
    }
}

/// A key of the `extra` list of a launch (`HIP_LAUNCH_PARAM_*`): a number dressed as a pointer.
pub fn tag(number: usize) -> *mut c_void {
    std::ptr::without_provenance_mut(number)
}

/// Launches on the null stream.
pub fn launch(
    function: *mut c_void,
    grid: [u32; 3],
    block: [u32; 3],
    lds: u32,
    arguments: &[u8],
) -> HipError {
    launch_on(null_mut(), function, grid, block, lds, arguments)
}

/// Launches with one packed buffer, as candle-hip does.
pub fn launch_on(
    stream: *mut c_void,
    function: *mut c_void,
    grid: [u32; 3],
    block: [u32; 3],
    lds: u32,
    arguments: &[u8],
) -> HipError {
    let mut size = arguments.len();
    let mut extra: [*mut c_void; 5] = [
        tag(1),
        arguments.as_ptr() as *mut c_void,
        tag(2),
        (&mut size as *mut usize).cast(),
        tag(3),
    ];
    // SAFETY: the list is complete and the buffer has `size` bytes.
    unsafe {
        api::kernel::hipModuleLaunchKernel(
            function,
            grid[0],
            grid[1],
            grid[2],
            block[0],
            block[1],
            block[2],
            lds,
            stream,
            null_mut(),
            extra.as_mut_ptr(),
        )
    }
}

/// Values one after the other, each at its natural alignment.
pub fn pack(values: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        bytes.resize(bytes.len().next_multiple_of(value.len()), 0);
        bytes.extend_from_slice(value);
    }
    bytes
}
