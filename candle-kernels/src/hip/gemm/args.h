// What every kernel of gemm.hip is given, and which part of it a workgroup does.
#pragma once

#include "portable.h"

/// Passed by value. Strides count elements; 0 repeats a row, a column or a whole batch.
struct GemmArgs {
    int64_t a_row, a_col, a_batch;
    int64_t b_row, b_col, b_batch;
    int64_t c_row, c_col, c_batch;
    uint32_t m, n, k, batches;
    /// The sum over k is cut into `splits` parts (at least 1) of `split_depth` steps (the last may have fewer), for
    /// workgroups of their own. With more than one part C is not the result but room for parts: `splits` times all
    /// batches, in the type of the sums. gemv_k: the warps of a workgroup that share columns.
    uint32_t splits, split_depth;
};

constexpr unsigned THREADS = 256;

template <class T> using Sum = typename Accumulator<T>::type;

/// What a workgroup computes: a tile of one of the batches, over a part of k. Grid x counts tiles; y the parts and, above
/// them, as many batches as z has no room for. Nothing is done twice: a loop around the kernel would have the compiler keep
/// all that depends on the arguments alone in registers.
struct Part {
    uint32_t batch, split;
    uint32_t row, rows, column, columns;
    /// Steps along k.
    uint32_t begin, end;

    template <unsigned ROWS, unsigned COLUMNS> static __device__ __forceinline__ Part of(const GemmArgs &args) {
        Part part;
        part.batch = blockIdx.y / args.splits * gridDim.z + blockIdx.z;
        part.split = blockIdx.y % args.splits;
        const uint32_t across = (args.n + COLUMNS - 1) / COLUMNS;
        part.row = blockIdx.x / across * ROWS;
        part.column = blockIdx.x % across * COLUMNS;
        part.rows = min(ROWS, args.m - part.row);
        part.columns = min(COLUMNS, args.n - part.column);
        part.begin = part.split * args.split_depth;
        part.end = min(args.k - part.begin, args.split_depth) + part.begin;
        return part;
    }

    /// Where the tile begins in C, or in the room for parts.
    template <class Out> __device__ __forceinline__ Out *of_c(Out *c, const GemmArgs &args) const {
        const uint64_t index = static_cast<uint64_t>(split) * args.batches + batch;
        return c + index * args.c_batch + row * args.c_row + column * args.c_col;
    }
};
