//! Kernels that run by default keep their values in registers: a test over every code object of the build. Scratch is
//! memory of each work-item outside of the chip; a compiler that runs out of registers, or an array indexed at run time,
//! puts values there without a word.
use super::ALL;
use object::{Object, ObjectSection, ObjectSymbol};

/// Kernels that may have scratch: module, what their names begin with, why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "quantized",
    "mul_mat",
    "candle's, translated: taken only on request (set_product_kernels), to compare with",
)];

/// Name and bytes of scratch of each kernel of an AMD code object. The descriptor of kernel NAME is the symbol NAME.kd; its
/// second word is the size (LLVM, AMDGPUUsage, "Kernel Descriptor": PRIVATE_SEGMENT_FIXED_SIZE).
fn scratch(code_object: &[u8]) -> Vec<(String, u32)> {
    let file = object::File::parse(code_object).expect("an ELF file");
    let kernel = |symbol: object::Symbol| {
        let name = symbol.name().ok()?.strip_suffix(".kd")?.to_string();
        let mut sections = file.sections();
        let descriptor = sections.find_map(|s| s.data_range(symbol.address(), 64).ok().flatten());
        let descriptor = descriptor.expect("a descriptor lies in a section");
        let size = descriptor[4..8].try_into().expect("four bytes");
        Some((name, u32::from_le_bytes(size)))
    };
    file.dynamic_symbols().filter_map(kernel).collect()
}

#[test]
fn default_kernels_have_no_scratch() {
    let mut found = Vec::new();
    for module in ALL {
        for object in module.code_objects {
            // A cubin has no such descriptor.
            if object.target.starts_with("sm_") {
                continue;
            }
            let kernels = scratch(object.bytes);
            assert!(!kernels.is_empty(), "{} {}", module.name, object.target);
            let excepted = |name: &str| {
                let mut rows = EXCEPTIONS.iter();
                rows.any(|(of, prefix, _)| *of == module.name && name.starts_with(prefix))
            };
            for (name, bytes) in kernels {
                if bytes > 0 && !excepted(&name) {
                    found.push(format!(
                        "{} {} {name}: {bytes} bytes",
                        module.name, object.target
                    ));
                }
            }
        }
    }
    assert!(found.is_empty(), "scratch memory:\n{}", found.join("\n"));
}
