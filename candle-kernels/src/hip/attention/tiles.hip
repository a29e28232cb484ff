// Attention of many rows, on matrix cores: f16 and bf16 on CDNA 2 and 3, RDNA 3 and 4, f32 on CDNA. On other targets the
// module has but the last row of this table. Names and geometry: src/rocm/attention.rs.
//
//   attention_tiles_<t>_<width>    heads of up to `width` elements; a workgroup has four waves of 16 rows each
//   attention_combine_<t>          joins the pieces of a split context (combine.h)
//
// The products are computed transposed, keys x rows and values x rows: a lane then has results of ONE row of q, and the
// largest score, the sum of powers and the factor of the online softmax are one register each. The scores, once they are
// powers, are the second product's right operand without a detour through LDS (`operand_of` of matrix_cores.h).
//
// A step takes 32 keys, or 16: they lie in LDS as read, their values transposed, so that both operands are runs along the
// summed dimension. q stays in registers where these suffice, else it is read again from the cache at each step.
#include "combine.h"
#include "matrix_cores.h"

#if defined(MATRIX_CORES_MFMA) || defined(MATRIX_CORES_WMMA)

constexpr unsigned WAVES = 4;
constexpr unsigned LANES = CANDLE_WAVE_SIZE;
constexpr unsigned THREADS = WAVES * LANES;
constexpr unsigned SIZE = 16;
/// Keys of a step. Of f32 fewer where the heads are wide: all workgroups of a compute unit share 64 KiB of LDS.
template <class T, unsigned WIDTH> constexpr unsigned KEYS = sizeof(T) == 4 && WIDTH > 64 ? 16 : 32;

/// What is read at once, 16 bytes, as the bits of its elements.
template <unsigned BYTES> struct ReadBits;
template <> struct ReadBits<2> { typedef uint16_t type __attribute__((ext_vector_type(8))); };
template <> struct ReadBits<4> { typedef uint32_t type __attribute__((ext_vector_type(4))); };

/// Reads that follow stay behind: with all of them in flight registers run out.
static __device__ __forceinline__ void pause() { __builtin_amdgcn_sched_barrier(0); }

/// The largest and the sum over the lanes that have results of one row: those with the same lane % 16.
template <class Join> static __device__ __forceinline__ float over_column(float value, Join join) {
#pragma unroll
    for (unsigned distance = SIZE; distance < LANES; distance *= 2) {
        const int bits = __builtin_bit_cast(int, value), lane = candle_compat::lane() ^ distance;
        value = join(value, __builtin_bit_cast(float, __builtin_amdgcn_ds_bpermute(lane * 4, bits)));
    }
    return value;
}

/// What multiplies values with the powers of a tile of 16 keys: one instruction, or, of f32, the four of a chunk.
template <class T> struct SecondProduct {
    typedef MatrixCores<T> Product;
    typedef typename Product::Fragment Operand;
    /// The first of the keys whose values are this lane's.
    static __device__ __forceinline__ unsigned first_step(unsigned lane) { return Product::first_step(lane); }
    static __device__ __forceinline__ Operand of_powers(unsigned lane, typename Product::Sums powers) {
        return Product::operand_of(lane, powers);
    }
};
#if defined(MATRIX_CORES_MFMA)
template <> struct SecondProduct<float> {
    typedef MatrixChunk<float> Product, Operand;
    static __device__ __forceinline__ unsigned first_step(unsigned lane) {
        return MatrixCores<float>::first_step(lane) * Product::INSTRUCTIONS;
    }
    /// A lane's powers are those of four neighbouring keys, as a chunk wants them.
    static __device__ __forceinline__ Operand of_powers(unsigned, MatrixCores<float>::Sums powers) {
        return __builtin_bit_cast(Operand, powers);
    }
};
#endif

template <class T, unsigned WIDTH>
static __device__ __forceinline__ void attention_tiles(const T *q, const T *k, const T *v, const T *mask, T *out,
                                                       float *partials, const AttentionArgs &args) {
    typedef MatrixCores<T> Cores;
    typedef MatrixChunk<T> Chunk;
    typedef typename Cores::Sums Sums;
    typedef SecondProduct<T> Second;
    typedef typename ReadBits<sizeof(T)>::type Bits;
    constexpr unsigned READ = 16 / sizeof(T), READS = WIDTH / READ, KEYS = ::KEYS<T, WIDTH>;
    constexpr unsigned KEY_TILES = KEYS / SIZE, VALUE_TILES = WIDTH / SIZE, RUNS = WIDTH / Chunk::DEPTH;
    // Lines of LDS are 16 bytes longer than what they hold, which spreads them over the banks. Of f32 heads of 256 a compute
    // unit then had room for one workgroup: their lines exchange their 16-byte places instead, and two fit.
    constexpr bool PERMUTED = sizeof(T) == 4 && WIDTH == 256;
    constexpr unsigned KEY_LINE = WIDTH + (PERMUTED ? 0 : READ), VALUE_LINE = KEYS + (PERMUTED ? 0 : READ);
    const auto in_key = [](unsigned key, unsigned element) { return PERMUTED ? element ^ key % 8 * READ : element; };
    const auto in_value = [](unsigned element, unsigned key) { return PERMUTED ? key ^ element / 2 % 4 * READ : key; };
    // q takes RUNS * sizeof(Chunk) / 4 registers beside the VALUE_TILES * RESULTS of the sums.
    constexpr bool KEEPS_Q = RUNS * sizeof(Chunk) / 4 + VALUE_TILES * Cores::RESULTS <= 160;

    alignas(16) __shared__ T keys[KEYS][KEY_LINE];
    alignas(16) __shared__ T values[WIDTH][VALUE_LINE];

    const unsigned lane = threadIdx.x % LANES, wave = threadIdx.x / LANES;
    const auto of_key = [&](unsigned key, unsigned run) {
        if constexpr (PERMUTED) {
            // Places are exchanged within the 128 bytes of a pair of runs: so the compiler sees what all pairs share.
            const unsigned place = in_key(key, run % 2 * Chunk::DEPTH + Second::first_step(lane));
            const T *pair = &keys[key][run / 2 * (2 * Chunk::DEPTH)];
            return __builtin_bit_cast(Chunk, *reinterpret_cast<const Bits *>(pair + place));
        } else {
            return Chunk::load(lane, &keys[key][run * Chunk::DEPTH]);
        }
    };
    const AttentionPlace at = place_of(args);
    const uint32_t wave_row = at.first_row + wave * SIZE, number = wave_row + Cores::line(lane);
    // Rows beyond the last one repeat it and are not stored.
    const AttentionRow row(args, at, min(number, at.rows - 1));
    const T *q_row = row.in_q(args, at, q);
    const T *mask_row = mask ? row.in_mask(args, at, mask) : nullptr;
    const uint32_t visible = min(row.visible, at.end_key);
    // Keys that the workgroup's last row sees, the wave's last one, and the wave's first one, which sees the fewest.
    const auto seen = [&](uint32_t which) { return min(AttentionRow(args, at, min(which, at.rows - 1)).visible, at.end_key); };
    const uint32_t end_key = seen(at.first_row + WAVES * SIZE - 1);
    const uint32_t wave_end = wave_row < at.rows ? seen(wave_row + SIZE - 1) : 0;
    const uint32_t all_see = seen(wave_row);

    // The last element of a row of v that a read begins with: a row that ends within a read is padded to it.
    const uint32_t last_value = (args.value_width - 1) / READ * READ;
    // Reads beyond the width or the context bring what lies at their end once more, which needs no branch: keys beyond the
    // width are 0 in LDS, scores beyond the context count for nothing, values beyond the width are not stored.
    const auto load_q = [&](const T *q_row, unsigned run) {
        Chunk chunk;
        const unsigned first = run * Chunk::DEPTH + Cores::first_step(lane) * Chunk::INSTRUCTIONS;
#pragma unroll
        for (unsigned i = 0; i < Chunk::ELEMENTS / READ; ++i) {
            const Bits bits = *reinterpret_cast<const Bits *>(q_row + min(first + i * READ, args.width - READ));
            __builtin_memcpy(reinterpret_cast<Bits *>(chunk.part) + i, &bits, sizeof(bits));
        }
        return chunk;
    };
    Chunk kept_q[KEEPS_Q ? RUNS : 1];
    if constexpr (KEEPS_Q) {
#pragma unroll
        for (unsigned run = 0; run < RUNS; ++run) kept_q[run] = load_q(q_row, run);
    }

    Sums sums[VALUE_TILES];
#pragma unroll
    for (unsigned i = 0; i < VALUE_TILES; ++i) sums[i] = Sums{};
    float largest = NEVER, powers = 0;

    const T *all_keys = k + at.batch * args.k_batch + at.key_head * args.k_head;
    const T *all_values = v + at.batch * args.v_batch + at.key_head * args.v_head;
    for (uint32_t first = at.first_key; first < end_key; first += KEYS) {
        const uint32_t count = min(KEYS, end_key - first);
        // Keys, 16 bytes at a time.
#pragma unroll
        for (unsigned i = 0; i < (KEYS * READS + THREADS - 1) / THREADS; ++i) {
            const unsigned which = i * THREADS + threadIdx.x, key = which / READS, element = which % READS * READ;
            if (KEYS * READS % THREADS != 0 && key >= KEYS) break;
            const T *from = all_keys + (first + min(key, count - 1)) * args.k_position + min(element, args.width - READ);
            const Bits bits = *reinterpret_cast<const Bits *>(from);
            *reinterpret_cast<Bits *>(&keys[key][in_key(key, element)]) = element < args.width ? bits : Bits{};
        }
        pause();
        // Values, transposed word by word: of 16 bits each two keys' at once. Neighbouring lanes have neighbouring words of a
        // line, which lie in different banks.
        constexpr unsigned WORDS = KEYS * sizeof(T) / 4;
#pragma unroll
        for (unsigned i = 0; i < (WORDS * READS + THREADS - 1) / THREADS; ++i) {
            const unsigned which = i * THREADS + threadIdx.x, key = which % WORDS * (KEYS / WORDS);
            const unsigned element = which / WORDS * READ;
            if (WORDS * READS % THREADS != 0 && element >= WIDTH) break;
            const T *from = all_values + first * args.v_position + min(element, last_value);
            const Bits low = *reinterpret_cast<const Bits *>(from + min(key, count - 1) * args.v_position);
            if constexpr (sizeof(T) == 4) {
#pragma unroll
                for (unsigned j = 0; j < READ; ++j) *reinterpret_cast<uint32_t *>(&values[element + j][in_value(element + j, key)]) = low[j];
            } else {
                const Bits high = *reinterpret_cast<const Bits *>(from + min(key + 1, count - 1) * args.v_position);
#pragma unroll
                for (unsigned j = 0; j < READ; ++j)
                    *reinterpret_cast<uint32_t *>(&values[element + j][key]) = low[j] | uint32_t(high[j]) << 16;
            }
        }
        __syncthreads();

        if (first < wave_end) {
            // The compiler must not know that these are the same addresses at each step: it would keep them all.
            const T *q_again = q_row;
            asm volatile("" : "+v"(q_again));
            Sums scores[KEY_TILES];
#pragma unroll
            for (unsigned i = 0; i < KEY_TILES; ++i) scores[i] = Sums{};
#pragma unroll
            for (unsigned run = 0; run < RUNS; ++run) {
                const Chunk of_q = KEEPS_Q ? kept_q[KEEPS_Q ? run : 0] : load_q(q_again, run);
#pragma unroll
                for (unsigned i = 0; i < KEY_TILES; ++i) {
                    const unsigned key = i * SIZE + Cores::line(lane);
                    scores[i] = Chunk::multiply(of_key(key, run), of_q, scores[i]);
                }
                if (!KEEPS_Q || run % 2 == 1) pause();
            }

            float step_largest = NEVER;
#pragma unroll
            for (unsigned i = 0; i < KEY_TILES; ++i)
#pragma unroll
                for (unsigned r = 0; r < Cores::RESULTS; ++r) scores[i][r] *= args.scale;
            // One branch for all: products that wait behind a branch keep their operands in registers.
            if (args.cap != 0.0f) {
#pragma unroll
                for (unsigned i = 0; i < KEY_TILES; ++i)
#pragma unroll
                    for (unsigned r = 0; r < Cores::RESULTS; ++r) scores[i][r] = capped(args, scores[i][r]);
            }
            if (mask || first + KEYS > all_see) {
#pragma unroll
                for (unsigned i = 0; i < KEY_TILES; ++i)
#pragma unroll
                    for (unsigned r = 0; r < Cores::RESULTS; ++r) {
                        const uint32_t key = first + i * SIZE + Cores::row(lane, r);
                        float score = scores[i][r];
                        if (mask && key < visible) score += static_cast<float>(mask_row[key * args.mask_key]) * LOG2_E;
                        scores[i][r] = key < visible ? score : NEVER;
                    }
            }
#pragma unroll
            for (unsigned i = 0; i < KEY_TILES; ++i)
#pragma unroll
                for (unsigned r = 0; r < Cores::RESULTS; ++r) step_largest = fmaxf(step_largest, scores[i][r]);
            step_largest = over_column(step_largest, [](float a, float b) { return fmaxf(a, b); });

            const float now = fmaxf(largest, step_largest), base = base_of(now);
            // A wave whose rows all keep their largest score keeps its sums. The test must be uniform: matrix cores follow.
            if (__builtin_amdgcn_ballot_w64(now > largest) != 0) {
                const float shrink = exp2_of(largest - base);
                powers *= shrink;
#pragma unroll
                for (unsigned i = 0; i < VALUE_TILES; ++i) sums[i] *= shrink;
                largest = now;
            }
#pragma unroll
            for (unsigned i = 0; i < KEY_TILES; ++i) {
#pragma unroll
                for (unsigned r = 0; r < Cores::RESULTS; ++r) {
                    scores[i][r] = exp2_of(scores[i][r] - (base - POWERS_EXPONENT<T>));
                    powers += scores[i][r];
                }
                const typename Second::Operand weights = Second::of_powers(lane, scores[i]);
#pragma unroll
                for (unsigned tile = 0; tile < VALUE_TILES; ++tile) {
                    typename Second::Operand line;
                    const T *from = &values[tile * SIZE + Cores::line(lane)][i * SIZE + in_value(Cores::line(lane), Second::first_step(lane))];
                    __builtin_memcpy(&line, __builtin_assume_aligned(from, sizeof(line) < 16 ? 8 : 16), sizeof(line));
                    sums[tile] = Second::Product::multiply(line, weights, sums[tile]);
                    if (tile % 4 == 3) pause();
                }
            }
        }
        __syncthreads();
    }

    powers = over_column(powers, [](float a, float b) { return a + b; });
    if (number >= at.rows) return;
    const float factor = args.splits == 1 ? 1.0f / powers : 1.0f;
    T *to = out + row.number(args, at) * args.value_width;
    float *partial = partial_of(args, partials, row.number(args, at), at.split);
#pragma unroll
    for (unsigned tile = 0; tile < VALUE_TILES; ++tile)
#pragma unroll
        for (unsigned r = 0; r < Cores::RESULTS; ++r) {
            const uint32_t element = tile * SIZE + Cores::row(lane, r);
            if (element >= args.value_width) continue;
            if (args.splits == 1) to[element] = static_cast<T>(sums[tile][r] * factor);
            else partial[2 + element] = sums[tile][r];
        }
    if (args.splits > 1 && lane < SIZE) {
        partial[0] = largest;
        partial[1] = powers;
    }
}

#define TILES_KERNEL(T, NAME, WIDTH, BOUNDS)                                                                      \
    extern "C" __global__ void __launch_bounds__(THREADS) BOUNDS attention_tiles_##NAME##_##WIDTH(                \
        const T *q, const T *k, const T *v, const T *mask, T *out, float *partials, AttentionArgs args) {         \
        attention_tiles<T, WIDTH>(q, k, v, mask, out, partials, args.now());                                      \
    }

#define KERNELS(T, NAME, BOUNDS)                                                                                  \
    TILES_KERNEL(T, NAME, 64, BOUNDS) TILES_KERNEL(T, NAME, 96, BOUNDS)                                           \
    TILES_KERNEL(T, NAME, 128, BOUNDS) TILES_KERNEL(T, NAME, 256, BOUNDS)

KERNELS(f16, f16, )
KERNELS(bf16, bf16, )
#if defined(MATRIX_CORES_MFMA)
// 256 registers suffice: see matrix_cores.h.
KERNELS(float, f32, __attribute__((amdgpu_waves_per_eu(2))))
COMBINE_KERNEL(float, f32)
#endif

#endif

COMBINE_KERNEL(f16, f16)
COMBINE_KERNEL(bf16, bf16)
