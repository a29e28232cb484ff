//! A HIP runtime that executes AMD code objects on the CPU.
//!
//! `libhip_emulator.so` exports the C ABI of libamdhip64 as far as candle-hip uses it; whoever opens
//! it instead (`CANDLE_HIP_LIBRARY`) gets emulated cards. What comes out of it is always to be called
//! "emulated".
//!
//! | variable | meaning |
//! | --- | --- |
//! | `HIP_EMULATOR_ARCH` | targets, comma-separated, one device each; default `gfx1100` |
//! | `HIP_EMULATOR_MEMORY` | bytes, with K, M, G or T, of every device or (a list) of each; default `16G` |
//! | `HIP_EMULATOR_POISON` | `0`: fresh memory reads as zeroes instead of a pattern |
//! | `HIP_EMULATOR_LEDGER` | `1`: print the allocation totals at exit even when nothing is live |
//! | `HIP_EMULATOR_TRACE` | `1`: a line per launch on the standard error |
//! | `HIP_EMULATOR_PROFILE` | a file that gets a JSON line per launch |
//! | `HIP_EMULATOR_LLVM` | the libLLVM to decode with, when the usual names do not find one |
//! | `HIP_EMULATOR_CHECK` | `all`, `none`, or a list of `lds-uninitialised`, `lds-race`, `global-uninitialised`, `divergent-barrier`; default `all` |
//! | `HIP_EMULATOR_BUDGET` | instructions that one wave may run before it counts as hanging |
//!
//! `docs/emulator.md` follows a launch from `hipModuleLoadData` to a retired instruction, for readers who have not
//! read an AMD manual. In short: a launch goes through [`api`] (C functions, handles, error texts), [`launch`] (checks, kernel
//! arguments), [`code_object`] (what was loaded), [`memory`] (what may be touched) and [`exec`].

pub mod api;
pub mod code_object;
pub mod decode;
pub mod exec;
pub mod fault;
pub mod kernel;
pub mod launch;
pub mod memory;
pub mod target;
