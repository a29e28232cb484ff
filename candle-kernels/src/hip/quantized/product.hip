// Products of activations with quantized weights. The host side (launch geometry, choice among them) is
// candle-core/src/quantized/rocm/own.rs.
//
//   vec_<t>_<c>   up to c = 1, 2, 4 or 8 rows of activations: a warp for each row of the weights
//   tile_<t>      any number: tiles of 64 rows of weights x 64 rows of activations through LDS
//   moe_<t>       a row of activations with the weights of one expert, picked on the device
//
// <t> is a format of formats.h. Weights are [n, k], activations ActivationBlock[rows][k / 32], results [rows, n] in
// f32, f16 or bf16. Nothing is read or written beyond these, whatever n, k and rows are; k is a whole number of blocks.
#include "formats.h"

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

/// The product of a segment with a block of activations.
template <class F> static __device__ __forceinline__ float dot(const Segment &w, const ActivationBlock &x) {
    const int low = dot_half(w.q, x.q), high = dot_half(w.q + WORDS / 2, x.q + WORDS / 2);
    float sum;
    if (F::HALVES == 1) {
        sum = w.scale[0] * (low + high);
        if (F::OFFSET) sum += w.offset[0] * (x.sum[0] + x.sum[1]);
    } else {
        sum = w.scale[0] * low + w.scale[1] * high;
        if (F::OFFSET) sum += w.offset[0] * x.sum[0] + w.offset[1] * x.sum[1];
    }
    return x.scale * sum;
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
    float x_sum[2][TILE];
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

/// Adds the products of one half of a segment to a thread's sums of small integers.
static __device__ __forceinline__ void multiply_half(const Piece &piece, unsigned half, unsigned row, unsigned column,
                                                     int (&sums)[PER_THREAD][PER_THREAD]) {
#pragma unroll
    for (unsigned i = half * WORDS / 2; i < (half + 1) * WORDS / 2; ++i) {
#pragma unroll
        for (unsigned c = 0; c < PER_THREAD; ++c) {
#pragma unroll
            for (unsigned r = 0; r < PER_THREAD; ++r) {
                sums[c][r] = __dp4a(piece.w[i][row + r], piece.x[i][column + c], sums[c][r]);
            }
        }
    }
}

template <class F>
static __device__ __forceinline__ void multiply(const Piece &piece, unsigned row, unsigned column,
                                                float (&results)[PER_THREAD][PER_THREAD]) {
#pragma unroll
    for (unsigned part = 0; part < F::HALVES; ++part) {
        int sums[PER_THREAD][PER_THREAD] = {};
        multiply_half(piece, part, row, column, sums);
        if (F::HALVES == 1) multiply_half(piece, 1, row, column, sums);
#pragma unroll
        for (unsigned c = 0; c < PER_THREAD; ++c) {
            const float scale = piece.x_scale[column + c];
            float total = piece.x_sum[part][column + c];
            if (F::HALVES == 1) total += piece.x_sum[1][column + c];
#pragma unroll
            for (unsigned r = 0; r < PER_THREAD; ++r) {
                float sum = piece.w_scale[part][row + r] * sums[c][r];
                if (F::OFFSET) sum += piece.w_offset[part][row + r] * total;
                results[c][r] += scale * sum;
            }
        }
    }
}

template <class F>
static __device__ __forceinline__ void tile(const void *w, const ActivationBlock *x, void *out, unsigned n,
                                            unsigned segments, unsigned rows, int type) {
    alignas(16) __shared__ Piece pieces[DEPTH];
    const unsigned first_row = blockIdx.x * TILE;
    const unsigned row = threadIdx.x % (TILE / PER_THREAD) * PER_THREAD;
    const unsigned column = threadIdx.x / (TILE / PER_THREAD) * PER_THREAD;
    // Half of the threads load weights, the other half activations: a row and segment each.
    const unsigned line = threadIdx.x % TILE, depth = threadIdx.x / TILE % DEPTH;
    const bool loads_weights = threadIdx.x < TILE * DEPTH;

    for (unsigned first_column = blockIdx.y * TILE; first_column < rows; first_column += gridDim.y * TILE) {
        float results[PER_THREAD][PER_THREAD] = {};
        for (unsigned s = 0; s < segments; s += DEPTH) {
            if (loads_weights) {
                store_weights<F>(pieces[depth], line, w, first_row + line, n, segments, s + depth);
            } else {
                store_activations(pieces[depth], line, x, first_column + line, rows, segments, s + depth);
            }
            __syncthreads();
#pragma unroll
            for (unsigned d = 0; d < DEPTH; ++d) multiply<F>(pieces[d], row, column, results);
            __syncthreads();
        }
#pragma unroll
        for (unsigned c = 0; c < PER_THREAD; ++c) {
#pragma unroll
            for (unsigned r = 0; r < PER_THREAD; ++r) {
                const unsigned to_row = first_row + row + r, to_column = first_column + column + c;
                if (to_row < n && to_column < rows) {
                    store_float(out, static_cast<size_t>(to_column) * n + to_row, type, results[c][r]);
                }
            }
        }
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
