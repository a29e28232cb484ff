// C[m,n] = A[m,k] * B[k,n], batched, any strides. The host side (names, launch geometry, which kernel for which
// shape) is src/rocm/gemm.rs; constants with the same name must agree.
//
//   gemm_<t>     tiles of 64 x 64 through LDS, each thread 4 x 4 results
//   gemv_k_<t>   m <= 8, for B whose columns are contiguous (weights [n,k]): a warp walks along k, one result column
//   gemv_n_<t>   m <= 8, for B whose rows are contiguous ([k,n]): a thread per column, k cut into four slices
//
// <t> is f32, f16, bf16 (summed in f32) or f64. Every kernel is right for every stride; the choice is about speed.
#include "portable.h"

/// Passed by value. Strides count elements; 0 repeats a row, a column or a whole batch.
struct GemmArgs {
    int64_t a_row, a_col, a_batch;
    int64_t b_row, b_col, b_batch;
    int64_t c_row, c_col, c_batch;
    uint32_t m, n, k, batches;
};

constexpr unsigned THREADS = 256;
constexpr unsigned TILE = 64;             // rows and columns of a gemm tile
constexpr unsigned DEPTH = 16;            // steps along k that lie in LDS at a time
constexpr unsigned PER_THREAD = 4;        // rows and columns of a thread's results
constexpr unsigned PADDED = TILE + 4;     // keeps 16-byte alignment and moves successive k to other banks
constexpr unsigned GEMV_ROWS = 8;         // largest m of gemv
constexpr unsigned GEMV_N_COLUMNS = 64;   // columns of a workgroup of gemv_n
constexpr unsigned GEMV_N_SLICES = THREADS / GEMV_N_COLUMNS;

template <class T> using Sum = typename Accumulator<T>::type;

// ---- gemm -------------------------------------------------------------------------------------------------------

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

template <class T> static __device__ __forceinline__ void gemm(const T *a, const T *b, T *c, const GemmArgs &args) {
    alignas(16) __shared__ Sum<T> a_piece[DEPTH][PADDED];
    alignas(16) __shared__ Sum<T> b_piece[DEPTH][PADDED];
    const unsigned row_tiles = (args.m + TILE - 1) / TILE, column_tiles = (args.n + TILE - 1) / TILE;
    const unsigned first_row = threadIdx.x / (TILE / PER_THREAD) * PER_THREAD;
    const unsigned first_column = threadIdx.x % (TILE / PER_THREAD) * PER_THREAD;

    for (unsigned batch = blockIdx.z; batch < args.batches; batch += gridDim.z) {
        for (unsigned tile = blockIdx.x; tile < row_tiles * column_tiles; tile += gridDim.x) {
            const unsigned row = tile / column_tiles * TILE, column = tile % column_tiles * TILE;
            const unsigned rows = min(TILE, args.m - row), columns = min(TILE, args.n - column);
            const T *a_at = a + batch * args.a_batch + row * args.a_row;
            const T *b_at = b + batch * args.b_batch + column * args.b_col;
            Sum<T> sums[PER_THREAD][PER_THREAD] = {};

            for (unsigned step = 0; step < args.k; step += DEPTH) {
                const unsigned depth = min(DEPTH, args.k - step);
                load_piece<T>(a_piece, a_at + step * args.a_col, args.a_row, args.a_col, rows, depth);
                load_piece<T>(b_piece, b_at + step * args.b_row, args.b_col, args.b_row, columns, depth);
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

            T *c_at = c + batch * args.c_batch + row * args.c_row + column * args.c_col;
#pragma unroll
            for (unsigned y = 0; y < PER_THREAD; ++y)
#pragma unroll
                for (unsigned x = 0; x < PER_THREAD; ++x)
                    if (first_row + y < rows && first_column + x < columns)
                        c_at[(first_row + y) * args.c_row + (first_column + x) * args.c_col] = static_cast<T>(sums[y][x]);
        }
    }
}

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

// ---- entry points -------------------------------------------------------------------------------------------------

/// Fewer rows in registers for fewer rows of A. m is the same for all threads, so the branch is free.
#define BY_ROWS(KERNEL, T, ...)                                \
    if (args.m <= 1) KERNEL<T, 1>(a, b, c, args __VA_ARGS__);  \
    else if (args.m <= 2) KERNEL<T, 2>(a, b, c, args __VA_ARGS__); \
    else if (args.m <= 4) KERNEL<T, 4>(a, b, c, args __VA_ARGS__); \
    else KERNEL<T, GEMV_ROWS>(a, b, c, args __VA_ARGS__);

#define ENTRY_POINTS(T, NAME)                                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS) gemm_##NAME(const T *a, const T *b, T *c, GemmArgs args) { \
        gemm<T>(a, b, c, args);                                                                                   \
    }                                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS) gemv_k_##NAME(const T *a, const T *b, T *c, GemmArgs args) { \
        BY_ROWS(gemv_k, T)                                                                                        \
    }                                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS) gemv_n_##NAME(const T *a, const T *b, T *c, GemmArgs args) { \
        __shared__ Sum<T> partial[GEMV_N_SLICES][GEMV_ROWS][GEMV_N_COLUMNS];                                      \
        BY_ROWS(gemv_n, T, , partial)                                                                             \
    }

ENTRY_POINTS(float, f32)
ENTRY_POINTS(double, f64)
ENTRY_POINTS(f16, f16)
ENTRY_POINTS(bf16, bf16)
