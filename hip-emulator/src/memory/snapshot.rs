//! What one launch may touch.

use super::block::Block;
use super::registry::Memory;
use super::Region;
use std::sync::Arc;

/// The regions that the kernels of one device may touch, as they stood at the launch. Blocks freed
/// meanwhile stay allocated until the snapshot is dropped, so the executor's raw accesses are sound.
pub struct Snapshot {
    regions: Arc<[Region]>,
    /// Keeps the storage behind `regions` alive.
    _holds: Arc<[Arc<Block>]>,
    /// Kernel arguments and dispatch packet, which `memory` does not list.
    launch: Option<Block>,
    memory: Option<Arc<Memory>>,
    device: u32,
}

impl Snapshot {
    pub(super) fn of(
        regions: Arc<[Region]>,
        holds: Arc<[Arc<Block>]>,
        memory: Arc<Memory>,
        device: u32,
    ) -> Snapshot {
        Snapshot {
            regions,
            _holds: holds,
            launch: None,
            memory: Some(memory),
            device,
        }
    }

    /// A snapshot of exactly these regions (sorted, disjoint), for tests and tools that bring their
    /// own memory.
    ///
    /// # Safety
    /// Each region must be memory that stays valid, and writable where it says so, while the
    /// snapshot lives.
    pub unsafe fn from_regions(regions: Vec<Region>) -> Snapshot {
        let holds: Arc<[Arc<Block>]> = Arc::from(Vec::new());
        Snapshot {
            regions: regions.into(),
            _holds: holds,
            launch: None,
            memory: None,
            device: 0,
        }
    }

    /// The same with the regions of `block`, which the snapshot then owns.
    pub fn with(self, block: Block) -> Snapshot {
        let mut regions = Vec::with_capacity(self.regions.len() + block.regions().len());
        let at = self
            .regions
            .partition_point(|region| region.start < block.start());
        regions.extend_from_slice(&self.regions[..at]);
        regions.extend_from_slice(block.regions());
        regions.extend_from_slice(&self.regions[at..]);
        Snapshot {
            regions: regions.into(),
            launch: Some(block),
            ..self
        }
    }

    /// All regions, sorted by address, disjoint.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The region that `address` lies in.
    #[inline]
    pub fn find(&self, address: u64) -> Option<Region> {
        let at = self.regions.partition_point(|region| region.end <= address);
        self.regions
            .get(at)
            .copied()
            .filter(|region| region.start <= address)
    }

    /// Whether `address` lies in the launch's kernel arguments or dispatch packet, which start at a
    /// multiple of 256 bytes.
    pub fn is_argument(&self, address: u64) -> bool {
        self.launch
            .as_ref()
            .is_some_and(|block| (block.start()..block.end()).contains(&address))
    }

    /// Whether the aligned word at `address` is device memory that nothing has written yet.
    pub fn is_unwritten(&self, address: u64) -> bool {
        self.memory
            .as_ref()
            .is_some_and(|memory| memory.is_unwritten(address))
    }

    /// Says that the bytes from `start` to `end` were written, whatever they hold.
    pub fn wrote_pattern(&self, start: u64, end: u64) {
        if let Some(memory) = &self.memory {
            memory.wrote(start, end);
        }
    }

    /// What lies at `bytes` bytes from `address`, in words, for the text of a fault: "32 bytes past
    /// the end of a 4096-byte allocation (no. 7) of device 0", "inside … freed by hipFree", "null".
    pub fn describe(&self, address: u64, bytes: u64) -> String {
        if let Some(block) = &self.launch {
            if address >= block.start() && address < block.end() {
                let inside = block
                    .regions()
                    .iter()
                    .any(|region| region.contains(address, bytes));
                let place = if inside {
                    "inside (read-only)"
                } else {
                    "outside"
                };
                let offset = address - block.start();
                return format!(
                    "{place} the launch's kernel arguments, {offset} bytes from their start"
                );
            }
        }
        match (&self.memory, self.find(address)) {
            (Some(memory), _) => memory.describe(address, bytes, Some(self.device)),
            (None, Some(region)) if region.contains(address, bytes) => {
                format!(
                    "byte {} of a {}-byte region",
                    address - region.start,
                    region.end - region.start
                )
            }
            (None, Some(region)) => {
                format!(
                    "starts inside a {}-byte region and leaves it",
                    region.end - region.start
                )
            }
            (None, None) => "in no region".to_string(),
        }
    }
}
