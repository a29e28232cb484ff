//! Build-script side of the feature `rocm`: translates upstream's CUDA kernels to HIP, compiles them and our own
//! to AMD code objects, and writes the table that `src/rocm/mod.rs` includes.
//!
//! Only `std` is used, so that `scripts/*.sh` can compile the same code with plain `rustc` (`tool.rs`).
//!
//! | variable | meaning |
//! | --- | --- |
//! | `CANDLE_HIP_ARCHS` | targets: `native`, `all`, or a list; unset: the rows marked default. `sm_…`: NVIDIA, by nvcc |
//! | `CANDLE_HIP_CLANG` | the clang to use |
//! | `CANDLE_HIP_OCML` | the `ocml.bc` to use |
//! | `CUDA_HOME` | the CUDA toolkit whose nvcc compiles for NVIDIA targets; else nvcc on PATH |
//! | `CANDLE_HIP_CACHE` | where compiled code objects are kept |

pub mod build;
pub mod cache;
pub mod compiler;
pub mod compilers;
pub mod embed;
pub mod native;
pub mod nvcc;
pub mod selection;
pub mod translate;

#[path = "../src/rocm/modules.rs"]
#[allow(dead_code)]
pub mod modules;
#[path = "../src/rocm/targets.rs"]
#[allow(dead_code)]
pub mod targets;

/// Everything that can stop the build, as the message the user reads.
pub type Result<T> = std::result::Result<T, String>;

/// Entry point for `build.rs`: prints cargo's directives and exits with a message when something is missing.
#[allow(dead_code)]
pub fn run() {
    if let Err(message) = embed::embed() {
        // cargo shows the script's standard error only when it fails; a panic would add noise to the message.
        eprintln!("\nerror: candle-kernels, feature `rocm`: {message}\n");
        std::process::exit(1);
    }
}
