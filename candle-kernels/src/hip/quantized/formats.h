// The GGML block formats, read one segment of 32 elements at a time. Layouts: ggml-common.h of ggml (facts only);
// candle's k_quants.rs defines what the values mean.
//
// A segment is 32 small integers q and, for each half of it, a scale and an offset: element i is
// scale[i / 16] * q[i] + offset[i / 16]. Every product works on segments, so a type is one `Format` and nothing else.
#pragma once

#include "activations.h"

struct Segment {
    /// Element i is byte i % 4 of word i / 4.
    int q[WORDS];
    float scale[2];
    float offset[2];
};

/// Formats of one scale per 32 elements set HALVES to 1 and leave scale[1] and offset[1] alone.
template <unsigned ELEMENTS_, unsigned BYTES_, unsigned HALVES_, bool OFFSET_, int CENTRE_ = 0> struct FormatBase {
    static constexpr unsigned ELEMENTS = ELEMENTS_;            // of a block
    static constexpr unsigned BYTES = BYTES_;                  // of a block
    static constexpr unsigned SEGMENTS = ELEMENTS_ / SEGMENT;  // of a block
    static constexpr unsigned HALVES = HALVES_;                // different scales in a segment
    static constexpr bool OFFSET = OFFSET_;                    // whether offset may differ from 0
    static constexpr int CENTRE = CENTRE_;                     // the q that means 0: offset is -CENTRE * scale
    /// Whether scales have all bits of f32. Else they are a number of f16 times one of at most eight bits.
    static constexpr bool WIDE_SCALE = false;
    /// Bytes to whose multiples blocks and their words are aligned: where a block is whole words, so are its fields.
    static constexpr unsigned ALIGNED = BYTES_ % 4 == 0 ? 4 : 2;
};

/// AMD reads words from anywhere. NVIDIA does not, and its compiler reads them byte by byte unless it knows better.
template <unsigned ALIGNED> static __device__ __forceinline__ const void *aligned(const uint8_t *at) {
#if defined(__NVCC__)
    return __builtin_assume_aligned(at, ALIGNED);
#else
    return at;
#endif
}

template <unsigned ALIGNED> static __device__ __forceinline__ int load_word(const uint8_t *at) {
    int word;
    __builtin_memcpy(&word, aligned<ALIGNED>(at), sizeof(word));
    return word;
}

static __device__ __forceinline__ float half_of_bits(unsigned bits) {
    const uint16_t low = static_cast<uint16_t>(bits);
#if defined(__NVCC__)
    // A copy into its class would go through the stack.
    return __half2float(__ushort_as_half(low));
#else
    f16 value;
    __builtin_memcpy(&value, &low, sizeof(value));
    return static_cast<float>(value);
#endif
}

static __device__ __forceinline__ unsigned load_half_bits(const uint8_t *at) {
    uint16_t bits;
    __builtin_memcpy(&bits, aligned<2>(at), sizeof(bits));
    return bits;
}

static __device__ __forceinline__ float load_half(const uint8_t *at) { return half_of_bits(load_half_bits(at)); }

constexpr int LOW_NIBBLES = 0x0f0f0f0f;

/// Sixteen bytes hold 32 nibbles: the low ones are the first half of the segment.
template <unsigned ALIGNED> static __device__ __forceinline__ void nibble_halves(const uint8_t *from, Segment &out) {
#pragma unroll
    for (unsigned i = 0; i < WORDS / 2; ++i) {
        const int word = load_word<ALIGNED>(from + 4 * i);
        out.q[i] = word & LOW_NIBBLES;
        out.q[i + WORDS / 2] = (word >> 4) & LOW_NIBBLES;
    }
}

/// Bits 0 to 3 of `bits`, each as bit `AT` of one byte: the factor has a bit for each, and no two products meet.
template <unsigned AT> static __device__ __forceinline__ int spread_bits(unsigned bits) {
    return static_cast<int>((((bits & 15u) * 0x00204081u) & 0x01010101u) << AT);
}

/// Adds the fifth bits, one a bit of `high`.
static __device__ __forceinline__ void add_fifth_bits(unsigned high, Segment &out) {
#pragma unroll
    for (unsigned i = 0; i < WORDS; ++i) out.q[i] |= spread_bits<4>(high >> (4 * i));
}

template <unsigned ALIGNED> static __device__ __forceinline__ void bytes_of(const uint8_t *from, Segment &out) {
#pragma unroll
    for (unsigned i = 0; i < WORDS; ++i) out.q[i] = load_word<ALIGNED>(from + 4 * i);
}

static __device__ __forceinline__ void scaled(float scale, float offset, Segment &out) {
    out.scale[0] = scale;
    out.offset[0] = offset;
}

struct Q4_0 : FormatBase<32, 18, 1, true, 8> {
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned, Segment &out) {
        const float d = load_half(block);
        nibble_halves<ALIGNED>(block + 2, out);
        scaled(d, -CENTRE * d, out);
    }
};

struct Q4_1 : FormatBase<32, 20, 1, true> {
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned, Segment &out) {
        nibble_halves<ALIGNED>(block + 4, out);
        scaled(load_half(block), load_half(block + 2), out);
    }
};

struct Q5_0 : FormatBase<32, 22, 1, true, 16> {
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned, Segment &out) {
        const float d = load_half(block);
        nibble_halves<ALIGNED>(block + 6, out);
        add_fifth_bits(load_word<ALIGNED>(block + 2), out);
        scaled(d, -CENTRE * d, out);
    }
};

struct Q5_1 : FormatBase<32, 24, 1, true> {
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned, Segment &out) {
        nibble_halves<ALIGNED>(block + 8, out);
        add_fifth_bits(load_word<ALIGNED>(block + 4), out);
        scaled(load_half(block), load_half(block + 2), out);
    }
};

struct Q8_0 : FormatBase<32, 34, 1, false> {
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned, Segment &out) {
        bytes_of<ALIGNED>(block + 2, out);
        scaled(load_half(block), 0.0f, out);
    }
};

struct Q8_1 : FormatBase<32, 36, 1, false> {
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned, Segment &out) {
        bytes_of<ALIGNED>(block + 4, out);
        scaled(load_half(block), 0.0f, out);
    }
};

/// The two-bit fields at `2 * plane` of 32 bytes.
template <unsigned ALIGNED>
static __device__ __forceinline__ void two_bits(const uint8_t *from, unsigned plane, Segment &out) {
#pragma unroll
    for (unsigned i = 0; i < WORDS; ++i) out.q[i] = (load_word<ALIGNED>(from + 4 * i) >> (2 * plane)) & 0x03030303;
}

/// scales[16] (low nibble scale, high nibble minimum), qs[64], d, dmin. Segment s: bits 2 * (s % 4) of bytes
/// 32 * (s / 4) on.
struct Q2K : FormatBase<256, 84, 2, true> {
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned s, Segment &out) {
        two_bits<ALIGNED>(block + 16 + 32 * (s / 4), s % 4, out);
        const float d = load_half(block + 80), minimum = load_half(block + 82);
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
            const unsigned packed = block[2 * s + half];
            out.scale[half] = d * (packed & 15u);
            out.offset[half] = -minimum * (packed >> 4);
        }
    }
};

/// hmask[32], qs[64], scales[12], d. The third bit of segment s is bit s of hmask, set when 4 is not subtracted.
struct Q3K : FormatBase<256, 110, 2, true, 4> {
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned s, Segment &out) {
        two_bits<ALIGNED>(block + 32 + 32 * (s / 4), s % 4, out);
#pragma unroll
        for (unsigned i = 0; i < WORDS; ++i) out.q[i] |= ((load_word<ALIGNED>(block + 4 * i) >> s) & 0x01010101) << 2;
        const uint8_t *scales = block + 96;
        const float d = load_half(block + 108);
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
            const unsigned i = 2 * s + half;
            const unsigned low = (scales[i % 8] >> (i < 8 ? 0 : 4)) & 15u;
            const unsigned high = (scales[8 + i % 4] >> (2 * (i / 4))) & 3u;
            out.scale[half] = d * (static_cast<int>(low | high << 4) - 32);
            out.offset[half] = -CENTRE * out.scale[half];
        }
    }
};

/// The six-bit scale and minimum number s of the twelve bytes that Q4K and Q5K share.
static __device__ __forceinline__ void six_bits(const uint8_t *scales, unsigned s, unsigned &scale, unsigned &minimum) {
    if (s < 4) {
        scale = scales[s] & 63u;
        minimum = scales[s + 4] & 63u;
    } else {
        scale = (scales[s + 4] & 15u) | (scales[s - 4] >> 6) << 4;
        minimum = (scales[s + 4] >> 4) | (scales[s] >> 6) << 4;
    }
}

/// The low nibbles (even segments) or high nibbles of 32 bytes, scale and offset from the header that Q4K and Q5K
/// share: d, dmin, scales[12].
template <unsigned ALIGNED>
static __device__ __forceinline__ void nibbles_with_header(const uint8_t *block, const uint8_t *qs, unsigned s,
                                                           Segment &out) {
#pragma unroll
    for (unsigned i = 0; i < WORDS; ++i) {
        out.q[i] = (load_word<ALIGNED>(qs + 32 * (s / 2) + 4 * i) >> (4 * (s % 2))) & LOW_NIBBLES;
    }
    unsigned scale, minimum;
    six_bits(block + 4, s, scale, minimum);
    scaled(load_half(block) * scale, -load_half(block + 2) * minimum, out);
}

struct Q4K : FormatBase<256, 144, 1, true> {
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned s, Segment &out) {
        nibbles_with_header<ALIGNED>(block, block + 16, s, out);
    }
};

/// As Q4K with qh[32] before the nibbles: bit s of its bytes is the fifth bit.
struct Q5K : FormatBase<256, 176, 1, true> {
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned s, Segment &out) {
        nibbles_with_header<ALIGNED>(block, block + 48, s, out);
#pragma unroll
        for (unsigned i = 0; i < WORDS; ++i) {
            out.q[i] |= ((load_word<ALIGNED>(block + 16 + 4 * i) >> s) & 0x01010101) << 4;
        }
    }
};

/// ql[128], qh[64], scales[16], d. Segment s = 4 n + j: nibbles of ql from 64 n + 32 (j % 2) on, high ones for
/// j >= 2, and bits 2 j of qh from 32 n on.
struct Q6K : FormatBase<256, 210, 2, true, 32> {
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned s, Segment &out) {
        const unsigned n = s / 4, j = s % 4;
        const uint8_t *low = block + 64 * n + 32 * (j % 2), *high = block + 128 + 32 * n;
#pragma unroll
        for (unsigned i = 0; i < WORDS; ++i) {
            const int nibbles = (load_word<ALIGNED>(low + 4 * i) >> (4 * (j / 2))) & LOW_NIBBLES;
            out.q[i] = nibbles | ((load_word<ALIGNED>(high + 4 * i) >> (2 * j)) & 0x03030303) << 4;
        }
        const float d = load_half(block + 208);
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
            out.scale[half] = d * static_cast<signed char>(block[192 + 2 * s + half]);
            out.offset[half] = -CENTRE * out.scale[half];
        }
    }
};

/// d in f32, qs[256], bsums[16].
struct Q8K : FormatBase<256, 292, 1, false> {
    static constexpr bool WIDE_SCALE = true;
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned s, Segment &out) {
        bytes_of<ALIGNED>(block + 4 + SEGMENT * s, out);
        scaled(__int_as_float(load_word<ALIGNED>(block)), 0.0f, out);
    }
};

/// Calls MACRO(name, Format) for every type.
#define FOR_EACH_FORMAT(MACRO)                                                                     \
    MACRO(q4_0, Q4_0) MACRO(q4_1, Q4_1) MACRO(q5_0, Q5_0) MACRO(q5_1, Q5_1) MACRO(q8_0, Q8_0)      \
    MACRO(q8_1, Q8_1) MACRO(q2k, Q2K) MACRO(q3k, Q3K) MACRO(q4k, Q4K) MACRO(q5k, Q5K)              \
    MACRO(q6k, Q6K) MACRO(q8k, Q8K)

template <class F> static __device__ __forceinline__ void load_segment(const uint8_t *row, unsigned s, Segment &out) {
    F::load(row + static_cast<size_t>(s / F::SEGMENTS) * F::BYTES, s % F::SEGMENTS, out);
}

/// Address of row number `row` of weights with `segments` segments a row.
template <class F> static __device__ __forceinline__ const uint8_t *weight_row(const void *w, size_t row, unsigned segments) {
    return static_cast<const uint8_t *>(w) + row * (segments / F::SEGMENTS) * F::BYTES;
}
