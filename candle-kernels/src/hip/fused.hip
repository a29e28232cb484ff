// What stands between the products of a transformer's layer, in few launches: the host side is candle-nn's rocm/fused.rs.
//
//   silu_mul_<t>      (gate, up, out, int8, rows, columns, gate step, up step)
//                     out = silu(gate) * up, a row for each blockIdx.y
//   add_rms_norm_<t>  (x, branch, weight, sum, out, int8, columns, epsilon)
//                     sum = x + branch, out = that normalised; a workgroup a row
//   place_heads_<t>   (Placing, cos, sin)
//                     heads normalised, rotated, or just copied to where they belong
//
// Each rounds to T where the operations that it replaces do. What quantized products read next is written as they read it as
// well, to `int8` unless that is null; then a row is a whole number of segments.
#include "element.h"
#include "quantized/int8_rows.h"
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
static __device__ __forceinline__ void silu_mul(const T *gate, const T *up, T *out, void *int8, uint32_t rows,
                                                uint32_t columns, uint64_t gate_step, uint64_t up_step) {
    for (uint64_t row = blockIdx.y; row < rows; row += gridDim.y) {
        for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < columns; i += gridDim.x * blockDim.x) {
            const float x = static_cast<float>(gate[row * gate_step + i]);
            const T silu = T(x / (1.0f + exp(-x)));
            const T product = T(static_cast<float>(silu) * static_cast<float>(up[row * up_step + i]));
            out[row * columns + i] = product;
            // All of a warp are here or none: the columns of a row are whole segments.
            const float values[1] = {static_cast<float>(product)};
            if (int8) store_int8<1>(ActivationRow(int8, row, columns / SEGMENT), i, values);
        }
    }
}

KERNELS_AWAIT

#define SILU_MUL(T, SUFFIX)                                                                                              \
    extern "C" __global__ void __launch_bounds__(256)                                                                    \
        silu_mul_##SUFFIX(const T *gate, const T *up, T *out, void *int8, uint32_t rows, uint32_t columns,               \
                          uint64_t gate_step, uint64_t up_step) {                                                        \
        await_previous();                                                                                                \
        silu_mul<T>(gate, up, out, int8, rows, columns, gate_step, up_step);                                             \
    }
FOR_FUSED(SILU_MUL)

// ---- Residual and norm ------------------------------------------------------------------------------------------

constexpr unsigned MOST_WARPS = 1024 / WARP;

/// The sum of `value` over the workgroup, in each of its threads.
static __device__ __forceinline__ float workgroup_sum(float value) {
    __shared__ float of_warp[MOST_WARPS];
    value = warp_sum(value);
    const unsigned lane = threadIdx.x % WARP;
    if (lane == 0) of_warp[threadIdx.x / WARP] = value;
    __syncthreads();
    return warp_sum(lane < blockDim.x / WARP ? of_warp[lane] : 0.0f);
}

/// N neighbours of a row, read and written at once.
template <class T, unsigned N> struct alignas(N * sizeof(T)) Run { T element[N]; };

/// Runs of a row that a thread keeps in registers, so that most rows are read once, with all reads under way together.
constexpr unsigned KEPT = 2;

/// A workgroup a row. Columns are a multiple of N, and every operand begins at a multiple of N elements.
template <class T, unsigned N>
static __device__ __forceinline__ void add_rms_norm(const T *x, const T *branch, const T *weight, T *sum, T *out,
                                                    void *int8, uint32_t columns, float epsilon) {
    typedef Run<T, N> Elements;
    const uint64_t row = uint64_t(blockIdx.x) * columns;
    const uint32_t runs = columns / N;
    const auto at = [](auto *from, uint32_t run) -> auto & { return reinterpret_cast<Elements *>(from)[run]; };
    const auto of = [](const T *from, uint32_t run) { return reinterpret_cast<const Elements *>(from)[run]; };
    float squares = 0;
    // Adds, stores and returns the sum.
    const auto add = [&](const Elements &a, const Elements &b, uint32_t run) {
        Elements added;
        float of_run = 0;
#pragma unroll
        for (unsigned e = 0; e < N; ++e) {
            added.element[e] = T(static_cast<float>(a.element[e]) + static_cast<float>(b.element[e]));
            const float value = static_cast<float>(added.element[e]);
            of_run += value * value;
        }
        if (run < runs) {
            squares += of_run;
            at(sum + row, run) = added;
        }
        return added;
    };
    // Whole warps go through the runs, since the lanes of a segment exchange values; what lies beyond the last run repeats it.
    const uint32_t lane = threadIdx.x % WARP, last = runs - 1;
    Elements kept[KEPT], other[KEPT], weights[KEPT];
#pragma unroll
    for (unsigned i = 0; i < KEPT; ++i) {
        const uint32_t run = i * blockDim.x + threadIdx.x, from = min(run, last);
        if (run - lane < runs) kept[i] = of(x + row, from), other[i] = of(branch + row, from), weights[i] = of(weight, from);
    }
#pragma unroll
    for (unsigned i = 0; i < KEPT; ++i) {
        const uint32_t run = i * blockDim.x + threadIdx.x;
        if (run - lane < runs) kept[i] = add(kept[i], other[i], run);
    }
    for (uint32_t run = KEPT * blockDim.x + threadIdx.x; run < runs; run += blockDim.x)
        add(of(x + row, run), of(branch + row, run), run);

    const float scale = 1.0f / sqrt(workgroup_sum(squares) / float(columns) + epsilon);
    const ActivationRow int8_row(int8, blockIdx.x, columns / SEGMENT);
    const auto finish = [&](const Elements &added, const Elements &factors, uint32_t run) {
        const bool present = run < runs;
        Elements normed;
        float values[N];
#pragma unroll
        for (unsigned e = 0; e < N; ++e) {
            normed.element[e] = T(static_cast<float>(added.element[e]) * scale * static_cast<float>(factors.element[e]));
            values[e] = present ? static_cast<float>(normed.element[e]) : 0.0f;
        }
        if (present) at(out + row, run) = normed;
        if (int8) store_int8<N>(int8_row, run * N, values, present);
    };
#pragma unroll
    for (unsigned i = 0; i < KEPT; ++i) {
        const uint32_t run = i * blockDim.x + threadIdx.x;
        if (run - lane < runs) finish(kept[i], weights[i], run);
    }
    // Each thread reads again what it has stored itself.
    for (uint32_t run = KEPT * blockDim.x + threadIdx.x; run - lane < runs; run += blockDim.x) {
        const uint32_t from = min(run, last);
        finish(of(sum + row, from), of(weight, from), run);
    }
}

/// Reads as wide as operands and columns allow. The host counts threads for wide ones.
template <class T>
static __device__ __forceinline__ void add_rms_norm(const T *x, const T *branch, const T *weight, T *sum, T *out,
                                                    void *int8, uint32_t columns, float epsilon) {
    constexpr unsigned N = 16 / sizeof(T);
    const auto address = [](const void *p) { return reinterpret_cast<uintptr_t>(p); };
    const uintptr_t all = address(x) | address(branch) | address(weight) | address(sum) | address(out);
    if (all % 16 == 0 && columns % N == 0) add_rms_norm<T, N>(x, branch, weight, sum, out, int8, columns, epsilon);
    else add_rms_norm<T, 1>(x, branch, weight, sum, out, int8, columns, epsilon);
}

#define ADD_RMS_NORM(T, SUFFIX)                                                                                      \
    extern "C" __global__ void __launch_bounds__(1024) add_rms_norm_##SUFFIX(                                        \
        const T *x, const T *branch, const T *weight, T *sum, T *out, void *int8, uint32_t columns, float epsilon) { \
        await_previous();                                                                                            \
        add_rms_norm<T>(x, branch, weight, sum, out, int8, columns, epsilon);                                        \
    }
FOR_FUSED(ADD_RMS_NORM)

// ---- Heads ------------------------------------------------------------------------------------------------------

/// One tensor `[batches, heads, positions, width]` and where it goes. Strides count elements; those of the width are 1.
struct Heads {
    uint64_t from, to;
    /// Null, or the weights that a head is normalised with before it is rotated.
    uint64_t norm;
    uint64_t from_batch, from_head, from_position;
    uint64_t to_batch, to_head, to_position;
    uint32_t heads;
    /// Whether it is rotated; else copied.
    uint32_t rotated;
};
static_assert(sizeof(Heads) == 80, "as the host packs it");

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
    /// Added to a head's mean square.
    float epsilon;
    uint32_t padding;
    /// Null, or the address of a number of positions: so many further on are the angles, and the places of keys and values.
    uint64_t past;
};
static_assert(sizeof(Placing) == 280, "as the host packs it");

constexpr unsigned PLACING_WARPS = 8;  // of a workgroup

/// An element of a head, normalised if it has weights, as rms_norm rounds it.
template <class T> static __device__ __forceinline__ float normed(const T *from, const T *norm, uint32_t i, float scale) {
    const float value = static_cast<float>(from[i]);
    return norm ? static_cast<float>(T(value * scale * static_cast<float>(norm[i]))) : value;
}

/// A warp for each head of a position; blockIdx.y counts the tensors.
template <class T>
static __device__ __forceinline__ void place_heads(const Placing &placing, const void *cos, const void *sin) {
    const Heads &heads = placing.tensors[blockIdx.y];
    const uint32_t row = blockIdx.x * PLACING_WARPS + threadIdx.y, lane = threadIdx.x;
    const uint32_t position = row % placing.positions, pair_of = row / placing.positions;
    const uint32_t head = pair_of % heads.heads, batch = pair_of / heads.heads;
    if (batch >= placing.batches) return;
    const T *from = reinterpret_cast<const T *>(heads.from) + batch * heads.from_batch + head * heads.from_head +
                    position * heads.from_position;
    const uint32_t past = placing.past ? *reinterpret_cast<const uint32_t *>(placing.past) : 0;
    // Queries go to a result of their own.
    const uint64_t place = position + (blockIdx.y > 0 ? past : 0);
    T *to = reinterpret_cast<T *>(heads.to) + batch * heads.to_batch + head * heads.to_head + place * heads.to_position;
    const T *norm = reinterpret_cast<const T *>(heads.norm);
    float scale = 1;
    if (norm) {
        float squares = 0;
        for (uint32_t i = lane; i < placing.width; i += WARP) {
            const float value = static_cast<float>(from[i]);
            squares += value * value;
        }
        scale = 1.0f / sqrt(warp_sum(squares) / float(placing.width) + placing.epsilon);
    }
    const uint32_t half = heads.rotated ? placing.rotary / 2 : 0;
    for (uint32_t pair = lane; pair < half; pair += WARP) {
        const uint32_t first = placing.interleaved ? 2 * pair : pair;
        const uint32_t second = placing.interleaved ? first + 1 : first + half;
        const uint32_t at = (position + past) * half + pair;
        const float c = load_float(cos, at, placing.angles), s = load_float(sin, at, placing.angles);
        const float a = normed(from, norm, first, scale), b = normed(from, norm, second, scale);
        to[first] = T(a * c - b * s);
        to[second] = T(a * s + b * c);
    }
    for (uint32_t i = 2 * half + lane; i < placing.width; i += WARP) to[i] = T(normed(from, norm, i, scale));
}

#define PLACE_HEADS(T, SUFFIX)                                                                      \
    extern "C" __global__ void __launch_bounds__(WARP *PLACING_WARPS)                               \
        place_heads_##SUFFIX(Placing placing, const void *cos, const void *sin) {                   \
        await_previous();                                                                           \
        place_heads<T>(placing, cos, sin);                                                          \
    }
FOR_FUSED(PLACE_HEADS)
