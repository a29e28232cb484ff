// The tile of a product: ROWS rows of weights times COLUMNS rows of activations, through the LDS in pieces of a few
// segments. Each segment of weights is unpacked once a workgroup (feed.h). Matrix cores multiply where matrix.h knows the
// target's, dot products of four int8 elsewhere.
#pragma once

#include "matrix.h"

/// How large a tile is and how its workgroup makes it.
template <unsigned ROWS_, unsigned COLUMNS_, unsigned THREADS_, unsigned WAVES_ALONG_ROWS_, unsigned DEPTH_,
          unsigned RESIDENT_, bool AHEAD_, unsigned SHARES_ = 1>
struct Shape {
    static constexpr unsigned ROWS = ROWS_;        // of the weights
    static constexpr unsigned COLUMNS = COLUMNS_;  // rows of the activations
    static constexpr unsigned THREADS = THREADS_;
    /// Each wave makes the squares of a rectangle; the others stand along the columns and k. (Matrix cores only.)
    static constexpr unsigned WAVES_ALONG_ROWS = WAVES_ALONG_ROWS_;
    /// Segments of a piece.
    static constexpr unsigned DEPTH = DEPTH_;
    /// What registers must leave room for: waves of a SIMD; on NVIDIA workgroups of a multiprocessor.
    static constexpr unsigned RESIDENT = RESIDENT_;
    /// Whether a piece is read while the one before is multiplied. Else other workgroups bridge the time.
    static constexpr bool AHEAD = AHEAD_;
    /// Groups of waves that share the segments of a piece, and add up what they have at the end.
    static constexpr unsigned SHARES = SHARES_;
    static constexpr unsigned SHARE_THREADS = THREADS / SHARES;
    /// Segments of a share.
    static constexpr unsigned SHARE_DEPTH = DEPTH / SHARES;
    static_assert(SHARE_DEPTH > 0 && DEPTH % SHARES == 0, "every share has segments");

    /// Which share is the thread's, and the thread's number in it.
    static __device__ __forceinline__ unsigned share() { return SHARES == 1 ? 0 : threadIdx.x / SHARE_THREADS; }
    static __device__ __forceinline__ unsigned thread() { return SHARES == 1 ? threadIdx.x : threadIdx.x % SHARE_THREADS; }
};

/// What the other shares leave for the first: VALUES results of each thread.
template <class S, unsigned VALUES> struct Left {
    float values[S::SHARES > 1 ? S::SHARES - 1 : 1][S::SHARES > 1 ? VALUES : 1][S::SHARE_THREADS];

    /// Has the first share add what the others have. Whether the thread's is that one, which stores the results.
    __device__ __forceinline__ bool join(float *own) {
        if constexpr (S::SHARES == 1) return true;
        const unsigned share = S::share(), thread = S::thread();
        if (share > 0) {
#pragma unroll
            for (unsigned i = 0; i < VALUES; ++i) values[share - 1][i][thread] = own[i];
        }
        __syncthreads();
        if (share == 0) {
#pragma unroll
            for (unsigned other = 0; other + 1 < S::SHARES; ++other) {
#pragma unroll
                for (unsigned i = 0; i < VALUES; ++i) own[i] += values[other][i][thread];
            }
        }
        return share == 0;
    }
};

/// What a format's scales are once the centre is taken off the integers.
template <class F> struct Scales {
    static constexpr unsigned HALVES = F::HALVES;
    static constexpr bool OFFSET = F::OFFSET && F::CENTRE == 0;
};

/// S::DEPTH segments of the lines of both operands.
template <class F, class S> struct Piece {
    static constexpr bool OFFSET = Scales<F>::OFFSET;
    static constexpr unsigned HALVES = F::HALVES;

    alignas(16) int w[S::ROWS][line_words(S::DEPTH)];
    alignas(16) int x[S::COLUMNS][line_words(S::DEPTH)];
    // As wide as what a lane reads of them at once.
    alignas(32) float x_scale[S::DEPTH][S::COLUMNS];
    /// Scale times the sum of the integers of a half or of all: what an offset of the weights is multiplied with.
    alignas(32) float x_total[OFFSET ? S::DEPTH : 1][OFFSET ? HALVES : 1][OFFSET ? S::COLUMNS : 4];
    float w_scale[S::DEPTH][HALVES][S::ROWS];
    float w_offset[OFFSET ? S::DEPTH : 1][OFFSET ? HALVES : 1][OFFSET ? S::ROWS : 1];
};

/// A thread's results of a tile.
#if QUANTIZED_MATRIX_CORES

template <class F, class S> struct Results {
    static constexpr unsigned ALONG_ROWS = S::WAVES_ALONG_ROWS;
    static constexpr unsigned ALONG_COLUMNS = S::SHARE_THREADS / LANES / ALONG_ROWS;
    static constexpr unsigned ROW_SQUARES = S::ROWS / SQUARE / ALONG_ROWS;
    static constexpr unsigned COLUMN_SQUARES = S::COLUMNS / SQUARE / ALONG_COLUMNS;
    static_assert(ROW_SQUARES > 0 && COLUMN_SQUARES > 0, "every wave has squares");
    static_assert(S::SHARE_DEPTH % FRAGMENT_SEGMENTS == 0, "a share is whole fragments");

    // A square's rows are rows of activations, its columns rows of weights: successive lanes store successive results.
    Floats values[ROW_SQUARES][COLUMN_SQUARES] = {};

    static __device__ __forceinline__ unsigned lane() { return threadIdx.x % LANES; }
    // A thread's first row and column. The others lie as far from these as in any thread.
    static __device__ __forceinline__ unsigned first_row() { return row(0); }
    static __device__ __forceinline__ unsigned first_column() { return first_column(0) + square_row(lane(), 0); }
    static __device__ __forceinline__ unsigned row(unsigned square) {
        return (threadIdx.x / LANES % ALONG_ROWS * ROW_SQUARES + square) * SQUARE + lane() % SQUARE;
    }
    static __device__ __forceinline__ unsigned first_column(unsigned square) {
        return (threadIdx.x / LANES / ALONG_ROWS % ALONG_COLUMNS * COLUMN_SQUARES + square) * SQUARE;
    }

    static __device__ __forceinline__ Floats load_floats(const float *from) {
        return *reinterpret_cast<const Floats *>(from + lane() / SQUARE * SUMS);
    }

    __device__ __forceinline__ void add(const Piece<F, S> &piece) {
        const unsigned own = S::share() * S::SHARE_DEPTH;
#pragma unroll
        for (unsigned first = 0; first < S::SHARE_DEPTH; first += FRAGMENT_SEGMENTS) {
            Fragment w[ROW_SQUARES], x[COLUMN_SQUARES];
#pragma unroll
            for (unsigned r = 0; r < ROW_SQUARES; ++r) w[r].load(piece.w[row(r)], own + first, lane());
#pragma unroll
            for (unsigned c = 0; c < COLUMN_SQUARES; ++c) {
                x[c].load(piece.x[first_column(c) + lane() % SQUARE], own + first, lane());
            }
#pragma unroll
            for (unsigned i = 0; i < FRAGMENT_SEGMENTS; ++i) {
                add_segment(piece, w, x, own + first + i, i);
                keep_order();
            }
        }
    }

    /// Segment s of the piece, number i of the fragments.
    __device__ __forceinline__ void add_segment(const Piece<F, S> &piece, const Fragment *w, const Fragment *x, unsigned s,
                                                unsigned i) {
        constexpr unsigned HALVES = F::HALVES;
        float scale[ROW_SQUARES][HALVES], offset[ROW_SQUARES][HALVES];
#pragma unroll
        for (unsigned r = 0; r < ROW_SQUARES; ++r) {
#pragma unroll
            for (unsigned half = 0; half < HALVES; ++half) {
                scale[r][half] = piece.w_scale[s][half][row(r)];
                if (Scales<F>::OFFSET) offset[r][half] = piece.w_offset[s][half][row(r)];
            }
        }
#pragma unroll
        for (unsigned c = 0; c < COLUMN_SQUARES; ++c) {
            const Floats x_scale = load_floats(piece.x_scale[s] + first_column(c));
            Floats x_total[HALVES];
#pragma unroll
            for (unsigned half = 0; half < HALVES; ++half) {
                if (Scales<F>::OFFSET) x_total[half] = load_floats(piece.x_total[s][half] + first_column(c));
            }
#pragma unroll
            for (unsigned r = 0; r < ROW_SQUARES; ++r) {
                Floats product;
                if (HALVES == 1) {
                    product = as_floats(multiply(x[c], w[r], i, no_sums())) * scale[r][0];
                } else {
                    product = as_floats(multiply_half(x[c], w[r], i, 0, no_sums())) * scale[r][0];
                    product += as_floats(multiply_half(x[c], w[r], i, 1, no_sums())) * scale[r][HALVES - 1];
                }
                values[r][c] += x_scale * product;
                if (!Scales<F>::OFFSET) continue;
#pragma unroll
                for (unsigned half = 0; half < HALVES; ++half) values[r][c] += x_total[half] * offset[r][half];
            }
            if (FEW_REGISTERS) keep_order();
        }
    }

    typedef ::Left<S, ROW_SQUARES * COLUMN_SQUARES * SUMS> Left;
    __device__ __forceinline__ bool join(Left &left) { return left.join(reinterpret_cast<float *>(values)); }

    /// Calls `store(row, column, value)`, counted from the thread's first.
    template <class T> __device__ __forceinline__ void each(T store) const {
#pragma unroll
        for (unsigned c = 0; c < COLUMN_SQUARES; ++c) {
#pragma unroll
            for (unsigned i = 0; i < SUMS; ++i) {
#pragma unroll
                for (unsigned r = 0; r < ROW_SQUARES; ++r)
                    store(r * SQUARE, c * SQUARE + square_row(0, i), values[r][c][i]);
            }
        }
    }
};

#else

/// Successive threads have successive rows: their lines start in different banks.
template <class F, class S> struct Results {
#if defined(__NVCC__)
    // A warp's activations are the same for all lanes, and a thread's registers leave room for two workgroups.
    static constexpr unsigned ROW_THREADS = S::ROWS < WARP ? S::ROWS : WARP;
#else
    static constexpr unsigned ROW_THREADS = 16;
#endif
    static constexpr unsigned COLUMN_THREADS = S::SHARE_THREADS / ROW_THREADS;
    static constexpr unsigned ROWS = S::ROWS / ROW_THREADS;
    static constexpr unsigned COLUMNS = S::COLUMNS / COLUMN_THREADS;
    /// Whether registers allow for all columns' scales and the next column's operands at a time.
    static constexpr bool FEW_COLUMNS = FEW_REGISTERS && ROWS * COLUMNS <= 32;
    // Side by side a thread's columns have their scales read at once.
    static constexpr unsigned COLUMN_STEP = FEW_COLUMNS ? 1 : COLUMN_THREADS;

    float values[COLUMNS][ROWS] = {};

    typedef ::Left<S, ROWS * COLUMNS> Left;
    __device__ __forceinline__ bool join(Left &left) { return left.join(&values[0][0]); }

    static __device__ __forceinline__ unsigned row_step(unsigned r) { return r * ROW_THREADS; }
    static __device__ __forceinline__ unsigned column_step(unsigned c) { return COLUMN_STEP * c; }
    static __device__ __forceinline__ unsigned row(unsigned r) { return first_row() + row_step(r); }
    static __device__ __forceinline__ unsigned column(unsigned c) { return first_column() + column_step(c); }
    // A thread's first row and column. The others lie as far from these as in any thread.
    static __device__ __forceinline__ unsigned first_row() { return threadIdx.x % ROW_THREADS; }
    static __device__ __forceinline__ unsigned first_column() {
        return S::thread() / ROW_THREADS * (FEW_COLUMNS ? COLUMNS : 1);
    }

    /// `to` from successive floats, the first of a multiple of 16 bytes.
    static __device__ __forceinline__ void load_side_by_side(float (&to)[COLUMNS], const float *from) {
        struct alignas(16) Four {
            float value[4];
        };
#pragma unroll
        for (unsigned c = 0; c < COLUMNS; c += 4) {
            const Four four = *reinterpret_cast<const Four *>(from + c);
#pragma unroll
            for (unsigned i = 0; i < 4; ++i) to[c + i] = four.value[i];
        }
    }

    __device__ __forceinline__ void add(const Piece<F, S> &piece) {
        // Unrolled, compilers read several segments ahead and run out of registers, unless they are kept from it.
        constexpr unsigned AT_ONCE = FEW_COLUMNS ? S::SHARE_DEPTH : 1;
        const unsigned own = S::share() * S::SHARE_DEPTH;
#pragma unroll AT_ONCE
        for (unsigned s = 0; s < S::SHARE_DEPTH; ++s) {
#pragma unroll
            for (unsigned half = 0; half < F::HALVES; ++half) add_part(piece, own + s, half);
        }
    }

    /// Half `half` of segment s, or all of it.
    __device__ __forceinline__ void add_part(const Piece<F, S> &piece, unsigned s, unsigned half) {
        constexpr unsigned QUADS = 2 / F::HALVES;
        const unsigned word = s * WORDS + half * GROUP_WORDS;
        Quad w[ROWS][QUADS];
        // scale * (product - FLOAT_VALUE) as one multiply-add of -scale * FLOAT_VALUE, which is exact.
        // (With many columns and offsets besides, registers run out.)
        constexpr bool BIASED = !F::WIDE_SCALE && FEW_REGISTERS && (FEW_COLUMNS || !Scales<F>::OFFSET);
        float scale[ROWS], bias[ROWS], offset[ROWS];
#pragma unroll
        for (unsigned r = 0; r < ROWS; ++r) {
#pragma unroll
            for (unsigned i = 0; i < QUADS; ++i) w[r][i] = load_quad(piece.w[row(r)] + word + GROUP_WORDS * i);
            scale[r] = piece.w_scale[s][half][row(r)];
            if (Scales<F>::OFFSET) offset[r] = piece.w_offset[s][half][row(r)];
        }
        float x_scale[COLUMNS], x_total[COLUMNS];
        const auto load_scales = [&](unsigned c) {
            x_scale[c] = piece.x_scale[s][column(c)];
            x_total[c] = Scales<F>::OFFSET ? piece.x_total[s][half][column(c)] : 0.0f;
        };
        if (FEW_COLUMNS) {
            load_side_by_side(x_scale, piece.x_scale[s] + column(0));
            if (Scales<F>::OFFSET) load_side_by_side(x_total, piece.x_total[s][half] + column(0));
        }
        // A column's activations are under way while the one before is multiplied, where a column is finished before the next.
        Quad x[2][QUADS];
        const auto load_column = [&](unsigned c) {
#pragma unroll
            for (unsigned i = 0; i < QUADS; ++i) x[c % 2][i] = load_quad(piece.x[column(c)] + word + GROUP_WORDS * i);
        };
        if (FEW_COLUMNS) load_column(0);
#pragma unroll
        for (unsigned c = 0; c < COLUMNS; ++c) {
            if (FEW_COLUMNS) {
                await_lds();
                if (c + 1 < COLUMNS) {
                    load_column(c + 1);
                    keep_order();
                }
            } else {
                load_scales(c);
                load_column(c);
            }
#pragma unroll
            for (unsigned r = 0; r < ROWS; ++r) {
                if (BIASED && c == 0) bias[r] = -FLOAT_VALUE * scale[r];
                int sum = dot4_from(FLOAT_BITS, w[r][0].word[0], x[c % 2][0].word[0]);
#pragma unroll
                for (unsigned i = 0; i < QUADS; ++i) {
#pragma unroll
                    for (unsigned j = i == 0; j < GROUP_WORDS; ++j) sum = __dp4a(w[r][i].word[j], x[c % 2][i].word[j], sum);
                }
                const float product = __int_as_float(sum);
                // Both round once: large and small tiles give the same bits.
                values[c][r] += x_scale[c] * (BIASED ? fmaf(scale[r], product, bias[r]) : scale[r] * (product - FLOAT_VALUE));
                if (Scales<F>::OFFSET) values[c][r] += x_total[c] * offset[r];
            }
            if (FEW_REGISTERS) keep_order();
        }
    }

    /// Calls `store(row, column, value)`, counted from the thread's first.
    template <class T> __device__ __forceinline__ void each(T store) const {
#pragma unroll
        for (unsigned c = 0; c < COLUMNS; ++c) {
#pragma unroll
            for (unsigned r = 0; r < ROWS; ++r) store(row_step(r), column_step(c), values[c][r]);
        }
    }
};

#endif
