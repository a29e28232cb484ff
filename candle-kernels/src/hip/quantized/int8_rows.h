// Activations in int8, left by the kernel that computes them: the next product needs no launch of quantize_activations. The host
// makes room for them and keeps them with the result's storage (`Int8Rows` of candle-core's quantized/rocm).
#pragma once

#include "activations.h"

/// Writes N elements of a row, from number `first` on, a multiple of N: the numbers that quantize_activations makes of them.
/// The lanes of a segment, 32 / N neighbours, call it together, as does all of their warp; what is not `present` counts as 0
/// and is not written.
template <unsigned N>
static __device__ __forceinline__ void store_int8(const ActivationRow &to, uint32_t first, const float (&values)[N],
                                                  bool present = true) {
#if defined(__clang__)
// A product must not lose its rounding to what rounds it to a whole number.
#pragma clang fp contract(off)
#endif
    constexpr unsigned LANES = SEGMENT / N;
    // NaN and infinity make the products of the segment NaN.
    float largest = 0;
#pragma unroll
    for (unsigned i = 0; i < N; ++i) {
        const float magnitude = fabsf(values[i]);
        largest = fmaxf(largest, magnitude < INFINITY ? magnitude : INFINITY);
    }
    largest = lanes_max_magnitude<LANES>(largest);
    const float scale = largest / 127.0f;
    const float inverse = scale >= 0x1p-126f ? 1.0f / scale : 0.0f;
    uint8_t bytes[N];
    int sum = 0;
#pragma unroll
    for (unsigned i = 0; i < N; ++i) {
        const float scaled = values[i] * inverse;
        const int q = scaled == scaled ? static_cast<int>(roundf(scaled)) : 0;
        bytes[i] = static_cast<uint8_t>(q);
        sum += q;
    }
    sum = lanes_sum<LANES / 2>(sum);
    if (!present) return;
    const uint32_t half = first / HALF, within = first % SEGMENT;
    uint8_t *integers = const_cast<uint8_t *>(to.integers) + ActivationRow::place(half) + first % HALF;
    __builtin_memcpy(__builtin_assume_aligned(integers, N), bytes, N);
    ActivationScale &scales = const_cast<ActivationScale *>(to.scales)[first / SEGMENT];
    if (within % HALF == 0) scales.sum[half % 2] = static_cast<int16_t>(sum);
    if (within == 0) scales.scale = largest < INFINITY ? scale : NAN;
}
