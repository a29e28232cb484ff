// One operand in, one result out: unary functions, affine, power, ELU.
//
//   <op>_<t>        (walk, x, out)             float functions; the few that have a meaning for whole numbers too
//   upowf, uelu_<t> (walk, parameter, x, out)
//   affine_<t>      (walk, mul, add, x, out)
//
// The result is contiguous. Narrow floats are computed in f32 and rounded once.
#include "element.h"
#include "walk.h"
#if defined(__HIP__)
#include "compat/math.h"
#endif
#if defined(__clang__)
#pragma clang fp contract(off)
#endif

#define FUNCTION(NAME, EXPRESSION)                                      \
    struct NAME {                                                       \
        template <class A> static __device__ __forceinline__ A of(A x) { return EXPRESSION; } \
    };

FUNCTION(uexp, exp(x))
FUNCTION(ulog, log(x))
FUNCTION(usin, sin(x))
FUNCTION(ucos, cos(x))
FUNCTION(utanh, tanh(x))
FUNCTION(uneg, -x)
FUNCTION(urecip, A(1) / x)
FUNCTION(usqr, x *x)
FUNCTION(usqrt, sqrt(x))
FUNCTION(uerf, erf(x))
FUNCTION(usilu, x / (A(1) + exp(-x)))
FUNCTION(usigmoid, A(1) / (A(1) + exp(-x)))
FUNCTION(ugelu, A(0.5) * x *(A(1) + tanh(A(0.79788456080286535588) * x * (A(1) + A(0.044715) * x * x))))
FUNCTION(ugelu_erf, (erf(x *A(0.70710678118654752440)) + A(1)) * A(0.5) * x)
FUNCTION(uceil, ceil(x))
FUNCTION(ufloor, floor(x))
FUNCTION(uround, round(x))
FUNCTION(uabs, fabs(x))

// These read the same for floats and whole numbers. NaN becomes 0, as in the CPU backend.
FUNCTION(urelu, x > A(0) ? x : A(0))
FUNCTION(usign, A(x > A(0)) - A(x < A(0)))
// Minus the smallest whole number is itself.
FUNCTION(uabs_whole, x < A(0) ? A(uint64_t(0) - uint64_t(x)) : x)
FUNCTION(same, x)

#define UNARY_AS(F, NAME, T, SUFFIX)                                                                  \
    extern "C" __global__ void NAME##_##SUFFIX(Walk<1> walk, const T *x, T *out) {                   \
        FOR_EACH(i, walk.count) out[i] = T(F::of(value_of(x[walk.at(i)])));                           \
    }
#define UNARY(F, T, SUFFIX) UNARY_AS(F, F, T, SUFFIX)

template <class A> static __device__ __forceinline__ A power(A x, A exponent) { return pow(x, exponent); }
/// Positive zero and positive NaN pass, as in the CPU backend.
template <class A> static __device__ __forceinline__ A elu(A x, A alpha) {
    return __builtin_signbit(x) ? expm1(x) * alpha : x;
}

#define WITH_PARAMETER(NAME, F, T, SUFFIX)                                                                  \
    extern "C" __global__ void NAME##_##SUFFIX(Walk<1> walk, T parameter, const T *x, T *out) {             \
        FOR_EACH(i, walk.count) out[i] = T(F(value_of(x[walk.at(i)]), value_of(parameter)));                \
    }

#define FLOAT_FUNCTIONS(T, SUFFIX)                                                                     \
    UNARY(uexp, T, SUFFIX) UNARY(ulog, T, SUFFIX) UNARY(usin, T, SUFFIX) UNARY(ucos, T, SUFFIX)         \
    UNARY(utanh, T, SUFFIX) UNARY(uneg, T, SUFFIX) UNARY(urecip, T, SUFFIX) UNARY(usqr, T, SUFFIX)      \
    UNARY(usqrt, T, SUFFIX) UNARY(uerf, T, SUFFIX) UNARY(usilu, T, SUFFIX) UNARY(usigmoid, T, SUFFIX)   \
    UNARY(ugelu, T, SUFFIX) UNARY(ugelu_erf, T, SUFFIX) UNARY(uceil, T, SUFFIX) UNARY(ufloor, T, SUFFIX) \
    UNARY(uround, T, SUFFIX) UNARY(uabs, T, SUFFIX) UNARY(urelu, T, SUFFIX) UNARY(usign, T, SUFFIX)     \
    WITH_PARAMETER(upowf, power, T, SUFFIX) WITH_PARAMETER(uelu, elu, T, SUFFIX)
FOR_FLOATS(FLOAT_FUNCTIONS)

#define INTEGER_FUNCTIONS(T, SUFFIX)                                                                    \
    UNARY_AS(same, uceil, T, SUFFIX) UNARY_AS(same, ufloor, T, SUFFIX) UNARY_AS(same, uround, T, SUFFIX) \
    UNARY_AS(uabs_whole, uabs, T, SUFFIX) UNARY(urelu, T, SUFFIX) UNARY(usign, T, SUFFIX)
FOR_INTEGERS(INTEGER_FUNCTIONS)

// The product is rounded to T before the sum, which is rounded again.
#define AFFINE(T, SUFFIX)                                                                                         \
    extern "C" __global__ void affine_##SUFFIX(Walk<1> walk, T mul, T add, const T *x, T *out) {                  \
        FOR_EACH(i, walk.count) {                                                                                 \
            const T product = T(value_of(x[walk.at(i)]) * value_of(mul));                                         \
            out[i] = T(value_of(product) + value_of(add));                                                        \
        }                                                                                                         \
    }
FOR_NUMBERS(AFFINE)
