// Products of activations with dense weights [n, k] whose type differs from theirs, without a converted copy of
// either; and mixtures of experts. The host side is candle-core/src/quantized/rocm/{dense,experts}.rs.
//
//   gemv_k<r>_<w>_<x>        up to r = 1, 2, 4 or 8 rows of activations (gemm/vector.h)
//   gemm_fma_flat_<w>_<x>, and _middle_, _large_   any number, by tiles (gemm/fma.h)
//   dense_moe_<w>_<x>        each row of activations with the weights of one expert (see experts.h), as gemv_k1
//   dense_moe_tile_<w>_<x>, dense_moe_tile_large_<w>_<x>   the same by tiles, each of rows that one expert multiplies
//                            (experts_tile.h)
//   moe_plan_<x>             sorts a mixture's tasks by expert for the tiles, here and in tile.hip
//
// <w> and <x> are f32, f16, bf16; sums are f32, results [rows, n] in the activations' type.
#include "experts_tile.h"
#include "../gemm/vector.h"

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

/// `sharing`: warps of the workgroup that share rows of the weights, as `splits` of gemv_k. Grid y counts tasks.
template <class W, class X>
static __device__ __forceinline__ void moe(const W *w, const X *x, X *out, const Tasks &tasks, unsigned n, unsigned k,
                                           unsigned sharing) {
    GemmArgs args = {};
    args.a_col = args.b_row = args.c_col = 1;
    args.b_col = k;
    args.m = args.batches = 1;
    args.n = n;
    args.k = args.split_depth = k;
    args.splits = sharing;
    for (unsigned t = blockIdx.y; t < tasks.count; t += gridDim.y) {
        Task task;
        if (!tasks.find(t, task)) {
            const unsigned threads = gridDim.x * THREADS;
            for (unsigned row = blockIdx.x * THREADS + threadIdx.x; row < n; row += threads) tasks.refuse(t, task, out, n, row);
            continue;
        }
        const X *activations = x + static_cast<size_t>(task.input) * k;
        const W *weights = w + static_cast<size_t>(task.expert) * n * k;
        gemv_k<X, W, 1>(activations, weights, out + static_cast<size_t>(task.output) * n, args,
                        [&](float sum) { return task.scale * sum; });
    }
}

// See gemm.hip, which says why.
#if defined(MATRIX_CORES)
#define EXPERTS_BOUNDS __launch_bounds__(THREADS) __attribute__((amdgpu_waves_per_eu(2)))
#else
#define EXPERTS_BOUNDS FMA_BOUNDS
#endif
#define DENSE_MOE_TILE(w_name, W, x_name, X, tile, IS_LARGE)                                                       \
    extern "C" __global__ EXPERTS_BOUNDS void dense_moe_##tile##_##w_name##_##x_name(                               \
        const W *w, const X *x, X *out, Tasks tasks, ExpertPlan plan, unsigned n, unsigned k) {                      \
        moe_tile<W, X, IS_LARGE>(w, x, out, tasks, plan, n, k);                                                     \
    }
#define DENSE_MOE(w_name, W, x_name, X)                                                                              \
    extern "C" __global__ __launch_bounds__(THREADS) void dense_moe_##w_name##_##x_name(                            \
        const W *w, const X *x, X *out, Tasks tasks, unsigned n, unsigned k, unsigned sharing) {                     \
        moe(w, x, out, tasks, n, k, sharing);                                                                        \
    }                                                                                                                \
    DENSE_MOE_TILE(w_name, W, x_name, X, tile, false) DENSE_MOE_TILE(w_name, W, x_name, X, tile_large, true)
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
