// Dequantization and rows by index, bit for bit the values that candle's CPU code computes.
//
//   lookup_<t>   rows of weights [rows, row_segments * 32] to f32, f16 or bf16: those that `ids` name, or all in order
//
// A thread writes one segment of 32 elements. <t> is a format of formats.h. The f16 and bf16 values are the f32 ones,
// rounded.
#if defined(__clang__)
// The CPU rounds the product before it adds the offset.
#pragma clang fp contract(off)
#endif
#include "fault.h"
#include "formats.h"

template <class F>
static __device__ __forceinline__ float element(const Segment &segment, unsigned i) {
    const int q = static_cast<signed char>(segment.q[i / 4] >> (8 * (i % 4)));
    const unsigned half = F::HALVES == 1 ? 0 : i / (SEGMENT / 2);
    if (F::CENTRE != 0) return segment.scale[half] * (q - F::CENTRE);
    if (F::OFFSET) return segment.scale[half] * q + segment.offset[half];
    return segment.scale[half] * q;
}

/// `value`, rounded to f32 before it is anything else. Clang 19 turns a product and its conversion to f16 into one
/// v_fma_mixlo_f16, which rounds once and makes a product of -0 positive.
static __device__ __forceinline__ float rounded(float value) {
#if defined(__HIP__)
    asm("" : "+v"(value));
#endif
    return value;
}

/// The elements of a segment, or NaN without one, to `out[0]` on: 16 bytes a store.
template <class F, class T>
static __device__ __forceinline__ void write(T *out, const Segment *segment) {
    T values[SEGMENT];
#pragma unroll
    for (unsigned i = 0; i < SEGMENT; ++i) {
        const float value = segment ? element<F>(*segment, i) : NAN;
        values[i] = static_cast<T>(sizeof(T) < sizeof(float) ? rounded(value) : value);
    }
    // The result begins on a boundary of more than 16 bytes, and a segment is a multiple of it.
    // As a pointer to anything: nvcc 13.0 makes invalid code of others.
    __builtin_memcpy(__builtin_assume_aligned(static_cast<void *>(out), 16), values, sizeof(values));
}

template <class F>
static __device__ __forceinline__ void write(void *out, size_t at, int type, const Segment *segment) {
    if (type == FLOAT16) {
        write<F>(static_cast<f16 *>(out) + at, segment);
    } else if (type == BFLOAT16) {
        write<F>(static_cast<bf16 *>(out) + at, segment);
    } else {
        write<F>(static_cast<float *>(out) + at, segment);
    }
}

template <class F>
static __device__ __forceinline__ void lookup(const uint8_t *w, const uint32_t *ids, void *out, size_t row_segments,
                                              size_t segments, uint32_t rows, const FaultReport &fault, int type) {
    const size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
    for (size_t s = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; s < segments; s += step) {
        size_t from = s;
        if (ids) {
            const uint32_t id = ids[s / row_segments];
            if (id >= rows) {
                fault.raise(id, rows);
                write<F>(out, s * SEGMENT, type, nullptr);
                continue;
            }
            from = id * row_segments + s % row_segments;
        }
        Segment segment;
        F::load(w + from / F::SEGMENTS * F::BYTES, static_cast<unsigned>(from % F::SEGMENTS), segment);
        write<F>(out, s * SEGMENT, type, &segment);
    }
}

#define LOOKUP(name, F)                                                                                             \
    extern "C" __global__ __launch_bounds__(256) void lookup_##name(const uint8_t *w, const uint32_t *ids, void *out, \
                                                                    size_t row_segments, size_t segments,           \
                                                                    uint32_t rows, FaultReport fault, int type) {   \
        lookup<F>(w, ids, out, row_segments, segments, rows, fault, type);                                          \
    }
FOR_EACH_FORMAT(LOOKUP)
