//! HIP's error codes for CUDA's, and the texts that go with them.
//!
//! HIP took its numbers from CUDA, so most are the same. Kernel faults that HIP does not tell apart become
//! `hipErrorLaunchFailure`; `hipGetErrorString` then still says what CUDA called it, when it is asked for this thread's
//! latest error.

use crate::cuda::{self, Driver, Missing};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::{c_char, CStr, CString};
use std::sync::{Mutex, PoisonError};

/// `hipError_t`: a C enum.
pub type HipError = u32;

pub const SUCCESS: HipError = 0;
pub const INVALID_VALUE: HipError = 1;
pub const NO_DEVICE: HipError = 100;
pub const INVALID_DEVICE: HipError = 101;
pub const SHARED_OBJECT_INIT_FAILED: HipError = 303;
pub const NOT_READY: HipError = 600;
pub const LAUNCH_FAILURE: HipError = 719;
pub const UNKNOWN: HipError = 999;

macro_rules! names {
    ($($code:literal $name:ident)*) => {
        /// HIP's codes (hip_runtime_api.h of ROCm 5.2 and 6) with their names: those that have the same number and
        /// meaning in CUDA, and those that this library gives of itself.
        pub static NAMES: &[(HipError, &CStr)] = &[$((
            $code,
            match CStr::from_bytes_with_nul(concat!("hip", stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => panic!("the macro appends the only NUL"),
            },
        ),)*];
    };
}

names! {
    0 Success
    1 ErrorInvalidValue
    2 ErrorOutOfMemory
    3 ErrorNotInitialized
    4 ErrorDeinitialized
    5 ErrorProfilerDisabled
    6 ErrorProfilerNotInitialized
    7 ErrorProfilerAlreadyStarted
    8 ErrorProfilerAlreadyStopped
    35 ErrorInsufficientDriver
    100 ErrorNoDevice
    101 ErrorInvalidDevice
    200 ErrorInvalidImage
    201 ErrorInvalidContext
    202 ErrorContextAlreadyCurrent
    205 ErrorMapFailed
    206 ErrorUnmapFailed
    207 ErrorArrayIsMapped
    208 ErrorAlreadyMapped
    209 ErrorNoBinaryForGpu
    210 ErrorAlreadyAcquired
    211 ErrorNotMapped
    212 ErrorNotMappedAsArray
    213 ErrorNotMappedAsPointer
    214 ErrorECCNotCorrectable
    215 ErrorUnsupportedLimit
    216 ErrorContextAlreadyInUse
    217 ErrorPeerAccessUnsupported
    218 ErrorInvalidKernelFile
    219 ErrorInvalidGraphicsContext
    300 ErrorInvalidSource
    301 ErrorFileNotFound
    302 ErrorSharedObjectSymbolNotFound
    303 ErrorSharedObjectInitFailed
    304 ErrorOperatingSystem
    400 ErrorInvalidHandle
    401 ErrorIllegalState
    500 ErrorNotFound
    600 ErrorNotReady
    700 ErrorIllegalAddress
    701 ErrorLaunchOutOfResources
    702 ErrorLaunchTimeOut
    704 ErrorPeerAccessAlreadyEnabled
    705 ErrorPeerAccessNotEnabled
    708 ErrorSetOnActiveProcess
    709 ErrorContextIsDestroyed
    710 ErrorAssert
    712 ErrorHostMemoryAlreadyRegistered
    713 ErrorHostMemoryNotRegistered
    719 ErrorLaunchFailure
    720 ErrorCooperativeLaunchTooLarge
    801 ErrorNotSupported
    900 ErrorStreamCaptureUnsupported
    901 ErrorStreamCaptureInvalidated
    902 ErrorStreamCaptureMerge
    903 ErrorStreamCaptureUnmatched
    904 ErrorStreamCaptureUnjoined
    905 ErrorStreamCaptureIsolation
    906 ErrorStreamCaptureImplicit
    907 ErrorCapturedEvent
    908 ErrorStreamCaptureWrongThread
    910 ErrorGraphExecUpdateFailure
    999 ErrorUnknown
}

/// CUDA's statuses that HIP has no number for, or another one.
static OTHERS: &[(cuda::Status, HipError)] = &[
    (34, 303),  // STUB_LIBRARY: a libcuda that is only there to link with
    (36, 35),   // CALL_REQUIRES_NEWER_DRIVER
    (46, 101),  // DEVICE_UNAVAILABLE
    (102, 101), // DEVICE_NOT_LICENSED
    (220, 719), // NVLINK_UNCORRECTABLE
    (221, 209), // JIT_COMPILER_NOT_FOUND: the image holds PTX only
    (222, 209), // UNSUPPORTED_PTX_VERSION
    (223, 209), // JIT_COMPILATION_DISABLED
    (703, 719), // LAUNCH_INCOMPATIBLE_TEXTURING
    (711, 2),   // TOO_MANY_PEERS
    (714, 719), // HARDWARE_STACK_ERROR
    (715, 719), // ILLEGAL_INSTRUCTION: also what a kernel's trap is
    (716, 719), // MISALIGNED_ADDRESS
    (717, 719), // INVALID_ADDRESS_SPACE
    (718, 719), // INVALID_PC
    (802, 3),   // SYSTEM_NOT_READY
    (803, 35),  // SYSTEM_DRIVER_MISMATCH
    (804, 35),  // COMPAT_NOT_SUPPORTED_ON_DEVICE
];

/// HIP's code for CUDA's status; `hipErrorUnknown` for one that has none.
pub fn from_cuda(status: cuda::Status) -> HipError {
    if let Some((_, code)) = OTHERS.iter().find(|row| row.0 == status) {
        return *code;
    }
    match NAMES.iter().any(|row| row.0 == status) {
        true => status,
        false => UNKNOWN,
    }
}

/// An error on its way to the caller.
#[derive(Debug)]
pub enum Failure {
    /// CUDA's.
    Cuda(cuda::Status),
    /// This library's own, with a text.
    Own(HipError, String),
}

impl From<&Missing> for Failure {
    fn from(missing: &Missing) -> Failure {
        match missing {
            Missing::Library(why) => Failure::Own(
                SHARED_OBJECT_INIT_FAILED,
                format!(
                    "the CUDA driver, libcuda.so.1, cannot be used: {why}. Install NVIDIA's driver, or set \
                     HIP_NVIDIA_CUDA to the library's path"
                ),
            ),
            Missing::Initialisation(status, text) => Failure::Own(
                from_cuda(*status),
                format!("the CUDA driver does not start: {text}"),
            ),
        }
    }
}

/// CUDA's status as a result.
pub fn check(status: cuda::Status) -> Result<(), Failure> {
    match status {
        cuda::SUCCESS => Ok(()),
        status => Err(Failure::Cuda(status)),
    }
}

thread_local! {
    static LAST_CODE: Cell<HipError> = const { Cell::new(SUCCESS) };
    static LAST_TEXT: RefCell<(HipError, String)> = const { RefCell::new((SUCCESS, String::new())) };
}

/// Gives the outcome's code, and keeps an error as this thread's latest.
pub fn finish(outcome: Result<(), Failure>) -> HipError {
    let failure = match outcome {
        Ok(()) => return SUCCESS,
        // An answer, asked for often: no text.
        Err(Failure::Cuda(NOT_READY)) => return NOT_READY,
        Err(failure) => failure,
    };
    let (code, text) = match failure {
        Failure::Cuda(status) => {
            let text = Driver::get().map(|driver| driver.describe(status));
            (from_cuda(status), text.unwrap_or_default())
        }
        Failure::Own(code, text) => (code, text),
    };
    LAST_CODE.set(code);
    LAST_TEXT.replace((code, text));
    code
}

/// Texts live as long as the process: C callers keep the pointers. Each is kept once.
fn intern(text: &str) -> *const c_char {
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

fn name(code: HipError) -> &'static CStr {
    NAMES
        .iter()
        .find(|row| row.0 == code)
        .map_or(c"hipErrorUnknown", |row| row.1)
}

#[no_mangle]
pub extern "C" fn hipGetErrorName(code: HipError) -> *const c_char {
    name(code).as_ptr()
}

/// Describes `code`: when it is this thread's latest error, with CUDA's words for that.
#[no_mangle]
pub extern "C" fn hipGetErrorString(code: HipError) -> *const c_char {
    LAST_TEXT.with_borrow(|(last, text)| match *last == code && !text.is_empty() {
        true => intern(text),
        false => match Driver::get() {
            Ok(driver) if from_cuda(code) == code => intern(&driver.describe(code)),
            _ => name(code).as_ptr(),
        },
    })
}

/// This thread's latest error, which is then forgotten; its text stays for `hipGetErrorString`.
#[no_mangle]
pub extern "C" fn hipGetLastError() -> HipError {
    LAST_CODE.replace(SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CUDA's statuses as cuda.h of CUDA 13.0 numbers them, against HIP's header.
    #[test]
    fn statuses_that_hip_has_keep_their_number() {
        for status in [
            0, 1, 2, 3, 100, 101, 200, 209, 400, 500, 600, 700, 704, 719, 801, 900, 907,
        ] {
            assert_eq!(from_cuda(status), status);
        }
    }

    #[test]
    fn kernel_faults_without_a_number_in_hip_are_launch_failures() {
        for status in [714, 715, 716, 717, 718] {
            assert_eq!(from_cuda(status), LAUNCH_FAILURE, "{status}");
        }
    }

    #[test]
    fn statuses_that_nobody_knows_are_unknown_and_every_code_given_has_a_name() {
        for status in [226, 811, 12345, u32::MAX] {
            assert_eq!(from_cuda(status), UNKNOWN, "{status}");
        }
        for status in 0..2000 {
            let code = from_cuda(status);
            assert!(NAMES.iter().any(|row| row.0 == code), "{status}: {code}");
        }
    }

    #[test]
    fn the_tables_are_sorted_and_without_repetition() {
        assert!(NAMES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(OTHERS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn the_latest_error_is_described_in_its_own_words_and_taken_once() {
        let code = finish(Err(Failure::Own(
            INVALID_VALUE,
            "the pointer is null".into(),
        )));
        assert_eq!(code, INVALID_VALUE);
        // SAFETY: the text is interned.
        let text = unsafe { CStr::from_ptr(hipGetErrorString(code)) };
        assert_eq!(text.to_str().unwrap(), "the pointer is null");
        assert_eq!(
            (hipGetLastError(), hipGetLastError()),
            (INVALID_VALUE, SUCCESS)
        );
        // SAFETY: the name is a literal.
        let name = unsafe { CStr::from_ptr(hipGetErrorName(code)) };
        assert_eq!(name.to_str().unwrap(), "hipErrorInvalidValue");
    }

    /// A query's answer is no error that a later hipGetLastError should give.
    #[test]
    fn work_in_progress_is_no_error() {
        assert_eq!(finish(Err(Failure::Cuda(NOT_READY))), NOT_READY);
        assert_eq!(hipGetLastError(), SUCCESS);
    }
}
