// Products of a few rows of activations with quantized weights; those of many are in tile.hip. The host side (launch
// geometry, choice among them) is candle-core/src/quantized/rocm/own.rs.
//
//   vec_<t>_<c>   up to c = 1, 2, 4 or 8 rows of activations, with up to three weights that read the same ones (queries, keys
//                 and values; gate and up), each with a bias or without: a workgroup for each few rows of the weights
//   pair_<t>_<u>  the same for a row of activations and weights of two formats, by number: the pairs of FOR_EACH_PAIR
//   moe_<t>       a row of activations with the weights of one expert, picked on the device: likewise
//
// <t> is a format of formats.h. Weights are [n, k], activations rows of activations.h, results [rows, n] in
// f32, f16 or bf16. Nothing is read or written beyond these, whatever n, k and rows are; k is a whole number of blocks. (On
// NVIDIA the rest of aligned eight bytes is read where some of them are Q8_0's.)
#include "vector.h"

constexpr unsigned WARPS = 4;  // of a workgroup; they share each of its rows of the weights

#if defined(__NVCC__)
#define VEC_BOUNDS(F, COLUMNS) __launch_bounds__(WARP *WARPS, (VecShape<F, COLUMNS>::RESIDENT))
#define PAIR_BOUNDS(F, G) __launch_bounds__(WARP *WARPS, (PairShape<F, G>::RESIDENT))
#else
#define VEC_BOUNDS(F, COLUMNS) \
    __launch_bounds__(WARP *WARPS) __attribute__((amdgpu_waves_per_eu((VecShape<F, COLUMNS>::BOUNDS.waves))))
#define PAIR_BOUNDS(F, G) __launch_bounds__(WARP *WARPS) __attribute__((amdgpu_waves_per_eu((PairShape<F, G>::WAVES))))
#endif

/// Two floats, which CDNA multiplies and adds at once. (Left to itself the compiler finds such pairs too, and keeps the
/// products of all columns until it has the second of each.)
#if defined(__HIP__)
typedef float FloatPair __attribute__((ext_vector_type(2)));
static __device__ __forceinline__ FloatPair pair(float a, float b) { return FloatPair{a, b}; }
#else
struct FloatPair {
    float v[2];
    __device__ __forceinline__ float operator[](unsigned i) const { return v[i]; }
    __device__ __forceinline__ void operator+=(FloatPair o) { v[0] += o.v[0], v[1] += o.v[1]; }
};
static __device__ __forceinline__ FloatPair pair(float a, float b) { return FloatPair{{a, b}}; }
static __device__ __forceinline__ FloatPair operator*(FloatPair a, FloatPair b) { return {{a.v[0] * b.v[0], a.v[1] * b.v[1]}}; }
static __device__ __forceinline__ FloatPair operator*(float a, FloatPair b) { return {{a * b.v[0], a * b.v[1]}}; }
#endif

/// Where the compiler moves no instruction across, so that few loads are under way at a time.
template <bool KEPT> static __device__ __forceinline__ void keep_order() {
#if defined(__HIP__)
    if (KEPT) __builtin_amdgcn_sched_barrier(0);
#endif
}

/// `number`, of which the compiler knows nothing: what depends on the lane alone would else stay in a dozen registers from
/// portion to portion.
static __device__ __forceinline__ unsigned computed_anew(unsigned number) {
#if defined(__HIP__)
    asm("" : "+v"(number));
#endif
    return number;
}

/// Successive rows of one operand, of which the last one is repeated where there are fewer than COUNT: a load that hits the
/// cache in place of a branch. Their addresses are the same in all lanes, and what is read lies within 4 GiB of them: AMD's
/// loads add 32 bits of a lane to a scalar by themselves.
template <unsigned COUNT> struct Lines {
    const uint8_t *line[COUNT];

    /// `there` lines, at least one, from `first` on, `bytes` apart.
    __device__ __forceinline__ Lines(const uint8_t *first, size_t bytes, unsigned there) {
        line[0] = first;
#pragma unroll
        for (unsigned i = 1; i < COUNT; ++i) line[i] = line[i - 1] + (i < there ? bytes : 0);
    }
};

/// What a portion of weights is multiplied with: P is the format's portions, whole or split.
template <class F, class P> struct ActivationPortion {
    static constexpr unsigned SCALES = P::ONE_SCALE ? 1 : P::GROUPS;
    static constexpr bool OFFSET = F::OFFSET && F::CENTRE == 0;

    /// Where it is in each row of activations.
    struct Place {
        unsigned halves[P::GROUPS], scales[SCALES];
        bool odd[SCALES];

        /// Of portion j of the block whose first half is number `first`; the scales of a row begin at `scales_from`.
        __device__ __forceinline__ Place(unsigned first, unsigned j, unsigned scales_from) {
#pragma unroll
            for (unsigned g = 0; g < P::GROUPS; ++g) {
                const unsigned half = first + P::half(j, g);
                halves[g] = ActivationRow::place(half);
                if (g >= SCALES) continue;
                scales[g] = scales_from + half / 2 * sizeof(ActivationScale);
                odd[g] = half % 2;
            }
        }
    };

    /// As it was read.
    struct Fetched {
        ActivationHalf halves[P::GROUPS];
        ActivationScale scales[SCALES];

        __device__ __forceinline__ void fetch(const uint8_t *row, const Place &place) {
#pragma unroll
            for (unsigned g = 0; g < P::GROUPS; ++g)
                __builtin_memcpy(&halves[g], __builtin_assume_aligned(row + place.halves[g], 16), sizeof(halves[g]));
#pragma unroll
            for (unsigned g = 0; g < SCALES; ++g)
                __builtin_memcpy(&scales[g], __builtin_assume_aligned(row + place.scales[g], 8), sizeof(scales[g]));
        }
    };

    const Fetched &fetched;
    float scale[SCALES];
    /// Where the integer products start: the centre is taken off exactly. In f32 two large numbers would cancel.
    int start[SCALES];
    /// What an offset of the weights is multiplied with.
    float total[SCALES];

    __device__ __forceinline__ ActivationPortion(const Fetched &fetched, const Place &place) : fetched(fetched) {
#pragma unroll
        for (unsigned g = 0; g < SCALES; ++g) {
            const ActivationScale &of = fetched.scales[g];
            int sum = place.odd[g] ? of.sum[1] : of.sum[0];
            if (P::GROUPS > SCALES) sum = of.sum[0] + of.sum[1];
            scale[g] = of.scale;
            start[g] = -F::CENTRE * sum;
            total[g] = OFFSET ? of.scale * sum : 0.0f;
        }
    }

    /// Adds the products with the rows' portions to their sums. Row by row within a word: no product waits for the one
    /// before it.
    template <unsigned ROWS>
    __device__ __forceinline__ void add(const Portion<P::GROUPS> (&w)[ROWS], FloatPair *sums) const {
        int dot[ROWS];
#pragma unroll
        for (unsigned g = 0; g < P::GROUPS; ++g) {
#pragma unroll
            for (unsigned i = 0; i < GROUP_WORDS; ++i) {
                const int x = fetched.halves[g].q[i];
#pragma unroll
                for (unsigned r = 0; r < ROWS; ++r) {
                    const int word = w[r].q[g][i];
                    dot[r] = i == 0 && g < SCALES ? dot4_from(start[g], word, x) : __dp4a(word, x, dot[r]);
                }
            }
            if (P::GROUPS > SCALES && g + 1 < P::GROUPS) continue;
            const unsigned own = g < SCALES ? g : 0;
#pragma unroll
            for (unsigned r = 0; r < ROWS; r += 2) {
                const FloatPair scales = pair(w[r].scale[own], w[r + 1].scale[own]);
                sums[r / 2] += scale[own] * (scales * pair(dot[r], dot[r + 1]));
                if (OFFSET) sums[r / 2] += total[own] * pair(w[r].offset[own], w[r + 1].offset[own]);
            }
        }
    }
};

/// Adds the products of rows of weights with rows of activations to a lane's sums, those of a column side by side. Lane
/// `lane` of `lanes` takes every portion whose number is its own modulo their number.
template <class F, class S, unsigned ROWS, unsigned COLUMNS>
static __device__ __forceinline__ void add_products(const Lines<ROWS> &weights, const Lines<COLUMNS> &x, unsigned segments,
                                                    unsigned lane, unsigned lanes, FloatPair (&sums)[ROWS * COLUMNS / 2]) {
    constexpr VecBounds BOUNDS = S::BOUNDS;
    constexpr unsigned FLIGHT = BOUNDS.flight < ROWS ? BOUNDS.flight : ROWS;
    typedef typename ChosenPortion<F, BOUNDS.taking>::Type P;
    typedef ActivationPortion<F, P> A;
    constexpr unsigned HALVES = 2 * F::SEGMENTS;  // of a block
    const unsigned portions = segments / F::SEGMENTS * P::OF_BLOCK;
    const unsigned scales_from = ActivationRow::room(segments) * SEGMENT;
    unsigned first = 0;
#pragma unroll 1
    do {
        const unsigned p = computed_anew(first + lane);
        if (p < portions) {
            const unsigned block = p / P::OF_BLOCK, j = p % P::OF_BLOCK;
            typename P::Packed packed[ROWS];
            Portion<P::GROUPS> w[ROWS];
#pragma unroll
            for (unsigned r = 0; r < FLIGHT; ++r) P::fetch(weights.line[r], block * F::BYTES, j, packed[r]);
#pragma unroll
            for (unsigned r = 0; r < ROWS; ++r) {
                keep_order<BOUNDS.ordered>();
                P::unpack(packed[r], j, w[r]);
                if (r + FLIGHT >= ROWS) continue;
                keep_order<BOUNDS.ordered>();
                P::fetch(weights.line[r + FLIGHT], block * F::BYTES, j, packed[r + FLIGHT]);
            }
            const typename A::Place place(block * HALVES, j, scales_from);
            keep_order<BOUNDS.ordered>();
#pragma unroll
            for (unsigned c = 0; c < COLUMNS; ++c) {
                typename A::Fetched fetched;
                fetched.fetch(x.line[c], place);
                A(fetched, place).template add<ROWS>(w, sums + c * ROWS / 2);
                keep_order<BOUNDS.ordered>();
            }
        }
        first += lanes;
    } while (first < portions);
}

/// The products of the ROWS of `n` rows of weights that are number `group`, of matrix number `matrix`, with `columns` rows of
/// activations. Calls `store(row, column, value)` in one thread for each. All threads of WARPS warps call it. S says how, as
/// VecShape does.
template <class F, class S, unsigned COLUMNS, unsigned ROWS, class T>
static __device__ __forceinline__ void multiply_rows(const void *w, size_t matrix, const void *x, size_t first_column,
                                                     unsigned group, unsigned n, unsigned segments, unsigned columns,
                                                     T store) {
    const unsigned first = group * ROWS;
    const size_t row_bytes = static_cast<size_t>(segments / F::SEGMENTS) * F::BYTES;
    const Lines<ROWS> weights(weight_row<F>(w, matrix * n + first, segments), row_bytes, n - first);
    const size_t column_bytes = static_cast<size_t>(ActivationRow::room(segments)) * ACTIVATION_BYTES;
    const Lines<COLUMNS> activations(ActivationRow(x, first_column, segments).integers, column_bytes, columns);
    constexpr unsigned RESULTS = ROWS * COLUMNS;
    FloatPair pairs[RESULTS / 2] = {};
    add_products<F, S, ROWS, COLUMNS>(weights, activations, segments, threadIdx.y * WARP + threadIdx.x, WARPS * WARP, pairs);
    float sums[RESULTS];
#pragma unroll
    for (unsigned i = 0; i < RESULTS; ++i) sums[i] = pairs[i / 2][i % 2];

    // Each row of lanes leaves its part of the results; then a thread adds up one result.
    static_assert(RESULTS <= WARP, "the first warp has a lane for each");
    constexpr unsigned PARTS = WARPS * WARP / LANE_ROW, EACH = RESULTS > LANE_ROW ? RESULTS / LANE_ROW : 1;
    struct alignas(4 * EACH) Found {
        float sum[EACH];
    };
    __shared__ Found parts[PARTS][RESULTS / EACH];
    row_sums(sums, threadIdx.x);
    constexpr unsigned SHARING = RESULTS < LANE_ROW ? LANE_ROW / RESULTS : 1;  // lanes of a row with the same sum
    if (threadIdx.x % SHARING == 0) {
        Found found;
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) found.sum[i] = sums[i];
        parts[threadIdx.y * (WARP / LANE_ROW) + threadIdx.x / LANE_ROW][threadIdx.x % LANE_ROW / SHARING] = found;
    }
    __syncthreads();
    if (threadIdx.y != 0 || threadIdx.x >= RESULTS) return;
    const unsigned row = first + threadIdx.x % ROWS, column = threadIdx.x / ROWS;
    if (row >= n || column >= columns) return;
    float sum = 0;
#pragma unroll
    for (unsigned part = 0; part < PARTS; ++part) sum += parts[part][threadIdx.x / EACH].sum[threadIdx.x % EACH];
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
    /// Bit i: whether number i is of the second format of a pair.
    unsigned second;
};
static_assert(sizeof(Weights) == 88, "as the host packs it");

/// The weights whose rows a workgroup multiplies.
struct Chosen {
    const void *w, *bias;
    void *out;
    unsigned n;
    /// Of their ROWS rows that are the workgroup's.
    unsigned group;
    unsigned number;
};

/// Workgroups take the rows of one matrix after the other, each beginning with one of its own.
template <unsigned ROWS> static __device__ __forceinline__ Chosen choose(const Weights &weights) {
    Chosen chosen = {weights.of[0], weights.bias[0], weights.out[0], weights.rows[0], blockIdx.x, 0};
    // By conditions: for a variable index nvcc copies the argument to local memory first.
    bool later = true;
#pragma unroll
    for (unsigned i = 1; i < MOST_WEIGHTS; ++i) {
        const unsigned groups = (weights.rows[i - 1] + ROWS - 1) / ROWS;
        later = later && chosen.group >= groups;
        chosen.group -= later ? groups : 0;
        chosen.n = later ? weights.rows[i] : chosen.n;
        chosen.w = later ? weights.of[i] : chosen.w;
        chosen.bias = later ? weights.bias[i] : chosen.bias;
        chosen.out = later ? weights.out[i] : chosen.out;
        chosen.number = later ? i : chosen.number;
    }
    return chosen;
}

template <class F, unsigned COLUMNS>
static __device__ __forceinline__ void multiply_chosen(const Chosen &chosen, const void *x, unsigned segments,
                                                       unsigned columns, int type) {
    typedef VecShape<F, COLUMNS> S;
    const void *bias = chosen.bias;
    void *out = chosen.out;
    const unsigned n = chosen.n;
    multiply_rows<F, S, COLUMNS, S::ROWS>(chosen.w, 0, x, 0, chosen.group, n, segments, columns,
                                          [&](unsigned row, unsigned column, float value) {
                                              // As the product and the addition round, one after the other.
                                              if (bias) value = round_float(value, type) + load_float(bias, row, type);
                                              store_float(out, static_cast<size_t>(column) * n + row, type, value);
                                          });
}

template <class F, unsigned COLUMNS>
static __device__ __forceinline__ void vec(const Weights &weights, const void *x, unsigned segments, unsigned columns,
                                           int type) {
    multiply_chosen<F, COLUMNS>(choose<VecShape<F, COLUMNS>::ROWS>(weights), x, segments, columns, type);
}

KERNELS_AWAIT

#define VEC(name, F, COLUMNS)                                                            \
    extern "C" __global__ VEC_BOUNDS(F, COLUMNS) void vec_##name##_##COLUMNS(            \
        Weights weights, const void *x, unsigned segments, unsigned columns, int type) { \
        await_previous();                                                                \
        vec<F, COLUMNS>(weights, x, segments, columns, type);                            \
    }
#define VECS(name, F) VEC(name, F, 1) VEC(name, F, 2) VEC(name, F, 4) VEC(name, F, 8)
FOR_EACH_FORMAT(VECS)

/// Each format as its own kernel has it, so that the results are the same bits.
#define PAIR(name, F, other, G)                                                                                           \
    extern "C" __global__ PAIR_BOUNDS(F, G) void pair_##name##_##other(Weights weights, const void *x, unsigned segments, \
                                                                       int type) {                                        \
        await_previous();                                                                                                 \
        static_assert(VecShape<F, 1>::ROWS == VecShape<G, 1>::ROWS, "workgroups count the rows of both");                 \
        const Chosen chosen = choose<VecShape<F, 1>::ROWS>(weights);                                                      \
        if (weights.second >> chosen.number & 1)                                                                          \
            multiply_chosen<G, 1>(chosen, x, segments, 1, type);                                                          \
        else                                                                                                              \
            multiply_chosen<F, 1>(chosen, x, segments, 1, type);                                                          \
    }
FOR_EACH_PAIR(PAIR)

// ---- moe --------------------------------------------------------------------------------------------------------

#include "experts.h"

/// Rows of the weights of a workgroup.
constexpr unsigned MOE_ROWS = WARPS;

/// Registers as they come.
struct MoeShape {
    static constexpr VecBounds BOUNDS = {0, WHOLE, MOE_ROWS, false};
};

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
        multiply_rows<F, MoeShape, 1, MOE_ROWS>(w, task.expert, x, task.input, blockIdx.x, n, segments, 1,
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
        await_previous();                                                                                            \
        moe<F>(w, x, out, tasks, n, segments);                                                                       \
    }
FOR_EACH_FORMAT(MOE)
