//! A kernel as the executor runs it: blocks of micro-ops.

use super::counters::Class;
use super::cross::Permutation;
use super::wave::Wave;
use crate::kernel::Kernel;
use std::sync::atomic::AtomicU64;

/// A micro-op's function. `Op` says which registers it works on.
///
/// # Safety
/// The op was lowered for the program that the wave runs, whose register file it indexes.
pub type Run = unsafe fn(&mut Wave, &Op);

/// Versions of every vector operation: for any CPU, and for one with AVX2, FMA and F16C.
pub const LEVELS: usize = 2;

/// What happens to a result before it is committed. All zero for most ops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Post {
    /// Any of the others is set.
    pub any: bool,
    pub clamp: bool,
    /// 0 none, 1 times two, 2 times four, 3 halved.
    pub omod: u8,
    /// Floating-point width for clamp and omod: 16, 32 or 64.
    pub float: u8,
    /// Where the result goes in the register, and what becomes of the rest.
    pub part: Part,
}

/// Part of a 32-bit register that a result is written to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Part {
    #[default]
    Whole,
    /// `bits` bits from `shift`; the rest of the register is kept.
    Keep { shift: u8, bits: u8 },
    /// The same; the rest becomes zero.
    Zero { shift: u8, bits: u8 },
    /// The same; what is above becomes copies of the result's sign, below zero.
    Sign { shift: u8, bits: u8 },
}

/// One micro-op. Vector places are offsets into the wave's register file (in registers, of the
/// row's first lane); scalar places are slots of the scalar file.
#[derive(Clone)]
#[repr(C)]
pub struct Op {
    pub run: Run,
    /// The operation itself where `run` is a wrapper.
    pub inner: Run,
    pub dst: u32,
    pub src: [u32; 4],
    /// From the first to the second row of each source that has two: the next row, unless op_sel says otherwise.
    pub spread: [i32; 4],
    /// Slot of a lane mask that is written, or a second scalar.
    pub mask: u32,
    /// Preparations of sources that run within the op: a range of `Program::preps`.
    pub preps: u32,
    pub prep_count: u8,
    /// Registers that a memory operation moves.
    pub count: u8,
    pub post: Post,
    /// An offset, a displacement or other constants of the op.
    pub imm: i64,
    /// Index into `Program::instructions`.
    pub instruction: u32,
    /// Slot of the access cache, or another index.
    pub extra: u32,
}

/// Instructions that are always executed together, in order.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// Range of `Program::ops`.
    pub first: u32,
    pub last: u32,
    /// Instructions (not micro-ops) in it.
    pub instructions: u32,
    /// First instruction.
    pub instruction: u32,
    /// Where execution goes on unless an op of the block says otherwise.
    pub next: u32,
}

/// What faults and counters need to know about an instruction.
#[derive(Debug, Clone)]
pub struct InstructionInfo {
    pub offset: u32,
    pub text: String,
    pub class: Class,
}

/// A kernel ready to run; shared by all launches of it.
pub struct Program {
    pub(super) kernel: Kernel,
    pub(super) wave_size: usize,
    pub(super) ops: Vec<Op>,
    /// Preparations that run within an op (see [`super::prep`]).
    pub(super) preps: Vec<Op>,
    pub(super) blocks: Vec<Block>,
    /// Block by offset of its first instruction, sorted.
    pub(super) starts: Vec<(u32, u32)>,
    pub(super) instructions: Vec<InstructionInfo>,
    /// Rows of the register file: vector, accumulation, temporary and constant ones.
    pub(super) rows: usize,
    /// Rows that a wave starts with zeroed.
    pub(super) register_rows: usize,
    /// First constant row, and the constants: one word each, the same in every lane.
    pub(super) constant_row: usize,
    pub(super) constants: Vec<u32>,
    /// The scalar file's constants, from `slot::CONSTANTS`.
    pub(super) scalar_constants: Vec<u32>,
    /// Lane permutations of DPP and ds_swizzle.
    pub(super) permutations: Vec<Permutation>,
    /// File offset of the temporary row that DPP permutes into.
    pub(super) dpp_row: usize,
    /// Slots of the access cache.
    pub(super) cache_slots: usize,
    /// Nanoseconds that a workgroup took in the last launch, to guess what the next will take.
    pub(super) last_time: AtomicU64,
}

impl Program {
    /// The kernel's name.
    pub fn name(&self) -> &str {
        &self.kernel.name
    }

    /// Instructions decoded.
    pub fn len(&self) -> usize {
        // The last one stands for leaving the kernel.
        self.instructions.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The block that starts `offset` bytes into the kernel.
    pub(super) fn block_at(&self, offset: u64) -> Option<u32> {
        let offset = u32::try_from(offset).ok()?;
        let at = self
            .starts
            .binary_search_by_key(&offset, |(start, _)| *start)
            .ok()?;
        Some(self.starts[at].1)
    }
}

// SAFETY: a program is plain data; the function pointers in it are to functions without state.
unsafe impl Sync for Program {}
// SAFETY: as above.
unsafe impl Send for Program {}
