// bfloat16 as `__hip_bfloat16`: stored as 16 bits, computed in f32 and rounded to nearest even after every
// operation, which is what CUDA does too.
#pragma once

#include "half.h"

namespace candle_compat {

COMPAT_DEVICE float bfloat16_to_float(unsigned short bits) {
    return __builtin_bit_cast(float, static_cast<unsigned>(bits) << 16);
}

COMPAT_DEVICE unsigned short float_to_bfloat16(float value) {
    unsigned bits = __builtin_bit_cast(unsigned, value);
    // Rounding could carry a NaN's payload into infinity: every NaN becomes CUDA's canonical one.
    if (__builtin_isnan(value)) return 0x7fff;
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

}  // namespace candle_compat

struct __hip_bfloat16 {
    unsigned short bits;

    __hip_bfloat16() = default;
    template <class N, candle_compat::arithmetic<N> = 0>
    COMPAT_MEMBER __hip_bfloat16(N v) : bits(candle_compat::float_to_bfloat16(static_cast<float>(v))) {}
    COMPAT_MEMBER __hip_bfloat16(__half v) : __hip_bfloat16(static_cast<float>(v)) {}

    static COMPAT_MEMBER __hip_bfloat16 from_bits(unsigned short bits) {
        __hip_bfloat16 out;
        out.bits = bits;
        return out;
    }
    COMPAT_MEMBER operator float() const { return candle_compat::bfloat16_to_float(bits); }
    COMPAT_MEMBER __hip_bfloat16 &operator+=(__hip_bfloat16 o) { return *this = float(*this) + float(o); }
    COMPAT_MEMBER __hip_bfloat16 &operator-=(__hip_bfloat16 o) { return *this = float(*this) - float(o); }
    COMPAT_MEMBER __hip_bfloat16 &operator*=(__hip_bfloat16 o) { return *this = float(*this) * float(o); }
    COMPAT_MEMBER __hip_bfloat16 &operator/=(__hip_bfloat16 o) { return *this = float(*this) / float(o); }
};

#define COMPAT_ARITHMETIC(OP) \
    COMPAT_DEVICE __hip_bfloat16 operator OP(__hip_bfloat16 a, __hip_bfloat16 b) { return float(a) OP float(b); }
COMPAT_ARITHMETIC(+)
COMPAT_ARITHMETIC(-)
COMPAT_ARITHMETIC(*)
COMPAT_ARITHMETIC(/)
#undef COMPAT_ARITHMETIC
#define COMPAT_COMPARISON(OP) \
    COMPAT_DEVICE bool operator OP(__hip_bfloat16 a, __hip_bfloat16 b) { return float(a) OP float(b); }
COMPAT_COMPARISON(<)
COMPAT_COMPARISON(>)
COMPAT_COMPARISON(<=)
COMPAT_COMPARISON(>=)
COMPAT_COMPARISON(==)
COMPAT_COMPARISON(!=)
#undef COMPAT_COMPARISON
COMPAT_DEVICE __hip_bfloat16 operator-(__hip_bfloat16 a) { return __hip_bfloat16::from_bits(a.bits ^ 0x8000); }

COMPAT_DEVICE float __bfloat162float(__hip_bfloat16 a) { return a; }
COMPAT_DEVICE __hip_bfloat16 __float2bfloat16(float f) { return __hip_bfloat16(f); }
COMPAT_DEVICE __hip_bfloat16 __float2bfloat16_rn(float f) { return __hip_bfloat16(f); }

COMPAT_DEVICE bool __hisnan(__hip_bfloat16 a) { return __builtin_isnan(float(a)); }
COMPAT_DEVICE __hip_bfloat16 __habs(__hip_bfloat16 a) { return __hip_bfloat16::from_bits(a.bits & 0x7fff); }
COMPAT_DEVICE __hip_bfloat16 __hmin(__hip_bfloat16 a, __hip_bfloat16 b) { return fminf(a, b); }
COMPAT_DEVICE __hip_bfloat16 __hmax(__hip_bfloat16 a, __hip_bfloat16 b) { return fmaxf(a, b); }
COMPAT_DEVICE __hip_bfloat16 __hmin_nan(__hip_bfloat16 a, __hip_bfloat16 b) {
    return __hisnan(a) ? a : __hisnan(b) ? b : __hmin(a, b);
}
COMPAT_DEVICE __hip_bfloat16 __hmax_nan(__hip_bfloat16 a, __hip_bfloat16 b) {
    return __hisnan(a) ? a : __hisnan(b) ? b : __hmax(a, b);
}
COMPAT_DEVICE __hip_bfloat16 hsqrt(__hip_bfloat16 a) { return sqrtf(a); }
COMPAT_DEVICE __hip_bfloat16 hsin(__hip_bfloat16 a) { return sinf(a); }
COMPAT_DEVICE __hip_bfloat16 hcos(__hip_bfloat16 a) { return cosf(a); }
COMPAT_DEVICE __hip_bfloat16 hexp(__hip_bfloat16 a) { return expf(a); }
COMPAT_DEVICE __hip_bfloat16 hlog(__hip_bfloat16 a) { return logf(a); }

struct alignas(4) __hip_bfloat162 {
    __hip_bfloat16 x, y;
    __hip_bfloat162() = default;
    COMPAT_MEMBER __hip_bfloat162(__hip_bfloat16 low, __hip_bfloat16 high) : x(low), y(high) {}
};

#define COMPAT_PACKED(NAME, OP) \
    COMPAT_DEVICE __hip_bfloat162 NAME(__hip_bfloat162 a, __hip_bfloat162 b) { return {a.x OP b.x, a.y OP b.y}; }
COMPAT_PACKED(__hadd2, +)
COMPAT_PACKED(__hsub2, -)
COMPAT_PACKED(__hmul2, *)
COMPAT_PACKED(__h2div, /)
#undef COMPAT_PACKED
