//! From LLVM's text to names, operands and modifiers.

use super::operand::Operand;

/// How the instruction was encoded, as far as its meaning depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Sdwa,
    Dpp,
}

/// One operation: an instruction, or one half of a dual instruction.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The mnemonic without its encoding suffix.
    pub name: String,
    pub encoding: Encoding,
    pub operands: Vec<Operand>,
    pub modifiers: Modifiers,
}

/// Modifiers in the order printed: `offset:16` is `("offset", "16")`, `clamp` is `("clamp", "")`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modifiers(Vec<(String, String)>);

impl Modifiers {
    /// The value of `key`; empty for a modifier without one.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }

    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A decimal or hexadecimal number.
    pub fn number(&self, key: &str) -> Option<i64> {
        number(self.get(key)?)
    }

    /// `[1,0,1]` as bits, the first element lowest; `default` where the modifier is absent.
    pub fn bits(&self, key: &str, default: u32) -> u32 {
        match self.list(key) {
            Some(list) => list
                .iter()
                .enumerate()
                .map(|(i, v)| u32::from(*v != 0) << i)
                .sum(),
            None => default,
        }
    }

    /// `[1,0,1]` as numbers.
    pub fn list(&self, key: &str) -> Option<Vec<i64>> {
        let inner = self.get(key)?.strip_prefix('[')?.strip_suffix(']')?;
        inner.split(',').map(|v| number(v.trim())).collect()
    }
}

/// A decimal or hexadecimal number.
pub fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}

const SUFFIXES: &[(&str, Encoding)] = &[
    ("_e64_dpp", Encoding::Dpp),
    ("_sdwa", Encoding::Sdwa),
    ("_dpp", Encoding::Dpp),
    ("_e32", Encoding::Plain),
    ("_e64", Encoding::Plain),
];

/// Splits `text` into its operations: two for a dual instruction, else one.
pub fn parse(text: &str) -> Vec<Part> {
    text.split(" :: ").map(part).collect()
}

fn part(text: &str) -> Part {
    let text = text.trim();
    let (mnemonic, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (name, encoding) = SUFFIXES
        .iter()
        .find_map(|(suffix, encoding)| Some((mnemonic.strip_suffix(suffix)?, *encoding)))
        .unwrap_or((mnemonic, Encoding::Plain));
    let mut operands = Vec::new();
    let mut modifiers = Modifiers::default();
    for piece in split(rest, ',') {
        for (i, token) in split(piece, ' ')
            .into_iter()
            .filter(|t| !t.is_empty())
            .enumerate()
        {
            let (key, value) = token.split_once(':').unwrap_or((token, ""));
            // A register range has a colon too, but inside brackets.
            let is_modifier = i > 0 || (!key.contains('[') && token.contains(':'));
            if is_modifier {
                modifiers.0.push((key.to_string(), value.to_string()));
            } else {
                operands.push(Operand::parse(token));
            }
        }
    }
    Part {
        name: name.to_string(),
        encoding,
        operands,
        modifiers,
    }
}

/// Splits at `separator` outside brackets and parentheses.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut pieces, mut depth, mut start) = (Vec::new(), 0i32, 0);
    for (i, c) in text.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth -= 1,
            c if c == separator && depth == 0 => {
                pieces.push(text[start..i].trim());
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    pieces.push(text[start..].trim());
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::operand::Place;

    #[test]
    fn splits_operands_from_modifiers() {
        let parts = parse("ds_swizzle_b32 v5, v1 offset:swizzle(QUAD_PERM,0,1,2,3) gds");
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].operands.len(), 2);
        assert_eq!(
            parts[0].modifiers.get("offset"),
            Some("swizzle(QUAD_PERM,0,1,2,3)")
        );
        assert!(parts[0].modifiers.has("gds"));
    }

    #[test]
    fn strips_the_encoding() {
        let parts = parse(
            "v_mov_b32_dpp v0, v1 quad_perm:[1,0,3,2] row_mask:0xf bank_mask:0xf bound_ctrl:1",
        );
        assert_eq!(
            (parts[0].name.as_str(), parts[0].encoding),
            ("v_mov_b32", Encoding::Dpp)
        );
        assert_eq!(parts[0].modifiers.list("quad_perm"), Some(vec![1, 0, 3, 2]));
        assert_eq!(parts[0].modifiers.number("row_mask"), Some(15));
    }

    #[test]
    fn a_dual_instruction_has_two_parts() {
        let parts = parse("v_dual_mov_b32 v3, 0 :: v_dual_fmac_f32 v6, s1, v2");
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[1].name, "v_dual_fmac_f32");
        assert_eq!(parts[0].operands[1].place, Place::Integer(0));
    }

    #[test]
    fn lists_become_bits() {
        let parts = parse("v_fma_mix_f32 v9, v8, v1, v10 op_sel_hi:[1,0,0]");
        assert_eq!(parts[0].modifiers.bits("op_sel_hi", 7), 1);
        assert_eq!(parts[0].modifiers.bits("op_sel", 0), 0);
    }
}
