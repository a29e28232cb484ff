//! The state of one wave while it runs.

use super::launch::Launch;
use super::program::Op;
use super::watch::Watch;
use super::word::LANES;
use crate::decode::slot;
use crate::fault::FaultKind;

/// Whether a wave can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Running,
    AtBarrier,
    Done,
    Faulted,
}

/// The live region that an instruction's accesses fell into last time. Each memory instruction has
/// its own, so the size and the kind of its accesses are already taken into account.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub start: u64,
    /// Number of allowed addresses from `start` on.
    pub limit: u64,
}

/// Allows no address.
pub const NO_WINDOW: Window = Window { start: 0, limit: 0 };

/// What went wrong, before the launch's words are added.
pub struct Raised {
    pub kind: FaultKind,
    pub instruction: u32,
    pub lane: Option<u32>,
}

/// Registers and state of one wave. The register file and the scalar file are borrowed from the
/// worker that runs the workgroup; the pointers are valid while the wave runs.
pub struct Wave {
    /// Rows of `stride` registers.
    pub file: *mut u32,
    /// Lanes of a row: the wave's size.
    pub stride: usize,
    /// Passes of 32 lanes.
    pub passes: usize,
    pub scalars: *mut u32,
    pub lds: *mut u8,
    pub lds_size: u32,
    /// Scratch, lane by lane.
    pub scratch: *mut u8,
    /// Bytes of scratch of one lane.
    pub scratch_size: u32,
    /// The worker's access cache.
    pub windows: *mut Window,
    /// The worker's, if it watches LDS accesses, global ones or both.
    pub watch: *mut Watch,
    pub watches_lds: bool,
    /// LDS accesses are counted, not only checked.
    pub counts_lds: bool,
    pub watches_global: bool,
    pub watches_unwritten: bool,
    pub launch: *const Launch<'static>,
    pub state: State,
    /// The block to run next.
    pub next: u32,
    /// Instructions that the wave may still execute.
    pub budget: i64,
    /// Number of the wave in its workgroup.
    pub number: u32,
    /// The lanes that it started with.
    pub started: u64,
    /// Of those, the ones that were off when the wave came to a barrier, if that is watched.
    pub missed: u64,
    pub watches_barriers: bool,
    /// The instruction of the barrier that it waits at.
    pub barrier: u32,
    pub raised: Option<Box<Raised>>,
}

impl Wave {
    /// The scalar in `slot`.
    ///
    /// # Safety
    /// `slot` is within the scalar file: lowering only makes such ones.
    #[inline(always)]
    pub unsafe fn scalar(&self, slot: u32) -> u32 {
        // SAFETY: the caller's promise.
        unsafe { *self.scalars.add(slot as usize) }
    }

    /// The scalar pair from `slot`.
    ///
    /// # Safety
    /// As for `scalar`, of both slots.
    #[inline(always)]
    pub unsafe fn scalar64(&self, slot: u32) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { u64::from(self.scalar(slot)) | u64::from(self.scalar(slot + 1)) << 32 }
    }

    /// # Safety
    /// As for `scalar`.
    #[inline(always)]
    pub unsafe fn set_scalar(&mut self, slot: u32, value: u32) {
        // SAFETY: the caller's promise.
        unsafe { *self.scalars.add(slot as usize) = value }
    }

    /// # Safety
    /// As for `scalar64`.
    #[inline(always)]
    pub unsafe fn set_scalar64(&mut self, slot: u32, value: u64) {
        // SAFETY: the caller's promise.
        unsafe {
            self.set_scalar(slot, value as u32);
            self.set_scalar(slot + 1, (value >> 32) as u32);
        }
    }

    /// The lanes of pass `pass` that are on.
    #[inline(always)]
    pub fn exec(&self, pass: usize) -> u32 {
        // SAFETY: EXEC is in every scalar file and there are at most two passes.
        unsafe { self.scalar(u32::from(slot::EXEC) + pass as u32) }
    }

    /// Whether all lanes are on.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.exec(0) == u32::MAX && (self.passes == 1 || self.exec(1) == u32::MAX)
    }

    /// The lane mask in `slot`: 32 or 64 bits by the wave's size.
    ///
    /// # Safety
    /// As for `scalar64`.
    #[inline(always)]
    pub unsafe fn mask(&self, slot: u32) -> u64 {
        // SAFETY: the caller's promise.
        unsafe {
            if self.passes == 1 {
                u64::from(self.scalar(slot))
            } else {
                self.scalar64(slot)
            }
        }
    }

    /// # Safety
    /// As for `scalar64`.
    #[inline(always)]
    pub unsafe fn set_mask(&mut self, slot: u32, value: u64) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.passes == 1 {
                self.set_scalar(slot, value as u32);
            } else {
                self.set_scalar64(slot, value);
            }
        }
    }

    pub fn exec_mask(&self) -> u64 {
        // SAFETY: EXEC is in every scalar file.
        unsafe { self.mask(u32::from(slot::EXEC)) }
    }

    /// The row at file offset `offset`, from pass `pass` on.
    ///
    /// # Safety
    /// The offset is one that lowering made for this program.
    #[inline(always)]
    pub unsafe fn row(&self, offset: u32, pass: usize) -> *mut u32 {
        // SAFETY: the caller's promise.
        unsafe { self.file.add(offset as usize + pass * LANES) }
    }

    /// The launch that the wave belongs to.
    #[inline(always)]
    pub fn launch(&self) -> &Launch<'static> {
        // SAFETY: `run` keeps the launch alive until every wave has ended.
        unsafe { &*self.launch }
    }

    /// Records a fault; the first one of a wave counts. The wave ends with its block.
    #[cold]
    pub fn raise(&mut self, op: &Op, lane: Option<u32>, kind: FaultKind) {
        self.state = State::Faulted;
        if self.raised.is_none() {
            self.raised = Some(Box::new(Raised {
                kind,
                instruction: op.instruction,
                lane,
            }));
        }
    }
}
