//! Runs kernels that the conformance scripts assembled; see `conformance/README.md`.
//!
//! `conformance OBJECT PLAN INPUT OUTPUT`: a line of PLAN is a kernel's name, workgroups, work-items
//! of one, and the bytes of its input and output buffers, its two arguments. The inputs lie one after
//! the other in INPUT, the outputs come out so in OUTPUT. A kernel that faults gets zeroes there and a
//! line "name<TAB>fault" on the standard output.

use hip_emulator::code_object::{CodeObject, Image};
use hip_emulator::launch::{Arguments, Function, Recorder, Request};
use hip_emulator::memory::{Block, Kind, Limits, Memory};
use hip_emulator::target::Target;
use std::sync::Arc;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [object, plan, input, output] = arguments.as_slice() else {
        return Err("usage: conformance OBJECT PLAN INPUT OUTPUT".into());
    };
    let object = CodeObject::parse(std::fs::read(object)?)?;
    let target = Target::named(&object.target).ok_or("the emulator does not know the target")?;
    let memory = Memory::new(Limits {
        device_bytes: 1 << 32,
        poison: true,
    });
    let image = Arc::new(Image::load(object, &memory, 0, target)?);
    let inputs = std::fs::read(input)?;
    let mut inputs = inputs.as_slice();
    let mut outputs = Vec::new();
    for line in std::fs::read_to_string(plan)?.lines() {
        let (name, numbers) = line.split_once(' ').unwrap_or((line, ""));
        let numbers: Vec<usize> = numbers
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let [groups, items, in_bytes, out_bytes] = numbers[..] else {
            return Err(format!("{line:?} is no line of a plan").into());
        };
        let (given, rest) = inputs
            .split_at_checked(in_bytes)
            .ok_or("INPUT is shorter than the plan says")?;
        inputs = rest;
        let (source, result) = (
            buffer(&memory, given)?,
            buffer(&memory, &vec![0; out_bytes])?,
        );
        let (kernel, metadata) = image.kernel(name)?.ok_or("no such kernel")?;
        let function = Function::new(kernel, metadata, 0, image.clone());
        let pointers: Vec<u8> = [source.start(), result.start()]
            .iter()
            .flat_map(|address| address.to_le_bytes())
            .collect();
        let request = Request {
            grid: [groups as u32, 1, 1],
            block: [items as u32, 1, 1],
            dynamic_lds: 0,
            arguments: Arguments::Packed(&pointers),
        };
        if let Err(error) = function.launch(&request, &memory, &Recorder::default()) {
            println!("{name}\t{error}");
        }
        // SAFETY: the block is that large and no kernel runs any more.
        let bytes = unsafe { std::slice::from_raw_parts(result.start() as *const u8, out_bytes) };
        outputs.extend_from_slice(bytes);
        for block in [source, result] {
            memory.free(block.start(), "conformance", |_| true)?;
        }
    }
    std::fs::write(output, outputs)?;
    Ok(())
}

/// Device memory with these bytes in it.
fn buffer(memory: &Arc<Memory>, bytes: &[u8]) -> Result<Arc<Block>, Error> {
    let block = memory.allocate(bytes.len(), Kind::Device(0))?;
    // SAFETY: the block is that large and no kernel runs.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), block.start() as *mut u8, bytes.len()) };
    Ok(block)
}
