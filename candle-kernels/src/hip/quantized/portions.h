// The formats of formats.h, read the way that product.hip's lanes do: neighbouring lanes take neighbouring bytes.
//
// A portion is what a lane takes at once: one group or two, a group being 16 elements of one half of a segment with one
// scale and one offset. Where a byte holds elements of several segments (the K formats), a lane unpacks several of them
// from the bytes that it has, so that a block is read once and not once a segment.
#pragma once

#include "formats.h"

constexpr unsigned GROUP_WORDS = HALF / 4;

template <unsigned GROUPS> struct Portion {
    int q[GROUPS][GROUP_WORDS];
    float scale[GROUPS];
    float offset[GROUPS];
};

struct GroupWords {
    int word[GROUP_WORDS];
};

/// Sixteen bytes, aligned to ALIGNED.
template <unsigned ALIGNED> static __device__ __forceinline__ GroupWords load_group(const uint8_t *at) {
    GroupWords out;
#if defined(__NVCC__)
    if (ALIGNED >= 4) {
        // One load for 16, four for 4.
        __builtin_memcpy(&out, __builtin_assume_aligned(static_cast<const void *>(at), ALIGNED), sizeof(out));
        return out;
    }
    // The aligned words around them, and the last two bytes by themselves: nothing beyond the sixteen is read but two
    // bytes in front of them, which a block that starts at an odd half word has before it.
    const size_t address = reinterpret_cast<size_t>(at);
    const unsigned *words = reinterpret_cast<const unsigned *>(address & ~static_cast<size_t>(3));
    const unsigned shift = (address & 2) * 8;
    unsigned loaded[GROUP_WORDS + 1];
#pragma unroll
    for (unsigned i = 0; i < GROUP_WORDS; ++i) loaded[i] = words[i];
    loaded[GROUP_WORDS] = reinterpret_cast<const uint16_t *>(at)[2 * GROUP_WORDS - 1];
#pragma unroll
    for (unsigned i = 0; i < GROUP_WORDS; ++i) out.word[i] = __funnelshift_r(loaded[i], loaded[i + 1], shift);
#else
    typedef int Loose __attribute__((ext_vector_type(4), aligned(2)));
    const Loose words = *reinterpret_cast<const Loose *>(at);
#pragma unroll
    for (unsigned i = 0; i < GROUP_WORDS; ++i) out.word[i] = words[i];
#endif
    return out;
}

/// Formats of one segment a block, whose nibbles' low ones are its first half: a lane takes a block.
template <class F> struct SegmentPortion {
    static constexpr unsigned GROUPS = 2;
    static constexpr bool ONE_SCALE = true;  // of all groups, which are one segment
    static constexpr unsigned OF_BLOCK = 1;  // portions
    static __device__ __forceinline__ unsigned half(unsigned, unsigned group) { return group; }

    static __device__ __forceinline__ void load(const uint8_t *block, unsigned, Portion<2> &out) {
        constexpr bool FIFTH = F::BYTES >= 22, MINIMUM = F::CENTRE == 0;
        constexpr unsigned HEADER = F::BYTES - HALF;
        const GroupWords nibbles = load_group<F::ALIGNED>(block + HEADER);
        const unsigned high = FIFTH ? load_word<F::ALIGNED>(block + HEADER - 4) : 0;
        if (MINIMUM) {
            const unsigned header = load_word<F::ALIGNED>(block);
            out.scale[0] = half_of_bits(header);
            out.offset[0] = half_of_bits(header >> 16);
        } else {
            out.scale[0] = load_half(block);
        }
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) {
            out.q[0][i] = nibbles.word[i] & LOW_NIBBLES;
            out.q[1][i] = (nibbles.word[i] >> 4) & LOW_NIBBLES;
            if (!FIFTH) continue;
            out.q[0][i] |= spread_bits<4>(high >> (4 * i));
            out.q[1][i] |= spread_bits<4>(high >> (4 * i + 16));
        }
    }
};

/// Formats of whole bytes: a lane takes half a segment.
template <class F, unsigned HEADER> struct BytePortion {
    static constexpr unsigned GROUPS = 1;
    static constexpr bool ONE_SCALE = true;
    static constexpr unsigned OF_BLOCK = F::ELEMENTS / HALF;
    static __device__ __forceinline__ unsigned half(unsigned j, unsigned) { return j; }

    static __device__ __forceinline__ void load(const uint8_t *block, unsigned j, Portion<1> &out) {
        const GroupWords words = load_group<F::ALIGNED>(block + HEADER + HALF * j);
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) out.q[0][i] = words.word[i];
        out.scale[0] = F::SEGMENTS > 1 ? __int_as_float(load_word<F::ALIGNED>(block)) : load_half(block);
    }
};

/// Of a K format: eight portions a block, each of one half of two segments.
struct PairPortion {
    static constexpr unsigned GROUPS = 2;
    static constexpr bool ONE_SCALE = false;
    static constexpr unsigned OF_BLOCK = 8;
};

/// Q2K and Q3K: portion 4 n + 2 p + h has bits 4 p to 4 p + 3 of bytes 32 n + 16 h on, which are half h of the segments
/// 4 n + 2 p and 4 n + 2 p + 1.
struct TwoBitPortion : PairPortion {
    static __device__ __forceinline__ unsigned half(unsigned j, unsigned group) {
        return 2 * (j & ~1u) + (j & 1u) + 2 * group;
    }
    template <unsigned ALIGNED>
    static __device__ __forceinline__ void two_bits(const uint8_t *qs, unsigned j, Portion<2> &out) {
        const GroupWords words = load_group<ALIGNED>(qs + 32 * (j / 4) + 16 * (j % 2));
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) {
            const int word = words.word[i] >> (2 * (j & 2u));
            out.q[0][i] = word & 0x03030303;
            out.q[1][i] = (word >> 2) & 0x03030303;
        }
    }
};

template <class F> struct LanePortion;
template <> struct LanePortion<Q4_0> : SegmentPortion<Q4_0> {};
template <> struct LanePortion<Q4_1> : SegmentPortion<Q4_1> {};
template <> struct LanePortion<Q5_0> : SegmentPortion<Q5_0> {};
template <> struct LanePortion<Q5_1> : SegmentPortion<Q5_1> {};
template <> struct LanePortion<Q8_0> : BytePortion<Q8_0, 2> {};
template <> struct LanePortion<Q8_1> : BytePortion<Q8_1, 4> {};
template <> struct LanePortion<Q8K> : BytePortion<Q8K, 4> {};

template <> struct LanePortion<Q2K> : TwoBitPortion {
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned j, Portion<2> &out) {
        two_bits<Q2K::ALIGNED>(block + 16, j, out);
        // Bytes 0 and 2 once shifted are those of the two segments.
        const int scales = load_word<Q2K::ALIGNED>(block + 4 * (j / 2)) >> (8 * (j % 2));
        const int both = load_word<Q2K::ALIGNED>(block + 80);
        const float d = half_of_bits(both), minimum = half_of_bits(static_cast<unsigned>(both) >> 16);
        out.scale[0] = d * (scales & 15);
        out.offset[0] = -minimum * ((scales >> 4) & 15);
        out.scale[1] = d * ((scales >> 16) & 15);
        out.offset[1] = -minimum * ((scales >> 20) & 15);
    }
};

template <> struct LanePortion<Q3K> : TwoBitPortion {
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned j, Portion<2> &out) {
        two_bits<Q3K::ALIGNED>(block + 32, j, out);
        const GroupWords high = load_group<Q3K::ALIGNED>(block + 16 * (j % 2));
        // Bytes 0 and 2 once shifted are those of the two segments.
        const int low_scales = load_word<Q3K::ALIGNED>(block + 96 + 2 * (j & 2u)) >> (8 * (j % 2) + (j & 4u));
        const int high_scales = load_word<Q3K::ALIGNED>(block + 104) >> (8 * (j % 2) + 2 * (j / 2));
        const int scales = (low_scales & 0x000f000f) | (high_scales & 0x00030003) << 4;
        const float d = load_half(block + 108);
        out.scale[0] = d * ((scales & 63) - 32);
        out.scale[1] = d * ((scales >> 16) - 32);
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) {
            const int bits = high.word[i] >> (j & ~1u);
            out.q[0][i] |= (bits & 0x01010101) << 2;
            out.q[1][i] |= (bits & 0x02020202) << 1;
        }
    }
};

/// Q4K and Q5K: portion 2 p + h has both nibbles of sixteen bytes, half h of the segments 2 p and 2 p + 1.
template <class F> struct NibblePortion : PairPortion {
    static __device__ __forceinline__ unsigned half(unsigned j, unsigned group) {
        return 2 * (j & ~1u) + (j & 1u) + 2 * group;
    }
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned j, Portion<2> &out) {
        // Blocks are a multiple of 16 bytes, and so is every field: one load each.
        static_assert(F::BYTES % 16 == 0, "aligned fields");
        const GroupWords header = load_group<16>(block), nibbles = load_group<16>(block + F::BYTES - 128 + 16 * j);
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) {
            out.q[0][i] = nibbles.word[i] & LOW_NIBBLES;
            out.q[1][i] = (nibbles.word[i] >> 4) & LOW_NIBBLES;
        }
        if (F::BYTES > 144) {
            const GroupWords fifth = load_group<16>(block + 16 + 16 * (j % 2));
#pragma unroll
            for (unsigned i = 0; i < GROUP_WORDS; ++i) {
                const int bits = fifth.word[i] >> (j & ~1u);
                out.q[0][i] |= (bits & 0x01010101) << 4;
                out.q[1][i] |= (bits & 0x02020202) << 3;
            }
        }
        // Two six-bit scales and minima, a byte each: the lower half of the block has them whole, the upper one in two.
        const unsigned shift = 8 * (j & 2u);
        const int first = header.word[1] >> shift, second = header.word[2] >> shift, third = header.word[3] >> shift;
        const bool whole = j < 4;
        const int scales = whole ? first & 0x3f3f : (third & 0x0f0f) | ((first >> 2) & 0x3030);
        const int minima = whole ? second & 0x3f3f : ((third >> 4) & 0x0f0f) | ((second >> 2) & 0x3030);
        const float d = half_of_bits(header.word[0]);
        const float minimum = half_of_bits(static_cast<unsigned>(header.word[0]) >> 16);
        out.scale[0] = d * (scales & 63);
        out.offset[0] = -minimum * (minima & 63);
        out.scale[1] = d * (scales >> 8);
        out.offset[1] = -minimum * (minima >> 8);
    }
};
template <> struct LanePortion<Q4K> : NibblePortion<Q4K> {};
template <> struct LanePortion<Q5K> : NibblePortion<Q5K> {};

/// Portion 4 n + i has both nibbles of bytes 16 (4 n + i) on of ql: half i % 2 of the segments 4 n + i / 2 and two on.
template <> struct LanePortion<Q6K> : PairPortion {
    static __device__ __forceinline__ unsigned half(unsigned j, unsigned group) {
        return 2 * (j & 4u) + (j & 3u) + 4 * group;
    }
    static __device__ __forceinline__ void load(const uint8_t *block, unsigned j, Portion<2> &out) {
        const GroupWords low = load_group<Q6K::ALIGNED>(block + 16 * j);
        const GroupWords high = load_group<Q6K::ALIGNED>(block + 128 + 8 * (j & 4u) + 16 * (j % 2));
        const uint8_t *scales = block + 192 + 2 * (j & 4u) + (j & 3u);
        const float d = load_half(block + 208);
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) {
            const int bits = high.word[i] >> (j & 2u);
            out.q[0][i] = (low.word[i] & LOW_NIBBLES) | (bits & 0x03030303) << 4;
            out.q[1][i] = ((low.word[i] >> 4) & LOW_NIBBLES) | (bits & 0x30303030);
        }
        out.scale[0] = d * static_cast<signed char>(scales[0]);
        out.scale[1] = d * static_cast<signed char>(scales[4]);
    }
};
