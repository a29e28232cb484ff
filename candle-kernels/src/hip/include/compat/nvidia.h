// The NVIDIA side of cuda_compat.h: CUDA's own headers, and HIP's names, which the translation has given the types and
// host functions, led back to CUDA's. What CUDA and HIP share needs nothing.
#pragma once

#include <climits>
#include <cmath>
#include <cstdint>
#include <limits>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#define __hip_bfloat16 __nv_bfloat16
#define __hip_bfloat162 __nv_bfloat162
#define __hip_fp8_e4m3 __nv_fp8_e4m3
#define __hip_cvt_fp8_to_halfraw __nv_cvt_fp8_to_halfraw
#define __HIP_E4M3 __NV_E4M3

#define hipStream_t cudaStream_t
#define hipError_t cudaError_t
#define hipSuccess cudaSuccess
#define hipGetLastError cudaGetLastError
#define hipGetDevice cudaGetDevice
#define hipMallocAsync cudaMallocAsync
#define hipFreeAsync cudaFreeAsync
#define hipMemsetAsync cudaMemsetAsync
#define hipFuncSetAttribute cudaFuncSetAttribute
#define hipFuncAttributeMaxDynamicSharedMemorySize cudaFuncAttributeMaxDynamicSharedMemorySize
