// Attention of many rows by fused multiply-adds, where there are no matrix cores for its type. Names and geometry:
// src/rocm/attention.rs.
//
//   attention_fma_<t>_<width>    heads of up to `width` elements; a workgroup has 64 rows, 32 where heads are wider than 128
//   attention_combine_<t>        joins the pieces of a split context (combine.h)
//
// A step takes 64 keys. Both products go through LDS in pieces of 16 words a line, the next one's bytes on their way in
// registers meanwhile: q and k word by word, their lines side by side; the powers key by key, rows side by side, and values as they
// are. A thread has squares of four rows by four keys, then of the same rows by four elements: what the online softmax multiplies
// sums with it has itself, and the largest score of a row takes four exchanges among 16 lanes.
//
// A word is a number in f32, or two of f16 where pairs are multiplied at once (pairs.h): neighbouring elements of q and k, then
// powers and values of neighbouring keys. A piece has as many words, and so twice the elements or keys.
#include "combine.h"
#include "matrix_cores.h"
#include "pairs.h"

constexpr unsigned THREADS = 128;
/// Keys of a step.
constexpr unsigned KEYS = 64;
/// Words of a line of q and k, then lines of values, that lie in LDS at a time.
constexpr unsigned DEPTH = 16;
/// Rows and columns of a square.
constexpr unsigned SIDE = 4;
/// Threads with the same rows, lanes side by side; threads with the same columns.
constexpr unsigned COLUMN_THREADS = 16, ROW_THREADS = THREADS / COLUMN_THREADS;

/// What one access moves. A vector where there are such, which stays in registers.
#if defined(__HIP__)
template <unsigned N> using Vector = uint32_t __attribute__((ext_vector_type(N)));
#else
template <unsigned N> using Vector = uint32_t[N];
#endif
template <unsigned N> struct alignas(4 * N) Words {
    Vector<N> word;
};
typedef Words<SIDE> Four;

/// As one access each. (clang keeps what is copied as a struct in memory.)
template <unsigned N> static __device__ __forceinline__ Words<N> get(const void *from) {
    Words<N> words;
#if defined(__HIP__)
    words.word = *static_cast<const Vector<N> *>(from);
#else
    words = *static_cast<const Words<N> *>(from);
#endif
    return words;
}
template <unsigned N> static __device__ __forceinline__ void put(void *to, const Words<N> &words) {
#if defined(__HIP__)
    *static_cast<Vector<N> *>(to) = words.word;
#else
    *static_cast<Words<N> *>(to) = words;
#endif
}

/// What a word is: `PER_WORD` numbers of T.
template <class T> struct InLds {
    static constexpr unsigned PER_WORD = 1;
    static __device__ __forceinline__ float multiply_add(uint32_t left, uint32_t right, float sum) {
        return fmaf(__uint_as_float(left), __uint_as_float(right), sum);
    }
};
#if HAS_DOT2
template <> struct InLds<f16> {
    static constexpr unsigned PER_WORD = 2;
    static __device__ __forceinline__ float multiply_add(uint32_t left, uint32_t right, float sum) {
        return dot2(__builtin_bit_cast(HalfPair, left), __builtin_bit_cast(HalfPair, right), sum);
    }
};
#endif
template <class T> constexpr unsigned PER_WORD = InLds<T>::PER_WORD;

/// Numbers that become four words, as they are read.
template <class T> constexpr unsigned READ = SIDE * PER_WORD<T>;
template <class T> using Read = Words<READ<T> * sizeof(T) / 4>;

/// Word `i` of what was read.
template <class T> static __device__ __forceinline__ uint32_t word_of(const Read<T> &read, unsigned i) {
    if constexpr (sizeof(Read<T>) == sizeof(Four)) {
        return read.word[i];
    } else {
        T both[2];
        const uint32_t bits = read.word[i / 2];
        __builtin_memcpy(both, &bits, sizeof(bits));
        return __float_as_uint(static_cast<float>(both[i % 2]));
    }
}

/// Where a word of a line lies in LDS, lines side by side: the gap after every fourth word has lanes that store four words of
/// eight lines each find all 32 banks.
template <unsigned LINES> constexpr __device__ unsigned place(unsigned step, unsigned line) {
    return step * LINES + step / 4 * 8 + line;
}

/// The same of powers, which a lane stores in fours of rows, the next lane four keys on.
template <class T, unsigned ROWS> constexpr __device__ unsigned power_place(unsigned key, unsigned row) {
    return key / PER_WORD<T> * ROWS + key / 4 * 4 + row;
}

/// Number y of a thread's rows, x of its columns: squares lie as far apart as all threads' squares are wide.
static __device__ __forceinline__ unsigned row_of(unsigned y) {
    return (y / SIDE * ROW_THREADS + threadIdx.x / COLUMN_THREADS) * SIDE + y % SIDE;
}
static __device__ __forceinline__ unsigned column_of(unsigned x) {
    return (x / SIDE * COLUMN_THREADS + threadIdx.x % COLUMN_THREADS) * SIDE + x % SIDE;
}

/// COUNT of a thread's rows or columns, squares `apart` from each other.
template <unsigned COUNT>
static __device__ __forceinline__ void load(uint32_t (&to)[COUNT], const uint32_t *from, unsigned apart) {
#pragma unroll
    for (unsigned i = 0; i < COUNT; i += SIDE) {
        const Four four = get<SIDE>(from + i / SIDE * apart);
#pragma unroll
        for (unsigned j = 0; j < SIDE; ++j) to[i + j] = four.word[j];
    }
}

/// sums += left * right of one word.
template <class T, unsigned HIGH, unsigned WIDE>
static __device__ __forceinline__ void add_step(float (&sums)[HIGH][WIDE], const uint32_t *left_at, const uint32_t *right_at) {
    uint32_t left[HIGH], right[WIDE];
    load(left, left_at, ROW_THREADS * SIDE);
    load(right, right_at, COLUMN_THREADS * SIDE);
#pragma unroll
    for (unsigned y = 0; y < HIGH; ++y)
#pragma unroll
        for (unsigned x = 0; x < WIDE; ++x) sums[y][x] = InLds<T>::multiply_add(left[y], right[x], sums[y][x]);
}

/// What is read stays before the products that follow.
static __device__ __forceinline__ void reads_first() {
#if defined(__HIP__)
    __builtin_amdgcn_sched_barrier(0);
#endif
}

/// DEPTH words of LINES lines on their way to LDS, four for each lane; four lanes side by side have a line's.
template <class T, unsigned LINES> struct Piece {
    static constexpr unsigned EACH = LINES * DEPTH / SIDE / THREADS;
    static_assert(EACH * THREADS * SIDE == LINES * DEPTH, "threads have as many each");

    Read<T> reads[EACH];

    static __device__ __forceinline__ unsigned line(unsigned i) { return (i * THREADS + threadIdx.x) / (DEPTH / SIDE); }
    static __device__ __forceinline__ unsigned word() { return threadIdx.x % (DEPTH / SIDE) * SIDE; }

    /// From element `first` on of lines that begin at `from(i)`. Beyond `width`, their end once more.
    template <class From> __device__ __forceinline__ void fetch(From from, unsigned first, unsigned width) {
        const unsigned element = min(first + word() * PER_WORD<T>, width - READ<T>);
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) reads[i] = get<sizeof(Read<T>) / 4>(from(i) + element);
    }

    /// Stores them; 0 beyond `width`.
    __device__ __forceinline__ void store(uint32_t *lds, unsigned first, unsigned width) const {
        const bool some = first + word() * PER_WORD<T> < width;
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) {
            uint32_t *to = lds + place<LINES>(word(), line(i));
#pragma unroll
            for (unsigned e = 0; e < SIDE; ++e) to[place<LINES>(e, 0)] = some ? word_of<T>(reads[i], e) : 0;
        }
    }
};

template <unsigned WIDTH> struct Shape {
    static constexpr unsigned ROWS = WIDTH > 128 ? 32 : 64;
    /// Of a thread: rows, keys, elements of the result.
    static constexpr unsigned HIGH = ROWS / ROW_THREADS, KEYS_WIDE = KEYS / COLUMN_THREADS, WIDE = WIDTH / COLUMN_THREADS;
};

/// DEPTH lines of values on their way to LDS, each of PER_WORD keys: lanes side by side have neighbouring reads.
template <class T, unsigned WIDTH> struct Values {
    static constexpr unsigned KEYS = PER_WORD<T>, OF_KEY = WIDTH / READ<T>, EACH = DEPTH * OF_KEY / THREADS;
    static_assert(EACH * THREADS == DEPTH * OF_KEY, "threads have as many each");

    Read<T> reads[EACH][KEYS];

    static __device__ __forceinline__ unsigned number(unsigned i) { return i * THREADS + threadIdx.x; }

    /// Those of the key at `from` and after it, `position` elements from each other. Beyond the last key and beyond the last element
    /// that a read begins with come these once more.
    __device__ __forceinline__ void fetch(const T *from, uint32_t position, uint32_t last, uint32_t last_element) {
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) {
            const unsigned element = min(number(i) % OF_KEY * READ<T>, last_element);
#pragma unroll
            for (unsigned j = 0; j < KEYS; ++j) {
                const unsigned key = min(number(i) / OF_KEY * KEYS + j, last);
                reads[i][j] = get<sizeof(Read<T>) / 4>(from + (key * position + element));
            }
        }
    }

    __device__ __forceinline__ void store(uint32_t *lds) const {
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) {
            if constexpr (KEYS == 1) {
                Four four;
#pragma unroll
                for (unsigned e = 0; e < SIDE; ++e) four.word[e] = word_of<T>(reads[i][0], e);
                put(lds + number(i) * SIDE, four);
            } else {
                store_pairs(lds + number(i) / OF_KEY * WIDTH + number(i) % OF_KEY * SIDE, reads[i]);
            }
        }
    }

    /// Which element of a line lies in column `column`. Of pairs a lane has two fours: the first ones of all lanes lie side by side,
    /// then the second ones, so that no lanes that store at a time meet in a bank. A thread so also has eight elements in a row.
    static __device__ __forceinline__ unsigned element_of(unsigned column) {
        if constexpr (KEYS == 1) return column;
        return column % (WIDTH / 2) / SIDE * READ<T> + column / (WIDTH / 2) * SIDE + column % SIDE;
    }

  private:
    static __device__ __forceinline__ void store_pairs(uint32_t *to, const Read<T> (&keys)[KEYS]) {
#if HAS_DOT2
        constexpr uint32_t LOW_HALVES = 0x05040100, HIGH_HALVES = 0x07060302;
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
            Four four;
#pragma unroll
            for (unsigned e = 0; e < SIDE; ++e) {
                const unsigned word = half * (SIDE / 2) + e / 2;
                four.word[e] = __builtin_amdgcn_perm(keys[1].word[word], keys[0].word[word], e % 2 ? HIGH_HALVES : LOW_HALVES);
            }
            put(to + half * (WIDTH / 2), four);
        }
#endif
    }
};

/// A thread's powers of one key, or of PER_WORD from it on, as words.
template <class T> static __device__ __forceinline__ uint32_t power_word(const float *powers) {
#if HAS_DOT2
    if constexpr (PER_WORD<T> == 2) {
        const HalfPair pair = {static_cast<_Float16>(powers[0]), static_cast<_Float16>(powers[1])};
        return __builtin_bit_cast(uint32_t, pair);
    }
#endif
    return __float_as_uint(powers[0]);
}

/// Four neighbouring results as one access; `sums` are multiplied by `factor`.
template <class T> static __device__ __forceinline__ void put_results(T *to, const float *sums, float factor) {
    T results[SIDE];
#pragma unroll
    for (unsigned i = 0; i < SIDE; ++i) results[i] = static_cast<T>(sums[i] * factor);
    Words<SIDE * sizeof(T) / 4> words;
    __builtin_memcpy(&words, results, sizeof(words));
    put(to, words);
}

template <class T, unsigned WIDTH> struct Room {
    typedef Shape<WIDTH> S;
    union {
        struct {
            alignas(16) uint32_t q[place<S::ROWS>(DEPTH, 0)];
            alignas(16) uint32_t k[place<KEYS>(DEPTH, 0)];
        };
        alignas(16) uint32_t v[DEPTH][WIDTH];
    };
    alignas(16) uint32_t powers[power_place<T, S::ROWS>(KEYS, 0)];
};

template <class T, unsigned WIDTH>
static __device__ __forceinline__ void attention_fma(const T *q, const T *k, const T *v, const T *mask, T *out,
                                                     float *partials, const AttentionArgs &args) {
    typedef Shape<WIDTH> S;
    constexpr unsigned ROWS = S::ROWS, HIGH = S::HIGH, KEYS_WIDE = S::KEYS_WIDE, WIDE = S::WIDE;
    // Words of f16 are powers in f16: see POWERS_EXPONENT.
    constexpr float EXPONENT = PER_WORD<T> == 1 ? 0 : POWERS_EXPONENT<T>;
    __shared__ Room<T, WIDTH> lds;

    const AttentionPlace at = place_of(args);
    // Rows beyond the last one repeat it and are not stored.
    const auto row_at = [&](unsigned number) { return AttentionRow(args, at, min(at.first_row + number, at.rows - 1)); };
    const auto seen = [&](unsigned number) { return min(row_at(number).visible, at.end_key); };
    // Keys that the last row sees, and the first one, which sees the fewest.
    const uint32_t end_key = seen(ROWS - 1), all_see = seen(0);

    typedef Piece<T, ROWS> Rows;
    typedef Piece<T, KEYS> Keys;
    const T *q_rows[Rows::EACH];
#pragma unroll
    for (unsigned i = 0; i < Rows::EACH; ++i) q_rows[i] = row_at(Rows::line(i)).in_q(args, at, q);
    const T *all_keys = k + at.batch * args.k_batch + at.key_head * args.k_head;
    const T *all_values = v + at.batch * args.v_batch + at.key_head * args.v_head;
    // Positions lie so close that those of a step count in 32 bits (MOST_STEP_BYTES).
    const uint32_t k_position = static_cast<uint32_t>(args.k_position), v_position = static_cast<uint32_t>(args.v_position);

    Rows of_q;
    Keys of_k;
    // Keys beyond the last repeat it; their scores count for nothing.
    const auto fetch_scores = [&](uint32_t first, unsigned element) {
        const T *keys = all_keys + first * args.k_position;
        const uint32_t last = end_key - first - 1;
        of_q.fetch([&](unsigned i) { return q_rows[i]; }, element, args.width);
        of_k.fetch([&](unsigned i) { return keys + min(Keys::line(i), last) * k_position; }, element, args.width);
    };
    Values<T, WIDTH> of_v;
    // A row of v that ends within a read is padded to it.
    const uint32_t last_value = (args.value_width - 1) / READ<T> * READ<T>;
    const auto fetch_values = [&](uint32_t first) {
        of_v.fetch(all_values + first * args.v_position, v_position, end_key - first - 1, last_value);
    };

    float sums[HIGH][WIDE] = {}, largest[HIGH], powers[HIGH] = {};
#pragma unroll
    for (unsigned y = 0; y < HIGH; ++y) largest[y] = NEVER;

    if (at.first_key < end_key) fetch_scores(at.first_key, 0);
    for (uint32_t first = at.first_key; first < end_key; first += KEYS) {
        float scores[HIGH][KEYS_WIDE] = {};
        for (unsigned element = 0; element < args.width; element += DEPTH * PER_WORD<T>) {
            __syncthreads();
            of_q.store(lds.q, element, args.width);
            of_k.store(lds.k, element, args.width);
            __syncthreads();
            // The last piece is read twice: a branch here would cost more.
            fetch_scores(first, min(element + DEPTH * PER_WORD<T>, args.width - 1));
            reads_first();
            const uint32_t *left = lds.q + row_of(0), *right = lds.k + column_of(0);
#pragma unroll 1
            for (unsigned four = 0; four < DEPTH; four += 4) {
#pragma unroll
                for (unsigned step = 0; step < 4; ++step)
                    add_step<T>(scores, left + step * ROWS, right + step * KEYS);
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
                const T *mask_row = mask ? row.in_mask(args, at, mask) : nullptr;
#pragma unroll
                for (unsigned x = 0; x < KEYS_WIDE; ++x) {
                    const uint32_t key = first + column_of(x);
                    if (mask && key < visible) scores[y][x] += static_cast<float>(mask_row[key * args.mask_key]) * LOG2_E;
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
                scores[y][x] = exp2_of(scores[y][x] - (base - EXPONENT));
                powers[y] += scores[y][x];
            }
        }
        // The values of the step before were multiplied before the last barrier.
#pragma unroll
        for (unsigned x = 0; x < KEYS_WIDE; x += PER_WORD<T>) {
#pragma unroll
            for (unsigned y = 0; y < HIGH; y += SIDE) {
                Four four;
#pragma unroll
                for (unsigned i = 0; i < SIDE; ++i) four.word[i] = power_word<T>(&scores[y + i][x]);
                put(lds.powers + power_place<T, ROWS>(column_of(x), row_of(y)), four);
            }
        }

        const uint32_t count = min(KEYS, end_key - first);
        for (unsigned key = 0; key < count; key += DEPTH * PER_WORD<T>) {
            __syncthreads();
            of_v.store(lds.v[0]);
            __syncthreads();
            if (key + DEPTH * PER_WORD<T> < count) fetch_values(first + key + DEPTH * PER_WORD<T>);
            else if (first + KEYS < end_key) fetch_scores(first + KEYS, 0);
            reads_first();
            const uint32_t *left = lds.powers + power_place<T, ROWS>(key, row_of(0)), *right = lds.v[0] + column_of(0);
#pragma unroll 1
            for (unsigned four = 0; four < DEPTH; four += 4) {
#pragma unroll
                for (unsigned step = 0; step < 4; ++step)
                    add_step<T>(sums, left + power_place<T, ROWS>(step * PER_WORD<T>, 0), right + step * WIDTH);
                left += power_place<T, ROWS>(4 * PER_WORD<T>, 0);
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
        T *to = out + number * args.value_width;
        // Rows of whole fours are aligned to them.
        const bool fours = args.splits == 1 && args.value_width % SIDE == 0;
#pragma unroll
        for (unsigned x = 0; x < WIDE; x += SIDE) {
            const unsigned first = Values<T, WIDTH>::element_of(column_of(x));
            if (fours) {
                if (first < args.value_width) put_results(to + first, &sums[y][x], factor);
                continue;
            }
#pragma unroll
            for (unsigned i = 0; i < SIDE; ++i) {
                if (first + i >= args.value_width) continue;
                if (args.splits == 1) to[first + i] = static_cast<T>(sums[y][x + i] * factor);
                else partial[2 + first + i] = sums[y][x + i];
            }
        }
        if (args.splits > 1 && threadIdx.x % COLUMN_THREADS == 0) {
            partial[0] = largest[y];
            partial[1] = of_row;
        }
    }
}

KERNELS_AWAIT

#define FMA_KERNEL(T, NAME, WIDTH)                                                                                \
    extern "C" __global__ void __launch_bounds__(THREADS) attention_fma_##NAME##_##WIDTH(                         \
        const T *q, const T *k, const T *v, const T *mask, T *out, float *partials, AttentionArgs args) {         \
        await_previous();                                                                                         \
        attention_fma<T, WIDTH>(q, k, v, mask, out, partials, args.now());                                        \
    }
#define KERNELS(T, NAME)                                                                                          \
    FMA_KERNEL(T, NAME, 64) FMA_KERNEL(T, NAME, 128) FMA_KERNEL(T, NAME, 256) COMBINE_KERNEL(T, NAME)

KERNELS(float, f32)
// Matrix cores, where there are any, take the others.
#if !defined(MATRIX_CORES)
KERNELS(f16, f16)
KERNELS(bf16, bf16)
#endif
