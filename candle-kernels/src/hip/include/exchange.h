// Exchange between the 32 lanes of a warp by fixed patterns, and what is made of it: sums and maxima over lanes.
//
// A shuffle on AMD is ds_bpermute_b32: an address register, a trip through the LDS and a wait for it. Fixed patterns within
// a row of 16 lanes are DPP, which an addition takes as a modifier of its operand: one instruction a step. (AMD's ISA
// documents: "Data Parallel Processing", DS_SWIZZLE_B32.) On NVIDIA all are shuffles.
//
// As with shuffles, all lanes that exchange values with each other are active or none. Part of portable.h.
#pragma once

#if defined(__HIP__)

/// The word of lane ^ MASK. DPP of gfx9 has no lane ^ 4, but ^ 7: with ^ 1 and ^ 2 it reaches each of eight lanes as well.
template <unsigned MASK> static __device__ __forceinline__ int word_from_xor(int word) {
    static_assert(MASK == 1 || MASK == 2 || MASK == 7 || MASK == 8 || MASK == 16, "a pattern of DPP");
    if constexpr (MASK == 16) {
        // V_PERMLANEX16_B32 of RDNA would not wait for the LDS, but clang 19 moves it past branches, into code where the
        // lanes that it reads from are off.
        return __builtin_amdgcn_ds_swizzle(word, 0x401f);
    } else {
        constexpr int QUAD_PERM_1032 = 0xb1, QUAD_PERM_2301 = 0x4e, ROW_HALF_MIRROR = 0x141, ROW_ROR_8 = 0x128;
        constexpr int CONTROL = MASK == 1   ? QUAD_PERM_1032
                                : MASK == 2 ? QUAD_PERM_2301
                                : MASK == 7 ? ROW_HALF_MIRROR
                                            : ROW_ROR_8;
        return __builtin_amdgcn_update_dpp(0, word, CONTROL, 0xf, 0xf, true);
    }
}

/// The value of lane ^ MASK: 1, 2, 7, 8 or 16.
template <unsigned MASK, class T> static __device__ __forceinline__ T from_xor(T value) {
    static_assert(sizeof(T) <= 8, "at most two registers");
    int words[2] = {};
    __builtin_memcpy(words, &value, sizeof(T));
    words[0] = word_from_xor<MASK>(words[0]);
    if constexpr (sizeof(T) > 4) words[1] = word_from_xor<MASK>(words[1]);
    __builtin_memcpy(&value, words, sizeof(T));
    return value;
}

#else

template <unsigned MASK, class T> static __device__ __forceinline__ T from_xor(T value) {
    return static_cast<T>(__shfl_xor_sync(0xffffffffu, value, MASK));
}

#endif

/// `join` of the values of each aligned group of LANES lanes, in each of its lanes.
template <unsigned LANES, class T, class J> static __device__ __forceinline__ T joined(T value, J join) {
    static_assert(LANES <= WARP && (LANES & (LANES - 1)) == 0, "a warp or a part of it");
    if constexpr (LANES > 1) value = join(value, from_xor<1>(value));
    if constexpr (LANES > 2) value = join(value, from_xor<2>(value));
    if constexpr (LANES > 4) value = join(value, from_xor<7>(value));
    if constexpr (LANES > 8) value = join(value, from_xor<8>(value));
    if constexpr (LANES > 16) value = join(value, from_xor<16>(value));
    return value;
}

template <unsigned LANES, class T> static __device__ __forceinline__ T lanes_sum(T value) {
    return joined<LANES>(value, [](T a, T b) -> T { return a + b; });
}

/// The largest of values that are neither negative nor NaN, whose bits have their order: a maximum of whole numbers need not
/// look for NaN.
template <unsigned LANES> static __device__ __forceinline__ float lanes_max_magnitude(float value) {
    const unsigned bits = joined<LANES>(__float_as_uint(value), [](unsigned a, unsigned b) { return max(a, b); });
    return __uint_as_float(bits);
}

/// The sum of `value` over a warp, in each of its lanes.
template <class T> static __device__ __forceinline__ T warp_sum(T value) { return lanes_sum<WARP>(value); }

/// One of two values. (`c ? a[i] : a[j]` chooses between addresses, which would move the array out of registers.)
static __device__ __forceinline__ float chosen(bool first, float a, float b) { return first ? a : b; }

/// Lanes of a row of DPP.
constexpr unsigned LANE_ROW = 16;

/// One step of `row_sums`: of the first COUNT values the lanes that have `upper` keep the upper half, the others the lower,
/// each with what lane ^ MASK has of it. A single value is added as it is.
template <unsigned MASK, unsigned COUNT> static __device__ __forceinline__ void halve(float *values, bool upper) {
    if constexpr (COUNT == 1) {
        values[0] += from_xor<MASK>(values[0]);
    } else {
#pragma unroll
        for (unsigned i = 0; i < COUNT / 2; ++i) {
            const float keep = chosen(upper, values[i + COUNT / 2], values[i]);
            values[i] = keep + from_xor<MASK>(chosen(upper, values[i], values[i + COUNT / 2]));
        }
    }
}

/// The sums over each 16 lanes of COUNT values that each lane brings, a power of two. Lane i of the 16 leaves with sum
/// number i * COUNT / 16 in values[0], with more than 16 of them the next ones behind it. What is carried halves with each
/// exchange: about COUNT of them where sum after sum would take four times as many.
template <unsigned COUNT> static __device__ __forceinline__ void row_sums(float (&values)[COUNT], unsigned lane) {
    static_assert((COUNT & (COUNT - 1)) == 0, "halves");
    halve<8, COUNT>(values, lane & 8);
    halve<7, (COUNT > 2 ? COUNT / 2 : 1)>(values, lane & 4);
    halve<2, (COUNT > 4 ? COUNT / 4 : 1)>(values, lane & 2);
    halve<1, (COUNT > 8 ? COUNT / 8 : 1)>(values, lane & 1);
}
