//! Address spaces: from an instruction's operands to host pointers, one per lane, checked.

use crate::exec::program::Op;
use crate::exec::watch;
use crate::exec::wave::{Wave, Window};
use crate::exec::word::LANES;
use crate::fault::{Access, FaultKind};

/// The upper 32 bits of addresses in the LDS aperture, as `src_shared_base` gives them.
pub const SHARED_APERTURE: u32 = 0x1000_0000;
/// The upper 32 bits of addresses in the scratch aperture.
pub const PRIVATE_APERTURE: u32 = 0x2000_0000;
/// Word 1 of the scratch buffer resource that gfx9 kernels get: swizzling on. No other resource of
/// a compute kernel has it.
pub const SWIZZLE: u32 = 1 << 31;

/// Host pointers of a pass's lanes; only those of active lanes mean anything.
pub type Pointers = [u64; LANES];

/// An access as its space sees it.
#[derive(Clone, Copy)]
pub struct Request {
    pub pass: usize,
    pub exec: u32,
    pub bytes: u32,
    pub access: Access,
}

/// What of an access is watched: nothing of scratch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Lds,
    Global,
    /// Some lanes may be in LDS, others in global memory.
    Both,
    Nothing,
}

pub trait Space {
    const SEEN: Seen;
    /// The host pointers of the active lanes; `None` after raising a fault.
    ///
    /// # Safety
    /// The op was lowered for this space and for the program that the wave runs.
    unsafe fn resolve(wave: &mut Wave, op: &Op, request: Request) -> Option<Pointers>;
}

/// Shows an access to the workgroup's watch. False after a fault was raised.
///
/// # Safety
/// `pointers` are what `S` resolved for the request.
#[inline(always)]
pub unsafe fn watch<S: Space>(
    wave: &mut Wave,
    op: &Op,
    request: Request,
    pointers: &Pointers,
) -> bool {
    let what = (request.bytes, request.access);
    // SAFETY: the caller's promise.
    unsafe {
        if S::SEEN == Seen::Lds && wave.watches_lds {
            return watch::lds(wave, op, request.pass, request.exec, pointers, what);
        }
        if S::SEEN == Seen::Both && wave.watches_lds {
            let in_lds =
                |pointer: u64| pointer.wrapping_sub(wave.lds as u64) < u64::from(wave.lds_size);
            let lanes = (0..LANES).filter(|lane| in_lds(pointers[*lane]));
            let exec = lanes.fold(0, |mask, lane| mask | 1 << lane) & request.exec;
            if !watch::lds(wave, op, request.pass, exec, pointers, what) {
                return false;
            }
        }
        if matches!(S::SEEN, Seen::Global | Seen::Both) && wave.watches_global {
            watch::global(wave, request.exec, pointers, what);
        }
    }
    true
}

/// 64-bit vector address plus offset.
pub struct Global;
/// Scalar base plus 32-bit unsigned vector offset.
pub struct GlobalScalar;
/// LDS.
pub struct Lds;
/// Scratch by vector and scalar offsets.
pub struct Scratch;
/// 64-bit vector address that may lie in an aperture.
pub struct Flat;
/// Buffer resource: gfx9's scratch, or linear memory.
pub struct Buffer;

/// Checks global addresses against the live regions.
#[inline(always)]
unsafe fn global(
    wave: &mut Wave,
    op: &Op,
    request: Request,
    addresses: Pointers,
) -> Option<Pointers> {
    // SAFETY: `extra` is one of the program's cache slots.
    let window = unsafe { *wave.windows.add(op.extra as usize) };
    let mut inside = 0u32;
    for (lane, address) in addresses.iter().enumerate() {
        inside |= u32::from(address.wrapping_sub(window.start) < window.limit) << lane;
    }
    if request.exec & !inside == 0 || refill(wave, op, request, &addresses) {
        Some(addresses)
    } else {
        None
    }
}

/// Looks up the lanes one by one; remembers the last region.
#[cold]
#[inline(never)]
fn refill(wave: &mut Wave, op: &Op, request: Request, addresses: &Pointers) -> bool {
    for (lane, address) in addresses.iter().enumerate() {
        if request.exec >> lane & 1 != 0
            && !admit(
                wave,
                op,
                *address,
                u64::from(request.bytes),
                request.access,
                lane + request.pass * LANES,
            )
        {
            return false;
        }
    }
    true
}

/// Whether one access may happen; raises the fault if not.
pub fn admit(
    wave: &mut Wave,
    op: &Op,
    address: u64,
    bytes: u64,
    access: Access,
    lane: usize,
) -> bool {
    // SAFETY: `extra` is one of the program's cache slots.
    let window = unsafe { &mut *wave.windows.add(op.extra as usize) };
    if address.wrapping_sub(window.start) < window.limit {
        return true;
    }
    let memory = wave.launch().memory;
    match memory.find(address) {
        Some(region)
            if region.contains(address, bytes) && (access == Access::Load || region.writable) =>
        {
            *window = Window {
                start: region.start,
                limit: region.end - region.start - bytes + 1,
            };
            true
        }
        _ => {
            let nearest = memory.describe(address, bytes);
            wave.raise(
                op,
                Some(lane as u32),
                FaultKind::OutOfBounds {
                    access,
                    address,
                    bytes,
                    nearest,
                },
            );
            false
        }
    }
}

#[inline(always)]
unsafe fn address64(wave: &Wave, op: &Op, pass: usize) -> Pointers {
    let mut addresses = [0; LANES];
    // SAFETY: the address operand is two rows.
    unsafe {
        let low = wave.row(op.src[0], pass);
        let high = low.add(wave.stride);
        for (lane, address) in addresses.iter_mut().enumerate() {
            let base = u64::from(*low.add(lane)) | u64::from(*high.add(lane)) << 32;
            *address = base.wrapping_add(op.imm as u64);
        }
    }
    addresses
}

impl Space for Global {
    const SEEN: Seen = Seen::Global;
    #[inline(always)]
    unsafe fn resolve(wave: &mut Wave, op: &Op, request: Request) -> Option<Pointers> {
        // SAFETY: the caller's promise.
        unsafe {
            let addresses = address64(wave, op, request.pass);
            global(wave, op, request, addresses)
        }
    }
}

impl Space for GlobalScalar {
    const SEEN: Seen = Seen::Global;
    #[inline(always)]
    unsafe fn resolve(wave: &mut Wave, op: &Op, request: Request) -> Option<Pointers> {
        let mut addresses = [0; LANES];
        // SAFETY: the caller's promise: a scalar pair and a row.
        unsafe {
            let base = wave.scalar64(op.src[1]).wrapping_add(op.imm as u64);
            let offsets = wave.row(op.src[0], request.pass);
            for (lane, address) in addresses.iter_mut().enumerate() {
                *address = base.wrapping_add(u64::from(*offsets.add(lane)));
            }
            global(wave, op, request, addresses)
        }
    }
}

/// Offsets within a segment of `size` bytes: pointers, or the fault.
#[inline(always)]
fn segment(
    wave: &mut Wave,
    op: &Op,
    request: Request,
    name: &'static str,
    size: u32,
    offsets: [u32; LANES],
    pointer: impl Fn(usize, u32) -> u64,
) -> Option<Pointers> {
    let mut inside = 0u32;
    let mut pointers = [0; LANES];
    for lane in 0..LANES {
        let end = u64::from(offsets[lane]) + u64::from(request.bytes);
        inside |= u32::from(end <= u64::from(size)) << lane;
        pointers[lane] = pointer(lane, offsets[lane]);
    }
    let outside = request.exec & !inside;
    if outside != 0 {
        let lane = outside.trailing_zeros() as usize;
        let kind = FaultKind::Segment {
            segment: name,
            access: request.access,
            offset: u64::from(offsets[lane]),
            bytes: u64::from(request.bytes),
            size: u64::from(size),
        };
        wave.raise(op, Some((lane + request.pass * LANES) as u32), kind);
        return None;
    }
    Some(pointers)
}

impl Space for Lds {
    const SEEN: Seen = Seen::Lds;
    #[inline(always)]
    unsafe fn resolve(wave: &mut Wave, op: &Op, request: Request) -> Option<Pointers> {
        let mut offsets = [0; LANES];
        // SAFETY: the caller's promise: a row.
        unsafe {
            let row = wave.row(op.src[0], request.pass);
            for (lane, offset) in offsets.iter_mut().enumerate() {
                *offset = (*row.add(lane)).wrapping_add(op.imm as u32);
            }
        }
        let base = wave.lds as u64;
        segment(
            wave,
            op,
            request,
            "LDS",
            wave.lds_size,
            offsets,
            |_, offset| base + u64::from(offset),
        )
    }
}

/// Pointers into the wave's scratch.
#[inline(always)]
fn scratch(wave: &mut Wave, op: &Op, request: Request, offsets: [u32; LANES]) -> Option<Pointers> {
    let size = wave.scratch_size;
    let base = wave.scratch as u64 + (request.pass * LANES) as u64 * u64::from(size);
    let pointer =
        |lane: usize, offset: u32| base + lane as u64 * u64::from(size) + u64::from(offset);
    segment(wave, op, request, "scratch", size, offsets, pointer)
}

impl Space for Scratch {
    const SEEN: Seen = Seen::Nothing;
    #[inline(always)]
    unsafe fn resolve(wave: &mut Wave, op: &Op, request: Request) -> Option<Pointers> {
        let mut offsets = [0; LANES];
        // SAFETY: the caller's promise: a row and a scalar.
        unsafe {
            let base = wave.scalar(op.src[1]).wrapping_add(op.imm as u32);
            let row = wave.row(op.src[0], request.pass);
            for (lane, offset) in offsets.iter_mut().enumerate() {
                *offset = (*row.add(lane)).wrapping_add(base);
            }
        }
        scratch(wave, op, request, offsets)
    }
}

impl Space for Flat {
    const SEEN: Seen = Seen::Both;
    unsafe fn resolve(wave: &mut Wave, op: &Op, request: Request) -> Option<Pointers> {
        // SAFETY: the caller's promise.
        let addresses = unsafe { address64(wave, op, request.pass) };
        let mut pointers = [0; LANES];
        // The lanes of one instruction may be in different spaces.
        for lane in (0..LANES).filter(|lane| request.exec >> lane & 1 != 0) {
            let one = Request {
                exec: 1 << lane,
                ..request
            };
            let offsets = [addresses[lane] as u32; LANES];
            let resolved = match (addresses[lane] >> 32) as u32 {
                SHARED_APERTURE => {
                    let base = wave.lds as u64;
                    let pointer = |_: usize, offset: u32| base + u64::from(offset);
                    segment(wave, op, one, "LDS", wave.lds_size, offsets, pointer)?
                }
                PRIVATE_APERTURE => scratch(wave, op, one, offsets)?,
                // SAFETY: the caller's promise.
                _ => unsafe { global(wave, op, one, addresses)? },
            };
            pointers[lane] = resolved[lane];
        }
        Some(pointers)
    }
}

impl Space for Buffer {
    const SEEN: Seen = Seen::Global;
    unsafe fn resolve(wave: &mut Wave, op: &Op, request: Request) -> Option<Pointers> {
        // SAFETY: the caller's promise: four scalars, one scalar, a row.
        unsafe {
            let resource = op.src[1];
            let (base, word1) = (
                wave.scalar64(resource) & 0xffff_ffff_ffff,
                wave.scalar(resource + 1),
            );
            let scalar = wave.scalar(op.src[2]);
            let row = wave.row(op.src[0], request.pass);
            if word1 & SWIZZLE != 0 {
                // Scalar offsets of swizzled scratch count the bytes of the whole wave.
                let common = (base as u32).wrapping_add(scalar) / wave.stride as u32;
                let common = common.wrapping_add(op.imm as u32);
                let mut offsets = [0; LANES];
                for (lane, offset) in offsets.iter_mut().enumerate() {
                    *offset = (*row.add(lane)).wrapping_add(common);
                }
                return scratch(wave, op, request, offsets);
            }
            if word1 >> 16 & 0x3fff != 0 {
                let what = "a structured buffer resource (stride not zero)".to_string();
                wave.raise(op, None, FaultKind::Illegal(what));
                return None;
            }
            let records = u64::from(wave.scalar(resource + 2));
            let mut addresses = [0; LANES];
            for (lane, address) in addresses.iter_mut().enumerate() {
                let offset = u64::from(*row.add(lane)) + op.imm as u64;
                // Beyond the resource's size: an address that no region holds, hence a fault.
                let inside = offset + u64::from(request.bytes) <= records;
                *address = if inside {
                    base + u64::from(scalar) + offset
                } else {
                    u64::MAX - 64
                };
            }
            global(wave, op, request, addresses)
        }
    }
}
