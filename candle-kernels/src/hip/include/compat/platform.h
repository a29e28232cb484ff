// Qualifiers, fixed-width integers, the thread's place in the grid, barriers.
#pragma once

#if !defined(__HIP__) || !defined(CANDLE_WAVE_SIZE)
#error "compile with clang -x hip and -DCANDLE_WAVE_SIZE=32|64 (scripts/compile_hip_kernels.sh does)"
#endif

#define __host__ __attribute__((host))
#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __noinline__ __attribute__((noinline))
#define __forceinline__ inline __attribute__((always_inline))
// The second argument of CUDA (resident blocks per multiprocessor) has no counterpart; it is dropped.
#define CANDLE_FLAT_WORKGROUP(max_threads, ...) __attribute__((amdgpu_flat_work_group_size(1, max_threads)))
#define __launch_bounds__(...) CANDLE_FLAT_WORKGROUP(__VA_ARGS__, 0)

#define COMPAT_DEVICE static __device__ __forceinline__
#define COMPAT_MEMBER __device__ __forceinline__

typedef __SIZE_TYPE__ size_t;
typedef __INT8_TYPE__ int8_t;
typedef __INT16_TYPE__ int16_t;
typedef __INT32_TYPE__ int32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT8_TYPE__ uint8_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __UINT64_TYPE__ uint64_t;
typedef __INTPTR_TYPE__ intptr_t;
typedef __UINTPTR_TYPE__ uintptr_t;

namespace candle_compat {

template <bool C> struct enable_if {};
template <> struct enable_if<true> { typedef int type; };
/// Template parameter that exists only for built-in integer and floating-point types.
template <class N> using arithmetic = typename enable_if<__is_arithmetic(N)>::type;

// Code objects v5 and v6 pass the grid in hidden kernel arguments: hidden_block_count_{x,y,z} are the first
// three 32-bit words (LLVM, AMDGPUUsage, "Code Object V5 Hidden Arguments").
template <int DIM> COMPAT_DEVICE unsigned block_count() {
    return static_cast<const __constant__ unsigned *>(__builtin_amdgcn_implicitarg_ptr())[DIM];
}

}  // namespace candle_compat

// CUDA reads an index as `threadIdx.x`: properties turn that into the builtin, and no object exists.
#define COMPAT_INDEX(NAME, X, Y, Z)                           \
    struct compat_##NAME {                                    \
        COMPAT_MEMBER unsigned get_x() const { return X; }    \
        COMPAT_MEMBER unsigned get_y() const { return Y; }    \
        COMPAT_MEMBER unsigned get_z() const { return Z; }    \
        __declspec(property(get = get_x)) unsigned x;         \
        __declspec(property(get = get_y)) unsigned y;         \
        __declspec(property(get = get_z)) unsigned z;         \
    };                                                        \
    extern const __attribute__((device, weak)) compat_##NAME NAME;

COMPAT_INDEX(threadIdx, __builtin_amdgcn_workitem_id_x(), __builtin_amdgcn_workitem_id_y(),
             __builtin_amdgcn_workitem_id_z())
COMPAT_INDEX(blockIdx, __builtin_amdgcn_workgroup_id_x(), __builtin_amdgcn_workgroup_id_y(),
             __builtin_amdgcn_workgroup_id_z())
COMPAT_INDEX(blockDim, __builtin_amdgcn_workgroup_size_x(), __builtin_amdgcn_workgroup_size_y(),
             __builtin_amdgcn_workgroup_size_z())
COMPAT_INDEX(gridDim, candle_compat::block_count<0>(), candle_compat::block_count<1>(),
             candle_compat::block_count<2>())
#undef COMPAT_INDEX

COMPAT_DEVICE void __syncthreads() {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
COMPAT_DEVICE void __syncwarp(unsigned = ~0u) {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "wavefront");
    __builtin_amdgcn_wave_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}
COMPAT_DEVICE void __threadfence() { __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, "agent"); }

COMPAT_DEVICE void *memcpy(void *to, const void *from, size_t bytes) { return __builtin_memcpy(to, from, bytes); }
COMPAT_DEVICE void *memset(void *to, int value, size_t bytes) { return __builtin_memset(to, value, bytes); }

static __host__ __device__ __forceinline__ void __trap() { __builtin_trap(); }
// Messages of a kernel have nowhere to go without a HIP runtime inside the code object.
template <class... A> static __host__ __device__ __forceinline__ int printf(const char *, A...) { return 0; }
// As in CUDA a failed assertion stops the kernel: an index out of range must not read or write memory.
#define assert(condition) ((condition) ? (void)0 : __builtin_trap())
