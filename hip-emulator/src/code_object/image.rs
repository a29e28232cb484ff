//! A code object in memory: segments laid out, relocated, visible to the kernels of one device.

use super::elf::{CodeObject, SymbolKind};
use super::metadata::KernelMetadata;
use super::{invalid, CodeObjectError};
use crate::kernel::{Descriptor, Kernel};
use crate::memory::{Block, Kind, Limits, Memory, Region};
use crate::target::Target;
use std::sync::Arc;

/// Images start on a page, as the segments' own alignment asks.
const IMAGE_ALIGNMENT: usize = 4096;

/// A variable of the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Global {
    pub address: u64,
    pub bytes: u64,
}

/// A loaded code object.
#[derive(Debug)]
pub struct Image {
    object: CodeObject,
    block: Arc<Block>,
    target: &'static Target,
}

impl Image {
    /// Checks the target, lays the segments out, relocates them and makes them visible to the
    /// kernels of `device`. Every kernel is checked now, so that launching cannot find the file bad.
    pub fn load(
        object: CodeObject,
        memory: &Memory,
        device: u32,
        target: &'static Target,
    ) -> Result<Image, CodeObjectError> {
        if !target.runs(&object.target) {
            let found = object.target.clone();
            return Err(CodeObjectError::WrongTarget {
                found,
                wanted: target.name,
            });
        }
        if let Some(conflict) = object.conflict {
            return Err(CodeObjectError::WrongFeatures {
                target: target.name,
                conflict,
            });
        }
        for kernel in &object.kernels {
            if kernel.wave_size != target.wave_size {
                return Err(invalid(format!(
                    "kernel {} is compiled for waves of {}, HIP uses {} on {}",
                    kernel.name, kernel.wave_size, target.wave_size, target.name
                )));
            }
            let (descriptor_address, descriptor) = object.descriptor(kernel)?;
            code_range(&object, kernel, descriptor_address, &descriptor)?;
        }
        // Bounded by the parser.
        let size = object.image_bytes() as usize;
        let mut block = memory.build(size, IMAGE_ALIGNMENT, Kind::Image(device))?;
        let base = block.start();
        for segment in &object.segments {
            block.fill(
                segment.addresses.start as usize,
                object.segment_bytes(segment),
            );
        }
        for relocation in &object.relocations {
            let value = base.wrapping_add(relocation.value).to_le_bytes();
            block.fill(relocation.offset as usize, &value);
        }
        let regions = object.segments.iter().map(|segment| Region {
            start: base + segment.addresses.start,
            end: base + segment.addresses.end,
            writable: segment.writable,
        });
        block.restrict(regions.collect());
        Ok(Image {
            object,
            block: memory.insert(block),
            target,
        })
    }

    /// Where address 0 of the file lies.
    pub fn base(&self) -> u64 {
        self.block.start()
    }

    pub fn kernels(&self) -> &[KernelMetadata] {
        &self.object.kernels
    }

    /// The kernel called `name`, ready for the executor, with its metadata.
    pub fn kernel(&self, name: &str) -> Result<Option<(Kernel, KernelMetadata)>, CodeObjectError> {
        let Some(metadata) = self
            .object
            .kernels
            .iter()
            .find(|kernel| kernel.name == name)
        else {
            return Ok(None);
        };
        let (descriptor_address, descriptor) = self.object.descriptor(metadata)?;
        let (address, code) = code_range(&self.object, metadata, descriptor_address, &descriptor)?;
        let kernel = Kernel {
            name: name.to_string(),
            target: self.target,
            descriptor,
            code: code.into(),
            address: self.base() + address,
            uses_dynamic_stack: metadata.dynamic_stack,
        };
        Ok(Some((kernel, metadata.clone())))
    }

    /// The variable called `name`.
    pub fn global(&self, name: &str) -> Option<Global> {
        let symbol = self
            .object
            .symbol(name)
            .filter(|symbol| symbol.kind == SymbolKind::Data)?;
        let is_descriptor = self
            .object
            .kernels
            .iter()
            .any(|kernel| kernel.symbol == symbol.name);
        let inside = symbol.address.checked_add(symbol.size)? <= self.object.image_bytes();
        (inside && !is_descriptor).then(|| Global {
            address: self.base() + symbol.address,
            bytes: symbol.size,
        })
    }
}

/// The kernels of a code object of any target, for tools that look at instructions without running them: in a memory
/// of their own, which lives as long as the iterator.
pub fn kernels_in(
    bytes: Vec<u8>,
) -> Result<impl Iterator<Item = Result<Kernel, CodeObjectError>>, CodeObjectError> {
    let object = CodeObject::parse(bytes)?;
    let target = Target::running(&object.target)
        .ok_or_else(|| invalid(format!("its target {} is not known", object.target)))?;
    let memory = Memory::new(Limits {
        device_bytes: 1 << 30,
        poison: false,
    });
    let image = Image::load(object, &memory, 0, target)?;
    let names: Vec<String> = image.kernels().iter().map(|k| k.name.clone()).collect();
    Ok(names.into_iter().filter_map(move |name| {
        let kernel = image.kernel(&name).transpose()?;
        Some(kernel.map(|(kernel, _)| kernel))
    }))
}

/// Where a kernel's instructions lie in the file: from its entry to the end of its symbol.
fn code_range<'a>(
    object: &'a CodeObject,
    kernel: &KernelMetadata,
    descriptor_address: u64,
    descriptor: &Descriptor,
) -> Result<(u64, &'a [u8]), CodeObjectError> {
    let entry = descriptor_address.wrapping_add_signed(descriptor.kernel_code_entry_byte_offset);
    let symbol = object
        .symbols
        .iter()
        .find(|s| s.kind == SymbolKind::Code && entry >= s.address && entry - s.address < s.size)
        .ok_or_else(|| {
            invalid(format!(
                "the entry of kernel {} ({entry:#x}) lies in no function",
                kernel.name
            ))
        })?;
    let size = symbol.size - (entry - symbol.address);
    let code = object.at(entry, size).ok_or_else(|| {
        invalid(format!(
            "the instructions of kernel {} lie outside the file",
            kernel.name
        ))
    })?;
    if !entry.is_multiple_of(4) || !size.is_multiple_of(4) {
        return Err(invalid(format!(
            "the instructions of kernel {} are not aligned",
            kernel.name
        )));
    }
    Ok((entry, code))
}
