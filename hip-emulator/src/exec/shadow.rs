//! What LDS words a workgroup has stored and loaded: a byte per word and kind of access, so that the cells of 32
//! neighbouring words are one vector.
//!
//! Time runs in *epochs*, the stretches between two barriers. Another wave's access of a word in the same epoch, one
//! of the two a store, is a race; a load of a word that the workgroup never wrote is an uninitialised read. Stores
//! of bytes and halves are left out of races, because neighbours in a word are not the same place; so are atomics
//! among themselves.
//!
//! [`Shadow::word`] is the rule. The other functions decide it for many words at once, as long as nothing is wrong;
//! if something may be, they say so, and `word` has the last word: what they had noted already stays right.

use crate::fault::Access;

/// Nobody: the word was never stored (or not loaded in this epoch).
const NONE: u8 = 0;
/// Several waves loaded the word in this epoch.
pub const SEVERAL: u8 = 0xff;
/// Stored, and no race with that is named: in an earlier epoch, by an atomic, or in part.
const SETTLED: u8 = 0xfe;

/// What is wrong with an access.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Uninitialised,
    /// With the wave of this tag, or [`SEVERAL`], which had stored or else loaded.
    Race {
        with: u8,
        store: bool,
    },
}

/// The cells of a workgroup's LDS. Waves are told apart by *tags*, their number plus one: at most 64.
pub struct Shadow {
    /// Uninitialised reads are looked for.
    unwritten: bool,
    /// Races are looked for, and there is more than one wave.
    races: bool,
    /// Anything happened in this epoch.
    touched: bool,
    /// Per word [`NONE`], [`SETTLED`], or the tag of the wave that stored it in this epoch.
    stored: Vec<u8>,
    /// Per word [`NONE`], [`SEVERAL`], or the tag of the only wave that loaded it in this epoch.
    loaded: Vec<u8>,
}

impl Shadow {
    pub fn new(words: usize, unwritten: bool, races: bool) -> Shadow {
        Shadow {
            unwritten,
            races,
            touched: false,
            stored: vec![NONE; words],
            loaded: vec![NONE; words],
        }
    }

    /// Forgets the last workgroup.
    pub fn start_group(&mut self) {
        self.stored.fill(NONE);
        self.loaded.fill(NONE);
    }

    /// Begins the next epoch.
    pub fn barrier(&mut self) {
        if self.races && std::mem::take(&mut self.touched) {
            for cell in &mut self.stored {
                *cell = if *cell == NONE { NONE } else { SETTLED };
            }
            self.loaded.fill(NONE);
        }
    }

    /// One word's access by the wave with the tag; `whole` if the access covers the word.
    pub fn word(&mut self, word: usize, tag: u8, access: Access, whole: bool) -> Option<Found> {
        self.touched = true;
        let (stored, loaded) = (self.stored[word], self.loaded[word]);
        let other = |seen: u8| self.races && ![NONE, SETTLED, tag].contains(&seen);
        if access != Access::Store && stored == NONE && self.unwritten {
            return Some(Found::Uninitialised);
        }
        if access != Access::Store || whole {
            let race = |with, store| Some(Found::Race { with, store });
            if other(stored) {
                return race(stored, true);
            }
            if access == Access::Store && other(loaded) {
                return race(loaded, false);
            }
        }
        match access {
            Access::Load => {
                self.loaded[word] = if loaded == NONE || loaded == tag {
                    tag
                } else {
                    SEVERAL
                };
            }
            Access::Store if whole => self.stored[word] = tag,
            _ => self.stored[word] = SETTLED,
        }
        None
    }

    /// A load of `N` words by the wave with the tag. False, and nothing noted, if something may be wrong.
    ///
    /// # Safety
    /// The words from `first` on are there.
    #[inline(always)]
    pub unsafe fn loads<const N: usize>(&mut self, first: usize, tag: u8) -> bool {
        debug_assert!(first + N <= self.stored.len());
        // SAFETY: the caller's promise.
        let (stored, loaded) = unsafe {
            (
                &*self.stored.as_ptr().add(first).cast::<[u8; N]>(),
                &mut *self.loaded.as_mut_ptr().add(first).cast::<[u8; N]>(),
            )
        };
        if self.races && known(loaded, tag) {
            return true;
        }
        if *stored != [SETTLED; N] && self.forbids_loads(stored, tag) {
            return false;
        }
        if self.races {
            self.touched = true;
            for cell in loaded {
                *cell = after_load(*cell, tag);
            }
        }
        true
    }

    /// Whether one of the cells says that a load of its word is wrong.
    #[inline(always)]
    fn forbids_loads(&self, stored: &[u8], tag: u8) -> bool {
        let mut wrong = false;
        for cell in stored {
            let other = (*cell != NONE) & (*cell != SETTLED) & (*cell != tag);
            wrong |= (self.unwritten & (*cell == NONE)) | (self.races & other);
        }
        wrong
    }

    /// A load of `N` words by each of many lanes, from the words of `firsts` on. False if something may be wrong; what was
    /// noted until then stays right.
    ///
    /// # Safety
    /// As for `loads`, of each.
    #[inline(always)]
    pub unsafe fn loads_of_lanes<const N: usize, const LANES: usize>(
        &mut self,
        firsts: &[u32; LANES],
        tag: u8,
    ) -> bool {
        // SAFETY: the caller's promise; there are as many cells of both kinds.
        unsafe {
            // Nearly always what one lane finds all do, and that is seen without a branch for each.
            if self.races {
                if let Some(loaded) = alike::<N, LANES>(&self.loaded, firsts) {
                    if known(&loaded, tag) {
                        return true;
                    }
                }
            } else if let Some(stored) = alike::<N, LANES>(&self.stored, firsts) {
                return !self.forbids_loads(&stored, tag);
            }
            let mut before = u32::MAX;
            for first in firsts {
                // Neighbours often load the same words.
                if *first != before && !self.loads::<N>(*first as usize, tag) {
                    return false;
                }
                before = *first;
            }
        }
        true
    }

    /// A store of `N` whole words by each of many lanes, as [`Shadow::loads_of_lanes`].
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub unsafe fn stores_of_lanes<const N: usize, const LANES: usize>(
        &mut self,
        firsts: &[u32; LANES],
        tag: u8,
    ) -> bool {
        // SAFETY: the caller's promise; there are as many cells of both kinds.
        unsafe {
            let free = !self.races
                || {
                    let stored = alike::<N, LANES>(&self.stored, firsts);
                    let loaded = alike::<N, LANES>(&self.loaded, firsts);
                    matches!((stored, loaded), (Some(stored), Some(loaded)) if !forbid_stores(&stored, &loaded, tag))
                };
            if free {
                self.touched = true;
                for first in firsts {
                    *self
                        .stored
                        .as_mut_ptr()
                        .add(*first as usize)
                        .cast::<[u8; N]>() = [tag; N];
                }
                return true;
            }
            firsts
                .iter()
                .all(|first| self.stores::<N>(*first as usize, tag))
        }
    }

    /// A store of `N` whole words. False, and nothing noted, if something may be wrong.
    ///
    /// # Safety
    /// As for `loads`.
    #[inline(always)]
    pub unsafe fn stores<const N: usize>(&mut self, first: usize, tag: u8) -> bool {
        debug_assert!(first + N <= self.stored.len());
        // SAFETY: the caller's promise.
        let (stored, loaded) = unsafe {
            (
                &mut *self.stored.as_mut_ptr().add(first).cast::<[u8; N]>(),
                &*self.loaded.as_ptr().add(first).cast::<[u8; N]>(),
            )
        };
        if self.races {
            self.touched = true;
            if forbid_stores(stored, loaded, tag) {
                return false;
            }
        }
        *stored = [tag; N];
        true
    }
}

/// Whether all the words were loaded in this epoch, by this very wave or by several: had another wave stored one of them
/// before or since, that would have been the race.
#[inline(always)]
fn known(loaded: &[u8], tag: u8) -> bool {
    let mut other = false;
    for cell in loaded {
        other |= (*cell != tag) & (*cell != SEVERAL);
    }
    !other
}

/// What a load makes of a word's `loaded` cell.
#[inline(always)]
fn after_load(cell: u8, tag: u8) -> u8 {
    if cell == NONE || cell == tag {
        tag
    } else {
        SEVERAL
    }
}

/// Whether one of the words' cells says that storing is a race.
#[inline(always)]
fn forbid_stores(stored: &[u8], loaded: &[u8], tag: u8) -> bool {
    let mut wrong = false;
    for (stored, loaded) in stored.iter().zip(loaded) {
        wrong |= (*stored != NONE) & (*stored != SETTLED) & (*stored != tag);
        wrong |= (*loaded != NONE) & (*loaded != tag);
    }
    wrong
}

/// The `N` cells from each of `firsts` on, if all of these find the same.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn alike<const N: usize, const LANES: usize>(
    cells: &[u8],
    firsts: &[u32; LANES],
) -> Option<[u8; N]> {
    // SAFETY: the caller's promise.
    let cells = |first: u32| unsafe { *cells.as_ptr().add(first as usize).cast::<[u8; N]>() };
    let bits = |cells: [u8; N]| {
        let mut word = [0; 4];
        word[..N].copy_from_slice(&cells);
        u32::from_ne_bytes(word)
    };
    let one = cells(firsts[0]);
    let mut difference = 0;
    for first in firsts {
        difference |= bits(cells(*first)) ^ bits(one);
    }
    (difference == 0).then_some(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: usize = 64;

    /// What `loads` and `stores` let through is what `word` finds nothing wrong with, and both leave the same cells.
    #[test]
    fn many_words_at_once_are_word_by_word() {
        let mut state = 7u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        for round in 0..64 {
            let (unwritten, races) = (round & 1 != 0, round & 2 != 0);
            let mut fast = Shadow::new(WORDS, unwritten, races);
            let mut slow = Shadow::new(WORDS, unwritten, races);
            let mut found = 0;
            for _ in 0..2000 {
                let tag = random(3) as u8 + 1;
                let access = [Access::Load, Access::Store][random(2) as usize];
                // Few words, so that waves meet; once in a while a barrier, a partial store or an atomic.
                let first = random(8) as usize * 4;
                match random(40) {
                    0 => {
                        fast.barrier();
                        slow.barrier();
                        continue;
                    }
                    1 => {
                        let access = [Access::Atomic, Access::Store][random(2) as usize];
                        assert_eq!(
                            fast.word(first, tag, access, false),
                            slow.word(first, tag, access, false)
                        );
                        continue;
                    }
                    _ => {}
                }
                let (wide, lanes) = (random(2) == 1, random(2) == 1);
                let pairs = [0, 2, 2].map(|i| first as u32 + i);
                // SAFETY: both have 64 words.
                let fine = unsafe {
                    match (access, wide) {
                        (Access::Load, false) if lanes => fast.loads_of_lanes::<2, 3>(&pairs, tag),
                        (Access::Load, false) => fast.loads::<4>(first, tag),
                        (Access::Load, true) => fast.loads::<32>(first, tag),
                        (_, false) if lanes => fast.stores_of_lanes::<2, 3>(&pairs, tag),
                        (_, false) => fast.stores::<4>(first, tag),
                        (_, true) => fast.stores::<32>(first, tag),
                    }
                };
                let words = first..first + if wide { 32 } else { 4 };
                let wrong: Vec<Found> = words
                    .clone()
                    .filter_map(|word| slow.word(word, tag, access, true))
                    .collect();
                if !fine {
                    let again = words.filter_map(|word| fast.word(word, tag, access, true));
                    assert_eq!(again.collect::<Vec<_>>(), wrong);
                    found += 1;
                } else {
                    assert_eq!(wrong, []);
                }
                assert_eq!(fast.stored, slow.stored);
                if races {
                    assert_eq!(fast.loaded, slow.loaded);
                }
            }
            assert_eq!(found > 0, races || unwritten, "round {round}");
        }
    }
}
