//! AMD code objects: ELF, metadata, kernel descriptors, and the image they become in memory.
//!
//! The format is LLVM's AMDGPUUsage document, sections "ELF Code Object", "Code Object Metadata" and
//! "Kernel Descriptor". Every table is read with bounds checks: a damaged file is an error, not a crash.

mod descriptor;
mod elf;
mod extent;
mod image;
mod machine;
mod metadata;

pub use elf::{CodeObject, Segment, Symbol, SymbolKind};
pub use extent::read_image;
pub use image::{kernels_in, Global, Image};
pub use machine::{machine_of, target_of};
pub use metadata::{Argument, HiddenArgument, KernelMetadata, ValueKind};

/// Why a code object was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeObjectError {
    /// Damaged, truncated, or something else than a linked AMD code object.
    #[error("not a usable AMD code object: {0}")]
    Invalid(String),
    /// A good code object for another target.
    #[error("the code object is for {found}, the device is {wanted} (emulated); compile it for {wanted}")]
    WrongTarget { found: String, wanted: &'static str },
    /// The right target with a feature setting that the card does not have.
    #[error("the code object is for {target}:{conflict} (emulated)")]
    WrongFeatures {
        target: &'static str,
        conflict: &'static str,
    },
    #[error(transparent)]
    Memory(#[from] crate::memory::MemoryError),
}

/// Shorthand for the common case.
fn invalid(what: impl Into<String>) -> CodeObjectError {
    CodeObjectError::Invalid(what.into())
}
