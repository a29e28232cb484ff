// Joining what the pieces of a split context left of each row. Each module has the kernel for its types, so that an
// attention loads one module.
#pragma once

#include "attention.h"

/// Pieces of the context that are read at once. Two have a loop of their own: what is cut only once are often prompts, which have
/// many rows.
constexpr unsigned MOST_PIECES = 8, FEW_PIECES = 2;

/// A workgroup for each row of out, blockIdx.x in batch entry blockIdx.y; its threads stride over the row. Like the keys, the
/// pieces are joined online: one pass over them, so that a few are one wait for memory. What goes to `int8` are the heads of one
/// query, where that is not null.
template <unsigned PIECES, class T>
static __device__ __forceinline__ void attention_combine(const float *partials, T *out, uint32_t splits, uint32_t width,
                                                         void *int8) {
    const uint64_t row = blockIdx.y * gridDim.x + blockIdx.x;
    const uint32_t stride = width + 2;
    const float *parts = partials + row * splits * stride;
    for (uint32_t i = threadIdx.x; i < width; i += blockDim.x) {
        float largest = NEVER, powers = 0, sum = 0;
        for (uint32_t first = 0; first < splits; first += PIECES) {
            float largests[PIECES], of_powers[PIECES], sums[PIECES];
            // Pieces beyond the last repeat it and count for nothing.
#pragma unroll
            for (unsigned p = 0; p < PIECES; ++p) {
                const float *part = parts + min(first + p, splits - 1) * stride;
                largests[p] = part[0], of_powers[p] = part[1], sums[p] = part[2 + i];
            }
            float now = largest;
#pragma unroll
            for (unsigned p = 0; p < PIECES; ++p) now = fmaxf(now, largests[p]);
            const float base = base_of(now), shrink = exp2_of(largest - base);
            largest = now;
            powers *= shrink;
            sum *= shrink;
#pragma unroll
            for (unsigned p = 0; p < PIECES; ++p) {
                const float factor = first + p < splits ? exp2_of(largests[p] - base) : 0.0f;
                powers = first + p < splits ? fmaf(of_powers[p], factor, powers) : powers;
                sum = first + p < splits ? fmaf(sums[p], factor, sum) : sum;
            }
        }
        const T value = static_cast<T>(sum / powers);
        out[row * width + i] = value;
        if (int8) leave_int8(int8, blockIdx.y, blockIdx.x, gridDim.x, width, i, static_cast<float>(value));
    }
}

// Nothing that is stored is a partial: what is the same for all lanes comes by scalar loads.
#define COMBINE_KERNEL(T, NAME)                                                                                   \
    extern "C" __global__ void __launch_bounds__(256) attention_combine_##NAME(                                   \
        const float *__restrict__ partials, T *out, uint32_t splits, uint32_t width, void *int8) {                \
        await_previous();                                                                                         \
        if (splits <= FEW_PIECES) attention_combine<FEW_PIECES, T>(partials, out, splits, width, int8);           \
        else attention_combine<MOST_PIECES, T>(partials, out, splits, width, int8);                               \
    }
