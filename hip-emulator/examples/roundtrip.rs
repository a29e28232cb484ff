//! Decodes every kernel of code objects and prints each different instruction from what was parsed of it, behind
//! its bytes: `HEX<TAB>TEXT`. `conformance/roundtrip.py` assembles the text and compares the bytes.
//!
//! `cargo run -p hip-emulator --example roundtrip -- FILE.hsaco…`

use hip_emulator::code_object::{CodeObject, Image};
use hip_emulator::decode::{decode, print::print};
use hip_emulator::memory::{Limits, Memory};
use hip_emulator::target::Target;
use std::collections::BTreeSet;
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut seen = BTreeSet::new();
    for path in std::env::args().skip(1) {
        let object = CodeObject::parse(std::fs::read(&path)?)?;
        let target =
            Target::running(&object.target).ok_or_else(|| format!("{path}: unknown target"))?;
        let memory = Memory::new(Limits {
            device_bytes: 1 << 30,
            poison: false,
        });
        let image = Image::load(object, &memory, 0, target)?;
        for metadata in image.kernels() {
            let Some((kernel, _)) = image.kernel(&metadata.name)? else {
                continue;
            };
            for instruction in decode(target.name, "", &kernel.code)? {
                let at = instruction.offset as usize;
                let bytes = &kernel.code[at..at + instruction.size as usize];
                if instruction.parts.is_empty() || !seen.insert(bytes.to_vec()) {
                    continue;
                }
                for byte in bytes {
                    write!(out, "{byte:02x}")?;
                }
                writeln!(out, "\t{}", print(&instruction, target.family.is_gfx9()))?;
            }
        }
    }
    Ok(())
}
