//! Memory instructions of vectors: global, flat, scratch, buffer and LDS.

use super::{Lowered, Lowering};
use crate::decode::{slot, Operand, Part, Place};
use crate::exec::cross::{self, Permutation};
use crate::exec::memory::{atomic, moves};
use crate::exec::program::Op;

/// Modifiers that change nothing here: cache policies.
const POLICIES: &[&str] = &[
    "glc", "slc", "dlc", "scc", "sc0", "sc1", "nt", "th", "scope", "nv",
];

impl Lowering<'_> {
    fn row_of(&self, part: &Part, index: usize) -> Lowered<u32> {
        let operand = part.operands.get(index).ok_or("operand missing")?;
        self.register(operand).ok_or("operand is no register")
    }

    /// A row with the address operand; zeros for `off`.
    fn address_row(&mut self, operand: Option<&Operand>) -> Lowered<u32> {
        match operand {
            Some(Operand {
                place: Place::Off, ..
            }) => Ok(self.constant(0, None)),
            Some(operand) => self.register(operand).ok_or("address is no register"),
            None => Err("operand missing"),
        }
    }

    pub(super) fn memory(&mut self, part: &Part, low_bits: u16) -> Lowered<()> {
        let known = |key: &str| {
            POLICIES.contains(&key) || ["offset", "offset0", "offset1", "offen"].contains(&key)
        };
        if part.modifiers.all().any(|(key, _)| !known(key)) {
            return Err("unknown modifier");
        }
        let (prefix, rest) = part.name.split_once('_').ok_or("no row")?;
        match prefix {
            "ds" => self.lds(part, rest, low_bits),
            "global" | "flat" | "scratch" | "buffer" => self.device(part, prefix, rest),
            _ => Err("no row"),
        }
    }

    /// Global, flat, scratch and buffer accesses.
    fn device(&mut self, part: &Part, prefix: &str, rest: &str) -> Lowered<()> {
        let mut op = self.op();
        op.imm = part.modifiers.number("offset").unwrap_or(0);
        op.extra = self.cache_slot();
        if let Some(index) = atomic::find(rest) {
            return self.device_atomic(part, prefix, index, op);
        }
        let moves = moves::find(rest).ok_or("no row")?;
        op.count = moves.count;
        // Loads name their data first, stores after the address; buffers always first.
        let (data, address) = if moves.store && prefix != "buffer" {
            (1, 0)
        } else {
            (0, 1)
        };
        op.dst = self.row_of(part, data)?;
        op.src[0] = self.address_row(part.operands.get(address))?;
        let space = match prefix {
            "buffer" => {
                self.buffer_operands(part, &mut op)?;
                moves.buffer
            }
            "flat" => moves.flat,
            "scratch" => {
                op.src[1] = self.scratch_base(part.operands.get(2))?;
                moves.scratch
            }
            _ if self.has_scalar_base(part, 2, &mut op)? => moves.global_scalar,
            _ => moves.global,
        };
        op.run = space[self.level];
        self.emit(op);
        Ok(())
    }

    fn scratch_base(&self, operand: Option<&Operand>) -> Lowered<u32> {
        match operand.map(|o| &o.place) {
            Some(Place::Scalar { index, .. }) => Ok(u32::from(*index)),
            Some(Place::Off) | None => Ok(u32::from(slot::ZERO)),
            _ => Err("scratch base"),
        }
    }

    /// Whether operand `index` is a scalar base; puts it into the op.
    fn has_scalar_base(&self, part: &Part, index: usize, op: &mut Op) -> Lowered<bool> {
        match part.operands.get(index).map(|o| &o.place) {
            Some(Place::Scalar { index, count: 2 }) => {
                op.src[1] = u32::from(*index);
                Ok(true)
            }
            Some(Place::Off) | None => Ok(false),
            _ => Err("scalar base"),
        }
    }

    fn buffer_operands(&mut self, part: &Part, op: &mut Op) -> Lowered<()> {
        match part.operands.get(2).map(|o| &o.place) {
            Some(Place::Scalar { index, count: 4 }) => op.src[1] = u32::from(*index),
            _ => return Err("buffer resource"),
        }
        op.src[2] = self.scalar_source(part, 3, 1, false)?;
        Ok(())
    }

    fn device_atomic(
        &mut self,
        part: &Part,
        prefix: &str,
        index: usize,
        mut op: Op,
    ) -> Lowered<()> {
        let row = &atomic::ATOMICS[index];
        op.mask = index as u32;
        let words = u32::from(row.words);
        // The old value is returned if it has a destination: one operand more.
        let last_is_base = if prefix == "flat" { 0 } else { 1 };
        let mut next = 0;
        let data;
        if prefix == "buffer" {
            op.count = u8::from(part.modifiers.has("glc") || part.modifiers.has("sc0"));
            data = self.row_of(part, 0)?;
            op.dst = data;
            op.src[0] = self.address_row(part.operands.get(1))?;
            self.buffer_operands(part, &mut op)?;
            op.run = atomic::run("buffer");
        } else {
            if part.operands.len() == 3 + last_is_base {
                op.count = row.words;
                op.dst = self.row_of(part, 0)?;
                next = 1;
            }
            op.src[0] = self.address_row(part.operands.get(next))?;
            data = self.row_of(part, next + 1)?;
            op.run = atomic::run(match prefix {
                "flat" => "flat",
                "scratch" => return Err("scratch atomic"),
                _ if self.has_scalar_base(part, next + 2, &mut op)? => "global_scalar",
                _ => "global",
            });
        }
        if row.compares {
            // `src[2]` is used by buffer resources' scalar offset.
            if prefix == "buffer" {
                return Err("buffer compare-and-swap");
            }
            op.src[3] = data + words * self.layout.stride;
        }
        if prefix == "buffer" {
            return Err("buffer atomic");
        }
        op.src[2] = data;
        self.emit(op);
        Ok(())
    }

    fn lds(&mut self, part: &Part, rest: &str, low_bits: u16) -> Lowered<()> {
        let mut op = self.op();
        op.imm = part.modifiers.number("offset").unwrap_or(0);
        if let Some(run) = cross::ds(&part.name) {
            op.run = run[self.level];
            op.dst = self.row_of(part, 0)?;
            op.src[0] = self.row_of(part, 1)?;
            op.src[1] = self.row_of(part, 2)?;
            self.emit(op);
            return Ok(());
        }
        if part.name == "ds_swizzle_b32" {
            let from = cross::swizzle_permutation(low_bits, self.layout.stride as usize)
                .ok_or("swizzle")?;
            op.extra = self.permutation(Permutation::new(&from)) as u32;
            op.run = cross::SWIZZLE[self.level];
            op.dst = self.row_of(part, 0)?;
            op.src[0] = self.row_of(part, 1)?;
            self.emit(op);
            return Ok(());
        }
        if let Some(moves) = moves::find(rest) {
            let (data, address) = if moves.store { (1, 0) } else { (0, 1) };
            op.run = moves.lds[self.level];
            op.count = moves.count;
            op.dst = self.row_of(part, data)?;
            op.src[0] = self.row_of(part, address)?;
            self.emit(op);
            return Ok(());
        }
        if let Some((moves, unit)) = two_addresses(rest) {
            return self.lds_pair(part, moves, unit);
        }
        let index = atomic::find(rest).ok_or("no row")?;
        self.lds_atomic(part, rest, index, op)
    }

    /// Two accesses with offsets counted in units of `unit` bytes.
    fn lds_pair(&mut self, part: &Part, moves: &'static moves::Moves, unit: i64) -> Lowered<()> {
        let stride = self.layout.stride;
        let offset = |key: &str| part.modifiers.number(key).unwrap_or(0) * unit;
        let words = u32::from(moves.count);
        let address = self.row_of(part, usize::from(!moves.store))?;
        let (first, second) = if moves.store {
            (self.row_of(part, 1)?, self.row_of(part, 2)?)
        } else {
            let base = self.row_of(part, 0)?;
            (base, base + words * stride)
        };
        // The first load may overwrite the address.
        let overwrites = !moves.store && (first..first + words * stride).contains(&address);
        let address = if overwrites {
            self.copied(address)?
        } else {
            address
        };
        for (row, key) in [(first, "offset0"), (second, "offset1")] {
            let mut op = self.op();
            op.run = moves.lds[self.level];
            op.count = moves.count;
            op.dst = row;
            op.src[0] = address;
            op.imm = offset(key);
            self.emit(op);
        }
        Ok(())
    }

    fn lds_atomic(&mut self, part: &Part, rest: &str, index: usize, mut op: Op) -> Lowered<()> {
        let row = &atomic::ATOMICS[index];
        op.mask = index as u32;
        op.run = atomic::run("lds");
        let returns = rest.contains("_rtn");
        let address = usize::from(returns);
        if returns {
            op.count = row.words;
            op.dst = self.row_of(part, 0)?;
        }
        op.src[0] = self.row_of(part, address)?;
        op.src[2] = self.row_of(part, address + 1)?;
        if row.compares {
            op.src[3] = self.row_of(part, address + 2)?;
            // gfx9 and gfx10 name the value to compare with first, gfx11 and later the new one.
            if rest.starts_with("cmpst_") {
                op.src.swap(2, 3);
            }
        }
        self.emit(op);
        Ok(())
    }
}

/// The single access and the unit of a two-address LDS instruction's offsets.
fn two_addresses(rest: &str) -> Option<(&'static moves::Moves, i64)> {
    let (single, unit) = match rest {
        "load_2addr_b32" | "read2_b32" => ("load_b32", 4),
        "load_2addr_b64" | "read2_b64" => ("load_b64", 8),
        "load_2addr_stride64_b32" | "read2st64_b32" => ("load_b32", 4 * 64),
        "load_2addr_stride64_b64" | "read2st64_b64" => ("load_b64", 8 * 64),
        "store_2addr_b32" | "write2_b32" => ("store_b32", 4),
        "store_2addr_b64" | "write2_b64" => ("store_b64", 8),
        "store_2addr_stride64_b32" | "write2st64_b32" => ("store_b32", 4 * 64),
        "store_2addr_stride64_b64" | "write2st64_b64" => ("store_b64", 8 * 64),
        _ => return None,
    };
    Some((moves::find(single)?, unit))
}
