// CUDA's short vectors, with CUDA's sizes and alignments: upstream reinterprets raw memory as these.
#pragma once

#include "platform.h"

#define COMPAT_VECTOR2(NAME, T, ALIGN)                    \
    struct alignas(ALIGN) NAME { T x, y; };               \
    COMPAT_DEVICE NAME make_##NAME(T x, T y) { return {x, y}; }
#define COMPAT_VECTOR4(NAME, T, ALIGN)                    \
    struct alignas(ALIGN) NAME { T x, y, z, w; };         \
    COMPAT_DEVICE NAME make_##NAME(T x, T y, T z, T w) { return {x, y, z, w}; }

COMPAT_VECTOR2(char2, signed char, 2)
COMPAT_VECTOR2(short2, short, 4)
COMPAT_VECTOR2(int2, int, 8)
COMPAT_VECTOR2(uint2, unsigned, 8)
COMPAT_VECTOR2(float2, float, 8)
COMPAT_VECTOR2(double2, double, 16)
COMPAT_VECTOR4(char4, signed char, 4)
COMPAT_VECTOR4(uchar4, unsigned char, 4)
COMPAT_VECTOR4(int4, int, 16)
COMPAT_VECTOR4(uint4, unsigned, 16)
COMPAT_VECTOR4(float4, float, 16)
#undef COMPAT_VECTOR2
#undef COMPAT_VECTOR4
