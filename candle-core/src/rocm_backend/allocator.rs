//! The stream-ordered caching allocator of a device.
//!
//! Blocks come in size classes and go back to a free list of their class instead of to HIP: `hipFree` waits for the
//! device, a list does not. All work of a device runs on one stream, so a block may be handed out again as soon as
//! its last use is enqueued. When HIP has no memory left, the lists are emptied and the request is tried once more.
//!
//! `CANDLE_ROCM_POOL=off` turns the lists off: each block has its exact size and goes straight back to HIP, so that
//! a memory checker sees every bound and every free.
use candle_hip::{Device, DevicePtr};
use std::collections::BTreeMap;
use std::fmt;
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
    pub used_bytes: usize,
    /// The most that `used_bytes` has been.
    pub peak_bytes: usize,
    /// Blocks waiting in free lists.
    pub cached_blocks: usize,
    pub cached_bytes: usize,
    /// Requests served by HIP and by a free list, since the device was made.
    pub hip_allocations: usize,
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
}

#[derive(Default)]
struct Pool {
    free: BTreeMap<usize, Vec<DevicePtr>>,
    statistics: PoolStatistics,
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
        let cached = {
            let mut pool = self.pool();
            let ptr = pool.free.get_mut(&size).and_then(Vec::pop);
            if ptr.is_some() {
                pool.statistics.cached_blocks -= 1;
                pool.statistics.cached_bytes -= size;
                pool.statistics.reused += 1;
            }
            ptr
        };
        let ptr = match cached {
            Some(ptr) => ptr,
            None => self.ask_hip(size)?,
        };
        let mut pool = self.pool();
        let s = &mut pool.statistics;
        s.used_blocks += 1;
        s.used_bytes += size;
        s.peak_bytes = s.peak_bytes.max(s.used_bytes);
        Ok(Block { ptr, size })
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
            if self.pooled {
                pool.statistics.cached_blocks += 1;
                pool.statistics.cached_bytes += block.size;
                pool.free.entry(block.size).or_default().push(block.ptr);
                return;
            }
        }
        self.free(block.ptr);
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
            pool.statistics.cached_blocks = 0;
            pool.statistics.cached_bytes = 0;
            std::mem::take(&mut pool.free)
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
                class >= bytes && class % SMALLEST == 0,
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
