// What stands between the products of a transformer's layer, in few launches: the host side is candle-nn's rocm/fused.rs.
//
//   silu_mul_<t>      (gate, up, out, columns, gate step, up step)     out = silu(gate) * up, a row for each blockIdx.y
//   add_rms_norm_<t>  (x, branch, weight, sum, out, columns, epsilon)  sum = x + branch, out = that normalised; a workgroup a row
//   place_heads_<t>   (Placing, cos, sin)                              heads rotated or copied to where they belong
//
// Each rounds to T where the operations that it replaces do.
#include "element.h"
#if defined(__HIP__)
#include "compat/math.h"
#endif
#if defined(__clang__)
#pragma clang fp contract(off)
#endif

#define FOR_FUSED(ROW) ROW(float, f32) ROW(f16, f16) ROW(bf16, bf16)

// ---- Gated activation -------------------------------------------------------------------------------------------

/// Rows of `gate` and `up` begin `gate_step` and `up_step` elements apart; those of `out` lie side by side.
template <class T>
static __device__ __forceinline__ void silu_mul(const T *gate, const T *up, T *out, uint32_t rows, uint32_t columns,
                                                uint64_t gate_step, uint64_t up_step) {
    for (uint64_t row = blockIdx.y; row < rows; row += gridDim.y) {
        for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < columns; i += gridDim.x * blockDim.x) {
            const float x = static_cast<float>(gate[row * gate_step + i]);
            const T silu = T(x / (1.0f + exp(-x)));
            out[row * columns + i] = T(static_cast<float>(silu) * static_cast<float>(up[row * up_step + i]));
        }
    }
}

#define SILU_MUL(T, SUFFIX)                                                                                              \
    extern "C" __global__ void silu_mul_##SUFFIX(const T *gate, const T *up, T *out, uint32_t rows, uint32_t columns,     \
                                                 uint64_t gate_step, uint64_t up_step) {                                 \
        silu_mul<T>(gate, up, out, rows, columns, gate_step, up_step);                                                   \
    }
FOR_FUSED(SILU_MUL)

// ---- Residual and norm ------------------------------------------------------------------------------------------

constexpr unsigned MOST_WARPS = 1024 / WARP;

/// The sum of `value` over the workgroup, in each of its threads.
static __device__ __forceinline__ float workgroup_sum(float value) {
    __shared__ float of_warp[MOST_WARPS];
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = value;
    __syncthreads();
    float sum = 0;
    for (unsigned i = 0; i < blockDim.x / WARP; ++i) sum += of_warp[i];
    return sum;
}

template <class T>
static __device__ __forceinline__ void add_rms_norm(const T *x, const T *branch, const T *weight, T *sum, T *out,
                                                    uint32_t columns, float epsilon) {
    const uint64_t row = uint64_t(blockIdx.x) * columns;
    float squares = 0;
    for (uint32_t i = threadIdx.x; i < columns; i += blockDim.x) {
        const T added = T(static_cast<float>(x[row + i]) + static_cast<float>(branch[row + i]));
        sum[row + i] = added;
        const float value = static_cast<float>(added);
        squares += value * value;
    }
    const float scale = 1.0f / sqrt(workgroup_sum(squares) / float(columns) + epsilon);
    // Each thread reads again what it has stored itself.
    for (uint32_t i = threadIdx.x; i < columns; i += blockDim.x) {
        out[row + i] = T(static_cast<float>(sum[row + i]) * scale * static_cast<float>(weight[i]));
    }
}

#define ADD_RMS_NORM(T, SUFFIX)                                                                                      \
    extern "C" __global__ void __launch_bounds__(1024) add_rms_norm_##SUFFIX(                                        \
        const T *x, const T *branch, const T *weight, T *sum, T *out, uint32_t columns, float epsilon) {             \
        add_rms_norm<T>(x, branch, weight, sum, out, columns, epsilon);                                              \
    }
FOR_FUSED(ADD_RMS_NORM)

// ---- Heads ------------------------------------------------------------------------------------------------------

/// One tensor `[batches, heads, positions, width]` and where it goes. Strides count elements; those of the width are 1.
struct Heads {
    uint64_t from, to;
    uint64_t from_batch, from_head, from_position;
    uint64_t to_batch, to_head, to_position;
    uint32_t heads;
    /// Whether it is rotated; else copied.
    uint32_t rotated;
};
static_assert(sizeof(Heads) == 72, "as the host packs it");

/// Passed by value: queries, keys and values, in this order.
struct Placing {
    Heads tensors[3];
    uint32_t batches, positions, width;
    /// Elements of a head that are rotated, from the first on; the others are copied.
    uint32_t rotary;
    /// Whether the two elements of a pair are neighbours; else they lie half of `rotary` apart.
    uint32_t interleaved;
    /// Type of cos and sin, `[positions, rotary / 2]`: a FloatType.
    uint32_t angles;
};
static_assert(sizeof(Placing) == 240, "as the host packs it");

/// The numbers of `FloatType` of quantized/activations.h.
static __device__ __forceinline__ float angle(const void *table, uint32_t index, uint32_t type) {
    if (type == 1) return static_cast<float>(static_cast<const f16 *>(table)[index]);
    if (type == 2) return static_cast<float>(static_cast<const bf16 *>(table)[index]);
    return static_cast<const float *>(table)[index];
}

/// A thread for each pair of elements; blockIdx.y counts the tensors.
template <class T>
static __device__ __forceinline__ void place_heads(const Placing &placing, const void *cos, const void *sin) {
    const Heads &heads = placing.tensors[blockIdx.y];
    const uint32_t pairs = placing.width / 2;
    const uint32_t own = blockIdx.x * blockDim.x + threadIdx.x;
    const uint32_t pair = own % pairs, row = own / pairs;
    const uint32_t position = row % placing.positions, pair_of = row / placing.positions;
    const uint32_t head = pair_of % heads.heads, batch = pair_of / heads.heads;
    if (batch >= placing.batches) return;
    const T *from = reinterpret_cast<const T *>(heads.from) + batch * heads.from_batch + head * heads.from_head +
                    position * heads.from_position;
    T *to = reinterpret_cast<T *>(heads.to) + batch * heads.to_batch + head * heads.to_head + position * heads.to_position;
    const uint32_t half = placing.rotary / 2;
    if (!heads.rotated || pair >= half) {
        to[2 * pair] = from[2 * pair];
        to[2 * pair + 1] = from[2 * pair + 1];
        return;
    }
    const uint32_t first = placing.interleaved ? 2 * pair : pair;
    const uint32_t second = placing.interleaved ? first + 1 : first + half;
    const float c = angle(cos, position * half + pair, placing.angles), s = angle(sin, position * half + pair, placing.angles);
    const float a = static_cast<float>(from[first]), b = static_cast<float>(from[second]);
    to[first] = T(a * c - b * s);
    to[second] = T(a * s + b * c);
}

#define PLACE_HEADS(T, SUFFIX)                                                                              \
    extern "C" __global__ void __launch_bounds__(256) place_heads_##SUFFIX(Placing placing, const void *cos, \
                                                                           const void *sin) {               \
        place_heads<T>(placing, cos, sin);                                                                  \
    }
FOR_FUSED(PLACE_HEADS)
