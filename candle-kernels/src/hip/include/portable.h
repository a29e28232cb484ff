// What our own kernels are written against. On AMD it is a part of the compatibility headers; on NVIDIA (for
// measurement) CUDA's own headers with the same names.
#pragma once

#if defined(__HIP__)

#include "compat/bfloat16.h"
#include "compat/integer.h"
#include "compat/lanes.h"
typedef __half f16;
typedef __hip_bfloat16 bf16;

#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>
typedef __half f16;
typedef __nv_bfloat16 bf16;

#endif

/// Lanes that exchange values with each other, on every target.
constexpr unsigned WARP = 32;

/// What each kernel of a module that says KERNELS_AWAIT does first. On NVIDIA's cards from Hopper on hip-nvidia then launches the module's
/// kernels while the one before ends (CUDA C++ Programming Guide, "Programmatic Dependent Launch and Synchronization"): here they wait until
/// that one is done and its results are visible, and allow the next one to be set up. A workgroup that left before this would let the
/// next kernel read what nobody has written. Elsewhere nothing.
static __device__ __forceinline__ void await_previous() {
#if !defined(__HIP__) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}
#if !defined(__HIP__) && (!defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900)
#define KERNELS_AWAIT extern "C" __device__ int kernels_await_previous = 1;
#else
#define KERNELS_AWAIT
#endif

/// The type that products of T are summed in.
template <class T> struct Accumulator { typedef float type; };
template <> struct Accumulator<double> { typedef double type; };

#include "exchange.h"
