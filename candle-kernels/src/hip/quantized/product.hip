// Products of a few rows of activations with quantized weights; those of many are in tile.hip. The host side (launch
// geometry, choice among them) is candle-core/src/quantized/rocm/own.rs.
//
//   vec_<t>_<c>   up to c = 1, 2, 4 or 8 rows of activations, with up to three weights that read the same ones (queries, keys
//                 and values; gate and up), each with a bias or without: a workgroup for each few rows of the weights
//   moe_<t>       a row of activations with the weights of one expert, picked on the device: likewise
//
// <t> is a format of formats.h. Weights are [n, k], activations rows of activations.h, results [rows, n] in
// f32, f16 or bf16. Nothing is read or written beyond these, whatever n, k and rows are; k is a whole number of blocks.
#include "portions.h"

constexpr unsigned WARPS = 4;  // of a workgroup; they share each of its rows of the weights

/// What a workgroup of vec does for up to COLUMNS rows of activations. Measured on an H100: docs/performance.md.
template <unsigned COLUMNS> struct VecShape {
    /// Rows of the weights. What is read of the activations serves all of them.
    static constexpr unsigned ROWS = COLUMNS == 2 ? 2 : 4;
};

#if defined(__NVCC__)
/// Workgroups that a multiprocessor has registers for: left alone, ptxas takes more than pay. Each is the most that none
/// of the formats spills at.
template <class F, unsigned COLUMNS> constexpr unsigned resident() {
    return COLUMNS == 1 ? (LanePortion<F>::ONE_SCALE ? 8 : 6) : COLUMNS == 2 ? 8 : COLUMNS == 4 ? 4 : 3;
}
#define VEC_BOUNDS(F, COLUMNS) __launch_bounds__(WARP *WARPS, resident<F, COLUMNS>())
#else
#define VEC_BOUNDS(F, COLUMNS) __launch_bounds__(WARP *WARPS)
#endif

/// `sum` and the element products of half a segment.
static __device__ __forceinline__ int dot_half(const int *a, const int *b, int sum) {
#pragma unroll
    for (unsigned i = 0; i < GROUP_WORDS; ++i) sum = __dp4a(a[i], b[i], sum);
    return sum;
}

/// What a portion of weights is multiplied with.
template <class F> struct ActivationPortion {
    typedef LanePortion<F> P;
    static constexpr unsigned SCALES = P::ONE_SCALE ? 1 : P::GROUPS;
    static constexpr bool OFFSET = F::OFFSET && F::CENTRE == 0;

    ActivationHalf halves[P::GROUPS];
    float scale[SCALES];
    /// Where the integer products start: the centre is taken off exactly. In f32 two large numbers would cancel.
    int start[SCALES];
    /// What an offset of the weights is multiplied with.
    float total[SCALES];

    /// Portion j of the block whose first half is number `first` of the row.
    __device__ __forceinline__ ActivationPortion(const ActivationRow &row, unsigned first, unsigned j) {
#pragma unroll
        for (unsigned g = 0; g < P::GROUPS; ++g) {
            const unsigned half = first + P::half(j, g);
            halves[g] = row.half(half);
            if (g >= SCALES) continue;
            const ActivationScale scales = row.scale(half / 2);
            int sum = half % 2 ? scales.sum[1] : scales.sum[0];
            if (P::GROUPS > SCALES) sum = scales.sum[0] + scales.sum[1];
            scale[g] = scales.scale;
            start[g] = -F::CENTRE * sum;
            total[g] = OFFSET ? scales.scale * sum : 0.0f;
        }
    }

    /// Adds the product to `sum`.
    __device__ __forceinline__ void add(const Portion<P::GROUPS> &w, float &sum) const {
        int dot = 0;
#pragma unroll
        for (unsigned g = 0; g < P::GROUPS; ++g) {
            dot = dot_half(w.q[g], halves[g].q, g < SCALES ? start[g] : dot);
            if (P::GROUPS > SCALES && g + 1 < P::GROUPS) continue;
            const unsigned own = g < SCALES ? g : 0;
            sum += scale[own] * (w.scale[own] * dot);
            if (OFFSET) sum += total[own] * w.offset[own];
        }
    }
};

/// Adds the products of ROWS rows of weights with `columns` rows of activations to a lane's sums. Lane `lane` of
/// `lanes` takes every portion whose number is its own modulo their number.
template <class F, unsigned ROWS, unsigned COLUMNS>
static __device__ __forceinline__ void add_products(const uint8_t *const *weights, const void *x, size_t first_column,
                                                    unsigned segments, unsigned columns, unsigned lane, unsigned lanes,
                                                    float (*sums)[COLUMNS]) {
    typedef LanePortion<F> P;
    constexpr unsigned HALVES = 2 * F::SEGMENTS;  // of a block
    const unsigned portions = segments / F::SEGMENTS * P::OF_BLOCK;
#pragma unroll 1
    for (unsigned p = lane; p < portions; p += lanes) {
        const unsigned block = p / P::OF_BLOCK, j = p % P::OF_BLOCK;
        Portion<P::GROUPS> w[ROWS];
#pragma unroll
        for (unsigned r = 0; r < ROWS; ++r) load_portion<F>(weights[r] + static_cast<size_t>(block) * F::BYTES, j, w[r]);
#pragma unroll
        for (unsigned c = 0; c < COLUMNS; ++c) {
            // Columns beyond the last repeat it: a load that hits the cache instead of a branch.
            const ActivationRow row(x, first_column + min(c, columns - 1), segments);
            const ActivationPortion<F> activations(row, block * HALVES, j);
#pragma unroll
            for (unsigned r = 0; r < ROWS; ++r) activations.add(w[r], sums[r][c]);
        }
    }
}

/// The products of the ROWS of `n` rows of weights that are number `group`, of matrix number `matrix`, with `columns` rows of
/// activations. Calls `store(row, column, value)` in one thread for each. All threads of WARPS warps call it.
template <class F, unsigned COLUMNS, unsigned ROWS, class T>
static __device__ __forceinline__ void multiply_rows(const void *w, size_t matrix, const void *x, size_t first_column,
                                                     unsigned group, unsigned n, unsigned segments, unsigned columns,
                                                     T store) {
    const unsigned first = group * ROWS;
    const uint8_t *weights[ROWS];
    // Rows beyond the last repeat it and are not stored.
#pragma unroll
    for (unsigned r = 0; r < ROWS; ++r) weights[r] = weight_row<F>(w, matrix * n + min(first + r, n - 1), segments);
    float sums[ROWS][COLUMNS] = {};
    add_products<F, ROWS, COLUMNS>(weights, x, first_column, segments, columns, threadIdx.y * WARP + threadIdx.x,
                                   WARPS * WARP, sums);

    // Each warp leaves its part of the results; then a thread adds up one result.
    constexpr unsigned RESULTS = ROWS * COLUMNS;
    static_assert(RESULTS <= WARP, "the first warp has a lane for each");
    __shared__ float parts[WARPS][RESULTS];
#pragma unroll
    for (unsigned i = 0; i < RESULTS; ++i) {
        const float sum = warp_sum(sums[i % ROWS][i / ROWS]);
        if (threadIdx.x == 0) parts[threadIdx.y][i] = sum;
    }
    __syncthreads();
    if (threadIdx.y != 0 || threadIdx.x >= RESULTS) return;
    const unsigned row = first + threadIdx.x % ROWS, column = threadIdx.x / ROWS;
    if (row >= n || column >= columns) return;
    float sum = 0;
#pragma unroll
    for (unsigned warp = 0; warp < WARPS; ++warp) sum += parts[warp][threadIdx.x];
    store(row, column, sum);
}

// ---- vec --------------------------------------------------------------------------------------------------------

constexpr unsigned MOST_WEIGHTS = 3;

/// Weights [rows, k] that are multiplied with the same activations, passed by value; those without rows are not there.
struct Weights {
    const void *of[MOST_WEIGHTS];
    void *out[MOST_WEIGHTS];
    /// Null, or what is added to each row's products: of the activations' type, as the results are.
    const void *bias[MOST_WEIGHTS];
    unsigned rows[MOST_WEIGHTS];
    unsigned padding;
};
static_assert(sizeof(Weights) == 88, "as the host packs it");

/// Workgroups take the rows of one matrix after the other, each beginning with one of its own.
template <class F, unsigned COLUMNS>
static __device__ __forceinline__ void vec(const Weights &weights, const void *x, unsigned segments, unsigned columns,
                                           int type) {
    constexpr unsigned ROWS = VecShape<COLUMNS>::ROWS;
    unsigned group = blockIdx.x, matrix = 0;
#pragma unroll
    for (unsigned i = 0; i + 1 < MOST_WEIGHTS; ++i) {
        const unsigned groups = (weights.rows[i] + ROWS - 1) / ROWS;
        if (matrix != i || group < groups) continue;
        group -= groups;
        matrix = i + 1;
    }
    const unsigned n = weights.rows[matrix];
    void *out = weights.out[matrix];
    const void *bias = weights.bias[matrix];
    multiply_rows<F, COLUMNS, ROWS>(weights.of[matrix], 0, x, 0, group, n, segments, columns,
                                    [&](unsigned row, unsigned column, float value) {
                                        // As the product and the addition round, one after the other.
                                        if (bias) value = round_float(value, type) + load_float(bias, row, type);
                                        store_float(out, static_cast<size_t>(column) * n + row, type, value);
                                    });
}

#define VEC(name, F, COLUMNS)                                                                                       \
    extern "C" __global__ VEC_BOUNDS(F, COLUMNS) void vec_##name##_##COLUMNS(Weights weights, const void *x,        \
                                                                             unsigned segments, unsigned columns, \
                                                                             int type) {                            \
        vec<F, COLUMNS>(weights, x, segments, columns, type);                                                       \
    }
#define VECS(name, F) VEC(name, F, 1) VEC(name, F, 2) VEC(name, F, 4) VEC(name, F, 8)
FOR_EACH_FORMAT(VECS)

// ---- moe --------------------------------------------------------------------------------------------------------

#include "experts.h"

/// Rows of the weights of a workgroup.
constexpr unsigned MOE_ROWS = WARPS;
static_assert(MOE_ROWS == VecShape<1>::ROWS, "what vec takes for one row of activations was measured");

template <class F>
static __device__ __forceinline__ void moe(const void *w, const void *x, float *out, const Tasks &tasks, unsigned n,
                                           unsigned segments) {
    for (unsigned t = blockIdx.y; t < tasks.count; t += gridDim.y) {
        Task task;
        if (!tasks.find(t, task)) {
            const unsigned row = blockIdx.x * MOE_ROWS + threadIdx.y;
            if (threadIdx.x == 0 && row < n) tasks.refuse(t, task, out, n, row);
            continue;
        }
        multiply_rows<F, 1, MOE_ROWS>(w, task.expert, x, task.input, blockIdx.x, n, segments, 1,
                                      [&](unsigned row, unsigned, float value) {
                                          out[static_cast<size_t>(task.output) * n + row] = task.scale * value;
                                      });
        // The next task's parts take the place of these.
        __syncthreads();
    }
}

#define MOE(name, F)                                                                                                 \
    extern "C" __global__ __launch_bounds__(WARP *WARPS) void moe_##name(const void *w, const void *x, float *out,   \
                                                                         Tasks tasks, unsigned n,                    \
                                                                         unsigned segments) {                        \
        moe<F>(w, x, out, tasks, n, segments);                                                                       \
    }
FOR_EACH_FORMAT(MOE)
