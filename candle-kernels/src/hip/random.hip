// Random numbers by counter: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2,
// 3", SC 2011). Block number `first + i` under the key `seed` gives four words; a thread makes the elements of a block.
//
//   uniform_<t>  (out, count, seed, first, low, span, last)    low + u * span, at most `last`; u of 24 bits (f64: 53)
//   normal_<t>   (out, count, seed, first, mean, deviation)    by Box and Muller (1958)
//
// Every target gives the same numbers: only operations that IEEE 754 defines to the last bit occur, in an order that
// the compiler may not change. That is also why logarithm, sine and cosine are series of our own.
#include "element.h"
#if defined(__clang__)
#pragma clang fp contract(off)
#endif

struct Block { uint32_t word[4]; };

static __device__ __forceinline__ Block philox(uint64_t counter, uint64_t seed) {
    uint32_t c0 = uint32_t(counter), c1 = uint32_t(counter >> 32), c2 = 0, c3 = 0;
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const uint64_t a = uint64_t(0xD2511F53u) * c0, b = uint64_t(0xCD9E8D57u) * c2;
        c0 = uint32_t(b >> 32) ^ c1 ^ k0;
        c2 = uint32_t(a >> 32) ^ c3 ^ k1;
        c1 = uint32_t(b);
        c3 = uint32_t(a);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

/// What a type A takes from a block, and how many terms its series need for its precision.
template <class A> struct Source;
template <> struct Source<float> {
    static constexpr unsigned NUMBERS = 4;
    static constexpr int LOG_TERMS = 6, ANGLE_TERMS = 5;
    /// In [0, 1).
    static __device__ __forceinline__ float unit(const Block &b, unsigned i) {
        return float(b.word[i] >> 8) * 5.9604644775390625e-8f;
    }
    /// In (0, 1], with small numbers as fine as floats are: the normal distribution's tails come from them.
    static __device__ __forceinline__ float positive(const Block &b, unsigned i) {
        return (float(b.word[i]) + 0.5f) * 2.3283064365386962890625e-10f;
    }
};
template <> struct Source<double> {
    static constexpr unsigned NUMBERS = 2;
    static constexpr int LOG_TERMS = 12, ANGLE_TERMS = 10;
    static __device__ __forceinline__ uint64_t bits(const Block &b, unsigned i) {
        return (uint64_t(b.word[2 * i + 1]) << 32 | b.word[2 * i]) >> 11;
    }
    static __device__ __forceinline__ double unit(const Block &b, unsigned i) {
        return double(bits(b, i)) * 1.1102230246251565404e-16;
    }
    static __device__ __forceinline__ double positive(const Block &b, unsigned i) {
        return (double(bits(b, i)) + 0.5) * 1.1102230246251565404e-16;
    }
};

/// log(x) of a normal number: x = m * 2^e with m near 1, log m = 2 artanh((m - 1) / (m + 1)).
template <class A> static __device__ __forceinline__ A logarithm(A x) {
    constexpr bool WIDE = sizeof(A) == 8;
    typedef typename Either<WIDE, uint64_t, uint32_t>::type Bits;
    constexpr int FRACTION = WIDE ? 52 : 23, BIAS = WIDE ? 1023 : 127;
    const Bits bits = __builtin_bit_cast(Bits, x);
    int exponent = int(bits >> FRACTION) - BIAS;
    A m = __builtin_bit_cast(A, Bits((bits & ((Bits(1) << FRACTION) - 1)) | Bits(BIAS) << FRACTION));
    if (m > A(1.41421356237309504880)) m = m * A(0.5), exponent += 1;
    const A s = (m - A(1)) / (m + A(1)), z = s * s;
    A sum = A(0);
#pragma unroll
    for (int k = Source<A>::LOG_TERMS; k >= 0; --k) sum = sum * z + A(1) / A(2 * k + 1);
    return A(exponent) * A(0.69314718055994530942) + A(2) * s * sum;
}

/// Sine and cosine of `turns` whole turns, turns in [0, 1).
template <class A> static __device__ __forceinline__ void circle(A turns, A &sine, A &cosine) {
    const A quarters = turns * A(4);
    const int quadrant = int(quarters + A(0.5));
    const A y = (quarters - A(quadrant)) * A(1.57079632679489661923), z = y * y;
    A s = A(1), c = A(1);
#pragma unroll
    for (int k = Source<A>::ANGLE_TERMS; k >= 1; --k) {
        s = A(1) - s * (z * (A(1) / A(2 * k * (2 * k + 1))));
        c = A(1) - c * (z * (A(1) / A(2 * k * (2 * k - 1))));
    }
    s = s * y;
    sine = quadrant % 2 ? c : s;
    cosine = quadrant % 2 ? s : c;
    if (quadrant == 2 || quadrant == 3) sine = -sine;
    if (quadrant == 1 || quadrant == 2) cosine = -cosine;
}

#define RANDOM(T, SUFFIX)                                                                                          \
    extern "C" __global__ void uniform_##SUFFIX(T *out, uint64_t count, uint64_t seed, uint64_t first, Value<T> low, \
                                                Value<T> span, Value<T> last) {                                     \
        typedef Source<Value<T>> S;                                                                                \
        const uint64_t blocks = (count + S::NUMBERS - 1) / S::NUMBERS, step = uint64_t(gridDim.x) * blockDim.x;    \
        for (uint64_t b = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x; b < blocks; b += step) {                \
            const Block block = philox(first + b, seed);                                                           \
            for (unsigned i = 0; i < S::NUMBERS; ++i) {                                                            \
                const uint64_t at = b * S::NUMBERS + i;                                                            \
                const T x = T(low + S::unit(block, i) * span);                                                     \
                if (at < count) out[at] = value_of(x) > last ? T(last) : x;                                        \
            }                                                                                                      \
        }                                                                                                          \
    }                                                                                                              \
    extern "C" __global__ void normal_##SUFFIX(T *out, uint64_t count, uint64_t seed, uint64_t first, Value<T> mean, \
                                               Value<T> deviation) {                                               \
        typedef Source<Value<T>> S;                                                                                \
        const uint64_t blocks = (count + S::NUMBERS - 1) / S::NUMBERS, step = uint64_t(gridDim.x) * blockDim.x;    \
        for (uint64_t b = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x; b < blocks; b += step) {                \
            const Block block = philox(first + b, seed);                                                           \
            for (unsigned i = 0; i < S::NUMBERS; i += 2) {                                                         \
                const Value<T> radius = sqrt(Value<T>(-2) * logarithm(S::positive(block, i)));                     \
                Value<T> sine, cosine;                                                                             \
                circle(S::unit(block, i + 1), sine, cosine);                                                       \
                const uint64_t at = b * S::NUMBERS + i;                                                            \
                if (at < count) out[at] = T(mean + deviation * (radius * cosine));                                 \
                if (at + 1 < count) out[at + 1] = T(mean + deviation * (radius * sine));                           \
            }                                                                                                      \
        }                                                                                                          \
    }
FOR_FLOATS(RANDOM)
