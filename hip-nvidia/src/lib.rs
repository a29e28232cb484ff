//! A HIP runtime on top of the CUDA driver.
//!
//! `libhip_nvidia.so` exports the C ABI of libamdhip64, and the part of librocblas', that candle-hip uses; whoever
//! opens it instead (`CANDLE_HIP_LIBRARY`, `CANDLE_ROCBLAS_LIBRARY`) runs on NVIDIA cards. Kernels are cubins in place
//! of AMD code objects; a card calls itself `sm_90` where an AMD card says `gfx1100`. It exists to meet real silicon
//! and to measure beside CUDA, not as a way to use NVIDIA cards: candle has a CUDA backend.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `HIP_NVIDIA_CUDA` | path of libcuda, when the loader does not find `libcuda.so.1` |
//! | `HIP_NVIDIA_CUBLAS` | path of libcublas, when the loader does not find `libcublas.so.13` or `.so.12` |
//!
//! A HIP stream, event, module, function, graph or device pointer **is** the CUDA handle: nothing is wrapped, and what
//! is asynchronous in HIP stays so. Each device is its primary context, which CUDA's own runtime shares.

// The names are HIP's, and so is the safety contract: results may be null only where HIP allows it (CUDA answers with an
// error for most), handles are live, host memory is valid for the length of the call.
#![allow(non_snake_case, clippy::missing_safety_doc)]
// A number of arguments that HIP chose.
#![allow(clippy::too_many_arguments)]

pub mod attributes;
pub mod blas;
pub mod context;
pub mod cuda;
pub mod device;
pub mod error;
pub mod graph;
mod image;
mod library;
pub mod memory;
pub mod module;
pub mod stream;
