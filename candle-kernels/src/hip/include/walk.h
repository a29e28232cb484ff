// Walking through tensors of one shape: from the number of an element to its place in each of several operands. The
// host side is candle-core's rocm_backend/walk.rs; both structs must agree byte for byte.
#pragma once

#include "portable.h"

/// Dimensions left after neighbours that lie in one run were merged.
constexpr unsigned MAX_RANK = 8;

/// Passed by value, so that no launch copies a shape to the device. Dimension 0 is the innermost. Elements are
/// counted in 32 bits: the host cuts larger tensors into several launches. Strides count elements, in 64 bits.
template <unsigned OPERANDS> struct Walk {
    uint32_t count, rank;
    /// Division by size[d] is (mulhi(n, magic[d]) + n) >> shift[d], exact below 2^31 (Granlund and Montgomery, 1994).
    uint32_t size[MAX_RANK], magic[MAX_RANK], shift[MAX_RANK];
    uint64_t stride[OPERANDS][MAX_RANK];

    /// Where element `index` lies in each operand.
    __device__ __forceinline__ void at(uint32_t index, uint64_t (&offset)[OPERANDS]) const {
#pragma unroll
        for (unsigned o = 0; o < OPERANDS; ++o) offset[o] = 0;
        for (unsigned d = 0; d + 1 < rank; ++d) {
            const uint32_t high = (uint64_t(index) * magic[d]) >> 32;
            const uint32_t quotient = (high + index) >> shift[d], coordinate = index - quotient * size[d];
#pragma unroll
            for (unsigned o = 0; o < OPERANDS; ++o) offset[o] += stride[o][d] * coordinate;
            index = quotient;
        }
#pragma unroll
        for (unsigned o = 0; o < OPERANDS; ++o) offset[o] += stride[o][rank - 1] * index;
    }

    /// Where element `index` lies in the first operand.
    __device__ __forceinline__ uint64_t at(uint32_t index) const {
        uint64_t offset[OPERANDS];
        at(index, offset);
        return offset[0];
    }
};

/// This thread's number in a one-dimensional grid, and the number of threads: how far to step.
static __device__ __forceinline__ uint32_t first_element() { return blockIdx.x * blockDim.x + threadIdx.x; }
static __device__ __forceinline__ uint32_t all_threads() { return gridDim.x * blockDim.x; }

/// `for` over the elements of a walk that fall to this thread.
#define FOR_EACH(INDEX, COUNT) for (uint32_t INDEX = first_element(); INDEX < (COUNT); INDEX += all_threads())
