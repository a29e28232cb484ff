//! Where things lie in a wave's register file: vector registers, accumulation registers,
//! temporaries, constants, each a row of as many words as the wave has lanes.

use crate::decode::{Instruction, Place};

/// Temporary rows. The last two have fixed uses.
pub const TEMPORARIES: u32 = 14;
/// The row that DPP permutes into.
pub const DPP: u32 = TEMPORARIES;
/// Unused operands point here; nothing meaningful is in it.
const TRASH: u32 = TEMPORARIES + 1;
const ALL_TEMPORARIES: u32 = TEMPORARIES + 3;

#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Words of a row.
    pub stride: u32,
    vector: u32,
    accumulators: u32,
}

impl Layout {
    /// Room for every register that the instructions name.
    pub fn of(instructions: &[Instruction], wave_size: usize) -> Layout {
        let (mut vector, mut accumulators) = (1, 0);
        for operand in instructions
            .iter()
            .flat_map(|i| &i.parts)
            .flat_map(|part| &part.operands)
        {
            match operand.place {
                Place::Vector { index, count } => vector = vector.max(index + count),
                Place::Accumulator { index, count } => {
                    accumulators = accumulators.max(index + count)
                }
                _ => {}
            }
        }
        // v0 to v2 may hold work-item ids even if nothing reads them. Rows past the last register:
        // multi-register operands are read as named, and a destination may be wider than printed.
        Layout {
            stride: wave_size as u32,
            vector: u32::from(vector.max(3)) + 1,
            accumulators: u32::from(accumulators) + 1,
        }
    }

    pub fn vector(&self, index: u16) -> u32 {
        u32::from(index) * self.stride
    }

    pub fn accumulator(&self, index: u16) -> u32 {
        (self.vector + u32::from(index)) * self.stride
    }

    /// Rows of registers, which a wave starts with zeroed.
    pub fn registers(&self) -> u32 {
        self.vector + self.accumulators
    }

    pub fn temporary(&self, index: u32) -> u32 {
        (self.registers() + index) * self.stride
    }

    pub fn trash(&self) -> u32 {
        self.temporary(TRASH)
    }

    /// The first constant row (a row number, not an offset).
    pub fn first_constant(&self) -> u32 {
        self.registers() + ALL_TEMPORARIES
    }
}
