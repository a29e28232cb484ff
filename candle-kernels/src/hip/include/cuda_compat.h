// What upstream candle's translated CUDA kernels need from a HIP SDK, and nothing else: clang's AMDGPU
// builtins and ocml, no SDK header, so that no SDK version can break the build. nvcc, for measurement on
// NVIDIA cards, gets CUDA's headers instead.
//
// Included on the command line (-include) for every translated module. The translation has already given
// the types their HIP names; functions keep the names that CUDA and HIP share.
//
// A CUDA warp is 32 lanes. Here it is a whole wave32 or one half of a wave64: every cross-lane operation
// stays within an aligned group of 32 lanes.
#pragma once

#if defined(__HIP__)

#include "compat/platform.h"
#include "compat/vector_types.h"
#include "compat/integer.h"
#include "compat/lanes.h"
#include "compat/math.h"
#include "compat/half.h"
#include "compat/bfloat16.h"
#include "compat/fp8.h"
#include "compat/atomics.h"
#include "compat/limits.h"
#include "compat/host_launch.h"

#else

#include "compat/nvidia.h"

#endif
