// Matrix products with few rows: bound by reading B once, so B is what is read well.
//
//   gemv_k   B's columns are contiguous (weights [n,k]): warps walk along k, with a few result columns
//   gemv_n   B's rows are contiguous ([k,n]): a thread per column, k cut into slices
#pragma once

#include "args.h"

constexpr unsigned GEMV_ROWS = 8;         // largest m of gemv
constexpr unsigned GEMV_N_COLUMNS = 64;   // columns of a workgroup of gemv_n
constexpr unsigned GEMV_N_SLICES = THREADS / GEMV_N_COLUMNS;

// ---- gemv, B contiguous along k -----------------------------------------------------------------------------------

constexpr unsigned GEMV_WARPS = THREADS / WARP;

/// A number of steps as a type.
template <unsigned N> struct Steps { static constexpr unsigned COUNT = N; };

constexpr unsigned GEMV_K_COLUMNS = 4;  // that a warp of gemv_k takes at a time: each chunk of A serves all of them

/// Steps along k at a time: 16-byte reads under way in each lane are so many times GEMV_K_COLUMNS. Measured on an H200
/// (docs/performance.md); on CDNA widened elements of 8 rows take the registers of a second step.
#if defined(__HIP__)
constexpr unsigned GEMV_K8_HALVES_AHEAD = 1, GEMV_K1_WIDER_AHEAD = 2;
#else
constexpr unsigned GEMV_K8_HALVES_AHEAD = 2, GEMV_K1_WIDER_AHEAD = 4;
#endif
template <class A, class B, unsigned ROWS>
constexpr unsigned GEMV_K_AHEAD = sizeof(A) < sizeof(B) ? 1
                                  : sizeof(A) > sizeof(B) && ROWS == 1 ? GEMV_K1_WIDER_AHEAD
                                  : sizeof(B) == 4      ? (ROWS <= 2 ? 2 : 1)
                                  : sizeof(B) == 2      ? (ROWS == 1 ? 2 : ROWS == 8 ? GEMV_K8_HALVES_AHEAD : 1)
                                                        : 1;

/// Elements that a lane takes of A and of B at a time.
template <class T, unsigned SIZE> struct alignas(16) Chunk {
    T element[SIZE];
};
/// As many as one 16-byte load brings of the narrower type.
template <class A, class B> constexpr unsigned CHUNK = 16 / (sizeof(A) < sizeof(B) ? sizeof(A) : sizeof(B));

/// True when every row of A and column of B can be read in whole chunks.
template <class A, class B> static __device__ __forceinline__ bool chunks_align(const A *a, const B *b, const GemmArgs &args) {
    const int64_t of_a = (args.a_row | args.a_batch) * sizeof(A), of_b = (args.b_col | args.b_batch) * sizeof(B);
    const uint64_t bytes = reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b) | of_a | of_b;
    return args.a_col == 1 && args.b_row == 1 && bytes % 16 == 0;
}

/// Each lane brings a share of COUNT sums, a power of two up to WARP; lane i leaves with sum i / (WARP / COUNT). Halving what is
/// carried at each exchange takes as many of them as there are sums, where sums one by one would take five each.
template <unsigned COUNT, unsigned BIT = WARP / 2, class A>
static __device__ __forceinline__ A spread_sums(const A (&shares)[COUNT], unsigned lane) {
    if constexpr (BIT == 0) {
        return shares[0];
    } else {
        // Of eight lanes ^ 7, ^ 2 and ^ 1 reach each, as ^ 4, ^ 2 and ^ 1 would (exchange.h).
        constexpr unsigned MASK = BIT == 4 ? 7 : BIT, LEFT = COUNT > 1 ? COUNT / 2 : 1;
        A half[LEFT];
#pragma unroll
        for (unsigned i = 0; i < LEFT; ++i) {
            const A low = shares[i], high = shares[i + COUNT / 2], own = COUNT > 1 && lane & BIT ? high : low;
            half[i] = own + from_xor<MASK>(COUNT > 1 && lane & BIT ? low : high);
        }
        return spread_sums<LEFT, BIT / 2>(half, lane);
    }
}

/// What a result is but for its rounding.
struct Unchanged {
    template <class S> __device__ __forceinline__ S operator()(S sum) const { return sum; }
};

/// ROWS >= m: rows beyond m repeat the last one and are not stored, nor are columns beyond n. `args.splits` of the
/// workgroup's warps, a power of two, share a group of columns and take turns along k. C has the type of A.
template <class A, class B, unsigned ROWS, class Finish = Unchanged>
static __device__ __forceinline__ void gemv_k(const A *a, const B *b, A *c, const GemmArgs &args, Finish finish = {}) {
    typedef Sum<A> S;
    constexpr unsigned COLUMNS = GEMV_K_COLUMNS, AHEAD = GEMV_K_AHEAD<A, B, ROWS>, SIZE = CHUNK<A, B>;
    constexpr unsigned SUMS = ROWS * COLUMNS, OF_LANE = WARP / SUMS;
    static_assert(SUMS <= WARP, "a lane for each");
    __shared__ S parts[GEMV_WARPS][SUMS];
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const unsigned sharing = args.splits, lanes = sharing * WARP, first = warp % sharing * WARP + lane;
    const unsigned groups = (args.n + COLUMNS - 1) / COLUMNS, at_once = GEMV_WARPS / sharing;
    const unsigned chunks = chunks_align(a, b, args) ? args.k / SIZE : 0;

    for (unsigned batch = blockIdx.z; batch < args.batches; batch += gridDim.z) {
        for (unsigned first_group = blockIdx.x * at_once; first_group < groups; first_group += gridDim.x * at_once) {
            const unsigned column = (first_group + warp / sharing) * COLUMNS;
            const A *a_row[ROWS];
            const B *b_column[COLUMNS];
#pragma unroll
            for (unsigned r = 0; r < ROWS; ++r) a_row[r] = a + batch * args.a_batch + min(r, args.m - 1) * args.a_row;
#pragma unroll
            for (unsigned j = 0; j < COLUMNS; ++j)
                b_column[j] = b + batch * args.b_batch + min(column + j, args.n - 1) * args.b_col;

            S sums[SUMS] = {};
            const auto step = [&](unsigned i, auto count) {
                constexpr unsigned COUNT = decltype(count)::COUNT;
                Chunk<B, SIZE> right[COUNT][COLUMNS];
#pragma unroll
                for (unsigned u = 0; u < COUNT; ++u)
#pragma unroll
                    for (unsigned j = 0; j < COLUMNS; ++j)
                        right[u][j] = reinterpret_cast<const Chunk<B, SIZE> *>(b_column[j])[i + u * lanes];
#pragma unroll
                for (unsigned u = 0; u < COUNT; ++u)
#pragma unroll
                    for (unsigned r = 0; r < ROWS; ++r) {
                        const Chunk<A, SIZE> left = reinterpret_cast<const Chunk<A, SIZE> *>(a_row[r])[i + u * lanes];
#pragma unroll
                        for (unsigned j = 0; j < COLUMNS; ++j)
#pragma unroll
                            for (unsigned e = 0; e < SIZE; ++e)
                                sums[r * COLUMNS + j] +=
                                    static_cast<S>(left.element[e]) * static_cast<S>(right[u][j].element[e]);
                    }
            };
            unsigned i = first;
            for (; i + (AHEAD - 1) * lanes < chunks; i += AHEAD * lanes) step(i, Steps<AHEAD>());
            if constexpr (AHEAD > 1)
                for (; i < chunks; i += lanes) step(i, Steps<1>());
            for (i = chunks * SIZE + first; i < args.k; i += lanes) {
                S right[COLUMNS];
#pragma unroll
                for (unsigned j = 0; j < COLUMNS; ++j) right[j] = static_cast<S>(b_column[j][i * args.b_row]);
#pragma unroll
                for (unsigned r = 0; r < ROWS; ++r) {
                    const S left = static_cast<S>(a_row[r][i * args.a_col]);
#pragma unroll
                    for (unsigned j = 0; j < COLUMNS; ++j) sums[r * COLUMNS + j] += left * right[j];
                }
            }

            const S sum = spread_sums(sums, lane);
            if (lane % OF_LANE == 0) parts[warp][lane / OF_LANE] = sum;
            __syncthreads();
            for (unsigned t = threadIdx.x; t < at_once * SUMS; t += THREADS) {
                const unsigned from = t / SUMS * sharing, which = t % SUMS;
                const unsigned row = which / COLUMNS, to = (first_group + t / SUMS) * COLUMNS + which % COLUMNS;
                S total = parts[from][which];
                for (unsigned w = 1; w < sharing; ++w) total += parts[from + w][which];
                if (row < args.m && to < args.n)
                    c[batch * args.c_batch + row * args.c_row + to * args.c_col] = static_cast<A>(finish(total));
            }
            __syncthreads();
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
