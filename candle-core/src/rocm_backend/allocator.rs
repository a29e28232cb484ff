//! The stream-ordered caching allocator of a device.
//!
//! Blocks come in size classes and go back to a free list of their class instead of to HIP: `hipFree` waits for the
//! device, a list does not. All work of a device runs on one stream, so a block may be handed out again as soon as
//! its last use is enqueued. When HIP has no memory left, the lists are emptied and the request is tried once more.
//!
//! `CANDLE_ROCM_POOL=off` turns the lists off: each block has its exact size and goes straight back to HIP, so that
//! a memory checker sees every bound and every free.
//!
//! A graph (graph.rs) reads and writes, at each launch, the memory that its work was recorded with. Blocks that were in use
//! or came into use by the end of the recording therefore stay with the graph when they are released, until it is dropped.
use candle_hip::{Device, DevicePtr};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;

/// Blocks start at a multiple of this on every target; smaller requests share the class.
const SMALLEST: usize = 256;
/// From here on classes are multiples of `LARGE_STEP`, so that a weight wastes little.
const LARGE: usize = 8 << 20;
const LARGE_STEP: usize = 2 << 20;
/// Classes between two powers of two below `LARGE`: at most 12.5 % of a block is unused.
const STEPS_PER_DOUBLING: usize = 8;

/// The size of the block that serves a request of `bytes`.
fn size_class(bytes: usize) -> usize {
    if bytes <= SMALLEST {
        return SMALLEST;
    }
    if bytes > LARGE {
        return bytes.next_multiple_of(LARGE_STEP);
    }
    let below = bytes.next_power_of_two() / 2;
    let step = (below / STEPS_PER_DOUBLING).max(SMALLEST);
    bytes.next_multiple_of(step)
}

/// What an allocator holds, in bytes and blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStatistics {
    /// Blocks in use by tensors.
    pub used_blocks: usize,
    /// Bytes of those.
    pub used_bytes: usize,
    /// The most that `used_bytes` has been.
    pub peak_bytes: usize,
    /// Blocks waiting in free lists.
    pub cached_blocks: usize,
    /// Bytes of those.
    pub cached_bytes: usize,
    /// Requests served by HIP and by a free list, since the device was made.
    pub hip_allocations: usize,
    /// As `hip_allocations`, by a free list.
    pub reused: usize,
}

impl fmt::Display for PoolStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes in {} blocks in use and {} bytes in {} blocks cached",
            self.used_bytes, self.used_blocks, self.cached_bytes, self.cached_blocks
        )
    }
}

/// A block of device memory: address and the size it was allocated with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) ptr: DevicePtr,
    size: usize,
    /// How many blocks were handed out before this one.
    serial: u64,
}

/// Names the memory of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GraphId(u64);

/// Blocks that wait for a graph to be dropped.
struct GraphMemory {
    id: GraphId,
    /// Serials of the blocks handed out while the graph was being recorded; open until the recording ends.
    recorded: Range<u64>,
    /// Of those, the ones that the recorded work is done with: the work that is recorded next may have them.
    again: BTreeMap<usize, Vec<Block>>,
    held: Vec<Block>,
}

impl GraphMemory {
    fn is_recording(&self) -> bool {
        self.recorded.end == u64::MAX
    }

    /// Takes a released block that the graph's work may use.
    fn keep(&mut self, block: Block) {
        match self.is_recording() && self.recorded.contains(&block.serial) {
            true => self.again.entry(block.size).or_default().push(block),
            // From before the recording: its content is the work's input, at every launch.
            false => self.held.push(block),
        }
    }
}

#[derive(Default)]
struct Pool {
    free: BTreeMap<usize, Vec<DevicePtr>>,
    statistics: PoolStatistics,
    serial: u64,
    /// Oldest first; the last one may be being recorded.
    graphs: Vec<GraphMemory>,
}

impl Pool {
    /// A waiting block of a size class.
    fn reuse(&mut self, size: usize) -> Option<DevicePtr> {
        let recording = self.graphs.last_mut().filter(|graph| graph.is_recording());
        let again = recording
            .and_then(|graph| graph.again.get_mut(&size)?.pop())
            .map(|block| block.ptr);
        let ptr = again.or_else(|| self.free.get_mut(&size)?.pop())?;
        self.statistics.cached_blocks -= 1;
        self.statistics.cached_bytes -= size;
        self.statistics.reused += 1;
        Some(ptr)
    }

    /// The newest graph whose work may use a block.
    fn graph_of(&mut self, block: &Block) -> Option<&mut GraphMemory> {
        let mut graphs = self.graphs.iter_mut().rev();
        graphs.find(|graph| block.serial < graph.recorded.end)
    }
}

pub(super) struct Allocator {
    device: Device,
    pooled: bool,
    pool: Mutex<Pool>,
}

impl Allocator {
    pub(super) fn new(device: Device) -> Self {
        let pooled = std::env::var("CANDLE_ROCM_POOL").map_or(true, |v| v != "off" && v != "0");
        Self {
            device,
            pooled,
            pool: Mutex::default(),
        }
    }

    /// A poisoned lock means that a thread panicked between two counters; the lists are whole all the same.
    fn pool(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn statistics(&self) -> PoolStatistics {
        self.pool().statistics
    }

    pub(super) fn allocate(&self, bytes: usize) -> Result<Block, candle_hip::Error> {
        // Before the lock, which may have been held when the process was forked; so below.
        candle_hip::expect_own_process()?;
        let size = if self.pooled {
            size_class(bytes)
        } else {
            bytes.max(1)
        };
        // The lock is not held while HIP is asked.
        let cached = self.pool().reuse(size);
        let ptr = match cached {
            Some(ptr) => ptr,
            None => self.ask_hip(size)?,
        };
        let mut pool = self.pool();
        let s = &mut pool.statistics;
        s.used_blocks += 1;
        s.used_bytes += size;
        s.peak_bytes = s.peak_bytes.max(s.used_bytes);
        let serial = pool.serial;
        pool.serial += 1;
        Ok(Block { ptr, size, serial })
    }

    fn ask_hip(&self, size: usize) -> Result<DevicePtr, candle_hip::Error> {
        let ptr = match self.device.malloc(size) {
            Err(e) if e.is_out_of_memory() => {
                self.trim();
                self.device.malloc(size)?
            }
            other => other?,
        };
        self.pool().statistics.hip_allocations += 1;
        Ok(ptr)
    }

    /// Takes a block back. Its last use may still be running: the next user's work comes after it on the stream.
    pub(super) fn release(&self, block: Block) {
        if candle_hip::is_forked() {
            return;
        }
        {
            let mut pool = self.pool();
            pool.statistics.used_blocks -= 1;
            pool.statistics.used_bytes -= block.size;
            if !self.put(&mut pool, block) {
                return;
            }
        }
        self.free(block.ptr);
    }

    /// Has a block that nobody uses wait in a list; whether HIP should have it back instead.
    fn put(&self, pool: &mut Pool, block: Block) -> bool {
        match pool.graph_of(&block) {
            Some(graph) => graph.keep(block),
            None if self.pooled => pool.free.entry(block.size).or_default().push(block.ptr),
            None => return true,
        }
        pool.statistics.cached_blocks += 1;
        pool.statistics.cached_bytes += block.size;
        false
    }

    /// From now until [`end_recording`](Self::end_recording) blocks belong to a graph.
    pub(super) fn begin_recording(&self) -> GraphId {
        let mut pool = self.pool();
        let id = GraphId(pool.serial);
        // The next graph's number is another one.
        pool.serial += 1;
        let recorded = pool.serial..u64::MAX;
        pool.graphs.push(GraphMemory {
            id,
            recorded,
            again: BTreeMap::new(),
            held: Vec::new(),
        });
        id
    }

    pub(super) fn end_recording(&self, id: GraphId) {
        let mut pool = self.pool();
        let end = pool.serial;
        if let Some(graph) = pool.graphs.iter_mut().find(|graph| graph.id == id) {
            graph.recorded.end = end;
        }
    }

    /// The graph will not be launched again: its memory is anyone's, once what is enqueued has run.
    pub(super) fn release_graph(&self, id: GraphId) {
        if candle_hip::is_forked() {
            return;
        }
        let unwanted: Vec<Block> = {
            let mut pool = self.pool();
            let Some(place) = pool.graphs.iter().position(|graph| graph.id == id) else {
                return;
            };
            let graph = pool.graphs.remove(place);
            let blocks: Vec<Block> = graph
                .again
                .into_values()
                .flatten()
                .chain(graph.held)
                .collect();
            for block in &blocks {
                pool.statistics.cached_blocks -= 1;
                pool.statistics.cached_bytes -= block.size;
            }
            // An older graph may want them still.
            let mut blocks = blocks;
            blocks.retain(|block| self.put(&mut pool, *block));
            blocks
        };
        unwanted.into_iter().for_each(|block| self.free(block.ptr));
    }

    /// Gives a block back to HIP. A failure has no one to go to: it is counted and told once.
    fn free(&self, ptr: DevicePtr) {
        // SAFETY: `ptr` came from `malloc` of this device and nothing holds it any more.
        candle_hip::keep_drop_failure(unsafe { self.device.free(ptr) });
    }

    /// Gives every cached block back to HIP and says how many bytes that were.
    pub(super) fn trim(&self) -> usize {
        if candle_hip::is_forked() {
            return 0;
        }
        let free = {
            let mut pool = self.pool();
            let free = std::mem::take(&mut pool.free);
            // What graphs hold is not free.
            for (size, blocks) in &free {
                pool.statistics.cached_blocks -= blocks.len();
                pool.statistics.cached_bytes -= size * blocks.len();
            }
            free
        };
        let mut bytes = 0;
        for (size, blocks) in free {
            bytes += size * blocks.len();
            blocks.into_iter().for_each(|ptr| self.free(ptr));
        }
        bytes
    }
}

impl Drop for Allocator {
    fn drop(&mut self) {
        self.trim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_their_request_and_waste_little() {
        assert_eq!(size_class(0), SMALLEST);
        assert_eq!(size_class(257), 512);
        for bytes in (1..100_000).chain((1..64).map(|i| i * 1_000_003)) {
            let class = size_class(bytes);
            assert!(
                class >= bytes && class.is_multiple_of(SMALLEST),
                "{bytes} -> {class}"
            );
            // An eighth of the request, or the step of the smallest and largest classes.
            let waste =
                (bytes / STEPS_PER_DOUBLING).max(if bytes > LARGE { LARGE_STEP } else { SMALLEST });
            assert!(class - bytes <= waste, "{bytes} -> {class}");
            assert_eq!(size_class(class), class, "a class serves itself");
        }
    }
}
