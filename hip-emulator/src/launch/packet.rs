//! The AQL dispatch packet, and where a launch's own memory holds it.

use super::arguments::dimensions;
use crate::code_object::{HiddenArgument, KernelMetadata, ValueKind};
use crate::kernel::{Geometry, Kernel};
use crate::memory::{Block, Region};

/// Size of `hsa_kernel_dispatch_packet_t` (HSA runtime specification 1.2, "Kernel dispatch packet").
pub const PACKET_BYTES: usize = 64;
/// Room for an `amd_queue_t`, all zeroes: the emulator has no queues.
const QUEUE_BYTES: usize = 256;
/// Unreachable bytes between the parts, so that running off the arguments is caught.
const GAP: usize = 256;
/// Compilers may widen a scalar load of three registers to four, past the last argument, because
/// the segment is at least this aligned.
const KERNARG_GRANULE: usize = 64;

/// One launch's memory: kernarg segment, dispatch packet, queue.
pub struct Plan {
    kernarg_end: usize,
    pub packet: usize,
    queue: usize,
    pub size: usize,
    pub alignment: usize,
}

impl Plan {
    pub fn new(kernarg_bytes: usize, alignment: usize) -> Plan {
        let kernarg_end = kernarg_bytes.next_multiple_of(KERNARG_GRANULE);
        let packet = kernarg_end + GAP;
        let queue = packet + PACKET_BYTES + GAP;
        let alignment = alignment.max(KERNARG_GRANULE);
        Plan {
            kernarg_end,
            packet,
            queue,
            size: queue + QUEUE_BYTES,
            alignment,
        }
    }

    /// What kernels may read; nothing of it may be written.
    pub fn regions(&self, base: u64) -> Vec<Region> {
        [
            (0, self.kernarg_end),
            (self.packet, PACKET_BYTES),
            (self.queue, QUEUE_BYTES),
        ]
        .into_iter()
        .filter(|(_, size)| *size > 0)
        .map(|(offset, size)| {
            let start = base + offset as u64;
            Region {
                start,
                end: start + size as u64,
                writable: false,
            }
        })
        .collect()
    }

    /// Writes the queue's address into the hidden argument that asks for it.
    pub fn patch_queue(&self, metadata: &KernelMetadata, block: &mut Block) {
        let address = (block.start() + self.queue as u64).to_le_bytes();
        for argument in &metadata.arguments {
            if argument.kind == ValueKind::Hidden(HiddenArgument::QueuePointer)
                && argument.size == 8
            {
                block.fill(argument.offset, &address);
            }
        }
    }
}

/// The packet of one launch. Field offsets: HSA specification, section 2.9.6.
pub fn dispatch_packet(kernel: &Kernel, geometry: &Geometry) -> [u8; PACKET_BYTES] {
    let mut packet = [0u8; PACKET_BYTES];
    let mut put =
        |offset: usize, bytes: &[u8]| packet[offset..offset + bytes.len()].copy_from_slice(bytes);
    // Header: type 2 (kernel dispatch), barrier bit clear, system-scope acquire (9) and release (11).
    put(0, &(2u16 | 2 << 9 | 2 << 11).to_le_bytes());
    put(2, &dimensions(geometry.grid, geometry.block).to_le_bytes());
    for axis in 0..3 {
        // Blocks have at most 1024 work-items and grids fewer than 2^32 (checked at launch).
        put(4 + 2 * axis, &(geometry.block[axis] as u16).to_le_bytes());
        put(
            12 + 4 * axis,
            &geometry.grid[axis]
                .wrapping_mul(geometry.block[axis])
                .to_le_bytes(),
        );
    }
    let descriptor = &kernel.descriptor;
    put(24, &descriptor.private_segment_fixed_size.to_le_bytes());
    put(
        28,
        &(descriptor.group_segment_fixed_size + geometry.dynamic_lds).to_le_bytes(),
    );
    let object = kernel
        .address
        .wrapping_add_signed(-descriptor.kernel_code_entry_byte_offset);
    put(32, &object.to_le_bytes());
    put(40, &geometry.kernarg.to_le_bytes());
    packet
}
