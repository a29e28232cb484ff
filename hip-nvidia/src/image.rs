//! What a module's image says before CUDA loads it.

use std::ffi::c_void;

/// Fields of a 64-bit ELF file (the System V ABI's names): offsets in the header and in a section's row, and a type.
const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const E_SHOFF: usize = 0x28;
const E_SHENTSIZE: usize = 0x3a;
const E_SHNUM: usize = 0x3c;
const SH_TYPE: usize = 4;
const SH_OFFSET: usize = 0x18;
const SH_SIZE: usize = 0x20;
const SHT_STRTAB: u32 = 3;

/// Whether the image is a cubin that has this name in a table of names. (To ask CUDA for a variable that a module lacks is an
/// error, which compute-sanitizer reports.)
///
/// # Safety
/// `image` points to a whole image, as `hipModuleLoadData` takes it.
pub unsafe fn has_name(image: *const c_void, name: &str) -> bool {
    let image = image.cast::<u8>();
    // SAFETY: an image is longer than this; each field and section lies within the file, whose header says where.
    let bytes =
        |at: usize, count: usize| unsafe { std::slice::from_raw_parts(image.add(at), count) };
    let number = |at: usize, count: usize| {
        let mut number = [0; 8];
        number[..count].copy_from_slice(bytes(at, count));
        u64::from_le_bytes(number) as usize
    };
    if bytes(0, MAGIC.len()) != MAGIC {
        return false;
    }
    let (rows, row) = (number(E_SHOFF, 8), number(E_SHENTSIZE, 2));
    let mut names = (0..number(E_SHNUM, 2))
        .map(|i| rows + i * row)
        .filter(|at| number(at + SH_TYPE, 4) == SHT_STRTAB as usize)
        .map(|at| bytes(number(at + SH_OFFSET, 8), number(at + SH_SIZE, 8)));
    names.any(|table| table.split(|byte| *byte == 0).any(|n| n == name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with a section of another type and one of names.
    fn file() -> Vec<u8> {
        let names = b"\0first\0kernels\0";
        let mut file = vec![0; 0x40];
        file[..MAGIC.len()].copy_from_slice(MAGIC);
        file.extend_from_slice(names);
        let rows = file.len();
        file[E_SHOFF..E_SHOFF + 8].copy_from_slice(&(rows as u64).to_le_bytes());
        file[E_SHENTSIZE] = 0x40;
        file[E_SHNUM] = 2;
        for kind in [1, SHT_STRTAB] {
            let mut row = [0; 0x40];
            row[SH_TYPE..SH_TYPE + 4].copy_from_slice(&kind.to_le_bytes());
            let (at, size) = if kind == SHT_STRTAB {
                (0x40, names.len())
            } else {
                (0, 0)
            };
            row[SH_OFFSET..SH_OFFSET + 8].copy_from_slice(&(at as u64).to_le_bytes());
            row[SH_SIZE..SH_SIZE + 8].copy_from_slice(&(size as u64).to_le_bytes());
            file.extend_from_slice(&row);
        }
        file
    }

    #[test]
    fn whole_names_of_elf_files_are_found() {
        let has = |image: &[u8], name| unsafe { has_name(image.as_ptr().cast(), name) };
        let file = file();
        assert!(has(&file, "first") && has(&file, "kernels"));
        assert!(!has(&file, "kernel") && !has(&file, "rst"));
        assert!(!has(b".version 8.0 // PTX", "first"));
    }
}
