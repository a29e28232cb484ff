//! Files with something wrong by chance, the same ones in every run.

/// splitmix64 (Steele, Lea, Flood 2014): every seed gives a sequence of its own.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, or 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Numbers at which sizes, counts and offsets go wrong.
const NUMBERS: &[u64] = &[
    0,
    1,
    2,
    4,
    5,
    9,
    31,
    32,
    33,
    255,
    256,
    1 << 16,
    (1 << 30) - 1,
    1 << 30,
    i32::MAX as u64,
    1 << 31,
    u32::MAX as u64,
    1 << 32,
    1 << 61,
    1 << 62,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// `file` with one to four changes.
pub fn mutate(file: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(8) {
            0 => bytes.truncate(at),
            1 => {
                let end = (at + 1 + dice.below(16)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            2 => {
                let end = (at + 1 + dice.below(64)).min(bytes.len());
                let again = bytes[at.min(end)..end].to_vec();
                let to = dice.below(bytes.len() + 1);
                bytes.splice(to..to, again);
            }
            3 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            4 if !bytes.is_empty() => bytes[at] = dice.next() as u8,
            // Most fields are numbers of four or eight bytes, and most are near the head.
            width => {
                let number = NUMBERS[dice.below(NUMBERS.len())].to_le_bytes();
                let near = dice.below(bytes.len()) * dice.below(100) / 100;
                let width = if width % 2 == 0 { 4 } else { 8 };
                for (byte, new) in bytes.iter_mut().skip(near).zip(&number[..width]) {
                    *byte = *new;
                }
            }
        }
    }
    bytes
}
