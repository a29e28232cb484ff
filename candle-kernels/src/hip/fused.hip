// What stands between the products of a transformer's layer, in few launches: the host side is candle-nn's rocm/fused.rs.
//
//   silu_mul_<t>      (gate, up, out, int8, rows, columns, gate step, up step)
//                     out = silu(gate) * up, a row for each blockIdx.y
//   add_rms_norm_<t>  (x, branch, weight, sum, out, int8, columns, epsilon)
//                     sum = x + branch, out = that normalised; a workgroup a row
//   add_rms_norms_<t> (x, branch, branch's weight, weight, sum, out, int8, columns, branch's epsilon, epsilon)
//                     the same with branch normalised before it is added
//   place_heads_<t>, place_heads_<from>_<t>   (Placing, cos, sin)
//                     heads normalised, rotated, or just copied to where they belong
//   gated_conv_<t>    (bcx, weight, state, out, int8, rows, channels, taps)
//                     a position of a short convolution over each channel, a row for each blockIdx.y
//   route_token       (logits, weights, experts, places, count, per token, normalised)
//                     the experts of a token, and their shares
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

/// The norm behind a part of a layer, of what it gives to be added.
template <class T> struct BranchNorm {
    const T *weight;
    float epsilon;
};

/// A workgroup a row. Columns are a multiple of N, and every operand begins at a multiple of N elements. What `branch_norm` has
/// is used if NORMED.
template <class T, unsigned N, bool NORMED>
static __device__ __forceinline__ void add_rms_norm(const T *x, const T *branch, BranchNorm<T> branch_norm, const T *weight,
                                                    T *sum, T *out, void *int8, uint32_t columns, float epsilon) {
    typedef Run<T, N> Elements;
    const uint64_t row = uint64_t(blockIdx.x) * columns;
    const uint32_t runs = columns / N;
    const auto at = [](auto *from, uint32_t run) -> auto & { return reinterpret_cast<Elements *>(from)[run]; };
    const auto of = [](const T *from, uint32_t run) { return reinterpret_cast<const Elements *>(from)[run]; };
    float squares = 0, branch_scale = 1;
    // What is added of a run of the branch.
    const auto branch_of = [&](const Elements &given, const Elements &factors) {
        Elements normed = given;
        if constexpr (NORMED) {
#pragma unroll
            for (unsigned e = 0; e < N; ++e)
                normed.element[e] = T(static_cast<float>(given.element[e]) * branch_scale * static_cast<float>(factors.element[e]));
        }
        return normed;
    };
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
    Elements kept[KEPT], other[KEPT], weights[KEPT], branch_weights[NORMED ? KEPT : 1];
#pragma unroll
    for (unsigned i = 0; i < KEPT; ++i) {
        const uint32_t run = i * blockDim.x + threadIdx.x, from = min(run, last);
        if (run - lane < runs) kept[i] = of(x + row, from), other[i] = of(branch + row, from), weights[i] = of(weight, from);
        if constexpr (NORMED) {
            if (run - lane < runs) branch_weights[i] = of(branch_norm.weight, from);
        }
    }
    if constexpr (NORMED) {
        float of_branch = 0;
        const auto count = [&](const Elements &given) {
#pragma unroll
            for (unsigned e = 0; e < N; ++e) {
                const float value = static_cast<float>(given.element[e]);
                of_branch += value * value;
            }
        };
#pragma unroll
        for (unsigned i = 0; i < KEPT; ++i)
            if (i * blockDim.x + threadIdx.x < runs) count(other[i]);
        for (uint32_t run = KEPT * blockDim.x + threadIdx.x; run < runs; run += blockDim.x) count(of(branch + row, run));
        branch_scale = 1.0f / sqrt(workgroup_sum(of_branch) / float(columns) + branch_norm.epsilon);
        __syncthreads();  // all have read that sum before the next one takes its place
    }
#pragma unroll
    for (unsigned i = 0; i < KEPT; ++i) {
        const uint32_t run = i * blockDim.x + threadIdx.x;
        if (run - lane < runs) kept[i] = add(kept[i], branch_of(other[i], branch_weights[NORMED ? i : 0]), run);
    }
    for (uint32_t run = KEPT * blockDim.x + threadIdx.x; run < runs; run += blockDim.x) {
        Elements factors;
        if constexpr (NORMED) factors = of(branch_norm.weight, run);
        add(of(x + row, run), branch_of(of(branch + row, run), factors), run);
    }

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
template <class T, bool NORMED>
static __device__ __forceinline__ void add_rms_norm(const T *x, const T *branch, BranchNorm<T> branch_norm, const T *weight,
                                                    T *sum, T *out, void *int8, uint32_t columns, float epsilon) {
    constexpr unsigned N = 16 / sizeof(T);
    const auto address = [](const void *p) { return reinterpret_cast<uintptr_t>(p); };
    uintptr_t all = address(x) | address(branch) | address(weight) | address(sum) | address(out);
    if constexpr (NORMED) all |= address(branch_norm.weight);
    if (all % 16 == 0 && columns % N == 0)
        add_rms_norm<T, N, NORMED>(x, branch, branch_norm, weight, sum, out, int8, columns, epsilon);
    else add_rms_norm<T, 1, NORMED>(x, branch, branch_norm, weight, sum, out, int8, columns, epsilon);
}

#define ADD_RMS_NORM(T, SUFFIX)                                                                                      \
    extern "C" __global__ void __launch_bounds__(1024) add_rms_norm_##SUFFIX(                                        \
        const T *x, const T *branch, const T *weight, T *sum, T *out, void *int8, uint32_t columns, float epsilon) { \
        await_previous();                                                                                            \
        add_rms_norm<T, false>(x, branch, {}, weight, sum, out, int8, columns, epsilon);                             \
    }
FOR_FUSED(ADD_RMS_NORM)

#define ADD_RMS_NORMS(T, SUFFIX)                                                                                     \
    extern "C" __global__ void __launch_bounds__(1024) add_rms_norms_##SUFFIX(                                       \
        const T *x, const T *branch, const T *branch_weight, const T *weight, T *sum, T *out, void *int8,            \
        uint32_t columns, float branch_epsilon, float epsilon) {                                                     \
        await_previous();                                                                                            \
        const BranchNorm<T> branch_norm = {branch_weight, branch_epsilon};                                           \
        add_rms_norm<T, true>(x, branch, branch_norm, weight, sum, out, int8, columns, epsilon);                     \
    }
FOR_FUSED(ADD_RMS_NORMS)

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
template <class F> static __device__ __forceinline__ float normed(const F *from, const F *norm, uint32_t i, float scale) {
    const float value = static_cast<float>(from[i]);
    return norm ? static_cast<float>(F(value * scale * static_cast<float>(norm[i]))) : value;
}

/// A warp for each head of a position; blockIdx.y counts the tensors. What comes and the weights of norms are F, the results T.
template <class F, class T>
static __device__ __forceinline__ void place_heads(const Placing &placing, const void *cos, const void *sin) {
    const Heads &heads = placing.tensors[blockIdx.y];
    const uint32_t row = blockIdx.x * PLACING_WARPS + threadIdx.y, lane = threadIdx.x;
    const uint32_t position = row % placing.positions, pair_of = row / placing.positions;
    const uint32_t head = pair_of % heads.heads, batch = pair_of / heads.heads;
    if (batch >= placing.batches) return;
    const F *from = reinterpret_cast<const F *>(heads.from) + batch * heads.from_batch + head * heads.from_head +
                    position * heads.from_position;
    const uint32_t past = placing.past ? *reinterpret_cast<const uint32_t *>(placing.past) : 0;
    // Queries go to a result of their own.
    const uint64_t place = position + (blockIdx.y > 0 ? past : 0);
    T *to = reinterpret_cast<T *>(heads.to) + batch * heads.to_batch + head * heads.to_head + place * heads.to_position;
    const F *norm = reinterpret_cast<const F *>(heads.norm);
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

#define PLACE_HEADS_FROM(F, T, SUFFIX)                                                              \
    extern "C" __global__ void __launch_bounds__(WARP *PLACING_WARPS)                               \
        place_heads_##SUFFIX(Placing placing, const void *cos, const void *sin) {                   \
        await_previous();                                                                           \
        place_heads<F, T>(placing, cos, sin);                                                       \
    }
#define PLACE_HEADS(T, SUFFIX) PLACE_HEADS_FROM(T, T, SUFFIX)
FOR_FUSED(PLACE_HEADS)
// From products in f32 to keys and values in half of that.
PLACE_HEADS_FROM(float, f16, f32_f16)
PLACE_HEADS_FROM(float, bf16, f32_bf16)

// ---- Short convolution ------------------------------------------------------------------------------------------

/// A row of `bcx` are b, c and x of each channel. What `state` has of it moves one place to the front, b * x goes behind it, and c
/// times the sum of that times `weight` is the result.
template <class T>
static __device__ __forceinline__ void gated_conv(const T *bcx, const T *weight, T *state, T *out, void *int8, uint32_t rows,
                                                  uint32_t channels, uint32_t taps) {
    const auto product = [](T a, T b) { return T(static_cast<float>(a) * static_cast<float>(b)); };
    for (uint64_t row = blockIdx.y; row < rows; row += gridDim.y) {
        for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < channels; i += gridDim.x * blockDim.x) {
            const T *given = bcx + row * 3 * channels + i, *factors = weight + uint64_t(i) * taps;
            T *held = state + (row * channels + i) * taps;
            float sum = 0;
            for (uint32_t tap = 0; tap < taps; ++tap) {
                const T value = tap + 1 < taps ? held[tap + 1] : product(given[0], given[2 * uint64_t(channels)]);
                held[tap] = value;
                sum += static_cast<float>(product(value, factors[tap]));
            }
            const T result = product(given[channels], T(sum));
            out[row * channels + i] = result;
            // All of a warp are here or none: the channels are whole segments.
            const float values[1] = {static_cast<float>(result)};
            if (int8) store_int8<1>(ActivationRow(int8, row, channels / SEGMENT), i, values);
        }
    }
}

#define GATED_CONV(T, SUFFIX)                                                                                        \
    extern "C" __global__ void __launch_bounds__(256)                                                                \
        gated_conv_##SUFFIX(const T *bcx, const T *weight, T *state, T *out, void *int8, uint32_t rows,              \
                            uint32_t channels, uint32_t taps) {                                                      \
        await_previous();                                                                                            \
        gated_conv<T>(bcx, weight, state, out, int8, rows, channels, taps);                                          \
    }
FOR_FUSED(GATED_CONV)

// ---- Routing ----------------------------------------------------------------------------------------------------

/// Experts of a lane: the most that a router may know are so many times the lanes of a warp. A token has as many as lanes at most.
/// Most routers know no more than a warp with the few: one warp does it all, so that each instruction is time.
constexpr unsigned EXPERTS_OF_LANE = 16, FEW_EXPERTS_OF_LANE = 4;

/// One warp, for one token. Of the softmax of `count` logits `weights` are the `per_token` largest shares, the largest first,
/// divided by their sum if `normalised`; `experts` are theirs, the smallest number first, and `places` where each stands in
/// `weights`. Of equal shares that of the smaller number is taken.
template <unsigned EACH>
static __device__ __forceinline__ void route_token_of(const float *logits, float *weights, uint32_t *experts, uint32_t *places,
                                                      uint32_t count, uint32_t per_token, uint32_t normalised) {
    const uint32_t lane = threadIdx.x;
    float shares[EACH], largest = -__builtin_inff(), sum = 0;
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) {
        const uint32_t expert = i * WARP + lane;
        shares[i] = expert < count ? logits[expert] : -__builtin_inff();
        largest = fmaxf(largest, shares[i]);
    }
    largest = joined<WARP>(largest, [](float a, float b) { return fmaxf(a, b); });
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) {
        shares[i] = i * WARP + lane < count ? exp(shares[i] - largest) : 0.0f;
        sum += shares[i];
    }
    sum = warp_sum(sum);

    // A share's bits, which have the order of shares, then the number, from the largest: no two are equal. NaN is above all; what
    // is no expert or has been taken is 0.
    uint64_t keys[EACH];
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) {
        const uint32_t expert = i * WARP + lane, bits = __float_as_uint(shares[i] / sum) & 0x7fffffff;
        keys[i] = expert < count ? uint64_t(bits) << 32 | ~expert : 0;
    }
    __shared__ uint32_t taken[WARP];
    uint32_t own = 0;
    float own_share = 0, total = 0;
    for (uint32_t rank = 0; rank < per_token; ++rank) {
        uint64_t best = 0;
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) best = max(best, keys[i]);
        best = joined<WARP>(best, [](uint64_t a, uint64_t b) { return max(a, b); });
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) keys[i] = keys[i] == best ? 0 : keys[i];
        const float share = __uint_as_float(uint32_t(best >> 32));
        total += share;
        if (lane == rank) {
            own = ~uint32_t(best), own_share = share;
            taken[rank] = own;
        }
    }
    __syncthreads();
    if (lane >= per_token) return;
    weights[lane] = normalised ? own_share / total : own_share;
    uint32_t place = 0;
    for (uint32_t rank = 0; rank < per_token; ++rank) place += taken[rank] < own;
    experts[place] = own;
    places[place] = lane;
}

extern "C" __global__ void __launch_bounds__(WARP)
    route_token(const float *logits, float *weights, uint32_t *experts, uint32_t *places, uint32_t count, uint32_t per_token,
                uint32_t normalised) {
    await_previous();
    if (count <= FEW_EXPERTS_OF_LANE * WARP)
        route_token_of<FEW_EXPERTS_OF_LANE>(logits, weights, experts, places, count, per_token, normalised);
    else route_token_of<EXPERTS_OF_LANE>(logits, weights, experts, places, count, per_token, normalised);
}
