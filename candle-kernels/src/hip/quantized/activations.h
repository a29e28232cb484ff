// Activations as the quantized products read them: 32 elements in int8 with one f32 scale. Ours, not a GGML type: Q8_1
// keeps its scale in f16, which neither holds large activations nor has room for the sums per half.
//
// A row is first all its integers, then all its scales, so that lanes which take neighbouring parts of a row read
// neighbouring bytes. The integers of eight segments are a line of 128 bytes of their first halves and one of their second
// halves; the latter stand in opposite order. Eight lanes that read 16 bytes each then read all of the 16-byte places
// of a line or of two, whichever of these they take: one half of eight segments; both halves of four in a row (whole
// bytes), of every other one (Q2K to Q5K), or of two pairs with two between them (Q6K).
#pragma once

#include "portable.h"

/// Elements that share a scale, and of a segment of weights.
constexpr unsigned SEGMENT = 32;
/// Words of four int8 in it.
constexpr unsigned WORDS = SEGMENT / 4;
/// Elements of half a segment: what a lane reads at once, 16 bytes.
constexpr unsigned HALF = SEGMENT / 2;

/// Segments of a row that are laid out together.
constexpr unsigned ACTIVATION_LINE = 8;

struct ActivationScale {
    /// Element i is scale * byte i.
    float scale;
    /// Sums of the bytes over each half of the segment.
    int16_t sum[2];
};
constexpr unsigned ACTIVATION_BYTES = SEGMENT + sizeof(ActivationScale);  // of a segment
static_assert(ACTIVATION_BYTES == 40, "the host allocates 40 bytes a segment");

/// Four words of an ActivationRow.
struct ActivationHalf {
    int q[WORDS / 2];
};

/// One row of `segments` segments.
struct ActivationRow {
    const uint8_t *integers;
    const ActivationScale *scales;

    /// Segments that a row has room for.
    static __device__ __forceinline__ unsigned room(unsigned segments) {
        return (segments + ACTIVATION_LINE - 1) / ACTIVATION_LINE * ACTIVATION_LINE;
    }

    /// Row number `row` at `x`.
    __device__ __forceinline__ ActivationRow(const void *x, size_t row, unsigned segments) {
        const size_t own_room = room(segments);
        integers = static_cast<const uint8_t *>(x) + row * (own_room * ACTIVATION_BYTES);
        scales = reinterpret_cast<const ActivationScale *>(integers + own_room * SEGMENT);
    }

    /// Where the integers of half `half` of the row are, two a segment.
    static __device__ __forceinline__ unsigned place(unsigned half) {
        const unsigned second = half % 2, segment = half / 2;
        const unsigned slot = (segment % ACTIVATION_LINE) ^ (second * (ACTIVATION_LINE - 1));
        return segment / ACTIVATION_LINE * (ACTIVATION_LINE * SEGMENT) + (second * ACTIVATION_LINE + slot) * HALF;
    }

    __device__ __forceinline__ ActivationHalf half(unsigned half) const {
        ActivationHalf words;
        const void *from = integers + place(half);
        __builtin_memcpy(&words, __builtin_assume_aligned(from, 16), sizeof(words));
        return words;
    }

    __device__ __forceinline__ ActivationScale scale(unsigned segment) const {
        ActivationScale scale;
        __builtin_memcpy(&scale, __builtin_assume_aligned(static_cast<const void *>(scales + segment), 8), sizeof(scale));
        return scale;
    }
};

/// Element types of activations and results, chosen at run time: the numbers of `FloatType` on the host.
enum FloatType : int { FLOAT32 = 0, FLOAT16 = 1, BFLOAT16 = 2 };

static __device__ __forceinline__ float load_float(const void *from, size_t index, int type) {
    if (type == FLOAT16) return static_cast<float>(static_cast<const f16 *>(from)[index]);
    if (type == BFLOAT16) return static_cast<float>(static_cast<const bf16 *>(from)[index]);
    return static_cast<const float *>(from)[index];
}

/// What storing and loading makes of `value`.
static __device__ __forceinline__ float round_float(float value, int type) {
    if (type == FLOAT16) return static_cast<float>(static_cast<f16>(value));
    if (type == BFLOAT16) return static_cast<float>(static_cast<bf16>(value));
    return value;
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
