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

/// The type that products of T are summed in.
template <class T> struct Accumulator { typedef float type; };
template <> struct Accumulator<double> { typedef double type; };

#include "exchange.h"
