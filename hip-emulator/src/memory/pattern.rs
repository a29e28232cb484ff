//! Which words of fresh memory nothing wrote: those that still hold the pattern, but for the few that
//! were written with it.

use super::block::{Kind, POISON};
use super::registry::Memory;
use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};

/// Aligned addresses of words that were written with the pattern.
pub type WrittenPattern = BTreeSet<u64>;

const PATTERN: u32 = u32::from_ne_bytes([POISON; 4]);

impl Memory {
    fn written(&self) -> MutexGuard<'_, WrittenPattern> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the aligned word at `address` is device memory that nothing wrote.
    pub fn is_unwritten(&self, address: u64) -> bool {
        let holds = || {
            let block = self.block_at(address)?;
            // Host memory is written behind the emulator's back.
            let tracked = matches!(block.kind, Kind::Device(_)) && address + 4 <= block.end();
            // SAFETY: the word lies in a block that `block` keeps alive; blocks are aligned.
            (tracked && unsafe { (address as *const u32).read_volatile() } == PATTERN).then_some(())
        };
        self.limits.poison && holds().is_some() && !self.written().contains(&address)
    }

    /// Says that `start..end`, in live memory, was written: the words that hold the pattern all the
    /// same are remembered.
    pub fn wrote(&self, start: u64, end: u64) {
        self.copied(start, end - start, None);
    }

    /// The same for a copy. Words of device memory at `source` that nothing wrote make the words at
    /// `to` such ones.
    pub fn copied(&self, to: u64, bytes: u64, source: Option<u64>) {
        if !self.limits.poison {
            return;
        }
        let mut found = Vec::new();
        for word in (to & !3..to + bytes).step_by(4) {
            // SAFETY: a word around bytes of a live block, which are aligned and padded.
            if unsafe { (word as *const u32).read_volatile() } == PATTERN {
                let origin = source.map(|source| source.wrapping_add(word).wrapping_sub(to));
                if !origin.is_some_and(|origin| origin % 4 == 0 && self.is_unwritten(origin)) {
                    found.push(word);
                }
            }
        }
        if !found.is_empty() {
            self.written().extend(found);
        }
    }

    /// Forgets a range that was allocated anew.
    pub(super) fn forget_written(&self, start: u64, end: u64) {
        let mut written = self.written();
        let old: Vec<u64> = written.range(start..end).copied().collect();
        for word in old {
            written.remove(&word);
        }
    }
}
