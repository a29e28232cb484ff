//! Sources of vector operations: rows, broadcasts, constants and their modifiers.

use super::{Lowered, Lowering};
use crate::decode::{slot, Encoding, Operand, Part, Place};
use crate::exec::float::f32_to_f16;
use crate::exec::prep;
use crate::exec::word::Kind;

/// Bits of a source's sign, by kind.
fn sign_bit(kind: Kind) -> Option<u32> {
    match kind {
        Kind::F32 | Kind::B32 | Kind::Mix | Kind::F64 => Some(1 << 31),
        Kind::F16 | Kind::U16 => Some(1 << 15),
        _ => None,
    }
}

/// SDWA's selection as (shift, bits).
pub(super) fn selection(text: &str) -> Option<(u32, u32)> {
    Some(match text {
        "DWORD" => (0, 32),
        "WORD_0" => (0, 16),
        "WORD_1" => (16, 16),
        "BYTE_0" => (0, 8),
        "BYTE_1" => (8, 8),
        "BYTE_2" => (16, 8),
        "BYTE_3" => (24, 8),
        _ => return None,
    })
}

impl Lowering<'_> {
    /// A row (or two) holding a constant in every lane.
    pub(super) fn constant(&mut self, low: u32, high: Option<u32>) -> u32 {
        if let Some(offset) = self.constant_rows.get(&(low, high)) {
            return *offset;
        }
        let offset =
            (self.layout.first_constant() + self.constants.len() as u32) * self.layout.stride;
        self.constants.push(low);
        self.constants.extend(high);
        self.constant_rows.insert((low, high), offset);
        offset
    }

    /// The words of a constant operand of type `kind`.
    fn constant_words(place: &Place, kind: Kind) -> Option<(u32, Option<u32>)> {
        let wide = |bits: u64| (bits as u32, Some((bits >> 32) as u32));
        let two_rows = kind.rows() == 2;
        Some(match (place, kind) {
            (Place::Integer(v), Kind::PkF32) => (*v as u32, Some(*v as u32)),
            (Place::Integer(v), _) if two_rows => wide(*v as u64),
            (Place::Integer(v), _) => (*v as u32, None),
            (Place::Float(v), Kind::PkF32) => ((*v as f32).to_bits(), Some((*v as f32).to_bits())),
            (Place::Float(v), _) if two_rows => wide(v.to_bits()),
            (Place::Float(v), k) if k.is_16() || k == Kind::PkF16 => (f32_to_f16(*v as f32), None),
            (Place::Float(v), _) => ((*v as f32).to_bits(), None),
            // A literal is the upper half of a double, and extended like its type otherwise.
            (Place::Literal(b), Kind::F64) => (0, Some(*b)),
            (Place::Literal(b), Kind::I64) => wide(*b as i32 as i64 as u64),
            (Place::Literal(b), Kind::U64) => (*b, Some(0)),
            (Place::Literal(b), Kind::PkF32) => (*b, Some(*b)),
            (Place::Literal(b), _) => (*b, None),
            (Place::Null, _) if two_rows => (0, Some(0)),
            (Place::Null, _) => (0, None),
            _ => return None,
        })
    }

    /// The file offset of a register operand, if it is one.
    pub(super) fn register(&self, operand: &Operand) -> Option<u32> {
        match operand.place {
            Place::Vector { index, .. } => Some(self.layout.vector(index)),
            Place::Accumulator { index, .. } => Some(self.layout.accumulator(index)),
            _ => None,
        }
    }

    /// A row with the operand as it is, without modifiers.
    pub(super) fn plain_source(&mut self, operand: &Operand, kind: Kind) -> Lowered<u32> {
        if let Some(offset) = self.register(operand) {
            return Ok(offset);
        }
        if let Place::Scalar { index, count } = operand.place {
            let rows = kind.rows() as u32;
            let to = self.temporary(rows)?;
            for row in 0..rows {
                // A 32-bit scalar where 64 bits are wanted would be a decoding mistake.
                if row >= u32::from(count) && index != slot::SCC {
                    return Err("scalar is too narrow");
                }
                self.prepare(
                    prep::broadcast::LEVELS,
                    u32::from(index) + row,
                    to + row * self.layout.stride,
                    0,
                );
            }
            return Ok(to);
        }
        let (low, high) =
            Self::constant_words(&operand.place, kind).ok_or("operand is no source")?;
        Ok(self.constant(low, high))
    }

    /// A lane mask, expanded to a row.
    pub(super) fn mask_source(&mut self, operand: Option<&Operand>) -> Lowered<u32> {
        let from = match operand.map(|o| &o.place) {
            None => u32::from(slot::VCC),
            Some(Place::Scalar { index, .. }) => u32::from(*index),
            Some(Place::Integer(0) | Place::Null) => u32::from(slot::ZERO),
            Some(Place::Integer(-1)) => return Ok(self.constant(u32::MAX, None)),
            _ => return Err("mask is no scalar"),
        };
        let to = self.temporary(1)?;
        self.prepare(prep::expand_mask::LEVELS, from, to, 0);
        Ok(to)
    }

    /// Source `index` of `part`, with its modifiers, as rows that an operation of type `kind` reads.
    pub(super) fn source(
        &mut self,
        part: &Part,
        operand: &Operand,
        index: usize,
        kind: Kind,
    ) -> Lowered<u32> {
        if kind == Kind::Mask {
            return self.mask_source(Some(operand));
        }
        let stride = self.layout.stride;
        let bit = |key: &str, default: u32| part.modifiers.bits(key, default) >> index & 1;
        let mut at = if part.encoding == Encoding::Dpp && index == 0 {
            if kind.rows() != 1 {
                return Err("DPP of 64 bits");
            }
            self.layout.temporary(super::layout::DPP)
        } else {
            self.plain_source(operand, kind)?
        };
        // A step from `at` to a temporary of its own, or in place once there is one.
        let mut own = None;
        macro_rules! step {
            ($step:ident, $control:expr) => {{
                let to = match own {
                    Some(to) => to,
                    None => *own.insert(self.temporary(1)?),
                };
                self.prepare(prep::$step::LEVELS, at, to, $control);
                at = to;
            }};
        }
        if part.encoding == Encoding::Sdwa {
            let key = if index == 0 { "src0_sel" } else { "src1_sel" };
            let (shift, bits) =
                selection(part.modifiers.get(key).unwrap_or("DWORD")).ok_or("SDWA selection")?;
            if bits < 32 {
                if operand.sign_extend {
                    step!(signed_part, shift | bits << 8);
                } else {
                    step!(part, shift | bits << 8);
                }
            }
        } else if kind.is_16() && bit("op_sel", 0) != 0 {
            step!(part, 16 | 16 << 8);
        }
        match kind {
            Kind::Mix if bit("op_sel_hi", 0) != 0 => {
                // A constant of a widened source is a half.
                if let Place::Float(v) = operand.place {
                    at = self.constant(f32_to_f16(v as f32), None);
                }
                step!(widen, 16 * bit("op_sel", 0));
            }
            _ if kind.is_packed_16() => {
                let (low, high) = (bit("op_sel", 0), bit("op_sel_hi", u32::MAX));
                if (low, high) != (0, 1) {
                    step!(halves, low | high << 1);
                }
                let flips = bit("neg_lo", 0) << 15 | bit("neg_hi", 0) << 31;
                if flips != 0 {
                    step!(flip, flips);
                }
            }
            Kind::PkF32 => return self.packed_f32(part, at, index),
            Kind::F32 if part.name.starts_with("v_dot2") && index == 2 => {
                if bit("neg_hi", 0) != 0 {
                    step!(keep, 0x7fff_ffff);
                }
                if bit("neg_lo", 0) != 0 {
                    step!(flip, 1 << 31);
                }
            }
            _ => {}
        }
        if operand.absolute || operand.negate {
            let sign = sign_bit(kind).ok_or("sign modifier of an integer")?;
            // A double's sign is in its upper row.
            if kind == Kind::F64 {
                let to = self.temporary(2)?;
                self.prepare(prep::copy::LEVELS, at, to, 0);
                self.prepare(prep::copy::LEVELS, at + stride, to + stride, 0);
                if operand.absolute {
                    self.prepare(prep::keep::LEVELS, to + stride, to + stride, !sign);
                }
                if operand.negate {
                    self.prepare(prep::flip::LEVELS, to + stride, to + stride, sign);
                }
                return Ok(to);
            }
            if operand.absolute {
                step!(keep, !sign);
            }
            if operand.negate {
                step!(flip, sign);
            }
        }
        Ok(at)
    }

    /// Two f32: op_sel and op_sel_hi pick the words, neg_lo and neg_hi flip their signs.
    fn packed_f32(&mut self, part: &Part, at: u32, index: usize) -> Lowered<u32> {
        let stride = self.layout.stride;
        let bit = |key: &str, default: u32| part.modifiers.bits(key, default) >> index & 1;
        // v_pk_mov takes one word of each source, both picked by op_sel.
        let (low, high) = if part.name == "v_pk_mov_b32" {
            (bit("op_sel", 0), bit("op_sel", 0))
        } else {
            (bit("op_sel", 0), bit("op_sel_hi", u32::MAX))
        };
        let (negate_low, negate_high) = (bit("neg_lo", 0), bit("neg_hi", 0));
        if (low, high, negate_low, negate_high) == (0, 1, 0, 0) {
            return Ok(at);
        }
        if (negate_low, negate_high) == (0, 0) {
            self.spread = Some((high as i32 - low as i32) * stride as i32);
            return Ok(at + low * stride);
        }
        let to = self.temporary(2)?;
        for (row, (pick, negate)) in [(low, negate_low), (high, negate_high)]
            .into_iter()
            .enumerate()
        {
            let (from, to) = (at + pick * stride, to + row as u32 * stride);
            if negate != 0 {
                self.prepare(prep::flip::LEVELS, from, to, 1 << 31);
            } else {
                self.prepare(prep::copy::LEVELS, from, to, 0);
            }
        }
        Ok(to)
    }
}
