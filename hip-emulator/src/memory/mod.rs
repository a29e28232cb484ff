//! Device memory: live regions by address, and the check that every access passes.
//!
//! Device addresses are host addresses. [`Memory`] owns every allocation and knows which were freed;
//! a launch works on a [`Snapshot`] of the regions that its device may touch, which also keeps them
//! alive while the kernel runs.

mod block;
mod ledger;
mod pattern;
mod registry;
mod snapshot;

pub use block::{Block, Kind, Owner, POISON};
pub use ledger::{report_at_exit, Totals};
pub use registry::{Limits, Memory, MemoryError};
pub use snapshot::Snapshot;

/// A live region `[start, end)` that a kernel may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    pub start: u64,
    pub end: u64,
    pub writable: bool,
}

impl Region {
    /// Whether `bytes` bytes from `address` lie inside.
    pub fn contains(&self, address: u64, bytes: u64) -> bool {
        address >= self.start && address <= self.end && bytes <= self.end - address
    }
}
