// Products of activations with dense weights [n, k] whose type differs from theirs, without a converted copy of
// either; and mixtures of experts. The host side is candle-core/src/quantized/rocm/{dense,experts}.rs.
//
//   gemv_k<r>_<w>_<x>        up to r = 1, 2, 4 or 8 rows of activations (gemm/vector.h)
//   gemm_fma_flat_<w>_<x>, and _middle_, _large_   any number, by tiles (gemm/fma.h)
//   dense_moe_<w>_<x>        each row of activations with the weights of one expert (see experts.h)
//   dense_moe_tile_<w>_<x>   the same by tiles, each of the rows that one expert multiplies
//   moe_plan_<x>             sorts a mixture's tasks by expert for the tiles, here and in tile.hip
//
// <w> and <x> are f32, f16, bf16; sums are f32, results [rows, n] in the activations' type.
#include "experts.h"
#include "../gemm/fma.h"
#include "../gemm/vector.h"

constexpr unsigned WARPS = 4;               // of a workgroup of dense_moe, each with a row of the weights
constexpr unsigned TILE = 64;               // rows of either operand in a tile
constexpr unsigned DEPTH = 16;              // steps along k that lie in LDS at a time
constexpr unsigned PER_THREAD = 4;
constexpr unsigned TILE_THREADS = TILE / PER_THREAD * (TILE / PER_THREAD);
constexpr unsigned PADDED = TILE + 4;       // keeps 16-byte alignment and moves successive k to other banks
constexpr size_t NO_ROW = ~size_t(0);       // a line of a tile beyond its operand

/// Copies DEPTH steps of TILE lines into LDS, transposed and widened. `row(line)` is the line's row of `from`, or
/// NO_ROW: zeros, as beyond k.
template <class T, class R>
static __device__ __forceinline__ void load_piece(float (*lds)[PADDED], const T *from, R row, unsigned step, unsigned k) {
#pragma unroll
    for (unsigned i = 0; i < TILE * DEPTH / TILE_THREADS; ++i) {
        const unsigned element = i * TILE_THREADS + threadIdx.x;
        const unsigned line = element / DEPTH, depth = element % DEPTH;
        const size_t at = row(line);
        float value = 0;
        if (at != NO_ROW && step + depth < k) value = static_cast<float>(from[at * k + step + depth]);
        lds[depth][line] = value;
    }
}

/// The pieces of both operands.
struct Pieces {
    alignas(16) float w[DEPTH][PADDED];
    alignas(16) float x[DEPTH][PADDED];
};

/// Multiplies a tile; calls `store(row, column, value)`, counted from the tile's first.
template <class W, class X, class RW, class RX, class S>
static __device__ __forceinline__ void multiply_tile(Pieces &pieces, const W *w, const X *x, RW w_row, RX x_row, unsigned k,
                                                     S store) {
    const unsigned row = threadIdx.x % (TILE / PER_THREAD) * PER_THREAD;
    const unsigned column = threadIdx.x / (TILE / PER_THREAD) * PER_THREAD;
    float results[PER_THREAD][PER_THREAD] = {};
    for (unsigned step = 0; step < k; step += DEPTH) {
        load_piece(pieces.w, w, w_row, step, k);
        load_piece(pieces.x, x, x_row, step, k);
        __syncthreads();
#pragma unroll
        for (unsigned d = 0; d < DEPTH; ++d) {
#pragma unroll
            for (unsigned c = 0; c < PER_THREAD; ++c) {
#pragma unroll
                for (unsigned r = 0; r < PER_THREAD; ++r) {
                    results[c][r] += pieces.w[d][row + r] * pieces.x[d][column + c];
                }
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (unsigned c = 0; c < PER_THREAD; ++c) {
#pragma unroll
        for (unsigned r = 0; r < PER_THREAD; ++r) store(row + r, column + c, results[c][r]);
    }
}

#define GEMV_K(w_name, W, x_name, X, ROWS)                                                                       \
    extern "C" __global__ __launch_bounds__(THREADS) void gemv_k##ROWS##_##w_name##_##x_name(const X *x, const W *w, \
                                                                                             X *out, GemmArgs args) { \
        gemv_k<X, W, ROWS>(x, w, out, args);                                                                     \
    }
#define GEMM(w_name, W, x_name, X, tile, TILE)                                                                   \
    extern "C" __global__ FMA_BOUNDS void gemm_fma_##tile##_##w_name##_##x_name(const X *x, const W *w, void *out, \
                                                                                GemmArgs args) {                 \
        multiply_add::gemm<X, W, multiply_add::TILE, true>(x, w, out, args);                                                       \
    }
#define DENSE(w_name, W, x_name, X)                                                                              \
    GEMV_K(w_name, W, x_name, X, 1) GEMV_K(w_name, W, x_name, X, 2) GEMV_K(w_name, W, x_name, X, 4)              \
    GEMV_K(w_name, W, x_name, X, 8) GEMM(w_name, W, x_name, X, flat, FLAT)                                       \
    GEMM(w_name, W, x_name, X, middle, MIDDLE) GEMM(w_name, W, x_name, X, large, LARGE)
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

template <class W, class X>
static __device__ __forceinline__ void moe_tile(const W *w, const X *x, X *out, const Tasks &tasks, const ExpertPlan &plan,
                                                unsigned n, unsigned k) {
    __shared__ Pieces pieces;
    __shared__ PlannedLine lines[TILE];
    const unsigned first_row = blockIdx.x * TILE;
    for (unsigned number = blockIdx.y; number < plan.most_groups; number += gridDim.y) {
        const ExpertGroup group = plan.groups[number];
        if (group.count == 0) return;
        if (threadIdx.x < group.count) lines[threadIdx.x] = tasks.planned(plan.order[group.first + threadIdx.x]);
        __syncthreads();
        multiply_tile(
            pieces, w + static_cast<size_t>(group.expert) * n * k, x,
            [&](unsigned line) { return first_row + line < n ? size_t(first_row + line) : NO_ROW; },
            [&](unsigned line) { return line < group.count ? size_t(lines[line].input) : NO_ROW; }, k,
            [&](unsigned row, unsigned column, float value) {
                const unsigned to_row = first_row + row;
                if (to_row < n && column < group.count) {
                    const PlannedLine line = lines[column];
                    out[static_cast<size_t>(line.output) * n + to_row] = static_cast<X>(line.scale * value);
                }
            });
        // The next group's lines take the place of these.
        __syncthreads();
    }
}

#define DENSE_MOE(w_name, W, x_name, X)                                                        \
    extern "C" __global__ __launch_bounds__(WARP *WARPS) void dense_moe_##w_name##_##x_name(   \
        const W *w, const X *x, X *out, Tasks tasks, unsigned n, unsigned k) {                 \
        moe(w, x, out, tasks, n, k);                                                           \
    }                                                                                          \
    extern "C" __global__ __launch_bounds__(TILE_THREADS) void dense_moe_tile_##w_name##_##x_name( \
        const W *w, const X *x, X *out, Tasks tasks, ExpertPlan plan, unsigned n, unsigned k) { \
        moe_tile(w, x, out, tasks, plan, n, k);                                                \
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

/// Of the quantized types too, which are summed in f32: one workgroup. `out` and `n` are for tasks that ask for what does
/// not exist.
#define MOE_PLAN(name, X)                                                                             \
    extern "C" __global__ __launch_bounds__(PLAN_THREADS) void moe_plan_##name(                       \
        X *out, Tasks tasks, ExpertPlan plan, unsigned n, unsigned columns) {                         \
        plan_experts(out, tasks, plan, n, columns);                                                   \
    }
MOE_PLAN(f32, float)
MOE_PLAN(f16, f16)
MOE_PLAN(bf16, bf16)
