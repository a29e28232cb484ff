// Quantization on the device.
//
//   quantize_activations   f32, f16 or bf16 to the rows that the products read: eight lanes for 32 elements
//   quantize_blocks_<t>    f32 to GGML blocks, bit for bit what candle's CPU quantizer makes: a thread for each block
//
// <t> is q4_0, q4_1, q5_0, q5_1, q8_0 or q8_1. Rust's `as` saturates and turns NaN into 0, its f32::max and f32::min
// pass over NaN; both are spelled out here. Where a block holds zeros of both signs as its minimum, Rust leaves open
// which one is stored; here it is -0.
#include "activations.h"

// A multiplication and an addition that the CPU rounds one after the other.
#if defined(__clang__)
#pragma clang fp contract(off)
#endif

constexpr unsigned ACTIVATION_WARPS = 8;  // of a workgroup that quantizes activations
constexpr unsigned BLOCK_LANES = WORDS;   // of a block of activations: a word of four elements each
constexpr unsigned BLOCK_THREADS = 64;    // GGML blocks of a workgroup

template <class T> static __device__ __forceinline__ void load_word(const void *x, size_t index, float *values) {
    T from[4];
    __builtin_memcpy(from, static_cast<const T *>(x) + index, sizeof(from));
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) values[i] = static_cast<float>(from[i]);
}

KERNELS_AWAIT

extern "C" __global__ __launch_bounds__(WARP *ACTIVATION_WARPS) void quantize_activations(const void *x, void *out,
                                                                                         unsigned blocks, unsigned segments,
                                                                                         int type) {
    await_previous();
    const unsigned lane = threadIdx.x % BLOCK_LANES;
    const unsigned own = (blockIdx.x * ACTIVATION_WARPS + threadIdx.y) * (WARP / BLOCK_LANES) + threadIdx.x / BLOCK_LANES;
    // Lanes beyond the last block repeat it, so that all of a warp exchange values; they store nothing.
    const unsigned block = own < blocks ? own : blocks - 1;
    float values[4];
    const size_t first = static_cast<size_t>(block) * SEGMENT + 4 * lane;
    if (type == FLOAT16) {
        load_word<f16>(x, first, values);
    } else if (type == BFLOAT16) {
        load_word<bf16>(x, first, values);
    } else {
        load_word<float>(x, first, values);
    }

    float largest = 0;
    bool all_finite = true;
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
        largest = fmaxf(largest, fabsf(values[i]));
        all_finite &= fabsf(values[i]) < INFINITY;
    }
    // An infinite or NaN activation makes its block's products NaN, as on the CPU. (fmaxf passes over NaN.)
    if (!all_finite) largest = INFINITY;
    largest = lanes_max_magnitude<BLOCK_LANES>(largest);
    const float scale = largest / 127.0f;
    // A largest value so small that the scale is 0 or its inverse infinite: the block is 0 to within 1e-38.
    const float inverse = scale >= 0x1p-126f ? 1.0f / scale : 0.0f;

    int sum = 0, word = 0;
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
        const float scaled = values[i] * inverse;
        const int q = scaled == scaled ? static_cast<int>(roundf(scaled)) : 0;
        sum += q;
        word |= (q & 0xff) << (8 * i);
    }
    // Lanes 0 to 3 hold the first half.
    sum = lanes_sum<BLOCK_LANES / 2>(sum);

    if (own >= blocks) return;
    // The row is written where it is read from, by the same rule.
    const unsigned row = block / segments, segment = block % segments;
    const ActivationRow to(out, row, segments);
    constexpr unsigned HALF_LANES = BLOCK_LANES / 2;
    const unsigned place = ActivationRow::place(2 * segment + lane / HALF_LANES) + lane % HALF_LANES * 4;
    *reinterpret_cast<int *>(const_cast<uint8_t *>(to.integers) + place) = word;
    ActivationScale &scales = const_cast<ActivationScale *>(to.scales)[segment];
    if (lane % (BLOCK_LANES / 2) == 0) scales.sum[lane / (BLOCK_LANES / 2)] = static_cast<int16_t>(sum);
    if (lane == 0) scales.scale = largest < INFINITY ? scale : NAN;
}

// ---- GGML blocks ------------------------------------------------------------------------------------------------

/// `value as u8` of Rust.
static __device__ __forceinline__ unsigned to_u8(float value) {
    return value >= 255.0f ? 255u : value > 0.0f ? static_cast<unsigned>(value) : 0u;
}

/// `value as i8` of Rust.
static __device__ __forceinline__ int to_i8(float value) {
    return value >= 127.0f ? 127 : value <= -128.0f ? -128 : value == value ? static_cast<int>(value) : 0;
}

static __device__ __forceinline__ float inverse_or_zero(float value) { return value != 0.0f ? 1.0f / value : 0.0f; }

static __device__ __forceinline__ void put_half(uint8_t *at, float value) {
#if defined(__HIP__)
    // Clang 19 turns a product and its conversion into one v_fma_mixlo_f16 with +0 as the addend, which makes a
    // product of -0 positive. The CPU stores -0 as the scale of a block of zeros.
    asm volatile("" : "+v"(value));
    const f16 half = static_cast<f16>(value);
#else
    // The one NaN that comes here, infinity times zero, is negative on x86 and AMD; NVIDIA's only NaN has no sign.
    const f16 half = value == value ? static_cast<f16>(value) : __ushort_as_half(0xfe00);
#endif
    // Every block's size and every half's place in it are even. Stored byte by byte it would also be wrong on NVIDIA:
    // ptxas 13.0 turns the low byte into the number's conversion to u8.
    __builtin_memcpy(__builtin_assume_aligned(at, 2), &half, sizeof(half));
}

/// The value of largest magnitude, with its sign; the first of several.
static __device__ __forceinline__ float extreme(const float *x) {
    float magnitude = 0.0f, value = 0.0f;
    for (unsigned i = 0; i < SEGMENT; ++i) {
        if (magnitude < fabsf(x[i])) {
            magnitude = fabsf(x[i]);
            value = x[i];
        }
    }
    return value;
}

static __device__ __forceinline__ void range(const float *x, float &least, float &most) {
    least = INFINITY;
    most = -INFINITY;
    for (unsigned i = 0; i < SEGMENT; ++i) {
        least = fminf(least, x[i]);
        most = fmaxf(most, x[i]);
    }
}

/// Nibbles of elements i and i + 16 to one byte, fifth bits to `high`.
struct Packed {
    uint8_t *nibbles;
    unsigned high;

    __device__ __forceinline__ void put(unsigned i, unsigned first, unsigned second) {
        nibbles[i] = static_cast<uint8_t>((first & 15u) | (second & 15u) << 4);
        high |= (first >> 4 & 1u) << i | (second >> 4 & 1u) << (i + SEGMENT / 2);
    }
};

static __device__ __forceinline__ void quantize_q4_0(const float *x, uint8_t *out) {
    const float scale = extreme(x) / -8.0f, inverse = inverse_or_zero(scale);
    put_half(out, scale);
    Packed packed = {out + 2, 0};
    for (unsigned i = 0; i < SEGMENT / 2; ++i) {
        const float first = x[i] * inverse, second = x[i + SEGMENT / 2] * inverse;
        packed.put(i, min(15u, to_u8(first + 8.5f)), min(15u, to_u8(second + 8.5f)));
    }
}

static __device__ __forceinline__ void quantize_q5_0(const float *x, uint8_t *out) {
    const float scale = extreme(x) / -16.0f, inverse = inverse_or_zero(scale);
    put_half(out, scale);
    Packed packed = {out + 6, 0};
    for (unsigned i = 0; i < SEGMENT / 2; ++i) {
        const float first = x[i] * inverse, second = x[i + SEGMENT / 2] * inverse;
        // Through a signed byte, as on the CPU: a negative one keeps its low five bits.
        packed.put(i, min(31, to_i8(first + 16.5f)), min(31, to_i8(second + 16.5f)));
    }
    __builtin_memcpy(out + 2, &packed.high, 4);
}

/// Q4_1 and Q5_1 differ in the levels and in the place of the fifth bits.
static __device__ __forceinline__ unsigned quantize_range(const float *x, uint8_t *out, float levels, unsigned most_q,
                                                          uint8_t *nibbles) {
    float least, most;
    range(x, least, most);
    const float scale = (most - least) / levels, inverse = inverse_or_zero(scale);
    put_half(out, scale);
    put_half(out + 2, least);
    Packed packed = {nibbles, 0};
    for (unsigned i = 0; i < SEGMENT / 2; ++i) {
        const float first = (x[i] - least) * inverse, second = (x[i + SEGMENT / 2] - least) * inverse;
        packed.put(i, min(most_q, to_u8(first + 0.5f)), min(most_q, to_u8(second + 0.5f)));
    }
    return packed.high;
}

static __device__ __forceinline__ void quantize_q4_1(const float *x, uint8_t *out) { quantize_range(x, out, 15.0f, 15u, out + 4); }

static __device__ __forceinline__ void quantize_q5_1(const float *x, uint8_t *out) {
    // The CPU does not limit these to 31: what lies beyond loses its higher bits.
    const unsigned high = quantize_range(x, out, 31.0f, 255u, out + 8);
    __builtin_memcpy(out + 4, &high, 4);
}

/// The bytes of Q8_0 and Q8_1; returns their sum.
static __device__ __forceinline__ int quantize_bytes(const float *x, float inverse, uint8_t *to) {
    int sum = 0;
    for (unsigned i = 0; i < SEGMENT; ++i) {
        const int q = to_i8(roundf(x[i] * inverse));
        to[i] = static_cast<uint8_t>(q);
        sum += q;
    }
    return sum;
}

static __device__ __forceinline__ float byte_scale(const float *x) { return fabsf(extreme(x)) / 127.0f; }

static __device__ __forceinline__ void quantize_q8_0(const float *x, uint8_t *out) {
    const float scale = byte_scale(x);
    put_half(out, scale);
    quantize_bytes(x, inverse_or_zero(scale), out + 2);
}

static __device__ __forceinline__ void quantize_q8_1(const float *x, uint8_t *out) {
    const float scale = byte_scale(x);
    const int sum = quantize_bytes(x, inverse_or_zero(scale), out + 4);
    put_half(out, scale);
    // Rounded to f16 twice: the scale, then its product with the sum.
    put_half(out + 2, static_cast<float>(static_cast<f16>(scale)) * sum);
}

#define QUANTIZE(name, BYTES)                                                                                      \
    extern "C" __global__ __launch_bounds__(BLOCK_THREADS) void quantize_blocks_##name(const float *x, uint8_t *out, \
                                                                                       size_t blocks) {            \
        await_previous();                                                                                          \
        const size_t block = static_cast<size_t>(blockIdx.x) * BLOCK_THREADS + threadIdx.x;                        \
        if (block < blocks) quantize_##name(x + block * SEGMENT, out + block * BYTES);                             \
    }
QUANTIZE(q4_0, 18)
QUANTIZE(q4_1, 20)
QUANTIZE(q5_0, 22)
QUANTIZE(q5_1, 24)
QUANTIZE(q8_0, 34)
QUANTIZE(q8_1, 36)
