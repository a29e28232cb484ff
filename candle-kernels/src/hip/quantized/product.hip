// Products of a few rows of activations with quantized weights; those of many are in tile.hip. The host side (launch
// geometry, choice among them) is candle-core/src/quantized/rocm/own.rs.
//
//   vec_<t>_<c>   up to c = 1, 2, 4 or 8 rows of activations: a warp for each row of the weights
//   moe_<t>       a row of activations with the weights of one expert, picked on the device
//
// <t> is a format of formats.h. Weights are [n, k], activations ActivationBlock[rows][k / 32], results [rows, n] in
// f32, f16 or bf16. Nothing is read or written beyond these, whatever n, k and rows are; k is a whole number of blocks.
#include "formats.h"

constexpr unsigned WARPS = 4;  // of a workgroup of vec and moe, a row of the weights each

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
