//! HIP's error codes, and the texts that go with them.
//!
//! A code alone cannot say which kernel did what. The text of the latest error of each thread is kept
//! and `hipGetErrorString` gives it for that error's code, so a caller that asks at once (as candle-hip
//! does) gets the whole story; `hipEmulatorLastFault` gives the text alone.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::{c_char, CStr, CString};
use std::sync::{Mutex, PoisonError};

/// `hipError_t`: a C enum.
pub type HipError = u32;

macro_rules! errors {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        /// The codes that the emulator gives, numbered as in `hip_runtime_api.h` (ROCm 5.2 and 6).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Code { $($name = $code,)* }

        /// Code, HIP's name (NUL-terminated), meaning (NUL-terminated).
        static CODES: &[(HipError, &CStr, &CStr)] = &[$((
            $code,
            nul_terminated(concat!("hip", stringify!($name), "\0")),
            nul_terminated(concat!($text, "\0")),
        ),)*];
    };
}

const fn nul_terminated(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("the macro appends the only NUL"),
    }
}

errors! {
    Success = 0, "no error";
    ErrorInvalidValue = 1, "an argument is null or out of range";
    ErrorOutOfMemory = 2, "out of memory";
    ErrorNotInitialized = 3, "the runtime is not initialised";
    ErrorInvalidConfiguration = 9, "the launch geometry is not possible";
    ErrorInvalidDevicePointer = 17, "the pointer is not device memory";
    ErrorInvalidMemcpyDirection = 21, "unknown direction of a copy";
    ErrorNoDevice = 100, "no device";
    ErrorInvalidDevice = 101, "there is no device with this number";
    ErrorInvalidImage = 200, "the code object is damaged";
    ErrorNoBinaryForGpu = 209, "the code object is for another target";
    ErrorFileNotFound = 301, "file not found";
    ErrorInvalidHandle = 400, "unknown or destroyed handle";
    ErrorIllegalState = 401, "not possible in this state";
    ErrorNotFound = 500, "no such symbol";
    ErrorNotReady = 600, "work is still pending";
    ErrorIllegalAddress = 700, "a kernel touched memory that it may not touch";
    ErrorPeerAccessUnsupported = 217, "a device has no peer access to itself";
    ErrorPeerAccessAlreadyEnabled = 704, "peer access is enabled already";
    ErrorPeerAccessNotEnabled = 705, "peer access is not enabled";
    ErrorHostMemoryAlreadyRegistered = 712, "the host memory is registered already";
    ErrorHostMemoryNotRegistered = 713, "the host memory is not registered";
    ErrorLaunchFailure = 719, "a kernel failed";
    ErrorNotSupported = 801, "not supported by the emulator";
    ErrorStreamCaptureUnsupported = 900, "not possible while a stream is capturing";
    ErrorStreamCaptureInvalidated = 901, "the capture has failed";
    ErrorUnknown = 999, "unknown error";
}

/// An error on its way to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    /// What was wrong and, where it helps, what to do. May be empty.
    pub text: String,
    /// Whether a person should see it even when the program looks at the code only.
    pub loud: bool,
}

impl Refusal {
    pub fn new(code: Code, text: impl Into<String>) -> Refusal {
        Refusal {
            code,
            text: text.into(),
            loud: false,
        }
    }

    pub fn loud(code: Code, text: impl Into<String>) -> Refusal {
        Refusal {
            code,
            text: text.into(),
            loud: true,
        }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Refusal {
        Refusal::new(code, "")
    }
}

thread_local! {
    static LAST_CODE: Cell<HipError> = const { Cell::new(0) };
    static LAST_TEXT: RefCell<(HipError, String)> = const { RefCell::new((0, String::new())) };
}

/// Makes `refusal` this thread's latest error.
pub fn remember(refusal: &Refusal) {
    let code = refusal.code as HipError;
    // An unfinished stream is an answer, not an error that hipGetLastError should give.
    if refusal.code != Code::ErrorNotReady {
        LAST_CODE.set(code);
    }
    LAST_TEXT.replace((code, refusal.text.clone()));
}

pub fn last_code() -> HipError {
    LAST_CODE.get()
}

/// The latest code, which is then forgotten. Its text stays for `hipGetErrorString`.
pub fn take_last_code() -> HipError {
    LAST_CODE.replace(0)
}

/// The latest error's text on this thread; empty when it had none.
pub fn last_text() -> String {
    LAST_TEXT.with_borrow(|(_, text)| text.clone())
}

/// HIP's name of `code`.
pub fn name(code: HipError) -> &'static CStr {
    match CODES.iter().find(|row| row.0 == code) {
        Some((_, name, _)) => name,
        None => c"hipErrorUnknown",
    }
}

/// What `code` means, with the text of this thread's latest error when it has that code.
pub fn description(code: HipError) -> *const c_char {
    let meaning = match CODES.iter().find(|row| row.0 == code) {
        Some((_, _, meaning)) => *meaning,
        None => c"a code that the emulator does not give",
    };
    LAST_TEXT.with_borrow(|(last, text)| {
        if *last != code || text.is_empty() {
            return meaning.as_ptr();
        }
        intern(format!("{}: {text}", meaning.to_string_lossy()))
    })
}

/// Texts live as long as the process: C callers keep the pointers. Each is kept once.
fn intern(text: String) -> *const c_char {
    static TEXTS: Mutex<Option<HashSet<&'static CStr>>> = Mutex::new(None);
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    let texts = texts.get_or_insert_with(HashSet::new);
    if let Some(known) = texts.get(text.as_c_str()) {
        return known.as_ptr();
    }
    let kept: &'static CStr = Box::leak(text.into_boxed_c_str());
    texts.insert(kept);
    kept.as_ptr()
}

#[no_mangle]
pub extern "C" fn hipGetErrorName(code: HipError) -> *const c_char {
    name(code).as_ptr()
}

/// Describes `code`; when it is this thread's latest error, with that error's own text.
#[no_mangle]
pub extern "C" fn hipGetErrorString(code: HipError) -> *const c_char {
    description(code)
}

#[no_mangle]
pub extern "C" fn hipPeekAtLastError() -> HipError {
    last_code()
}

/// Copies the text of this thread's latest error, NUL-terminated and cut to `size` bytes, and returns
/// its whole length without the NUL. A null `buffer` or `size` 0 only asks for the length.
///
/// # Safety
/// `buffer` must be null or have room for `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn hipEmulatorLastFault(buffer: *mut c_char, size: usize) -> usize {
    let text = last_text();
    // SAFETY: forwarded to the caller.
    unsafe { write_text(&text, buffer, size) };
    text.len()
}

/// Writes `text` as a C string of at most `size` bytes, its NUL included.
///
/// # Safety
/// `buffer` must be null or have room for `size` bytes.
pub unsafe fn write_text(text: &str, buffer: *mut c_char, size: usize) {
    if buffer.is_null() || size == 0 {
        return;
    }
    let kept = text.len().min(size - 1);
    // SAFETY: `kept + 1 <= size` bytes are written, which the caller has room for.
    unsafe {
        buffer
            .cast::<u8>()
            .copy_from_nonoverlapping(text.as_ptr(), kept);
        buffer.add(kept).write(0);
    }
}
