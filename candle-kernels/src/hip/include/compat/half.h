// IEEE binary16 as `__half`: every target computes it natively as _Float16, rounding to nearest even.
#pragma once

#include "math.h"
#include "vector_types.h"

struct __half_raw { unsigned short x; };

struct __half {
    _Float16 value;

    __half() = default;
    COMPAT_MEMBER __half(__half_raw raw) : value(__builtin_bit_cast(_Float16, raw.x)) {}
    COMPAT_MEMBER __half(_Float16 v) : value(v) {}
    template <class N, candle_compat::arithmetic<N> = 0>
    COMPAT_MEMBER __half(N v) : value(static_cast<_Float16>(v)) {}

    COMPAT_MEMBER operator float() const { return value; }
    COMPAT_MEMBER __half &operator+=(__half other) { value += other.value; return *this; }
    COMPAT_MEMBER __half &operator-=(__half other) { value -= other.value; return *this; }
    COMPAT_MEMBER __half &operator*=(__half other) { value *= other.value; return *this; }
    COMPAT_MEMBER __half &operator/=(__half other) { value /= other.value; return *this; }
};
typedef __half half;

#define COMPAT_ARITHMETIC(OP) \
    COMPAT_DEVICE __half operator OP(__half a, __half b) { return static_cast<_Float16>(a.value OP b.value); }
COMPAT_ARITHMETIC(+)
COMPAT_ARITHMETIC(-)
COMPAT_ARITHMETIC(*)
COMPAT_ARITHMETIC(/)
#undef COMPAT_ARITHMETIC
#define COMPAT_COMPARISON(OP) \
    COMPAT_DEVICE bool operator OP(__half a, __half b) { return a.value OP b.value; }
COMPAT_COMPARISON(<)
COMPAT_COMPARISON(>)
COMPAT_COMPARISON(<=)
COMPAT_COMPARISON(>=)
COMPAT_COMPARISON(==)
COMPAT_COMPARISON(!=)
#undef COMPAT_COMPARISON
COMPAT_DEVICE __half operator-(__half a) { return static_cast<_Float16>(-a.value); }

COMPAT_DEVICE float __half2float(__half h) { return h.value; }
COMPAT_DEVICE float __half2float(__half_raw raw) { return __half(raw).value; }
COMPAT_DEVICE __half __float2half(float f) { return __half(f); }
COMPAT_DEVICE __half __float2half_rn(float f) { return __half(f); }
COMPAT_DEVICE __half __ushort_as_half(unsigned short bits) { return __builtin_bit_cast(_Float16, bits); }
COMPAT_DEVICE unsigned short __half_as_ushort(__half h) { return __builtin_bit_cast(unsigned short, h.value); }

COMPAT_DEVICE bool __hisnan(__half h) { return h.value != h.value; }
COMPAT_DEVICE __half __habs(__half h) { return static_cast<_Float16>(__builtin_fabsf16(h.value)); }
COMPAT_DEVICE __half __hmin(__half a, __half b) { return static_cast<_Float16>(__builtin_fminf16(a.value, b.value)); }
COMPAT_DEVICE __half __hmax(__half a, __half b) { return static_cast<_Float16>(__builtin_fmaxf16(a.value, b.value)); }
COMPAT_DEVICE __half __hmin_nan(__half a, __half b) { return __hisnan(a) ? a : __hisnan(b) ? b : __hmin(a, b); }
COMPAT_DEVICE __half __hmax_nan(__half a, __half b) { return __hisnan(a) ? a : __hisnan(b) ? b : __hmax(a, b); }
COMPAT_DEVICE __half hsqrt(__half h) { return sqrtf(h.value); }
COMPAT_DEVICE __half hsin(__half h) { return sinf(h.value); }
COMPAT_DEVICE __half hcos(__half h) { return cosf(h.value); }
COMPAT_DEVICE __half hexp(__half h) { return expf(h.value); }
COMPAT_DEVICE __half hlog(__half h) { return logf(h.value); }

struct alignas(4) __half2 {
    __half x, y;
    __half2() = default;
    COMPAT_MEMBER __half2(__half low, __half high) : x(low), y(high) {}
};
typedef __half2 half2;

COMPAT_DEVICE __half2 make_half2(__half low, __half high) { return {low, high}; }
COMPAT_DEVICE __half2 __halves2half2(__half low, __half high) { return {low, high}; }
COMPAT_DEVICE __half2 __half2half2(__half h) { return {h, h}; }
COMPAT_DEVICE __half2 __float22half2_rn(float2 f) { return {f.x, f.y}; }
COMPAT_DEVICE __half2 __floats2half2_rn(float low, float high) { return {low, high}; }
COMPAT_DEVICE float2 __half22float2(__half2 h) { return {h.x, h.y}; }
COMPAT_DEVICE __half __low2half(__half2 h) { return h.x; }
COMPAT_DEVICE __half __high2half(__half2 h) { return h.y; }
COMPAT_DEVICE float __low2float(__half2 h) { return h.x; }
COMPAT_DEVICE float __high2float(__half2 h) { return h.y; }
COMPAT_DEVICE __half2 __hadd2(__half2 a, __half2 b) { return {a.x + b.x, a.y + b.y}; }
COMPAT_DEVICE __half2 __hsub2(__half2 a, __half2 b) { return {a.x - b.x, a.y - b.y}; }
COMPAT_DEVICE __half2 __hmul2(__half2 a, __half2 b) { return {a.x * b.x, a.y * b.y}; }
COMPAT_DEVICE __half2 __h2div(__half2 a, __half2 b) { return {a.x / b.x, a.y / b.y}; }
COMPAT_DEVICE __half2 __hmax2(__half2 a, __half2 b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }
COMPAT_DEVICE __half2 operator+(__half2 a, __half2 b) { return __hadd2(a, b); }
COMPAT_DEVICE __half2 operator-(__half2 a, __half2 b) { return __hsub2(a, b); }
COMPAT_DEVICE __half2 operator*(__half2 a, __half2 b) { return __hmul2(a, b); }
