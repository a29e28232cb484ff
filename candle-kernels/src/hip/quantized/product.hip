// Products of activations with quantized weights. The host side (launch geometry, choice among them) is
// candle-core/src/quantized/rocm/own.rs.
//
//   vec_<t>_<c>   up to c = 1, 2, 4 or 8 rows of activations: a warp for each row of the weights
//   tile_<t>      any number: tiles of 64 rows of weights x 64 rows of activations through LDS, multiplied by matrix
//                 cores where matrix.h knows the target's
//   moe_<t>       a row of activations with the weights of one expert, picked on the device
//
// <t> is a format of formats.h. Weights are [n, k], activations ActivationBlock[rows][k / 32], results [rows, n] in
// f32, f16 or bf16. Nothing is read or written beyond these, whatever n, k and rows are; k is a whole number of blocks.
#include "formats.h"
#include "matrix.h"

constexpr unsigned WARPS = 4;               // of a workgroup of vec and moe, a row of the weights each
constexpr unsigned TILE = 64;               // rows of the weights and rows of the activations of a tile
constexpr unsigned DEPTH = 2;               // segments of a tile that lie in LDS at a time
constexpr unsigned PER_THREAD = 4;          // rows of weights and of activations of a thread's results
constexpr unsigned TILE_THREADS = TILE / PER_THREAD * (TILE / PER_THREAD);

/// Sum of element products of half a segment.
static __device__ __forceinline__ int dot_half(const int *a, const int *b) {
    int sum = 0;
#pragma unroll
    for (unsigned i = 0; i < WORDS / 2; ++i) sum = __dp4a(a[i], b[i], sum);
    return sum;
}

/// The product of one scale's part of a segment, from the products `dot` and the sum `total` of its small integers.
template <class F>
static __device__ __forceinline__ float scaled_sum(float scale, float offset, int dot, int total) {
    // The integers take the centre off exactly; in f32 two large numbers would cancel.
    if (F::CENTRE != 0) return scale * (dot - F::CENTRE * total);
    if (F::OFFSET) return scale * dot + offset * total;
    return scale * dot;
}

/// The product of a segment with a block of activations.
template <class F> static __device__ __forceinline__ float dot(const Segment &w, const ActivationBlock &x) {
    const int low = dot_half(w.q, x.q), high = dot_half(w.q + WORDS / 2, x.q + WORDS / 2);
    const int low_total = x.sum[0], high_total = x.sum[1];
    if (F::HALVES == 1) {
        return x.scale * scaled_sum<F>(w.scale[0], w.offset[0], low + high, low_total + high_total);
    }
    return x.scale * (scaled_sum<F>(w.scale[0], w.offset[0], low, low_total) +
                      scaled_sum<F>(w.scale[1], w.offset[1], high, high_total));
}

template <class F> static __device__ __forceinline__ void load_segment(const uint8_t *row, unsigned s, Segment &out) {
    F::load(row + static_cast<size_t>(s / F::SEGMENTS) * F::BYTES, s % F::SEGMENTS, out);
}

/// Address of row number `row` of weights with `segments` segments a row.
template <class F> static __device__ __forceinline__ const uint8_t *weight_row(const void *w, size_t row, unsigned segments) {
    return static_cast<const uint8_t *>(w) + row * (segments / F::SEGMENTS) * F::BYTES;
}

// ---- vec --------------------------------------------------------------------------------------------------------

template <class F, unsigned COLUMNS>
static __device__ __forceinline__ void vec(const void *w, const ActivationBlock *x, void *out, unsigned n,
                                           unsigned segments, unsigned columns, int type) {
    const unsigned row = blockIdx.x * WARPS + threadIdx.y;
    if (row >= n) return;
    const uint8_t *weights = weight_row<F>(w, row, segments);
    float sums[COLUMNS] = {};
    for (unsigned s = threadIdx.x; s < segments; s += WARP) {
        Segment segment;
        load_segment<F>(weights, s, segment);
#pragma unroll
        for (unsigned c = 0; c < COLUMNS; ++c) {
            // Columns beyond the last repeat it: a load that hits the cache instead of a branch.
            const unsigned column = min(c, columns - 1);
            sums[c] += dot<F>(segment, x[static_cast<size_t>(column) * segments + s]);
        }
    }
#pragma unroll
    for (unsigned c = 0; c < COLUMNS; ++c) {
        const float sum = warp_sum(sums[c]);
        if (threadIdx.x == 0 && c < columns) store_float(out, static_cast<size_t>(c) * n + row, type, sum);
    }
}

#define VEC(name, F, COLUMNS)                                                                                        \
    extern "C" __global__ __launch_bounds__(WARP *WARPS) void vec_##name##_##COLUMNS(                                \
        const void *w, const ActivationBlock *x, void *out, unsigned n, unsigned segments, unsigned columns,         \
        int type) {                                                                                                  \
        vec<F, COLUMNS>(w, x, out, n, segments, columns, type);                                                      \
    }
#define VECS(name, F) VEC(name, F, 1) VEC(name, F, 2) VEC(name, F, 4) VEC(name, F, 8)
FOR_EACH_FORMAT(VECS)

// ---- tile -------------------------------------------------------------------------------------------------------

/// One segment of TILE rows of each operand, words of successive rows next to each other.
struct Piece {
    int w[WORDS][TILE];
    int x[WORDS][TILE];
    float w_scale[2][TILE];
    float w_offset[2][TILE];
    float x_scale[TILE];
    int x_sum[2][TILE];
};

template <class F>
static __device__ __forceinline__ void store_weights(Piece &piece, unsigned line, const void *w, unsigned row, unsigned n,
                                                     unsigned segments, unsigned s) {
    Segment segment = {};
    if (row < n && s < segments) load_segment<F>(weight_row<F>(w, row, segments), s, segment);
#pragma unroll
    for (unsigned i = 0; i < WORDS; ++i) piece.w[i][line] = segment.q[i];
#pragma unroll
    for (unsigned half = 0; half < F::HALVES; ++half) {
        piece.w_scale[half][line] = segment.scale[half];
        piece.w_offset[half][line] = segment.offset[half];
    }
}

static __device__ __forceinline__ void store_activations(Piece &piece, unsigned line, const ActivationBlock *x, unsigned row,
                                                         unsigned rows, unsigned segments, unsigned s) {
    ActivationBlock block = {};
    if (row < rows && s < segments) block = x[static_cast<size_t>(row) * segments + s];
#pragma unroll
    for (unsigned i = 0; i < WORDS; ++i) piece.x[i][line] = block.q[i];
    piece.x_scale[line] = block.scale;
    piece.x_sum[0][line] = block.sum[0];
    piece.x_sum[1][line] = block.sum[1];
}

/// A thread's results of a tile. `F` says how integers become weights.
#if QUANTIZED_MATRIX_CORES

/// A wave makes squares of 16 x 16: those of 16 rows of the weights and some or all columns of the tile.
template <class F> struct Results {
    static constexpr unsigned ELEMENTS = sizeof(Square) / sizeof(int);  // of a square in a lane
    static constexpr unsigned LANES = SQUARE * SQUARE / ELEMENTS;
    static constexpr unsigned WAVES = TILE_THREADS / LANES;
    static constexpr unsigned SQUARES = TILE / SQUARE * (TILE / SQUARE) / WAVES;  // of a wave

    float values[SQUARES][ELEMENTS] = {};

    static __device__ __forceinline__ unsigned lane() { return threadIdx.x % LANES; }
    static __device__ __forceinline__ unsigned first_row() {
        return threadIdx.x / LANES * SQUARES / (TILE / SQUARE) * SQUARE;
    }
    static __device__ __forceinline__ unsigned column(unsigned square) {
        const unsigned first = threadIdx.x / LANES * SQUARES % (TILE / SQUARE);
        return (first + square) * SQUARE;
    }

    __device__ __forceinline__ void add(const Piece &piece) {
#pragma unroll
        for (unsigned part = 0; part < F::HALVES; ++part) {
#pragma unroll
            for (unsigned square = 0; square < SQUARES; ++square) add_square(piece, part, square);
        }
    }

    __device__ __forceinline__ void add_square(const Piece &piece, unsigned part, unsigned square) {
        const unsigned row = first_row(), first_column = column(square);
        Square sums = {};
#pragma unroll
        for (unsigned half = part; half < part + 2 / F::HALVES; ++half) {
            const unsigned word = half * SQUARE_WORDS;
            sums = multiply_square(
                lane(), [&](unsigned i, unsigned line) { return piece.w[word + i][row + line]; },
                [&](unsigned i, unsigned line) { return piece.x[word + i][first_column + line]; }, sums);
        }
        const unsigned at = first_column + lane() % SQUARE;
        const int total = piece.x_sum[part][at] + (F::HALVES == 1 ? piece.x_sum[1][at] : 0);
        const float scale = piece.x_scale[at];
#pragma unroll
        for (unsigned i = 0; i < ELEMENTS; ++i) {
            const unsigned r = row + square_row(lane(), i);
            values[square][i] += scale * scaled_sum<F>(piece.w_scale[part][r], piece.w_offset[part][r], sums[i], total);
        }
    }

    /// Calls `store(row, column, value)`, counted from the tile's first.
    template <class S> __device__ __forceinline__ void each(S store) const {
#pragma unroll
        for (unsigned square = 0; square < SQUARES; ++square) {
#pragma unroll
            for (unsigned i = 0; i < ELEMENTS; ++i) {
                store(first_row() + square_row(lane(), i), column(square) + lane() % SQUARE, values[square][i]);
            }
        }
    }
};

#else

/// A thread makes PER_THREAD x PER_THREAD results by dot products of four int8.
template <class F> struct Results {
    float values[PER_THREAD][PER_THREAD] = {};

    static __device__ __forceinline__ unsigned first_row() { return threadIdx.x % (TILE / PER_THREAD) * PER_THREAD; }
    static __device__ __forceinline__ unsigned first_column() {
        return threadIdx.x / (TILE / PER_THREAD) * PER_THREAD;
    }

    __device__ __forceinline__ void add(const Piece &piece) {
        const unsigned row = first_row(), column = first_column();
#pragma unroll
        for (unsigned part = 0; part < F::HALVES; ++part) {
            int sums[PER_THREAD][PER_THREAD] = {};
#pragma unroll
            for (unsigned i = part * WORDS / 2; i < (part + 2 / F::HALVES) * WORDS / 2; ++i) {
#pragma unroll
                for (unsigned c = 0; c < PER_THREAD; ++c) {
#pragma unroll
                    for (unsigned r = 0; r < PER_THREAD; ++r) {
                        sums[c][r] = __dp4a(piece.w[i][row + r], piece.x[i][column + c], sums[c][r]);
                    }
                }
            }
#pragma unroll
            for (unsigned c = 0; c < PER_THREAD; ++c) {
                const float scale = piece.x_scale[column + c];
                const int total = piece.x_sum[part][column + c] + (F::HALVES == 1 ? piece.x_sum[1][column + c] : 0);
#pragma unroll
                for (unsigned r = 0; r < PER_THREAD; ++r) {
                    values[c][r] += scale * scaled_sum<F>(piece.w_scale[part][row + r], piece.w_offset[part][row + r],
                                                          sums[c][r], total);
                }
            }
        }
    }

    /// Calls `store(row, column, value)`, counted from the tile's first.
    template <class S> __device__ __forceinline__ void each(S store) const {
#pragma unroll
        for (unsigned c = 0; c < PER_THREAD; ++c) {
#pragma unroll
            for (unsigned r = 0; r < PER_THREAD; ++r) store(first_row() + r, first_column() + c, values[c][r]);
        }
    }
};

#endif

template <class F>
static __device__ __forceinline__ void tile(const void *w, const ActivationBlock *x, void *out, unsigned n,
                                            unsigned segments, unsigned rows, int type) {
    alignas(16) __shared__ Piece pieces[DEPTH];
    const unsigned first_row = blockIdx.x * TILE;
    // Half of the threads load weights, the other half activations: a row and segment each.
    const unsigned line = threadIdx.x % TILE, depth = threadIdx.x / TILE % DEPTH;
    const bool loads_weights = threadIdx.x < TILE * DEPTH;

    for (unsigned first_column = blockIdx.y * TILE; first_column < rows; first_column += gridDim.y * TILE) {
        Results<F> results;
        for (unsigned s = 0; s < segments; s += DEPTH) {
            if (loads_weights) {
                store_weights<F>(pieces[depth], line, w, first_row + line, n, segments, s + depth);
            } else {
                store_activations(pieces[depth], line, x, first_column + line, rows, segments, s + depth);
            }
            __syncthreads();
#pragma unroll
            for (unsigned d = 0; d < DEPTH; ++d) results.add(pieces[d]);
            __syncthreads();
        }
        results.each([&](unsigned row, unsigned column, float value) {
            const unsigned to_row = first_row + row, to_column = first_column + column;
            if (to_row < n && to_column < rows) {
                store_float(out, static_cast<size_t>(to_column) * n + to_row, type, value);
            }
        });
    }
}
static_assert(TILE_THREADS == 2 * TILE * DEPTH, "every thread loads one row of one segment");

#define TILED(name, F)                                                                                               \
    extern "C" __global__ __launch_bounds__(TILE_THREADS) void tile_##name(                                          \
        const void *w, const ActivationBlock *x, void *out, unsigned n, unsigned segments, unsigned rows, int type) { \
        tile<F>(w, x, out, n, segments, rows, type);                                                                 \
    }
FOR_EACH_FORMAT(TILED)

// ---- moe --------------------------------------------------------------------------------------------------------

#include "experts.h"

#define MOE(name, F)                                                                                                 \
    extern "C" __global__ __launch_bounds__(WARP *WARPS) void moe_##name(const void *w, const ActivationBlock *x,    \
                                                                         float *out, Tasks tasks, unsigned n,        \
                                                                         unsigned segments) {                        \
        const unsigned row = blockIdx.x * WARPS + threadIdx.y;                                                       \
        if (row >= n) return;                                                                                        \
        for (unsigned t = blockIdx.y; t < tasks.count; t += gridDim.y) {                                             \
            Task task;                                                                                               \
            if (!tasks.find(t, task)) {                                                                              \
                if (threadIdx.x == 0) tasks.refuse(t, task, out, n, row);                                            \
                continue;                                                                                            \
            }                                                                                                        \
            const uint8_t *weights = weight_row<F>(w, static_cast<size_t>(task.expert) * n + row, segments);         \
            const ActivationBlock *activations = x + static_cast<size_t>(task.input) * segments;                     \
            float sum = 0;                                                                                           \
            for (unsigned s = threadIdx.x; s < segments; s += WARP) {                                                \
                Segment segment;                                                                                     \
                load_segment<F>(weights, s, segment);                                                                \
                sum += dot<F>(segment, activations[s]);                                                              \
            }                                                                                                        \
            sum = warp_sum(sum);                                                                                     \
            if (threadIdx.x == 0) out[static_cast<size_t>(task.output) * n + row] = task.scale * sum;                \
        }                                                                                                            \
    }
FOR_EACH_FORMAT(MOE)
