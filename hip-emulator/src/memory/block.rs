//! One allocation: host storage with a guard gap on both sides.

use super::Region;
use std::alloc::{alloc, alloc_zeroed, dealloc, Layout};

/// Alignment of every allocation; HIP promises 256 bytes for `hipMalloc`.
pub const ALIGNMENT: usize = 256;
/// Bytes before and after an allocation that belong to no region, so that running off an end is
/// caught before it reaches a neighbour.
pub const GUARD: usize = 4096;
/// What memory that nothing wrote yet reads as. As f32 it is -2.87e-16, as f16 -0.0221: small enough
/// to slip through a sum unseen, so comparisons against a reference are what shows it.
pub const POISON: u8 = 0xA5;

/// What an allocation is for; decides who may touch it and whether the ledger counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `hipMalloc` on the device with this number.
    Device(u32),
    /// `hipHostMalloc`: every device reaches it.
    Host,
    /// `hipHostRegister`: the caller's memory, known here for as long as it is registered.
    Registered,
    /// A code object loaded on the device with this number.
    Image(u32),
    /// Kernel arguments and dispatch packet of one launch.
    Launch(u32),
}

/// Who pays for the bytes behind a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Emulator,
    Caller,
}

/// An allocation. The storage goes back to the host when the last `Arc<Block>` is dropped, so a
/// running kernel keeps what it was launched with.
#[derive(Debug)]
pub struct Block {
    base: *mut u8,
    layout: Option<Layout>,
    start: u64,
    size: usize,
    pub serial: u64,
    pub kind: Kind,
    /// The parts that kernels may touch; the whole block for ordinary memory, one per segment for an
    /// image.
    regions: Vec<Region>,
}

// SAFETY: `base` is only the address of storage that this block owns (or that the caller of
// `registered` guarantees); nothing in Rust dereferences it without going through raw pointers, and
// concurrent device accesses race only as they would on a GPU.
unsafe impl Send for Block {}
// SAFETY: see above; a shared `Block` hands out addresses, never references to the storage.
unsafe impl Sync for Block {}

impl Block {
    /// `size` bytes at [`ALIGNMENT`] (or more), filled with [`POISON`] or zeroes.
    /// `None` when the host has no memory left or the size is absurd.
    pub(super) fn allocate(
        size: usize,
        alignment: usize,
        poison: bool,
        serial: u64,
        kind: Kind,
    ) -> Option<Block> {
        let alignment = alignment.max(ALIGNMENT);
        let front = GUARD.max(alignment);
        let total = size.checked_add(front)?.checked_add(GUARD)?;
        let layout = Layout::from_size_align(total, alignment).ok()?;
        // SAFETY: the layout's size is at least two guards, so not zero.
        let base = unsafe {
            if poison {
                alloc(layout)
            } else {
                alloc_zeroed(layout)
            }
        };
        if base.is_null() {
            return None;
        }
        if poison {
            // SAFETY: `base` is `total` bytes long and freshly ours.
            unsafe { base.write_bytes(POISON, total) };
        }
        let start = base as u64 + front as u64;
        let whole = Region {
            start,
            end: start + size as u64,
            writable: true,
        };
        Some(Block {
            base,
            layout: Some(layout),
            start,
            size,
            serial,
            kind,
            regions: vec![whole],
        })
    }

    /// A block over memory of the caller, which stays the caller's.
    pub(super) fn registered(start: u64, size: usize, serial: u64) -> Block {
        let whole = Region {
            start,
            end: start + size as u64,
            writable: true,
        };
        let base = start as *mut u8;
        Block {
            base,
            layout: None,
            start,
            size,
            serial,
            kind: Kind::Registered,
            regions: vec![whole],
        }
    }

    /// Narrows what kernels may touch to `regions`, which must be sorted and inside the block.
    pub fn restrict(&mut self, regions: Vec<Region>) {
        debug_assert!(regions
            .iter()
            .all(|r| r.start >= self.start && r.end <= self.end()));
        debug_assert!(regions.windows(2).all(|pair| pair[0].end <= pair[1].start));
        self.regions = regions;
    }

    /// Device address (and host address) of the first byte.
    pub fn start(&self) -> u64 {
        self.start
    }

    pub fn end(&self) -> u64 {
        self.start + self.size as u64
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn owner(&self) -> Owner {
        if self.layout.is_some() {
            Owner::Emulator
        } else {
            Owner::Caller
        }
    }

    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Copies `bytes` to `offset`. Used before a block is shared: images and kernel arguments.
    ///
    /// # Panics
    /// When the bytes do not fit; callers have checked.
    pub fn fill(&mut self, offset: usize, bytes: &[u8]) {
        assert!(
            offset <= self.size && bytes.len() <= self.size - offset,
            "fill beyond the block"
        );
        // SAFETY: the range was just checked, `self` is not shared yet (`&mut`), and `bytes` cannot
        // overlap storage that only this block owns.
        unsafe {
            let to = (self.start as *mut u8).add(offset);
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }

    /// Copies `into.len()` bytes from `offset`; the inverse of [`Block::fill`].
    ///
    /// # Panics
    /// When the range is not inside the block.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        assert!(
            offset <= self.size && into.len() <= self.size - offset,
            "read beyond the block"
        );
        // SAFETY: the range was just checked and `into` is a distinct Rust buffer.
        unsafe {
            let from = (self.start as *const u8).add(offset);
            from.copy_to_nonoverlapping(into.as_mut_ptr(), into.len());
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(layout) = self.layout {
            // SAFETY: allocated in `allocate` with this very layout and freed only here.
            unsafe { dealloc(self.base, layout) };
        }
    }
}
