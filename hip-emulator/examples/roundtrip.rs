//! Decodes every kernel of code objects and prints each different instruction from what was parsed of it, behind
//! its bytes: `HEX<TAB>TEXT`. `conformance/roundtrip.py` assembles the text and compares the bytes.
//!
//! `cargo run -p hip-emulator --example roundtrip -- FILE.hsaco…`

use hip_emulator::code_object::kernels_in;
use hip_emulator::decode::{decode, print::print};
use std::collections::BTreeSet;
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut seen = BTreeSet::new();
    for path in std::env::args().skip(1) {
        for kernel in kernels_in(std::fs::read(&path)?).map_err(|e| format!("{path}: {e}"))? {
            let kernel = kernel?;
            for instruction in decode(kernel.target.name, "", &kernel.code)? {
                let at = instruction.offset as usize;
                let bytes = &kernel.code[at..at + instruction.size as usize];
                if instruction.parts.is_empty() || !seen.insert(bytes.to_vec()) {
                    continue;
                }
                for byte in bytes {
                    write!(out, "{byte:02x}")?;
                }
                writeln!(
                    out,
                    "\t{}",
                    print(&instruction, kernel.target.family.is_gfx9())
                )?;
            }
        }
    }
    Ok(())
}
