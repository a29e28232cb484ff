// Products of int8 on matrix cores, for the tiles of tile.hip: squares of 16 x 16 sums over a segment of 32 elements.
//
//   target          instruction                           a lane holds of A (row lane % 16) and of B (column lane % 16)
//   gfx90a          v_mfma_i32_16x16x16i8                 4 successive elements, the (lane / 16)th four of 16
//   gfx942          v_mfma_i32_16x16x32_i8                8 successive elements, the (lane / 16)th eight of 32
//   gfx11 (RDNA 3)  v_wmma_i32_16x16x16_iu8               all 16; both halves of the wave the same
//   gfx12 (RDNA 4)  v_wmma_i32_16x16x16_iu8               8 successive elements, the (lane / 16)th eight of 16
//
// (AMD's matrix instruction calculator and instruction set documents.) A sum does not change when A and B are permuted
// alike along the depth, so words lie in the LDS in the order in which a lane reads them, 16 bytes at a time.
#pragma once

#include "portions.h"

/// Rows and columns of a square.
constexpr unsigned SQUARE = 16;
/// Words from one line to the next, of `depth` segments: 16 bytes more than it has. Then any eight successive lines start in
/// different banks.
constexpr unsigned line_words(unsigned depth) { return depth * WORDS + 4; }

/// Four words. A vector where there are such: the compiler may read an array in two pieces.
#if defined(__HIP__)
typedef int QuadWords __attribute__((ext_vector_type(4)));
#else
typedef int QuadWords[4];
#endif

/// What one access of the LDS moves.
struct alignas(16) Quad {
    QuadWords word;
};

static __device__ __forceinline__ Quad load_quad(const int *from) { return *reinterpret_cast<const Quad *>(from); }
static __device__ __forceinline__ void store_quad(int *to, const GroupWords &words) {
    Quad quad;
#pragma unroll
    for (unsigned i = 0; i < GROUP_WORDS; ++i) quad.word[i] = words.word[i];
    *reinterpret_cast<Quad *>(to) = quad;
}

/// Whether a column of results is finished before the next one is begun, so that the products under way leave registers
/// for the piece that is read meanwhile. gfx9 has twice as many.
#if defined(__HIP__) && !defined(__GFX9__)
constexpr bool FEW_REGISTERS = true;
#else
constexpr bool FEW_REGISTERS = false;
#endif

/// Where the compiler moves no instruction across.
static __device__ __forceinline__ void keep_order() {
#if defined(__HIP__)
    __builtin_amdgcn_sched_barrier(0);
#endif
}

/// Waits for all reads of the LDS at once: the compiler would before each first use of one. (An instruction has to come right
/// after: it overlooks a wait that keep_order follows, and adds its own.)
static __device__ __forceinline__ void await_lds() {
#if defined(__GFX10__)
    keep_order();
    __builtin_amdgcn_s_waitcnt(0xc07f);  // lgkmcnt(0)
#endif
}

#if defined(__gfx90a__) || defined(__gfx942__) || defined(__gfx9_4_generic__)
#define QUANTIZED_MATRIX_CORES 1

constexpr unsigned LANES = 64;
/// Sums of a square in a lane: of column lane % 16, rows square_row(lane, 0), square_row(lane, 1), ...
constexpr unsigned SUMS = 4;
static __device__ __forceinline__ constexpr unsigned square_row(unsigned lane, unsigned i) { return lane / SQUARE * SUMS + i; }

/// Puts half `half` of segment `segment` into a line: the words that a lane needs of two segments stand side by side.
static __device__ __forceinline__ void place_half(int *line, unsigned segment, unsigned half, const GroupWords &words) {
    int *to = line + segment / 2 * (2 * WORDS) + segment % 2 * 2 + half;
#pragma unroll
    for (unsigned i = 0; i < GROUP_WORDS; ++i) to[4 * i] = words.word[i];
}

/// Segments that a fragment holds.
constexpr unsigned FRAGMENT_SEGMENTS = 2;

typedef int Sums __attribute__((ext_vector_type(SUMS)));
typedef float Floats __attribute__((ext_vector_type(SUMS)));

#if defined(__gfx90a__)

/// A lane's part of a line: word lane / 16 of each half of each segment.
struct Fragment {
    Quad quad;

    __device__ __forceinline__ void load(const int *line, unsigned segment, unsigned lane) {
        quad = load_quad(line + segment * WORDS + lane / SQUARE * 4);
    }
};

/// a * b + c over half `half` of segment `segment`.
static __device__ __forceinline__ Sums multiply_half(const Fragment &a, const Fragment &b, unsigned segment, unsigned half,
                                                     Sums c) {
    const unsigned i = segment % 2 * 2 + half;
    return __builtin_amdgcn_mfma_i32_16x16x16i8(a.quad.word[i], b.quad.word[i], c, 0, 0, 0);
}

/// a * b + c over the segment.
static __device__ __forceinline__ Sums multiply(const Fragment &a, const Fragment &b, unsigned segment, Sums c) {
    return multiply_half(a, b, segment, 1, multiply_half(a, b, segment, 0, c));
}

#else

/// The same words, a pair for each segment: the instruction takes both halves at once.
struct Fragment {
    typedef long Pairs __attribute__((ext_vector_type(2)));
    Pairs pairs;

    __device__ __forceinline__ void load(const int *line, unsigned segment, unsigned lane) {
        pairs = *reinterpret_cast<const Pairs *>(line + segment * WORDS + lane / SQUARE * 4);
    }
};

static __device__ __forceinline__ Sums multiply(const Fragment &a, const Fragment &b, unsigned segment, Sums c) {
    return __builtin_amdgcn_mfma_i32_16x16x32_i8(a.pairs[segment % 2], b.pairs[segment % 2], c, 0, 0, 0);
}

/// The other half of A counts as zeros.
static __device__ __forceinline__ Sums multiply_half(const Fragment &a, const Fragment &b, unsigned segment, unsigned half,
                                                     Sums c) {
    const long word = half ? ~0xffffffffL : 0xffffffffL;
    return __builtin_amdgcn_mfma_i32_16x16x32_i8(a.pairs[segment % 2] & word, b.pairs[segment % 2], c, 0, 0, 0);
}

#endif

#elif defined(__GFX11__) || defined(__GFX12__)
#define QUANTIZED_MATRIX_CORES 1

constexpr unsigned LANES = 32;
constexpr unsigned SUMS = 8;
constexpr unsigned FRAGMENT_SEGMENTS = 1;

typedef int Sums __attribute__((ext_vector_type(SUMS)));
typedef float Floats __attribute__((ext_vector_type(SUMS)));

#if defined(__GFX11__)

static __device__ __forceinline__ constexpr unsigned square_row(unsigned lane, unsigned i) { return 2 * i + lane / SQUARE; }

/// Puts half `half` of segment `segment` into a line.
static __device__ __forceinline__ void place_half(int *line, unsigned segment, unsigned half, const GroupWords &words) {
    store_quad(line + segment * WORDS + half * GROUP_WORDS, words);
}

/// A segment of a line, a quad for each half.
struct Fragment {
    Quad quads[2];

    __device__ __forceinline__ void load(const int *line, unsigned segment, unsigned) {
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) quads[half] = load_quad(line + segment * WORDS + half * 4);
    }
};

static __device__ __forceinline__ Sums multiply_half(const Fragment &a, const Fragment &b, unsigned, unsigned half, Sums c) {
    typedef int Operand __attribute__((ext_vector_type(4)));
    Operand x, y;
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
        x[i] = a.quads[half].word[i];
        y[i] = b.quads[half].word[i];
    }
    return __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32(true, x, true, y, c, false);
}

#else

static __device__ __forceinline__ constexpr unsigned square_row(unsigned lane, unsigned i) { return lane / SQUARE * SUMS + i; }

/// Puts half `half` of segment `segment` into a line: two words of each half side by side.
static __device__ __forceinline__ void place_half(int *line, unsigned segment, unsigned half, const GroupWords &words) {
    struct alignas(8) Pair {
        int word[2];
    };
    int *to = line + segment * WORDS + half * 2;
    *reinterpret_cast<Pair *>(to) = Pair{{words.word[0], words.word[1]}};
    *reinterpret_cast<Pair *>(to + 4) = Pair{{words.word[2], words.word[3]}};
}

/// A lane's part of a segment: two words of each half.
struct Fragment {
    Quad quad;

    __device__ __forceinline__ void load(const int *line, unsigned segment, unsigned lane) {
        quad = load_quad(line + segment * WORDS + lane / SQUARE * 4);
    }
};

static __device__ __forceinline__ Sums multiply_half(const Fragment &a, const Fragment &b, unsigned, unsigned half, Sums c) {
    typedef int Operand __attribute__((ext_vector_type(2)));
    const Operand x = {a.quad.word[2 * half], a.quad.word[2 * half + 1]};
    const Operand y = {b.quad.word[2 * half], b.quad.word[2 * half + 1]};
    return __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32_gfx12(true, x, true, y, c, false);
}

#endif

static __device__ __forceinline__ Sums multiply(const Fragment &a, const Fragment &b, unsigned segment, Sums c) {
    return multiply_half(a, b, segment, 1, multiply_half(a, b, segment, 0, c));
}

#else
#define QUANTIZED_MATRIX_CORES 0

/// Puts half `half` of segment `segment` into a line.
static __device__ __forceinline__ void place_half(int *line, unsigned segment, unsigned half, const GroupWords &words) {
    store_quad(line + segment * WORDS + half * GROUP_WORDS, words);
}

#endif

/// 1.5 * 2^23 as f32: its lowest bit is 1. A sum of a segment, below 2^20, added to its bits is added to its value.
constexpr int FLOAT_BITS = 0x4b400000;
constexpr float FLOAT_VALUE = 12582912.0f;

#if QUANTIZED_MATRIX_CORES

/// What sums start at that `as_floats` takes.
static __device__ __forceinline__ Sums no_sums() {
    Sums out;
#pragma unroll
    for (unsigned i = 0; i < SUMS; ++i) out[i] = FLOAT_BITS;
    return out;
}

/// The sums, exactly. A subtraction, which runs two at a time (packed on CDNA, dual on RDNA) where a conversion does not.
static __device__ __forceinline__ Floats as_floats(Sums sums) { return __builtin_bit_cast(Floats, sums) - FLOAT_VALUE; }

#endif

/// Where number `line` of a square's scales lies, so that those of a lane's sums are successive.
static __device__ __forceinline__ constexpr unsigned scale_place(unsigned line) {
#if defined(__GFX11__)
    return line / SQUARE * SQUARE + line % 2 * SUMS + line % SQUARE / 2;
#else
    return line;
#endif
}
