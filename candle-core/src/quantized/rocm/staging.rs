//! Host memory on its way to the device: a ring of page-locked buffers, so that filling one (from a file, say)
//! overlaps with the copy of another, and no tensor needs a second copy of itself on the host.
use crate::rocm_backend::hip::{DevicePtr, Event, PinnedMemory};
use crate::rocm_backend::OrRocm;
use crate::{DeviceLocation, Result, RocmDevice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Bytes of one buffer: long enough for a copy at the bus's full speed.
const BUFFER: usize = 4 << 20;
/// Two overlap; a third keeps the bus busy while a read stalls.
const BUFFERS: usize = 3;

/// The most page-locked memory that uploads to one device use, whatever the tensor's size.
pub const STAGING_BYTES: usize = BUFFER * BUFFERS;

struct Slot {
    // Dropped first: HIP waits for its copies before it unlocks the pages.
    memory: PinnedMemory,
    /// Marks the end of the copy that last read this buffer.
    done: Event,
    in_flight: bool,
}

#[derive(Default)]
struct Ring {
    slots: Vec<Slot>,
    next: usize,
}

/// A device's ring. Page-locking costs more than a copy, so every tensor that came through it keeps it.
#[derive(Default)]
pub(super) struct Staging(Mutex<Ring>);

impl std::fmt::Debug for Staging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Staging")
    }
}

/// The rings in use, by device.
static RINGS: Mutex<Vec<(usize, Weak<Staging>)>> = Mutex::new(Vec::new());

/// A poisoned lock guards memory whose content is overwritten anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of a device, as HIP counts.
fn ordinal(device: &RocmDevice) -> usize {
    use crate::backend::BackendDevice;
    match device.location() {
        DeviceLocation::Rocm { gpu_id } => gpu_id,
        // A rocm device has no other location.
        _ => 0,
    }
}

impl Staging {
    /// The device's ring.
    pub(super) fn of(device: &RocmDevice) -> Arc<Self> {
        let ordinal = ordinal(device);
        let mut rings = lock(&RINGS);
        rings.retain(|(_, ring)| ring.strong_count() > 0);
        let used = rings.iter().find(|(of, _)| *of == ordinal);
        if let Some(ring) = used.and_then(|(_, ring)| ring.upgrade()) {
            return ring;
        }
        let ring = Arc::<Self>::default();
        rings.push((ordinal, Arc::downgrade(&ring)));
        ring
    }
}

impl Ring {
    /// The next buffer, once the copy that last read it has ended.
    fn take(&mut self, device: &RocmDevice) -> Result<&mut Slot> {
        if self.slots.len() < BUFFERS {
            let hip = device.stream().device();
            self.slots.push(Slot {
                memory: PinnedMemory::new(hip, BUFFER).rocm()?,
                done: Event::new(hip).rocm()?,
                in_flight: false,
            });
            self.next = self.slots.len() - 1;
        }
        let at = self.next;
        self.next = (at + 1) % BUFFERS;
        let slot = &mut self.slots[at];
        if slot.in_flight {
            slot.done.synchronize().rocm()?;
            slot.in_flight = false;
        }
        Ok(slot)
    }
}

impl Staging {
    /// Enqueues copies of `len` bytes to `to`. `fill` is asked for them a stretch at a time, in order, and has to
    /// write all of it. The copies run behind everything enqueued so far; nothing waits for the last ones.
    ///
    /// # Safety
    /// `to` is the address of `len` bytes that are not given back before the device's stream has passed this point.
    pub(super) unsafe fn upload(
        &self,
        device: &RocmDevice,
        to: DevicePtr,
        len: usize,
        mut fill: impl FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        if device.is_recording() {
            crate::bail!(
                "rocm: weights cannot be uploaded while a graph is recorded: load them before"
            )
        }
        let mut ring = lock(&self.0);
        for start in (0..len).step_by(BUFFER) {
            let slot = ring.take(device)?;
            let stretch = BUFFER.min(len - start);
            fill(&mut slot.memory[..stretch])?;
            let stream = device.queue();
            // From here on the buffer belongs to the copy, even if recording its end fails.
            slot.in_flight = true;
            // SAFETY: the caller's promise for the destination; the buffer is written next after `done`.
            unsafe { stream.copy_to_device(to.offset(start), &slot.memory[..stretch]) }.rocm()?;
            slot.done.record(&stream).rocm()?;
        }
        Ok(())
    }
}
