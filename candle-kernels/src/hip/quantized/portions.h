// The formats of formats.h, read the way that product.hip's lanes do: neighbouring lanes take neighbouring bytes.
//
// A portion is what a lane takes at once: one group or two, a group being 16 elements of one half of a segment with one
// scale and one offset. Where a byte holds elements of several segments (the K formats), a lane unpacks several of them
// from the bytes that it has, so that a block is read once and not once a segment.
//
// It comes in two steps, so that a lane may do something else while its bytes are under way: `fetch` reads them into
// `Packed`, `unpack` makes integers and scales of them. A format has both by groups: `fetch` of `count` groups from number g on,
// `word` and `upper`, which are integers of group g, and `scales`, which writes those of group g, the fetched number `to`, to
// place `to`. A block is at `base + offset`; where all lanes have the same base, AMD's loads add the lane's 32 bits to it by
// themselves.
#pragma once

#include "formats.h"

constexpr unsigned GROUP_WORDS = HALF / 4;

/// `start` and the products of four int8: the first of a chain, whose start is a constant or is needed again. gfx9 and gfx10
/// have a short instruction that adds to its own result and would need a copy of it. What clamps the sum, which none here
/// comes near, is the long one.
static __device__ __forceinline__ int dot4_from(int start, int a, int b) {
#if defined(CANDLE_HAS_SDOT4)
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

/// word >> (by + more), where `by` is known to the lane only: if `more` is a constant, other constants share the first shift.
static __device__ __forceinline__ int shifted(int word, unsigned by, unsigned more) {
#if defined(__HIP__)
    if (!__builtin_constant_p(more)) return word >> (by + more);
#endif
    return (word >> by) >> more;
}

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

    __device__ __forceinline__ int at(unsigned i) const {
#if defined(__NVCC__)
        if (SHIFTED) return static_cast<int>(__funnelshift_r(word[i], word[i + SHIFTED], shift));
#endif
        return word[i];
    }
    __device__ __forceinline__ GroupWords words() const {
        GroupWords out;
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) out.word[i] = at(i);
        return out;
    }
};

#if defined(__NVCC__)
/// Sixteen bytes at an even address, as the aligned eight around them: three loads where PackedGroup<2> has five. Each load
/// of a warp looks up as many lines of the cache, so that their number is what counts; but the words take choosing. No eight
/// bytes are read that hold none of the sixteen.
struct WideGroup {
    int2 pair[3];
    unsigned place;

    __device__ __forceinline__ void fetch(const uint8_t *from) {
        const size_t address = reinterpret_cast<size_t>(from);
        const int2 *pairs = reinterpret_cast<const int2 *>(address & ~static_cast<size_t>(7));
        place = static_cast<unsigned>(address) & 7;
        pair[0] = pairs[0], pair[1] = pairs[1], pair[2] = make_int2(0, 0);
        if (place) pair[2] = pairs[2];
    }
    __device__ __forceinline__ int at(unsigned i) const {
        const bool later = place & 4;
        const int word[] = {later ? pair[0].y : pair[0].x, later ? pair[1].x : pair[0].y, later ? pair[1].y : pair[1].x,
                            later ? pair[2].x : pair[1].y, later ? pair[2].y : pair[2].x};
        return static_cast<int>(__funnelshift_r(word[i], word[i + 1], (place & 2) * 8));
    }
};
#endif

/// Whether integers have upper bits elsewhere in the block, which `upper` adds when the others are there.
struct WithoutUpper {
    static constexpr bool UPPER = false;
    template <class PACKED> static __device__ __forceinline__ int upper(const PACKED &, unsigned, unsigned, unsigned) {
        return 0;
    }
};

/// Formats of one segment a block, whose nibbles' low ones are its first half: a lane takes a block.
template <class F> struct SegmentPortion : WithoutUpper {
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
    static __device__ __forceinline__ void fetch(const uint8_t *base, unsigned offset, unsigned, unsigned, unsigned,
                                                 Packed &packed) {
        const uint8_t *block = base + offset;
        constexpr unsigned HEADER = F::BYTES - HALF;
        packed.nibbles.fetch(block + HEADER);
        if (FIFTH) packed.high = load_word<F::ALIGNED>(block + HEADER - 4);
        packed.header = MINIMUM ? load_word<F::ALIGNED>(block) : load_half_bits(block);
    }
    static __device__ __forceinline__ int word(const Packed &packed, unsigned, unsigned g, unsigned i) {
        const int nibbles = (packed.nibbles.at(i) >> (4 * g)) & LOW_NIBBLES;
        return FIFTH ? nibbles | spread_bits<4>(packed.high >> (16 * g) >> (4 * i)) : nibbles;
    }
    template <unsigned ALL>
    static __device__ __forceinline__ void scales(const Packed &packed, unsigned, unsigned, Portion<ALL> &out, unsigned to) {
        out.scale[to] = half_of_bits(packed.header);
        if (MINIMUM) out.offset[to] = half_of_bits(packed.header >> 16);
    }
};

/// Formats of whole bytes: a lane takes half a segment.
template <class F, unsigned HEADER, class GROUP = PackedGroup<F::ALIGNED>> struct BytePortion : WithoutUpper {
    static constexpr unsigned GROUPS = 1;
    static constexpr unsigned APART = 0;
    static constexpr bool ONE_SCALE = true;
    static constexpr unsigned OF_BLOCK = F::ELEMENTS / HALF;
    static __device__ __forceinline__ unsigned half(unsigned j, unsigned) { return j; }

    struct Packed {
        GROUP bytes;
        unsigned header;
    };
    static __device__ __forceinline__ void fetch(const uint8_t *base, unsigned offset, unsigned j, unsigned, unsigned,
                                                 Packed &packed) {
        const uint8_t *block = base + offset;
        packed.bytes.fetch(base + (offset + HALF * j) + HEADER);
        packed.header = F::SEGMENTS > 1 ? load_word<F::ALIGNED>(block) : load_half_bits(block);
    }
    static __device__ __forceinline__ int word(const Packed &packed, unsigned, unsigned, unsigned i) {
        return packed.bytes.at(i);
    }
    template <unsigned ALL>
    static __device__ __forceinline__ void scales(const Packed &packed, unsigned, unsigned, Portion<ALL> &out, unsigned to) {
        out.scale[to] = F::SEGMENTS > 1 ? __int_as_float(packed.header) : half_of_bits(packed.header);
    }
};

/// Of a K format: eight portions a block, each of one half of two segments.
struct PairPortion : WithoutUpper {
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
    static __device__ __forceinline__ int two_bits(int word, unsigned j, unsigned g) {
        return shifted(word, 2 * (j & 2u), 2 * g) & 0x03030303;
    }
};

/// The portions of a format.
template <class F> struct FormatPortion;
template <> struct FormatPortion<Q4_0> : SegmentPortion<Q4_0> {};
template <> struct FormatPortion<Q4_1> : SegmentPortion<Q4_1> {};
template <> struct FormatPortion<Q5_0> : SegmentPortion<Q5_0> {};
template <> struct FormatPortion<Q5_1> : SegmentPortion<Q5_1> {};
template <> struct FormatPortion<Q8_0> : BytePortion<Q8_0, 2> {};
template <> struct FormatPortion<Q8_1> : BytePortion<Q8_1, 4> {};
template <> struct FormatPortion<Q8K> : BytePortion<Q8K, 4> {};

template <> struct FormatPortion<Q2K> : TwoBitPortion {
    struct Packed {
        PackedGroup<Q2K::ALIGNED> fields;
        int scales, both;
    };
    static __device__ __forceinline__ void fetch(const uint8_t *base, unsigned offset, unsigned j, unsigned, unsigned,
                                                 Packed &packed) {
        const uint8_t *block = base + offset;
        packed.fields.fetch(base + (offset + place(j)) + 16);
        packed.scales = load_word<Q2K::ALIGNED>(base + (offset + 4 * (j / 2)));
        packed.both = load_word<Q2K::ALIGNED>(block + 80);
    }
    static __device__ __forceinline__ int word(const Packed &packed, unsigned j, unsigned g, unsigned i) {
        return two_bits(packed.fields.at(i), j, g);
    }
    template <unsigned ALL>
    static __device__ __forceinline__ void scales(const Packed &packed, unsigned j, unsigned g, Portion<ALL> &out, unsigned to) {
        // Bytes 0 and 2 once shifted are those of the two segments.
        const int scales = shifted(packed.scales, 8 * (j % 2), 16 * g);
        const float d = half_of_bits(packed.both), minimum = half_of_bits(static_cast<unsigned>(packed.both) >> 16);
        out.scale[to] = d * (scales & 15);
        out.offset[to] = -minimum * ((scales >> 4) & 15);
    }
};

template <> struct FormatPortion<Q3K> : TwoBitPortion {
    struct Packed {
        PackedGroup<Q3K::ALIGNED> fields, high;
        int low_scales, high_scales;
        unsigned d;
    };
    static __device__ __forceinline__ void fetch(const uint8_t *base, unsigned offset, unsigned j, unsigned, unsigned,
                                                 Packed &packed) {
        const uint8_t *block = base + offset;
        packed.fields.fetch(base + (offset + place(j)) + 32);
        packed.high.fetch(base + (offset + 16 * (j % 2)));
        packed.low_scales = load_word<Q3K::ALIGNED>(base + (offset + 2 * (j & 2u)) + 96);
        packed.high_scales = load_word<Q3K::ALIGNED>(block + 104);
        packed.d = load_half_bits(block + 108);
    }
    static __device__ __forceinline__ int word(const Packed &packed, unsigned j, unsigned g, unsigned i) {
        return two_bits(packed.fields.at(i), j, g);
    }
    static constexpr bool UPPER = true;
    static __device__ __forceinline__ int upper(const Packed &packed, unsigned j, unsigned g, unsigned i) {
        return (shifted(packed.high.at(i), j & ~1u, g) & 0x01010101) << 2;
    }
    template <unsigned ALL>
    static __device__ __forceinline__ void scales(const Packed &packed, unsigned j, unsigned g, Portion<ALL> &out, unsigned to) {
        // Bytes 0 and 2 once shifted are those of the two segments.
        const int low_scales = packed.low_scales >> (8 * (j % 2) + (j & 4u));
        const int high_scales = packed.high_scales >> (8 * (j % 2) + 2 * (j / 2));
        const int scales = (low_scales & 0x000f000f) | (high_scales & 0x00030003) << 4;
        out.scale[to] = half_of_bits(packed.d) * (((scales >> (16 * g)) & 63) - 32);
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
    static __device__ __forceinline__ void fetch(const uint8_t *base, unsigned offset, unsigned j, unsigned, unsigned,
                                                 Packed &packed) {
        const uint8_t *block = base + offset;
        packed.header.fetch(block);
        packed.nibbles.fetch(base + (offset + 16 * j) + (F::BYTES - 128));
        if (FIFTH) packed.fifth.fetch(base + (offset + 16 * (j % 2)) + 16);
    }
    /// Word i. nvcc spills less if Q5K's are copied first (8 columns: 28 bytes, not 136), and more registers of Q4K if its are.
    static __device__ __forceinline__ int header(const Packed &packed, unsigned i) {
        return FIFTH ? packed.header.words().word[i] : packed.header.at(i);
    }
    static __device__ __forceinline__ int word(const Packed &packed, unsigned, unsigned g, unsigned i) {
        return (packed.nibbles.at(i) >> (4 * g)) & LOW_NIBBLES;
    }
    static constexpr bool UPPER = FIFTH;
    static __device__ __forceinline__ int upper(const Packed &packed, unsigned j, unsigned g, unsigned i) {
        return (shifted(packed.fifth.at(i), j & ~1u, g) & 0x01010101) << 4;
    }
    template <unsigned ALL>
    static __device__ __forceinline__ void scales(const Packed &packed, unsigned j, unsigned g, Portion<ALL> &out, unsigned to) {
        // Two six-bit scales and minima, a byte each: the lower half of the block has them whole, the upper one in two.
        const unsigned shift = 8 * (j & 2u);
        const int first = header(packed, 1) >> shift, second = header(packed, 2) >> shift, third = header(packed, 3) >> shift;
        const bool whole = j < 4;
        const int scales = whole ? first & 0x3f3f : (third & 0x0f0f) | ((first >> 2) & 0x3030);
        const int minima = whole ? second & 0x3f3f : ((third >> 4) & 0x0f0f) | ((second >> 2) & 0x3030);
        const float d = half_of_bits(header(packed, 0));
        const float minimum = half_of_bits(static_cast<unsigned>(header(packed, 0)) >> 16);
        out.scale[to] = d * ((scales >> (8 * g)) & 63);
        out.offset[to] = -minimum * ((minima >> (8 * g)) & 63);
    }
};
template <> struct FormatPortion<Q4K> : NibblePortion<Q4K> {};
template <> struct FormatPortion<Q5K> : NibblePortion<Q5K> {};

/// Portion 4 n + i has both nibbles of bytes 16 (4 n + i) on of ql: half i % 2 of the segments 4 n + i / 2 and two on.
template <> struct FormatPortion<Q6K> : PairPortion {
    static constexpr unsigned APART = 2;
    static __device__ __forceinline__ unsigned half(unsigned j, unsigned group) {
        return 2 * (j & 4u) + (j & 3u) + 4 * group;
    }
    struct Packed {
        PackedGroup<Q6K::ALIGNED> low, high;
        int scales[2];
        unsigned d;
    };
    static __device__ __forceinline__ void fetch(const uint8_t *base, unsigned offset, unsigned j, unsigned g, unsigned count,
                                                 Packed &packed) {
        const uint8_t *block = base + offset;
        packed.low.fetch(base + (offset + 16 * j));
        packed.high.fetch(base + (offset + 8 * (j & 4u) + 16 * (j % 2)) + 128);
        const uint8_t *scales = base + (offset + 2 * (j & 4u) + (j & 3u) + 4 * g) + 192;
#pragma unroll
        for (unsigned i = 0; i < count; ++i) packed.scales[i] = static_cast<signed char>(scales[4 * i]);
        packed.d = load_half_bits(block + 208);
    }
    static __device__ __forceinline__ int word(const Packed &packed, unsigned j, unsigned g, unsigned i) {
        return ((packed.low.at(i) >> (4 * g)) & LOW_NIBBLES) |
               (shifted(packed.high.at(i), j & 2u, 4 * g) & 0x03030303) << 4;
    }
    template <unsigned ALL>
    static __device__ __forceinline__ void scales(const Packed &packed, unsigned, unsigned, Portion<ALL> &out, unsigned to) {
        out.scale[to] = half_of_bits(packed.d) * packed.scales[to];
    }
};

/// A lane takes whole portions.
template <class P> struct WholePortion : P {
    static __device__ __forceinline__ void fetch(const uint8_t *base, unsigned offset, unsigned j,
                                                 typename P::Packed &packed) {
        P::fetch(base, offset, j, 0, P::GROUPS, packed);
    }
    static __device__ __forceinline__ void unpack(const typename P::Packed &packed, unsigned j, Portion<P::GROUPS> &out) {
#if defined(__NVCC__)
        // Group by group: nvcc spills less (8 columns of Q5K).
        constexpr bool BY_GROUP = P::UPPER;
#else
        constexpr bool BY_GROUP = false;
#endif
        constexpr unsigned TAKEN = BY_GROUP ? 1 : P::GROUPS;  // groups at a time
#pragma unroll
        for (unsigned from = 0; from < P::GROUPS; from += TAKEN) {
#pragma unroll
            for (unsigned i = 0; i < GROUP_WORDS; ++i) {
#pragma unroll
                for (unsigned g = from; g < from + TAKEN; ++g) out.q[g][i] = P::word(packed, j, g, i);
            }
#pragma unroll
            for (unsigned i = 0; P::UPPER && i < GROUP_WORDS; ++i) {
#pragma unroll
                for (unsigned g = from; g < from + TAKEN; ++g) out.q[g][i] |= P::upper(packed, j, g, i);
            }
        }
#pragma unroll
        for (unsigned g = 0; g < P::GROUPS; ++g) P::scales(packed, j, g, out, g);
    }
};
template <class F> struct LanePortion : WholePortion<FormatPortion<F>> {};

/// Or one group of them, of formats with two: portion 2 j + g is group g of portion j. A lane holds half as many integers, and
/// the bytes are read twice: by two lanes that stand side by side, in one request.
template <class F> struct SplitPortion {
    typedef FormatPortion<F> P;
    static constexpr unsigned GROUPS = 1;
    static constexpr bool ONE_SCALE = true;
    static constexpr unsigned OF_BLOCK = P::GROUPS * P::OF_BLOCK;
    static_assert(P::GROUPS == 2, "two groups");
    typedef typename P::Packed Packed;

    static __device__ __forceinline__ unsigned half(unsigned j, unsigned) { return P::half(j / 2, j % 2); }
    static __device__ __forceinline__ void fetch(const uint8_t *base, unsigned offset, unsigned j, Packed &packed) {
        P::fetch(base, offset, j / 2, j % 2, 1, packed);
    }
    static __device__ __forceinline__ void unpack(const Packed &packed, unsigned j, Portion<1> &out) {
#pragma unroll
        for (unsigned i = 0; i < GROUP_WORDS; ++i) {
            out.q[0][i] = P::word(packed, j / 2, j % 2, i);
            if (P::UPPER) out.q[0][i] |= P::upper(packed, j / 2, j % 2, i);
        }
        P::scales(packed, j / 2, j % 2, out, 0);
    }
};

/// How a lane takes its share; WIDE is a format's wider loads on NVIDIA, if it has any.
enum Taking { WHOLE, SPLIT, WIDE };
template <class F, Taking HOW> struct ChosenPortion { typedef LanePortion<F> Type; };
template <class F> struct ChosenPortion<F, SPLIT> { typedef SplitPortion<F> Type; };
#if defined(__NVCC__)
template <> struct ChosenPortion<Q8_0, WIDE> { typedef WholePortion<BytePortion<Q8_0, 2, WideGroup>> Type; };
#endif

/// Both steps at once.
template <class F>
static __device__ __forceinline__ void load_portion(const uint8_t *block, unsigned j, Portion<LanePortion<F>::GROUPS> &out) {
    typename LanePortion<F>::Packed packed;
    LanePortion<F>::fetch(block, 0, j, packed);
    LanePortion<F>::unpack(packed, j, out);
}
