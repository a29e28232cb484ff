// Activations as the quantized products read them: blocks of 32 elements in int8 with one f32 scale. Ours, not a GGML
// type: Q8_1 keeps its scale in f16, which neither holds large activations nor has room for the sums per half.
#pragma once

#include "portable.h"

/// Elements of a block of activations, and of a segment of weights.
constexpr unsigned SEGMENT = 32;
/// Words of four int8 in it.
constexpr unsigned WORDS = SEGMENT / 4;

struct ActivationBlock {
    float scale;
    /// Sums of q over each half of the block.
    int16_t sum[2];
    /// Element i is scale * byte i.
    int q[WORDS];
};
static_assert(sizeof(ActivationBlock) == 40, "the host allocates 40 bytes a block");

/// Element types of activations and results, chosen at run time: the numbers of `FloatType` on the host.
enum FloatType : int { FLOAT32 = 0, FLOAT16 = 1, BFLOAT16 = 2 };

static __device__ __forceinline__ float load_float(const void *from, size_t index, int type) {
    if (type == FLOAT16) return static_cast<float>(static_cast<const f16 *>(from)[index]);
    if (type == BFLOAT16) return static_cast<float>(static_cast<const bf16 *>(from)[index]);
    return static_cast<const float *>(from)[index];
}

static __device__ __forceinline__ void store_float(void *to, size_t index, int type, float value) {
    if (type == FLOAT16) {
        static_cast<f16 *>(to)[index] = static_cast<f16>(value);
    } else if (type == BFLOAT16) {
        static_cast<bf16 *>(to)[index] = static_cast<bf16>(value);
    } else {
        static_cast<float *>(to)[index] = value;
    }
}
