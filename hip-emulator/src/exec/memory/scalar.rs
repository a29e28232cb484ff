//! Scalar loads.

use super::space::admit;
use crate::exec::program::Op;
use crate::exec::unwritten;
use crate::exec::watch;
use crate::exec::wave::Wave;
use crate::fault::Access;

/// Loads `op.count` dwords from the pair `src[0]` plus the scalar `src[1]` plus `imm` into
/// consecutive slots. The hardware ignores the two low address bits.
///
/// # Safety
/// See `Run`.
pub unsafe fn load(wave: &mut Wave, op: &Op) {
    // SAFETY: slots were made by lowering; the address is checked before it is read.
    unsafe {
        let offset = u64::from(wave.scalar(op.src[1])).wrapping_add(op.imm as u64);
        let address = wave.scalar64(op.src[0]).wrapping_add(offset) & !3;
        let count = u32::from(op.count);
        if admit(wave, op, address, u64::from(count) * 4, Access::Load, 0) {
            for i in 0..count {
                let word = (address as *const u32).add(i as usize).read_unaligned();
                wave.set_scalar(op.dst + i, word);
            }
            if wave.watches_global {
                watch::scalar(wave, address, u64::from(count) * 4);
            }
            if wave.watches_unwritten {
                unwritten::written(wave, op, address, count * 4, 0);
            }
        }
    }
}

/// Bytes and shorts (gfx12): `mask` is 1 for unsigned bytes, 2 signed bytes, 3 and 4 shorts.
///
/// # Safety
/// See `Run`.
pub unsafe fn load_small(wave: &mut Wave, op: &Op) {
    // SAFETY: as in `load`.
    unsafe {
        let offset = u64::from(wave.scalar(op.src[1])).wrapping_add(op.imm as u64);
        let address = wave.scalar64(op.src[0]).wrapping_add(offset);
        let bytes = if op.mask <= 2 { 1 } else { 2 };
        if admit(wave, op, address, bytes, Access::Load, 0) {
            if wave.watches_global {
                watch::scalar(wave, address, bytes);
            }
            let value = match op.mask {
                1 => u32::from(*(address as *const u8)),
                2 => i32::from(*(address as *const i8)) as u32,
                3 => u32::from((address as *const u16).read_unaligned()),
                _ => i32::from((address as *const i16).read_unaligned()) as u32,
            };
            wave.set_scalar(op.dst, value);
        }
    }
}
