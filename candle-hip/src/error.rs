//! What can go wrong, as values.

use crate::sys::hip::hipError_t;
use std::path::PathBuf;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A HIP call that returned an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HipFailure {
    /// The C function, such as `hipMalloc`.
    pub call: &'static str,
    /// HIP's number of the error.
    pub code: u32,
    /// HIP's name of the error, such as `hipErrorOutOfMemory`.
    pub name: String,
    /// HIP's description of the error.
    pub description: String,
    /// What the caller was doing.
    pub context: String,
}

/// An error of the HIP runtime, of looking for it, or of a request that it must not be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A HIP call failed.
    #[error(
        "{}: {} failed with {} ({}){}{}", .0.context, .0.call, .0.name, .0.code,
        if .0.description.is_empty() { "" } else { ": " }, .0.description
    )]
    Hip(Box<HipFailure>),

    /// The library was not found, or nothing that was found could be used.
    #[error("{title} was not found.\nTried:\n{}{install}", lines(.tried))]
    LibraryMissing {
        /// What was looked for.
        title: &'static str,
        /// Each path that was tried and the loader's reason against it.
        tried: Vec<(PathBuf, String)>,
        /// What to do about it.
        install: &'static str,
    },

    /// The environment variable that names the library names one that cannot be used.
    #[error("{variable} is set to '{}', which cannot be used: {reason}. Correct or unset {variable}.", path.display())]
    LibraryUnusable {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
        /// Why the library cannot be used; names the symbol when one is missing.
        reason: String,
    },

    /// There is no device with this ordinal.
    #[error("there is no ROCm device {ordinal}: {}", available(*.count))]
    NoDevice {
        /// The device that was asked for.
        ordinal: usize,
        /// How many devices the runtime reports.
        count: usize,
    },

    /// The runtime describes a device in a way that these bindings do not understand.
    #[error("device {ordinal}: {reason}")]
    UnknownDevice {
        /// The device.
        ordinal: usize,
        /// What is not understood.
        reason: String,
    },

    /// A range that does not lie inside its allocation.
    #[error("{what}: bytes {start}..{} of an allocation of {len} bytes", u128::from(*.start) + u128::from(*.bytes))]
    OutOfRange {
        /// What was asked for.
        what: &'static str,
        /// First byte of the range.
        start: u64,
        /// Length of the range in bytes.
        bytes: u64,
        /// Length of the allocation in bytes.
        len: u64,
    },

    /// A launch that the runtime must not be given.
    #[error("kernel '{kernel}' cannot be launched: {reason}")]
    InvalidLaunch {
        /// The kernel's name.
        kernel: String,
        /// What is wrong with the launch.
        reason: String,
    },

    /// Bytes that are not a complete code object.
    #[error("not a code object: {0}")]
    InvalidCodeObject(String),

    /// An argument that no call can be made with.
    #[error("{0}")]
    InvalidArgument(String),

    /// The runtime lacks an optional function.
    #[error("the HIP runtime '{}' does not support {what}", library.display())]
    Unsupported {
        /// What is not supported.
        what: &'static str,
        /// The library in use.
        library: PathBuf,
    },

    /// This process was forked from one that had opened the HIP runtime.
    #[error(
        "this process was forked from one that had started the HIP runtime, which cannot be used on both sides of a fork: \
         make the first ROCm device after the fork, or start the child as a program of its own (in Python's \
         multiprocessing: the start method 'spawn')"
    )]
    Forked,

    /// A rocBLAS call failed.
    #[error("{context}: {call} failed with rocblas_status {status}")]
    Blas {
        /// The C function.
        call: &'static str,
        /// rocBLAS' number of the error.
        status: u32,
        /// What the caller was doing.
        context: String,
    },
}

impl Error {
    /// HIP's number of the error, when it came from a HIP call.
    pub fn code(&self) -> Option<u32> {
        match self {
            Error::Hip(failure) => Some(failure.code),
            _ => None,
        }
    }

    /// Whether the device, or pinned host memory, ran out.
    pub fn is_out_of_memory(&self) -> bool {
        self.code() == Some(hipError_t::hipErrorOutOfMemory.0)
    }

    /// Whether the runtime library itself is missing or unusable.
    pub fn is_library_missing(&self) -> bool {
        matches!(
            self,
            Error::LibraryMissing { .. } | Error::LibraryUnusable { .. }
        )
    }

    /// Whether the device asked for does not exist.
    pub fn is_no_device(&self) -> bool {
        matches!(self, Error::NoDevice { .. })
    }
}

fn lines(tried: &[(PathBuf, String)]) -> String {
    tried
        .iter()
        .map(|(path, reason)| format!("  {}: {reason}\n", path.display()))
        .collect()
}

fn available(count: usize) -> String {
    match count {
        0 => "the HIP runtime sees no device at all. Check that the card is supported, that this user may \
              open /dev/kfd and /dev/dri (groups 'render' and 'video'), and that HIP_VISIBLE_DEVICES and \
              ROCR_VISIBLE_DEVICES do not hide it"
            .into(),
        1 => "the only device is 0".into(),
        n => format!("the devices are 0 to {}", n - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out_of_memory() -> Error {
        Error::Hip(Box::new(HipFailure {
            call: "hipMalloc",
            code: 2,
            name: "hipErrorOutOfMemory".into(),
            description: "out of memory".into(),
            context: "allocating 64 bytes on device 1".into(),
        }))
    }

    #[test]
    fn a_hip_error_says_what_was_done_which_call_and_which_code() {
        let error = out_of_memory();
        assert_eq!(
            error.to_string(),
            "allocating 64 bytes on device 1: hipMalloc failed with hipErrorOutOfMemory (2): out of memory"
        );
        assert!(error.is_out_of_memory());
        assert!(!error.is_library_missing());
        assert_eq!(error.code(), Some(2));
    }

    #[test]
    fn no_device_says_which_devices_there_are() {
        let text = |count| Error::NoDevice { ordinal: 3, count }.to_string();
        assert!(text(0).contains("/dev/kfd"), "{}", text(0));
        assert_eq!(text(1), "there is no ROCm device 3: the only device is 0");
        assert_eq!(text(2), "there is no ROCm device 3: the devices are 0 to 1");
    }

    #[test]
    fn the_range_of_an_out_of_range_error_cannot_overflow() {
        let error = Error::OutOfRange {
            what: "reading",
            start: u64::MAX,
            bytes: u64::MAX,
            len: 8,
        };
        assert!(
            error.to_string().contains("36893488147419103230"),
            "{error}"
        );
    }

    #[test]
    fn errors_are_small_enough_to_return_by_value() {
        assert!(std::mem::size_of::<Error>() <= 128);
        fn sendable<T: Send + Sync + std::error::Error + 'static>() {}
        sendable::<Error>();
    }
}
