//! Back from parsed instructions to assembly text, in LLVM's syntax: assembling it must give the bytes that
//! were decoded, which is how the parser is checked (`conformance/roundtrip.py`).

use super::operand::{slot, Operand, Place, NAMED};
use super::parse::Part;
use super::Instruction;
use std::fmt::Write;

/// The instruction as text. `gfx9` names SGPRs 102 and 103 as those targets do.
pub fn print(instruction: &Instruction, gfx9: bool) -> String {
    // Which of several encodings it was does not matter to the executor, so it is only in LLVM's text.
    let mut mnemonics = instruction.text.split(" :: ").map(|text| {
        let text = text.trim();
        text.split_once(char::is_whitespace)
            .map_or(text, |(name, _)| name)
    });
    let parts = instruction.parts.iter();
    let texts: Vec<String> = parts
        .map(|part| part_text(mnemonics.next().unwrap_or(&part.name), part, gfx9))
        .collect();
    texts.join(" :: ")
}

fn part_text(mnemonic: &str, part: &Part, gfx9: bool) -> String {
    let operands: Vec<String> = part
        .operands
        .iter()
        .map(|operand| operand_text(operand, gfx9))
        .collect();
    let mut text = format!("{mnemonic} {}", operands.join(", "));
    for (key, value) in part.modifiers.all() {
        text.push(' ');
        text.push_str(key);
        if !value.is_empty() {
            let _ = write!(text, ":{value}");
        }
    }
    text
}

fn operand_text(operand: &Operand, gfx9: bool) -> String {
    let mut text = place_text(&operand.place, gfx9);
    if operand.sign_extend {
        text = format!("sext({text})");
    }
    if operand.absolute {
        text = format!("|{text}|");
    }
    match (operand.negate, &operand.place) {
        (false, _) => text,
        (true, Place::Integer(_) | Place::Float(_) | Place::Literal(_)) => format!("neg({text})"),
        (true, _) => format!("-{text}"),
    }
}

fn registers(prefix: &str, index: u16, count: u16) -> String {
    match count {
        1 => format!("{prefix}{index}"),
        _ => format!("{prefix}[{index}:{}]", index + count - 1),
    }
}

fn place_text(place: &Place, gfx9: bool) -> String {
    match place {
        Place::Vector { index, count } => registers("v", *index, *count),
        Place::Accumulator { index, count } => registers("a", *index, *count),
        Place::Scalar { index, count } => {
            let named = NAMED
                .iter()
                // The last of several names is the one of a source.
                .rfind(|(_, slot, width)| slot == index && width == count)
                .filter(|(_, at, _)| gfx9 || *at >= slot::VCC);
            match named {
                Some((name, ..)) => name.to_string(),
                None if *index >= slot::TTMP && *index < slot::M0 => {
                    registers("ttmp", index - slot::TTMP, *count)
                }
                None => registers("s", *index, *count),
            }
        }
        Place::Integer(value) => value.to_string(),
        Place::Float(value) => format!("{value:?}"),
        Place::Literal(bits) => format!("{bits:#x}"),
        Place::Null => "null".into(),
        Place::Off => "off".into(),
        Place::Words(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::parse::parse;

    #[test]
    fn what_is_parsed_prints_as_it_was() {
        for text in [
            "v_add_f32_e64 v1, -|v2|, s3 clamp mul:2",
            "v_fma_f32 v[4:5], neg(1), 0x3f800001, vcc_lo",
            "s_waitcnt vmcnt(0) lgkmcnt(0)",
            "ds_swizzle_b32 v5, v1 offset:swizzle(QUAD_PERM,0,1,2,3)",
            "v_dual_mov_b32 v3, 0 :: v_dual_fmac_f32 v6, s1, v2",
            "v_mov_b32_dpp v0, v1 quad_perm:[1,0,3,2] row_mask:0xf bank_mask:0xf",
            "global_store_dword v[0:1], a2, off offset:-16",
            "v_mul_f32_e32 v0, 0.15915494, v1",
        ] {
            let instruction = Instruction {
                offset: 0,
                size: 4,
                text: text.into(),
                parts: parse(text),
                simm16: 0,
            };
            assert_eq!(print(&instruction, false), text);
        }
    }
}
