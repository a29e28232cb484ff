// Exchange between lanes without an address register or LDS: DPP, and ds_swizzle where a row of 16 lanes is left.
// All work within the 32 lanes of a warp. (AMD's ISA documents: "Data Parallel Processing", DS_SWIZZLE_B32.)
#pragma once

#include "portable.h"

#if defined(__HIP__)

template <int CONTROL> static __device__ __forceinline__ float moved_by_dpp(float value) {
    const int bits = __builtin_bit_cast(int, value);
    return __builtin_bit_cast(float, __builtin_amdgcn_update_dpp(bits, bits, CONTROL, 0xf, 0xf, true));
}

/// The value of lane ^ 1, ^ 2, ^ 7, ^ 8, ^ 16.
static __device__ __forceinline__ float from_xor1(float value) { return moved_by_dpp<0xb1>(value); }   // quad_perm
static __device__ __forceinline__ float from_xor2(float value) { return moved_by_dpp<0x4e>(value); }   // quad_perm
static __device__ __forceinline__ float from_xor7(float value) { return moved_by_dpp<0x141>(value); }  // row_half_mirror
static __device__ __forceinline__ float from_xor8(float value) { return moved_by_dpp<0x128>(value); }  // row_ror:8
static __device__ __forceinline__ float from_xor16(float value) {
    const int bits = __builtin_bit_cast(int, value);
    return __builtin_bit_cast(float, __builtin_amdgcn_ds_swizzle(bits, 0x401f));
}

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
static __device__ __forceinline__ float from_xor(float value, unsigned mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}
static __device__ __forceinline__ float from_xor1(float value) { return from_xor(value, 1); }
static __device__ __forceinline__ float from_xor2(float value) { return from_xor(value, 2); }
static __device__ __forceinline__ float from_xor7(float value) { return from_xor(value, 7); }
static __device__ __forceinline__ float from_xor8(float value) { return from_xor(value, 8); }
static __device__ __forceinline__ float from_xor16(float value) { return from_xor(value, 16); }
template <int SOURCE> static __device__ __forceinline__ float from_octet(float value) {
    return __shfl_sync(0xffffffffu, value, SOURCE, 8);
}

#endif

/// The largest of a warp's values, and their sum, in each lane. Lanes ^ 1, ^ 2 and ^ 7 reach each of an octet.
static __device__ __forceinline__ float warp_largest(float value) {
    value = fmaxf(value, from_xor1(value));
    value = fmaxf(value, from_xor2(value));
    value = fmaxf(value, from_xor7(value));
    value = fmaxf(value, from_xor8(value));
    return fmaxf(value, from_xor16(value));
}
static __device__ __forceinline__ float warp_total(float value) {
    value += from_xor1(value);
    value += from_xor2(value);
    value += from_xor7(value);
    value += from_xor8(value);
    return value + from_xor16(value);
}

/// One of two values. (`c ? a[i] : a[j]` chooses between addresses, which would move the array out of registers.)
static __device__ __forceinline__ float chosen(bool first, float a, float b) { return first ? a : b; }

/// Each lane brings a share of eight sums over its octet; lane i of the octet leaves with sum i. Halving what is carried
/// at each exchange takes seven of them where eight sums one by one would take 24.
static __device__ __forceinline__ float octet_sums(const float (&shares)[8], unsigned lane) {
    float four[4], two[2];
    const bool bit2 = lane & 4, bit1 = lane & 2, bit0 = lane & 1;
#pragma unroll
    for (unsigned i = 0; i < 4; ++i)
        four[i] = chosen(bit2, shares[i + 4], shares[i]) + from_xor7(chosen(bit2, shares[i], shares[i + 4]));
#pragma unroll
    for (unsigned i = 0; i < 2; ++i)
        two[i] = chosen(bit1, four[i + 2], four[i]) + from_xor2(chosen(bit1, four[i], four[i + 2]));
    return chosen(bit0, two[1], two[0]) + from_xor1(chosen(bit0, two[0], two[1]));
}
