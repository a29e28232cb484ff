//! Every allocation of the process, live and freed.

use super::block::{Block, Kind, Owner};
use super::ledger::Totals;
use super::pattern::WrittenPattern;
use super::snapshot::Snapshot;
use super::Region;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many freed regions are remembered for the text of a use after free.
const FREED_REMEMBERED: usize = 4096;
/// How far from an allocation an address may lie and still be described as running off it.
const NEARBY: u64 = 1 << 20;
/// Addresses below this are a null pointer plus a small offset.
const NULL_PAGE: u64 = 4096;

/// What the memory may hold and how fresh memory looks.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of `hipMalloc` per device.
    pub device_bytes: u64,
    /// Whether fresh memory is filled with a poison pattern (otherwise with zeroes).
    pub poison: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    #[error(
        "device {device} has {free} of {limit} bytes free, {asked} were asked for \
         (HIP_EMULATOR_MEMORY sets the limit)"
    )]
    DeviceFull {
        device: u32,
        asked: usize,
        free: u64,
        limit: u64,
    },
    #[error("the host cannot provide {0} bytes")]
    HostFull(usize),
    #[error("{address:#x} is not the start of an allocation: {what}")]
    NotAnAllocation { address: u64, what: String },
    #[error("{bytes} bytes at {address:#x} overlap {what}")]
    Overlap {
        address: u64,
        bytes: usize,
        what: String,
    },
}

#[derive(Debug, Clone)]
struct Freed {
    start: u64,
    end: u64,
    serial: u64,
    by: &'static str,
}

#[derive(Default)]
struct State {
    live: BTreeMap<u64, Arc<Block>>,
    freed: VecDeque<Freed>,
    /// `(device, peer)`: kernels of `device` may touch memory of `peer`.
    peers: BTreeSet<(u32, u32)>,
    used: HashMap<u32, u64>,
    totals: Totals,
    next_serial: u64,
    /// Per device; dropped whenever an allocation comes or goes.
    snapshots: HashMap<u32, Arc<[Region]>>,
    holds: HashMap<u32, Arc<[Arc<Block>]>>,
}

/// All memory of the emulator. One per process; tests may make their own.
pub struct Memory {
    pub(super) limits: Limits,
    /// Bytes of the devices that have a limit of their own, by number.
    sizes: Vec<u64>,
    state: Mutex<State>,
    pub(super) written: Mutex<WrittenPattern>,
}

impl Memory {
    pub fn new(limits: Limits) -> Arc<Memory> {
        Memory::with_sizes(limits, Vec::new())
    }

    /// With a limit for each device; devices beyond the list have the common one.
    pub fn with_sizes(limits: Limits, sizes: Vec<u64>) -> Arc<Memory> {
        Arc::new(Memory {
            limits,
            sizes,
            state: Mutex::new(State::default()),
            written: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through an update, so a poisoned lock still guards good data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that `device` holds in total.
    pub fn capacity(&self, device: u32) -> u64 {
        let own = self.sizes.get(device as usize);
        own.copied().unwrap_or(self.limits.device_bytes)
    }

    /// Bytes of `hipMalloc` live on `device`.
    pub fn used(&self, device: u32) -> u64 {
        self.state().used.get(&device).copied().unwrap_or(0)
    }

    /// Counts since the start of the process.
    pub fn totals(&self) -> Totals {
        self.state().totals
    }

    /// `(serial number, bytes, kind)` of each live allocation that the ledger counts.
    pub fn live(&self) -> Vec<(u64, usize, Kind)> {
        let state = self.state();
        let mut rows: Vec<_> = state
            .live
            .values()
            .filter(|block| counted(block.kind))
            .map(|block| (block.serial, block.size(), block.kind))
            .collect();
        rows.sort_by_key(|row| row.0);
        rows
    }

    /// A new allocation of `size` bytes, not zero.
    pub fn allocate(&self, size: usize, kind: Kind) -> Result<Arc<Block>, MemoryError> {
        let block = self.build(size, 0, kind)?;
        Ok(self.insert(block))
    }

    /// Storage that is not visible to kernels until [`Memory::insert`] or [`Snapshot::with`].
    pub fn build(&self, size: usize, alignment: usize, kind: Kind) -> Result<Block, MemoryError> {
        let serial = {
            let mut state = self.state();
            if let Kind::Device(device) = kind {
                let limit = self.capacity(device);
                let used = state.used.entry(device).or_insert(0);
                let free = limit.saturating_sub(*used);
                if size as u64 > free {
                    return Err(MemoryError::DeviceFull {
                        device,
                        asked: size,
                        free,
                        limit,
                    });
                }
                // Reserved before the slow part, so that two threads cannot share the last bytes.
                *used += size as u64;
            }
            if counted(kind) {
                state.next_serial += 1;
            }
            state.next_serial
        };
        // Images and kernel arguments are written in full: poison would only hide in their padding.
        let poison = self.limits.poison && counted(kind);
        Block::allocate(size, alignment, poison, serial, kind).ok_or_else(|| {
            self.release(kind, size);
            MemoryError::HostFull(size)
        })
    }

    fn release(&self, kind: Kind, size: usize) {
        if let Kind::Device(device) = kind {
            if let Some(used) = self.state().used.get_mut(&device) {
                *used -= size as u64;
            }
        }
    }

    /// Makes a block visible to kernels and copies.
    pub fn insert(&self, block: Block) -> Arc<Block> {
        let block = Arc::new(block);
        self.forget_written(block.start(), block.end());
        let mut state = self.state();
        state
            .freed
            .retain(|f| f.end <= block.start() || f.start >= block.end());
        if counted(block.kind) {
            state.totals.add(block.size());
        }
        state.live.insert(block.start(), Arc::clone(&block));
        state.forget_snapshots();
        block
    }

    /// Makes `size` bytes of the caller's memory reachable for kernels.
    ///
    /// # Safety
    /// The memory must stay valid until [`Memory::free`] of its start.
    pub unsafe fn register(&self, start: u64, size: usize) -> Result<Arc<Block>, MemoryError> {
        let mut state = self.state();
        let end = start.saturating_add(size as u64);
        if let Some((_, block)) = state.live.range(..end).next_back() {
            if block.end() > start {
                return Err(MemoryError::Overlap {
                    address: start,
                    bytes: size,
                    what: format!("a live {}-byte allocation", block.size()),
                });
            }
        }
        let block = Arc::new(Block::registered(start, size, state.next_serial));
        state.live.insert(start, Arc::clone(&block));
        state.forget_snapshots();
        Ok(block)
    }

    /// Frees the allocation that starts at `address` when `accept` agrees with its kind. `by` names
    /// the call, for the text of a later use after free.
    pub fn free(
        &self,
        address: u64,
        by: &'static str,
        accept: impl Fn(Kind) -> bool,
    ) -> Result<(), MemoryError> {
        let mut state = self.state();
        match state.live.get(&address) {
            Some(block) if accept(block.kind) => {}
            Some(block) => {
                let what = format!("{by} does not free {}", kind_name(block.kind));
                return Err(MemoryError::NotAnAllocation { address, what });
            }
            None => {
                let what = state.describe(address, 1, None);
                return Err(MemoryError::NotAnAllocation { address, what });
            }
        }
        let Some(block) = state.live.remove(&address) else {
            return Ok(());
        };
        if let Kind::Device(device) = block.kind {
            if let Some(used) = state.used.get_mut(&device) {
                *used -= block.size() as u64;
            }
        }
        if counted(block.kind) {
            state.totals.remove(block.size());
        }
        if block.owner() == Owner::Emulator {
            if state.freed.len() == FREED_REMEMBERED {
                state.freed.pop_front();
            }
            let (start, end, serial) = (block.start(), block.end(), block.serial);
            state.freed.push_back(Freed {
                start,
                end,
                serial,
                by,
            });
        }
        state.forget_snapshots();
        drop(state);
        // The storage goes back outside the lock; a running kernel may hold it a little longer.
        drop(block);
        Ok(())
    }

    /// The live block that `address` lies in, if any.
    pub fn block_at(&self, address: u64) -> Option<Arc<Block>> {
        let state = self.state();
        let (_, block) = state.live.range(..=address).next_back()?;
        (address < block.end()).then(|| Arc::clone(block))
    }

    /// Lets kernels of `device` touch memory of `peer`, or forbids it. False when nothing changed.
    pub fn set_peer(&self, device: u32, peer: u32, allowed: bool) -> bool {
        let mut state = self.state();
        state.forget_snapshots();
        match allowed {
            true => state.peers.insert((device, peer)),
            false => state.peers.remove(&(device, peer)),
        }
    }

    /// The regions that kernels of `device` may touch now.
    pub fn snapshot(self: &Arc<Self>, device: u32) -> Snapshot {
        let mut state = self.state();
        if !state.snapshots.contains_key(&device) {
            let blocks: Vec<Arc<Block>> = state
                .live
                .values()
                .filter(|block| state.reaches(device, block.kind))
                .cloned()
                .collect();
            let regions: Vec<Region> = blocks
                .iter()
                .flat_map(|block| block.regions().iter().copied())
                .collect();
            state.snapshots.insert(device, regions.into());
            state.holds.insert(device, blocks.into());
        }
        let regions = state.snapshots.get(&device).cloned().unwrap_or_default();
        let holds = state.holds.get(&device).cloned().unwrap_or_default();
        drop(state);
        Snapshot::of(regions, holds, Arc::clone(self), device)
    }

    /// What lies at `bytes` bytes from `address`, in words, as kernels of `device` see it.
    pub fn describe(&self, address: u64, bytes: u64, device: Option<u32>) -> String {
        self.state().describe(address, bytes, device)
    }
}

/// Whether the ledger and the accounting know this kind.
fn counted(kind: Kind) -> bool {
    matches!(kind, Kind::Device(_) | Kind::Host)
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Device(_) => "device memory",
        Kind::Host => "pinned host memory",
        Kind::Registered => "registered host memory",
        Kind::Image(_) => "a code object",
        Kind::Launch(_) => "kernel arguments",
    }
}

impl State {
    fn forget_snapshots(&mut self) {
        self.snapshots.clear();
        self.holds.clear();
    }

    fn reaches(&self, device: u32, kind: Kind) -> bool {
        match kind {
            Kind::Host | Kind::Registered => true,
            Kind::Device(owner) => owner == device || self.peers.contains(&(device, owner)),
            Kind::Image(owner) | Kind::Launch(owner) => owner == device,
        }
    }

    fn describe(&self, address: u64, bytes: u64, device: Option<u32>) -> String {
        if address < NULL_PAGE {
            return match address {
                0 => "null".to_string(),
                offset => format!("null plus {offset} bytes"),
            };
        }
        let below = self
            .live
            .range(..=address)
            .next_back()
            .map(|(_, block)| block);
        if let Some(block) = below.filter(|block| address < block.end()) {
            return self.describe_inside(block, address, bytes, device);
        }
        // The latest one wins: the same addresses may have been handed out and freed many times.
        if let Some(f) = self
            .freed
            .iter()
            .rev()
            .find(|f| address >= f.start && address < f.end)
        {
            return format!(
                "inside a {}-byte allocation (no. {}) freed by {}, {} bytes from its start",
                f.end - f.start,
                f.serial,
                f.by,
                address - f.start
            );
        }
        let above = self.live.range(address..).next().map(|(_, block)| block);
        let past = below.map(|block| (address - block.end(), block, "past the end of"));
        let before = above.map(|block| (block.start() - address, block, "before the start of"));
        let nearest = [past, before]
            .into_iter()
            .flatten()
            .min_by_key(|(distance, ..)| *distance);
        match nearest {
            Some((distance, block, side)) if distance < NEARBY => {
                format!("{distance} bytes {side} {}", title(block))
            }
            _ => "not near any allocation".to_string(),
        }
    }

    fn describe_inside(
        &self,
        block: &Block,
        address: u64,
        bytes: u64,
        device: Option<u32>,
    ) -> String {
        let offset = address - block.start();
        if bytes > block.end() - address {
            let over = bytes - (block.end() - address);
            return format!(
                "starts inside and ends {over} bytes past the end of {}",
                title(block)
            );
        }
        if let Some(device) = device.filter(|device| !self.reaches(*device, block.kind)) {
            return format!(
                "byte {offset} of {}, which device {device} may not touch (no peer access)",
                title(block)
            );
        }
        match block
            .regions()
            .iter()
            .find(|region| region.contains(address, bytes))
        {
            Some(region) if !region.writable => {
                format!("byte {offset} of {}, a read-only part", title(block))
            }
            Some(_) => format!("byte {offset} of {}", title(block)),
            None => format!("byte {offset} of {}, between its segments", title(block)),
        }
    }
}

fn title(block: &Block) -> String {
    match block.kind {
        Kind::Device(device) => {
            format!(
                "a {}-byte allocation (no. {}) of device {device}",
                block.size(),
                block.serial
            )
        }
        Kind::Host => format!(
            "a {}-byte pinned host allocation (no. {})",
            block.size(),
            block.serial
        ),
        kind => format!("{} of {} bytes", kind_name(kind), block.size()),
    }
}
