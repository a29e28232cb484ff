//! Loading code objects through the C ABI: good ones, wrong ones, damaged ones.

mod support;

use hip_emulator::api::{error, module};
use hip_emulator::code_object::{CodeObject, CodeObjectError, ValueKind};
use std::collections::HashSet;
use std::ffi::{c_void, CStr, CString};
use std::process::Command;
use std::ptr::null_mut;
use support::*;

/// What LLVM's own reader prints for a code object.
fn readelf(target: &str) -> String {
    let file = compile("api", target, 5);
    let output = Command::new("llvm-readelf-19")
        .args(["-h", "-s", "-n"])
        .arg(file)
        .output();
    let output = output.expect("llvm-readelf-19 (Debian: llvm-19) is needed by this test");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn symbols_target_and_arguments_agree_with_llvm() {
    for target in TARGETS {
        let text = readelf(target);
        let object = CodeObject::parse(code_object("api", target)).unwrap();
        assert_eq!(object.target, target);
        assert!(text
            .lines()
            .any(|line| line.contains("Flags:") && line.contains(target)));
        for kernel in &object.kernels {
            let symbol = object
                .symbol(&kernel.symbol)
                .expect("each kernel has a descriptor");
            let row = text
                .lines()
                .find(|line| line.ends_with(&format!(" {}", kernel.symbol)));
            let value = row.unwrap().split_whitespace().nth(1).unwrap().to_string();
            assert_eq!(
                u64::from_str_radix(&value, 16).unwrap(),
                symbol.address,
                "{}",
                kernel.name
            );
            let (_, descriptor) = object.descriptor(kernel).unwrap();
            assert_eq!(descriptor.kernarg_size as usize, kernel.kernarg_bytes);
            assert_eq!(descriptor.group_segment_fixed_size, kernel.lds_bytes);
        }
        let arguments: usize = object
            .kernels
            .iter()
            .map(|kernel| kernel.arguments.len())
            .sum();
        assert_eq!(arguments, text.matches(".value_kind:").count());
        let names: HashSet<_> = object.kernels.iter().map(|k| k.name.as_str()).collect();
        assert!(names.contains("vadd") && names.contains("geometry"));
    }
}

#[test]
fn version_4_has_fewer_hidden_arguments_and_loads() {
    device(0);
    let bytes = std::fs::read(compile("api", TARGETS[0], 4)).unwrap();
    let object = CodeObject::parse(bytes.clone()).unwrap();
    let vadd = object
        .kernels
        .iter()
        .find(|kernel| kernel.name == "vadd")
        .unwrap();
    assert_eq!(vadd.explicit_end(), 28);
    assert!(vadd
        .arguments
        .iter()
        .all(|a| a.kind == ValueKind::Explicit || a.offset >= 28));
    assert!(Module::load(&bytes).is_ok());
}

#[test]
fn another_targets_code_object_is_refused_by_name() {
    device(0);
    assert_eq!(
        Module::load(&code_object("api", "gfx90a")).err(),
        Some(NO_BINARY_FOR_GPU)
    );
    let text = last_text();
    assert!(
        text.contains("gfx90a") && text.contains("gfx1100"),
        "{text}"
    );
    let other = CodeObject::parse(std::fs::read(compile("api", "gfx1030", 5)).unwrap()).unwrap();
    assert_eq!(other.target, "gfx1030");
}

#[test]
fn null_and_unknown_handles_are_refused() {
    device(0);
    let bytes = code_object("api", TARGETS[0]);
    let image: *const c_void = bytes.as_ptr().cast();
    let name = CString::new("vadd").unwrap();
    // SAFETY: every pointer is null, valid, or a handle that is never read through.
    unsafe {
        assert_eq!(module::hipModuleLoadData(null_mut(), image), INVALID_VALUE);
        let mut handle = null_mut();
        assert_eq!(
            module::hipModuleLoadData(&mut handle, std::ptr::null()),
            INVALID_VALUE
        );
        assert_eq!(module::hipModuleUnload(null_mut()), INVALID_HANDLE);
        let mut function = null_mut();
        assert_eq!(
            module::hipModuleGetFunction(&mut function, 0x1234 as *mut c_void, name.as_ptr()),
            INVALID_HANDLE
        );
        assert_eq!(module::hipModuleLoadData(&mut handle, image), SUCCESS);
        assert_eq!(
            module::hipModuleGetFunction(null_mut(), handle, name.as_ptr()),
            INVALID_VALUE
        );
        assert_eq!(
            module::hipModuleGetFunction(&mut function, handle, std::ptr::null()),
            INVALID_VALUE
        );
        assert_eq!(
            module::hipModuleGetFunction(&mut function, handle, name.as_ptr()),
            SUCCESS
        );
        assert_eq!(module::hipModuleUnload(handle), SUCCESS);
        assert_eq!(module::hipModuleUnload(handle), INVALID_HANDLE);
        // The function went with its module.
        let mut value = 0;
        assert_eq!(
            module::hipFuncGetAttribute(&mut value, 0, function),
            INVALID_HANDLE
        );
    }
}

#[test]
fn an_unknown_kernel_is_not_found_and_the_error_string_lists_those_there_are() {
    let module = Module::api(0);
    let (mut function, name) = (null_mut(), CString::new("vsub").unwrap());
    // SAFETY: all pointers are valid; the string is copied before anything else is called.
    let text = unsafe {
        assert_eq!(
            module::hipModuleGetFunction(&mut function, module.0, name.as_ptr()),
            NOT_FOUND
        );
        CStr::from_ptr(error::hipGetErrorString(NOT_FOUND))
            .to_string_lossy()
            .into_owned()
    };
    assert!(text.contains("vsub") && text.contains("vadd"), "{text}");
}

#[test]
fn globals_have_address_and_size_and_descriptors_are_not_globals() {
    let module = Module::api(1);
    let find = |name: &str| {
        let (mut pointer, mut bytes, name) = (null_mut(), 0, CString::new(name).unwrap());
        // SAFETY: all pointers are valid.
        let code = unsafe {
            module::hipModuleGetGlobal(&mut pointer, &mut bytes, module.0, name.as_ptr())
        };
        (code, pointer as u64, bytes)
    };
    let (code, counter, bytes) = find("counter");
    assert_eq!((code, bytes), (SUCCESS, 4));
    let (code, address, bytes) = find("counter_address");
    assert_eq!((code, bytes), (SUCCESS, 8));
    // SAFETY: the module is loaded and the globals have these sizes (checked above).
    unsafe {
        assert_eq!(*(counter as *const u32), 7);
        assert_eq!(
            *(address as *const u64),
            counter,
            "the relocation points to the variable"
        );
    }
    assert_eq!(find("vadd.kd").0, NOT_FOUND);
    assert_eq!(find("vadd").0, NOT_FOUND);
    assert_eq!(find("nowhere").0, NOT_FOUND);
}

#[test]
fn function_attributes_come_from_the_code_object() {
    let module = Module::api(0);
    let attribute = |name: &str, number: i32| {
        let mut value = -1;
        // SAFETY: `value` is valid.
        let code =
            unsafe { module::hipFuncGetAttribute(&mut value, number, module.function(name)) };
        (code, value)
    };
    assert_eq!(attribute("small_blocks", 0), (SUCCESS, 64));
    assert_eq!(attribute("vadd", 0), (SUCCESS, 1024));
    assert_eq!(attribute("own_lds", 1), (SUCCESS, 32768));
    assert_eq!(attribute("own_lds", 8), (SUCCESS, 32768));
    assert_eq!(attribute("vadd", 3), (SUCCESS, 0));
    assert!(attribute("vadd", 4).1 > 0);
    assert_eq!(attribute("vadd", 99).0, INVALID_VALUE);
}

#[test]
fn things_that_are_no_code_objects_are_named() {
    device(0);
    let host = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let cases: [(&[u8], &str); 5] = [
        (b"", "magic"),
        (&[0u8; 256], "magic"),
        (b"#!/bin/sh\necho this is a script\n", "magic"),
        (b"__CLANG_OFFLOAD_BUNDLE__ and some more bytes", "bundle"),
        (&host, "AMD GPUs"),
    ];
    for (bytes, expected) in cases {
        let error = CodeObject::parse(bytes.to_vec()).unwrap_err();
        assert!(matches!(error, CodeObjectError::Invalid(_)));
        assert!(error.to_string().contains(expected), "{error}");
        // The same through the C ABI, which has no length (an empty buffer has no address either).
        if !bytes.is_empty() {
            assert_eq!(Module::load(bytes).err(), Some(INVALID_IMAGE));
            assert!(last_text().contains(expected), "{}", last_text());
        }
    }
    // An address that is not mapped is an error, not a crash.
    let mut module = null_mut();
    // SAFETY: `module` is valid; the emulator promises to survive the other pointer.
    let code = unsafe { module::hipModuleLoadData(&mut module, 0x10 as *const c_void) };
    assert_eq!(code, INVALID_IMAGE);
}

#[test]
fn every_truncation_is_an_error() {
    for target in TARGETS {
        let whole = code_object("api", target);
        for length in 0..whole.len() {
            // Section names and the last symbol names may be cut off without harm only at the very
            // end; the section header table is last in these files, so every cut is fatal.
            let result = CodeObject::parse(whole[..length].to_vec());
            assert!(
                matches!(result, Err(CodeObjectError::Invalid(_))),
                "{length} of {}",
                whole.len()
            );
        }
    }
}

#[test]
fn relocations_that_no_linked_code_object_has_are_refused() {
    let good = code_object("api", TARGETS[0]);
    let slot = CodeObject::parse(good.clone()).unwrap().relocations[0].offset;
    // An Elf64_Rela is r_offset, r_info (the type in its low half), r_addend; 13 is RELATIVE64.
    let entry = [slot.to_le_bytes(), 13u64.to_le_bytes()].concat();
    let at = good
        .windows(16)
        .position(|bytes| bytes == entry)
        .expect("the relocation's entry");
    let with = |offset: u64, info: u64| {
        let mut bytes = good.clone();
        bytes[at..at + 8].copy_from_slice(&offset.to_le_bytes());
        bytes[at + 8..at + 16].copy_from_slice(&info.to_le_bytes());
        CodeObject::parse(bytes)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(with(slot, 13), Ok(()));
    assert!(with(slot, 4).unwrap_err().contains("relocation type 4"));
    // ABS64 (3) against symbol 0, which is none, and against one that does not exist.
    assert!(with(slot, 3).unwrap_err().contains("symbol"));
    assert!(with(slot, 9999 << 32 | 3)
        .unwrap_err()
        .contains("relocations"));
    assert!(with(1 << 40, 13).unwrap_err().contains("outside"));
    // ABS64 against the first real symbol is the symbol's address plus the addend.
    assert_eq!(with(slot, 1 << 32 | 3), Ok(()));
}

/// A small generator with a fixed seed (xorshift64*), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[test]
fn damaged_code_objects_never_panic() {
    use hip_emulator::code_object::Image;
    use hip_emulator::memory::{Limits, Memory};
    use hip_emulator::target::Target;
    let memory = Memory::new(Limits {
        device_bytes: 1 << 30,
        poison: true,
    });
    let mut random = Random(0x5eed);
    let (mut refused, mut loaded) = (0, 0);
    for target in TARGETS {
        let whole = code_object("api", target);
        let device = Target::named(target).unwrap();
        for round in 0..4000 {
            let mut bytes = whole.clone();
            // Half of the damage goes to headers and notes, where the structure is.
            let span = if round % 2 == 0 { bytes.len() } else { 0x1000 };
            for _ in 0..1 + random.next() % 4 {
                let at = random.next() as usize % span;
                bytes[at] = match random.next() % 3 {
                    0 => bytes[at] ^ (1 << (random.next() % 8)),
                    1 => 0xff,
                    _ => random.next() as u8,
                };
            }
            let outcome = CodeObject::parse(bytes)
                .and_then(|object| Image::load(object, &memory, 0, device))
                .and_then(|image| {
                    let names: Vec<_> = image.kernels().iter().map(|k| k.name.clone()).collect();
                    names
                        .iter()
                        .try_for_each(|name| image.kernel(name).map(drop))?;
                    memory.free(image.base(), "test", |_| true)?;
                    Ok(())
                });
            match outcome {
                Ok(()) => loaded += 1,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
    }
    // Damage in code and padding goes unnoticed; damage in the structure must not.
    assert!(
        refused > 1000 && loaded > 1000,
        "{refused} refused, {loaded} loaded"
    );
}
