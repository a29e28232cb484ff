//! Branches, barriers and the end of a wave.

use super::program::{Op, Run};
use super::wave::{State, Wave};
use super::word::LANES;
use crate::decode::slot;
use crate::fault::FaultKind;

macro_rules! conditions {
    ($($name:literal, |$wave:ident| $condition:expr;)*) => {
        /// Conditional and unconditional branches; `op.imm` is the target block.
        static BRANCHES: &[(&str, Run)] = &[$(($name, {
            // Not every condition reads a slot.
            #[allow(unused_unsafe)]
            unsafe fn run($wave: &mut Wave, op: &Op) {
                // SAFETY: the slots are in every scalar file.
                if unsafe { $condition } {
                    $wave.next = op.imm as u32;
                }
            }
            run
        })),*];
    };
}

conditions! {
    "s_branch", |_wave| true;
    "s_cbranch_scc0", |wave| wave.scalar(u32::from(slot::SCC)) == 0;
    "s_cbranch_scc1", |wave| wave.scalar(u32::from(slot::SCC)) != 0;
    "s_cbranch_vccz", |wave| wave.mask(u32::from(slot::VCC)) == 0;
    "s_cbranch_vccnz", |wave| wave.mask(u32::from(slot::VCC)) != 0;
    "s_cbranch_execz", |wave| wave.exec_mask() == 0;
    "s_cbranch_execnz", |wave| wave.exec_mask() != 0;
}

/// The function of a branch with a displacement, or `None` if `name` is no such branch.
pub fn branch(name: &str) -> Option<Run> {
    BRANCHES
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, run)| *run)
}

/// # Safety
/// See `Run`.
pub unsafe fn end(wave: &mut Wave, _op: &Op) {
    wave.state = State::Done;
}

/// # Safety
/// See `Run`.
pub unsafe fn barrier(wave: &mut Wave, op: &Op) {
    wave.state = State::AtBarrier;
    wave.barrier = op.instruction;
    if wave.watches_barriers {
        wave.missed |= wave.started & !wave.exec_mask();
    }
}

/// A memory access by lanes that their wave's last barrier went by without: they are back from a branch around it
/// (lanes that have left the kernel stay off). Hardware goes on, since it counts waves; what the barrier was to
/// order is not ordered.
#[cold]
#[inline(never)]
pub fn missed_barrier(wave: &mut Wave, op: &Op, pass: usize, lanes: u32) {
    let lane = lanes.trailing_zeros() + (pass * LANES) as u32;
    let at = wave.launch().program.instructions[wave.barrier as usize].offset;
    let what = format!(
        "divergent barrier: the work-item goes on although it was not at the barrier at +{at:#x}, which others of its wave passed"
    );
    wave.raise(op, Some(lane), FaultKind::Illegal(what));
}

/// The address of the next instruction (`imm`) into a pair.
///
/// # Safety
/// See `Run`.
pub unsafe fn get_pc(wave: &mut Wave, op: &Op) {
    // SAFETY: lowering made the slot.
    unsafe { wave.set_scalar64(op.dst, op.imm as u64) }
}

/// Jumps to the address in a pair.
///
/// # Safety
/// See `Run`.
pub unsafe fn set_pc(wave: &mut Wave, op: &Op) {
    // SAFETY: lowering made the slot.
    let address = unsafe { wave.scalar64(op.src[0]) };
    let program = wave.launch().program;
    match program.block_at(address.wrapping_sub(program.kernel.address)) {
        Some(block) => wave.next = block,
        None => {
            let what = format!("jump to {address:#x}, which is no instruction of this kernel");
            wave.raise(op, None, FaultKind::Illegal(what));
        }
    }
}

/// Jumps and leaves the address of the next instruction in another pair.
///
/// # Safety
/// See `Run`.
pub unsafe fn swap_pc(wave: &mut Wave, op: &Op) {
    // SAFETY: as above. The source is read by `set_pc` before the destination is written.
    unsafe {
        set_pc(wave, op);
        get_pc(wave, op);
    }
}

/// A kernel that gives up: its own assertion, or code that must not be reached.
///
/// # Safety
/// See `Run`.
pub unsafe fn trap(wave: &mut Wave, op: &Op) {
    let text = wave.launch().program.instructions[op.instruction as usize]
        .text
        .clone();
    wave.raise(op, None, FaultKind::Illegal(text));
}

/// An instruction that the emulator has no row for.
///
/// # Safety
/// See `Run`.
pub unsafe fn unknown(wave: &mut Wave, op: &Op) {
    let program = wave.launch().program;
    let text = program.instructions[op.instruction as usize].text.clone();
    let kind = if text.starts_with("s_code_end") {
        FaultKind::Illegal(text)
    } else {
        FaultKind::UnknownInstruction(text)
    };
    wave.raise(op, None, kind);
}
