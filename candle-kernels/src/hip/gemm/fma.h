// Matrix products by fused multiply-adds: tiles of 64 x 64 through LDS, each thread 4 x 4 results. For targets and types
// without matrix cores.
#pragma once

#include "args.h"

constexpr unsigned TILE = 64;             // rows and columns of a tile
constexpr unsigned DEPTH = 16;            // steps along k that lie in LDS at a time
constexpr unsigned PER_THREAD = 4;        // rows and columns of a thread's results
constexpr unsigned PADDED = TILE + 4;     // keeps 16-byte alignment and moves successive k to other banks

/// Copies a TILE x DEPTH piece of an operand into LDS, transposed to [k][line] and widened; outside the operand 0.
/// A line is a row of A or a column of B. Successive threads take successive k when those are neighbours in memory,
/// else successive lines.
template <class T>
static __device__ __forceinline__ void load_piece(Sum<T> (*lds)[PADDED], const T *from, int64_t line_stride,
                                                  int64_t k_stride, unsigned lines, unsigned depth) {
    const bool along_k = k_stride == 1;
#pragma unroll
    for (unsigned i = 0; i < TILE * DEPTH / THREADS; ++i) {
        const unsigned element = i * THREADS + threadIdx.x;
        const unsigned line = along_k ? element / DEPTH : element % TILE;
        const unsigned step = along_k ? element % DEPTH : element / TILE;
        Sum<T> value = 0;
        if (line < lines && step < depth) value = static_cast<Sum<T>>(from[line * line_stride + step * k_stride]);
        lds[step][line] = value;
    }
}

template <class T> static __device__ __forceinline__ void gemm(const T *a, const T *b, void *c, const GemmArgs &args) {
    alignas(16) __shared__ Sum<T> a_piece[DEPTH][PADDED];
    alignas(16) __shared__ Sum<T> b_piece[DEPTH][PADDED];
    const Part part = Part::of<TILE, TILE>(args);
    if (part.batch >= args.batches) return;
    const unsigned first_row = threadIdx.x / (TILE / PER_THREAD) * PER_THREAD;
    const unsigned first_column = threadIdx.x % (TILE / PER_THREAD) * PER_THREAD;
    const T *a_at = a + part.batch * args.a_batch + part.row * args.a_row;
    const T *b_at = b + part.batch * args.b_batch + part.column * args.b_col;
    Sum<T> sums[PER_THREAD][PER_THREAD] = {};

    for (unsigned step = part.begin; step < part.end; step += DEPTH) {
        const unsigned depth = min(DEPTH, part.end - step);
        load_piece<T>(a_piece, a_at + step * args.a_col, args.a_row, args.a_col, part.rows, depth);
        load_piece<T>(b_piece, b_at + step * args.b_row, args.b_col, args.b_row, part.columns, depth);
        __syncthreads();
#pragma unroll 4  // all 16 at once would hold 200 registers on gfx90a
        for (unsigned i = 0; i < DEPTH; ++i) {
            Sum<T> left[PER_THREAD], right[PER_THREAD];
#pragma unroll
            for (unsigned j = 0; j < PER_THREAD; ++j) {
                left[j] = a_piece[i][first_row + j];
                right[j] = b_piece[i][first_column + j];
            }
#pragma unroll
            for (unsigned y = 0; y < PER_THREAD; ++y)
#pragma unroll
                for (unsigned x = 0; x < PER_THREAD; ++x) sums[y][x] += left[y] * right[x];
        }
        __syncthreads();
    }

#pragma unroll
    for (unsigned y = 0; y < PER_THREAD; ++y) {
#pragma unroll
        for (unsigned x = 0; x < PER_THREAD; ++x) {
            if (first_row + y >= part.rows || first_column + x >= part.columns) continue;
            const int64_t at = (first_row + y) * args.c_row + (first_column + x) * args.c_col;
            if (args.splits > 1) part.of_c(static_cast<Sum<T> *>(c), args)[at] = sums[y][x];
            else part.of_c(static_cast<T *>(c), args)[at] = static_cast<T>(sums[y][x]);
        }
    }
}
