//! Operands of an instruction, as LLVM prints them.

/// Slots of the emulator's scalar file. 0–107 are the hardware's numbers (SGPRs and VCC), 108–123
/// the trap temporaries; the rest is our own numbering, the same for every target.
pub mod slot {
    pub const FLAT_SCRATCH: u16 = 102;
    pub const VCC: u16 = 106;
    pub const TTMP: u16 = 108;
    pub const M0: u16 = 124;
    /// Absorbs writes to `null`; a pair, like `ZERO`.
    pub const TRASH: u16 = 128;
    pub const EXEC: u16 = 126;
    /// Reads of `null`.
    pub const ZERO: u16 = 130;
    pub const SCC: u16 = 132;
    pub const SHARED_BASE: u16 = 134;
    pub const SHARED_LIMIT: u16 = 136;
    pub const PRIVATE_BASE: u16 = 138;
    pub const PRIVATE_LIMIT: u16 = 140;
    /// Constants of the program follow from here.
    pub const CONSTANTS: u16 = 144;
}

/// What an operand names.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// `count` consecutive vector registers.
    Vector {
        index: u16,
        count: u16,
    },
    /// `count` consecutive accumulation registers.
    Accumulator {
        index: u16,
        count: u16,
    },
    /// `count` consecutive slots of the scalar file.
    Scalar {
        index: u16,
        count: u16,
    },
    /// An inline integer: its value is sign-extended to the operand's width.
    Integer(i64),
    /// An inline floating-point constant, encoded in the operand's own type.
    Float(f64),
    /// 32 literal bits.
    Literal(u32),
    Null,
    Off,
    /// Anything else, such as `hwreg(…)`: only the instruction's own row can read it.
    Words(String),
}

/// A place with its source modifiers.
#[derive(Debug, Clone, PartialEq)]
pub struct Operand {
    pub place: Place,
    pub negate: bool,
    pub absolute: bool,
    /// SDWA's `sext(…)`.
    pub sign_extend: bool,
}

impl Operand {
    /// Reads one operand; never fails: what is not understood becomes `Place::Words`.
    pub fn parse(text: &str) -> Operand {
        let mut operand = Operand {
            place: Place::Off,
            negate: false,
            absolute: false,
            sign_extend: false,
        };
        let mut rest = text.trim();
        loop {
            if let Some(inner) = wrapped(rest, "neg(", ")") {
                operand.negate = true;
                rest = inner;
            } else if let Some(inner) = wrapped(rest, "abs(", ")").or(wrapped(rest, "|", "|")) {
                operand.absolute = true;
                rest = inner;
            } else if let Some(inner) = wrapped(rest, "sext(", ")") {
                operand.sign_extend = true;
                rest = inner;
            } else if let Some(inner) = wrapped(rest, "lit(", ")") {
                rest = inner;
            } else if rest.starts_with('-') && !rest[1..].starts_with(|c: char| c.is_ascii_digit())
            {
                operand.negate = true;
                rest = &rest[1..];
            } else {
                break;
            }
        }
        operand.place = place(rest);
        operand
    }
}

fn wrapped<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    text.strip_prefix(open)?.strip_suffix(close)
}

/// `v7` or `v[4:7]` with the prefix removed: first index and count.
fn registers(text: &str) -> Option<(u16, u16)> {
    if let Some(range) = wrapped(text, "[", "]") {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
        return (last >= first).then(|| (first, last - first + 1));
    }
    Some((text.parse().ok()?, 1))
}

/// Scalar registers that have names.
pub(super) const NAMED: &[(&str, u16, u16)] = &[
    ("vcc", slot::VCC, 2),
    ("vcc_lo", slot::VCC, 1),
    ("vcc_hi", slot::VCC + 1, 1),
    ("exec", slot::EXEC, 2),
    ("exec_lo", slot::EXEC, 1),
    ("exec_hi", slot::EXEC + 1, 1),
    ("m0", slot::M0, 1),
    ("scc", slot::SCC, 1),
    ("src_scc", slot::SCC, 1),
    ("flat_scratch", slot::FLAT_SCRATCH, 2),
    ("flat_scratch_lo", slot::FLAT_SCRATCH, 1),
    ("flat_scratch_hi", slot::FLAT_SCRATCH + 1, 1),
    ("src_shared_base", slot::SHARED_BASE, 2),
    ("src_shared_limit", slot::SHARED_LIMIT, 2),
    ("src_private_base", slot::PRIVATE_BASE, 2),
    ("src_private_limit", slot::PRIVATE_LIMIT, 2),
];

fn place(text: &str) -> Place {
    match text {
        "off" => return Place::Off,
        "null" => return Place::Null,
        _ => {}
    }
    if let Some((_, index, count)) = NAMED.iter().find(|(name, ..)| *name == text) {
        return Place::Scalar {
            index: *index,
            count: *count,
        };
    }
    // Scalar numbers above the file or a vector number above 511 would be a decoder's mistake.
    let limited = |prefix: &str, limit: u16| {
        text.strip_prefix(prefix)
            .and_then(registers)
            .filter(|(index, count)| index.saturating_add(*count) <= limit)
    };
    if let Some((index, count)) = limited("v", 256) {
        return Place::Vector { index, count };
    }
    if let Some((index, count)) = limited("a", 256) {
        return Place::Accumulator { index, count };
    }
    if let Some((index, count)) = limited("s", 106) {
        return Place::Scalar { index, count };
    }
    if let Some((index, count)) = limited("ttmp", 16) {
        return Place::Scalar {
            index: slot::TTMP + index,
            count,
        };
    }
    if let Some(hex) = text.strip_prefix("0x") {
        if let Ok(value) = u64::from_str_radix(hex, 16) {
            // A 64-bit operand's literal is printed with 32 bits, or (newer LLVM) in full.
            return match u32::try_from(value) {
                Ok(bits) => Place::Literal(bits),
                Err(_) => Place::Words(text.to_string()),
            };
        }
    }
    if text.contains('.') {
        if let Ok(value) = text.parse::<f64>() {
            return Place::Float(value);
        }
    }
    match text.parse::<i64>() {
        Ok(value) => Place::Integer(value),
        Err(_) => Place::Words(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_registers_constants_and_modifiers() {
        let parse = |text| Operand::parse(text);
        assert_eq!(parse("v[4:7]").place, Place::Vector { index: 4, count: 4 });
        assert_eq!(
            parse("vcc").place,
            Place::Scalar {
                index: slot::VCC,
                count: 2
            }
        );
        assert_eq!(parse("-4").place, Place::Integer(-4));
        assert!(!parse("-4").negate);
        assert_eq!(parse("-4.0").place, Place::Float(-4.0));
        let both = parse("-|v3|");
        assert!(both.negate && both.absolute);
        assert_eq!(both.place, Place::Vector { index: 3, count: 1 });
        assert!(parse("sext(v0)").sign_extend);
        assert!(parse("neg(1)").negate);
        assert_eq!(parse("0x3c0881c4").place, Place::Literal(0x3c08_81c4));
        assert_eq!(
            parse("hwreg(HW_REG_MODE)").place,
            Place::Words("hwreg(HW_REG_MODE)".into())
        );
    }
}
