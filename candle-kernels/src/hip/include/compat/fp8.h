// OCP 8-bit float E4M3 ("fn": no infinity, largest value 448) as `__hip_fp8_e4m3`, converted in software:
// only gfx942 and gfx12 have instructions for it, and gfx942's use another encoding.
#pragma once

#include "bfloat16.h"

enum __hip_fp8_interpretation_t { __HIP_E4M3, __HIP_E5M2 };

namespace candle_compat {

/// Rounds to nearest even; what lies beyond 448 becomes 448; NaN stays NaN.
COMPAT_DEVICE unsigned char float_to_e4m3(float value) {
    unsigned bits = __builtin_bit_cast(unsigned, value);
    const unsigned sign = (bits >> 24) & 0x80u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return sign | 0x7f;
    const float magnitude = __builtin_bit_cast(float, bits);
    if (magnitude >= 448.0f) return sign | 0x7e;
    // Below 2^-6 the format is subnormal: multiples of 2^-9. Rounding up to 8 of them gives the code of 2^-6.
    if (magnitude < 0.015625f) return sign | static_cast<unsigned>(__builtin_rintf(magnitude * 512.0f));
    // Three of 23 mantissa bits stay, and the exponent's bias drops from 127 to 7. Below 448 nothing exceeds 0x7e.
    bits += 0x7ffffu + ((bits >> 20) & 1u);
    return sign | ((bits >> 20) - ((127 - 7) << 3));
}

COMPAT_DEVICE float e4m3_to_float(unsigned char code) {
    const unsigned magnitude = code & 0x7f, exponent = magnitude >> 3, mantissa = code & 7;
    float value;
    if (magnitude == 0x7f) value = __builtin_nanf("");
    else if (exponent == 0) value = mantissa * 0.001953125f;  // 2^-9
    else value = __builtin_bit_cast(float, (magnitude << 20) + ((127 - 7) << 23));
    return code & 0x80 ? -value : value;
}

}  // namespace candle_compat

struct __hip_fp8_e4m3 {
    unsigned char __x;

    __hip_fp8_e4m3() = default;
    template <class N, candle_compat::arithmetic<N> = 0>
    COMPAT_MEMBER __hip_fp8_e4m3(N v) : __x(candle_compat::float_to_e4m3(static_cast<float>(v))) {}
    COMPAT_MEMBER explicit __hip_fp8_e4m3(__half v) : __hip_fp8_e4m3(static_cast<float>(v)) {}
    COMPAT_MEMBER explicit __hip_fp8_e4m3(__hip_bfloat16 v) : __hip_fp8_e4m3(static_cast<float>(v)) {}
    COMPAT_MEMBER explicit operator float() const { return candle_compat::e4m3_to_float(__x); }
};

// Every E4M3 value is a half: the conversion is exact. Upstream asks for E4M3 only.
COMPAT_DEVICE __half_raw __hip_cvt_fp8_to_halfraw(unsigned char code, __hip_fp8_interpretation_t) {
    return {__half_as_ushort(__half(candle_compat::e4m3_to_float(code)))};
}
