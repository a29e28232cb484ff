//! What a workgroup's memory accesses are watched for, beside being in bounds.
//!
//! LDS words are looked at in [`super::shadow`].
//!
//! With profiling on, the same hook counts bytes, cache lines and bank conflicts.

use super::lines::{Touched, LINE};
use super::program::Op;
use super::shadow::{Found, Shadow, SEVERAL};
use super::wave::Wave;
use super::word::LANES;
use crate::fault::{Access, FaultKind};
use crate::memory::Snapshot;

/// The checks that `HIP_EMULATOR_CHECK` names, on unless it says otherwise.
const NAMES: &[(&str, u8)] = &[
    ("lds-uninitialised", UNINITIALISED),
    ("lds-race", RACE),
    ("global-uninitialised", UNWRITTEN),
    ("divergent-barrier", BARRIER),
];
const ALL: u8 = UNINITIALISED | RACE | UNWRITTEN | BARRIER;
const UNINITIALISED: u8 = 1;
const RACE: u8 = 2;
const UNWRITTEN: u8 = 4;
const BARRIER: u8 = 8;

/// Banks of LDS, four bytes wide each, that one pass of 32 lanes can use at once.
const BANKS: usize = 32;

/// What is watched in a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    checks: u8,
    pub traffic: bool,
}

impl Watched {
    /// The checks that the environment asks for: all, or those of a comma-separated list (`none` is
    /// one without any). Names that are none are reported once by the runtime's settings.
    pub fn from_environment(traffic: bool) -> Watched {
        let checks = match std::env::var("HIP_EMULATOR_CHECK") {
            Ok(list) => parse(&list).unwrap_or(ALL),
            Err(_) => ALL,
        };
        Watched { checks, traffic }
    }

    pub fn lds(self) -> bool {
        self.lds_checks() || self.traffic
    }

    fn lds_checks(self) -> bool {
        self.checks & (UNINITIALISED | RACE) != 0
    }

    pub fn barriers(self) -> bool {
        self.checks & BARRIER != 0
    }

    pub fn unwritten(self) -> bool {
        self.checks & UNWRITTEN != 0
    }
}

/// The checks of a list such as `lds-race,lds-uninitialised`; the error is the name that is none.
fn parse(list: &str) -> Result<u8, String> {
    let mut checks = 0;
    for name in list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        match name {
            "all" => checks = ALL,
            "none" => checks = 0,
            _ => match NAMES.iter().find(|(known, _)| *known == name) {
                Some((_, bit)) => checks |= bit,
                None => return Err(name.to_string()),
            },
        }
    }
    Ok(checks)
}

/// The words of `HIP_EMULATOR_CHECK` that name no check, with what does.
pub fn unknown_check(list: &str) -> Option<String> {
    let wrong = parse(list).err()?;
    let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    Some(format!(
        "HIP_EMULATOR_CHECK names {wrong:?}; it takes all, none, or a list of {}",
        names.join(", ")
    ))
}

/// Memory traffic of a launch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    pub global_bytes_loaded: u64,
    pub global_bytes_stored: u64,
    /// Distinct 64-byte lines of each instruction and wave, summed.
    pub global_lines: u64,
    /// 64-byte lines that the launch loads from at least once, in bytes: what a card with caches for all of it would read
    /// from its memory. Scalar loads included, kernel arguments not. Known at the launch's end.
    pub distinct_bytes_loaded: u64,
    /// The same of stores.
    pub distinct_bytes_stored: u64,
    /// Passes of 32 banks that LDS accesses need beyond their first.
    pub lds_bank_conflicts: u64,
}

/// Shadow and counts of one workgroup at a time.
pub struct Watch {
    watched: Watched,
    pub shadow: Shadow,
    pub traffic: Traffic,
    pub touched: Touched,
}

impl Watch {
    pub fn new(watched: Watched, lds_size: u32, waves: usize) -> Watch {
        // A cell for each word, also of an LDS that ends within one.
        let words = if watched.lds_checks() {
            lds_size.div_ceil(4) as usize
        } else {
            0
        };
        let has = |check| watched.checks & check != 0;
        Watch {
            watched,
            shadow: Shadow::new(words, has(UNINITIALISED), has(RACE) && waves > 1),
            traffic: Traffic::default(),
            touched: Touched::default(),
        }
    }

    fn bank_conflicts(&mut self, exec: u32, offsets: &[u32; LANES], bytes: u32) {
        // Wide accesses go in groups of as many lanes as the banks serve.
        let words = bytes.div_ceil(4).next_power_of_two() as usize;
        for lanes in (0..LANES)
            .collect::<Vec<_>>()
            .chunks((BANKS / words).max(1))
        {
            let mut touched: Vec<u32> = lanes
                .iter()
                .filter(|lane| exec >> **lane & 1 != 0)
                .flat_map(|lane| (0..bytes.div_ceil(4)).map(move |i| offsets[*lane] / 4 + i))
                .collect();
            touched.sort_unstable();
            touched.dedup();
            let mut banks = [0u64; BANKS];
            for word in touched {
                banks[word as usize % BANKS] += 1;
            }
            let deepest = banks.into_iter().max().unwrap_or(0);
            self.traffic.lds_bank_conflicts += deepest.saturating_sub(1);
        }
    }
}

/// Looks at an LDS access whose pointers were checked. False after raising a fault.
///
/// # Safety
/// The wave's watch is its worker's and `pointers` of active lanes lie in its LDS.
pub unsafe fn lds(
    wave: &mut Wave,
    op: &Op,
    pass: usize,
    exec: u32,
    pointers: &[u64; LANES],
    (bytes, access): (u32, Access),
) -> bool {
    // SAFETY: the caller's promise; nothing else refers to the watch meanwhile.
    let watch = unsafe { &mut *wave.watch };
    let base = wave.lds as u64;
    if watch.watched.traffic {
        let offsets = pointers.map(|pointer| pointer.wrapping_sub(base) as u32);
        watch.bank_conflicts(exec, &offsets, bytes);
    }
    if !watch.watched.lds_checks() {
        return true;
    }
    let tag = wave.number as u8 + 1;
    let mut left = exec;
    let mut before = u64::MAX;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        // Neighbours often load the same word.
        if pointers[lane] == before && access == Access::Load {
            continue;
        }
        before = pointers[lane];
        let offset = pointers[lane] - base;
        for word in offset / 4..(offset + u64::from(bytes)).div_ceil(4) {
            let whole = bytes >= 4 && offset.is_multiple_of(4);
            if let Some(found) = watch.shadow.word(word as usize, tag, access, whole) {
                let what = match found {
                    Found::Uninitialised => format!(
                        "uninitialised read: {access} of LDS offset {:#x}, which this workgroup has not written",
                        word * 4
                    ),
                    Found::Race { with, store } => format!(
                        "LDS race: wave {} does a{} {access} of offset {:#x}, which {} {} since the last barrier",
                        wave.number,
                        if access == Access::Atomic { "n" } else { "" },
                        word * 4,
                        if with == SEVERAL { "several waves".to_string() } else { format!("wave {}", with - 1) },
                        if store { "stored to" } else { "loaded" },
                    ),
                };
                wave.raise(
                    op,
                    Some((lane + pass * LANES) as u32),
                    FaultKind::Illegal(what),
                );
                return false;
            }
        }
    }
    true
}

/// Counts a global access. Pointers into the wave's own LDS or scratch (flat, swizzled buffers) do
/// not count.
///
/// # Safety
/// As for [`lds`].
pub unsafe fn global(
    wave: &mut Wave,
    exec: u32,
    pointers: &[u64; LANES],
    (bytes, access): (u32, Access),
) {
    // SAFETY: as above.
    let watch = unsafe { &mut *wave.watch };
    let lanes = wave.stride as u64;
    let within =
        |pointer: u64, start: *mut u8, size: u64| pointer.wrapping_sub(start as u64) < size;
    let mut lines = [0u64; 2 * LANES];
    let mut count = 0;
    let mut left = exec;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        let pointer = pointers[lane];
        if within(pointer, wave.lds, u64::from(wave.lds_size))
            || within(pointer, wave.scratch, u64::from(wave.scratch_size) * lanes)
        {
            continue;
        }
        if access != Access::Store {
            watch.traffic.global_bytes_loaded += u64::from(bytes);
        }
        if access != Access::Load {
            watch.traffic.global_bytes_stored += u64::from(bytes);
        }
        for line in [pointer / LINE, (pointer + u64::from(bytes) - 1) / LINE] {
            lines[count] = line;
            count += 1;
        }
    }
    lines[..count].sort_unstable();
    let mut previous = None;
    for line in &lines[..count] {
        if previous != Some(*line) {
            watch.traffic.global_lines += 1;
            previous = Some(*line);
            touch(watch, wave.launch().memory, *line, access);
        }
    }
}

/// Notes a line that is touched, unless it is of the launch's own arguments.
fn touch(watch: &mut Watch, memory: &Snapshot, line: u64, access: Access) {
    if memory.is_argument(line * LINE) {
        return;
    }
    if access != Access::Store {
        watch.touched.load(line);
    }
    if access != Access::Load {
        watch.touched.store(line);
    }
}

/// Notes the lines of a scalar load of `bytes` bytes, not zero.
///
/// # Safety
/// The wave's watch is its worker's.
pub unsafe fn scalar(wave: &mut Wave, address: u64, bytes: u64) {
    // SAFETY: the caller's promise; nothing else refers to the watch meanwhile.
    let watch = unsafe { &mut *wave.watch };
    for line in address / LINE..=(address + bytes - 1) / LINE {
        touch(watch, wave.launch().memory, line, Access::Load);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_checks() {
        assert_eq!(parse("none"), Ok(0));
        assert_eq!(parse("lds-race"), Ok(RACE));
        assert_eq!(
            parse("lds-race, lds-uninitialised,global-uninitialised,divergent-barrier"),
            parse("all")
        );
        let error = unknown_check("lds-rase").unwrap();
        assert!(
            error.contains("lds-rase") && error.contains("lds-race"),
            "{error}"
        );
    }

    #[test]
    fn bank_conflicts_are_the_deepest_bank_less_one() {
        let watched = Watched {
            checks: 0,
            traffic: true,
        };
        let count = |stride: u32, bytes| {
            let mut watch = Watch::new(watched, 1 << 16, 1);
            let offsets = std::array::from_fn(|lane| lane as u32 * stride);
            watch.bank_conflicts(u32::MAX, &offsets, bytes);
            watch.traffic.lds_bank_conflicts
        };
        assert_eq!((count(4, 4), count(0, 4), count(8, 4)), (0, 0, 1));
        assert_eq!((count(128, 4), count(132, 4), count(16, 16)), (31, 0, 0));
    }
}
