//! Accesses of several dwords: lane by lane in memory, row by row in the registers.

use std::arch::x86_64::*;

/// Two or four dwords of each lane: four lanes at a time, whose words a transposition brings from lane by lane in
/// memory to row by row in the registers, or back.
///
/// # Safety
/// As for `Move::scattered` of [`super::moves`], of a multiple of eight lanes.
#[inline(always)]
pub unsafe fn transposed<const N: usize, const L: usize, const FAST: bool>(
    load: bool,
    pointer: impl Fn(usize) -> *mut u8,
    row: *mut u32,
    stride: usize,
) {
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
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn transposed_wide<const N: usize>(
    load: bool,
    lanes: [*mut u8; 8],
    row: *mut u32,
    stride: usize,
) {
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
