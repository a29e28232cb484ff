//! Code objects that come as a bare pointer, as `hipModuleLoadData` gets them.

use super::{invalid, CodeObjectError};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Larger than any code object; a length above it means that the header is garbage.
const MAX_FILE: u64 = 1 << 30;
const ELF_HEADER: usize = 64;
/// Sizes of a program header and of a section header in a 64-bit ELF file.
const TABLE_ENTRIES: [u64; 2] = [56, 64];

/// Copies the code object at `address`. Its length comes from the ELF header: the program headers'
/// and section headers' tables and everything that they point to.
///
/// # Safety
/// `address` must point to a code object, or to memory with anything else in it. Unmapped memory
/// gives an error where the system lets a process read its own memory by file (`/proc/self/mem`).
pub unsafe fn read_image(address: u64) -> Result<Vec<u8>, CodeObjectError> {
    let memory = File::open("/proc/self/mem").ok();
    let read = |offset: u64, bytes: u64| -> Result<Vec<u8>, CodeObjectError> {
        let start = address
            .checked_add(offset)
            .filter(|s| s.checked_add(bytes).is_some());
        let start = start.ok_or_else(|| invalid("its address range wraps around"))?;
        let mut copy = vec![0; bytes as usize];
        match &memory {
            // The kernel refuses what is not mapped, where a plain read would end the process.
            Some(memory) => memory.read_exact_at(&mut copy, start).map_err(|_| {
                invalid(format!(
                    "it is truncated: {bytes} bytes at {start:#x} are not readable"
                ))
            })?,
            None => {
                // SAFETY: the caller's promise; there is no other way to look without the file.
                unsafe {
                    std::ptr::copy_nonoverlapping(
                        start as *const u8,
                        copy.as_mut_ptr(),
                        copy.len(),
                    );
                }
            }
        }
        Ok(copy)
    };
    // Short things that are no ELF file are told apart before 64 bytes are asked for.
    let magic = read(0, 4)?;
    if magic != b"\x7fELF" {
        return Err(match magic.as_slice() {
            b"__CL" | b"CCOB" => invalid(
                "it is an offload bundle; compile with --no-gpu-bundle-output or unbundle it first",
            ),
            _ => invalid("it does not start with the ELF magic number"),
        });
    }
    let head = read(0, ELF_HEADER as u64)?;
    let mut end = ELF_HEADER as u64;
    let mut include = |offset: u64, bytes: u64| -> Result<(), CodeObjectError> {
        let stop = offset.checked_add(bytes).filter(|stop| *stop <= MAX_FILE);
        end = end.max(stop.ok_or_else(|| invalid("its ELF header points beyond any code object"))?);
        Ok(())
    };
    // ELF64: e_phoff at 32, e_shoff at 40, e_phentsize/e_phnum at 54/56, e_shentsize/e_shnum at 58/60.
    let tables = [(u64_at(&head, 32), 54), (u64_at(&head, 40), 58)];
    for ((offset, sizes), entry) in tables.into_iter().zip(TABLE_ENTRIES) {
        let (size, count) = (
            u64::from(u16_at(&head, sizes)),
            u64::from(u16_at(&head, sizes + 2)),
        );
        if count == 0 {
            continue;
        }
        if size != entry {
            return Err(invalid(format!(
                "its ELF header gives a table entry of {size} bytes"
            )));
        }
        include(offset, size * count)?;
        let table = read(offset, size * count)?;
        for row in table.chunks_exact(entry as usize) {
            // p_offset/p_filesz at 8/32; sh_offset/sh_size at 24/32, unless SHT_NOBITS (8).
            match entry {
                56 => include(u64_at(row, 8), u64_at(row, 32))?,
                _ if u32_at(row, 4) == 8 => {}
                _ => include(u64_at(row, 24), u64_at(row, 32))?,
            }
        }
    }
    read(0, end)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
