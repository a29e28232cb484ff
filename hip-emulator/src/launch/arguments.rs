//! The kernarg segment: the caller's arguments and the hidden ones.

use super::Request;
use crate::code_object::{HiddenArgument, KernelMetadata, ValueKind};
use std::ffi::c_void;

/// Arguments as the caller gives them.
#[derive(Debug, Clone, Copy)]
pub enum Arguments<'a> {
    /// None: fine for a kernel without parameters.
    None,
    /// `extra`: the explicit part of the kernarg segment as one buffer.
    Packed(&'a [u8]),
    /// `kernelParams`: one pointer per parameter. Whoever makes this variant vouches that each points
    /// to as many bytes as the parameter has (see [`Arguments::pointers`]).
    Pointers(&'a [*const c_void]),
}

impl<'a> Arguments<'a> {
    /// One pointer per explicit parameter of `metadata`, read from a C array.
    ///
    /// # Safety
    /// `params` must have as many elements as the kernel has explicit parameters; each is null or
    /// points to the parameter's value.
    pub unsafe fn pointers(
        params: *const *const c_void,
        metadata: &KernelMetadata,
    ) -> Arguments<'a> {
        // SAFETY: the caller's promise.
        Arguments::Pointers(unsafe {
            std::slice::from_raw_parts(params, metadata.explicit().count())
        })
    }
}

/// What bytes of the segment that belong to no argument read as.
const PADDING: u8 = 0xA5;

/// The kernarg segment of one launch, or what is wrong with the arguments. The queue pointer is left
/// null: its address is known when the segment has one.
pub fn kernarg(metadata: &KernelMetadata, request: &Request<'_>) -> Result<Vec<u8>, String> {
    let mut bytes = vec![PADDING; metadata.kernarg_bytes];
    let wanted = metadata.explicit_end();
    match request.arguments {
        Arguments::None if wanted == 0 => {}
        Arguments::None => {
            return Err(format!(
                "it takes {wanted} bytes of arguments, none were given"
            ))
        }
        Arguments::Packed(given) => {
            // A C struct of the same members may be padded at its end.
            let padded = wanted.next_multiple_of(metadata.kernarg_alignment.max(8));
            if given.len() < wanted || given.len() > padded {
                return Err(format!(
                    "it takes {wanted} bytes of arguments, {} were given",
                    given.len()
                ));
            }
            bytes[..wanted].copy_from_slice(&given[..wanted]);
        }
        Arguments::Pointers(pointers) => {
            for (index, (argument, pointer)) in metadata.explicit().zip(pointers).enumerate() {
                if pointer.is_null() {
                    return Err(format!("the pointer to argument {index} is null"));
                }
                let slot = &mut bytes[argument.offset..argument.offset + argument.size];
                // SAFETY: `Arguments::pointers` had the caller promise that the value is there, and
                // the slot lies in the segment (the metadata's parser checked it).
                unsafe {
                    slot.as_mut_ptr()
                        .copy_from_nonoverlapping(pointer.cast::<u8>(), argument.size);
                }
            }
        }
    }
    for argument in &metadata.arguments {
        if let ValueKind::Hidden(hidden) = argument.kind {
            let value = hidden_value(hidden, request).to_le_bytes();
            let slot = &mut bytes[argument.offset..argument.offset + argument.size];
            for (index, byte) in slot.iter_mut().enumerate() {
                *byte = value.get(index).copied().unwrap_or(0);
            }
        }
    }
    Ok(bytes)
}

/// AMDGPUUsage, "Code Object V5 Metadata": what each hidden argument holds.
fn hidden_value(hidden: HiddenArgument, request: &Request<'_>) -> u64 {
    match hidden {
        HiddenArgument::BlockCount(axis) => u64::from(request.grid[axis]),
        HiddenArgument::GroupSize(axis) => u64::from(request.block[axis]),
        HiddenArgument::GridDims => u64::from(dimensions(request.grid, request.block)),
        HiddenArgument::DynamicLdsSize => u64::from(request.dynamic_lds),
        // The apertures come from registers on every supported target (gfx9 and later); a kernel that
        // reads them from memory was compiled for older hardware and is refused as a wrong target.
        HiddenArgument::PrivateBase | HiddenArgument::SharedBase => 0,
        HiddenArgument::Remainder(_)
        | HiddenArgument::GlobalOffset(_)
        | HiddenArgument::QueuePointer
        | HiddenArgument::Absent => 0,
    }
}

/// How many dimensions a launch uses: up to the last one with more than one work-item.
pub fn dimensions(grid: [u32; 3], block: [u32; 3]) -> u16 {
    let used = |axis: usize| grid[axis] > 1 || block[axis] > 1;
    match (used(1), used(2)) {
        (_, true) => 3,
        (true, false) => 2,
        (false, false) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code_object::Argument;

    fn metadata() -> KernelMetadata {
        let explicit = |offset, size| Argument {
            offset,
            size,
            kind: ValueKind::Explicit,
        };
        let hidden = |offset, size, kind| Argument {
            offset,
            size,
            kind: ValueKind::Hidden(kind),
        };
        KernelMetadata {
            name: "k".into(),
            symbol: "k.kd".into(),
            arguments: vec![
                explicit(0, 8),
                explicit(8, 4),
                hidden(16, 4, HiddenArgument::BlockCount(1)),
                hidden(20, 2, HiddenArgument::GroupSize(0)),
                hidden(22, 2, HiddenArgument::GridDims),
                hidden(24, 8, HiddenArgument::GlobalOffset(0)),
            ],
            kernarg_bytes: 36,
            kernarg_alignment: 8,
            lds_bytes: 0,
            scratch_bytes: 0,
            wave_size: 32,
            max_workgroup: 1024,
            required_workgroup: None,
            vgprs: 0,
            sgprs: 0,
            dynamic_stack: false,
        }
    }

    fn request(arguments: Arguments<'_>) -> Request<'_> {
        Request {
            grid: [2, 7, 1],
            block: [64, 1, 1],
            dynamic_lds: 0,
            arguments,
        }
    }

    #[test]
    fn packed_and_pointer_arguments_fill_the_same_segment() {
        let packed: Vec<u8> = (1..=12).collect();
        let from_packed = kernarg(&metadata(), &request(Arguments::Packed(&packed))).unwrap();
        let pointers = [packed.as_ptr().cast(), packed[8..].as_ptr().cast()];
        let from_pointers = kernarg(&metadata(), &request(Arguments::Pointers(&pointers))).unwrap();
        assert_eq!(from_packed, from_pointers);
        let mut expected = packed;
        expected.extend([PADDING; 4]);
        expected.extend([7, 0, 0, 0, 64, 0, 2, 0]);
        expected.extend([0; 8]);
        expected.extend([PADDING; 4]);
        assert_eq!(from_packed, expected);
    }

    #[test]
    fn a_wrong_number_of_bytes_is_named() {
        for size in [0, 8, 11, 17, 40] {
            let bytes = vec![0; size];
            let error = kernarg(&metadata(), &request(Arguments::Packed(&bytes))).unwrap_err();
            assert!(
                error.contains("12 bytes") && error.contains(&size.to_string()),
                "{error}"
            );
        }
        let padded = [0; 16];
        assert!(kernarg(&metadata(), &request(Arguments::Packed(&padded))).is_ok());
        assert!(kernarg(&metadata(), &request(Arguments::None)).is_err());
        let pointers = [padded.as_ptr().cast(), std::ptr::null()];
        let error = kernarg(&metadata(), &request(Arguments::Pointers(&pointers))).unwrap_err();
        assert!(error.contains("argument 1"), "{error}");
    }

    #[test]
    fn dimensions_count_up_to_the_last_used_axis() {
        assert_eq!(dimensions([5, 1, 1], [1, 1, 1]), 1);
        assert_eq!(dimensions([1, 1, 1], [1, 4, 1]), 2);
        assert_eq!(dimensions([1, 1, 2], [1, 1, 1]), 3);
    }
}
