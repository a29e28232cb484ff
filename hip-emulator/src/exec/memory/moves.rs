//! Loads and stores: what is transferred between a lane's registers and its pointer.

use super::space::{Buffer, Flat, Global, GlobalScalar, Lds, Scratch};
use super::transfer::{apart, base, fast};
#[cfg(target_arch = "x86_64")]
use super::transpose::transposed;
use crate::exec::program::{Run, LEVELS};
use crate::fault::Access;

/// What an instruction transfers. `register` is a lane's word in the first data row, `row` that of lane 0; further
/// rows are `stride` registers apart.
pub trait Move {
    const BYTES: u32;
    const ACCESS: Access;
    /// Whole dwords, if it moves nothing else.
    const WORDS: usize = 0;

    /// One lane.
    ///
    /// # Safety
    /// `pointer` is valid for `BYTES` bytes of this access, `register` for the rows moved.
    unsafe fn lane(pointer: *mut u8, register: *mut u32, stride: usize);

    /// `L` lanes, one after the other in memory.
    ///
    /// # Safety
    /// As for `lane`, of all of them; and with `FAST`, the CPU has AVX2.
    #[inline(always)]
    unsafe fn consecutive<const L: usize, const FAST: bool>(
        pointer: *mut u8,
        row: *mut u32,
        stride: usize,
    ) {
        let at = |lane: usize| pointer.wrapping_add(lane * Self::BYTES as usize);
        // SAFETY: the caller's promise.
        unsafe { Self::scattered::<L, FAST>(at, row, stride) }
    }

    /// `L` lanes, each where `pointer` says.
    ///
    /// # Safety
    /// As for `consecutive`.
    #[inline(always)]
    unsafe fn scattered<const L: usize, const FAST: bool>(
        pointer: impl Fn(usize) -> *mut u8,
        row: *mut u32,
        stride: usize,
    ) {
        for lane in 0..L {
            // SAFETY: the caller's promise.
            unsafe { Self::lane(pointer(lane), row.add(lane), stride) }
        }
    }
}

/// `N` dwords into `N` rows.
pub struct LoadWords<const N: usize>;
impl<const N: usize> Move for LoadWords<N> {
    const BYTES: u32 = 4 * N as u32;
    const ACCESS: Access = Access::Load;
    const WORDS: usize = N;
    #[inline(always)]
    unsafe fn lane(pointer: *mut u8, register: *mut u32, stride: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let words: [u32; N] = pointer.cast::<[u32; N]>().read_unaligned();
            for (i, word) in words.into_iter().enumerate() {
                *register.add(i * stride) = word;
            }
        }
    }
    #[inline(always)]
    unsafe fn consecutive<const L: usize, const FAST: bool>(
        pointer: *mut u8,
        row: *mut u32,
        stride: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            if N == 1 {
                *row.cast::<[u32; L]>() = pointer.cast::<[u32; L]>().read_unaligned();
            } else {
                let at = |lane: usize| pointer.wrapping_add(lane * Self::BYTES as usize);
                Self::scattered::<L, FAST>(at, row, stride)
            }
        }
    }
    #[inline(always)]
    unsafe fn scattered<const L: usize, const FAST: bool>(
        pointer: impl Fn(usize) -> *mut u8,
        row: *mut u32,
        stride: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            if N == 2 || N == 4 {
                return transposed::<N, L, FAST>(true, pointer, row, stride);
            }
            for lane in 0..L {
                Self::lane(pointer(lane), row.add(lane), stride);
            }
        }
    }
}

pub struct StoreWords<const N: usize>;
impl<const N: usize> Move for StoreWords<N> {
    const BYTES: u32 = 4 * N as u32;
    const ACCESS: Access = Access::Store;
    const WORDS: usize = N;
    #[inline(always)]
    unsafe fn lane(pointer: *mut u8, register: *mut u32, stride: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut words = [0; N];
            for (i, word) in words.iter_mut().enumerate() {
                *word = *register.add(i * stride);
            }
            pointer.cast::<[u32; N]>().write_unaligned(words);
        }
    }
    #[inline(always)]
    unsafe fn consecutive<const L: usize, const FAST: bool>(
        pointer: *mut u8,
        row: *mut u32,
        stride: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            if N == 1 {
                pointer
                    .cast::<[u32; L]>()
                    .write_unaligned(*row.cast::<[u32; L]>());
            } else {
                let at = |lane: usize| pointer.wrapping_add(lane * Self::BYTES as usize);
                Self::scattered::<L, FAST>(at, row, stride)
            }
        }
    }
    #[inline(always)]
    unsafe fn scattered<const L: usize, const FAST: bool>(
        pointer: impl Fn(usize) -> *mut u8,
        row: *mut u32,
        stride: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            if N == 2 || N == 4 {
                return transposed::<N, L, FAST>(false, pointer, row, stride);
            }
            for lane in 0..L {
                Self::lane(pointer(lane), row.add(lane), stride);
            }
        }
    }
}

macro_rules! small_loads {
    ($($name:ident: $t:ty, |$value:ident, $old:ident| $word:expr;)*) => {$(
        pub struct $name;
        impl Move for $name {
            const BYTES: u32 = size_of::<$t>() as u32;
            const ACCESS: Access = Access::Load;
            #[inline(always)]
            unsafe fn lane(pointer: *mut u8, register: *mut u32, _stride: usize) {
                // SAFETY: the caller's promise.
                unsafe {
                    let ($value, $old) = (pointer.cast::<$t>().read_unaligned(), *register);
                    *register = $word;
                }
            }
            #[inline(always)]
            unsafe fn consecutive<const L: usize, const FAST: bool>(pointer: *mut u8, row: *mut u32, _stride: usize) {
                // SAFETY: the caller's promise.
                unsafe {
                    let values = pointer.cast::<[$t; L]>().read_unaligned();
                    let row = &mut *row.cast::<[u32; L]>();
                    for lane in 0..L {
                        let ($value, $old) = (values[lane], row[lane]);
                        row[lane] = $word;
                    }
                }
            }
        }
    )*};
}
macro_rules! small_stores {
    ($($name:ident: $t:ty, |$word:ident| $value:expr;)*) => {$(
        pub struct $name;
        impl Move for $name {
            const BYTES: u32 = size_of::<$t>() as u32;
            const ACCESS: Access = Access::Store;
            #[inline(always)]
            unsafe fn lane(pointer: *mut u8, register: *mut u32, _stride: usize) {
                // SAFETY: the caller's promise.
                unsafe {
                    let $word = *register;
                    pointer.cast::<$t>().write_unaligned($value);
                }
            }
            #[inline(always)]
            unsafe fn consecutive<const L: usize, const FAST: bool>(pointer: *mut u8, row: *mut u32, _stride: usize) {
                // SAFETY: the caller's promise.
                unsafe {
                    let values = (*row.cast::<[u32; L]>()).map(|$word| $value);
                    pointer.cast::<[$t; L]>().write_unaligned(values);
                }
            }
        }
    )*};
}

small_loads! {
    LoadU8: u8, |v, _old| u32::from(v);
    LoadI8: i8, |v, _old| i32::from(v) as u32;
    LoadU16: u16, |v, _old| u32::from(v);
    LoadI16: i16, |v, _old| i32::from(v) as u32;
    LoadLowU8: u8, |v, old| old & 0xffff_0000 | u32::from(v);
    LoadLowI8: i8, |v, old| old & 0xffff_0000 | u32::from(i16::from(v) as u16);
    LoadLow16: u16, |v, old| old & 0xffff_0000 | u32::from(v);
    LoadHighU8: u8, |v, old| old & 0xffff | u32::from(v) << 16;
    LoadHighI8: i8, |v, old| old & 0xffff | u32::from(i16::from(v) as u16) << 16;
    LoadHigh16: u16, |v, old| old & 0xffff | u32::from(v) << 16;
}
small_stores! {
    Store8: u8, |word| word as u8;
    Store16: u16, |word| word as u16;
    StoreHigh8: u8, |word| (word >> 16) as u8;
    StoreHigh16: u16, |word| (word >> 16) as u16;
}

/// Functions of one move, by space and level.
#[derive(Clone, Copy)]
pub struct Moves {
    pub global: [Run; LEVELS],
    pub global_scalar: [Run; LEVELS],
    pub lds: [Run; LEVELS],
    pub scratch: [Run; LEVELS],
    pub flat: [Run; LEVELS],
    pub buffer: [Run; LEVELS],
    /// Data registers.
    pub count: u8,
    pub store: bool,
}

const fn moves<M: Move>(count: u8, store: bool) -> Moves {
    Moves {
        global: [base::<Global, M>, fast::<Global, M>],
        global_scalar: [base::<GlobalScalar, M>, fast::<GlobalScalar, M>],
        lds: [base::<Lds, M>, fast::<Lds, M>],
        scratch: [apart::<Scratch, M>, apart::<Scratch, M>],
        flat: [base::<Flat, M>, fast::<Flat, M>],
        buffer: [apart::<Buffer, M>, apart::<Buffer, M>],
        count,
        store,
    }
}

/// Instruction names without the space's prefix, in every family's spelling.
static MOVES: &[(&[&str], Moves)] = &[
    (
        &["load_b32", "load_dword", "read_b32"],
        moves::<LoadWords<1>>(1, false),
    ),
    (
        &["load_b64", "load_dwordx2", "read_b64"],
        moves::<LoadWords<2>>(2, false),
    ),
    (
        &["load_b96", "load_dwordx3", "read_b96"],
        moves::<LoadWords<3>>(3, false),
    ),
    (
        &["load_b128", "load_dwordx4", "read_b128"],
        moves::<LoadWords<4>>(4, false),
    ),
    (
        &["load_u8", "load_ubyte", "read_u8"],
        moves::<LoadU8>(1, false),
    ),
    (
        &["load_i8", "load_sbyte", "read_i8"],
        moves::<LoadI8>(1, false),
    ),
    (
        &["load_u16", "load_ushort", "read_u16"],
        moves::<LoadU16>(1, false),
    ),
    (
        &["load_i16", "load_sshort", "read_i16"],
        moves::<LoadI16>(1, false),
    ),
    (
        &[
            "load_d16_u8",
            "load_ubyte_d16",
            "read_u8_d16",
            "load_u8_d16",
        ],
        moves::<LoadLowU8>(1, false),
    ),
    (
        &[
            "load_d16_i8",
            "load_sbyte_d16",
            "read_i8_d16",
            "load_i8_d16",
        ],
        moves::<LoadLowI8>(1, false),
    ),
    (
        &[
            "load_d16_b16",
            "load_short_d16",
            "read_u16_d16",
            "load_u16_d16",
        ],
        moves::<LoadLow16>(1, false),
    ),
    (
        &[
            "load_d16_hi_u8",
            "load_ubyte_d16_hi",
            "read_u8_d16_hi",
            "load_u8_d16_hi",
        ],
        moves::<LoadHighU8>(1, false),
    ),
    (
        &[
            "load_d16_hi_i8",
            "load_sbyte_d16_hi",
            "read_i8_d16_hi",
            "load_i8_d16_hi",
        ],
        moves::<LoadHighI8>(1, false),
    ),
    (
        &[
            "load_d16_hi_b16",
            "load_short_d16_hi",
            "read_u16_d16_hi",
            "load_u16_d16_hi",
        ],
        moves::<LoadHigh16>(1, false),
    ),
    (
        &["store_b32", "store_dword", "write_b32"],
        moves::<StoreWords<1>>(1, true),
    ),
    (
        &["store_b64", "store_dwordx2", "write_b64"],
        moves::<StoreWords<2>>(2, true),
    ),
    (
        &["store_b96", "store_dwordx3", "write_b96"],
        moves::<StoreWords<3>>(3, true),
    ),
    (
        &["store_b128", "store_dwordx4", "write_b128"],
        moves::<StoreWords<4>>(4, true),
    ),
    (
        &["store_b8", "store_byte", "write_b8"],
        moves::<Store8>(1, true),
    ),
    (
        &["store_b16", "store_short", "write_b16"],
        moves::<Store16>(1, true),
    ),
    (
        &[
            "store_d16_hi_b8",
            "store_byte_d16_hi",
            "write_b8_d16_hi",
            "store_b8_d16_hi",
        ],
        moves::<StoreHigh8>(1, true),
    ),
    (
        &[
            "store_d16_hi_b16",
            "store_short_d16_hi",
            "write_b16_d16_hi",
            "store_b16_d16_hi",
        ],
        moves::<StoreHigh16>(1, true),
    ),
];

/// The move of an instruction's name without the prefix of its space (`global_`, `ds_`, …).
pub fn find(name: &str) -> Option<&'static Moves> {
    MOVES
        .iter()
        .find(|(names, _)| names.contains(&name))
        .map(|(_, moves)| moves)
}
