//! Executes kernels: decoded AMD instructions, wave by wave, lanes as vectors.
//!
//! # From text to a run
//! 1. [`prepare`] decodes the kernel with LLVM's disassembler ([`crate::decode`]) and *lowers* each
//!    instruction to micro-ops (`lower`): everything that does not depend on register contents is
//!    decided there, once per kernel.
//! 2. [`run`] takes a prepared [`Program`] and a geometry. `launch` spreads the workgroups over
//!    rayon's threads; `worker` runs one workgroup at a time on one thread, its waves taking turns at
//!    barriers; `initial` fills their first registers.
//!
//! # Registers
//! A wave has a *register file* of rows. A row is one 32-bit word per lane (32 or 64 of them), lane 0
//! first. Vector registers, accumulation registers, temporaries and constants are all rows of the same
//! file, so that an operand is nothing but an offset (`lower::layout`). The *scalar file* has one word
//! per slot: SGPRs, VCC, EXEC, M0, SCC and scalar constants (`decode::slot`).
//!
//! # Operations
//! A vector instruction is a row of a table in `valu`: names, operand types, and what *one lane*
//! computes. `lanes` holds the three loops (result, result with carry, comparison) that turn a row
//! into a function over 32 lanes; a wave64 takes two passes. The loops are compiled twice, for any CPU
//! and for AVX2 with FMA, and one of the two is chosen when the kernel is lowered. A pass with a full
//! EXEC stores its result; a partial one blends; an empty one does nothing. Packed f32 is `twin`'s.
//!
//! Sources that are not plain rows (scalars, lane masks, negated, absolute, SDWA, op_sel, packed
//! selections) are made into temporary rows by `prep` steps that lowering puts before the op; DPP wraps
//! the op (`cross::dpp`). Destinations that are not whole registers, clamp and omod are `post`.
//! So an operation's row never sees a modifier, and a new instruction is usually one line.
//!
//! Scalar instructions are rows of `salu`, memory instructions pairs of an address space and a move
//! (`memory`), branches in `control`, lane exchanges in `cross`.
//!
//! # What differs between families
//! Names (rows list every spelling), operand order (few places in `lower`), 16-bit results (gfx9 clears
//! the high half, later families keep it: `lower::vector`), the initial registers (`initial`), v_cmpx's
//! destination, and scratch (`memory::space`). A new target is a row in [`crate::target`], plus what it
//! has new. MFMA and WMMA are one op (`matrix`), whose table has the shapes and whose layouts the families.
//!
//! # Exactness
//! Arithmetic is IEEE with round-to-nearest-even and subnormals, like the mode that HIP kernels are
//! compiled for; other modes are refused. Reciprocals, roots, exponentials, logarithms and sines are
//! computed in f64 and rounded once, so they are within half an ulp where hardware has about one.
//!
//! # Faults
//! Each access is checked: global ones against the launch's regions, with the last region cached per
//! instruction; LDS and scratch against their size. The first fault ends the launch. An instruction
//! without a row, or with an operand or modifier that lowering does not know, faults when executed.

// A fault ends a launch: its size does not matter.
#![allow(clippy::result_large_err)]

mod control;
mod counters;
mod cross;
mod float;
mod initial;
mod lanes;
mod launch;
mod lines;
mod lower;
mod matrix;
mod memory;
mod post;
mod prep;
mod program;
mod salu;
mod shadow;
mod twin;
mod unwritten;
mod valu;
mod watch;
mod wave;
mod word;
mod worker;

pub use counters::{Class, Counters};
pub use launch::{run, run_counting};
pub use program::Program;
pub use watch::{unknown_check, Traffic};

use crate::decode;
use crate::fault::{Fault, FaultKind};
use crate::kernel::Kernel;

/// Decodes and lowers a kernel. Costs about ten microseconds an instruction; keep the result.
///
/// Fails if libLLVM cannot be found, the kernel is empty, or its descriptor asks for a floating-point
/// mode that the executor does not have. An instruction that the executor does not know is no failure
/// here: it becomes one when it is executed.
pub fn prepare(kernel: &Kernel) -> Result<Program, Fault> {
    let fault = |kind| Fault {
        kind,
        kernel: kernel.name.clone(),
        offset: None,
        instruction: None,
        workgroup: None,
        work_item: None,
    };
    if let Some(what) = initial::unsupported_mode(&kernel.descriptor) {
        return Err(fault(FaultKind::Illegal(what)));
    }
    let wave_size = initial::wave_size(kernel.target, &kernel.descriptor);
    let features = if wave_size == kernel.target.wave_size as usize {
        ""
    } else {
        "+wavefrontsize64"
    };
    let instructions = decode::decode(kernel.target.name, features, &kernel.code)
        .map_err(|e| fault(FaultKind::Illegal(e)))?;
    if instructions.is_empty() {
        return Err(fault(FaultKind::Illegal("the kernel has no code".into())));
    }
    Ok(lower::Lowering::new(kernel, &instructions, wave_size).program(&instructions))
}

impl Program {
    /// The instructions that would fault if executed, as LLVM prints them, with their offsets: those
    /// that lowering has no micro-op for.
    pub fn unknown(&self) -> Vec<(u32, &str)> {
        let unknown = control::unknown as program::Run as usize;
        self.ops
            .iter()
            .filter(|op| op.run as usize == unknown && (op.instruction as usize) < self.len())
            .map(|op| &self.instructions[op.instruction as usize])
            .map(|info| (info.offset, info.text.as_str()))
            .collect()
    }
}
