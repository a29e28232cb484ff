//! Operations between lanes: read and write one lane, permutations through tables or registers.

use super::prep;
use super::program::{Op, Run};
use super::wave::Wave;
use crate::decode::slot;

/// Which lane each lane reads, for DPP and ds_swizzle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permutation {
    /// -1 for none.
    pub from: [i8; 64],
    /// Lanes that row_mask and bank_mask let write.
    pub writes: u64,
    /// Lanes without a source read zero instead of keeping their destination.
    pub zero: bool,
    /// Lanes that are off may be read.
    pub reads_inactive: bool,
}

unsafe fn lane_register(wave: &Wave, row: u32, lane: usize) -> *mut u32 {
    // SAFETY: the caller's row, and a lane below the wave's size.
    unsafe { wave.file.add(row as usize + lane) }
}

/// `src[0]`'s row as it is, before anything is written.
unsafe fn whole_row(wave: &Wave, row: u32) -> [u32; 64] {
    let mut copy = [0; 64];
    for (lane, word) in copy.iter_mut().enumerate().take(wave.stride) {
        // SAFETY: the caller's row.
        *word = unsafe { *lane_register(wave, row, lane) };
    }
    copy
}

/// Writes the active lanes of a row.
unsafe fn write_active(wave: &mut Wave, row: u32, values: &[u32; 64]) {
    let exec = wave.exec_mask();
    for (lane, value) in values.iter().enumerate().take(wave.stride) {
        if exec >> lane & 1 != 0 {
            // SAFETY: the caller's row.
            unsafe { *lane_register(wave, row, lane) = *value };
        }
    }
}

/// # Safety
/// See `Run`.
pub unsafe fn read_first_lane(wave: &mut Wave, op: &Op) {
    let exec = wave.exec_mask();
    let lane = if exec == 0 {
        0
    } else {
        exec.trailing_zeros() as usize
    };
    // SAFETY: see `Run`.
    unsafe {
        prep::all(wave, op);
        let value = *lane_register(wave, op.src[0], lane);
        wave.set_scalar(op.dst, value);
    }
}

/// Ignores EXEC. `src[1]` is a scalar.
///
/// # Safety
/// See `Run`.
pub unsafe fn read_lane(wave: &mut Wave, op: &Op) {
    // SAFETY: see `Run`.
    unsafe {
        prep::all(wave, op);
        let lane = wave.scalar(op.src[1]) as usize % wave.stride;
        let value = *lane_register(wave, op.src[0], lane);
        wave.set_scalar(op.dst, value);
    }
}

/// Ignores EXEC. Both sources are scalars.
///
/// # Safety
/// See `Run`.
pub unsafe fn write_lane(wave: &mut Wave, op: &Op) {
    // SAFETY: see `Run`.
    unsafe {
        let lane = wave.scalar(op.src[1]) as usize % wave.stride;
        *lane_register(wave, op.dst, lane) = wave.scalar(op.src[0]);
    }
}

/// Counts the bits of a mask below the lane: of the lower 32 lanes (`extra` 0) or the upper ones.
///
/// # Safety
/// See `Run`.
pub unsafe fn count_below(wave: &mut Wave, op: &Op) {
    // SAFETY: see `Run`.
    unsafe {
        prep::all(wave, op);
        let (masks, addends) = (whole_row(wave, op.src[0]), whole_row(wave, op.src[1]));
        let mut values = [0; 64];
        let count = wave.stride;
        // One mask for all lanes, as a rule: the count grows from lane to lane.
        if masks[..count].iter().all(|mask| *mask == masks[0]) {
            let (mask, first) = (u64::from(masks[0]) << (32 * op.extra), addends);
            let mut below = 0;
            for lane in 0..count {
                values[lane] = first[lane].wrapping_add(below);
                below += (mask >> lane & 1) as u32;
            }
            write_active(wave, op.dst, &values);
            return;
        }
        for (lane, value) in values.iter_mut().enumerate() {
            let below = (1u64 << lane) - 1;
            let half = (below >> (32 * op.extra)) as u32;
            *value = (masks[lane] & half)
                .count_ones()
                .wrapping_add(addends[lane]);
        }
        write_active(wave, op.dst, &values);
    }
}

/// ds_bpermute: each lane reads the lane that its address names; lanes that are off read as zero.
///
/// # Safety
/// See `Run`.
pub unsafe fn backward_permute(wave: &mut Wave, op: &Op) {
    let exec = wave.exec_mask();
    // SAFETY: see `Run`.
    unsafe {
        let (addresses, data) = (whole_row(wave, op.src[0]), whole_row(wave, op.src[1]));
        let lanes = wave.stride;
        let mut values = [0; 64];
        // A wave's lanes are a power of two.
        let from = |lane: usize| {
            (addresses[lane].wrapping_add(op.imm as u32) / 4) as usize & (lanes - 1) & 63
        };
        for (lane, value) in values[..lanes.min(64)].iter_mut().enumerate() {
            *value = data[from(lane)] & 0u32.wrapping_sub((exec >> from(lane)) as u32 & 1);
        }
        write_active(wave, op.dst, &values);
    }
}

/// ds_permute: each active lane sends to the lane that its address names; the highest sender wins,
/// lanes that nobody sends to get zero.
///
/// # Safety
/// See `Run`.
pub unsafe fn forward_permute(wave: &mut Wave, op: &Op) {
    let exec = wave.exec_mask();
    // SAFETY: see `Run`.
    unsafe {
        let (addresses, data) = (whole_row(wave, op.src[0]), whole_row(wave, op.src[1]));
        let lanes = wave.stride;
        let mut values = [0; 64];
        for lane in (0..lanes).filter(|lane| exec >> lane & 1 != 0) {
            let to = (addresses[lane].wrapping_add(op.imm as u32) / 4) as usize % lanes;
            values[to] = data[lane];
        }
        write_active(wave, op.dst, &values);
    }
}

/// ds_swizzle: a fixed permutation (`extra`); lanes that are off read as zero.
///
/// # Safety
/// See `Run`.
pub unsafe fn swizzle(wave: &mut Wave, op: &Op) {
    let exec = wave.exec_mask();
    // SAFETY: see `Run`.
    unsafe {
        let data = whole_row(wave, op.src[0]);
        let program = wave.launch().program;
        let permutation = &program.permutations[op.extra as usize];
        let mut values = [0; 64];
        for (lane, value) in values.iter_mut().enumerate() {
            let from = permutation.from[lane];
            *value = if from >= 0 && exec >> from & 1 != 0 {
                data[from as usize]
            } else {
                0
            };
        }
        write_active(wave, op.dst, &values);
    }
}

/// v_permlane16 and (`extra` 1) v_permlanex16: lane selects of four bits from two scalars.
///
/// # Safety
/// See `Run`.
pub unsafe fn permute_16(wave: &mut Wave, op: &Op) {
    // SAFETY: see `Run`.
    unsafe {
        let data = whole_row(wave, op.src[0]);
        let selects = u64::from(wave.scalar(op.src[1])) | u64::from(wave.scalar(op.src[2])) << 32;
        let mut values = [0; 64];
        for (lane, value) in values.iter_mut().enumerate().take(wave.stride) {
            let row = (lane & !15) ^ (16 * op.extra as usize);
            *value = data[row + (selects >> (4 * (lane & 15)) & 15) as usize];
        }
        write_active(wave, op.dst, &values);
    }
}

/// # Safety
/// See `Run`.
pub unsafe fn swap(wave: &mut Wave, op: &Op) {
    // SAFETY: see `Run`.
    unsafe {
        let (a, b) = (whole_row(wave, op.dst), whole_row(wave, op.src[0]));
        write_active(wave, op.dst, &b);
        write_active(wave, op.src[0], &a);
    }
}

/// Wraps a vector operation whose first source is permuted (DPP): makes the permuted row, and has
/// the lanes without a source, or masked out, off while the operation runs.
///
/// The source's row is in the low 32 bits of `imm`, the permutation's index in the high ones.
///
/// # Safety
/// See `Run`.
pub unsafe fn dpp(wave: &mut Wave, op: &Op) {
    let (source, index) = (op.imm as u32, (op.imm >> 32) as usize);
    let exec = wave.exec_mask();
    let exec_slot = u32::from(slot::EXEC);
    // SAFETY: see `Run`.
    unsafe {
        let program = wave.launch().program;
        let permutation = &program.permutations[index];
        let data = whole_row(wave, source);
        let temporary = program.dpp_row as u32;
        let mut enabled = exec & permutation.writes;
        for lane in 0..wave.stride {
            let from = permutation.from[lane];
            let valid = from >= 0 && (permutation.reads_inactive || exec >> from & 1 != 0);
            *lane_register(wave, temporary, lane) = if valid { data[from as usize] } else { 0 };
            if !valid && !permutation.zero {
                enabled &= !(1 << lane);
            }
        }
        wave.set_mask(exec_slot, enabled);
        (op.inner)(wave, op);
        // v_cmpx has just written EXEC.
        if op.mask != exec_slot {
            wave.set_mask(exec_slot, exec);
        }
    }
}

/// Runs a vector operation on lane 0, whatever EXEC is, and moves its result to the scalar `mask`.
///
/// # Safety
/// See `Run`.
pub unsafe fn to_scalar(wave: &mut Wave, op: &Op) {
    let exec = wave.exec_mask();
    let exec_slot = u32::from(slot::EXEC);
    // SAFETY: see `Run`.
    unsafe {
        wave.set_mask(exec_slot, 1);
        (op.inner)(wave, op);
        wave.set_mask(exec_slot, exec);
        let value = *lane_register(wave, op.dst, 0);
        wave.set_scalar(op.mask, value);
    }
}

/// The permutation of a DPP control as LLVM prints it, or `None` for one that is not known.
pub fn dpp_permutation(key: &str, value: &str, lanes: usize) -> Option<[i8; 64]> {
    let mut from = [-1i8; 64];
    let number = || crate::decode::parse::number(value);
    let list = || -> Option<Vec<i64>> {
        value
            .strip_prefix('[')?
            .strip_suffix(']')?
            .split(',')
            .map(|v| v.trim().parse().ok())
            .collect()
    };
    // For the row operations: the source within the row of 16, or none.
    let mut by_row = |f: &dyn Fn(i32) -> i32| {
        for (lane, source) in from.iter_mut().enumerate().take(lanes) {
            let at = f((lane & 15) as i32);
            if (0..16).contains(&at) {
                *source = ((lane & !15) as i32 + at) as i8;
            }
        }
    };
    match key {
        "quad_perm" => {
            let list = list().filter(|l| l.len() == 4)?;
            by_row(&|i| (i & !3) + list[(i & 3) as usize] as i32);
        }
        "dpp8" => {
            let list = list().filter(|l| l.len() == 8)?;
            by_row(&|i| (i & !7) + list[(i & 7) as usize] as i32);
        }
        "row_shl" => {
            let n = number()? as i32;
            by_row(&|i| i + n);
        }
        "row_shr" => {
            let n = number()? as i32;
            by_row(&|i| i - n);
        }
        "row_ror" => {
            let n = number()? as i32;
            by_row(&|i| (i - n) & 15);
        }
        "row_mirror" => by_row(&|i| 15 - i),
        "row_half_mirror" => by_row(&|i| i ^ 7),
        "row_share" | "row_newbcast" => {
            let n = number()? as i32;
            by_row(&|_| n);
        }
        "row_xmask" => {
            let n = number()? as i32;
            by_row(&|i| i ^ n);
        }
        "wave_shl" => (0..lanes - 1).for_each(|lane| from[lane] = lane as i8 + 1),
        "wave_shr" => (1..lanes).for_each(|lane| from[lane] = lane as i8 - 1),
        "wave_rol" => (0..lanes).for_each(|lane| from[lane] = ((lane + 1) % lanes) as i8),
        "wave_ror" => (0..lanes).for_each(|lane| from[lane] = ((lane + lanes - 1) % lanes) as i8),
        // The last lane of each row goes to the whole next row; lane 31 to the rows after it.
        "row_bcast" => match number()? {
            15 => (16..lanes).for_each(|lane| from[lane] = ((lane & !15) - 1) as i8),
            31 => (32..lanes).for_each(|lane| from[lane] = 31),
            _ => return None,
        },
        _ => return None,
    }
    Some(from)
}

/// The permutation of ds_swizzle's offset (AMD's ISA documents, DS_SWIZZLE_B32).
pub fn swizzle_permutation(offset: u16, lanes: usize) -> Option<[i8; 64]> {
    let mut from = [-1i8; 64];
    for (lane, source) in from.iter_mut().enumerate().take(lanes) {
        let low = lane & 31;
        let picked = if offset >= 0xe000 {
            return None;
        } else if offset >= 0xc000 {
            // Rotation: bit 10 is the direction, bits 9 to 5 the amount, the low bits a mask.
            let (amount, mask) = ((offset >> 5 & 31) as usize, (offset & 31) as usize);
            let amount = if offset >> 10 & 1 != 0 {
                32 - amount
            } else {
                amount
            };
            (low & mask) | ((low + amount) & !mask & 31)
        } else if offset & 0x8000 != 0 {
            (low & !3) | (offset >> (2 * (low & 3)) & 3) as usize
        } else {
            let (and, or, xor) = (offset & 31, offset >> 5 & 31, offset >> 10 & 31);
            ((low & and as usize) | or as usize) ^ xor as usize
        };
        *source = ((lane & 32) | picked) as i8;
    }
    Some(from)
}

/// Cross-lane instructions of the data-share unit, by name.
pub fn ds(name: &str) -> Option<Run> {
    match name {
        "ds_bpermute_b32" => Some(backward_permute),
        "ds_permute_b32" => Some(forward_permute),
        _ => None,
    }
}
