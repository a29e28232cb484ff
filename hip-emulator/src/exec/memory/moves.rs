//! Loads and stores: what is transferred between a lane's registers and its pointer.

use super::space::{Buffer, Flat, Global, GlobalScalar, Lds, Scratch};
use super::transfer::{apart, base, fast};
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

/// Two or four dwords of each lane: four lanes at a time, whose words a transposition brings from lane by lane in
/// memory to row by row in the registers, or back.
///
/// # Safety
/// As for `Move::scattered`, of a multiple of eight lanes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transposed<const N: usize, const L: usize, const FAST: bool>(
    load: bool,
    pointer: impl Fn(usize) -> *mut u8,
    row: *mut u32,
    stride: usize,
) {
    use std::arch::x86_64::*;
    if FAST {
        for first in (0..L).step_by(8) {
            let lanes = std::array::from_fn(|lane| pointer(first + lane));
            // SAFETY: the caller's promise.
            unsafe { transposed_wide::<N>(load, lanes, row.add(first), stride) }
        }
        return;
    }
    for first in (0..L).step_by(4) {
        // SAFETY: the caller's promise; a row holds all lanes; every x86-64 CPU has SSE2.
        unsafe {
            let memory = |i: usize| pointer(first + i).cast::<__m128i>();
            let registers = |i: usize| row.add(first + i * stride).cast::<__m128i>();
            if N == 2 && load {
                let from = |i| _mm_loadl_epi64(memory(i));
                let low = _mm_unpacklo_epi32(from(0), from(1));
                let high = _mm_unpacklo_epi32(from(2), from(3));
                _mm_storeu_si128(registers(0), _mm_unpacklo_epi64(low, high));
                _mm_storeu_si128(registers(1), _mm_unpackhi_epi64(low, high));
            } else if N == 2 {
                let (a, b) = (_mm_loadu_si128(registers(0)), _mm_loadu_si128(registers(1)));
                let (low, high) = (_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
                _mm_storel_epi64(memory(0), low);
                _mm_storel_epi64(memory(1), _mm_unpackhi_epi64(low, low));
                _mm_storel_epi64(memory(2), high);
                _mm_storel_epi64(memory(3), _mm_unpackhi_epi64(high, high));
            } else {
                let from = |i| if load { memory(i) } else { registers(i) };
                let to = |i| if load { registers(i) } else { memory(i) };
                let (a, b) = (_mm_loadu_si128(from(0)), _mm_loadu_si128(from(1)));
                let (c, d) = (_mm_loadu_si128(from(2)), _mm_loadu_si128(from(3)));
                let (ab, cd) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
                _mm_storeu_si128(to(0), _mm_unpacklo_epi64(ab, cd));
                _mm_storeu_si128(to(1), _mm_unpackhi_epi64(ab, cd));
                let (ab, cd) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
                _mm_storeu_si128(to(2), _mm_unpacklo_epi64(ab, cd));
                _mm_storeu_si128(to(3), _mm_unpackhi_epi64(ab, cd));
            }
        }
    }
}

/// The same for the fast level, eight lanes at a time.
///
/// # Safety
/// As for `transposed`; and the CPU has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn transposed_wide<const N: usize>(
    load: bool,
    lanes: [*mut u8; 8],
    row: *mut u32,
    stride: usize,
) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's promise; a row holds all lanes.
    unsafe {
        let registers = |i: usize| row.add(i * stride).cast::<__m256i>();
        // Lane `i` (and `i + 1` of two dwords each) in the lower half, the one four further in the upper one.
        let quad = |i: usize| {
            let half = |i: usize| _mm_loadu_si128(lanes[i].cast());
            _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(half(i)), half(i + 4))
        };
        let pairs = |i: usize| {
            let one = |i: usize| _mm_loadl_epi64(lanes[i].cast());
            let half = |i: usize| _mm_unpacklo_epi64(one(i), one(i + 1));
            _mm256_castsi256_ps(_mm256_inserti128_si256::<1>(
                _mm256_castsi128_si256(half(i)),
                half(i + 4),
            ))
        };
        if N == 2 && load {
            let (low, high) = (pairs(0), pairs(2));
            let even = _mm256_shuffle_ps::<0x88>(low, high);
            let odd = _mm256_shuffle_ps::<0xdd>(low, high);
            _mm256_storeu_si256(registers(0), _mm256_castps_si256(even));
            _mm256_storeu_si256(registers(1), _mm256_castps_si256(odd));
        } else if N == 2 {
            let a = _mm256_loadu_si256(registers(0));
            let b = _mm256_loadu_si256(registers(1));
            let (low, high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let put = |i: usize, two: __m128i| {
                _mm_storel_epi64(lanes[i].cast(), two);
                _mm_storel_epi64(lanes[i + 1].cast(), _mm_unpackhi_epi64(two, two));
            };
            put(0, _mm256_castsi256_si128(low));
            put(2, _mm256_castsi256_si128(high));
            put(4, _mm256_extracti128_si256::<1>(low));
            put(6, _mm256_extracti128_si256::<1>(high));
        } else {
            let from = |i: usize| match load {
                true => quad(i),
                false => _mm256_loadu_si256(registers(i)),
            };
            let (a, b, c, d) = (from(0), from(1), from(2), from(3));
            let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
            let first = _mm256_unpacklo_epi64(ab, cd);
            let second = _mm256_unpackhi_epi64(ab, cd);
            let (ab, cd) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
            let third = _mm256_unpacklo_epi64(ab, cd);
            let fourth = _mm256_unpackhi_epi64(ab, cd);
            for (i, value) in [first, second, third, fourth].into_iter().enumerate() {
                if load {
                    _mm256_storeu_si256(registers(i), value);
                } else {
                    _mm_storeu_si128(lanes[i].cast(), _mm256_castsi256_si128(value));
                    _mm_storeu_si128(lanes[i + 4].cast(), _mm256_extracti128_si256::<1>(value));
                }
            }
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
