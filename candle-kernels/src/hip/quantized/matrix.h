// Products of 16 x 16 x 16 int8 on the matrix cores of CDNA 2 (MFMA) and RDNA 3 (WMMA), for the tiles of product.hip.
// Where the elements lie in a wave: AMD's matrix instruction calculator, v_mfma_i32_16x16x16i8 and
// v_wmma_i32_16x16x16_iu8.
#pragma once

#include "portable.h"

/// Rows, columns and depth of one product.
constexpr unsigned SQUARE = 16;
/// Words of four int8 along its depth.
constexpr unsigned SQUARE_WORDS = SQUARE / 4;

#if defined(__gfx90a__)
#define QUANTIZED_MATRIX_CORES 1

/// A lane's results: of column lane % 16, rows 4 * (lane / 16) to 4 * (lane / 16) + 3.
typedef int Square __attribute__((ext_vector_type(4)));

static __device__ __forceinline__ unsigned square_row(unsigned lane, unsigned i) { return lane / SQUARE * 4 + i; }

/// c + a * b; `a(word, row)` and `b(word, column)` give four int8 along the depth.
template <class A, class B>
static __device__ __forceinline__ Square multiply_square(unsigned lane, A a, B b, Square c) {
    const unsigned word = lane / SQUARE, line = lane % SQUARE;
    return __builtin_amdgcn_mfma_i32_16x16x16i8(a(word, line), b(word, line), c, 0, 0, 0);
}

#elif defined(__GFX11__)
#define QUANTIZED_MATRIX_CORES 1

/// A lane's results: of column lane % 16, rows lane / 16, lane / 16 + 2, ...
typedef int Square __attribute__((ext_vector_type(8)));

static __device__ __forceinline__ unsigned square_row(unsigned lane, unsigned i) { return 2 * i + lane / SQUARE; }

/// c + a * b; `a(word, row)` and `b(word, column)` give four int8 along the depth. Both halves of the wave hold all.
template <class A, class B>
static __device__ __forceinline__ Square multiply_square(unsigned lane, A a, B b, Square c) {
    typedef int Line __attribute__((ext_vector_type(4)));
    const unsigned line = lane % SQUARE;
    Line a_line, b_line;
#pragma unroll
    for (unsigned word = 0; word < SQUARE_WORDS; ++word) {
        a_line[word] = a(word, line);
        b_line[word] = b(word, line);
    }
    return __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32(true, a_line, true, b_line, c, false);
}

#else
#define QUANTIZED_MATRIX_CORES 0
#endif
