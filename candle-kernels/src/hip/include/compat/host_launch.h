// Names that upstream's host-side launchers use. clang parses host code even when it compiles for the device only;
// nothing here is ever called, and no launcher becomes part of a code object: Rust launches the kernels.
#pragma once

#include "platform.h"

struct dim3 {
    unsigned x, y, z;
    constexpr __host__ __device__ dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

typedef struct compat_stream *hipStream_t;
enum hipError_t { hipSuccess };
enum hipFuncAttribute { hipFuncAttributeMaxDynamicSharedMemorySize };

// What clang turns `kernel<<<grid, block, bytes, stream>>>(…)` into.
extern "C" int __hipPushCallConfiguration(dim3 grid, dim3 block, size_t bytes = 0, hipStream_t stream = nullptr);
extern "C" int hipLaunchKernel(const void *, dim3, dim3, void **, size_t, hipStream_t);

template <class F> hipError_t hipFuncSetAttribute(F kernel, hipFuncAttribute attribute, int value);
hipError_t hipGetDevice(int *device);
hipError_t hipGetLastError();
hipError_t hipMallocAsync(void *at, size_t bytes, hipStream_t stream);
hipError_t hipFreeAsync(void *at, hipStream_t stream);
hipError_t hipMemsetAsync(void *at, int value, size_t bytes, hipStream_t stream);
