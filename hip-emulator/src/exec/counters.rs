//! What a launch did, in numbers.

use super::watch::Traffic;
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
    /// All of the vector ALU, packed and matrix ones included.
    pub valu: u64,
    /// Of those, packed and dot-product ones.
    pub packed: u64,
    /// Of those, matrix ones.
    pub matrix: u64,
    pub salu: u64,
    pub vmem: u64,
    pub smem: u64,
    pub lds: u64,
    pub branch: u64,
    /// Waits for counters and barriers.
    pub wait: u64,
    pub other: u64,
    pub waves: u64,
    pub workgroups: u64,
    /// Zero unless the launch was profiled.
    pub traffic: Traffic,
}

impl Counters {
    /// Counts `times` executions of the instruction that LLVM prints as `text`.
    pub(super) fn count(&mut self, class: Class, text: &str, times: u64) {
        self.instructions += times;
        let name = text.trim_start();
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        match class {
            Class::Valu if starts(&["v_pk_", "v_dot"]) => self.packed += times,
            Class::Valu if starts(&["v_mfma", "v_smfma", "v_wmma", "v_swmma"]) => {
                self.matrix += times
            }
            _ => {}
        }
        *match class {
            Class::Valu => &mut self.valu,
            Class::Salu => &mut self.salu,
            Class::Vmem => &mut self.vmem,
            Class::Smem => &mut self.smem,
            Class::Lds => &mut self.lds,
            Class::Branch => &mut self.branch,
            Class::Other if starts(&["s_wait", "s_barrier"]) => &mut self.wait,
            Class::Other => &mut self.other,
        } += times;
    }

    /// The counters by the names that the profile gives them.
    pub fn named(&self) -> [(&'static str, u64); 19] {
        [
            ("instructions", self.instructions),
            ("valu", self.valu),
            ("packed", self.packed),
            ("matrix", self.matrix),
            ("salu", self.salu),
            ("vmem", self.vmem),
            ("smem", self.smem),
            ("lds", self.lds),
            ("branch", self.branch),
            ("wait", self.wait),
            ("other", self.other),
            ("waves", self.waves),
            ("workgroups", self.workgroups),
            ("global_bytes_loaded", self.traffic.global_bytes_loaded),
            ("global_bytes_stored", self.traffic.global_bytes_stored),
            ("global_lines", self.traffic.global_lines),
            ("distinct_bytes_loaded", self.traffic.distinct_bytes_loaded),
            ("distinct_bytes_stored", self.traffic.distinct_bytes_stored),
            ("lds_bank_conflicts", self.traffic.lds_bank_conflicts),
        ]
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.instructions += other.instructions;
        self.valu += other.valu;
        self.packed += other.packed;
        self.matrix += other.matrix;
        self.salu += other.salu;
        self.vmem += other.vmem;
        self.smem += other.smem;
        self.lds += other.lds;
        self.branch += other.branch;
        self.wait += other.wait;
        self.other += other.other;
        self.waves += other.waves;
        self.workgroups += other.workgroups;
        let (mine, others) = (&mut self.traffic, other.traffic);
        mine.global_bytes_loaded += others.global_bytes_loaded;
        mine.global_bytes_stored += others.global_bytes_stored;
        mine.global_lines += others.global_lines;
        mine.distinct_bytes_loaded += others.distinct_bytes_loaded;
        mine.distinct_bytes_stored += others.distinct_bytes_stored;
        mine.lds_bank_conflicts += others.lds_bank_conflicts;
    }
}
