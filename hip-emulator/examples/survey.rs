//! Lists the instructions of code objects that the emulator has no row for.
//!
//! `cargo run -p hip-emulator --example survey -- FILE.hsaco…`

use hip_emulator::code_object::kernels_in;
use hip_emulator::exec;
use std::collections::BTreeMap;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut unknown: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let (mut kernels, mut instructions) = (0, 0);
    for path in std::env::args().skip(1) {
        for kernel in kernels_in(std::fs::read(&path)?).map_err(|e| format!("{path}: {e}"))? {
            let kernel = kernel?;
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
