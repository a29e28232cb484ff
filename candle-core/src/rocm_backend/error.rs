//! Errors of the ROCm backend. Each says what was being done, and HIP's own words where HIP was asked.
use super::allocator::PoolStatistics;
use crate::DType;

/// What the ROCm backend reports.
#[derive(Debug, thiserror::Error)]
pub enum RocmError {
    /// The HIP runtime is missing, refused a call, or reported a fault.
    #[error("rocm: {}{}", .0, advice(.0))]
    Hip(#[from] candle_hip::Error),

    /// No code object in this build runs on the device.
    #[error("rocm: {0}")]
    NoCodeObject(#[from] candle_kernels::rocm::NoCodeObject),

    /// The device is full, even after the allocator gave back what it had cached.
    #[error(
        "rocm: out of memory on device {ordinal}: {requested} bytes asked for, {free} of {total} bytes free; \
         this process holds {pool}"
    )]
    OutOfMemory {
        /// The number of the device.
        ordinal: usize,
        /// Bytes asked for.
        requested: usize,
        /// Bytes free, as HIP counts them.
        free: usize,
        /// Bytes in all.
        total: usize,
        /// What this process holds.
        pool: PoolStatistics,
    },

    /// Reaches the user as [`crate::Error::UnsupportedDTypeForOp`], as from the CPU.
    #[error("rocm: {op} is not implemented for {dtype:?}")]
    UnsupportedDType {
        /// The type.
        dtype: DType,
        /// The operation.
        op: &'static str,
    },

    /// Found by a kernel; reported by the first call after it that waits for the device. Reaches the user as
    /// [`crate::Error::InvalidIndex`], as from the CPU, with this text as its context.
    #[error(
        "rocm: {op}: index {index} is out of range for a dimension of size {size} (found on the device: what was \
         computed from the result is not valid)"
    )]
    InvalidIndex {
        /// The operation.
        op: &'static str,
        /// As it was found.
        index: i64,
        /// Of the dimension.
        size: u64,
    },

    /// As for [`RocmError::InvalidIndex`], of whole numbers.
    #[error("rocm: {op}: division by zero (found on the device: what was computed from the result is not valid)")]
    DivisionByZero {
        /// The operation.
        op: &'static str,
    },

    /// An operation that this backend does not have.
    #[error("rocm: {op} is not implemented")]
    UnsupportedOp {
        /// The operation.
        op: &'static str,
    },

    /// A size that a kernel's 32-bit arguments cannot carry.
    #[error("rocm: {what} is {value}, more than {limit}, the most {kernel} takes")]
    TooLarge {
        /// The kernel.
        kernel: String,
        /// What is too large.
        what: &'static str,
        /// How large it is.
        value: usize,
        /// The most that the kernel takes.
        limit: usize,
    },

    /// Anything else, in words.
    #[error("rocm: {0}")]
    Message(String),
}

/// What to do about an error that HIP reports for something that ran earlier, and from which a device does not recover.
fn advice(error: &candle_hip::Error) -> &'static str {
    /// `hipErrorIllegalAddress`, `hipErrorAssert`, `hipErrorLaunchFailure` (hip_runtime_api.h).
    const FAULTS: [u32; 3] = [700, 710, 719];
    match error.code() {
        Some(code) if FAULTS.contains(&code) => {
            ". HIP refuses further work on this device until the process ends. Where the message names \
             no kernel, HIP_LAUNCH_BLOCKING=1 makes each launch wait, so that the one that fails is named"
        }
        _ => "",
    }
}

/// Errors that candle's other backends have get the variant that these use.
impl From<RocmError> for crate::Error {
    fn from(error: RocmError) -> Self {
        match error {
            RocmError::UnsupportedDType { dtype, op } => Self::UnsupportedDTypeForOp(dtype, op),
            RocmError::InvalidIndex { op, index, size } => {
                let text = error.to_string();
                // Negative indices wrap, as on the CPU; the text has them as they were.
                let (index, size) = (index as usize, size as usize);
                Self::InvalidIndex { op, index, size }.context(text)
            }
            error => Self::Rocm(error),
        }
    }
}

impl From<String> for RocmError {
    fn from(text: String) -> Self {
        Self::Message(text)
    }
}

/// Turns an error of the HIP layer into candle's.
pub(crate) trait OrRocm<T> {
    fn rocm(self) -> crate::Result<T>;
}

impl<T, E: Into<RocmError>> OrRocm<T> for std::result::Result<T, E> {
    fn rocm(self) -> crate::Result<T> {
        self.map_err(|e| crate::Error::from(e.into()).bt())
    }
}
