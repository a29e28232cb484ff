//! Bad input that only a kernel can see: an index out of range, a division by zero.
//!
//! The kernel leaves the element out and writes one record into pinned host memory; the first to find something does,
//! decided by a word in device memory. Whoever waits for the device next finds the record by reading host memory: a
//! run without faults costs neither a copy nor a launch. Results reach the host only by waiting, so no wrong number
//! gets there without the error.
use super::error::{OrRocm, RocmError};
use super::RocmDevice;
use crate::Result;
use candle_hip::{DeviceMemory, DevicePtr, KernelArg, PinnedMemory};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The operations that report faults. Zero means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum FaultyOp {
    IndexSelect = 1,
    Gather,
    Scatter,
    ScatterAdd,
    IndexAdd,
    Divide,
    Embedding,
    Experts,
}

impl FaultyOp {
    const ALL: [FaultyOp; 8] = [
        FaultyOp::IndexSelect,
        FaultyOp::Gather,
        FaultyOp::Scatter,
        FaultyOp::ScatterAdd,
        FaultyOp::IndexAdd,
        FaultyOp::Divide,
        FaultyOp::Embedding,
        FaultyOp::Experts,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            FaultyOp::IndexSelect => "index-select",
            FaultyOp::Gather => "gather",
            FaultyOp::Scatter => "scatter",
            FaultyOp::ScatterAdd => "scatter-add",
            FaultyOp::IndexAdd => "index-add",
            FaultyOp::Divide => "div",
            FaultyOp::Embedding => "quantized-embedding",
            FaultyOp::Experts => "mixture of experts",
        }
    }
}

/// `FaultReport` of candle-kernels' fault.h.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct FaultReport {
    claimed: DevicePtr,
    record: DevicePtr,
    op: u64,
}

// SAFETY: `repr(C)`: two pointers and a 64-bit number, as in fault.h. The record lies in pinned memory, which the
// device may write.
unsafe impl KernelArg for FaultReport {}

/// `FaultRecord` of fault.h: index, size, operation.
const RECORD_WORDS: usize = 3;
const OP: usize = 2;

struct Memory {
    claimed: DeviceMemory,
    /// The pinned record. Only reached through this pointer, since the device writes there at any time.
    record: *mut u64,
    _pinned: PinnedMemory,
}

// SAFETY: `record` points into `_pinned`, which belongs to no thread; access is volatile.
unsafe impl Send for Memory {}
// SAFETY: as above; `Faults::check` takes and clears a record under a lock.
unsafe impl Sync for Memory {}

/// A device's place for fault records, made when the first operation that can report one is launched.
#[derive(Default)]
pub(super) struct Faults {
    memory: OnceLock<Memory>,
    taking: Mutex<()>,
}

impl Faults {
    fn memory(&self, device: &RocmDevice) -> Result<&Memory> {
        if let Some(memory) = self.memory.get() {
            return Ok(memory);
        }
        let hip = &device.inner.hip;
        let mut pinned = PinnedMemory::new(hip, RECORD_WORDS * 8).rocm()?;
        let mut claimed = DeviceMemory::new(hip, 4).rocm()?;
        claimed.fill(&device.queue(), 0, 4, 0).rocm()?;
        let record = pinned.as_mut_ptr().cast();
        // Another thread may have been first; then this one's memory goes again.
        let _ = self.memory.set(Memory {
            claimed,
            record,
            _pinned: pinned,
        });
        let lost = || RocmError::from("the memory for fault records is gone".to_string());
        self.memory.get().ok_or_else(lost).rocm()
    }
}

impl RocmDevice {
    /// What a kernel that can meet bad input gets to report it.
    pub(crate) fn fault_report(&self, op: FaultyOp) -> Result<FaultReport> {
        let memory = self.inner.faults.memory(self)?;
        Ok(FaultReport {
            claimed: memory.claimed.ptr(),
            record: DevicePtr::from_raw(memory.record as u64),
            op: op as u64,
        })
    }

    /// The error of a kernel that met bad input since the last call, if one did. To be called after waiting for the
    /// device.
    pub(super) fn check_faults(&self) -> Result<()> {
        let faults = &self.inner.faults;
        let Some(memory) = faults.memory.get() else {
            return Ok(());
        };
        // SAFETY: the record is live, aligned (pinned memory is page-aligned) and written by the device only.
        let word = |i: usize| unsafe { memory.record.add(i).read_volatile() };
        if word(OP) == 0 {
            return Ok(());
        }
        let _taking = faults.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let (index, size, number) = (word(0) as i64, word(1), word(OP));
        let Some(op) = FaultyOp::ALL.into_iter().find(|op| *op as u64 == number) else {
            return Ok(());
        };
        // SAFETY: as above; until `claimed` is zero again no kernel writes here.
        unsafe { memory.record.add(OP).write_volatile(0) };
        // SAFETY: the four bytes of `claimed`.
        unsafe { self.queue().fill_u8(memory.claimed.ptr(), 0, 4) }.rocm()?;
        let op_name = op.name();
        Err(match op {
            FaultyOp::Divide => RocmError::DivisionByZero { op: op_name },
            _ => RocmError::InvalidIndex {
                op: op_name,
                index,
                size,
            },
        })
        .rocm()
    }
}
