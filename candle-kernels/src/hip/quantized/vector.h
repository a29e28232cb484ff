// The numbers of the vector kernels (product.hip) for each family of cards: rows of the weights of a workgroup, and for how
// many waves of a SIMD their registers leave room.
#pragma once

#include "portions.h"

/// Rows of the weights of a workgroup, for up to 1, 2, 4 and 8 rows of activations: what is read of these serves all of them.
/// Measured on an H200 (docs/performance.md); on AMD they are as many as leave registers for the waves below.
#if defined(__NVCC__)
constexpr unsigned PRODUCT_ROWS[] = {8, 8, 4, 4};
#else
constexpr unsigned PRODUCT_ROWS[] = {4, 4, 4, 4};
#endif

/// Where a kernel with COLUMNS stands in tables like that one.
template <unsigned COLUMNS> constexpr unsigned column_index() {
    return COLUMNS == 1 ? 0 : COLUMNS == 2 ? 1 : COLUMNS == 4 ? 2 : 3;
}

/// How a kernel comes by few registers.
struct VecBounds {
    /// Of a SIMD that there must be registers for; 0 for as many as come of themselves.
    unsigned waves;
    /// Split portions: half of the integers of the weights in registers at a time. It costs an eighth to a third more
    /// instructions; half as many rows of weights would, too, and would read the activations twice as often.
    Taking taking;
    /// Rows of the weights whose bytes are under way at a time.
    unsigned flight;
    /// Whether the compiler leaves loads where they are. Else it issues them early, into registers of their own.
    bool ordered;
};

#if defined(__HIP__)
// The bounds that stand in the table below.
constexpr unsigned ALL_ROWS = PRODUCT_ROWS[0];
constexpr VecBounds FREE = {0, WHOLE, ALL_ROWS, false}, ORDERED = {0, WHOLE, ALL_ROWS, true};
constexpr VecBounds loose(unsigned waves) { return {waves, WHOLE, ALL_ROWS, false}; }
constexpr VecBounds whole(unsigned waves, unsigned flight = ALL_ROWS) { return {waves, WHOLE, flight, true}; }
constexpr VecBounds split(unsigned waves, unsigned flight = ALL_ROWS) { return {waves, SPLIT, flight, true}; }

/// Of a format, by columns. With 8 the loads are ordered everywhere: the other waves hide more than what one has under way.
template <class F> struct VecTable {
    static constexpr VecBounds OF[] = {FREE, FREE, FREE, ORDERED};
};
#define VEC_TABLE(F, ...) \
    template <> struct VecTable<F> { static constexpr VecBounds OF[] = {__VA_ARGS__}; };

// At least as many waves as candle's translated kernels fit, with no scratch memory (docs/counters.md): tried in the order
// whole, loose, split, for which needs the fewest instructions. A SIMD has so many registers for a lane (LLVM's
// AMDGPUBaseInfo, `getTotalNumVGPRs`):
#if defined(__gfx90a__) || defined(__gfx942__) || defined(__gfx9_4_generic__)
// 512: 64 for 8 waves, 72 for 7, 80 for 6, 96 for 5.
//              1         2         4            8
VEC_TABLE(Q4_0, FREE,     FREE,     split(8),    split(6))
VEC_TABLE(Q4_1, FREE,     FREE,     split(8),    whole(5))
VEC_TABLE(Q5_0, FREE,     whole(6), whole(7),    split(6))
VEC_TABLE(Q5_1, FREE,     whole(6), split(8),    ORDERED)
VEC_TABLE(Q2K,  loose(8), whole(6), whole(5),    ORDERED)
VEC_TABLE(Q3K,  split(8), whole(5), FREE,        ORDERED)
VEC_TABLE(Q4K,  split(8), whole(6), whole(5),    ORDERED)
VEC_TABLE(Q5K,  split(8), split(6), whole(5),    ORDERED)
VEC_TABLE(Q6K,  whole(8, 2), whole(6), split(8, 2), split(6, 2))
#elif defined(__gfx1100__) || defined(__gfx1101__) || defined(__gfx1151__) || defined(__GFX12__)
// 1536: 96 for 16 waves, 120 for 12.
//              1          2          4          8
VEC_TABLE(Q5_0, FREE,      whole(16), FREE,      ORDERED)
VEC_TABLE(Q2K,  FREE,      FREE,      FREE,      whole(12))
VEC_TABLE(Q3K,  FREE,      whole(16), FREE,      ORDERED)
VEC_TABLE(Q4K,  FREE,      whole(16), whole(12), ORDERED)
VEC_TABLE(Q5K,  whole(16), whole(16), whole(12), ORDERED)
VEC_TABLE(Q6K,  FREE,      whole(16), FREE,      whole(16))
#elif defined(__GFX10__) || defined(__GFX11__)
// 1024: 64 for 16 waves, 80 for 12, 96 for 10, 112 for 9.
//              1             2          4          8
VEC_TABLE(Q4_0, FREE,         whole(16), whole(12), split(12))
VEC_TABLE(Q4_1, FREE,         whole(16), whole(12), split(12))
VEC_TABLE(Q5_0, whole(16),    whole(16), whole(12), split(12))
VEC_TABLE(Q5_1, FREE,         whole(16), whole(12), split(12))
VEC_TABLE(Q2K,  whole(16, 2), loose(16), loose(12), whole(9))
VEC_TABLE(Q3K,  split(16),    whole(12), whole(9),  ORDERED)
VEC_TABLE(Q4K,  loose(16),    split(16), whole(10), ORDERED)
VEC_TABLE(Q5K,  split(16),    split(16), whole(10), ORDERED)
VEC_TABLE(Q6K,  whole(16, 2), split(16), whole(12), split(12, 2))
#endif
#endif

/// What a workgroup of vec does for up to COLUMNS rows of activations.
template <class F, unsigned COLUMNS> struct VecShape {
    static constexpr unsigned ROWS = PRODUCT_ROWS[column_index<COLUMNS>()];
#if defined(__HIP__)
    static constexpr VecBounds BOUNDS = VecTable<F>::OF[column_index<COLUMNS>()];
#else
    /// Q8_0 by wide loads: with 4 columns as fast as by others, with 8 slower (docs/performance.md).
    static constexpr VecBounds BOUNDS = {0, COLUMNS <= 2 ? WIDE : WHOLE, ROWS, false};
    /// Workgroups that a multiprocessor has registers for: left alone, ptxas takes more than pay.
    static constexpr unsigned RESIDENT = COLUMNS == 1 && LanePortion<F>::ONE_SCALE ? 5 : 4;
#endif
};

/// Calls MACRO(name, Format, other name, other Format) for the pairs of formats that one kernel multiplies, for a row of
/// activations: what llama.cpp's file types make of queries and keys on one side and values on the other
/// (`llama_tensor_get_type_impl` of its llama-quant.cpp). candle-core/src/quantized/rocm/pairs.rs has the same rows.
#define FOR_EACH_PAIR(MACRO)                                                  \
    /* Q4_K_M and Q5_K_M: half of the layers. */                              \
    MACRO(q4k, Q4K, q6k, Q6K) MACRO(q5k, Q5K, q6k, Q6K)                       \
    /* Q4_K_S: the first four layers; of 70B, Q4_K_M's others too. */         \
    MACRO(q4k, Q4K, q5k, Q5K)                                                 \
    /* Q3_K_M, and its first two layers as all of Q3_K_L. */                  \
    MACRO(q3k, Q3K, q4k, Q4K) MACRO(q3k, Q3K, q5k, Q5K)                       \
    /* Q2_K, with four heads of queries for one of keys or more, and less. */ \
    MACRO(q2k, Q2K, q4k, Q4K) MACRO(q2k, Q2K, q3k, Q3K)                       \
    /* Q4_K_M and Q5_K_M where rows are no multiple of 256. */                \
    MACRO(q5_0, Q5_0, q8_0, Q8_0) MACRO(q5_1, Q5_1, q8_0, Q8_0)

/// What bounds the registers of such a kernel.
template <class F, class G> struct PairShape {
#if defined(__HIP__)
    static constexpr unsigned A = VecShape<F, 1>::BOUNDS.waves, B = VecShape<G, 1>::BOUNDS.waves;
    /// Of a SIMD: the fewer of both; of one that is free the other's.
    static constexpr unsigned WAVES = A == 0 || (B != 0 && B < A) ? B : A;
#else
    static constexpr unsigned A = VecShape<F, 1>::RESIDENT, B = VecShape<G, 1>::RESIDENT;
    static constexpr unsigned RESIDENT = A < B ? A : B;
#endif
};
