// How the operands of a tile come from global memory into the LDS: lanes that stand side by side read bytes that do. While
// a piece is multiplied, the next one's bytes are under way to registers.
#pragma once

#include "tile.h"

/// What a lane takes of a row of weights for a piece: portions of portions.h.
template <class F, class S> struct PiecePortions {
    typedef LanePortion<F> P;
    /// Of a row, in a piece.
    static constexpr unsigned COUNT = S::DEPTH * P::OF_BLOCK / F::SEGMENTS;
    /// A portion's two segments are P::APART from each other. Where that is as far as the piece is deep, the piece takes
    /// every other segment.
    static constexpr bool CROSSED = P::APART == S::DEPTH;
    static_assert(P::APART <= S::DEPTH && S::DEPTH <= ACTIVATION_LINE, "a piece holds both segments of a portion");

    /// The segment at place d of the piece at segment s. No bit is set in both terms.
    static __device__ __forceinline__ unsigned first_segment(unsigned s) {
        return CROSSED ? (s & ~(2 * S::DEPTH - 1)) + (s & S::DEPTH) / 2 : s;
    }
    static __device__ __forceinline__ unsigned segment_step(unsigned d) { return CROSSED ? 2 * d : d; }

    /// Where in a piece group `group` of portion j is.
    static __device__ __forceinline__ unsigned place(unsigned j, unsigned group) {
        if (P::GROUPS == 1) return j / 2;
        if (P::ONE_SCALE) return j;
        if (P::APART == 1 || CROSSED) return (j & ~1u) + group;
        // 2 * APART segments are as many portions, each half of one segment of their first half and of one of the second.
        return (j & ~(2 * P::APART - 1)) + (j & (2 * P::APART - 1)) / 2 + P::APART * group;
    }
    static __device__ __forceinline__ unsigned half(unsigned j, unsigned group) {
        return P::GROUPS > 1 && P::ONE_SCALE ? group : j % 2;
    }
};

/// Byte by byte q - CENTRE, without a carry: no q reaches 128.
template <class F> static __device__ __forceinline__ GroupWords off_centre(const int (&q)[GROUP_WORDS]) {
    constexpr unsigned LIFT = (0x80u - F::CENTRE) * 0x01010101u;
    GroupWords out;
#pragma unroll
    for (unsigned i = 0; i < GROUP_WORDS; ++i) {
        out.word[i] = F::CENTRE ? static_cast<int>((static_cast<unsigned>(q[i]) + LIFT) ^ 0x80808080u) : q[i];
    }
    return out;
}

/// A thread's part of the weights of a tile.
template <class F, class S> class WeightFeed {
    typedef LanePortion<F> P;
    typedef PiecePortions<F, S> Portions;
    static constexpr unsigned COUNT = Portions::COUNT, ALL = S::ROWS * COUNT;
    static constexpr unsigned EACH = (ALL + S::THREADS - 1) / S::THREADS;
    static_assert(S::THREADS % COUNT == 0 && (ALL % S::THREADS == 0 || ALL < S::THREADS), "the portions divide evenly");

    const uint8_t *base;
    unsigned offsets[EACH];
    typename P::Packed packed[EACH];
    unsigned segments;

    static __device__ __forceinline__ bool busy() { return ALL >= S::THREADS || threadIdx.x < ALL; }
    static __device__ __forceinline__ unsigned portion() { return threadIdx.x % COUNT; }
    static __device__ __forceinline__ unsigned line(unsigned i) { return threadIdx.x / COUNT + i * (S::THREADS / COUNT); }
    /// Number in its block of the portion in the piece at segment s.
    static __device__ __forceinline__ unsigned number(unsigned s) {
        return P::OF_BLOCK > COUNT ? s % F::SEGMENTS * P::OF_BLOCK / F::SEGMENTS + portion() : portion() % P::OF_BLOCK;
    }
    __device__ __forceinline__ bool exists(unsigned s) const {
        // A row of 256-element blocks is a whole number of pieces.
        return F::SEGMENTS > 1 || s + portion() / P::OF_BLOCK < segments;
    }

public:
    /// Of the tile whose first row of the weights is at `first`; lines beyond number `last` repeat it.
    __device__ __forceinline__ WeightFeed(const uint8_t *first, unsigned last, unsigned segments_)
        : base(first), segments(segments_) {
        const unsigned row_bytes = segments / F::SEGMENTS * F::BYTES;
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) offsets[i] = min(line(i), last) * row_bytes;
    }

    /// Has the bytes of the piece at segment s read. Those of a segment beyond the last are the last one's.
    __device__ __forceinline__ void fetch(unsigned s) {
        if (!busy()) return;
        const uint8_t *blocks = base + static_cast<size_t>(s / F::SEGMENTS) * F::BYTES;
        const unsigned block = F::SEGMENTS > 1 ? 0 : min(portion() / P::OF_BLOCK, segments - 1 - s);
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) P::fetch(blocks, offsets[i] + block * F::BYTES, number(s), packed[i]);
    }

    /// Unpacks them into the piece. Scales of a segment beyond the last are zero.
    __device__ __forceinline__ void store(Piece<F, S> &piece, unsigned s) const {
        if (!busy()) return;
        const unsigned j = portion();
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) {
            Portion<P::GROUPS> unpacked;
            P::unpack(packed[i], number(s), unpacked);
            const unsigned to = line(i);
#pragma unroll
            for (unsigned g = 0; g < P::GROUPS; ++g) {
                place_half(piece.w[to], Portions::place(j, g), Portions::half(j, g), off_centre<F>(unpacked.q[g]));
            }
            if (F::HALVES == 2) {
#pragma unroll
                for (unsigned g = 0; g < P::GROUPS; ++g) {
                    store_scale(piece, to, Portions::place(j, g), j % 2, unpacked.scale[g],
                                Scales<F>::OFFSET ? unpacked.offset[g] : 0.0f);
                }
            } else if (P::ONE_SCALE) {
                if (P::GROUPS == 2 || j % 2 == 0) {
                    const bool some = exists(s);
                    store_scale(piece, to, Portions::place(j, 0), 0, some ? unpacked.scale[0] : 0.0f,
                                Scales<F>::OFFSET && some ? unpacked.offset[0] : 0.0f);
                }
            } else {
                // The lanes of both halves have both segments' scales: each stores one.
                const bool second = j % 2;
                store_scale(piece, to, Portions::place(j, second), 0, second ? unpacked.scale[1] : unpacked.scale[0],
                            second ? unpacked.offset[1] : unpacked.offset[0]);
            }
        }
    }

private:
    static __device__ __forceinline__ void store_scale(Piece<F, S> &piece, unsigned line, unsigned d, unsigned half,
                                                       float scale, float offset) {
        piece.w_scale[d][half][line] = scale;
        if (Scales<F>::OFFSET) piece.w_offset[d][half][line] = offset;
    }
};

/// A thread's part of the activations of a tile: halves of segments, and scales.
template <class F, class S> class ActivationFeed {
    typedef PiecePortions<F, S> Portions;
    static constexpr unsigned HALVES = 2 * S::DEPTH, ALL = S::COLUMNS * HALVES, ALL_SCALES = S::COLUMNS * S::DEPTH;
    static constexpr unsigned EACH = (ALL + S::THREADS - 1) / S::THREADS;
    static constexpr unsigned EACH_SCALE = (ALL_SCALES + S::THREADS - 1) / S::THREADS;
    static_assert(ALL % S::THREADS == 0 || ALL < S::THREADS, "the halves divide evenly");
    static_assert(ALL_SCALES % S::THREADS == 0 || ALL_SCALES < S::THREADS, "the scales divide evenly");

    const uint8_t *base;
    unsigned offsets[EACH], scale_offsets[EACH_SCALE];
    GroupWords words[EACH];
    ActivationScale loaded[EACH_SCALE];
    unsigned segments;

    static __device__ __forceinline__ bool busy() { return ALL >= S::THREADS || threadIdx.x < ALL; }
    static __device__ __forceinline__ bool has_scales() { return ALL_SCALES >= S::THREADS || threadIdx.x < ALL_SCALES; }
    // Lanes take the first halves, which stand side by side, then the second ones.
    static __device__ __forceinline__ unsigned second() { return threadIdx.x % HALVES / S::DEPTH; }
    static __device__ __forceinline__ unsigned place() { return threadIdx.x % S::DEPTH; }
    static __device__ __forceinline__ unsigned line(unsigned i) { return threadIdx.x / HALVES + i * (S::THREADS / HALVES); }
    static __device__ __forceinline__ unsigned scale_line(unsigned i) {
        return threadIdx.x / S::DEPTH + i * (S::THREADS / S::DEPTH);
    }
    __device__ __forceinline__ bool exists(unsigned s) const { return F::SEGMENTS > 1 || s + place() < segments; }

public:
    /// Of the rows of activations at x; a line's row is number `row(line)`.
    template <class Row>
    __device__ __forceinline__ ActivationFeed(const void *x, unsigned segments_, Row row)
        : base(static_cast<const uint8_t *>(x)), segments(segments_) {
        const unsigned room = ActivationRow::room(segments);
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) offsets[i] = (busy() ? row(line(i)) : 0) * (room * ACTIVATION_BYTES);
#pragma unroll
        for (unsigned i = 0; i < EACH_SCALE; ++i) {
            scale_offsets[i] = (has_scales() ? row(scale_line(i)) : 0) * (room * ACTIVATION_BYTES) + room * SEGMENT;
        }
    }

    /// Has the piece at segment s read. What belongs to a segment beyond the last is that of the last.
    __device__ __forceinline__ void fetch(unsigned s) {
        const unsigned first = Portions::first_segment(s);
        const unsigned step = F::SEGMENTS > 1 ? Portions::segment_step(place()) : min(place(), segments - 1 - s);
        if (busy()) {
            // No bit is set in both terms of the segment, so none in those of its place in the line.
            const uint8_t *lines = base + first / ACTIVATION_LINE * (ACTIVATION_LINE * SEGMENT);
            const unsigned from = ActivationRow::place(2 * step + second()) ^ (first % ACTIVATION_LINE * HALF);
#pragma unroll
            for (unsigned i = 0; i < EACH; ++i) {
                const void *at = lines + (offsets[i] + from);
                __builtin_memcpy(&words[i], __builtin_assume_aligned(at, 16), sizeof(words[i]));
            }
        }
        if (has_scales()) {
            const uint8_t *scales = base + first * sizeof(ActivationScale);
#pragma unroll
            for (unsigned i = 0; i < EACH_SCALE; ++i) {
                const void *at = scales + (scale_offsets[i] + step * static_cast<unsigned>(sizeof(ActivationScale)));
                __builtin_memcpy(&loaded[i], __builtin_assume_aligned(at, 8), sizeof(loaded[i]));
            }
        }
    }

    __device__ __forceinline__ void store(Piece<F, S> &piece, unsigned s) const {
        if (busy()) {
#pragma unroll
            for (unsigned i = 0; i < EACH; ++i) place_half(piece.x[line(i)], place(), second(), words[i]);
        }
        if (!has_scales()) return;
#pragma unroll
        for (unsigned i = 0; i < EACH_SCALE; ++i) {
            const unsigned to = scale_place(scale_line(i));
            const float scale = exists(s) ? loaded[i].scale : 0.0f;
            piece.x_scale[place()][to] = scale;
            if (!Scales<F>::OFFSET) continue;
            if (F::HALVES == 1) {
                piece.x_total[place()][0][to] = scale * (loaded[i].sum[0] + loaded[i].sum[1]);
            } else {
                piece.x_total[place()][0][to] = scale * loaded[i].sum[0];
                piece.x_total[place()][F::HALVES - 1][to] = scale * loaded[i].sum[1];
            }
        }
    }
};

/// Adds to a tile's results the products of the segments from `first` to before `end`, both at whole blocks.
template <class F, class S>
static __device__ __forceinline__ void add_tile(Piece<F, S> &piece, Results<F, S> &results, WeightFeed<F, S> &weights,
                                                ActivationFeed<F, S> &activations, unsigned first, unsigned end) {
    const auto fetch = [&](unsigned s) {
        weights.fetch(s);
        activations.fetch(s);
    };
    if (S::AHEAD) fetch(first);
    for (unsigned s = first; s < end; s += S::DEPTH) {
        if (!S::AHEAD) fetch(s);
        weights.store(piece, s);
        activations.store(piece, s);
        __syncthreads();
        if (S::AHEAD && s + S::DEPTH < end) fetch(s + S::DEPTH);
        results.add(piece);
        __syncthreads();
    }
}
