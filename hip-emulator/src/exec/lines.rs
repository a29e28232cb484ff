//! The lines of memory that a launch touches, each counted once: what has to come from or go to the card's memory however
//! well its caches work.

use std::collections::HashMap;

/// Bytes of a cache line, as counted.
pub const LINE: u64 = 64;
/// Lines of a chunk, which one bitmap of 512 bytes stands for: 256 KiB of memory.
const CHUNK: u64 = 4096;
const WORDS: usize = (CHUNK / 64) as usize;

/// A set of lines by their addresses. It takes a 512th of the memory that was touched.
#[derive(Default)]
struct Lines {
    /// Place in `bitmaps` by the number of the chunk.
    chunks: HashMap<u64, usize>,
    bitmaps: Vec<[u64; WORDS]>,
    /// The chunk asked for last: accesses mostly stay in one for a while.
    last: Option<(u64, usize)>,
}

impl Lines {
    fn bitmap(&mut self, chunk: u64) -> &mut [u64; WORDS] {
        let place = match self.last {
            Some((last, place)) if last == chunk => place,
            _ => {
                let next = self.bitmaps.len();
                let place = *self.chunks.entry(chunk).or_insert(next);
                if place == next {
                    self.bitmaps.push([0; WORDS]);
                }
                self.last = Some((chunk, place));
                place
            }
        };
        &mut self.bitmaps[place]
    }

    fn insert(&mut self, line: u64) {
        let within = line % CHUNK;
        self.bitmap(line / CHUNK)[(within / 64) as usize] |= 1 << (within % 64);
    }

    fn merge(&mut self, other: &Lines) {
        for (chunk, place) in &other.chunks {
            let mine = self.bitmap(*chunk).iter_mut();
            for (word, more) in mine.zip(&other.bitmaps[*place]) {
                *word |= more;
            }
        }
    }

    fn count(&self) -> u64 {
        let words = self.bitmaps.iter().flatten();
        words.map(|word| u64::from(word.count_ones())).sum()
    }
}

/// Lines that were loaded and lines that were stored, apart.
#[derive(Default)]
pub struct Touched {
    loaded: Lines,
    stored: Lines,
}

impl Touched {
    /// Notes the line with the number `line`: its address divided by [`LINE`].
    pub fn load(&mut self, line: u64) {
        self.loaded.insert(line);
    }

    /// As [`Touched::load`].
    pub fn store(&mut self, line: u64) {
        self.stored.insert(line);
    }

    /// Adds what another thread's part of the launch touched.
    pub fn merge(&mut self, other: &Touched) {
        self.loaded.merge(&other.loaded);
        self.stored.merge(&other.stored);
    }

    /// Bytes of the lines that were loaded.
    pub fn bytes_loaded(&self) -> u64 {
        self.loaded.count() * LINE
    }

    /// Bytes of the lines that were stored.
    pub fn bytes_stored(&self) -> u64 {
        self.stored.count() * LINE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_counts_once_also_after_merging() {
        let (mut one, mut other) = (Touched::default(), Touched::default());
        // Two chunks far apart, both sides of a chunk's end, one line twice.
        for line in [0, CHUNK - 1, CHUNK, 0, 1 << 40] {
            one.load(line);
        }
        assert_eq!((one.bytes_loaded(), one.bytes_stored()), (4 * LINE, 0));
        other.load(CHUNK);
        other.load(3 * CHUNK + 65);
        other.store(0);
        one.merge(&other);
        assert_eq!((one.bytes_loaded(), one.bytes_stored()), (5 * LINE, LINE));
        one.merge(&Touched::default());
        assert_eq!((one.bytes_loaded(), one.bytes_stored()), (5 * LINE, LINE));
    }
}
