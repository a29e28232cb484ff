// Joining what the pieces of a split context left of each row. Each module has the kernel for its types, so that an
// attention loads one module.
#pragma once

#include "attention.h"

/// A workgroup for each row of out; its threads stride over the row.
template <class T>
static __device__ __forceinline__ void attention_combine(const float *partials, T *out, uint32_t splits, uint32_t width) {
    const uint64_t row = blockIdx.x;
    const uint32_t stride = width + 2;
    const float *parts = partials + row * splits * stride;
    float largest = NEVER;
    for (uint32_t s = 0; s < splits; ++s) largest = fmaxf(largest, parts[s * stride]);
    const float base = base_of(largest);
    float powers = 0;
    for (uint32_t s = 0; s < splits; ++s) powers += parts[s * stride + 1] * exp2_of(parts[s * stride] - base);
    for (uint32_t i = threadIdx.x; i < width; i += blockDim.x) {
        float sum = 0;
        for (uint32_t s = 0; s < splits; ++s) sum += parts[s * stride + 2 + i] * exp2_of(parts[s * stride] - base);
        out[row * width + i] = static_cast<T>(sum / powers);
    }
}

#define COMBINE_KERNEL(T, NAME)                                                                                   \
    extern "C" __global__ void __launch_bounds__(256) attention_combine_##NAME(const float *partials, T *out,     \
                                                                               uint32_t splits, uint32_t width) { \
        attention_combine<T>(partials, out, splits, width);                                                       \
    }
