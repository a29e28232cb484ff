//! Vector ALU instructions.

use super::source::selection;
use super::{Lowered, Lowering};
use crate::decode::{slot, Encoding, Operand, Part, Place};
use crate::exec::cross::{self, Permutation};
use crate::exec::prep;
use crate::exec::program::{Op, Part as Destination, Post};
use crate::exec::twin;
use crate::exec::valu::{self, Extra, Form, Row};
use crate::exec::word::Kind;

/// Modifiers that lowering handles; any other would change the meaning unseen.
const KNOWN: &[&str] = &[
    "op_sel",
    "op_sel_hi",
    "neg_lo",
    "neg_hi",
    "clamp",
    "mul",
    "div",
    "dst_sel",
    "dst_unused",
    "src0_sel",
    "src1_sel",
    "row_mask",
    "bank_mask",
    "bound_ctrl",
    "fi",
    "quad_perm",
    "dpp8",
    "row_shl",
    "row_shr",
    "row_ror",
    "row_mirror",
    "row_half_mirror",
    "row_share",
    "row_newbcast",
    "row_xmask",
    "wave_shl",
    "wave_shr",
    "wave_rol",
    "wave_ror",
    "row_bcast",
];

impl Lowering<'_> {
    fn wide_families_keep_halves(&self) -> bool {
        !self.family.is_gfx9()
    }

    pub(super) fn vector(&mut self, part: &Part) -> Lowered<()> {
        if self.special(part)? || self.matrix(part)? {
            return Ok(());
        }
        if part.name.starts_with("v_s_") {
            return self.scalar_transcendental(part);
        }
        let (name, is_cmpx) = match part.name.strip_prefix("v_cmpx_") {
            Some(rest) => (format!("v_cmp_{rest}"), true),
            None => (part.name.clone(), false),
        };
        let op = self.vector_op(part, &name, is_cmpx, None)?;
        self.emit(op);
        Ok(())
    }

    /// gfx12's transcendental functions of scalars: the vector operation on one lane of a temporary.
    fn scalar_transcendental(&mut self, part: &Part) -> Lowered<()> {
        let to = self.scalar_destination(part, 0)?;
        let held = self.temporary(1)?;
        let mut vector = part.clone();
        // Any register: the operation writes `held`.
        vector.operands[0].place = Place::Vector { index: 0, count: 1 };
        let mut op = self.vector_op(&vector, &part.name, false, Some(held))?;
        op.inner = op.run;
        op.run = cross::to_scalar;
        op.mask = to;
        self.emit(op);
        Ok(())
    }

    /// Both halves of a dual instruction read before either writes.
    pub(super) fn dual(&mut self, x: &Part, y: &Part) -> Lowered<()> {
        let name = |part: &Part| part.name.replacen("v_dual_", "v_", 1);
        let (x_name, y_name) = (name(x), name(y));
        let reads = |part: &Part, name: &str, operand: &Operand| {
            let accumulates = valu::find(name).is_some_and(|row| row.extra == Extra::Accumulate);
            let from = usize::from(!accumulates);
            part.operands
                .iter()
                .skip(from)
                .any(|source| source.place == operand.place)
        };
        let x_dst = x.operands.first().ok_or("operand missing")?;
        let y_dst = y.operands.first().ok_or("operand missing")?;
        if !reads(y, &y_name, x_dst) {
            let op = self.vector_op(x, &x_name, false, None)?;
            self.emit(op);
            let op = self.vector_op(y, &y_name, false, None)?;
            self.emit(op);
        } else if !reads(x, &x_name, y_dst) {
            let op = self.vector_op(y, &y_name, false, None)?;
            self.emit(op);
            let op = self.vector_op(x, &x_name, false, None)?;
            self.emit(op);
        } else {
            // Each reads what the other writes: the first result waits in a temporary.
            let held = self.temporary(1)?;
            let op = self.vector_op(x, &x_name, false, Some(held))?;
            self.emit(op);
            let op = self.vector_op(y, &y_name, false, None)?;
            self.emit(op);
            let row = valu::find("v_mov_b32").ok_or("v_mov_b32")?;
            let mut op = self.op();
            op.run = row.whole[self.level];
            op.src[0] = held;
            op.dst = self.register(x_dst).ok_or("destination is no register")?;
            self.emit(op);
        }
        Ok(())
    }

    /// The row of an instruction, given the modifiers that choose between rows.
    fn row(&self, part: &Part, name: &str) -> Lowered<&'static Row> {
        let mut name = name.to_string();
        if name == "v_dot4_i32_iu8" {
            let signed = part.modifiers.bits("neg_lo", 0);
            name += if signed & 1 != 0 { ":s" } else { ":u" };
            name += if signed & 2 != 0 { "s" } else { "u" };
        }
        if part.modifiers.has("clamp") {
            if let Some(row) = valu::find(&format!("{name}:clamp")) {
                return Ok(row);
            }
        }
        let row = valu::find(&name).ok_or("no row")?;
        let float = matches!(
            row.dest,
            Kind::F16 | Kind::F32 | Kind::F64 | Kind::PkF16 | Kind::PkF32
        );
        if part.modifiers.has("clamp") && !float {
            return Err("integer clamp");
        }
        Ok(row)
    }

    fn vector_op(
        &mut self,
        part: &Part,
        name: &str,
        is_cmpx: bool,
        dst: Option<u32>,
    ) -> Lowered<Op> {
        if part.modifiers.all().any(|(key, _)| !KNOWN.contains(&key)) {
            return Err("unknown modifier");
        }
        let row = self.row(part, name)?;
        let mut op = self.op();
        op.run = row.run[self.level];
        let mut operands = part.operands.iter();
        let accumulate = row.extra == Extra::Accumulate;
        match row.form {
            Form::Compare => {
                // gfx10 and later write only EXEC for v_cmpx and name no destination.
                let named = part.operands.len() > row.arity();
                op.mask = if named {
                    self.mask_destination(operands.next())?
                } else {
                    u32::from(slot::EXEC)
                };
                if is_cmpx && named {
                    op.extra = 1;
                }
                if !is_cmpx && !named {
                    return Err("compare without a destination");
                }
            }
            Form::Lane | Form::Carry => {
                let first = operands.next().ok_or("operand missing")?;
                op.dst = self.register(first).ok_or("destination is no register")?;
                if row.form == Form::Carry {
                    op.mask = self.mask_destination(operands.next())?;
                }
            }
        }
        let first_source = part.operands.len() - operands.len();
        for index in 0..row.arity() {
            let kind = row.sources[index];
            op.src[index] = match operands.next() {
                Some(operand) => self.source(part, operand, index, kind)?,
                None if kind == Kind::Mask => self.mask_source(None)?,
                None if accumulate => op.dst,
                None => return Err("source missing"),
            };
            if let Some(spread) = self.spread.take() {
                op.spread[index] = spread;
            }
        }
        if operands.next().is_some() {
            return Err("too many operands");
        }
        if row.form != Form::Compare {
            op.post = self.post(part, row)?;
        }
        if let Some(held) = dst {
            op.dst = held;
        }
        if part.encoding != Encoding::Dpp && !op.post.any {
            op.run = twin::find(name).unwrap_or(row.whole)[self.level];
        }
        if part.encoding == Encoding::Dpp {
            let source = part.operands.get(first_source).ok_or("source missing")?;
            self.wrap_in_dpp(part, source, &mut op)?;
        }
        Ok(op)
    }

    fn mask_destination(&self, operand: Option<&Operand>) -> Lowered<u32> {
        match operand.map(|o| &o.place) {
            Some(Place::Scalar { index, .. }) => Ok(u32::from(*index)),
            Some(Place::Null) => Ok(u32::from(slot::TRASH)),
            _ => Err("mask destination is no scalar"),
        }
    }

    fn post(&self, part: &Part, row: &Row) -> Lowered<Post> {
        let mut post = Post::default();
        let is_float = matches!(
            row.dest,
            Kind::F16 | Kind::F32 | Kind::F64 | Kind::PkF16 | Kind::PkF32
        );
        post.float = match row.dest {
            Kind::F16 => 16,
            Kind::PkF16 => 17,
            Kind::PkF32 => 33,
            Kind::F64 => 64,
            _ => 32,
        };
        post.clamp = is_float && part.modifiers.has("clamp");
        post.omod = match (part.modifiers.get("mul"), part.modifiers.get("div")) {
            (Some("2"), None) => 1,
            (Some("4"), None) => 2,
            (None, Some("2")) => 3,
            (None, None) => 0,
            _ => return Err("output modifier"),
        };
        let high = part.modifiers.bits("op_sel", 0) >> row.arity() & 1 != 0;
        let keep = |shift| Destination::Keep { shift, bits: 16 };
        post.part = match row.extra {
            Extra::LowHalf => keep(0),
            Extra::HighHalf => keep(16),
            _ if part.encoding == Encoding::Sdwa => sdwa_destination(part)?,
            _ if row.dest.is_16() && high => keep(16),
            Extra::KeepHalf => keep(0),
            _ if row.dest.is_16() && self.wide_families_keep_halves() => keep(0),
            _ => Destination::Whole,
        };
        post.any = post.clamp || post.omod != 0 || post.part != Destination::Whole;
        Ok(post)
    }

    /// Has `op` run with its first source permuted.
    fn wrap_in_dpp(&mut self, part: &Part, source: &Operand, op: &mut Op) -> Lowered<()> {
        let lanes = self.layout.stride as usize;
        let from = part
            .modifiers
            .all()
            .find_map(|(key, value)| cross::dpp_permutation(key, value, lanes))
            .ok_or("unknown DPP control")?;
        let mask = |key: &str| part.modifiers.number(key).unwrap_or(15);
        let (row_mask, bank_mask) = (mask("row_mask"), mask("bank_mask"));
        let is_dpp8 = part.modifiers.has("dpp8");
        let writes = (0..64)
            .filter(|lane| {
                row_mask >> (lane / 16) & 1 != 0 && bank_mask >> (lane % 16 / 4) & 1 != 0
            })
            .fold(0u64, |bits, lane| bits | 1 << lane);
        let mut permutation = Permutation::new(&from);
        permutation.writes = writes;
        // dpp8 has no bound_ctrl: lanes that are off read as zero (not documented, as far as we know).
        permutation.zero = part.modifiers.has("bound_ctrl") || is_dpp8;
        permutation.reads_inactive = part.modifiers.number("fi") == Some(1);
        let index = self.permutation(permutation);
        let row = self.register(source).ok_or("DPP source is no register")?;
        op.inner = op.run;
        op.run = cross::DPP[self.level];
        self.preps_within = true;
        op.imm = i64::from(row) | (index as i64) << 32;
        Ok(())
    }

    pub(super) fn permutation(&mut self, permutation: Permutation) -> usize {
        if let Some(index) = self.permutations.iter().position(|p| *p == permutation) {
            return index;
        }
        self.permutations.push(permutation);
        self.permutations.len() - 1
    }

    /// Instructions that are not one result per lane. Returns whether `part` is one.
    fn special(&mut self, part: &Part) -> Lowered<bool> {
        let operand = |index: usize| part.operands.get(index).ok_or("operand missing");
        let mut op = self.op();
        match part.name.as_str() {
            "v_readfirstlane_b32" | "v_readlane_b32" => {
                op.dst = self.scalar_destination(part, 0)?;
                op.src[0] = self.plain_source(operand(1)?, Kind::U32)?;
                op.run = cross::read_first_lane;
                if part.name == "v_readlane_b32" {
                    op.src[1] = self.scalar_source(part, 2, 1, false)?;
                    op.run = cross::read_lane;
                }
            }
            "v_writelane_b32" => {
                op.dst = self
                    .register(operand(0)?)
                    .ok_or("destination is no register")?;
                op.src[0] = self.scalar_source(part, 1, 1, false)?;
                op.src[1] = self.scalar_source(part, 2, 1, false)?;
                op.run = cross::write_lane;
            }
            "v_mbcnt_lo_u32_b32" | "v_mbcnt_hi_u32_b32" if part.encoding == Encoding::Plain => {
                op.dst = self
                    .register(operand(0)?)
                    .ok_or("destination is no register")?;
                op.src[0] = self.plain_source(operand(1)?, Kind::U32)?;
                op.src[1] = self.plain_source(operand(2)?, Kind::U32)?;
                op.extra = u32::from(part.name.starts_with("v_mbcnt_hi"));
                op.run = cross::COUNT_BELOW[self.level];
            }
            "v_permlane16_b32" | "v_permlanex16_b32" => {
                op.dst = self
                    .register(operand(0)?)
                    .ok_or("destination is no register")?;
                op.src[0] = self.register(operand(1)?).ok_or("source is no register")?;
                op.src[1] = self.scalar_source(part, 2, 1, false)?;
                op.src[2] = self.scalar_source(part, 3, 1, false)?;
                op.extra = u32::from(part.name.starts_with("v_permlanex"));
                op.run = cross::PERMUTE_16[self.level];
            }
            "v_swap_b32" => {
                op.dst = self.register(operand(0)?).ok_or("operand is no register")?;
                op.src[0] = self.register(operand(1)?).ok_or("operand is no register")?;
                op.run = cross::SWAP[self.level];
            }
            _ => return Ok(false),
        }
        self.emit(op);
        Ok(true)
    }

    /// A row that another op may overwrite, copied to a temporary first.
    pub(super) fn copied(&mut self, row: u32) -> Lowered<u32> {
        let to = self.temporary(1)?;
        self.prepare(prep::copy::LEVELS, row, to, 0);
        Ok(to)
    }
}

fn sdwa_destination(part: &Part) -> Lowered<Destination> {
    let (shift, bits) =
        selection(part.modifiers.get("dst_sel").unwrap_or("DWORD")).ok_or("SDWA selection")?;
    if bits == 32 {
        return Ok(Destination::Whole);
    }
    let (shift, bits) = (shift as u8, bits as u8);
    match part
        .modifiers
        .get("dst_unused")
        .unwrap_or("UNUSED_PRESERVE")
    {
        "UNUSED_PAD" => Ok(Destination::Zero { shift, bits }),
        "UNUSED_SEXT" => Ok(Destination::Sign { shift, bits }),
        "UNUSED_PRESERVE" => Ok(Destination::Keep { shift, bits }),
        _ => Err("SDWA destination"),
    }
}
