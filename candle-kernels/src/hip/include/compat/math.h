// Mathematics: LLVM's own operations where they are exact, ocml (one bitcode file of the ROCm device
// libraries, linked by the build) for the rest. clang's builtins must not stand in for ocml: powf, for one,
// would turn into exp2(y * log2(x)) and lose most of its digits.
#pragma once

#include "platform.h"

#define INFINITY (__builtin_inff())
#define NAN (__builtin_nanf(""))
#define M_PI 3.14159265358979323846
#define M_2_SQRTPI 1.12837916709551257390
#define M_SQRT1_2 0.70710678118654752440

#define COMPAT_OCML_1(NAME, OCML)                                                     \
    extern "C" __device__ __attribute__((const)) float __ocml_##OCML##_f32(float);    \
    extern "C" __device__ __attribute__((const)) double __ocml_##OCML##_f64(double);  \
    COMPAT_DEVICE float NAME##f(float x) { return __ocml_##OCML##_f32(x); }           \
    COMPAT_DEVICE float NAME(float x) { return __ocml_##OCML##_f32(x); }              \
    COMPAT_DEVICE double NAME(double x) { return __ocml_##OCML##_f64(x); }
COMPAT_OCML_1(exp, exp)
COMPAT_OCML_1(exp2, exp2)
COMPAT_OCML_1(expm1, expm1)
COMPAT_OCML_1(log, log)
COMPAT_OCML_1(log2, log2)
COMPAT_OCML_1(log10, log10)
COMPAT_OCML_1(log1p, log1p)
COMPAT_OCML_1(sin, sin)
COMPAT_OCML_1(cos, cos)
COMPAT_OCML_1(tanh, tanh)
COMPAT_OCML_1(erf, erf)
COMPAT_OCML_1(normcdf, ncdf)
#undef COMPAT_OCML_1

extern "C" __device__ __attribute__((const)) float __ocml_pow_f32(float, float);
extern "C" __device__ __attribute__((const)) double __ocml_pow_f64(double, double);
COMPAT_DEVICE float powf(float x, float y) { return __ocml_pow_f32(x, y); }
COMPAT_DEVICE float pow(float x, float y) { return __ocml_pow_f32(x, y); }
COMPAT_DEVICE double pow(double x, double y) { return __ocml_pow_f64(x, y); }

#define COMPAT_BUILTIN_1(NAME)                                               \
    COMPAT_DEVICE float NAME##f(float x) { return __builtin_##NAME##f(x); }  \
    COMPAT_DEVICE float NAME(float x) { return __builtin_##NAME##f(x); }     \
    COMPAT_DEVICE double NAME(double x) { return __builtin_##NAME(x); }
COMPAT_BUILTIN_1(sqrt)
COMPAT_BUILTIN_1(ceil)
COMPAT_BUILTIN_1(floor)
COMPAT_BUILTIN_1(round)
COMPAT_BUILTIN_1(trunc)
COMPAT_BUILTIN_1(rint)
COMPAT_BUILTIN_1(fabs)
#undef COMPAT_BUILTIN_1

#define COMPAT_BUILTIN_2(NAME)                                                           \
    COMPAT_DEVICE float NAME##f(float x, float y) { return __builtin_##NAME##f(x, y); }  \
    COMPAT_DEVICE float NAME(float x, float y) { return __builtin_##NAME##f(x, y); }     \
    COMPAT_DEVICE double NAME(double x, double y) { return __builtin_##NAME(x, y); }
COMPAT_BUILTIN_2(fmin)
COMPAT_BUILTIN_2(fmax)
COMPAT_BUILTIN_2(copysign)
#undef COMPAT_BUILTIN_2

COMPAT_DEVICE float min(float x, float y) { return fminf(x, y); }
COMPAT_DEVICE float max(float x, float y) { return fmaxf(x, y); }
COMPAT_DEVICE double min(double x, double y) { return fmin(x, y); }
COMPAT_DEVICE double max(double x, double y) { return fmax(x, y); }

COMPAT_DEVICE float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
COMPAT_DEVICE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
// v_rsq_f32: 1 ulp, CUDA promises 2.
COMPAT_DEVICE float rsqrtf(float x) { return __builtin_amdgcn_rsqf(x); }
COMPAT_DEVICE double rsqrt(double x) { return 1.0 / __builtin_sqrt(x); }
// v_ldexp_f32; __builtin_ldexpf became its only spelling in LLVM 18.
COMPAT_DEVICE float ldexpf(float x, int exponent) { return __builtin_ldexpf(x, exponent); }
COMPAT_DEVICE float __expf(float x) { return __builtin_exp2f(x * 1.44269504088896340736f); }
COMPAT_DEVICE float __fdividef(float x, float y) { return x / y; }

COMPAT_DEVICE bool isnan(float x) { return __builtin_isnan(x); }
COMPAT_DEVICE bool isnan(double x) { return __builtin_isnan(x); }
COMPAT_DEVICE bool isinf(float x) { return __builtin_isinf(x); }
COMPAT_DEVICE bool isinf(double x) { return __builtin_isinf(x); }
COMPAT_DEVICE bool signbit(float x) { return __builtin_signbitf(x); }
COMPAT_DEVICE bool signbit(double x) { return __builtin_signbit(x); }
