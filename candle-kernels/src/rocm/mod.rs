//! Kernels for AMD GPUs: code objects of every module, per target, embedded at build time. (For NVIDIA cards too,
//! where `CANDLE_HIP_ARCHS` names one: cubins in place of code objects.)
//!
//! ```no_run
//! // HIP's gcnArchName of the device; the bytes are what hipModuleLoadData takes.
//! let object = candle_kernels::rocm::UNARY.select("gfx90a:sramecc+:xnack-")?;
//! println!("{} bytes for {}", object.bytes.len(), object.target);
//! # Ok::<(), candle_kernels::rocm::NoCodeObject>(())
//! ```
//!
//! A CUDA warp is 32 lanes; on a wave64 target it is one half of the wave. Launch geometry is therefore the same on
//! every target and the same as upstream's for CUDA, up to [`Module::max_threads`] threads a workgroup.

pub mod attention;
pub mod gemm;
// The build script reads the columns that the program does not.
#[allow(dead_code)]
mod modules;
mod select;
pub mod targets;

pub use select::NoCodeObject;

/// Code object for one target: an AMDGPU ELF file (a cubin, also ELF, for `sm_…`), aligned to 64 bytes.
#[derive(Clone, Copy)]
pub struct CodeObject {
    /// LLVM's name of the target, such as `gfx1100` or `gfx11-generic`.
    pub target: &'static str,
    /// The file's bytes, as `hipModuleLoadData` takes them.
    pub bytes: &'static [u8],
}

impl std::fmt::Debug for CodeObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "CodeObject {{ target: {:?}, {} bytes }}",
            self.target,
            self.bytes.len()
        )
    }
}

/// Kernels that were compiled together.
#[derive(Debug)]
pub struct Module {
    /// The name of its source: `unary` for `unary.cu`.
    pub name: &'static str,
    /// Its place in [`ALL`], for tables of loaded modules.
    pub index: usize,
    /// One for each target of `CANDLE_HIP_ARCHS`.
    pub code_objects: &'static [CodeObject],
    /// The most threads a workgroup may have in a launch of this module's kernels.
    pub max_threads: u32,
}

/// Readers of ELF headers want at least eight bytes; a cache line costs nothing.
#[repr(C, align(64))]
struct Aligned<T>(T);

mod embedded {
    use super::{Aligned, CodeObject};
    include!(concat!(env!("OUT_DIR"), "/rocm_code_objects.rs"));
}

/// The targets that this program was built for.
pub const TARGETS_BUILT: &[&str] = embedded::TARGETS_BUILT;

macro_rules! modules {
    ($($name:ident $index:literal),* $(,)?) => {
        $(
            #[doc = concat!("The kernels of module ", stringify!($name), ".")]
            pub const $name: Module = Module {
                name: modules::SOURCES[$index].name,
                index: $index,
                code_objects: embedded::$name,
                max_threads: modules::SOURCES[$index].max_threads,
            };
        )*
        /// Every module; `ALL[m.index]` is `m`.
        pub const ALL: &[&Module] = &[$(&$name),*];
    };
}

modules! {
    AFFINE 0, BINARY 1, CAST 2, CONV 3, FILL 4, INDEXING 5, QUANTIZED 6, REDUCE 7, SORT 8, TERNARY 9, UNARY 10, GEMM 11,
    QUANTIZED_PRODUCT 12, QUANTIZED_DENSE 13, QUANTIZE 14,
    POINTWISE 15, PAIRWISE 16, CONVERT 17, MOVE 18, PICK 19, FOLD 20, ORDER 21, RANDOM 22, QUANTIZED_LOOKUP 23,
    QUANTIZED_TILE 24,
    ATTENTION_ROWS 25, ATTENTION_TILES 26, ATTENTION_FMA 27, FUSED 28,
}

#[cfg(test)]
mod scratch;

// The build script's own tests run with the crate's. It shares two tables with the program by loading their files.
#[cfg(test)]
#[allow(dead_code, clippy::duplicate_mod)]
#[path = "../../build_rocm/mod.rs"]
mod build_rocm;

#[cfg(test)]
mod tests {
    use super::*;

    /// `modules!` and `modules::SOURCES` list the same modules in the same order.
    #[test]
    fn names_and_indices_agree_with_the_table() {
        assert_eq!(
            ALL.len(),
            modules::SOURCES
                .iter()
                .filter(|source| source.built)
                .count()
        );
        for (index, module) in ALL.iter().enumerate() {
            assert_eq!(module.index, index);
            assert_eq!(module.name, modules::SOURCES[index].name);
        }
        assert_eq!(
            (QUANTIZED.name, GEMM.name, AFFINE.name),
            ("quantized", "gemm", "affine")
        );
    }

    /// ELF magic, machine EM_AMDGPU (224) or EM_CUDA (190), and alignment, for each module and target.
    #[test]
    fn code_objects_are_aligned_elf_files_for_their_machine() {
        for module in ALL {
            assert_eq!(
                module.code_objects.len(),
                TARGETS_BUILT.len(),
                "{}",
                module.name
            );
            for object in module.code_objects {
                assert_eq!(
                    &object.bytes[..4],
                    b"\x7fELF",
                    "{} {}",
                    module.name,
                    object.target
                );
                assert_eq!(
                    u16::from_le_bytes([object.bytes[18], object.bytes[19]]),
                    if object.target.starts_with("sm_") {
                        190
                    } else {
                        224
                    }
                );
                assert_eq!(object.bytes.as_ptr() as usize % 64, 0);
            }
        }
    }
}
