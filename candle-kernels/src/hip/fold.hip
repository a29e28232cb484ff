// Reductions over any set of dimensions: <op>_<shape>_<t>(kept, within, part, x, out). `kept` walks the results,
// `within` the elements of one result.
//
//   op     sum, min, max (result of the elements' type), argmin, argmax (u32, number within `within`);
//          sum_wide (result f32: the parts of a sum of narrow floats)
//   shape  each: a thread per result; group: a workgroup per result, or per part of one (grid y), whose results
//          lie behind each other and are reduced once more
//
//   argmin_join_<t>, argmax_join_<t>(kept, within, parts, x, places, out)   of the places that parts found, `parts` for
//          each result, the one that counts
//
// Of equal elements the first counts. The CPU backend starts with the first element and keeps it when it is NaN, and
// passes over every other NaN; so do these.
#include "element.h"
#include "walk.h"
#if defined(__clang__)
#pragma clang fp contract(off)
#endif

constexpr unsigned MOST_THREADS = 256;
/// Elements that a thread of a group has under way.
constexpr unsigned AHEAD = 4;

/// Passed by value: elements of a part, and whether the launch goes on where an earlier one stopped.
struct PartOf {
    uint32_t length;
    uint32_t continued;
};

/// What sums are computed in; whole numbers wrap around.
template <class T> struct SumType { typedef Value<T> type; };
template <> struct SumType<uint8_t> { typedef uint32_t type; };
template <> struct SumType<int16_t> { typedef uint32_t type; };
template <> struct SumType<int32_t> { typedef uint32_t type; };
template <> struct SumType<int64_t> { typedef uint64_t type; };

template <class T> struct Sum {
    typedef T Result;
    typename SumType<T>::type total = 0;
    __device__ __forceinline__ void take(T x, uint32_t) { total += static_cast<typename SumType<T>::type>(value_of(x)); }
    __device__ __forceinline__ void merge(const Sum &other) { total += other.total; }
    template <unsigned MASK> __device__ __forceinline__ Sum from_lane() const {
        Sum other;
        other.total = from_xor<MASK>(total);
        return other;
    }
    __device__ __forceinline__ Result finish(T, bool) const { return T(total); }
};

template <class T> struct WideSum : Sum<T> {
    typedef typename SumType<T>::type Result;
    template <unsigned MASK> __device__ __forceinline__ WideSum from_lane() const {
        WideSum other;
        other.total = from_xor<MASK>(this->total);
        return other;
    }
    __device__ __forceinline__ Result finish(T, bool) const { return this->total; }
};

/// A value that no other is worse than.
template <class V, bool LEAST> static __device__ __forceinline__ V worst() {
    if constexpr (is_float<V>) return LEAST ? V(__builtin_inff()) : -V(__builtin_inff());
    else return LEAST ? Limits<V>::MAX : Limits<V>::MIN;
}

template <class T, bool LEAST> struct Extreme {
    typedef T Result;
    Value<T> best = worst<Value<T>, LEAST>();
    __device__ __forceinline__ void offer(Value<T> v) {
        if (LEAST ? v < best : v > best) best = v;
    }
    __device__ __forceinline__ void take(T x, uint32_t) { offer(value_of(x)); }
    __device__ __forceinline__ void merge(const Extreme &other) { offer(other.best); }
    template <unsigned MASK> __device__ __forceinline__ Extreme from_lane() const {
        Extreme other;
        other.best = from_xor<MASK>(best);
        return other;
    }
    /// `leads`: `first` is the first element of the whole result, not only of a part.
    __device__ __forceinline__ Result finish(T first, bool leads) const {
        const Value<T> v = value_of(first);
        return leads && v != v ? first : T(best);
    }
};

template <class T, bool LEAST> struct Position {
    typedef uint32_t Result;
    Value<T> best = worst<Value<T>, LEAST>();
    uint32_t place = ~0u;
    __device__ __forceinline__ void offer(Value<T> v, uint32_t at) {
        if ((LEAST ? v < best : v > best) || (v == best && at < place)) best = v, place = at;
    }
    __device__ __forceinline__ void take(T x, uint32_t at) { offer(value_of(x), at); }
    __device__ __forceinline__ void merge(const Position &other) { offer(other.best, other.place); }
    template <unsigned MASK> __device__ __forceinline__ Position from_lane() const {
        Position other;
        other.best = from_xor<MASK>(best);
        other.place = from_xor<MASK>(place);
        return other;
    }
    __device__ __forceinline__ Result finish(T first, bool) const {
        const Value<T> v = value_of(first);
        return v != v ? 0 : place;
    }
};
template <class T> using Min = Extreme<T, true>;
template <class T> using Max = Extreme<T, false>;
template <class T> using ArgMin = Position<T, true>;
template <class T> using ArgMax = Position<T, false>;

template <class Fold, class T>
static __device__ __forceinline__ void fold_each(const Walk<1> &kept, const Walk<1> &within, const PartOf &part,
                                                 const T *x, typename Fold::Result *out) {
    FOR_EACH(result, kept.count) {
        const T *from = x + kept.at(result);
        Fold fold;
        for (uint32_t i = 0; i < within.count; ++i) fold.take(from[within.at(i)], i);
        out[result] = fold.finish(from[0], !part.continued);
    }
}

/// What the threads of a workgroup found, merged in its thread 0, which alone calls `finish`.
template <class Fold, class Finish>
static __device__ __forceinline__ void merge_group(Fold &fold, Fold *of_warp, Finish finish) {
    const unsigned warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    fold.merge(fold.template from_lane<1>());
    fold.merge(fold.template from_lane<2>());
    fold.merge(fold.template from_lane<7>());
    fold.merge(fold.template from_lane<8>());
    fold.merge(fold.template from_lane<16>());
    if (threadIdx.x % WARP == 0) of_warp[warp] = fold;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (unsigned w = 1; w < warps; ++w) fold.merge(of_warp[w]);
        finish(fold);
    }
    __syncthreads();
}

template <class Fold, class T>
static __device__ __forceinline__ void fold_group(const Walk<1> &kept, const Walk<1> &within, const PartOf &part,
                                                  const T *x, typename Fold::Result *out, Fold *of_warp) {
    const uint32_t start = blockIdx.y * part.length, end = min(within.count, start + part.length);
    const bool leads = blockIdx.y == 0 && !part.continued;
    out += uint64_t(blockIdx.y) * kept.count;
    for (uint32_t result = blockIdx.x; result < kept.count; result += gridDim.x) {
        const T *from = x + kept.at(result);
        Fold fold;
        uint32_t i = start + threadIdx.x;
        for (; i + (AHEAD - 1) * blockDim.x < end; i += AHEAD * blockDim.x) {
            T ahead[AHEAD];
#pragma unroll
            for (unsigned a = 0; a < AHEAD; ++a) ahead[a] = from[within.at(i + a * blockDim.x)];
#pragma unroll
            for (unsigned a = 0; a < AHEAD; ++a) fold.take(ahead[a], i + a * blockDim.x);
        }
        for (; i < end; i += blockDim.x) fold.take(from[within.at(i)], i);
        merge_group(fold, of_warp, [&](const Fold &all) { out[result] = all.finish(from[0], leads); });
    }
}

/// A part that found nothing, since it holds nothing but NaN, leaves a place beyond the end.
template <class Fold, class T>
static __device__ __forceinline__ void join_places(const Walk<1> &kept, const Walk<1> &within, uint32_t parts, const T *x,
                                                   const uint32_t *places, uint32_t *out, Fold *of_warp) {
    for (uint32_t result = blockIdx.x; result < kept.count; result += gridDim.x) {
        const T *from = x + kept.at(result);
        Fold fold;
        for (uint32_t p = threadIdx.x; p < parts; p += blockDim.x) {
            const uint32_t place = places[uint64_t(p) * kept.count + result];
            if (place < within.count) fold.take(from[within.at(place)], place);
        }
        merge_group(fold, of_warp, [&](const Fold &all) { out[result] = all.finish(from[0], true); });
    }
}

/// LDS for objects with initialisers, which __shared__ variables cannot have.
template <class Fold> struct alignas(16) Storage { unsigned char bytes[sizeof(Fold) * (MOST_THREADS / WARP)]; };

#define ENTRY_POINTS(FOLD, NAME, T, SUFFIX)                                                                        \
    extern "C" __global__ void __launch_bounds__(MOST_THREADS)                                                     \
        NAME##_each_##SUFFIX(Walk<1> kept, Walk<1> within, PartOf part, const T *x, FOLD<T>::Result *out) {        \
        fold_each<FOLD<T>, T>(kept, within, part, x, out);                                                         \
    }                                                                                                              \
    extern "C" __global__ void __launch_bounds__(MOST_THREADS)                                                     \
        NAME##_group_##SUFFIX(Walk<1> kept, Walk<1> within, PartOf part, const T *x, FOLD<T>::Result *out) {       \
        __shared__ Storage<FOLD<T>> of_warp;                                                                       \
        fold_group<FOLD<T>, T>(kept, within, part, x, out, reinterpret_cast<FOLD<T> *>(of_warp.bytes));                  \
    }
#define JOIN(FOLD, NAME, T, SUFFIX)                                                                                \
    extern "C" __global__ void __launch_bounds__(MOST_THREADS)                                                     \
        NAME##_join_##SUFFIX(Walk<1> kept, Walk<1> within, uint32_t parts, const T *x, const uint32_t *places,     \
                             uint32_t *out) {                                                                      \
        __shared__ Storage<FOLD<T>> of_warp;                                                                       \
        join_places<FOLD<T>, T>(kept, within, parts, x, places, out, reinterpret_cast<FOLD<T> *>(of_warp.bytes));  \
    }
#define FOLDS(T, SUFFIX)                                                                         \
    ENTRY_POINTS(Sum, sum, T, SUFFIX) ENTRY_POINTS(Min, min, T, SUFFIX)                          \
    ENTRY_POINTS(Max, max, T, SUFFIX) ENTRY_POINTS(ArgMin, argmin, T, SUFFIX)                    \
    ENTRY_POINTS(ArgMax, argmax, T, SUFFIX) JOIN(ArgMin, argmin, T, SUFFIX)                      \
    JOIN(ArgMax, argmax, T, SUFFIX)
FOR_NUMBERS(FOLDS)
ENTRY_POINTS(WideSum, sum_wide, f16, f16)
ENTRY_POINTS(WideSum, sum_wide, bf16, bf16)
ENTRY_POINTS(WideSum, sum_wide, f8, f8_e4m3)
