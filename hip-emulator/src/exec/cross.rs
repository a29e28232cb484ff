//! Operations between lanes: read and write one lane, permutations through tables or registers.

use super::lanes::commit;
use super::program::{Op, Run, LEVELS};
use super::wave::Wave;
use super::word::{Registers, LANES};
use crate::decode::slot;

/// Which lane each lane reads, for DPP and ds_swizzle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permutation {
    /// Zero for none.
    from: [u8; 64],
    /// Lanes that read one.
    valid: u64,
    /// Lanes that row_mask and bank_mask let write.
    pub writes: u64,
    /// Lanes without a source read zero instead of keeping their destination.
    pub zero: bool,
    /// Lanes that are off may be read.
    pub reads_inactive: bool,
}

impl Permutation {
    /// Each lane's source, -1 for none; all lanes write, lanes without a source zero.
    pub fn new(from: &[i8; 64]) -> Permutation {
        let valid = |lane: usize| from[lane] >= 0;
        Permutation {
            from: from.map(|lane| lane.max(0) as u8),
            valid: (0..64).fold(0, |lanes, lane| lanes | u64::from(valid(lane)) << lane),
            writes: u64::MAX,
            zero: true,
            reads_inactive: false,
        }
    }

    /// The lanes that read a lane that may be read.
    #[inline(always)]
    fn sources(&self, exec: u64, lanes: usize) -> u64 {
        if self.reads_inactive || exec == u64::MAX >> (64 - lanes) {
            return self.valid;
        }
        (0..lanes).fold(0, |sources, lane| {
            sources | (exec >> self.from[lane] & 1) << lane
        }) & self.valid
    }

    /// The permuted row, zero in lanes that are not of `sources`.
    #[inline(always)]
    fn apply<const N: usize>(&self, data: &[u32; N], sources: u64) -> [u32; N] {
        let mut values = [0; N];
        for lane in 0..N {
            values[lane] = data[usize::from(self.from[lane]) & (N - 1)];
        }
        if sources != u64::MAX >> (64 - N) {
            keep(&mut values, sources);
        }
        values
    }
}

/// Zeroes the lanes that are not in `mask`.
#[inline(always)]
fn keep<const N: usize>(values: &mut [u32; N], mask: u64) {
    for half in 0..N / LANES {
        let bits = (mask >> (half * LANES)) as u32;
        for lane in 0..LANES {
            values[half * LANES + lane] &= 0u32.wrapping_sub(bits >> lane & 1);
        }
    }
}

/// A function with a version for each wave size and CPU level, from a body that knows the wave's size as `N`.
macro_rules! sized {
    ($(#[$doc:meta])* $run:ident, $body:ident) => {
        $(#[$doc])*
        pub const $run: [Run; LEVELS] = {
            #[inline(always)]
            unsafe fn any(wave: &mut Wave, op: &Op) {
                // SAFETY: the caller's promise.
                unsafe {
                    if wave.stride == 64 {
                        $body::<64>(wave, op)
                    } else {
                        $body::<32>(wave, op)
                    }
                }
            }
            unsafe fn base(wave: &mut Wave, op: &Op) {
                // SAFETY: the caller's promise.
                unsafe { any(wave, op) }
            }
            #[cfg_attr(
                target_arch = "x86_64",
                target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")
            )]
            unsafe fn fast(wave: &mut Wave, op: &Op) {
                // SAFETY: the caller's promise.
                unsafe { any(wave, op) }
            }
            [base, fast]
        };
    };
}

unsafe fn lane_register(wave: &Wave, row: u32, lane: usize) -> *mut u32 {
    // SAFETY: the caller's row, and a lane below the wave's size.
    unsafe { wave.file.add(row as usize + lane) }
}

/// A row of a wave of `N` lanes as it is, before anything is written.
#[inline(always)]
unsafe fn whole_row<const N: usize>(wave: &Wave, row: u32) -> [u32; N] {
    // SAFETY: the caller's row.
    unsafe { *wave.row(row, 0).cast::<[u32; N]>() }
}

/// Writes the active lanes of a row.
#[inline(always)]
unsafe fn write_active<const N: usize>(wave: &mut Wave, row: u32, values: &[u32; N]) {
    for pass in 0..N / LANES {
        // SAFETY: the caller's row; a pass of the values.
        unsafe {
            let half = &*values.as_ptr().add(pass * LANES).cast::<Registers>();
            commit(wave.row(row, pass), N, 1, &[*half], wave.exec(pass));
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

sized! {
    /// Counts the bits of a mask below the lane: of the lower 32 lanes (`extra` 0) or the upper ones.
    COUNT_BELOW, count_below
}

#[inline(always)]
unsafe fn count_below<const N: usize>(wave: &mut Wave, op: &Op) {
    // SAFETY: see `Run`.
    unsafe {
        let (masks, mut values) = (
            whole_row::<N>(wave, op.src[0]),
            whole_row::<N>(wave, op.src[1]),
        );
        let mut differ = 0;
        for mask in &masks {
            differ |= mask ^ masks[0];
        }
        // One mask for all lanes, as a rule: the count grows from lane to lane.
        if differ == 0 {
            let mask = u64::from(masks[0]) << (32 * op.extra);
            let mut below = 0;
            for (lane, value) in values.iter_mut().enumerate() {
                *value = value.wrapping_add(below);
                below += (mask >> lane & 1) as u32;
            }
        } else {
            for (lane, value) in values.iter_mut().enumerate() {
                let below = (1u64 << lane) - 1;
                let half = (below >> (32 * op.extra)) as u32;
                *value = value.wrapping_add((masks[lane] & half).count_ones());
            }
        }
        write_active(wave, op.dst, &values);
    }
}

sized! {
    /// ds_bpermute: each lane reads the lane that its address names; lanes that are off read as zero.
    BACKWARD_PERMUTE, backward_permute
}

#[inline(always)]
unsafe fn backward_permute<const N: usize>(wave: &mut Wave, op: &Op) {
    let exec = wave.exec_mask();
    // SAFETY: see `Run`.
    unsafe {
        let (mut from, mut data) = (
            whole_row::<N>(wave, op.src[0]),
            whole_row::<N>(wave, op.src[1]),
        );
        for address in &mut from {
            *address = address.wrapping_add(op.imm as u32) / 4;
        }
        if exec != u64::MAX >> (64 - N) {
            keep(&mut data, exec);
        }
        let mut values = [0; N];
        for lane in 0..N {
            values[lane] = data[from[lane] as usize & (N - 1)];
        }
        write_active(wave, op.dst, &values);
    }
}

sized! {
    /// ds_permute: each active lane sends to the lane that its address names; the highest sender wins,
    /// lanes that nobody sends to get zero.
    FORWARD_PERMUTE, forward_permute
}

#[inline(always)]
unsafe fn forward_permute<const N: usize>(wave: &mut Wave, op: &Op) {
    let exec = wave.exec_mask();
    // SAFETY: see `Run`.
    unsafe {
        let (addresses, data) = (
            whole_row::<N>(wave, op.src[0]),
            whole_row::<N>(wave, op.src[1]),
        );
        let mut values = [0; N];
        for lane in (0..N).filter(|lane| exec >> lane & 1 != 0) {
            let to = (addresses[lane].wrapping_add(op.imm as u32) / 4) as usize % N;
            values[to] = data[lane];
        }
        write_active(wave, op.dst, &values);
    }
}

sized! {
    /// ds_swizzle: a fixed permutation (`extra`); lanes that are off read as zero.
    SWIZZLE, swizzle
}

#[inline(always)]
unsafe fn swizzle<const N: usize>(wave: &mut Wave, op: &Op) {
    let exec = wave.exec_mask();
    // SAFETY: see `Run`.
    unsafe {
        let data = whole_row::<N>(wave, op.src[0]);
        let permutation = &wave.launch().program.permutations[op.extra as usize];
        let values = permutation.apply(&data, permutation.sources(exec, N));
        write_active(wave, op.dst, &values);
    }
}

sized! {
    /// v_permlane16 and (`extra` 1) v_permlanex16: lane selects of four bits from two scalars.
    PERMUTE_16, permute_16
}

#[inline(always)]
unsafe fn permute_16<const N: usize>(wave: &mut Wave, op: &Op) {
    // SAFETY: see `Run`.
    unsafe {
        let data = whole_row::<N>(wave, op.src[0]);
        let selects = u64::from(wave.scalar(op.src[1])) | u64::from(wave.scalar(op.src[2])) << 32;
        let mut values = [0; N];
        for (lane, value) in values.iter_mut().enumerate() {
            let row = (lane & !15) ^ (16 * op.extra as usize);
            *value = data[(row + (selects >> (4 * (lane & 15)) & 15) as usize) & (N - 1)];
        }
        write_active(wave, op.dst, &values);
    }
}

sized! {
    /// Exchanges two rows.
    SWAP, swap
}

#[inline(always)]
unsafe fn swap<const N: usize>(wave: &mut Wave, op: &Op) {
    // SAFETY: see `Run`.
    unsafe {
        let (a, b) = (
            whole_row::<N>(wave, op.dst),
            whole_row::<N>(wave, op.src[0]),
        );
        write_active(wave, op.dst, &b);
        write_active(wave, op.src[0], &a);
    }
}

sized! {
    /// Wraps a vector operation whose first source is permuted (DPP): makes the permuted row, and has
    /// the lanes without a source, or masked out, off while the operation runs.
    ///
    /// The source's row is in the low 32 bits of `imm`, the permutation's index in the high ones.
    DPP, dpp
}

#[inline(always)]
unsafe fn dpp<const N: usize>(wave: &mut Wave, op: &Op) {
    let (source, index) = (op.imm as u32, (op.imm >> 32) as usize);
    let exec = wave.exec_mask();
    let exec_slot = u32::from(slot::EXEC);
    // SAFETY: see `Run`.
    unsafe {
        let program = wave.launch().program;
        let permutation = &program.permutations[index];
        let sources = permutation.sources(exec, N);
        let values = permutation.apply(&whole_row::<N>(wave, source), sources);
        *wave.row(program.dpp_row as u32, 0).cast::<[u32; N]>() = values;
        let mut enabled = exec & permutation.writes;
        if !permutation.zero {
            enabled &= sources;
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
pub fn ds(name: &str) -> Option<[Run; LEVELS]> {
    match name {
        "ds_bpermute_b32" => Some(BACKWARD_PERMUTE),
        "ds_permute_b32" => Some(FORWARD_PERMUTE),
        _ => None,
    }
}
