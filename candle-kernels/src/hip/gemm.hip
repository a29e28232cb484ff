// C[m,n] = A[m,k] * B[k,n], batched, any strides. The host side (names, launch geometry, which kernel for which
// shape) is src/rocm/gemm/; constants with the same name must agree.
//
//   gemm_flat_<t>, gemm_small_<t>, gemm_large_<t>   tiles on matrix cores (gemm/cores.h, gemm/tiles.h), where the target
//                                                   has them for <t>
//   gemm_fma_flat_<t>, and _small_, _middle_, _large_   tiles by fused multiply-adds (gemm/fma.h, gemm/fma_tiles.h), where it
//                                                   has none; of f64 the small one
//   gemm_join_<t>                                   adds the parts of a product whose k was cut into several
//   gemv_k<r>_<t>                                   up to r = 1, 2, 4 or 8 rows, B's columns contiguous (gemm/vector.h)
//   gemv_n_<t>                                      up to 8 rows, B's rows contiguous (the same)
//
// <t> is f32, f16, bf16 (summed in f32) or f64. Every kernel is right for every stride; the choice is about speed.
#include "gemm/cores.h"
#include "gemm/fma.h"
#include "gemm/vector.h"

/// out[i] = the sum of parts[s][i] over s, in order of s: the same sum every time.
template <class T>
static __device__ __forceinline__ void join(const Sum<T> *parts, T *out, uint64_t elements, uint32_t splits) {
    const uint64_t stride = static_cast<uint64_t>(gridDim.x) * THREADS;
    for (uint64_t i = static_cast<uint64_t>(blockIdx.x) * THREADS + threadIdx.x; i < elements; i += stride) {
        Sum<T> sum = parts[i];
        for (uint32_t s = 1; s < splits; ++s) sum += parts[s * elements + i];
        out[i] = static_cast<T>(sum);
    }
}

/// Fewer rows in registers for fewer rows of A. m is the same for all threads, so the branch is free.
#define BY_ROWS(KERNEL, T, PARTIAL)                                \
    if (args.m <= 1) KERNEL<T, 1>(a, b, c, args, PARTIAL);         \
    else if (args.m <= 2) KERNEL<T, 2>(a, b, c, args, PARTIAL);    \
    else if (args.m <= 4) KERNEL<T, 4>(a, b, c, args, PARTIAL);    \
    else KERNEL<T, GEMV_ROWS>(a, b, c, args, PARTIAL);

#define ENTRY_POINT(NAME) extern "C" __global__ void __launch_bounds__(THREADS) NAME

// Kernels of their own: one would take the registers of 8 rows for every number of them.
#define GEMV_K(T, NAME, ROWS) \
    ENTRY_POINT(gemv_k##ROWS##_##NAME)(const T *a, const T *b, T *c, GemmArgs args) { gemv_k<T, T, ROWS>(a, b, c, args); }

// At least two waves a SIMD means at most 256 registers: then the compiler has CDNA's matrix cores work on vector registers
// and does not move the sums to accumulation registers and back.
#define ON_CORES(T, NAME) ON_CORES_BY(T, NAME, flat, FLAT) ON_CORES_BY(T, NAME, small, SMALL) ON_CORES_BY(T, NAME, large, LARGE)
#define ON_CORES_BY(T, NAME, tile, TILE)                                                                 \
    extern "C" __global__ void __launch_bounds__(THREADS) __attribute__((amdgpu_waves_per_eu(2)))        \
        gemm_##tile##_##NAME(const T *a, const T *b, void *c, GemmArgs args) {                           \
        gemm_on_cores<T, TILE>(a, b, c, args);                                                           \
    }

#define BY_FMA(T, NAME)                                                \
    BY_FMA_BY(T, NAME, flat, FLAT) BY_FMA_BY(T, NAME, small, SMALL)    \
    BY_FMA_BY(T, NAME, middle, MIDDLE) BY_FMA_BY(T, NAME, large, LARGE)
#define BY_FMA_BY(T, NAME, tile, TILE)                                                                               \
    extern "C" __global__ void FMA_BOUNDS gemm_fma_##tile##_##NAME(const T *a, const T *b, void *c, GemmArgs args) { \
        multiply_add::gemm<T, T, multiply_add::TILE, false>(a, b, c, args);                                          \
    }

#define ENTRY_POINTS(T, NAME)                                                                       \
    ENTRY_POINT(gemm_join_##NAME)(const Sum<T> *parts, T *out, uint64_t elements, uint32_t splits) { \
        join<T>(parts, out, elements, splits);                                                      \
    }                                                                                               \
    GEMV_K(T, NAME, 1) GEMV_K(T, NAME, 2) GEMV_K(T, NAME, 4) GEMV_K(T, NAME, 8)                     \
    ENTRY_POINT(gemv_n_##NAME)(const T *a, const T *b, T *c, GemmArgs args) {                       \
        __shared__ Sum<T> partial[GEMV_N_SLICES][GEMV_ROWS][GEMV_N_COLUMNS];                        \
        BY_ROWS(gemv_n, T, partial)                                                                 \
    }

ENTRY_POINTS(float, f32)
ENTRY_POINTS(double, f64)
ENTRY_POINTS(f16, f16)
ENTRY_POINTS(bf16, bf16)
#if defined(MATRIX_CORES)
ON_CORES(f16, f16)
ON_CORES(bf16, bf16)
#else
BY_FMA(f16, f16)
BY_FMA(bf16, bf16)
#endif
#if defined(MATRIX_CORES_MFMA)
ON_CORES(float, f32)
ON_CORES(double, f64)
#else
BY_FMA(float, f32)
BY_FMA_BY(double, f64, small, SMALL)
#endif
