// What attention exchanges between the lanes of a warp, beyond include/exchange.h: octets of lanes.
#pragma once

#include "portable.h"

#if defined(__HIP__)

/// The value of lane SOURCE of each eight.
template <int SOURCE> static __device__ __forceinline__ float from_octet(float value) {
    const int bits = __builtin_bit_cast(int, value);
#if defined(__GFX10__) || defined(__GFX11__) || defined(__GFX12__)
    return __builtin_bit_cast(float, __builtin_amdgcn_mov_dpp8(bits, SOURCE * 0x249249));
#else
    return __builtin_bit_cast(float, __builtin_amdgcn_ds_swizzle(bits, SOURCE << 5 | 0x18));
#endif
}

/// A value that is the same in all lanes of the wave, in a scalar register.
static __device__ __forceinline__ unsigned uniform(unsigned value) { return __builtin_amdgcn_readfirstlane(value); }

/// The largest of a value that is the same in each warp of the wave.
static __device__ __forceinline__ unsigned wave_largest(unsigned value) {
#if CANDLE_WAVE_SIZE == 64
    return max(uniform(value), static_cast<unsigned>(__builtin_amdgcn_readlane(value, WARP)));
#else
    return uniform(value);
#endif
}

#else

static __device__ __forceinline__ unsigned uniform(unsigned value) { return value; }
static __device__ __forceinline__ unsigned wave_largest(unsigned value) { return value; }
template <int SOURCE> static __device__ __forceinline__ float from_octet(float value) {
    return __shfl_sync(0xffffffffu, value, SOURCE, 8);
}

#endif

/// The largest of a warp's values, in each lane.
static __device__ __forceinline__ float warp_largest(float value) {
    return joined<WARP>(value, [](float a, float b) { return fmaxf(a, b); });
}

/// Each lane brings a share of eight sums over its octet; lane i of the octet leaves with sum i. Halving what is carried
/// at each exchange takes seven of them where eight sums one by one would take 24.
static __device__ __forceinline__ float octet_sums(float (&shares)[8], unsigned lane) {
    halve<7, 8>(shares, lane & 4);
    halve<2, 4>(shares, lane & 2);
    halve<1, 2>(shares, lane & 1);
    return shares[0];
}
