// The tile of a product: ROWS rows of weights times COLUMNS rows of activations, through the LDS in pieces of DEPTH
// segments. Each segment of weights is unpacked once a workgroup. Matrix cores multiply where matrix.h knows the
// target's, dot products of four int8 elsewhere.
#pragma once

#include "formats.h"
#include "matrix.h"

/// How large a tile is and how its workgroup divides it.
template <unsigned ROWS_, unsigned COLUMNS_, unsigned THREADS_, unsigned WAVES_ALONG_ROWS_> struct Shape {
    static constexpr unsigned ROWS = ROWS_;        // of the weights
    static constexpr unsigned COLUMNS = COLUMNS_;  // rows of the activations
    static constexpr unsigned THREADS = THREADS_;
    /// Each wave makes the squares of a rectangle; the others stand along the columns. (Matrix cores only.)
    static constexpr unsigned WAVES_ALONG_ROWS = WAVES_ALONG_ROWS_;
    static_assert(ROWS + COLUMNS <= THREADS, "a thread loads one line");
};

/// What a format's scales are once the centre is taken off the integers.
template <class F> struct Scales {
    static constexpr unsigned HALVES = F::HALVES;
    static constexpr bool OFFSET = F::OFFSET && F::CENTRE == 0;
};

/// DEPTH segments of the lines of both operands.
template <class F, class S> struct Piece {
    static constexpr bool OFFSET = Scales<F>::OFFSET;
    static constexpr unsigned HALVES = F::HALVES;

    alignas(16) int w[S::ROWS][LINE_WORDS];
    alignas(16) int x[S::COLUMNS][LINE_WORDS];
    alignas(16) float x_scale[DEPTH][S::COLUMNS];
    /// Scale times the sum of the integers of a half or of all: what an offset of the weights is multiplied with.
    alignas(16) float x_total[OFFSET ? DEPTH : 1][OFFSET ? HALVES : 1][OFFSET ? S::COLUMNS : 4];
    float w_scale[DEPTH][HALVES][S::ROWS];
    float w_offset[OFFSET ? DEPTH : 1][OFFSET ? HALVES : 1][OFFSET ? S::ROWS : 1];
};

/// What a thread carries from global memory to a line of a piece. `offset` of activations is their total.
struct Line {
    int q[DEPTH][WORDS];
    float scale[DEPTH][2];
    float offset[DEPTH][2];

    /// Segments s and s + 1 of a row of weights. The second one may not exist: zeros.
    template <class F>
    __device__ __forceinline__ void load_weights(const uint8_t *row, unsigned s, unsigned segments) {
#pragma unroll
        for (unsigned d = 0; d < DEPTH; ++d) {
            // A row of 256-element blocks is a whole number of pairs.
            const bool exists = F::SEGMENTS > 1 || s + d < segments;
            Segment segment;
            load_segment<F>(row, exists ? s + d : s, segment);
#pragma unroll
            for (unsigned i = 0; i < WORDS; ++i) {
                // Byte by byte q - CENTRE, without a carry: no q reaches 128.
                constexpr unsigned LIFT = (0x80u - F::CENTRE) * 0x01010101u;
                q[d][i] = F::CENTRE ? static_cast<int>((static_cast<unsigned>(segment.q[i]) + LIFT) ^ 0x80808080u) : segment.q[i];
            }
#pragma unroll
            for (unsigned half = 0; half < F::HALVES; ++half) {
                scale[d][half] = exists ? segment.scale[half] : 0.0f;
                if (Scales<F>::OFFSET) offset[d][half] = exists ? segment.offset[half] : 0.0f;
            }
        }
    }

    template <class F>
    __device__ __forceinline__ void load_activations(const ActivationRow &row, unsigned s, unsigned segments) {
#pragma unroll
        for (unsigned d = 0; d < DEPTH; ++d) {
            const bool exists = F::SEGMENTS > 1 || s + d < segments;
            const unsigned own = exists ? s + d : s;
            const ActivationScale block = row.scale(own);
#pragma unroll
            for (unsigned half = 0; half < 2; ++half) {
                const ActivationHalf words = row.half(2 * own + half);
#pragma unroll
                for (unsigned i = 0; i < WORDS / 2; ++i) q[d][half * (WORDS / 2) + i] = words.q[i];
            }
            scale[d][0] = exists ? block.scale : 0.0f;
            if (!Scales<F>::OFFSET) continue;
            if (F::HALVES == 1) {
                offset[d][0] = scale[d][0] * (block.sum[0] + block.sum[1]);
            } else {
                offset[d][0] = scale[d][0] * block.sum[0];
                offset[d][1] = scale[d][0] * block.sum[1];
            }
        }
    }

    /// Words to where the lanes read them, 16 bytes at a time.
    __device__ __forceinline__ void store_words(int *line) const {
        int words[DEPTH * WORDS];
#pragma unroll
        for (unsigned d = 0; d < DEPTH; ++d) {
#pragma unroll
            for (unsigned i = 0; i < WORDS; ++i) words[word_place(d, i)] = q[d][i];
        }
#pragma unroll
        for (unsigned i = 0; i < DEPTH * WORDS; i += 4) {
            *reinterpret_cast<Quad *>(line + i) = Quad{{words[i], words[i + 1], words[i + 2], words[i + 3]}};
        }
    }

    template <class F, class S> __device__ __forceinline__ void store_weights(Piece<F, S> &piece, unsigned line) const {
        store_words(piece.w[line]);
#pragma unroll
        for (unsigned d = 0; d < DEPTH; ++d) {
#pragma unroll
            for (unsigned half = 0; half < F::HALVES; ++half) {
                piece.w_scale[d][half][line] = scale[d][half];
                if (Scales<F>::OFFSET) piece.w_offset[d][half][line] = offset[d][half];
            }
        }
    }

    template <class F, class S>
    __device__ __forceinline__ void store_activations(Piece<F, S> &piece, unsigned line) const {
        store_words(piece.x[line]);
        const unsigned place = scale_place(line);
#pragma unroll
        for (unsigned d = 0; d < DEPTH; ++d) {
            piece.x_scale[d][place] = scale[d][0];
#pragma unroll
            for (unsigned half = 0; half < F::HALVES; ++half) {
                if (Scales<F>::OFFSET) piece.x_total[d][half][place] = offset[d][half];
            }
        }
    }
};

/// A thread's results of a tile.
#if QUANTIZED_MATRIX_CORES

template <class F, class S> struct Results {
    static constexpr unsigned WAVES = S::THREADS / LANES;
    static constexpr unsigned ALONG_ROWS = LANES == 64 ? S::WAVES_ALONG_ROWS : 2 * S::WAVES_ALONG_ROWS;
    static constexpr unsigned ALONG_COLUMNS = WAVES / ALONG_ROWS;
    static constexpr unsigned ROW_SQUARES = S::ROWS / SQUARE / ALONG_ROWS;
    static constexpr unsigned COLUMN_SQUARES = S::COLUMNS / SQUARE / ALONG_COLUMNS;
    static_assert(ROW_SQUARES > 0 && COLUMN_SQUARES > 0, "every wave has squares");

    // A square's rows are rows of activations, its columns rows of weights: successive lanes store successive results.
    Floats values[ROW_SQUARES][COLUMN_SQUARES] = {};

    static __device__ __forceinline__ unsigned lane() { return threadIdx.x % LANES; }
    static __device__ __forceinline__ unsigned row(unsigned square) {
        return (threadIdx.x / LANES % ALONG_ROWS * ROW_SQUARES + square) * SQUARE + lane() % SQUARE;
    }
    static __device__ __forceinline__ unsigned first_column(unsigned square) {
        return (threadIdx.x / LANES / ALONG_ROWS * COLUMN_SQUARES + square) * SQUARE;
    }

    static __device__ __forceinline__ Floats load_floats(const float *from) {
        return *reinterpret_cast<const Floats *>(from + lane() / SQUARE * SUMS);
    }

    __device__ __forceinline__ void add(const Piece<F, S> &piece) {
#pragma unroll
        for (unsigned first = 0; first < DEPTH; first += FRAGMENT_SEGMENTS) {
            Fragment w[ROW_SQUARES], x[COLUMN_SQUARES];
#pragma unroll
            for (unsigned r = 0; r < ROW_SQUARES; ++r) w[r].load(piece.w[row(r)], first, lane());
#pragma unroll
            for (unsigned c = 0; c < COLUMN_SQUARES; ++c) {
                x[c].load(piece.x[first_column(c) + lane() % SQUARE], first, lane());
            }
#pragma unroll
            for (unsigned s = first; s < first + FRAGMENT_SEGMENTS; ++s) add_segment(piece, w, x, s);
        }
    }

    __device__ __forceinline__ void add_segment(const Piece<F, S> &piece, const Fragment *w, const Fragment *x, unsigned s) {
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
                    product = as_floats(multiply(x[c], w[r], s, no_sums())) * scale[r][0];
                } else {
                    product = as_floats(multiply_half(x[c], w[r], s, 0, no_sums())) * scale[r][0];
                    product += as_floats(multiply_half(x[c], w[r], s, 1, no_sums())) * scale[r][HALVES - 1];
                }
                values[r][c] += x_scale * product;
                if (!Scales<F>::OFFSET) continue;
#pragma unroll
                for (unsigned half = 0; half < HALVES; ++half) values[r][c] += x_total[half] * offset[r][half];
            }
        }
    }

    /// Calls `store(row, column, value)`, counted from the tile's first.
    template <class T> __device__ __forceinline__ void each(T store) const {
#pragma unroll
        for (unsigned c = 0; c < COLUMN_SQUARES; ++c) {
#pragma unroll
            for (unsigned i = 0; i < SUMS; ++i) {
#pragma unroll
                for (unsigned r = 0; r < ROW_SQUARES; ++r) {
                    store(row(r), first_column(c) + square_row(lane(), i), values[r][c][i]);
                }
            }
        }
    }
};

#else

/// Successive threads have successive rows: their lines start in different banks.
template <class F, class S> struct Results {
    static constexpr unsigned ROW_THREADS = 16;
    static constexpr unsigned COLUMN_THREADS = S::THREADS / ROW_THREADS;
    static constexpr unsigned ROWS = S::ROWS / ROW_THREADS;
    static constexpr unsigned COLUMNS = S::COLUMNS / COLUMN_THREADS;

    float values[COLUMNS][ROWS] = {};

    static __device__ __forceinline__ unsigned row(unsigned r) { return threadIdx.x % ROW_THREADS + r * ROW_THREADS; }
    static __device__ __forceinline__ unsigned column(unsigned c) { return threadIdx.x / ROW_THREADS + c * COLUMN_THREADS; }

    __device__ __forceinline__ void add(const Piece<F, S> &piece) {
#pragma unroll
        for (unsigned s = 0; s < DEPTH; ++s) {
#pragma unroll
            for (unsigned part = 0; part < F::HALVES; ++part) {
                constexpr unsigned QUADS = 2 / F::HALVES;
                const unsigned word = s * WORDS + part * 4;
                Quad w[ROWS][QUADS];
                float scale[ROWS], offset[ROWS];
#pragma unroll
                for (unsigned r = 0; r < ROWS; ++r) {
#pragma unroll
                    for (unsigned i = 0; i < QUADS; ++i) w[r][i] = load_quad(piece.w[row(r)] + word + 4 * i);
                    scale[r] = piece.w_scale[s][part][row(r)];
                    if (Scales<F>::OFFSET) offset[r] = piece.w_offset[s][part][row(r)];
                }
#pragma unroll
                for (unsigned c = 0; c < COLUMNS; ++c) {
                    Quad x[QUADS];
#pragma unroll
                    for (unsigned i = 0; i < QUADS; ++i) x[i] = load_quad(piece.x[column(c)] + word + 4 * i);
                    const float x_scale = piece.x_scale[s][column(c)];
                    const float x_total = Scales<F>::OFFSET ? piece.x_total[s][part][column(c)] : 0.0f;
#pragma unroll
                    for (unsigned r = 0; r < ROWS; ++r) {
                        int sum = 0;
#pragma unroll
                        for (unsigned i = 0; i < QUADS; ++i) {
#pragma unroll
                            for (unsigned j = 0; j < 4; ++j) sum = __dp4a(w[r][i].word[j], x[i].word[j], sum);
                        }
                        values[c][r] += x_scale * scale[r] * static_cast<float>(sum);
                        if (Scales<F>::OFFSET) values[c][r] += x_total * offset[r];
                    }
                }
            }
        }
    }

    /// Calls `store(row, column, value)`, counted from the tile's first.
    template <class T> __device__ __forceinline__ void each(T store) const {
#pragma unroll
        for (unsigned c = 0; c < COLUMNS; ++c) {
#pragma unroll
            for (unsigned r = 0; r < ROWS; ++r) store(row(r), column(c), values[c][r]);
        }
    }
};

#endif

/// The pieces of a workgroup. Two, so that a wave fills one while others still read the other; one on gfx9, whose
/// compute units have 64 KiB for all workgroups: there more of these overlap instead. On NVIDIA a kernel can declare
/// 48 KiB.
template <class F, class S> struct Pieces {
#if defined(__GFX9__)
    static constexpr unsigned COUNT = 1;
#elif defined(__NVCC__)
    static constexpr unsigned COUNT = 2 * sizeof(Piece<F, S>) <= 48 * 1024 ? 2 : 1;
#else
    static constexpr unsigned COUNT = 2;
#endif
    Piece<F, S> pieces[COUNT];
};

/// The sums of a tile. `row` is this thread's row of the weights, `column` of the activations; a thread loads one or
/// neither, by its number.
template <class F, class S>
static __device__ __forceinline__ void add_tile(Pieces<F, S> &lds, Results<F, S> &results, const uint8_t *row,
                                                const ActivationRow &column, unsigned segments) {
    constexpr unsigned COUNT = Pieces<F, S>::COUNT;
    const bool loads_weights = threadIdx.x < S::ROWS;
    const bool loads_activations = !loads_weights && threadIdx.x < S::ROWS + S::COLUMNS;
    unsigned which = 0;
    for (unsigned s = 0; s < segments; s += DEPTH) {
        Piece<F, S> &piece = lds.pieces[which];
        if (loads_weights) {
            Line line;
            line.load_weights<F>(row, s, segments);
            line.store_weights(piece, threadIdx.x);
        } else if (loads_activations) {
            Line line;
            line.load_activations<F>(column, s, segments);
            line.store_activations(piece, threadIdx.x - S::ROWS);
        }
        __syncthreads();
        results.add(piece);
        if (COUNT == 1) {
            __syncthreads();
        } else {
            // The next step fills the other piece, which every wave left before this step's barrier.
            which ^= 1;
        }
    }
    // A workgroup may go on to another tile.
    if (COUNT > 1) __syncthreads();
}
