//! Safe bindings to the HIP runtime, opened at run time.
//!
//! Nothing links against `libamdhip64`: [`Library::get`] looks for it when the first device is asked
//! for, and a machine without it gets one [`Error`] that lists where it was looked for and what to
//! install. The crate knows devices, streams, events, memory, modules, launches and graphs; it does
//! not know tensors.
//!
//! ```no_run
//! # fn main() -> candle_hip::Result<()> {
//! use candle_hip::{kernel_args, Device, DeviceMemory, Launch, Module, Stream};
//!
//! let device = Device::new(0)?;
//! let stream = Stream::new(&device)?;
//! let image = std::fs::read("fill.hsaco").expect("a code object for this device");
//! let fill = Module::load(&device, image)?.function("fill_f32")?;
//! let memory = DeviceMemory::new(&device, 4096)?;
//! let args = kernel_args![memory.ptr(), 1.5f32, 1024u32];
//! // SAFETY: `fill_f32(float *, float, unsigned)` writes 1024 floats, which `memory` holds.
//! unsafe { fill.launch(&Launch::new([4, 1, 1], [256, 1, 1]), &stream, &args)? };
//! let mut bytes = vec![0; 4096];
//! memory.read(&stream, 0, &mut bytes)?;
//! # Ok(())
//! # }
//! ```
//!
//! **Threads.** Every handle is `Send + Sync`. HIP keeps a current device per thread; each call here
//! makes the handle's device current first (free when it already is), so callers never need to.
//!
//! **Errors.** Each HIP error becomes an [`Error`] with the call, HIP's name and number and what was
//! being done. Errors of kernels and copies are asynchronous: they come out of a later call on that
//! device. A failure inside `Drop` cannot be returned; it is kept for [`drop_failures`].

#![warn(missing_docs, unsafe_op_in_unsafe_fn)]

pub mod blas;
mod counters;
mod device;
mod drop_failures;
mod error;
mod event;
mod fork;
mod graph;
mod kernel_args;
mod launch;
mod library;
mod memory;
mod module;
mod properties;
mod stream;
mod sys;
mod target;

pub use counters::{counters, reset_counters, Counters, Transfers};
pub use device::Device;
pub use drop_failures::{drop_failures, keep_drop_failure, DropFailures};
pub use error::{Error, HipFailure, Result};
pub use event::Event;
pub use fork::{expect_own_process, is_forked};
pub use graph::Graph;
pub use kernel_args::{KernelArg, KernelArgs};
pub use launch::Launch;
pub use library::Library;
pub use memory::{DeviceMemory, DevicePtr, PinnedMemory};
pub use module::{Function, FunctionAttributes, Module};
pub use properties::DeviceProperties;
pub use stream::Stream;
