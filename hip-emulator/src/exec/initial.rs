//! Registers of a wave at its start, and what else the kernel descriptor decides.
//! After LLVM's AMDGPUUsage, "Initial Kernel Execution State".

use super::memory::space::{PRIVATE_APERTURE, SHARED_APERTURE, SWIZZLE};
use super::program::Program;
use super::wave::Wave;
use crate::decode::slot;
use crate::kernel::{Descriptor, Geometry};
use crate::target::{Family, Target};

/// Scratch of a lane of a kernel whose stack use is not known when it is compiled.
const DYNAMIC_STACK: u32 = 16 * 1024;

/// Bits of `kernel_code_properties`.
mod property {
    pub const PRIVATE_SEGMENT_BUFFER: u16 = 1 << 0;
    pub const DISPATCH_POINTER: u16 = 1 << 1;
    pub const QUEUE_POINTER: u16 = 1 << 2;
    pub const KERNARG_POINTER: u16 = 1 << 3;
    pub const DISPATCH_ID: u16 = 1 << 4;
    pub const FLAT_SCRATCH: u16 = 1 << 5;
    pub const PRIVATE_SEGMENT_SIZE: u16 = 1 << 6;
    pub const WAVE32: u16 = 1 << 10;
}

/// Lanes of a wave of this kernel.
pub fn wave_size(target: &Target, descriptor: &Descriptor) -> usize {
    match target.family {
        family if family.is_gfx9() => 64,
        _ if descriptor.kernel_code_properties & property::WAVE32 != 0 => 32,
        _ => 64,
    }
}

/// What the executor does not do although a descriptor may ask for it.
pub fn unsupported_mode(descriptor: &Descriptor) -> Option<String> {
    let mode = descriptor.compute_pgm_rsrc1 >> 12 & 0xff;
    if mode & 0x0f != 0 {
        return Some(format!(
            "the kernel asks for a rounding mode other than to nearest (float mode {mode:#x})"
        ));
    }
    if mode >> 4 != 0x0f {
        return Some(format!(
            "the kernel asks for subnormals to be flushed (float mode {mode:#x}), which the emulator does not do; \
             compile without -fgpu-flush-denormals-to-zero"
        ));
    }
    None
}

/// Bytes of scratch of one lane.
pub fn scratch_size(program: &Program) -> u32 {
    let fixed = program.kernel.descriptor.private_segment_fixed_size;
    let dynamic = if program.kernel.uses_dynamic_stack {
        DYNAMIC_STACK
    } else {
        0
    };
    // Rounded, so that each lane's segment is aligned for its widest access.
    fixed.saturating_add(dynamic).next_multiple_of(16)
}

/// Dwords of kernel arguments that the hardware loads into SGPRs.
fn preload_length(descriptor: &Descriptor) -> u32 {
    u32::from(descriptor.kernarg_preload & 0x7f)
}

/// The block that execution starts in. With preloaded arguments, hardware that preloads skips the
/// first 256 bytes, which load them on hardware that does not.
pub fn entry_block(program: &Program) -> u32 {
    let preloads = preload_length(&program.kernel.descriptor) != 0;
    if preloads {
        program.block_at(256).unwrap_or(0)
    } else {
        0
    }
}

/// Fills in a wave's registers. The wave's number says which work-items are its lanes.
pub fn registers(wave: &mut Wave, geometry: &Geometry, group: [u32; 3]) {
    let program = wave.launch().program;
    scalars(wave, program, geometry, group);
    let items: u64 = geometry.block.iter().map(|n| u64::from(*n)).product();
    let first = u64::from(wave.number) * wave.stride as u64;
    let active = (items - first).min(wave.stride as u64);
    let mask = if active == 64 {
        u64::MAX
    } else {
        (1u64 << active) - 1
    };
    // SAFETY: EXEC is in every scalar file.
    unsafe { wave.set_mask(u32::from(slot::EXEC), mask) };
    if geometry.block[1..] == [1, 1] && active == wave.stride as u64 {
        // The usual case: numbers in a row; y and z are zero, as the file is already.
        for lane in 0..wave.stride {
            // SAFETY: every file has a row for v0.
            unsafe { *wave.file.add(lane) = first as u32 + lane as u32 };
        }
    } else {
        work_item_ids(wave, program, geometry, first);
    }
}

fn work_item_ids(wave: &mut Wave, program: &Program, geometry: &Geometry, first: u64) {
    let dimensions = program.kernel.descriptor.compute_pgm_rsrc2 >> 11 & 3;
    let packed = program.kernel.target.family.packs_work_item_ids();
    let [size_x, size_y, _] = geometry.block;
    let (first, size) = (first as u32, size_x * size_y);
    let (mut x, mut y, mut z) = (first % size_x, first / size_x % size_y, first / size);
    // Dimensions that the kernel does not ask for read as zero.
    let y_mask = if dimensions >= 1 { u32::MAX } else { 0 };
    let z_mask = if dimensions >= 2 { u32::MAX } else { 0 };
    for lane in 0..wave.stride {
        let ids = if packed {
            [x | (y & y_mask) << 10 | (z & z_mask) << 20, 0, 0]
        } else {
            [x, y & y_mask, z & z_mask]
        };
        for (register, id) in ids.into_iter().enumerate() {
            // SAFETY: every file has rows for v0, v1 and v2.
            unsafe { *wave.file.add(register * wave.stride + lane) = id };
        }
        x += 1;
        if x == size_x {
            (x, y) = (0, y + 1);
        }
        if y == size_y {
            (y, z) = (0, z + 1);
        }
    }
}

fn scalars(wave: &mut Wave, program: &Program, geometry: &Geometry, group: [u32; 3]) {
    let descriptor = &program.kernel.descriptor;
    let properties = descriptor.kernel_code_properties;
    let rsrc2 = descriptor.compute_pgm_rsrc2;
    let mut user: Vec<u32> = Vec::with_capacity(16);
    let pair = |user: &mut Vec<u32>, value: u64| user.extend([value as u32, (value >> 32) as u32]);
    if properties & property::PRIVATE_SEGMENT_BUFFER != 0 {
        // Base 0, swizzled: MUBUF accesses through it are offsets into the wave's scratch.
        user.extend([0, SWIZZLE, u32::MAX, 0]);
    }
    if properties & property::DISPATCH_POINTER != 0 {
        pair(&mut user, geometry.dispatch_packet);
    }
    if properties & property::QUEUE_POINTER != 0 {
        pair(&mut user, 0);
    }
    if properties & property::KERNARG_POINTER != 0 {
        pair(&mut user, geometry.kernarg);
    }
    if properties & property::DISPATCH_ID != 0 {
        pair(&mut user, 0);
    }
    if properties & property::FLAT_SCRATCH != 0 {
        // FLAT accesses find scratch by its aperture, so the offset is not used.
        pair(&mut user, 0);
    }
    if properties & property::PRIVATE_SEGMENT_SIZE != 0 {
        user.push(scratch_size(program));
    }
    preload(&mut user, descriptor, geometry, wave);
    // The count in the descriptor may be larger than what the fields need.
    let count = (rsrc2 >> 1 & 0x1f) as usize;
    user.resize(count.max(user.len()), 0);
    for (dimension, id) in group.into_iter().enumerate() {
        if rsrc2 >> (7 + dimension) & 1 != 0 {
            user.push(id);
        }
    }
    if rsrc2 >> 10 & 1 != 0 {
        user.push(0); // workgroup info
    }
    if rsrc2 & 1 != 0 && !program.kernel.target.family.has_architected_scratch() {
        user.push(0); // offset of the wave's scratch: each wave's base is 0
    }
    // SAFETY: at most 32 user and 5 system SGPRs; the named slots are in every scalar file.
    unsafe {
        for (index, value) in user
            .into_iter()
            .take(usize::from(slot::FLAT_SCRATCH))
            .enumerate()
        {
            wave.set_scalar(index as u32, value);
        }
        // gfx12 has the workgroup's ids in trap temporaries: x, and y with z.
        if program.kernel.target.family == Family::Rdna4 {
            wave.set_scalar(u32::from(slot::TTMP) + 9, group[0]);
            wave.set_scalar(
                u32::from(slot::TTMP) + 7,
                group[1] & 0xffff | group[2] << 16,
            );
        }
        wave.set_scalar(u32::from(slot::SHARED_BASE) + 1, SHARED_APERTURE);
        wave.set_scalar(u32::from(slot::SHARED_LIMIT), u32::MAX);
        wave.set_scalar(u32::from(slot::SHARED_LIMIT) + 1, SHARED_APERTURE);
        wave.set_scalar(u32::from(slot::PRIVATE_BASE) + 1, PRIVATE_APERTURE);
        wave.set_scalar(u32::from(slot::PRIVATE_LIMIT), u32::MAX);
        wave.set_scalar(u32::from(slot::PRIVATE_LIMIT) + 1, PRIVATE_APERTURE);
        wave.set_scalar(u32::from(slot::M0), u32::MAX);
    }
}

/// Arguments that the hardware loads before the kernel starts.
fn preload(user: &mut Vec<u32>, descriptor: &Descriptor, geometry: &Geometry, wave: &Wave) {
    let length = u64::from(preload_length(descriptor));
    let offset = u64::from(descriptor.kernarg_preload >> 7);
    if length == 0 {
        return;
    }
    let start = geometry.kernarg + 4 * offset;
    let readable = wave
        .launch()
        .memory
        .find(start)
        .is_some_and(|region| region.contains(start, 4 * length));
    for i in 0..length {
        // SAFETY: the kernarg segment is a live region, which was just checked to hold the words.
        let word = if readable {
            unsafe { ((start + 4 * i) as *const u32).read_unaligned() }
        } else {
            0
        };
        user.push(word);
    }
}
