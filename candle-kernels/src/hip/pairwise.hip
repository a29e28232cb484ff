// Two operands in, one contiguous result out.
//
//   badd bsub bmul bdiv bminimum bmaximum_<t>  (walk, a, b, out)     result of the operands' type
//   bdiv_<whole number>                        (walk, a, b, out, fault report)
//   eq ne lt le gt ge_<t>                      (walk, a, b, out)     result u8: 1 or 0
#include "element.h"
#include "fault.h"
#include "walk.h"
#if defined(__clang__)
#pragma clang fp contract(off)
#endif

#define PAIR(NAME, T, SUFFIX, OUT, EXPRESSION)                                                                  \
    extern "C" __global__ void NAME##_##SUFFIX(Walk<2> walk, const T *left, const T *right, OUT *out) {         \
        FOR_EACH(i, walk.count) {                                                                               \
            uint64_t at[2];                                                                                     \
            walk.at(i, at);                                                                                     \
            const Value<T> a = value_of(left[at[0]]), b = value_of(right[at[1]]);                               \
            out[i] = OUT(EXPRESSION);                                                                           \
        }                                                                                                       \
    }

// Whole numbers wrap around: their arithmetic is that of unsigned numbers.
template <class A> struct Wrapping { typedef uint64_t type; };
template <> struct Wrapping<float> { typedef float type; };
template <> struct Wrapping<double> { typedef double type; };
template <> struct Wrapping<int32_t> { typedef uint32_t type; };
template <> struct Wrapping<uint32_t> { typedef uint32_t type; };
template <> struct Wrapping<int16_t> { typedef uint32_t type; };
template <> struct Wrapping<uint8_t> { typedef uint32_t type; };
template <class T> using Wrapped = typename Wrapping<Value<T>>::type;

// Minimum and maximum keep the left operand when the two do not compare (NaN), as the CPU backend does.
#define PAIRS(T, SUFFIX)                                              \
    PAIR(badd, T, SUFFIX, T, Wrapped<T>(a) + Wrapped<T>(b))           \
    PAIR(bsub, T, SUFFIX, T, Wrapped<T>(a) - Wrapped<T>(b))           \
    PAIR(bmul, T, SUFFIX, T, Wrapped<T>(a) * Wrapped<T>(b))           \
    PAIR(bminimum, T, SUFFIX, T, a > b ? b : a)                       \
    PAIR(bmaximum, T, SUFFIX, T, a < b ? b : a)                       \
    PAIR(eq, T, SUFFIX, uint8_t, a == b)                              \
    PAIR(ne, T, SUFFIX, uint8_t, a != b)                              \
    PAIR(lt, T, SUFFIX, uint8_t, a < b)                               \
    PAIR(le, T, SUFFIX, uint8_t, a <= b)                              \
    PAIR(gt, T, SUFFIX, uint8_t, a > b)                               \
    PAIR(ge, T, SUFFIX, uint8_t, a >= b)
FOR_NUMBERS(PAIRS)

#define FLOAT_QUOTIENT(T, SUFFIX) PAIR(bdiv, T, SUFFIX, T, a / b)
FOR_FLOATS(FLOAT_QUOTIENT)

/// Towards zero. Dividing the smallest number by -1 wraps around.
template <class T> static __device__ __forceinline__ T quotient(T a, T b, const FaultReport &fault) {
    if (b == 0) {
        fault.raise(0, 0);
        return 0;
    }
    if (is_signed_integer<T> && b == T(-1)) return T(Wrapped<T>(0) - Wrapped<T>(a));
    return a / b;
}

#define INTEGER_QUOTIENT(T, SUFFIX)                                                                             \
    extern "C" __global__ void bdiv_##SUFFIX(Walk<2> walk, const T *left, const T *right, T *out,               \
                                             FaultReport fault) {                                               \
        FOR_EACH(i, walk.count) {                                                                               \
            uint64_t at[2];                                                                                     \
            walk.at(i, at);                                                                                     \
            out[i] = quotient<T>(left[at[0]], right[at[1]], fault);                                             \
        }                                                                                                       \
    }
FOR_INTEGERS(INTEGER_QUOTIENT)
