//! The ELF container of a code object, read with bounds checks.

use super::descriptor::{self, DESCRIPTOR_BYTES};
use super::machine::{conflict, target_of};
use super::metadata::{self, KernelMetadata};
use super::{invalid, CodeObjectError};
use crate::kernel::Descriptor;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader, Rela, SectionHeader, SectionTable, Sym};
use object::LittleEndian;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

type Header = elf::FileHeader64<LittleEndian>;
const LE: LittleEndian = LittleEndian;

/// `NT_AMDGPU_METADATA`, owner "AMDGPU" (AMDGPUUsage, "Note Records").
const NT_AMDGPU_METADATA: u32 = 32;
/// The relocations that lld leaves in a linked code object (LLVM 19, `ELFRelocs/AMDGPU.def`).
const R_AMDGPU_NONE: u32 = 0;
const R_AMDGPU_ABS64: u32 = 3;
const R_AMDGPU_RELATIVE64: u32 = 13;
/// A loaded image larger than this is a damaged file.
const MAX_IMAGE: u64 = 1 << 30;

/// A part of the image and what kernels may do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Bytes of the file, laid at the start of `addresses`; zeroes follow.
    pub file: Range<usize>,
    pub addresses: Range<u64>,
    pub writable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolKind {
    Code,
    Data,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    pub name: String,
    pub kind: SymbolKind,
    pub address: u64,
    pub size: u64,
}

/// A relocation that was checked: a 64-bit slot at `offset` that becomes `base + value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relocation {
    pub offset: u64,
    pub value: u64,
}

/// A parsed code object; addresses are those of the file, before loading.
#[derive(Debug)]
pub struct CodeObject {
    bytes: Vec<u8>,
    /// LLVM's name of the target, such as `gfx1100`.
    pub target: String,
    pub segments: Vec<Segment>,
    /// What in the code object rules the device out although the target agrees; see
    /// [`super::machine::conflict`].
    pub conflict: Option<&'static str>,
    pub symbols: Vec<Symbol>,
    names: HashMap<String, usize>,
    pub kernels: Vec<KernelMetadata>,
    pub relocations: Vec<Relocation>,
}

impl CodeObject {
    /// Reads a linked code object (the output of `lld`, a shared object).
    pub fn parse(bytes: Vec<u8>) -> Result<CodeObject, CodeObjectError> {
        let data = bytes.as_slice();
        let header = header(data)?;
        let wrong = |error: object::Error| invalid(error.to_string());
        let programs = header.program_headers(LE, data).map_err(wrong)?;
        let segments = segments(programs, data.len())?;
        let kernels = kernels(programs, data)?;
        let sections = header.sections(LE, data).map_err(wrong)?;
        let symbols = symbols(&sections, data)?;
        let relocations = relocations(&sections, data)?;
        for relocation in &relocations {
            if !segments
                .iter()
                .any(|s| inside(&s.addresses, relocation.offset, 8))
            {
                return Err(invalid(format!(
                    "a relocation at {:#x} lies outside its segments",
                    relocation.offset
                )));
            }
        }
        let target = target_of(header.e_flags(LE));
        let conflict = conflict(header.e_flags(LE));
        let names = symbols
            .iter()
            .enumerate()
            .map(|(at, s)| (s.name.clone(), at))
            .collect();
        Ok(CodeObject {
            target,
            conflict,
            segments,
            symbols,
            names,
            kernels,
            relocations,
            bytes,
        })
    }

    /// Bytes of the image from address 0 to the end of the last segment.
    pub fn image_bytes(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| segment.addresses.end)
            .max()
            .unwrap_or(0)
    }

    /// The file's bytes of a segment.
    pub fn segment_bytes(&self, segment: &Segment) -> &[u8] {
        self.bytes.get(segment.file.clone()).unwrap_or(&[])
    }

    pub fn symbol(&self, name: &str) -> Option<&Symbol> {
        self.symbols.get(*self.names.get(name)?)
    }

    /// The file's bytes at `[address, address + size)` of the unrelocated image.
    pub fn at(&self, address: u64, size: u64) -> Option<&[u8]> {
        let segment = self
            .segments
            .iter()
            .find(|s| inside(&s.addresses, address, size))?;
        let offset = usize::try_from(address - segment.addresses.start).ok()?;
        let size = usize::try_from(size).ok()?;
        self.segment_bytes(segment).get(offset..)?.get(..size)
    }

    /// The descriptor of a kernel and its address.
    pub fn descriptor(
        &self,
        kernel: &KernelMetadata,
    ) -> Result<(u64, Descriptor), CodeObjectError> {
        let symbol = self.symbol(&kernel.symbol).ok_or_else(|| {
            invalid(format!(
                "kernel {} has no descriptor symbol {}",
                kernel.name, kernel.symbol
            ))
        })?;
        let bytes = self
            .at(symbol.address, DESCRIPTOR_BYTES as u64)
            .ok_or_else(|| {
                invalid(format!(
                    "the descriptor of kernel {} lies outside the file",
                    kernel.name
                ))
            })?;
        Ok((symbol.address, descriptor::parse(&kernel.name, bytes)?))
    }
}

fn inside(range: &Range<u64>, address: u64, size: u64) -> bool {
    address >= range.start && address <= range.end && size <= range.end - address
}

fn header(data: &[u8]) -> Result<&Header, CodeObjectError> {
    if data.starts_with(b"__CLANG_OFFLOAD_BUNDLE__") || data.starts_with(b"CCOB") {
        return Err(invalid(
            "it is an offload bundle; compile with --no-gpu-bundle-output or unbundle it first",
        ));
    }
    if !data.starts_with(b"\x7fELF") {
        return Err(invalid("it does not start with the ELF magic number"));
    }
    let header = Header::parse(data)
        .map_err(|_| invalid("its ELF header is damaged or not the 64-bit form"))?;
    // `Header` reads little-endian; a big-endian file must not be taken for one.
    if header.e_ident.data != elf::ELFDATA2LSB {
        return Err(invalid("it is not little-endian"));
    }
    if header.e_machine(LE) != elf::EM_AMDGPU {
        return Err(invalid(format!(
            "it is an ELF file for machine {}, not for AMD GPUs ({})",
            header.e_machine(LE),
            elf::EM_AMDGPU
        )));
    }
    if header.e_type(LE) != elf::ET_DYN {
        return Err(invalid(
            "it is not linked (an ELF file of another type than ET_DYN)",
        ));
    }
    Ok(header)
}

fn segments(
    programs: &[elf::ProgramHeader64<LittleEndian>],
    file_bytes: usize,
) -> Result<Vec<Segment>, CodeObjectError> {
    let mut relro: Vec<Range<u64>> = Vec::new();
    let mut segments = Vec::new();
    for program in programs {
        let (address, size) = (program.p_vaddr(LE), program.p_memsz(LE));
        let end = address.checked_add(size).filter(|end| *end <= MAX_IMAGE);
        match (program.p_type(LE), end) {
            (elf::PT_GNU_RELRO, Some(end)) => relro.push(address..end),
            (elf::PT_LOAD, None) => {
                return Err(invalid(format!(
                    "a segment of {size:#x} bytes at {address:#x}"
                )));
            }
            (elf::PT_LOAD, Some(_)) if size == 0 => {}
            (elf::PT_LOAD, Some(end)) => {
                let (offset, stored) = (program.p_offset(LE), program.p_filesz(LE));
                let stop = offset
                    .checked_add(stored)
                    .filter(|stop| *stop <= file_bytes as u64);
                let Some(stop) = stop.filter(|_| stored <= size) else {
                    return Err(invalid(format!(
                        "it is truncated: a segment wants bytes {offset}..{} of {file_bytes}",
                        offset.saturating_add(stored)
                    )));
                };
                segments.push(Segment {
                    file: offset as usize..stop as usize,
                    addresses: address..end,
                    writable: program.p_flags(LE) & elf::PF_W != 0,
                });
            }
            _ => {}
        }
    }
    if segments.is_empty() {
        return Err(invalid("it has no loadable segment"));
    }
    segments.sort_by_key(|segment| segment.addresses.start);
    if segments
        .windows(2)
        .any(|pair| pair[0].addresses.end > pair[1].addresses.start)
    {
        return Err(invalid("its segments overlap"));
    }
    // What the loader relocates and then protects is read-only to kernels.
    for segment in &mut segments {
        let within =
            |r: &Range<u64>| r.start <= segment.addresses.start && r.end >= segment.addresses.end;
        if relro.iter().any(within) {
            segment.writable = false;
        }
    }
    Ok(segments)
}

fn kernels(
    programs: &[elf::ProgramHeader64<LittleEndian>],
    data: &[u8],
) -> Result<Vec<KernelMetadata>, CodeObjectError> {
    let wrong = |_| invalid("its note segment is damaged");
    for program in programs {
        let Some(mut notes) = program.notes(LE, data).map_err(wrong)? else {
            continue;
        };
        while let Some(note) = notes.next().map_err(wrong)? {
            if note.name() == b"AMDGPU" && note.n_type(LE) == NT_AMDGPU_METADATA {
                return metadata::parse(note.desc());
            }
        }
    }
    Err(invalid(
        "it has no AMDGPU metadata note (code object v3 or newer is needed)",
    ))
}

fn symbols(
    sections: &SectionTable<'_, Header>,
    data: &[u8],
) -> Result<Vec<Symbol>, CodeObjectError> {
    let mut symbols: Vec<Symbol> = Vec::new();
    let mut known = HashSet::new();
    for table in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
        let wrong = |error: object::Error| invalid(format!("its symbol table: {error}"));
        let table = sections.symbols(LE, data, table).map_err(wrong)?;
        for symbol in table.iter() {
            let kind = match symbol.st_type() {
                elf::STT_FUNC => SymbolKind::Code,
                elf::STT_OBJECT => SymbolKind::Data,
                _ => continue,
            };
            if symbol.is_undefined(LE) {
                continue;
            }
            let name = table.symbol_name(LE, symbol).map_err(wrong)?;
            let Ok(name) = std::str::from_utf8(name) else {
                continue;
            };
            // The dynamic table repeats the names of the full one.
            if known.insert(name.to_string()) {
                let (address, size) = (symbol.st_value(LE), symbol.st_size(LE));
                symbols.push(Symbol {
                    name: name.to_string(),
                    kind,
                    address,
                    size,
                });
            }
        }
    }
    Ok(symbols)
}

fn relocations(
    sections: &SectionTable<'_, Header>,
    data: &[u8],
) -> Result<Vec<Relocation>, CodeObjectError> {
    let wrong = |error: object::Error| invalid(format!("its relocations: {error}"));
    let dynamic = sections.symbols(LE, data, elf::SHT_DYNSYM).map_err(wrong)?;
    let mut relocations = Vec::new();
    for section in sections.iter() {
        // Only what the loader sees: relocations of sections that are not loaded are for the linker.
        if section.sh_flags(LE) & u64::from(elf::SHF_ALLOC) == 0 {
            continue;
        }
        if section
            .rel(LE, data)
            .map_err(wrong)?
            .is_some_and(|(rels, _)| !rels.is_empty())
        {
            return Err(invalid(
                "it has relocations without addends, which AMD code objects do not use",
            ));
        }
        let Some((relas, _)) = section.rela(LE, data).map_err(wrong)? else {
            continue;
        };
        for rela in relas {
            let (offset, addend) = (rela.r_offset(LE), rela.r_addend(LE) as u64);
            // Formulas: AMDGPUUsage, "Relocation Records".
            let value = match rela.r_type(LE, false) {
                R_AMDGPU_NONE => continue,
                R_AMDGPU_RELATIVE64 => addend,
                R_AMDGPU_ABS64 => {
                    let index = object::SymbolIndex(rela.r_sym(LE, false) as usize);
                    let symbol = dynamic.symbol(index).map_err(wrong)?;
                    if symbol.is_undefined(LE) {
                        let name = dynamic.symbol_name(LE, symbol).map_err(wrong)?;
                        let name = String::from_utf8_lossy(name);
                        return Err(invalid(format!("symbol {name} is undefined")));
                    }
                    symbol.st_value(LE).wrapping_add(addend)
                }
                other => {
                    return Err(invalid(format!(
                        "relocation type {other} at {offset:#x} is not one that a linked code object has"
                    )));
                }
            };
            relocations.push(Relocation { offset, value });
        }
    }
    Ok(relocations)
}
