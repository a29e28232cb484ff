// Attention of few rows at a time, by fused multiply-adds: decoding on every target. Names and geometry: src/rocm/attention.rs.
//
//   attention_rows_<t>_<chunks>_<rows>   up to `rows` rows share each load of a key or value; heads of up to 8 * chunks
//                                        pieces of 16 bytes
//   attention_combine_<t>                joins the pieces of a split context (combine.h)
//
// A warp takes 32 keys at a time, in eight steps of four. In a step each octet of lanes has one key: lane c of it loads
// pieces c, c + 8, ... of that key's row, 128 neighbouring bytes an octet, and multiplies them with its pieces of q, which
// stay in registers. octet_sums then gives each lane the score of one of the 32 keys, so that softmax costs a warp as
// much as one key would. Values are read the same way; lane c of an octet has the weight for step c.
//
// The warps of a workgroup either share their rows and take turns with the keys (one long row), or have rows of their own
// and meet in the cache (`tile_rows` says which); LDS holds what they found in the end.
#include "combine.h"
#include "lanes.h"
#include "pairs.h"

constexpr unsigned WARPS = 4;
constexpr unsigned STEPS = 8;
constexpr unsigned KEYS = WARP;
constexpr unsigned LANES = CANDLE_WAVE_SIZE;
/// Lanes that share one key.
constexpr unsigned OCTET = 8;

/// 16 bytes of a row.
template <class T> struct alignas(16) Piece {
    static constexpr unsigned SIZE = 16 / sizeof(T);
    T element[SIZE];

    __device__ __forceinline__ float operator[](unsigned i) const { return static_cast<float>(element[i]); }
};

/// Steps whose loads are issued before the first of them is used. One row has registers for 16 loads of 16 bytes in each lane:
/// a context of some hundreds of keys is one step of 32 keys for each warp, which waits for memory as often as its loads come
/// in batches (docs/performance.md). With several rows the compiler spaces them, up to 8 at a time.
template <unsigned CHUNKS, unsigned ROWS> struct Batch {
    static constexpr unsigned MOST = ROWS == 1 ? 16 / CHUNKS : 1;
    static constexpr unsigned LENGTH = MOST < STEPS ? MOST : STEPS;
    static_assert(STEPS % LENGTH == 0, "whole batches");
};

/// What is loaded before it stays before it, and what behind it behind: with all loads in flight at once registers run out.
static __device__ __forceinline__ void fence_loads() {
#if defined(__HIP__)
    __builtin_amdgcn_sched_barrier(0);
#else
    asm volatile("" ::: "memory");
#endif
}

/// Behind the loads of a batch.
template <unsigned ROWS> static __device__ __forceinline__ void end_loads() {
    if constexpr (ROWS == 1) fence_loads();
}

/// Behind a batch, after which so many steps are done.
template <unsigned CHUNKS, unsigned ROWS> static __device__ __forceinline__ void end_batch(unsigned steps) {
#if defined(__HIP__)
    if (steps * CHUNKS % 8 == 0) fence_loads();
#else
    if constexpr (ROWS == 1) fence_loads();
#endif
}

template <class T> static __device__ __forceinline__ float dot(const Piece<T> &a, const Piece<T> &b, float sum) {
#pragma unroll
    for (unsigned i = 0; i < Piece<T>::SIZE; ++i) sum = fmaf(a[i], b[i], sum);
    return sum;
}

#if HAS_DOT2
template <> __device__ __forceinline__ float dot<f16>(const Piece<f16> &a, const Piece<f16> &b, float sum) {
    struct Pairs { HalfPair pair[4]; };
    const Pairs left = __builtin_bit_cast(Pairs, a), right = __builtin_bit_cast(Pairs, b);
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) sum = dot2(left.pair[i], right.pair[i], sum);
    return sum;
}
#endif

/// What a warp knows of one of its rows while it walks along the keys.
template <class T, unsigned CHUNKS> struct Running {
    Piece<T> q[CHUNKS];
    float sums[CHUNKS][Piece<T>::SIZE];
    /// The largest score, the same in all lanes; this lane's share of the powers' sum; this lane's weight.
    float largest, powers, weight;
};

/// Adds the values of steps FIRST to END, weighted; `values` has those from FIRST on.
template <unsigned FIRST, unsigned END, class T, unsigned CHUNKS, unsigned ROWS>
static __device__ __forceinline__ void add_values(Running<T, CHUNKS> (&rows)[ROWS], const Piece<T> (*values)[CHUNKS]) {
    if constexpr (FIRST < END) {
#pragma unroll
        for (unsigned r = 0; r < ROWS; ++r) {
            const float weight = from_octet<FIRST>(rows[r].weight);
#pragma unroll
            for (unsigned c = 0; c < CHUNKS; ++c)
#pragma unroll
                for (unsigned i = 0; i < Piece<T>::SIZE; ++i)
                    rows[r].sums[c][i] = fmaf(weight, values[0][c][i], rows[r].sums[c][i]);
        }
        add_values<FIRST + 1, END>(rows, values + 1);
    }
}

/// Calls `batch(FIRST)` for the first step of each batch of LENGTH, as a type.
template <unsigned N> struct Step { static constexpr unsigned NUMBER = N; };
template <unsigned LENGTH, unsigned FIRST = 0, class B> static __device__ __forceinline__ void for_each_batch(B batch) {
    if constexpr (FIRST < STEPS) {
        batch(Step<FIRST>());
        for_each_batch<LENGTH, FIRST + LENGTH>(batch);
    }
}

/// Where lane `lane` finds its pieces. Lanes without a piece read the last one.
template <class T, unsigned CHUNKS> struct Pieces {
    /// In bytes from the start of the row.
    uint32_t place[CHUNKS];
    bool mine[CHUNKS];

    __device__ __forceinline__ Pieces(unsigned lane, uint32_t width) {
        // A row that ends within a piece is padded to it.
        const unsigned count = (width + Piece<T>::SIZE - 1) / Piece<T>::SIZE;
#pragma unroll
        for (unsigned c = 0; c < CHUNKS; ++c) {
            const unsigned number = c * OCTET + lane % OCTET;
            mine[c] = number < count;
            place[c] = min(number, count - 1) * sizeof(Piece<T>);
        }
    }

    /// Loads this lane's pieces of the row `row` bytes behind `base`.
    __device__ __forceinline__ void load(Piece<T> (&to)[CHUNKS], const T *base, uint32_t row) const {
        const char *bytes = reinterpret_cast<const char *>(base);
#pragma unroll
        for (unsigned c = 0; c < CHUNKS; ++c) to[c] = *reinterpret_cast<const Piece<T> *>(bytes + (row + place[c]));
    }
};

template <class T, unsigned CHUNKS, unsigned ROWS>
static __device__ __forceinline__ void attention_rows(const T *q, const T *k, const T *v, const T *mask, T *out,
                                                      float *partials, const AttentionArgs &args) {
    constexpr unsigned SIZE = Piece<T>::SIZE, LDS_WIDTH = CHUNKS * OCTET * SIZE, BATCH = Batch<CHUNKS, ROWS>::LENGTH;
    __shared__ float found[WARPS][ROWS][LDS_WIDTH];
    __shared__ float found_largest[WARPS][ROWS], found_powers[WARPS][ROWS];

    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const AttentionPlace at = place_of(args);
    // Warps that share their rows.
    const unsigned sharing = args.tile_rows == ROWS ? WARPS : 1;
    const uint32_t first_row = at.first_row + warp / sharing * ROWS;
    const uint32_t last_row = at.rows - 1;

    const Pieces<T, CHUNKS> of_q(lane, args.width), of_v(lane, args.value_width);
    Running<T, CHUNKS> rows[ROWS];
    uint32_t visible[ROWS], end_key = 0;
    const T *mask_row[ROWS];
#pragma unroll
    for (unsigned r = 0; r < ROWS; ++r) {
        // Rows beyond the last one repeat it and are not stored.
        const AttentionRow row(args, at, min(first_row + r, last_row));
        of_q.load(rows[r].q, row.in_q(args, at, q), 0);
        const Piece<T> zeros = {};
#pragma unroll
        for (unsigned c = 0; c < CHUNKS; ++c) {
            if (!of_q.mine[c]) rows[r].q[c] = zeros;
#pragma unroll
            for (unsigned i = 0; i < SIZE; ++i) rows[r].sums[c][i] = 0;
        }
        rows[r].largest = NEVER;
        rows[r].powers = 0;
        visible[r] = min(row.visible, at.end_key);
        end_key = max(end_key, visible[r]);
        mask_row[r] = mask ? row.in_mask(args, at, mask) : nullptr;
    }
    if (first_row > last_row) end_key = 0;

    // The wave's first key is uniform, and where a lane's key lies from there takes 32 bits: a load then has its base in
    // scalar registers. The second half of a wave is another warp, with keys of its own where the warps share their rows.
    const unsigned wave = uniform(threadIdx.x / LANES), half = threadIdx.x % LANES / WARP;
    const bool shares_rows = sharing == WARPS;
    const uint32_t own_keys = shares_rows ? half * KEYS : 0, round = shares_rows ? WARPS * KEYS : KEYS;
    const uint32_t k_step = args.k_position * sizeof(T), v_step = args.v_position * sizeof(T);
    const uint32_t first_in_octet = own_keys + lane / OCTET;
    end_key = wave_largest(end_key);
    for (uint32_t first = at.first_key + (shares_rows ? wave * LANES : 0); first < end_key; first += round) {
        // The key of each step; beyond the end the last one again, with a weight of 0.
        const uint32_t last = end_key - 1 - first;
        const T *keys = k + at.batch * args.k_batch + at.key_head * args.k_head + first * args.k_position;
        const T *values = v + at.batch * args.v_batch + at.key_head * args.v_head + first * args.v_position;
        const auto row_of = [&](unsigned step, uint32_t bytes) {
            return min(first_in_octet * bytes + step * (KEYS / STEPS) * bytes, last * bytes);
        };

        float shares[ROWS][STEPS];
#pragma unroll
        for (unsigned step = 0; step < STEPS; step += BATCH) {
            Piece<T> key[BATCH][CHUNKS];
#pragma unroll
            for (unsigned b = 0; b < BATCH; ++b) of_q.load(key[b], keys, row_of(step + b, k_step));
            end_loads<ROWS>();
#pragma unroll
            for (unsigned b = 0; b < BATCH; ++b)
#pragma unroll
                for (unsigned r = 0; r < ROWS; ++r) {
                    float sum = 0;
#pragma unroll
                    for (unsigned c = 0; c < CHUNKS; ++c) sum = dot<T>(rows[r].q[c], key[b][c], sum);
                    shares[r][step + b] = sum;
                }
            end_batch<CHUNKS, ROWS>(step + BATCH);
        }

        // For all rows before anything branches: sums that wait behind a branch keep the keys in registers.
        float score[ROWS];
#pragma unroll
        for (unsigned r = 0; r < ROWS; ++r) score[r] = octet_sums(shares[r], lane);

        const uint32_t own_key = first + own_keys + lane % OCTET * (KEYS / STEPS) + lane / OCTET;
#pragma unroll
        for (unsigned r = 0; r < ROWS; ++r) {
            Running<T, CHUNKS> &row = rows[r];
            score[r] *= args.scale;
            if (args.cap != 0.0f) score[r] = capped(args, score[r]);
            if (own_key < visible[r]) {
                if (mask) score[r] += static_cast<float>(mask_row[r][own_key * args.mask_key]) * LOG2_E;
            } else {
                score[r] = NEVER;
            }
            const float largest = fmaxf(row.largest, warp_largest(score[r])), base = base_of(largest);
            row.weight = exp2_of(score[r] - base);
            if (largest > row.largest) {
                const float shrink = exp2_of(row.largest - base);
                row.powers *= shrink;
#pragma unroll
                for (unsigned c = 0; c < CHUNKS; ++c)
#pragma unroll
                    for (unsigned i = 0; i < SIZE; ++i) row.sums[c][i] *= shrink;
                row.largest = largest;
            }
            row.powers += row.weight;
        }

        for_each_batch<BATCH>([&](auto step) {
            constexpr unsigned FIRST = decltype(step)::NUMBER;
            Piece<T> value[BATCH][CHUNKS];
#pragma unroll
            for (unsigned b = 0; b < BATCH; ++b) of_v.load(value[b], values, row_of(FIRST + b, v_step));
            end_loads<ROWS>();
            add_values<FIRST, FIRST + BATCH>(rows, value);
            end_batch<CHUNKS, ROWS>(FIRST + BATCH);
        });
    }

    // The four octets of a warp add up what each has of a piece; each leaves with a quarter of its elements.
#pragma unroll
    for (unsigned r = 0; r < ROWS; ++r) {
        const bool bit4 = lane & 16, bit3 = lane & 8;
#pragma unroll
        for (unsigned c = 0; c < CHUNKS; ++c) {
            float half[SIZE / 2];
            const float(&sums)[SIZE] = rows[r].sums[c];
#pragma unroll
            for (unsigned i = 0; i < SIZE / 2; ++i)
                half[i] = chosen(bit4, sums[i + SIZE / 2], sums[i]) + from_xor<16>(chosen(bit4, sums[i], sums[i + SIZE / 2]));
            float *to = &found[warp][r][(c * OCTET + lane % OCTET) * SIZE + lane / OCTET * (SIZE / 4)];
            // lane / OCTET is 2 * bit4 + bit3: the quarters lie in order.
#pragma unroll
            for (unsigned i = 0; i < SIZE / 4; ++i)
                to[i] = chosen(bit3, half[i + SIZE / 4], half[i]) + from_xor<8>(chosen(bit3, half[i], half[i + SIZE / 4]));
        }
        const float powers = warp_sum(rows[r].powers);
        if (lane == 0) {
            found_largest[warp][r] = rows[r].largest;
            found_powers[warp][r] = powers;
        }
    }
    __syncthreads();

    // What the sharing warps found of each row, joined.
#pragma unroll
    for (unsigned r = 0; r < ROWS; ++r) {
        for (unsigned first_warp = 0; first_warp < WARPS; first_warp += sharing) {
            const uint32_t number = at.first_row + first_warp / sharing * ROWS + r;
            if (number > last_row) break;
            const AttentionRow row(args, at, number);
            float largest = found_largest[first_warp][r];
            for (unsigned w = 1; w < sharing; ++w) largest = fmaxf(largest, found_largest[first_warp + w][r]);
            const float base = base_of(largest);
            float powers = 0;
            for (unsigned w = 0; w < sharing; ++w)
                powers += found_powers[first_warp + w][r] * exp2_of(found_largest[first_warp + w][r] - base);
            const float factor = args.splits == 1 ? 1.0f / powers : 1.0f;
            float *partial = partial_of(args, partials, row.number(args, at), at.split);
            T *to = out + row.number(args, at) * args.value_width;
            for (uint32_t i = threadIdx.x; i < args.value_width; i += WARPS * WARP) {
                float sum = 0;
                for (unsigned w = 0; w < sharing; ++w)
                    sum += found[first_warp + w][r][i] * exp2_of(found_largest[first_warp + w][r] - base);
                sum *= factor;
                if (args.splits > 1) {
                    partial[2 + i] = sum;
                    continue;
                }
                const T value = static_cast<T>(sum);
                to[i] = value;
                if (args.int8)
                    leave_int8(args.int8, at.batch, row.head, args.key_heads * args.group, args.value_width, i,
                               static_cast<float>(value));
            }
            if (args.splits > 1 && threadIdx.x == 0) {
                partial[0] = largest;
                partial[1] = powers;
            }
        }
    }
}

#if defined(__NVCC__)
// Two workgroups of the kernels for long heads and two rows: left alone, ptxas makes room for three and spills.
#define ROWS_BOUNDS(CHUNKS, ROWS) __launch_bounds__(WARPS *WARP, (CHUNKS == 4 && ROWS == 2 ? 2 : 0))
#else
#define ROWS_BOUNDS(CHUNKS, ROWS) __launch_bounds__(WARPS *WARP)
#endif

KERNELS_AWAIT

#define ROWS_KERNEL(T, NAME, CHUNKS, ROWS)                                                                        \
    extern "C" __global__ void ROWS_BOUNDS(CHUNKS, ROWS) attention_rows_##NAME##_##CHUNKS##_##ROWS(               \
        const T *q, const T *k, const T *v, const T *mask, T *out, float *partials, AttentionArgs args) {         \
        await_previous();                                                                                         \
        attention_rows<T, CHUNKS, ROWS>(q, k, v, mask, out, partials, args.now());                                \
    }

// As many rows as registers allow: sums and q of 8 pieces.
#define KERNELS(T, NAME)                                                                                          \
    ROWS_KERNEL(T, NAME, 1, 1) ROWS_KERNEL(T, NAME, 1, 4)                                                         \
    ROWS_KERNEL(T, NAME, 2, 1) ROWS_KERNEL(T, NAME, 2, 4)                                                         \
    ROWS_KERNEL(T, NAME, 4, 1) ROWS_KERNEL(T, NAME, 4, 2)                                                         \
    ROWS_KERNEL(T, NAME, 8, 1)

KERNELS(float, f32)
KERNELS(f16, f16)
KERNELS(bf16, bf16)

COMBINE_KERNEL(float, f32)
COMBINE_KERNEL(f16, f16)
COMBINE_KERNEL(bf16, bf16)
