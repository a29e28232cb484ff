//! The C ABI of libamdhip64, as far as candle-hip uses it, on emulated devices.
//!
//! Names, signatures and numbers are those of HIP's public header (`hip/hip_runtime_api.h`, ROCm 5.2
//! and 6). Pointers are used as HIP's documentation says: results may be null only where a function
//! says so (null is an error elsewhere), host memory of copies and kernel arguments must be valid.
//! Device pointers, sizes, handles and geometries are checked; no panic leaves this module.

// The names are HIP's, and so is the safety contract (above): it is the same for every function.
#![allow(non_snake_case, clippy::missing_safety_doc)]
// A number of arguments that HIP chose.
#![allow(clippy::too_many_arguments)]

pub mod copy;
pub mod device;
pub mod error;
pub mod event;
pub mod graph;
pub mod kernel;
mod loss;
pub mod memory;
pub mod module;
mod properties;
mod runtime;
mod settings;
pub mod stream;
