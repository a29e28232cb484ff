//! From a kernel's bytes to parsed instructions: LLVM's disassembler gives the text of each
//! instruction, `parse` and `operand` turn the text into names, operands and modifiers; `print` turns them back.
//! What the names mean is the executor's business.

mod llvm;
pub mod operand;
pub mod parse;
pub mod print;

pub use llvm::Disassembler;
pub use operand::{slot, Operand, Place};
pub use parse::{Encoding, Modifiers, Part};

/// One decoded instruction.
#[derive(Debug, Clone)]
pub struct Instruction {
    /// Bytes from the start of the kernel.
    pub offset: u32,
    /// Bytes of the encoding.
    pub size: u32,
    /// As LLVM prints it; for bytes that are no instruction, their hexadecimal form.
    pub text: String,
    /// Empty if the bytes are no instruction.
    pub parts: Vec<Part>,
    /// The low 16 bits of the encoding: the displacement of a branch.
    pub simm16: i16,
}

/// Decodes `code` from its first byte to its last.
///
/// Bytes that LLVM does not know become instructions without parts, four bytes each: whether they
/// are ever reached is not known here.
pub fn decode(cpu: &str, features: &str, code: &[u8]) -> Result<Vec<Instruction>, String> {
    let mut disassembler = Disassembler::new(cpu, features)?;
    let mut instructions = Vec::with_capacity(code.len() / 6);
    let mut at = 0;
    while at < code.len() {
        let word = |i: usize| u32::from(code.get(at + i).copied().unwrap_or(0));
        let head = word(0) | word(1) << 8 | word(2) << 16 | word(3) << 24;
        let (text, size, parts) = match disassembler.decode(&code[at..], at as u64) {
            Some((text, size)) => {
                let parts = parse::parse(&text);
                (text, size, parts)
            }
            None => (format!("bytes {head:#010x}"), 4, Vec::new()),
        };
        instructions.push(Instruction {
            offset: at as u32,
            size: size as u32,
            text,
            parts,
            simm16: head as u16 as i16,
        });
        at += size;
    }
    Ok(instructions)
}
