//! Matrix instructions: MFMA and WMMA.

use super::{Lowered, Lowering};
use crate::decode::{Operand, Part, Place};
use crate::exec::matrix::{self, Layout, Options, Sum, MATRICES};
use crate::exec::word::Kind;
use crate::target::Family;

/// Registers that an operand names.
fn registers(operand: &Operand) -> Option<usize> {
    match operand.place {
        Place::Vector { count, .. } | Place::Accumulator { count, .. } => Some(usize::from(count)),
        _ => None,
    }
}

impl Lowering<'_> {
    /// Lowers `part` if it is a matrix instruction.
    pub(super) fn matrix(&mut self, part: &Part) -> Lowered<bool> {
        let find = |matrix: &matrix::Matrix| matrix.names.contains(&part.name.as_str());
        let Some(index) = MATRICES.iter().position(find) else {
            return Ok(false);
        };
        let (row, lanes) = (&MATRICES[index], self.layout.stride as usize);
        let layout = match (part.name.starts_with("v_mfma"), self.family) {
            (true, _) => Layout::Mfma,
            (false, Family::Rdna3) => Layout::Wmma11,
            (false, _) => Layout::Wmma12,
        };
        let options = self.matrix_options(part, row, layout)?;
        let [d, a, b, c] = part.operands.as_slice() else {
            return Err("operand count");
        };
        if part.operands.iter().any(|o| o.negate || o.absolute) {
            return Err("sign modifier of a matrix");
        }
        let sources = (row.elements(layout, lanes) * row.element.bits()).div_ceil(32);
        let results = row.result_registers(layout, lanes);
        if registers(a) != Some(sources) || registers(b) != Some(sources) {
            return Err("registers of a matrix source");
        }
        if registers(d) != Some(results) {
            return Err("registers of a matrix result");
        }
        let mut op = self.op();
        for (source, operand) in op.src.iter_mut().zip([a, b]) {
            *source = self.register(operand).ok_or("source is no register")?;
        }
        op.dst = self.register(d).ok_or("destination is no register")?;
        match registers(c) {
            Some(count) if count == results => {
                op.src[2] = self.register(c).ok_or("source is no register")?;
                op.count = 1;
            }
            Some(_) => return Err("registers of a matrix addend"),
            // A constant: one row for all results, so only sums of one register each.
            None => {
                let kind = match row.sum {
                    Sum::I32 => Kind::I32,
                    Sum::F32 => Kind::F32,
                    _ if c.place == Place::Integer(0) => Kind::U64,
                    _ => return Err("constant addend"),
                };
                op.src[2] = self.plain_source(c, kind)?;
            }
        }
        op.mask = options.pack();
        op.extra = index as u32;
        op.run = matrix::RUN[self.level];
        self.emit(op);
        Ok(true)
    }

    fn matrix_options(
        &self,
        part: &Part,
        row: &matrix::Matrix,
        layout: Layout,
    ) -> Lowered<Options> {
        let bits = |key: &str| part.modifiers.bits(key, 0);
        let (integers, wmma) = (row.sum == Sum::I32, layout != Layout::Mfma);
        let halves = matches!(row.sum, Sum::F16 | Sum::Bf16) && layout == Layout::Wmma11;
        for (key, _) in part.modifiers.all() {
            let known = match key {
                "neg_lo" | "clamp" => wmma && integers,
                "op_sel" => halves,
                "op_sel_hi" => wmma,
                _ => false,
            };
            if !known {
                return Err("matrix modifier");
            }
        }
        Ok(Options {
            layout,
            // MFMA's integers are signed; of WMMA's, neg_lo says which are.
            signed: if wmma {
                [bits("neg_lo") & 1 != 0, bits("neg_lo") & 2 != 0]
            } else {
                [true, true]
            },
            clamp: part.modifiers.has("clamp"),
            high: halves && bits("op_sel") & 4 != 0,
            flush: self.family == Family::Cdna2,
            fnuz: self.family == Family::Cdna3,
        })
    }
}
