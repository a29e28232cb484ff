// Products of two f16 at a time, added to an f32: v_dot2_f32_f16.
#pragma once

#include "portable.h"

#if defined(__gfx90a__) || defined(__gfx942__) || defined(__gfx9_4_generic__) || \
    defined(__GFX10__) || defined(__GFX11__) || defined(__GFX12__)
#define HAS_DOT2 1

typedef _Float16 HalfPair __attribute__((ext_vector_type(2)));

static __device__ __forceinline__ float dot2(HalfPair a, HalfPair b, float sum) {
    return __builtin_amdgcn_fdot2(a, b, sum, false);
}
#else
#define HAS_DOT2 0
#endif
