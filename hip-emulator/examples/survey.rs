//! Lists the instructions of code objects that the emulator has no row for.
//!
//! `cargo run -p hip-emulator --example survey -- FILE.hsaco…`

use hip_emulator::code_object::{CodeObject, Image};
use hip_emulator::memory::{Limits, Memory};
use hip_emulator::{exec, target::Target};
use std::collections::BTreeMap;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut unknown: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let (mut kernels, mut instructions) = (0, 0);
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
            match exec::prepare(&kernel) {
                Ok(program) => {
                    kernels += 1;
                    instructions += program.len();
                    for (_, text) in program.unknown() {
                        let mnemonic = text
                            .split_whitespace()
                            .next()
                            .unwrap_or_default()
                            .to_string();
                        let entry = unknown.entry(mnemonic).or_insert((0, text.to_string()));
                        entry.0 += 1;
                    }
                }
                Err(fault) => println!("{path}: {fault}"),
            }
        }
    }
    println!("{kernels} kernels, {instructions} instructions");
    for (mnemonic, (times, example)) in unknown {
        println!("{times:7} {mnemonic:32} {example}");
    }
    Ok(())
}
