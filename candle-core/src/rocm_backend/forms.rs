//! What kernels have made of a storage's elements, kept with the storage so that it is made once.
//!
//! The products of a quantized model read their activations as int8 (quantized/rocm/own.rs), and several read the same
//! ones: queries, keys and values; gate and up; the experts. The first makes this form, the others find it here.
//!
//! A form is true as long as the elements are what they were. Whoever may change them has the storage as `&mut` and takes
//! it by [`RocmStorage::changing`](super::RocmStorage::changing), which drops the form; what is enqueued on the device's
//! one stream until then still reads the old one.
//!
//! A conversion to a type that has every number of the elements' own hands the form on: int8 of the same numbers.
//!
//! A launch of a graph changes elements of tensors that nobody has as `&mut`; and what is recorded must hold at every
//! launch, whatever was made before. So all forms end with a recording's begin and end, and with each launch: [`forget_all`].
use super::RocmBuffer;
use crate::Result;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Forms of another epoch than this are of the past.
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// Ends all forms that were made so far.
pub(super) fn forget_all() {
    EPOCH.fetch_add(1, Ordering::AcqRel);
}

/// The stretch of a storage that a form was made of: `rows` rows of `columns` elements, side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Number of its first element.
    pub(crate) start: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

#[derive(Debug)]
struct Form {
    made_of: Stretch,
    epoch: u64,
    buffer: Arc<RocmBuffer>,
}

/// The form that was made last; it lives as long as the storage at most.
#[derive(Debug, Default)]
pub(super) struct Forms {
    last: Mutex<Option<Form>>,
}

impl Forms {
    /// The form of `stretch`, from `make` unless it is the one that was made last. Threads that come at the same time may make
    /// it each for itself: `make` waits while a graph is recorded, whose thread may want this lock.
    pub(super) fn get_or_make(
        &self,
        stretch: Stretch,
        make: impl FnOnce() -> Result<RocmBuffer>,
    ) -> Result<Arc<RocmBuffer>> {
        let epoch = EPOCH.load(Ordering::Acquire);
        if let Some(form) = &*self.last() {
            if form.made_of == stretch && form.epoch == epoch {
                return Ok(form.buffer.clone());
            }
        }
        let buffer = Arc::new(make()?);
        let form = Form {
            made_of: stretch,
            epoch,
            buffer: buffer.clone(),
        };
        let former = self.last().replace(form);
        drop(former);
        Ok(buffer)
    }

    /// Leaves the form, where it is that of the `count` elements from `start` on, with a storage that holds the same numbers
    /// from its first element on.
    pub(super) fn hand_on(&self, start: usize, count: usize, to: &mut Self) {
        let last = self.last();
        let Some(form) = &*last else { return };
        let Stretch { rows, columns, .. } = form.made_of;
        let all = (form.made_of.start, rows * columns) == (start, count);
        if all && form.epoch == EPOCH.load(Ordering::Acquire) {
            let made_of = Stretch {
                start: 0,
                rows,
                columns,
            };
            to.set(made_of, form.epoch, form.buffer.clone());
        }
    }

    /// A form that whoever has just written the elements made of them.
    pub(super) fn put(&mut self, made_of: Stretch, buffer: RocmBuffer) {
        self.set(made_of, EPOCH.load(Ordering::Acquire), Arc::new(buffer));
    }

    fn set(&mut self, made_of: Stretch, epoch: u64, buffer: Arc<RocmBuffer>) {
        let form = Form {
            made_of,
            epoch,
            buffer,
        };
        *self.last.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(form);
    }

    /// A poisoned lock means that a thread panicked while it looked: the form is whole all the same.
    fn last(&self) -> MutexGuard<'_, Option<Form>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clear(&mut self) {
        *self.last.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
