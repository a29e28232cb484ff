//! Runs workgroups, one after the other, on one thread.

use super::counters::Counters;
use super::initial;
use super::launch::Launch;
use super::lines::Touched;
use super::program::Program;
use super::watch::Watch;
use super::wave::{Raised, State, Wave, Window, NO_WINDOW};
use super::word::LANES;
use crate::decode::slot;
use crate::fault::{Fault, FaultKind};

/// Instructions that a wave runs before the others of its workgroup get their turn, so that waves
/// may wait for each other in loops.
const SLICE: i64 = 1 << 20;

/// Registers in the unit of the file's alignment.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u32; 16]);

/// Memory and counts of one thread's part of a launch.
pub struct Worker<'a> {
    launch: &'a Launch<'a>,
    /// Register files of the waves of a workgroup.
    files: Vec<Line>,
    lines_per_wave: usize,
    scalars: Vec<u32>,
    scalars_per_wave: usize,
    lds: Vec<u64>,
    lds_size: u32,
    scratch: Vec<u64>,
    scratch_size: u32,
    windows: Vec<Window>,
    watch: Watch,
    /// Executions of each block.
    counts: Vec<u64>,
    waves: usize,
    groups_run: u64,
}

impl<'a> Worker<'a> {
    pub fn new(launch: &'a Launch<'a>) -> Worker<'a> {
        let program = launch.program;
        let descriptor = &program.kernel.descriptor;
        let items: usize = launch.geometry.block.iter().map(|n| *n as usize).product();
        let waves = items.div_ceil(program.wave_size);
        let lines_per_wave = program.rows * program.wave_size / 16;
        let scalars_per_wave = usize::from(slot::CONSTANTS) + program.scalar_constants.len();
        let lds_size = descriptor
            .group_segment_fixed_size
            .saturating_add(launch.geometry.dynamic_lds);
        let scratch_size = initial::scratch_size(program);
        let mut worker = Worker {
            launch,
            files: vec![Line([0; 16]); lines_per_wave * waves],
            lines_per_wave,
            scalars: vec![0; scalars_per_wave * waves],
            scalars_per_wave,
            lds: vec![0; (lds_size as usize).div_ceil(8)],
            lds_size,
            scratch: vec![0; (scratch_size as usize * program.wave_size).div_ceil(8) * waves],
            scratch_size,
            windows: vec![NO_WINDOW; program.cache_slots.max(1)],
            counts: vec![0; program.blocks.len()],
            watch: Watch::new(launch.watched, lds_size, waves),
            waves,
            groups_run: 0,
        };
        for wave in 0..waves {
            worker.fill_constants(wave);
        }
        worker
    }

    /// Constants keep their values for the whole launch: nothing writes their rows.
    fn fill_constants(&mut self, wave: usize) {
        let program = self.launch.program;
        let lines_per_row = program.wave_size / 16;
        let first = wave * self.lines_per_wave + program.constant_row * lines_per_row;
        for (i, value) in program.constants.iter().enumerate() {
            self.files[first + i * lines_per_row..][..lines_per_row].fill(Line([*value; 16]));
        }
        let at = wave * self.scalars_per_wave + usize::from(slot::CONSTANTS);
        self.scalars[at..at + program.scalar_constants.len()]
            .copy_from_slice(&program.scalar_constants);
    }

    /// What the groups run so far did.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters {
            workgroups: self.groups_run,
            waves: self.groups_run * self.waves as u64,
            traffic: self.watch.traffic,
            ..Counters::default()
        };
        let program = self.launch.program;
        for (block, times) in program
            .blocks
            .iter()
            .zip(&self.counts)
            .filter(|(_, times)| **times != 0)
        {
            let range =
                block.instruction as usize..(block.instruction + block.instructions) as usize;
            for info in &program.instructions[range] {
                counters.count(info.class, &info.text, *times);
            }
        }
        counters
    }

    /// The lines that the groups run so far touched.
    pub fn touched(&self) -> &Touched {
        &self.watch.touched
    }

    /// The wave `number` of the group, with its initial registers.
    fn start(&mut self, number: usize, group: [u32; 3]) -> Wave {
        let program = self.launch.program;
        let first = number * self.lines_per_wave;
        let register_lines = program.register_rows * program.wave_size / 16;
        self.files[first..first + register_lines].fill(Line([0; 16]));
        let at = number * self.scalars_per_wave;
        self.scalars[at..at + usize::from(slot::CONSTANTS)].fill(0);
        let scratch_words = self.scratch.len() / self.waves;
        let scratch = self.scratch[number * scratch_words..][..scratch_words].as_mut_ptr();
        let mut wave = Wave {
            file: self.files[first..first + self.lines_per_wave]
                .as_mut_ptr()
                .cast(),
            stride: program.wave_size,
            passes: program.wave_size / LANES,
            scalars: self.scalars[at..at + self.scalars_per_wave].as_mut_ptr(),
            lds: self.lds.as_mut_ptr().cast(),
            lds_size: self.lds_size,
            scratch: scratch.cast(),
            scratch_size: self.scratch_size,
            windows: self.windows.as_mut_ptr(),
            watch: std::ptr::from_mut(&mut self.watch),
            watches_lds: self.launch.watched.lds(),
            counts_lds: self.launch.watched.traffic,
            watches_global: self.launch.watched.traffic,
            watches_unwritten: self.launch.watched.unwritten(),
            launch: std::ptr::from_ref(self.launch).cast(),
            state: State::Running,
            next: initial::entry_block(program),
            budget: 0,
            number: number as u32,
            started: 0,
            missed: 0,
            watches_barriers: self.launch.watched.barriers(),
            barrier: 0,
            raised: None,
        };
        initial::registers(&mut wave, self.launch.geometry, group);
        wave.started = wave.exec_mask();
        wave
    }

    /// Runs one workgroup.
    pub fn run_group(&mut self, group: [u32; 3]) -> Result<(), Fault> {
        self.lds.fill(0);
        self.watch.shadow.start_group();
        self.groups_run += 1;
        let mut waves: Vec<Wave> = (0..self.waves)
            .map(|number| self.start(number, group))
            .collect();
        let mut spent = vec![0u64; self.waves];
        loop {
            let mut running = false;
            for (wave, spent) in waves.iter_mut().zip(&mut spent) {
                if wave.state != State::Running {
                    continue;
                }
                let left = self.launch.budget.saturating_sub(*spent).min(SLICE as u64) as i64;
                wave.budget = left;
                run_wave(wave, self.launch.program, &mut self.counts);
                *spent += (left - wave.budget) as u64;
                if wave.raised.is_none()
                    && wave.state == State::Running
                    && *spent >= self.launch.budget
                {
                    let block = &self.launch.program.blocks[wave.next as usize];
                    wave.raised = Some(Box::new(Raised {
                        kind: FaultKind::Budget(self.launch.budget),
                        instruction: block.instruction,
                        lane: None,
                    }));
                }
                if let Some(raised) = wave.raised.take() {
                    return Err(self.fault(wave, *raised, group));
                }
                running |= wave.state == State::Running;
            }
            if running {
                continue;
            }
            if let Some(fault) = self.different_barriers(&waves, group) {
                return Err(fault);
            }
            // Waves that have ended do not count at a barrier.
            let mut released = false;
            for wave in waves
                .iter_mut()
                .filter(|wave| wave.state == State::AtBarrier)
            {
                wave.state = State::Running;
                released = true;
            }
            if !released {
                return Ok(());
            }
            self.watch.shadow.barrier();
        }
    }

    /// The fault of waves that wait at two different barriers, if there are such.
    fn different_barriers(&self, waves: &[Wave], group: [u32; 3]) -> Option<Fault> {
        let mut waiting = waves.iter().filter(|wave| wave.state == State::AtBarrier);
        let first = waiting.next().filter(|wave| wave.watches_barriers)?;
        let other = waiting.find(|wave| wave.barrier != first.barrier)?;
        let at = |wave: &Wave| self.launch.program.instructions[wave.barrier as usize].offset;
        let what = format!(
            "divergent barrier: wave {} waits at +{:#x}, wave {} of the same workgroup at +{:#x}",
            other.number,
            at(other),
            first.number,
            at(first)
        );
        let raised = Raised {
            kind: FaultKind::Illegal(what),
            instruction: other.barrier,
            lane: Some(0),
        };
        Some(self.fault(other, raised, group))
    }

    fn fault(&self, wave: &Wave, raised: Raised, group: [u32; 3]) -> Fault {
        let program = self.launch.program;
        let info = &program.instructions[raised.instruction as usize];
        Fault {
            offset: Some(u64::from(info.offset)),
            instruction: Some(info.text.clone()),
            workgroup: Some(group),
            work_item: raised
                .lane
                .map(|lane| wave.number * program.wave_size as u32 + lane),
            ..program.fault(raised.kind)
        }
    }
}

/// Runs a wave until it ends, waits, faults or has used its slice.
fn run_wave(wave: &mut Wave, program: &Program, counts: &mut [u64]) {
    while wave.state == State::Running && wave.budget > 0 {
        let index = wave.next as usize;
        // SAFETY: lowering made every block number and range within the program's vectors; each op
        // was lowered for this program, whose files the wave has.
        unsafe {
            let block = *program.blocks.get_unchecked(index);
            *counts.get_unchecked_mut(index) += 1;
            wave.next = block.next;
            wave.budget -= i64::from(block.instructions);
            for op in program
                .ops
                .get_unchecked(block.first as usize..block.last as usize)
            {
                (op.run)(wave, op);
            }
        }
    }
}

impl Program {
    /// A fault of this kernel, without a place.
    pub(super) fn fault(&self, kind: FaultKind) -> Fault {
        Fault {
            kind,
            kernel: self.kernel.name.clone(),
            offset: None,
            instruction: None,
            workgroup: None,
            work_item: None,
        }
    }
}
