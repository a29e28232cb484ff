// Argsort along rows: bitonic networks (Batcher, 1968) over pairs of key and column. A key is an unsigned number that
// orders like the element; the column breaks ties, so the order is that of a stable sort. NaN counts as the largest.
//
//   order_row_<t>    (x, out, columns, padded, descending)       one workgroup a row, the row in LDS
//   order_begin_<t>  (x, pairs, columns, padded, descending)     longer rows: sorted chunks of CHUNK pairs
//   order_step_<p>   (pairs, count, distance, run, padded)       one step between pairs at least CHUNK apart
//   order_merge_<p>  (pairs, run, padded)                        the rest of a run's steps, chunk by chunk in LDS
//   order_end_<p>    (pairs, out, columns, padded)               columns out of the pairs
//
// <p> is `narrow` for types of up to 32 bits, whose pairs are one 64-bit number, `wide` for the others. `padded` is
// the row's length rounded up to a power of two; `run` the length of the bitonic runs being merged.
#include "element.h"
#include "walk.h"

constexpr unsigned CHUNK = 2048;
constexpr unsigned THREADS = 256;

template <unsigned BYTES> struct Pair {
    uint64_t packed;
    static constexpr unsigned KEY_BITS = 32;
    __device__ __forceinline__ Pair(uint64_t key, uint32_t column) : packed(key << 32 | column) {}
    Pair() = default;
    __device__ __forceinline__ uint32_t column() const { return static_cast<uint32_t>(packed); }
    __device__ __forceinline__ bool before(const Pair &other) const { return packed < other.packed; }
};
template <> struct Pair<8> {
    uint64_t key;
    uint32_t place, unused;
    static constexpr unsigned KEY_BITS = 64;
    __device__ __forceinline__ Pair(uint64_t key, uint32_t column) : key(key), place(column), unused(0) {}
    Pair() = default;
    __device__ __forceinline__ uint32_t column() const { return place; }
    __device__ __forceinline__ bool before(const Pair &other) const {
        return key < other.key || (key == other.key && place < other.place);
    }
};
typedef Pair<4> Narrow;
typedef Pair<8> Wide;
/// The pair for elements of type T.
template <class T> using PairOf = typename Either<sizeof(T) == 8, Wide, Narrow>::type;

/// An unsigned number that orders like `x`, in as many bits as the pair has for it.
template <class T> static __device__ __forceinline__ uint64_t key_of(T x) {
    const Value<T> v = value_of(x);
    if constexpr (is_float<T>) {
        typedef typename Either<sizeof(T) == 8, uint64_t, uint32_t>::type Bits;
        constexpr Bits TOP = Bits(1) << (sizeof(Bits) * 8 - 1);
        if (v != v) return Bits(~Bits(0));
        // Both zeros are equal.
        const Bits bits = v == Value<T>(0) ? Bits(0) : __builtin_bit_cast(Bits, v);
        return bits & TOP ? Bits(~bits) : Bits(bits | TOP);
    } else if constexpr (sizeof(T) == 8) {
        return static_cast<uint64_t>(v) ^ uint64_t(1) << 63;
    } else if constexpr (is_signed_integer<T>) {
        return static_cast<uint32_t>(static_cast<int32_t>(v)) ^ 0x80000000u;
    } else {
        return static_cast<uint32_t>(v);
    }
}

/// Columns from `columns` on are padding, which goes behind everything.
template <class T>
static __device__ __forceinline__ PairOf<T> pair_at(const T *row, uint32_t column, uint32_t columns, bool descending) {
    typedef PairOf<T> P;
    constexpr uint64_t ALL = ~uint64_t(0) >> (64 - P::KEY_BITS);
    if (column >= columns) return P(ALL, ~0u);
    const uint64_t key = key_of(row[column]);
    return P(descending ? ~key & ALL : key, column);
}

/// Both are read before either is written: then the compiler keeps wide pairs in registers.
template <class P> static __device__ __forceinline__ void exchange(P &low, P &high, bool ascending) {
    const P first = low, second = high;
    if (second.before(first) == ascending) {
        low = second;
        high = first;
    }
}

/// The steps of one run length over `count` pairs in LDS, from `distance` on. `first` is the number of pairs[0].
template <class P>
static __device__ __forceinline__ void merge_steps(P *pairs, uint32_t count, uint64_t first, uint64_t run,
                                                   uint32_t distance) {
    for (; distance > 0; distance /= 2) {
        for (uint32_t i = threadIdx.x; i < count / 2; i += blockDim.x) {
            const uint32_t low = 2 * i - (i & (distance - 1));
            exchange(pairs[low], pairs[low + distance], ((first + low) & run) == 0);
        }
        __syncthreads();
    }
}

/// Sorts `count` pairs in LDS, up or down as the runs of the whole row want it.
template <class P> static __device__ __forceinline__ void sort_lds(P *pairs, uint32_t count, uint64_t first) {
    __syncthreads();
    for (uint32_t run = 2; run <= count; run *= 2) merge_steps(pairs, count, first, run, run / 2);
}

#define BY_TYPE(T, SUFFIX)                                                                                           \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                            \
        order_row_##SUFFIX(const T *x, uint32_t *out, uint32_t columns, uint32_t padded, uint32_t descending) {       \
        extern __shared__ PairOf<T> row_##SUFFIX[];                                                                  \
        const uint64_t start = uint64_t(blockIdx.x) * columns;                                                       \
        for (uint32_t i = threadIdx.x; i < padded; i += blockDim.x)                                                  \
            row_##SUFFIX[i] = pair_at<T>(x + start, i, columns, descending);                                         \
        sort_lds(row_##SUFFIX, padded, 0);                                                                           \
        for (uint32_t i = threadIdx.x; i < columns; i += blockDim.x) out[start + i] = row_##SUFFIX[i].column();      \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                            \
        order_begin_##SUFFIX(const T *x, PairOf<T> *pairs, uint32_t columns, uint32_t padded, uint32_t descending) {  \
        __shared__ PairOf<T> chunk[CHUNK];                                                                           \
        const uint32_t first = blockIdx.x * CHUNK;                                                                   \
        const T *row = x + uint64_t(blockIdx.y) * columns;                                                           \
        for (uint32_t i = threadIdx.x; i < CHUNK; i += blockDim.x)                                                   \
            chunk[i] = pair_at<T>(row, first + i, columns, descending);                                              \
        sort_lds(chunk, CHUNK, first);                                                                               \
        PairOf<T> *to = pairs + uint64_t(blockIdx.y) * padded + first;                                               \
        for (uint32_t i = threadIdx.x; i < CHUNK; i += blockDim.x) to[i] = chunk[i];                                 \
    }
FOR_NUMBERS(BY_TYPE)

// Directions follow from a pair's number within its row: `padded` is a power of two.
#define BY_PAIR(P, NAME)                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                            \
        order_step_##NAME(P *pairs, uint64_t count, uint64_t distance, uint64_t run, uint64_t padded) {               \
        for (uint64_t i = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count / 2;                            \
             i += uint64_t(gridDim.x) * blockDim.x) {                                                                \
            const uint64_t low = 2 * i - (i & (distance - 1));                                                       \
            exchange(pairs[low], pairs[low + distance], (low & (padded - 1) & run) == 0);                            \
        }                                                                                                            \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                            \
        order_merge_##NAME(P *pairs, uint64_t run, uint64_t padded) {                                                \
        __shared__ P chunk[CHUNK];                                                                                   \
        const uint64_t first = uint64_t(blockIdx.x) * CHUNK;                                                         \
        for (uint32_t i = threadIdx.x; i < CHUNK; i += blockDim.x) chunk[i] = pairs[first + i];                      \
        __syncthreads();                                                                                             \
        merge_steps(chunk, CHUNK, first & (padded - 1), run, CHUNK / 2);                                             \
        for (uint32_t i = threadIdx.x; i < CHUNK; i += blockDim.x) pairs[first + i] = chunk[i];                      \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                            \
        order_end_##NAME(const P *pairs, uint32_t *out, uint32_t columns, uint32_t padded) {                         \
        const uint32_t column = blockIdx.x * blockDim.x + threadIdx.x;                                               \
        const uint64_t row = blockIdx.y;                                                                             \
        if (column < columns) out[row * columns + column] = pairs[row * padded + column].column();                   \
    }
BY_PAIR(Narrow, narrow)
BY_PAIR(Wide, wide)
