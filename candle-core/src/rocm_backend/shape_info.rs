//! Shapes and strides on the device, found again by their content.
//!
//! The translated CUDA kernels read dimensions and strides from device memory. A model uses the same few layouts over
//! and over, so each is copied once and kept: a launch costs a look-up, neither an allocation nor a copy.
use super::allocator::Block;
use candle_hip::DevicePtr;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// A growing KV cache brings new layouts with every token; beyond this many the cache starts anew.
const MOST_ENTRIES: usize = 4096;

type Entries = HashMap<Box<[usize]>, Block>;

#[derive(Default)]
pub(super) struct ShapeInfoCache {
    entries: RwLock<Entries>,
}

/// Words on the device. While this is held nothing is evicted, so keep it until the launch is enqueued.
pub(super) struct ShapeInfo<'a> {
    pub(super) ptr: DevicePtr,
    _entries: RwLockReadGuard<'a, Entries>,
}

impl ShapeInfoCache {
    /// The address of `words` on the device. `upload` brings them there the first time, `release` takes back what
    /// is evicted; both are ordered with the launches of the device.
    pub(super) fn get<E>(
        &self,
        words: &[usize],
        upload: impl Fn() -> Result<Block, E>,
        release: impl Fn(Block),
    ) -> Result<ShapeInfo<'_>, E> {
        loop {
            let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(block) = entries.get(words) {
                return Ok(ShapeInfo {
                    ptr: block.ptr,
                    _entries: entries,
                });
            }
            drop(entries);
            let block = upload()?;
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            if entries.len() >= MOST_ENTRIES {
                entries.drain().for_each(|(_, block)| release(block));
            }
            // Another thread may have been first: its entry may be in use already, so the newcomer goes.
            match entries.contains_key(words) {
                true => release(block),
                false => drop(entries.insert(words.into(), block)),
            }
        }
    }

    /// Takes every block out, for a device that is going away.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Block> + '_ {
        let entries = self
            .entries
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        entries.drain().map(|(_, block)| block)
    }
}
