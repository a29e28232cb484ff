//! What a launch did, in numbers.

use std::ops::AddAssign;

/// Classes of instructions, by the unit that executes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Valu,
    Salu,
    /// Global, flat, buffer and scratch accesses.
    Vmem,
    Smem,
    Lds,
    Branch,
    /// Waits, hints, cache control, barriers.
    Other,
}

/// Wave instructions of one launch. One instruction of one wave counts once, whatever its lanes do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub instructions: u64,
    pub valu: u64,
    pub salu: u64,
    pub vmem: u64,
    pub smem: u64,
    pub lds: u64,
    pub branch: u64,
    pub other: u64,
    pub waves: u64,
    pub workgroups: u64,
}

impl Counters {
    /// Counts `times` executions of one instruction.
    pub(super) fn count(&mut self, class: Class, times: u64) {
        self.instructions += times;
        *match class {
            Class::Valu => &mut self.valu,
            Class::Salu => &mut self.salu,
            Class::Vmem => &mut self.vmem,
            Class::Smem => &mut self.smem,
            Class::Lds => &mut self.lds,
            Class::Branch => &mut self.branch,
            Class::Other => &mut self.other,
        } += times;
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.instructions += other.instructions;
        self.valu += other.valu;
        self.salu += other.salu;
        self.vmem += other.vmem;
        self.smem += other.smem;
        self.lds += other.lds;
        self.branch += other.branch;
        self.other += other.other;
        self.waves += other.waves;
        self.workgroups += other.workgroups;
    }
}
