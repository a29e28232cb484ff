//! Lowering: from decoded instructions to blocks of micro-ops. Everything that can be decided once
//! is decided here: operand kinds, modifiers, encodings, branch targets.
//!
//! An instruction that cannot be lowered becomes an op that faults when it is executed: a kernel
//! may contain what it never runs.

mod layout;
mod matrix;
mod memory;
mod scalar;
mod source;
mod vector;

use super::control;
use super::counters::Class;
use super::cross::Permutation;
use super::program::{Block, InstructionInfo, Op, Part as Destination, Post, Program};
use super::{lanes, prep};
use crate::decode::{slot, Instruction, Part};
use crate::kernel::Kernel;
use crate::target::Family;
use layout::Layout;
use std::collections::HashMap;

/// Why an instruction has no micro-op; only for the maintainer, since the fault names the text.
type Unsupported = &'static str;
type Lowered<T> = Result<T, Unsupported>;

/// State while one program is lowered.
pub(super) struct Lowering<'a> {
    kernel: &'a Kernel,
    family: Family,
    level: usize,
    layout: Layout,
    constants: Vec<u32>,
    constant_rows: HashMap<(u32, Option<u32>), u32>,
    scalar_constants: Vec<u32>,
    scalar_slots: HashMap<(u32, u32), u32>,
    ops: Vec<Op>,
    preps: Vec<Op>,
    permutations: Vec<Permutation>,
    cache_slots: u32,
    /// Of the instruction being lowered.
    instruction: u32,
    next_temporary: u32,
    first_prep: u32,
    /// Preparations run within the op that is emitted next.
    preps_within: bool,
    /// Of the source prepared last, if its second row is not the next one: see [`Op::spread`].
    spread: Option<i32>,
}

/// The unit that executes an instruction, by its name.
fn class(name: &str) -> Class {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if is_hint(name) || name.starts_with("s_barrier") {
        Class::Other
    } else if starts(&["v_"]) {
        Class::Valu
    } else if starts(&["global_", "flat_", "scratch_", "buffer_"]) {
        Class::Vmem
    } else if starts(&["ds_"]) {
        Class::Lds
    } else if starts(&["s_load_", "s_buffer_", "s_store_", "s_scratch_"]) {
        Class::Smem
    } else if starts(&[
        "s_branch",
        "s_cbranch",
        "s_setpc",
        "s_swappc",
        "s_call",
        "s_endpgm",
    ]) {
        Class::Branch
    } else if starts(&["s_"]) {
        Class::Salu
    } else {
        Class::Other
    }
}

/// Waits, hints and cache control: nothing to do, since memory operations finish at once.
fn is_hint(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "s_nop",
        "s_delay_alu",
        "s_clause",
        "s_set_inst_prefetch_distance",
        "s_inst_prefetch",
        "s_sleep",
        "s_setprio",
        "s_icache_inv",
        "s_ttracedata",
        "s_ttracedata_imm",
        "s_version",
        "s_gl1_inv",
        "v_nop",
        "s_set_gpr_idx_off",
        "s_incperflevel",
        "s_decperflevel",
        "ds_nop",
        "s_sleep_var",
    ];
    const PREFIXES: &[&str] = &[
        "s_waitcnt",
        "s_wait_",
        "s_dcache_",
        "s_prefetch_",
        "buffer_gl0_inv",
        "buffer_gl1_inv",
        "buffer_wbl2",
        "buffer_inv",
        "buffer_wbinvl1",
        "global_wb",
        "global_inv",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Ends a block.
fn is_terminator(name: &str) -> bool {
    [
        "s_branch",
        "s_cbranch",
        "s_setpc",
        "s_swappc",
        "s_call",
        "s_endpgm",
        "s_barrier",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

/// The byte offset that a branch goes to.
fn branch_target(instruction: &Instruction) -> i64 {
    i64::from(instruction.offset) + i64::from(instruction.size) + 4 * i64::from(instruction.simm16)
}

fn has_displacement(name: &str) -> bool {
    control::branch(name).is_some() || name.starts_with("s_call")
}

impl<'a> Lowering<'a> {
    pub(super) fn new(
        kernel: &'a Kernel,
        instructions: &[Instruction],
        wave_size: usize,
    ) -> Lowering<'a> {
        Lowering {
            kernel,
            family: kernel.target.family,
            level: lanes::host_level(),
            layout: Layout::of(instructions, wave_size),
            constants: Vec::new(),
            constant_rows: HashMap::new(),
            scalar_constants: Vec::new(),
            scalar_slots: HashMap::new(),
            ops: Vec::new(),
            preps: Vec::new(),
            permutations: Vec::new(),
            cache_slots: 0,
            instruction: 0,
            next_temporary: 0,
            first_prep: 0,
            preps_within: false,
            spread: None,
        }
    }

    /// An op that does nothing yet, of the current instruction.
    fn op(&self) -> Op {
        Op {
            run: control::unknown,
            inner: control::unknown,
            dst: self.layout.trash(),
            src: [self.layout.trash(); 4],
            spread: [self.layout.stride as i32; 4],
            mask: 0,
            preps: self.first_prep,
            prep_count: 0,
            count: 0,
            post: Post {
                any: false,
                clamp: false,
                omod: 0,
                float: 0,
                part: Destination::Whole,
            },
            imm: 0,
            instruction: self.instruction,
            extra: 0,
        }
    }

    /// Adds an op with the preparations made since the last one.
    fn emit(&mut self, mut op: Op) {
        if std::mem::take(&mut self.preps_within) {
            op.preps = self.first_prep;
            op.prep_count = (self.preps.len() as u32 - self.first_prep) as u8;
            self.first_prep = self.preps.len() as u32;
        } else {
            self.ops
                .extend(self.preps.drain(self.first_prep as usize..));
        }
        self.ops.push(op);
    }

    fn prepare(&mut self, step: prep::Step, from: u32, to: u32, control: u32) {
        let mut op = self.op();
        op.run = step[self.level];
        op.src[0] = from;
        op.dst = to;
        op.mask = control;
        self.preps.push(op);
    }

    /// `rows` temporary rows of the current instruction.
    fn temporary(&mut self, rows: u32) -> Lowered<u32> {
        let at = self.next_temporary;
        if at + rows > layout::TEMPORARIES {
            return Err("too many temporaries");
        }
        self.next_temporary += rows;
        Ok(self.layout.temporary(at))
    }

    fn cache_slot(&mut self) -> u32 {
        self.cache_slots += 1;
        self.cache_slots - 1
    }

    /// Lowers all instructions.
    pub(super) fn program(mut self, instructions: &[Instruction]) -> Program {
        let leaders = leaders(instructions);
        let block_of: HashMap<u32, u32> = leaders
            .iter()
            .zip(0..)
            .map(|(offset, block)| (*offset, block))
            .collect();
        let mut blocks: Vec<Block> = Vec::with_capacity(leaders.len() + 1);
        let mut infos = Vec::with_capacity(instructions.len());
        for (index, instruction) in instructions.iter().enumerate() {
            if block_of.contains_key(&instruction.offset) {
                let first = self.ops.len() as u32;
                let next = blocks.len() as u32 + 1;
                blocks.push(Block {
                    first,
                    last: first,
                    instructions: 0,
                    instruction: index as u32,
                    next,
                });
            }
            self.instruction = index as u32;
            self.next_temporary = 0;
            let (ops, preps) = (self.ops.len(), self.preps.len());
            self.first_prep = preps as u32;
            if self.instruction_ops(instruction, &block_of).is_err() {
                self.ops.truncate(ops);
                self.preps.truncate(preps);
                self.first_prep = preps as u32;
                self.preps_within = false;
                let op = self.op();
                self.emit(op);
            }
            infos.push(InstructionInfo {
                offset: instruction.offset,
                text: instruction.text.clone(),
                class: instruction
                    .parts
                    .first()
                    .map_or(Class::Other, |part| class(&part.name)),
            });
            if let Some(block) = blocks.last_mut() {
                block.last = self.ops.len() as u32;
                block.instructions += 1;
            }
        }
        self.close(instructions, &mut blocks, &mut infos);
        self.finish(leaders, blocks, infos)
    }

    /// A last block for execution that runs off the end of the kernel.
    fn close(
        &mut self,
        instructions: &[Instruction],
        blocks: &mut Vec<Block>,
        infos: &mut Vec<InstructionInfo>,
    ) {
        self.instruction = infos.len() as u32;
        self.first_prep = self.preps.len() as u32;
        let first = self.ops.len() as u32;
        let op = self.op();
        self.emit(op);
        let own = blocks.len() as u32;
        blocks.push(Block {
            first,
            last: first + 1,
            instructions: 1,
            instruction: self.instruction,
            next: own,
        });
        infos.push(InstructionInfo {
            offset: instructions
                .last()
                .map_or(0, |last| last.offset + last.size),
            text: "s_code_end (execution left the kernel)".to_string(),
            class: Class::Other,
        });
    }

    fn finish(
        self,
        leaders: Vec<u32>,
        blocks: Vec<Block>,
        instructions: Vec<InstructionInfo>,
    ) -> Program {
        let layout = &self.layout;
        let constant_rows = self.constants.len();
        Program {
            kernel: self.kernel.clone(),
            wave_size: layout.stride as usize,
            dpp_row: layout.temporary(layout::DPP) as usize,
            rows: layout.first_constant() as usize + constant_rows,
            register_rows: layout.registers() as usize,
            constant_row: layout.first_constant() as usize,
            constants: self.constants,
            scalar_constants: self.scalar_constants,
            ops: self.ops,
            preps: self.preps,
            starts: leaders.into_iter().zip(0..).collect(),
            blocks,
            instructions,
            permutations: self.permutations,
            cache_slots: self.cache_slots as usize,
            // Unknown: long.
            last_time: u64::MAX.into(),
        }
    }

    fn instruction_ops(
        &mut self,
        instruction: &Instruction,
        block_of: &HashMap<u32, u32>,
    ) -> Lowered<()> {
        let part = instruction.parts.first().ok_or("no instruction")?;
        let name = part.name.as_str();
        if instruction.parts.len() == 2 {
            return self.dual(&instruction.parts[0], &instruction.parts[1]);
        }
        if is_hint(name) {
            return Ok(());
        }
        let mut op = self.op();
        if has_displacement(name) {
            let target = u32::try_from(branch_target(instruction))
                .map_err(|_| "branch before the kernel")?;
            op.imm = i64::from(*block_of.get(&target).ok_or("branch to no instruction")?);
            if let Some(run) = control::branch(name) {
                op.run = run;
                self.emit(op);
                return Ok(());
            }
            return Err("call");
        }
        let after = (self.kernel.address
            + u64::from(instruction.offset)
            + u64::from(instruction.size)) as i64;
        match name {
            "s_endpgm" => op.run = control::end,
            // gfx12 splits a barrier: a wave that waits has signalled before, so that waiting for all
            // waves to wait is waiting for all signals. -1 is the workgroup's own barrier.
            "s_barrier_signal" if instruction.text.trim_end().ends_with(" -1") => return Ok(()),
            "s_barrier" => op.run = control::barrier,
            "s_barrier_wait" if instruction.simm16 == -1 => op.run = control::barrier,
            // Where a trap is simulated, these follow it: they tell the host and halt.
            "s_trap" | "s_sethalt" | "s_sendmsg_rtn_b32" => op.run = control::trap,
            "s_sendmsg" if instruction.text.contains("MSG_INTERRUPT") => op.run = control::trap,
            "s_sendmsg" if instruction.text.contains("DEALLOC_VGPRS") => return Ok(()),
            "s_getpc_b64" => {
                op.run = control::get_pc;
                op.dst = self.scalar_destination(part, 0)?;
                op.imm = after;
            }
            "s_setpc_b64" => {
                op.run = control::set_pc;
                op.src[0] = self.scalar_source(part, 0, 2, false)?;
            }
            "s_swappc_b64" => {
                op.run = control::swap_pc;
                op.dst = self.scalar_destination(part, 0)?;
                op.src[0] = self.scalar_source(part, 1, 2, false)?;
                op.imm = after;
            }
            _ if name.starts_with("v_") => return self.vector(part),
            _ if name.starts_with("s_") => return self.scalar(part),
            _ => return self.memory(part, instruction.simm16 as u16),
        }
        self.emit(op);
        Ok(())
    }

    /// The destination scalar of operand `index`.
    fn scalar_destination(&self, part: &Part, index: usize) -> Lowered<u32> {
        use crate::decode::Place;
        match part.operands.get(index).ok_or("operand missing")?.place {
            Place::Scalar { index, .. } => Ok(u32::from(index)),
            Place::Null => Ok(u32::from(slot::TRASH)),
            _ => Err("destination is no scalar"),
        }
    }
}

/// Offsets of the instructions that start a block, sorted.
fn leaders(instructions: &[Instruction]) -> Vec<u32> {
    let name = |instruction: &Instruction| {
        instruction
            .parts
            .first()
            .map_or("", |part| part.name.as_str())
            .to_string()
    };
    // Jumps through registers may go anywhere.
    let indirect = instructions
        .iter()
        .any(|i| ["s_setpc_b64", "s_swappc_b64"].contains(&name(i).as_str()));
    let mut leaders = vec![0];
    for instruction in instructions {
        let name = name(instruction);
        if has_displacement(&name) {
            leaders.extend(u32::try_from(branch_target(instruction)).ok());
        }
        if is_terminator(&name) || instruction.parts.is_empty() {
            leaders.push(instruction.offset + instruction.size);
        }
        if indirect {
            leaders.push(instruction.offset);
        }
    }
    leaders.sort_unstable();
    leaders.dedup();
    // Only real instructions can be entered.
    leaders.retain(|offset| {
        instructions
            .binary_search_by_key(offset, |i| i.offset)
            .is_ok()
    });
    leaders
}
