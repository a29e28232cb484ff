// Integer intrinsics: bit casts, min and max, packed bytes, the four-byte dot product.
#pragma once

#include "platform.h"

COMPAT_DEVICE float __uint_as_float(unsigned bits) { return __builtin_bit_cast(float, bits); }
COMPAT_DEVICE float __int_as_float(int bits) { return __builtin_bit_cast(float, bits); }
COMPAT_DEVICE unsigned __float_as_uint(float value) { return __builtin_bit_cast(unsigned, value); }
COMPAT_DEVICE int __float_as_int(float value) { return __builtin_bit_cast(int, value); }
COMPAT_DEVICE double __longlong_as_double(long long bits) { return __builtin_bit_cast(double, bits); }
COMPAT_DEVICE long long __double_as_longlong(double value) { return __builtin_bit_cast(long long, value); }

COMPAT_DEVICE int __popc(unsigned value) { return __builtin_popcount(value); }

#define COMPAT_MIN_MAX(T)                                      \
    COMPAT_DEVICE T min(T a, T b) { return b < a ? b : a; }    \
    COMPAT_DEVICE T max(T a, T b) { return a < b ? b : a; }
COMPAT_MIN_MAX(int)
COMPAT_MIN_MAX(unsigned)
COMPAT_MIN_MAX(long)
COMPAT_MIN_MAX(unsigned long)
COMPAT_MIN_MAX(long long)
COMPAT_MIN_MAX(unsigned long long)
#undef COMPAT_MIN_MAX
// CUDA compares a signed with an unsigned operand as unsigned.
COMPAT_DEVICE unsigned min(int a, unsigned b) { return min(static_cast<unsigned>(a), b); }
COMPAT_DEVICE unsigned min(unsigned a, int b) { return min(a, static_cast<unsigned>(b)); }
COMPAT_DEVICE unsigned max(int a, unsigned b) { return max(static_cast<unsigned>(a), b); }
COMPAT_DEVICE unsigned max(unsigned a, int b) { return max(a, static_cast<unsigned>(b)); }

namespace candle_compat {

COMPAT_DEVICE int signed_byte(unsigned word, int index) { return static_cast<signed char>(word >> (8 * index)); }
COMPAT_DEVICE unsigned place_byte(int byte, int index) { return (byte & 0xffu) << (8 * index); }

}  // namespace candle_compat

/// c + the dot product of the four signed bytes of a with those of b.
COMPAT_DEVICE int __dp4a(int a, int b, int c) {
// The table of targets says which of the two instructions a target has; wrap-around as in CUDA (no clamp).
#if defined(CANDLE_HAS_SUDOT4)
    return __builtin_amdgcn_sudot4(true, a, true, b, c, false);
#elif defined(CANDLE_HAS_SDOT4)
    return __builtin_amdgcn_sdot4(a, b, c, false);
#else
    for (int i = 0; i < 4; ++i) c += candle_compat::signed_byte(a, i) * candle_compat::signed_byte(b, i);
    return c;
#endif
}

/// Picks four bytes out of the eight of b:a; each nibble of `selector` names one.
COMPAT_DEVICE unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    // v_perm_b32 wants a whole byte per choice, and its bytes 0 to 3 lie in the second operand.
    unsigned bytes = (selector & 0x7u) | (selector & 0x70u) << 4 | (selector & 0x700u) << 8 | (selector & 0x7000u) << 12;
    return __builtin_amdgcn_perm(b, a, bytes);
}

/// Four byte-wise subtractions, each modulo 256.
COMPAT_DEVICE unsigned __vsub4(unsigned a, unsigned b) {
    const unsigned top = 0x80808080u;
    // With the top bit set in a and clear in b no byte borrows from its neighbour; the true top bit is put back.
    return ((a | top) - (b & ~top)) ^ ((a ^ ~b) & top);
}

/// Four byte-wise signed subtractions, each limited to [-128, 127].
COMPAT_DEVICE unsigned __vsubss4(unsigned a, unsigned b) {
    unsigned out = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        int difference = candle_compat::signed_byte(a, i) - candle_compat::signed_byte(b, i);
        out |= candle_compat::place_byte(max(-128, min(127, difference)), i);
    }
    return out;
}

/// 0xff in each byte where a and b differ, else 0.
COMPAT_DEVICE unsigned __vcmpne4(unsigned a, unsigned b) {
    unsigned out = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) out |= candle_compat::place_byte((((a ^ b) >> (8 * i)) & 0xffu) ? -1 : 0, i);
    return out;
}
