//! What was allocated over the life of the process, and what nobody gave back.

use super::block::Kind;
use super::registry::Memory;
use std::fmt::Write as _;

/// Counts of `hipMalloc` and `hipHostMalloc` allocations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub live_count: usize,
    pub live_bytes: usize,
    pub peak_bytes: usize,
    /// Allocations ever made.
    pub made: u64,
}

impl Totals {
    pub(super) fn add(&mut self, bytes: usize) {
        self.live_count += 1;
        self.live_bytes += bytes;
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
        self.made += 1;
    }

    pub(super) fn remove(&mut self, bytes: usize) {
        self.live_count -= 1;
        self.live_bytes -= bytes;
    }
}

/// At most this many live allocations are listed one by one.
const LISTED: usize = 64;

/// The ledger's text at the end of the process: a line per live allocation and a total. Empty when
/// nothing is live, unless `always`.
pub fn report_at_exit(memory: &Memory, always: bool) -> String {
    let totals = memory.totals();
    let mut text = String::new();
    if totals.live_count == 0 && !always {
        return text;
    }
    let live = memory.live();
    for (serial, bytes, kind) in live.iter().take(LISTED) {
        let place = match kind {
            Kind::Device(device) => format!("device {device}"),
            _ => "pinned host memory".to_string(),
        };
        let _ = writeln!(
            text,
            "hip-emulator: live allocation no. {serial}: {bytes} bytes, {place}"
        );
    }
    if live.len() > LISTED {
        let _ = writeln!(text, "hip-emulator: … and {} more", live.len() - LISTED);
    }
    let _ = writeln!(
        text,
        "hip-emulator: {} live allocations ({} bytes) at exit, {} made, peak {} bytes",
        totals.live_count, totals.live_bytes, totals.made, totals.peak_bytes
    );
    text
}
