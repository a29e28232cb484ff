// Dequantization and rows by index, bit for bit the values that candle's CPU code computes.
//
//   lookup_<t>   rows of weights, of row_blocks blocks each, to f32, f16 or bf16: those that `ids` name, or all in order
//
// Lanes unpack portions as the products' lanes do (portions.h), and leave them in LDS; then they write 16 bytes each, side by
// side. <t> is a format of formats.h. The f16 and bf16 values are the f32 ones, rounded.
#if defined(__clang__)
// The CPU rounds the product before it adds the offset.
#pragma clang fp contract(off)
#endif
#include "fault.h"
#include "portions.h"

constexpr unsigned WARPS = 8;  // of a workgroup
/// Groups of 16 elements that a lane has under way at a time. Measured on an H200 (docs/performance.md); compute units of gfx9
/// have 64 KiB of LDS for all workgroups.
#if defined(__GFX9__)
constexpr unsigned LANE_GROUPS = 2;
#else
constexpr unsigned LANE_GROUPS = 4;
#endif

/// What the lanes of a warp unpacked: a stretch of whole blocks.
template <class F> struct Stretch {
    typedef LanePortion<F> P;
    /// Portions of a lane.
    static constexpr unsigned EACH = LANE_GROUPS / P::GROUPS;
    static constexpr unsigned GROUPS = WARP * LANE_GROUPS, ELEMENTS = GROUPS * HALF, BLOCKS = ELEMENTS / F::ELEMENTS;
    static_assert(BLOCKS == WARP * EACH / P::OF_BLOCK, "whole blocks");

    alignas(16) GroupWords words[GROUPS];
    float scale[GROUPS], offset[GROUPS];

    /// Takes portion number `number`; if it is not there, numbers that are none.
    __device__ __forceinline__ void put(unsigned number, bool there, const Portion<P::GROUPS> &portion) {
        const unsigned first = number / P::OF_BLOCK * (F::ELEMENTS / HALF), j = number % P::OF_BLOCK;
#pragma unroll
        for (unsigned g = 0; g < P::GROUPS; ++g) {
            const unsigned at = first + P::half(j, g), own = P::ONE_SCALE ? 0 : g;
            GroupWords group;
#pragma unroll
            for (unsigned i = 0; i < GROUP_WORDS; ++i) group.word[i] = portion.q[g][i];
            words[at] = group;
            scale[at] = there ? portion.scale[own] : NAN;
            if (F::OFFSET && F::CENTRE == 0) offset[at] = portion.offset[own];
        }
    }

    /// Element `i` of a group whose word it is in was read.
    static __device__ __forceinline__ float value(int word, unsigned i, float scale, float offset) {
        const int shifted = word >> (8 * i);
        // Only whole bytes have a sign.
        const float q = F::OFFSET ? static_cast<float>(shifted & 255) : static_cast<float>(static_cast<signed char>(shifted));
        if (F::CENTRE != 0) return scale * (q - F::CENTRE);
        if (F::OFFSET) return scale * q + offset;
        return scale * q;
    }
};

/// `value`, rounded to f32 before it is anything else. Clang 19 turns a product and its conversion to f16 into one
/// v_fma_mixlo_f16, which rounds once and makes a product of -0 positive.
static __device__ __forceinline__ float rounded(float value) {
#if defined(__HIP__)
    asm("" : "+v"(value));
#endif
    return value;
}

/// Elements from `first` on, 16 bytes of them, to the same place of `out`, which begins on a boundary of more than that.
template <class F, class T>
static __device__ __forceinline__ void write_run(T *out, const Stretch<F> &stretch, unsigned first) {
    constexpr unsigned RUN = 16 / sizeof(T);
    const int *words = stretch.words[0].word + first / 4;
    const float scale = stretch.scale[first / HALF];
    const float offset = F::OFFSET && F::CENTRE == 0 ? stretch.offset[first / HALF] : 0.0f;
    T values[RUN];
#pragma unroll
    for (unsigned i = 0; i < RUN; ++i) {
        const float value = Stretch<F>::value(words[i / 4], i % 4, scale, offset);
        values[i] = static_cast<T>(sizeof(T) < sizeof(float) ? rounded(value) : value);
    }
    // As a pointer to anything: nvcc 13.0 makes invalid code of others.
    __builtin_memcpy(__builtin_assume_aligned(static_cast<void *>(out + first), 16), values, sizeof(values));
}

/// The first `count` elements of a stretch.
template <class F, class T>
static __device__ __forceinline__ void write(T *out, const Stretch<F> &stretch, unsigned lane, size_t count) {
    constexpr unsigned RUN = 16 / sizeof(T), STEP = WARP * RUN;
    static_assert(Stretch<F>::ELEMENTS % STEP == 0, "lanes write as many runs each");
    if (count >= Stretch<F>::ELEMENTS) {
#pragma unroll
        for (unsigned i = 0; i < Stretch<F>::ELEMENTS; i += STEP) write_run(out, stretch, i + lane * RUN);
    } else {
#pragma unroll 1
        for (unsigned i = lane * RUN; i < count; i += STEP) write_run(out, stretch, i);
    }
}

template <class F>
static __device__ __forceinline__ void lookup(const uint8_t *w, const uint32_t *ids, void *out, size_t row_blocks,
                                              size_t blocks, uint32_t rows, const FaultReport &fault, int type) {
    typedef LanePortion<F> P;
    typedef Stretch<F> S;
    __shared__ S stretches[WARPS];
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    S &stretch = stretches[warp];
    const size_t step = static_cast<size_t>(gridDim.x) * (WARPS * S::BLOCKS);
    for (size_t first = (static_cast<size_t>(blockIdx.x) * WARPS + warp) * S::BLOCKS; first < blocks; first += step) {
        typename P::Packed packed[S::EACH];
        bool there[S::EACH];
#pragma unroll
        for (unsigned e = 0; e < S::EACH; ++e) {
            const unsigned number = e * WARP + lane;
            const size_t block = first + number / P::OF_BLOCK;
            there[e] = block < blocks;
            const auto fetch = [&](size_t from) {
                P::fetch(w + from * F::BYTES, 0, number % P::OF_BLOCK, packed[e]);
            };
            if (!ids) {
                // Beyond the last block it once more, unused: without a branch the loads are under way together.
                fetch(there[e] ? block : blocks - 1);
                continue;
            }
            packed[e] = {};
            if (!there[e]) continue;
            const uint32_t id = ids[block / row_blocks];
            there[e] = id < rows;
            if (there[e]) fetch(id * row_blocks + block % row_blocks);
            else fault.raise(id, rows);
        }
#pragma unroll
        for (unsigned e = 0; e < S::EACH; ++e) {
            const unsigned number = e * WARP + lane;
            Portion<P::GROUPS> portion;
            P::unpack(packed[e], number % P::OF_BLOCK, portion);
            stretch.put(number, there[e], portion);
        }
        __syncwarp();
        const size_t at = first * F::ELEMENTS, count = (blocks - first) * F::ELEMENTS;
        if (type == FLOAT16) {
            write(static_cast<f16 *>(out) + at, stretch, lane, count);
        } else if (type == BFLOAT16) {
            write(static_cast<bf16 *>(out) + at, stretch, lane, count);
        } else {
            write(static_cast<float *>(out) + at, stretch, lane, count);
        }
        __syncwarp();
    }
}

#define LOOKUP(name, F)                                                                                             \
    extern "C" __global__ __launch_bounds__(256) void lookup_##name(const uint8_t *w, const uint32_t *ids, void *out, \
                                                                    size_t row_blocks, size_t blocks,               \
                                                                    uint32_t rows, FaultReport fault, int type) {   \
        lookup<F>(w, ids, out, row_blocks, blocks, rows, fault, type);                                              \
    }
FOR_EACH_FORMAT(LOOKUP)
