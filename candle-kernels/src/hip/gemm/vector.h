// Matrix products with few rows: bound by reading B once, so B is what is read well.
//
//   gemv_k   B's columns are contiguous (weights [n,k]): a warp walks along k, one result column
//   gemv_n   B's rows are contiguous ([k,n]): a thread per column, k cut into slices
#pragma once

#include "args.h"

constexpr unsigned GEMV_ROWS = 8;         // largest m of gemv
constexpr unsigned GEMV_N_COLUMNS = 64;   // columns of a workgroup of gemv_n
constexpr unsigned GEMV_N_SLICES = THREADS / GEMV_N_COLUMNS;

// ---- gemv, B contiguous along k -----------------------------------------------------------------------------------

/// As many elements as one 16-byte load brings.
template <class T> struct alignas(16) Chunk {
    static constexpr unsigned SIZE = 16 / sizeof(T);
    T element[SIZE];
};

/// True when every row of A and column of B can be read in whole chunks.
template <class T> static __device__ __forceinline__ bool chunks_align(const T *a, const T *b, const GemmArgs &args) {
    const int64_t strides = args.a_row | args.a_batch | args.b_col | args.b_batch;
    const uint64_t bytes = reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b) | strides * sizeof(T);
    return args.a_col == 1 && args.b_row == 1 && bytes % 16 == 0;
}

/// ROWS >= m: rows beyond m repeat the last one and are not stored.
template <class T, unsigned ROWS>
static __device__ __forceinline__ void gemv_k(const T *a, const T *b, T *c, const GemmArgs &args) {
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = THREADS / WARP;
    const unsigned chunks = chunks_align(a, b, args) ? args.k / Chunk<T>::SIZE : 0;

    for (unsigned batch = blockIdx.z; batch < args.batches; batch += gridDim.z) {
        for (unsigned column = blockIdx.x * warps + warp; column < args.n; column += gridDim.x * warps) {
            const T *a_row[ROWS];
            Sum<T> sums[ROWS] = {};
#pragma unroll
            for (unsigned r = 0; r < ROWS; ++r) a_row[r] = a + batch * args.a_batch + min(r, args.m - 1) * args.a_row;
            const T *b_column = b + batch * args.b_batch + column * args.b_col;

            for (unsigned i = lane; i < chunks; i += WARP) {
                const Chunk<T> right = reinterpret_cast<const Chunk<T> *>(b_column)[i];
#pragma unroll
                for (unsigned r = 0; r < ROWS; ++r) {
                    const Chunk<T> left = reinterpret_cast<const Chunk<T> *>(a_row[r])[i];
#pragma unroll
                    for (unsigned e = 0; e < Chunk<T>::SIZE; ++e)
                        sums[r] += static_cast<Sum<T>>(left.element[e]) * static_cast<Sum<T>>(right.element[e]);
                }
            }
            for (unsigned i = chunks * Chunk<T>::SIZE + lane; i < args.k; i += WARP) {
                const Sum<T> right = static_cast<Sum<T>>(b_column[i * args.b_row]);
#pragma unroll
                for (unsigned r = 0; r < ROWS; ++r) sums[r] += static_cast<Sum<T>>(a_row[r][i * args.a_col]) * right;
            }

            T *c_at = c + batch * args.c_batch + column * args.c_col;
#pragma unroll
            for (unsigned r = 0; r < ROWS; ++r) {
                const Sum<T> total = warp_sum(sums[r]);
                if (lane == r % WARP && r < args.m) c_at[r * args.c_row] = static_cast<T>(total);
            }
        }
    }
}

// ---- gemv, B contiguous along n -----------------------------------------------------------------------------------

template <class T, unsigned ROWS>
static __device__ __forceinline__ void gemv_n(const T *a, const T *b, T *c, const GemmArgs &args,
                                              Sum<T> (*partial)[GEMV_ROWS][GEMV_N_COLUMNS]) {
    const unsigned within = threadIdx.x % GEMV_N_COLUMNS, slice = threadIdx.x / GEMV_N_COLUMNS;
    const unsigned groups = (args.n + GEMV_N_COLUMNS - 1) / GEMV_N_COLUMNS;

    for (unsigned batch = blockIdx.z; batch < args.batches; batch += gridDim.z) {
        for (unsigned group = blockIdx.x; group < groups; group += gridDim.x) {
            const unsigned column = group * GEMV_N_COLUMNS + within;
            // A column beyond n computes the last one again: every thread reaches the barriers.
            const T *b_column = b + batch * args.b_batch + min(column, args.n - 1) * args.b_col;
            const T *a_at = a + batch * args.a_batch;
            Sum<T> sums[ROWS] = {};
            for (unsigned i = slice; i < args.k; i += GEMV_N_SLICES) {
                const Sum<T> right = static_cast<Sum<T>>(b_column[i * args.b_row]);
#pragma unroll
                for (unsigned r = 0; r < ROWS; ++r)
                    sums[r] += static_cast<Sum<T>>(a_at[min(r, args.m - 1) * args.a_row + i * args.a_col]) * right;
            }
#pragma unroll
            for (unsigned r = 0; r < ROWS; ++r) partial[slice][r][within] = sums[r];
            __syncthreads();
            T *c_at = c + batch * args.c_batch + column * args.c_col;
            for (unsigned r = slice; r < args.m; r += GEMV_N_SLICES) {
                Sum<T> total = 0;
#pragma unroll
                for (unsigned s = 0; s < GEMV_N_SLICES; ++s) total += partial[s][r][within];
                if (column < args.n) c_at[r * args.c_row] = static_cast<T>(total);
            }
            __syncthreads();
        }
    }
}
