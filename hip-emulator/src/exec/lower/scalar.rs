//! Scalar instructions: ALU and loads.

use super::{Lowered, Lowering};
use crate::decode::{slot, Part, Place};
use crate::exec::float::f32_to_f16;
use crate::exec::memory::scalar;
use crate::exec::salu::{self, Width};

/// Scalar loads by name: dwords.
const LOADS: &[(&[&str], u8)] = &[
    (&["s_load_b32", "s_load_dword"], 1),
    (&["s_load_b64", "s_load_dwordx2"], 2),
    (&["s_load_b96"], 3),
    (&["s_load_b128", "s_load_dwordx4"], 4),
    (&["s_load_b256", "s_load_dwordx8"], 8),
    (&["s_load_b512", "s_load_dwordx16"], 16),
];

/// gfx12's loads of less than a dword: what `load_small` calls them.
const SMALL_LOADS: &[(&str, u32)] = &[
    ("s_load_u8", 1),
    ("s_load_i8", 2),
    ("s_load_u16", 3),
    ("s_load_i16", 4),
];

impl Lowering<'_> {
    /// The slot of a constant pair in the scalar file.
    fn scalar_constant(&mut self, low: u32, high: u32) -> u32 {
        let next = u32::from(slot::CONSTANTS) + self.scalar_constants.len() as u32;
        let at = *self.scalar_slots.entry((low, high)).or_insert(next);
        if at == next {
            self.scalar_constants.extend([low, high]);
        }
        at
    }

    /// The slot of operand `index` as a source of `words` words.
    pub(super) fn scalar_source(
        &mut self,
        part: &Part,
        index: usize,
        words: u16,
        signed: bool,
    ) -> Lowered<u32> {
        let operand = part.operands.get(index).ok_or("operand missing")?;
        if operand.negate || operand.absolute {
            return Err("scalar source with a modifier");
        }
        Ok(match operand.place {
            Place::Scalar { index, count } if count >= words || index == slot::SCC => {
                u32::from(index)
            }
            Place::Null => u32::from(slot::ZERO),
            Place::Integer(v) => self.scalar_constant(v as u32, (v >> 32) as u32),
            Place::Float(v) if words == 2 => {
                let bits = v.to_bits();
                self.scalar_constant(bits as u32, (bits >> 32) as u32)
            }
            // Inline constants of halves are halves.
            Place::Float(v) if part.name.ends_with("_f16") => {
                self.scalar_constant(f32_to_f16(v as f32), 0)
            }
            Place::Float(v) => self.scalar_constant((v as f32).to_bits(), 0),
            Place::Literal(b) => {
                self.scalar_constant(b, if signed { ((b as i32) >> 31) as u32 } else { 0 })
            }
            _ => return Err("operand is no scalar source"),
        })
    }

    pub(super) fn scalar(&mut self, part: &Part) -> Lowered<()> {
        let name = part.name.as_str();
        if name.starts_with("s_load_") {
            return self.scalar_load(part);
        }
        let mut op = self.op();
        if let Some(row) = salu::EXEC_ROWS.iter().find(|row| row.names.contains(&name)) {
            let words = if name.ends_with("b64") { 2 } else { 1 };
            // On a wave32, the 64-bit forms would touch EXEC's upper half.
            if words as u32 * 32 != self.layout.stride {
                return Err("mask width is not the wave's");
            }
            op.run = row.run;
            op.dst = self.scalar_destination(part, 0)?;
            op.src[0] = self.scalar_source(part, 1, words, false)?;
            self.emit(op);
            return Ok(());
        }
        if ["s_fmamk_f32", "s_fmaak_f32"].contains(&name) {
            op.run = salu::fused;
            op.dst = self.scalar_destination(part, 0)?;
            // Factor, factor and addend, in the order printed.
            for index in 0..3 {
                op.src[index] = self.scalar_source(part, index + 1, 1, false)?;
            }
            self.emit(op);
            return Ok(());
        }
        let row = salu::find(name).ok_or("no row")?;
        op.run = row.run;
        // The K forms have a 16-bit constant, the two-operand ones work on their destination.
        let is_k = name.starts_with("s_cmpk_")
            || [
                "s_addk_i32",
                "s_addk_co_i32",
                "s_mulk_i32",
                "s_movk_i32",
                "s_cmovk_i32",
            ]
            .contains(&name);
        let in_place = ["s_addk_i32", "s_addk_co_i32", "s_mulk_i32"].contains(&name);
        let mut next = 0;
        if row.dest != Width::None {
            op.dst = self.scalar_destination(part, 0)?;
            next = usize::from(!in_place);
        } else {
            op.dst = u32::from(slot::TRASH);
        }
        for index in 0..2 {
            let words = match row.sources[index] {
                Width::None => continue,
                Width::W32 => 1,
                Width::W64 => 2,
            };
            let last = next + 1 == part.operands.len();
            op.src[index] = if is_k && last {
                let value = match part.operands[next].place {
                    Place::Literal(bits) => i64::from(bits),
                    Place::Integer(v) => v,
                    _ => return Err("constant expected"),
                };
                let unsigned = name.starts_with("s_cmpk_") && name.ends_with("_u32");
                let bits = if unsigned {
                    u32::from(value as u16)
                } else {
                    i32::from(value as i16) as u32
                };
                self.scalar_constant(bits, 0)
            } else {
                self.scalar_source(part, next, words, row.signed[index])?
            };
            next += 1;
        }
        if next != part.operands.len() {
            return Err("operand count");
        }
        self.emit(op);
        Ok(())
    }

    fn scalar_load(&mut self, part: &Part) -> Lowered<()> {
        let name = part.name.as_str();
        let mut op = self.op();
        if let Some((_, count)) = LOADS.iter().find(|(names, _)| names.contains(&name)) {
            op.count = *count;
            op.run = scalar::load;
        } else {
            let (_, kind) = SMALL_LOADS
                .iter()
                .find(|(n, _)| *n == name)
                .ok_or("no row")?;
            op.mask = *kind;
            op.run = scalar::load_small;
        }
        let destination = part.operands.first().ok_or("operand missing")?;
        op.dst = match destination.place {
            Place::Scalar { index, count } if u32::from(count) >= u32::from(op.count) => {
                u32::from(index)
            }
            _ => return Err("destination of a scalar load"),
        };
        op.src[0] = self.scalar_source(part, 1, 2, false)?;
        op.src[1] = u32::from(slot::ZERO);
        op.imm = part.modifiers.number("offset").unwrap_or(0);
        match part.operands.get(2).map(|o| &o.place) {
            Some(Place::Scalar { index, .. }) => op.src[1] = u32::from(*index),
            Some(Place::Literal(bits)) => op.imm += i64::from(*bits),
            Some(Place::Integer(v)) => op.imm += *v,
            Some(Place::Null) | None => {}
            _ => return Err("offset of a scalar load"),
        }
        op.extra = self.cache_slot();
        self.emit(op);
        Ok(())
    }
}
