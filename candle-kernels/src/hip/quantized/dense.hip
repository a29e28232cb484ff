// Products of activations with dense weights [n, k] whose type differs from theirs, without a converted copy of
// either. The host side is candle-core/src/quantized/rocm/own.rs.
//
//   dense_vec_<w>_<x>    up to 8 rows of activations: a warp for each row of the weights
//   dense_tile_<w>_<x>   any number: tiles of 64 x 64 through LDS
//   dense_moe_<w>_<x>    each row of activations with the weights of one expert (see experts.h)
//
// <w> and <x> are f32, f16, bf16; sums are f32, results [rows, n] in the activations' type.
#include "portable.h"
#include "experts.h"

constexpr unsigned WARPS = 4;               // of a workgroup of vec and moe, a row of the weights each
constexpr unsigned COLUMNS = 8;             // most rows of activations of dense_vec
constexpr unsigned TILE = 64;               // rows of either operand in a tile
constexpr unsigned DEPTH = 16;              // steps along k that lie in LDS at a time
constexpr unsigned PER_THREAD = 4;
constexpr unsigned TILE_THREADS = TILE / PER_THREAD * (TILE / PER_THREAD);
constexpr unsigned PADDED = TILE + 4;       // keeps 16-byte alignment and moves successive k to other banks

template <class W, class X>
static __device__ __forceinline__ void vec(const W *w, const X *x, X *out, unsigned n, unsigned k, unsigned rows) {
    const unsigned row = blockIdx.x * WARPS + threadIdx.y;
    if (row >= n) return;
    const W *weights = w + static_cast<size_t>(row) * k;
    float sums[COLUMNS] = {};
    for (unsigned i = threadIdx.x; i < k; i += WARP) {
        const float weight = static_cast<float>(weights[i]);
#pragma unroll
        for (unsigned c = 0; c < COLUMNS; ++c) {
            if (c < rows) sums[c] += weight * static_cast<float>(x[static_cast<size_t>(c) * k + i]);
        }
    }
#pragma unroll
    for (unsigned c = 0; c < COLUMNS; ++c) {
        const float sum = warp_sum(sums[c]);
        if (threadIdx.x == 0 && c < rows) out[static_cast<size_t>(c) * n + row] = static_cast<X>(sum);
    }
}

/// Copies DEPTH steps of TILE rows from row `first` on into LDS, transposed and widened; outside of the operand 0.
template <class T>
static __device__ __forceinline__ void load_piece(float (*lds)[PADDED], const T *from, unsigned first, unsigned rows,
                                                  unsigned step, unsigned k) {
#pragma unroll
    for (unsigned i = 0; i < TILE * DEPTH / TILE_THREADS; ++i) {
        const unsigned element = i * TILE_THREADS + threadIdx.x;
        const unsigned line = element / DEPTH, depth = element % DEPTH;
        float value = 0;
        if (first + line < rows && step + depth < k) {
            value = static_cast<float>(from[static_cast<size_t>(first + line) * k + step + depth]);
        }
        lds[depth][line] = value;
    }
}

template <class W, class X>
static __device__ __forceinline__ void tile(const W *w, const X *x, X *out, unsigned n, unsigned k, unsigned rows) {
    alignas(16) __shared__ float w_piece[DEPTH][PADDED];
    alignas(16) __shared__ float x_piece[DEPTH][PADDED];
    const unsigned first_row = blockIdx.x * TILE;
    const unsigned row = threadIdx.x % (TILE / PER_THREAD) * PER_THREAD;
    const unsigned column = threadIdx.x / (TILE / PER_THREAD) * PER_THREAD;
    for (unsigned first_column = blockIdx.y * TILE; first_column < rows; first_column += gridDim.y * TILE) {
        float results[PER_THREAD][PER_THREAD] = {};
        for (unsigned step = 0; step < k; step += DEPTH) {
            load_piece(w_piece, w, first_row, n, step, k);
            load_piece(x_piece, x, first_column, rows, step, k);
            __syncthreads();
#pragma unroll
            for (unsigned d = 0; d < DEPTH; ++d) {
#pragma unroll
                for (unsigned c = 0; c < PER_THREAD; ++c) {
#pragma unroll
                    for (unsigned r = 0; r < PER_THREAD; ++r) {
                        results[c][r] += w_piece[d][row + r] * x_piece[d][column + c];
                    }
                }
            }
            __syncthreads();
        }
#pragma unroll
        for (unsigned c = 0; c < PER_THREAD; ++c) {
#pragma unroll
            for (unsigned r = 0; r < PER_THREAD; ++r) {
                const unsigned to_row = first_row + row + r, to_column = first_column + column + c;
                if (to_row < n && to_column < rows) {
                    out[static_cast<size_t>(to_column) * n + to_row] = static_cast<X>(results[c][r]);
                }
            }
        }
    }
}

#define DENSE(w_name, W, x_name, X)                                                                        \
    extern "C" __global__ __launch_bounds__(WARP *WARPS) void dense_vec_##w_name##_##x_name(               \
        const W *w, const X *x, X *out, unsigned n, unsigned k, unsigned rows) {                           \
        vec(w, x, out, n, k, rows);                                                                        \
    }                                                                                                      \
    extern "C" __global__ __launch_bounds__(TILE_THREADS) void dense_tile_##w_name##_##x_name(             \
        const W *w, const X *x, X *out, unsigned n, unsigned k, unsigned rows) {                           \
        tile(w, x, out, n, k, rows);                                                                       \
    }
DENSE(f32, float, f16, f16)
DENSE(f32, float, bf16, bf16)
DENSE(f16, f16, f32, float)
DENSE(f16, f16, bf16, bf16)
DENSE(bf16, bf16, f32, float)
DENSE(bf16, bf16, f16, f16)

template <class W, class X>
static __device__ __forceinline__ void moe(const W *w, const X *x, X *out, const Tasks &tasks, unsigned n, unsigned k) {
    const unsigned row = blockIdx.x * WARPS + threadIdx.y;
    if (row >= n) return;
    for (unsigned t = blockIdx.y; t < tasks.count; t += gridDim.y) {
        Task task;
        if (!tasks.find(t, task)) {
            if (threadIdx.x == 0) tasks.refuse(t, task, out, n, row);
            continue;
        }
        const W *weights = w + (static_cast<size_t>(task.expert) * n + row) * k;
        const X *activations = x + static_cast<size_t>(task.input) * k;
        float sum = 0;
        for (unsigned i = threadIdx.x; i < k; i += WARP) {
            sum += static_cast<float>(weights[i]) * static_cast<float>(activations[i]);
        }
        sum = warp_sum(sum);
        if (threadIdx.x == 0) out[static_cast<size_t>(task.output) * n + row] = static_cast<X>(task.scale * sum);
    }
}

#define DENSE_MOE(w_name, W, x_name, X)                                                        \
    extern "C" __global__ __launch_bounds__(WARP *WARPS) void dense_moe_##w_name##_##x_name(   \
        const W *w, const X *x, X *out, Tasks tasks, unsigned n, unsigned k) {                 \
        moe(w, x, out, tasks, n, k);                                                           \
    }
DENSE_MOE(f32, float, f32, float)
DENSE_MOE(f32, float, f16, f16)
DENSE_MOE(f32, float, bf16, bf16)
DENSE_MOE(f16, f16, f32, float)
DENSE_MOE(f16, f16, f16, f16)
DENSE_MOE(f16, f16, bf16, bf16)
DENSE_MOE(bf16, bf16, f32, float)
DENSE_MOE(bf16, bf16, f16, f16)
DENSE_MOE(bf16, bf16, bf16, bf16)
