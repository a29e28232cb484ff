// Attention of many rows in f32 by fused multiply-adds, where there are no matrix cores for it. Names and geometry:
// src/rocm/attention.rs.
//
//   attention_fma_f32_<width>    heads of up to `width` elements; a workgroup has 64 rows, 32 where heads are wider than 128
//   attention_combine_f32        joins the pieces of a split context (combine.h)
//
// A step takes 64 keys. Both products go through LDS in pieces of 16 steps, the next one's bytes on their way in registers
// meanwhile: q and k element by element, their lines side by side; the powers key by key, rows side by side, and values as they
// are. A thread has squares of four rows by four keys, then of the same rows by four elements: what the online softmax multiplies
// sums with it has itself, and the largest score of a row takes four exchanges among 16 lanes.
#include "combine.h"

constexpr unsigned THREADS = 128;
/// Keys of a step.
constexpr unsigned KEYS = 64;
/// Elements of q and k, then keys of values, that lie in LDS at a time.
constexpr unsigned DEPTH = 16;
/// Rows and columns of a square.
constexpr unsigned SIDE = 4;
/// Threads with the same rows, lanes side by side; threads with the same columns.
constexpr unsigned COLUMN_THREADS = 16, ROW_THREADS = THREADS / COLUMN_THREADS;

/// What one access moves. A vector where there are such, which stays in registers.
#if defined(__HIP__)
typedef float FourFloats __attribute__((ext_vector_type(SIDE)));
#else
typedef float FourFloats[SIDE];
#endif
struct alignas(16) Four {
    FourFloats element;
};

/// As one access each. (clang keeps what is copied as a struct in memory.)
static __device__ __forceinline__ Four get(const float *from) {
    Four four;
#if defined(__HIP__)
    four.element = *reinterpret_cast<const FourFloats *>(from);
#else
    four = *reinterpret_cast<const Four *>(from);
#endif
    return four;
}
static __device__ __forceinline__ void put(float *to, const Four &four) {
#if defined(__HIP__)
    *reinterpret_cast<FourFloats *>(to) = four.element;
#else
    *reinterpret_cast<Four *>(to) = four;
#endif
}

/// Where a step of a line lies in LDS, lines side by side: the gap after every fourth step has lanes that store four steps of
/// eight lines each find all 32 banks.
template <unsigned LINES> constexpr __device__ unsigned place(unsigned step, unsigned line) {
    return step * LINES + step / 4 * 8 + line;
}

/// The same of powers, which a lane stores in fours of rows, the next lane four keys on.
template <unsigned ROWS> constexpr __device__ unsigned power_place(unsigned key, unsigned row) {
    return key * ROWS + key / 4 * 4 + row;
}

/// Number y of a thread's rows, x of its columns: squares lie as far apart as all threads' squares are wide.
static __device__ __forceinline__ unsigned row_of(unsigned y) {
    return (y / SIDE * ROW_THREADS + threadIdx.x / COLUMN_THREADS) * SIDE + y % SIDE;
}
static __device__ __forceinline__ unsigned column_of(unsigned x) {
    return (x / SIDE * COLUMN_THREADS + threadIdx.x % COLUMN_THREADS) * SIDE + x % SIDE;
}

/// COUNT of a thread's rows or columns, squares `apart` from each other.
template <unsigned COUNT> static __device__ __forceinline__ void load(float (&to)[COUNT], const float *from, unsigned apart) {
#pragma unroll
    for (unsigned i = 0; i < COUNT; i += SIDE) {
        const Four four = get(from + i / SIDE * apart);
#pragma unroll
        for (unsigned j = 0; j < SIDE; ++j) to[i + j] = four.element[j];
    }
}

/// sums += left * right of one step.
template <unsigned HIGH, unsigned WIDE>
static __device__ __forceinline__ void add_step(float (&sums)[HIGH][WIDE], const float *left_at, const float *right_at) {
    float left[HIGH], right[WIDE];
    load(left, left_at, ROW_THREADS * SIDE);
    load(right, right_at, COLUMN_THREADS * SIDE);
#pragma unroll
    for (unsigned y = 0; y < HIGH; ++y)
#pragma unroll
        for (unsigned x = 0; x < WIDE; ++x) sums[y][x] = fmaf(left[y], right[x], sums[y][x]);
}

/// What is read stays before the products that follow.
static __device__ __forceinline__ void reads_first() {
#if defined(__HIP__)
    __builtin_amdgcn_sched_barrier(0);
#endif
}

/// DEPTH elements of LINES lines on their way to LDS, four for each lane; four lanes side by side have a line's.
template <unsigned LINES> struct Piece {
    static constexpr unsigned EACH = LINES * DEPTH / SIDE / THREADS;
    static_assert(EACH * THREADS * SIDE == LINES * DEPTH, "threads have as many each");

    Four fours[EACH];

    static __device__ __forceinline__ unsigned line(unsigned i) { return (i * THREADS + threadIdx.x) / (DEPTH / SIDE); }
    static __device__ __forceinline__ unsigned step() { return threadIdx.x % (DEPTH / SIDE) * SIDE; }

    /// From element `first` on of lines that begin at `from(i)`. Beyond `width`, their end once more.
    template <class From> __device__ __forceinline__ void fetch(From from, unsigned first, unsigned width) {
        const unsigned element = min(first + step(), width - SIDE);
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) fours[i] = get(from(i) + element);
    }

    /// Stores them; 0 beyond `width`.
    __device__ __forceinline__ void store(float *lds, unsigned first, unsigned width) const {
        const bool some = first + step() < width;
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) {
            float *to = lds + place<LINES>(step(), line(i));
#pragma unroll
            for (unsigned e = 0; e < SIDE; ++e) to[place<LINES>(e, 0)] = some ? fours[i].element[e] : 0.0f;
        }
    }
};

template <unsigned WIDTH> struct Shape {
    static constexpr unsigned ROWS = WIDTH > 128 ? 32 : 64;
    /// Of a thread: rows, keys, elements of the result.
    static constexpr unsigned HIGH = ROWS / ROW_THREADS, KEYS_WIDE = KEYS / COLUMN_THREADS, WIDE = WIDTH / COLUMN_THREADS;
};

/// DEPTH keys' values on their way to LDS: lanes side by side have neighbouring fours.
template <unsigned WIDTH> struct Values {
    static constexpr unsigned OF_KEY = WIDTH / SIDE, EACH = DEPTH * OF_KEY / THREADS;

    Four fours[EACH];

    static __device__ __forceinline__ unsigned number(unsigned i) { return i * THREADS + threadIdx.x; }

    /// Those of the key at `from` and after it, `position` elements from each other. Beyond the last key and beyond the last element
    /// that a read begins with come these once more.
    __device__ __forceinline__ void fetch(const float *from, uint32_t position, uint32_t last, uint32_t last_element) {
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) {
            const unsigned key = min(number(i) / OF_KEY, last), element = min(number(i) % OF_KEY * SIDE, last_element);
            fours[i] = get(from + (key * position + element));
        }
    }

    __device__ __forceinline__ void store(float *lds) const {
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) put(lds + number(i) * SIDE, fours[i]);
    }
};

template <unsigned WIDTH> struct Room {
    typedef Shape<WIDTH> S;
    union {
        struct {
            alignas(16) float q[place<S::ROWS>(DEPTH, 0)];
            alignas(16) float k[place<KEYS>(DEPTH, 0)];
        };
        alignas(16) float v[DEPTH][WIDTH];
    };
    alignas(16) float powers[power_place<S::ROWS>(KEYS, 0)];
};

template <unsigned WIDTH>
static __device__ __forceinline__ void attention_fma(const float *q, const float *k, const float *v, const float *mask,
                                                     float *out, float *partials, const AttentionArgs &args) {
    typedef Shape<WIDTH> S;
    constexpr unsigned ROWS = S::ROWS, HIGH = S::HIGH, KEYS_WIDE = S::KEYS_WIDE, WIDE = S::WIDE;
    __shared__ Room<WIDTH> lds;

    const AttentionPlace at = place_of(args);
    // Rows beyond the last one repeat it and are not stored.
    const auto row_at = [&](unsigned number) { return AttentionRow(args, at, min(at.first_row + number, at.rows - 1)); };
    const auto seen = [&](unsigned number) { return min(row_at(number).visible, at.end_key); };
    // Keys that the last row sees, and the first one, which sees the fewest.
    const uint32_t end_key = seen(ROWS - 1), all_see = seen(0);

    typedef Piece<ROWS> Rows;
    typedef Piece<KEYS> Keys;
    const float *q_rows[Rows::EACH];
#pragma unroll
    for (unsigned i = 0; i < Rows::EACH; ++i) q_rows[i] = row_at(Rows::line(i)).in_q(args, at, q);
    const float *all_keys = k + at.batch * args.k_batch + at.key_head * args.k_head;
    const float *all_values = v + at.batch * args.v_batch + at.key_head * args.v_head;
    // Positions lie so close that those of a step count in 32 bits (MOST_STEP_BYTES).
    const uint32_t k_position = static_cast<uint32_t>(args.k_position), v_position = static_cast<uint32_t>(args.v_position);

    Rows of_q;
    Keys of_k;
    // Keys beyond the last repeat it; their scores count for nothing.
    const auto fetch_scores = [&](uint32_t first, unsigned element) {
        const float *keys = all_keys + first * args.k_position;
        const uint32_t last = end_key - first - 1;
        of_q.fetch([&](unsigned i) { return q_rows[i]; }, element, args.width);
        of_k.fetch([&](unsigned i) { return keys + min(Keys::line(i), last) * k_position; }, element, args.width);
    };
    Values<WIDTH> of_v;
    // A row of v that ends within a read is padded to it.
    const uint32_t last_value = (args.value_width - 1) / SIDE * SIDE;
    const auto fetch_values = [&](uint32_t first) {
        of_v.fetch(all_values + first * args.v_position, v_position, end_key - first - 1, last_value);
    };

    float sums[HIGH][WIDE] = {}, largest[HIGH], powers[HIGH] = {};
#pragma unroll
    for (unsigned y = 0; y < HIGH; ++y) largest[y] = NEVER;

    if (at.first_key < end_key) fetch_scores(at.first_key, 0);
    for (uint32_t first = at.first_key; first < end_key; first += KEYS) {
        float scores[HIGH][KEYS_WIDE] = {};
        for (unsigned element = 0; element < args.width; element += DEPTH) {
            __syncthreads();
            of_q.store(lds.q, element, args.width);
            of_k.store(lds.k, element, args.width);
            __syncthreads();
            // The last piece is read twice: a branch here would cost more.
            fetch_scores(first, min(element + DEPTH, args.width - 1));
            reads_first();
            const float *left = lds.q + row_of(0), *right = lds.k + column_of(0);
#pragma unroll 1
            for (unsigned four = 0; four < DEPTH; four += 4) {
#pragma unroll
                for (unsigned step = 0; step < 4; ++step) add_step(scores, left + step * ROWS, right + step * KEYS);
                left += place<ROWS>(4, 0);
                right += place<KEYS>(4, 0);
            }
        }
        fetch_values(first);
        reads_first();

#pragma unroll
        for (unsigned y = 0; y < HIGH; ++y)
#pragma unroll
            for (unsigned x = 0; x < KEYS_WIDE; ++x) scores[y][x] *= args.scale;
        if (args.cap != 0.0f) {
#pragma unroll
            for (unsigned y = 0; y < HIGH; ++y)
#pragma unroll
                for (unsigned x = 0; x < KEYS_WIDE; ++x) scores[y][x] = capped(args, scores[y][x]);
        }
        if (mask || first + KEYS > all_see) {
#pragma unroll
            for (unsigned y = 0; y < HIGH; ++y) {
                const AttentionRow row = row_at(row_of(y));
                const uint32_t visible = min(row.visible, at.end_key);
                const float *mask_row = mask ? row.in_mask(args, at, mask) : nullptr;
#pragma unroll
                for (unsigned x = 0; x < KEYS_WIDE; ++x) {
                    const uint32_t key = first + column_of(x);
                    if (mask && key < visible) scores[y][x] += mask_row[key * args.mask_key] * LOG2_E;
                    scores[y][x] = key < visible ? scores[y][x] : NEVER;
                }
            }
        }
#pragma unroll
        for (unsigned y = 0; y < HIGH; ++y) {
            float now = scores[y][0];
#pragma unroll
            for (unsigned x = 1; x < KEYS_WIDE; ++x) now = fmaxf(now, scores[y][x]);
            now = fmaxf(largest[y], joined<COLUMN_THREADS>(now, [](float a, float b) { return fmaxf(a, b); }));
            const float base = base_of(now), shrink = exp2_of(largest[y] - base);
            largest[y] = now;
            powers[y] *= shrink;
#pragma unroll
            for (unsigned x = 0; x < WIDE; ++x) sums[y][x] *= shrink;
#pragma unroll
            for (unsigned x = 0; x < KEYS_WIDE; ++x) {
                scores[y][x] = exp2_of(scores[y][x] - base);
                powers[y] += scores[y][x];
            }
        }
        // The values of the step before were multiplied before the last barrier.
#pragma unroll
        for (unsigned x = 0; x < KEYS_WIDE; ++x) {
#pragma unroll
            for (unsigned y = 0; y < HIGH; y += SIDE) {
                Four four;
#pragma unroll
                for (unsigned i = 0; i < SIDE; ++i) four.element[i] = scores[y + i][x];
                put(lds.powers + power_place<ROWS>(column_of(x), row_of(y)), four);
            }
        }

        const uint32_t count = min(KEYS, end_key - first);
        for (unsigned key = 0; key < count; key += DEPTH) {
            __syncthreads();
            of_v.store(lds.v[0]);
            __syncthreads();
            if (key + DEPTH < count) fetch_values(first + key + DEPTH);
            else if (first + KEYS < end_key) fetch_scores(first + KEYS, 0);
            reads_first();
            const float *left = lds.powers + power_place<ROWS>(key, row_of(0)), *right = lds.v[0] + column_of(0);
#pragma unroll 1
            for (unsigned four = 0; four < DEPTH; four += 4) {
#pragma unroll
                for (unsigned step = 0; step < 4; ++step) add_step(sums, left + step * ROWS, right + step * WIDTH);
                left += power_place<ROWS>(4, 0);
                right += 4 * WIDTH;
            }
        }
    }

#pragma unroll
    for (unsigned y = 0; y < HIGH; ++y) {
        const float of_row = lanes_sum<COLUMN_THREADS>(powers[y]), factor = args.splits == 1 ? 1.0f / of_row : 1.0f;
        if (at.first_row + row_of(y) >= at.rows) continue;
        const uint64_t number = row_at(row_of(y)).number(args, at);
        float *partial = partial_of(args, partials, number, at.split);
        float *to = args.splits == 1 ? out + number * args.value_width : partial + 2;
#pragma unroll
        for (unsigned x = 0; x < WIDE; ++x)
            if (column_of(x) < args.value_width) to[column_of(x)] = sums[y][x] * factor;
        if (args.splits > 1 && threadIdx.x % COLUMN_THREADS == 0) {
            partial[0] = largest[y];
            partial[1] = of_row;
        }
    }
}

KERNELS_AWAIT

#define FMA_KERNEL(WIDTH)                                                                                         \
    extern "C" __global__ void __launch_bounds__(THREADS) attention_fma_f32_##WIDTH(                              \
        const float *q, const float *k, const float *v, const float *mask, float *out, float *partials,           \
        AttentionArgs args) {                                                                                     \
        await_previous();                                                                                         \
        attention_fma<WIDTH>(q, k, v, mask, out, partials, args.now());                                           \
    }

FMA_KERNEL(64)
FMA_KERNEL(128)
FMA_KERNEL(256)

COMBINE_KERNEL(float, f32)
