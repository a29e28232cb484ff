// The formats of formats.h, read the way that product.hip's lanes do: neighbouring lanes take neighbouring bytes.
//
// A portion is what a lane takes at once: one group or two, a group being 16 elements of one half of a segment with one
// scale and one offset. Where a byte holds elements of several segments (the K formats), a lane unpacks several of them
// from the bytes that it has, so that a block is read once and not once a segment.
//
// It comes in two steps, so that a lane may do something else while its bytes are under way: `fetch` reads them into
// `Packed`, `unpack` makes integers and scales of them. A block is at `base + offset`; where all lanes have the same base,
// AMD's loads add the lane's 32 bits to it by themselves.
#pragma once

#include "formats.h"

constexpr unsigned GROUP_WORDS = HALF / 4;

/// `start` and the products of four int8: the first of a chain, whose start is a constant or is needed again. gfx9 and gfx10
/// have a short instruction that adds to its own result and would need a copy of it. What clamps the sum, which none here
/// comes near, is the long one.
static __device__ __forceinline__ int dot4_from(int start, int a, int b) {
#if defined(__GFX9__) || defined(__GFX10__)
    return __builtin_amdgcn_sdot4(a, b, start, true);
#else
    return __dp4a(a, b, start);
#endif
}

template <unsigned GROUPS> struct Portion {
    int q[GROUPS][GROUP_WORDS];
    float scale[GROUPS];
    float offset[GROUPS];
};

struct GroupWords {
    int word[GROUP_WORDS];
};

/// Sixteen bytes, aligned to ALIGNED, as they were read.
template <unsigned ALIGNED> struct PackedGroup {
#if defined(__NVCC__)
    static constexpr bool SHIFTED = ALIGNED < 4;
#else
    static constexpr bool SHIFTED = false;
#endif
    int word[GROUP_WORDS + SHIFTED];
    unsigned shift;

    __device__ __forceinline__ void fetch(const uint8_t *at) {
#if defined(__NVCC__)
        if (!SHIFTED) {
            // One load for 16, four for 4.
            __builtin_memcpy(word, __builtin_assume_aligned(static_cast<const void *>(at), ALIGNED), HALF);
            return;
        }
        // The aligned words around them, and the last two bytes by themselves: nothing beyond the sixteen is read but
        // two bytes in front of them, which a block that starts at an odd half word has before it.
        const size_t address = reinterpret_cast<size_t>(at);
        const int *words = reinterpret_cast<const int *>(address & ~static_cast<size_t>(3));
        shift = (address & 2) * 8;
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) word[i] = words[i];
        word[GROUP_WORDS + SHIFTED - 1] = reinterpret_cast<const uint16_t *>(at)[2 * GROUP_WORDS - 1];
#else
        typedef int Loose __attribute__((ext_vector_type(4), aligned(2)));
        const Loose words = *reinterpret_cast<const Loose *>(at);
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) word[i] = words[i];
#endif
    }

    __device__ __forceinline__ GroupWords words() const {
        GroupWords out;
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) {
#if defined(__NVCC__)
            if (SHIFTED) {
                out.word[i] = static_cast<int>(__funnelshift_r(word[i], word[i + SHIFTED], shift));
                continue;
            }
#endif
            out.word[i] = word[i];
        }
        return out;
    }
};

/// Formats of one segment a block, whose nibbles' low ones are its first half: a lane takes a block.
template <class F> struct SegmentPortion {
    static constexpr unsigned GROUPS = 2;
    static constexpr unsigned APART = 0;     // segments from one group to the other
    static constexpr bool ONE_SCALE = true;  // of all groups, which are one segment
    static constexpr unsigned OF_BLOCK = 1;  // portions
    static __device__ __forceinline__ unsigned half(unsigned, unsigned group) { return group; }

    static constexpr bool FIFTH = F::BYTES >= 22, MINIMUM = F::CENTRE == 0;

    struct Packed {
        PackedGroup<F::ALIGNED> nibbles;
        unsigned high, header;
    };
    static __device__ __forceinline__ void fetch(const uint8_t *base, unsigned offset, unsigned, Packed &packed) {
        const uint8_t *block = base + offset;
        constexpr unsigned HEADER = F::BYTES - HALF;
        packed.nibbles.fetch(block + HEADER);
        if (FIFTH) packed.high = load_word<F::ALIGNED>(block + HEADER - 4);
        packed.header = MINIMUM ? load_word<F::ALIGNED>(block) : load_half_bits(block);
    }
    static __device__ __forceinline__ void unpack(const Packed &packed, unsigned, Portion<2> &out) {
        out.scale[0] = half_of_bits(packed.header);
        if (MINIMUM) out.offset[0] = half_of_bits(packed.header >> 16);
        const GroupWords nibbles = packed.nibbles.words();
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) {
            out.q[0][i] = nibbles.word[i] & LOW_NIBBLES;
            out.q[1][i] = (nibbles.word[i] >> 4) & LOW_NIBBLES;
            if (!FIFTH) continue;
            out.q[0][i] |= spread_bits<4>(packed.high >> (4 * i));
            out.q[1][i] |= spread_bits<4>(packed.high >> (4 * i + 16));
        }
    }
};

/// Formats of whole bytes: a lane takes half a segment.
template <class F, unsigned HEADER> struct BytePortion {
    static constexpr unsigned GROUPS = 1;
    static constexpr unsigned APART = 0;
    static constexpr bool ONE_SCALE = true;
    static constexpr unsigned OF_BLOCK = F::ELEMENTS / HALF;
    static __device__ __forceinline__ unsigned half(unsigned j, unsigned) { return j; }

    struct Packed {
        PackedGroup<F::ALIGNED> bytes;
        unsigned header;
    };
    static __device__ __forceinline__ void fetch(const uint8_t *base, unsigned offset, unsigned j, Packed &packed) {
        const uint8_t *block = base + offset;
        packed.bytes.fetch(base + (offset + HALF * j) + HEADER);
        packed.header = F::SEGMENTS > 1 ? load_word<F::ALIGNED>(block) : load_half_bits(block);
    }
    static __device__ __forceinline__ void unpack(const Packed &packed, unsigned, Portion<1> &out) {
        const GroupWords words = packed.bytes.words();
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) out.q[0][i] = words.word[i];
        out.scale[0] = F::SEGMENTS > 1 ? __int_as_float(packed.header) : half_of_bits(packed.header);
    }
};

/// Of a K format: eight portions a block, each of one half of two segments.
struct PairPortion {
    static constexpr unsigned GROUPS = 2;
    static constexpr unsigned APART = 1;
    static constexpr bool ONE_SCALE = false;
    static constexpr unsigned OF_BLOCK = 8;
};

/// Q2K and Q3K: portion 4 n + 2 p + h has bits 4 p to 4 p + 3 of bytes 32 n + 16 h on, which are half h of the segments
/// 4 n + 2 p and 4 n + 2 p + 1.
struct TwoBitPortion : PairPortion {
    static __device__ __forceinline__ unsigned half(unsigned j, unsigned group) {
        return 2 * (j & ~1u) + (j & 1u) + 2 * group;
    }
    /// Where in the two-bit fields the portion's bytes are.
    static __device__ __forceinline__ unsigned place(unsigned j) { return 32 * (j / 4) + 16 * (j % 2); }
    static __device__ __forceinline__ void two_bits(const GroupWords &words, unsigned j, Portion<2> &out) {
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
    struct Packed {
        PackedGroup<Q2K::ALIGNED> fields;
        int scales, both;
    };
    static __device__ __forceinline__ void fetch(const uint8_t *base, unsigned offset, unsigned j, Packed &packed) {
        const uint8_t *block = base + offset;
        packed.fields.fetch(base + (offset + place(j)) + 16);
        packed.scales = load_word<Q2K::ALIGNED>(base + (offset + 4 * (j / 2)));
        packed.both = load_word<Q2K::ALIGNED>(block + 80);
    }
    static __device__ __forceinline__ void unpack(const Packed &packed, unsigned j, Portion<2> &out) {
        two_bits(packed.fields.words(), j, out);
        // Bytes 0 and 2 once shifted are those of the two segments.
        const int scales = packed.scales >> (8 * (j % 2));
        const float d = half_of_bits(packed.both), minimum = half_of_bits(static_cast<unsigned>(packed.both) >> 16);
        out.scale[0] = d * (scales & 15);
        out.offset[0] = -minimum * ((scales >> 4) & 15);
        out.scale[1] = d * ((scales >> 16) & 15);
        out.offset[1] = -minimum * ((scales >> 20) & 15);
    }
};

template <> struct LanePortion<Q3K> : TwoBitPortion {
    struct Packed {
        PackedGroup<Q3K::ALIGNED> fields, high;
        int low_scales, high_scales;
        unsigned d;
    };
    static __device__ __forceinline__ void fetch(const uint8_t *base, unsigned offset, unsigned j, Packed &packed) {
        const uint8_t *block = base + offset;
        packed.fields.fetch(base + (offset + place(j)) + 32);
        packed.high.fetch(base + (offset + 16 * (j % 2)));
        packed.low_scales = load_word<Q3K::ALIGNED>(base + (offset + 2 * (j & 2u)) + 96);
        packed.high_scales = load_word<Q3K::ALIGNED>(block + 104);
        packed.d = load_half_bits(block + 108);
    }
    static __device__ __forceinline__ void unpack(const Packed &packed, unsigned j, Portion<2> &out) {
        two_bits(packed.fields.words(), j, out);
        // Bytes 0 and 2 once shifted are those of the two segments.
        const int low_scales = packed.low_scales >> (8 * (j % 2) + (j & 4u));
        const int high_scales = packed.high_scales >> (8 * (j % 2) + 2 * (j / 2));
        const int scales = (low_scales & 0x000f000f) | (high_scales & 0x00030003) << 4;
        const float d = half_of_bits(packed.d);
        out.scale[0] = d * ((scales & 63) - 32);
        out.scale[1] = d * ((scales >> 16) - 32);
        const GroupWords high = packed.high.words();
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
    static constexpr bool FIFTH = F::BYTES > 144;
    // Blocks are a multiple of 16 bytes, and so is every field: one load each.
    static_assert(F::BYTES % 16 == 0, "aligned fields");

    struct Packed {
        PackedGroup<16> header, nibbles, fifth;
    };
    static __device__ __forceinline__ void fetch(const uint8_t *base, unsigned offset, unsigned j, Packed &packed) {
        const uint8_t *block = base + offset;
        packed.header.fetch(block);
        packed.nibbles.fetch(base + (offset + 16 * j) + (F::BYTES - 128));
        if (FIFTH) packed.fifth.fetch(base + (offset + 16 * (j % 2)) + 16);
    }
    static __device__ __forceinline__ void unpack(const Packed &packed, unsigned j, Portion<2> &out) {
        const GroupWords header = packed.header.words(), nibbles = packed.nibbles.words();
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) {
            out.q[0][i] = nibbles.word[i] & LOW_NIBBLES;
            out.q[1][i] = (nibbles.word[i] >> 4) & LOW_NIBBLES;
        }
        if (FIFTH) {
            const GroupWords fifth = packed.fifth.words();
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
    static constexpr unsigned APART = 2;
    static __device__ __forceinline__ unsigned half(unsigned j, unsigned group) {
        return 2 * (j & 4u) + (j & 3u) + 4 * group;
    }
    struct Packed {
        PackedGroup<Q6K::ALIGNED> low, high;
        int scales[2];
        unsigned d;
    };
    static __device__ __forceinline__ void fetch(const uint8_t *base, unsigned offset, unsigned j, Packed &packed) {
        const uint8_t *block = base + offset;
        packed.low.fetch(base + (offset + 16 * j));
        packed.high.fetch(base + (offset + 8 * (j & 4u) + 16 * (j % 2)) + 128);
        const uint8_t *scales = base + (offset + 2 * (j & 4u) + (j & 3u)) + 192;
        packed.scales[0] = static_cast<signed char>(scales[0]);
        packed.scales[1] = static_cast<signed char>(scales[4]);
        packed.d = load_half_bits(block + 208);
    }
    static __device__ __forceinline__ void unpack(const Packed &packed, unsigned j, Portion<2> &out) {
        const GroupWords low = packed.low.words(), high = packed.high.words();
        const float d = half_of_bits(packed.d);
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) {
            const int bits = high.word[i] >> (j & 2u);
            out.q[0][i] = (low.word[i] & LOW_NIBBLES) | (bits & 0x03030303) << 4;
            out.q[1][i] = ((low.word[i] >> 4) & LOW_NIBBLES) | (bits & 0x30303030);
        }
        out.scale[0] = d * packed.scales[0];
        out.scale[1] = d * packed.scales[1];
    }
};

/// Both steps at once.
template <class F>
static __device__ __forceinline__ void load_portion(const uint8_t *block, unsigned j, Portion<LanePortion<F>::GROUPS> &out) {
    typename LanePortion<F>::Packed packed;
    LanePortion<F>::fetch(block, 0, j, packed);
    LanePortion<F>::unpack(packed, j, out);
}
