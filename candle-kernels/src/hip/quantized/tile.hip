// Products of many rows of activations with quantized weights, by tiles. The host side is
// candle-core/src/quantized/rocm/{own,experts}.rs.
//
//   tile_<t>         tiles of 64 rows of weights x 32 rows of activations
//   tile_narrow_<t>  of 16 x 16, whose waves share k
//   tile_medium_<t>  of 64 x 64, on RDNA 2
//   tile_large_<t>   of 128 x 128
//   moe_tile_<t>     of 64 x 32, the activations being those that one expert multiplies
//                    (moe_plan of dense.hip sorts them)
//
// <t> is a format of formats.h. Weights are [n, k], activations rows of activations.h, results [rows, n] in
// f32, f16 or bf16. Nothing is read or written beyond these, whatever n, k and rows are; k is a whole number of blocks.
#include "experts.h"
#include "feed.h"

// Rows of weights, rows of activations, threads, waves along the rows, depth, residents, ahead, shares of a piece:
// docs/performance.md. Deeper pieces touch fewer lines of the cache; compute units of gfx9 have 64 KiB of LDS for all
// workgroups.
#if defined(__GFX9__)
template <class F> using Narrow = Shape<16, 16, 128, 1, 8, 3, true, 2>;
template <class F> using Small = Shape<64, 32, 128, 2, 2, 3, true>;
template <class F> using Large = Shape<128, 128, 256, 2, 2, 2, true>;
#elif defined(__NVCC__)
template <class F> using Narrow = Shape<16, 16, 128, 1, 8, 4, true, 4>;
template <class F> using Small = Shape<64, 32, 128, 2, 4, 4, true>;
// A kernel can declare 48 KiB: too few for both scales and both offsets of Q2K's segments.
template <class F> using Large = Shape<128, 128, 256, 2, Scales<F>::OFFSET && F::HALVES == 2 ? 2 : 4, 2, false>;
#else
template <class F> using Narrow = Shape<16, 16, 128, 1, 8, 8, true, 4>;
template <class F> using Small = Shape<64, 32, 128, 4, 4, 4, true>;
template <class F> using Medium = Shape<64, 64, 128, 4, 4, 4, true>;
template <class F> using Large = Shape<128, 128, 256, 4, 4, 4, true>;
#endif

// On gfx9 room for two waves also keeps the compiler from moving sums to accumulation registers and back.
#if defined(__NVCC__)
#define TILE_BOUNDS(S) __launch_bounds__(S::THREADS, S::RESIDENT)
#else
#define TILE_BOUNDS(S) __launch_bounds__(S::THREADS) __attribute__((amdgpu_waves_per_eu(S::RESIDENT)))
#endif

/// Rows of weights up to which a whole tile's results lie within 4 GiB.
constexpr unsigned MOST_WHOLE_ROWS = 1u << 22;

/// Stores a tile without bounds, its first result at `to`.
template <class R, class T>
static __device__ __forceinline__ void store_whole(const R &results, T *to, unsigned n) {
    const unsigned own = results.first_column() * n + results.first_row();
    results.each([&](unsigned row, unsigned column, float value) {
        T *line = to + static_cast<size_t>(column) * n;
        line[own + row] = static_cast<T>(value);
    });
}

/// Part blockIdx.z of k, `part` segments from `part * blockIdx.z` on, of the tiles of the workgroup's rows. Of several
/// parts each leaves its results in f32, one matrix after the other.
template <class F, class S>
static __device__ __forceinline__ void tile(const void *w, const void *x, void *out, unsigned n, unsigned segments,
                                            unsigned rows, int type, unsigned part) {
    __shared__ union {
        Piece<F, S> piece;
        typename Results<F, S>::Left left;
    } lds;
    const unsigned first_row = blockIdx.x * S::ROWS;
    const unsigned first = blockIdx.z * part, end = min(first + part, segments);
    const size_t from = static_cast<size_t>(blockIdx.z) * rows;
    for (unsigned first_column = blockIdx.y * S::COLUMNS; first_column < rows; first_column += gridDim.y * S::COLUMNS) {
        // Lines beyond the last repeat it; their results are not stored.
        WeightFeed<F, S> weights(weight_row<F>(w, first_row, segments), n - 1 - first_row, segments);
        const unsigned last_column = rows - 1 - first_column;
        ActivationFeed<F, S> activations(ActivationRow(x, first_column, segments).integers, segments,
                                         [&](unsigned line) { return min(line, last_column); });
        Results<F, S> results;
        // Of more columns the next tile's pieces take the place of what the shares left.
        if (S::SHARES > 1) __syncthreads();
        add_tile<F, S>(lds.piece, results, weights, activations, first, end);
        if (!results.join(lds.left)) continue;
#if !defined(__NVCC__)
        // What a lane adds to an address common to all is counted in 32 bits. (On an H200 it made some kernels slower.)
        if (first_row + S::ROWS <= n && first_column + S::COLUMNS <= rows && n <= MOST_WHOLE_ROWS) {
            const size_t to = (from + first_column) * n + first_row;
            if (type == FLOAT32) store_whole(results, static_cast<float *>(out) + to, n);
            if (type == FLOAT16) store_whole(results, static_cast<f16 *>(out) + to, n);
            if (type == BFLOAT16) store_whole(results, static_cast<bf16 *>(out) + to, n);
            continue;
        }
#endif
        const unsigned own_row = first_row + results.first_row(), own_column = first_column + results.first_column();
        results.each([&](unsigned row, unsigned column, float value) {
            const unsigned to_row = own_row + row, to_column = own_column + column;
            if (to_row < n && to_column < rows) store_float(out, (from + to_column) * n + to_row, type, value);
        });
    }
}

#define TILE(prefix, name, F, S)                                                                                      \
    extern "C" __global__ TILE_BOUNDS(S<F>) void prefix##_##name(                                                     \
        const void *w, const void *x, void *out, unsigned n, unsigned segments, unsigned rows, int type,              \
        unsigned part) {                                                                                              \
        tile<F, S<F>>(w, x, out, n, segments, rows, type, part);                                                      \
    }
#define TILES(name, F)              \
    TILE(tile_narrow, name, F, Narrow) \
    TILE(tile, name, F, Small) TILE(tile_large, name, F, Large)
FOR_EACH_FORMAT(TILES)

// RDNA 2 has no matrix cores: there the words that a thread reads from the LDS for a result count.
#if defined(__GFX10__)
#define MEDIUM_TILE(name, F) TILE(tile_medium, name, F, Medium)
FOR_EACH_FORMAT(MEDIUM_TILE)
#endif

template <class F, class S>
static __device__ __forceinline__ void moe_tile(const void *w, const void *x, float *out, const Tasks &tasks,
                                                const ExpertPlan &plan, unsigned n, unsigned segments) {
    __shared__ Piece<F, S> lds;
    __shared__ PlannedLine lines[S::COLUMNS];
    const unsigned first_row = blockIdx.x * S::ROWS;
    for (unsigned number = blockIdx.y; number < plan.most_groups; number += gridDim.y) {
        const ExpertGroup group = plan.groups[number];
        if (group.count == 0) return;
        if (threadIdx.x < S::COLUMNS) {
            lines[threadIdx.x] = tasks.planned(plan.order[group.first + min(threadIdx.x, group.count - 1)]);
        }
        __syncthreads();
        const size_t first = static_cast<size_t>(group.expert) * n + first_row;
        WeightFeed<F, S> weights(weight_row<F>(w, first, segments), n - 1 - first_row, segments);
        ActivationFeed<F, S> activations(x, segments, [&](unsigned line) { return lines[line].input; });
        Results<F, S> results;
        add_tile<F, S>(lds, results, weights, activations, 0, segments);
        const unsigned own_row = first_row + results.first_row(), own_column = results.first_column();
        results.each([&](unsigned row, unsigned column, float value) {
            const unsigned to_row = own_row + row;
            if (to_row < n && own_column + column < group.count) {
                const PlannedLine line = lines[own_column + column];
                out[static_cast<size_t>(line.output) * n + to_row] = line.scale * value;
            }
        });
        // The next group's lines take the place of these.
        __syncthreads();
    }
}

#define MOE_TILE(name, F)                                                                                             \
    extern "C" __global__ TILE_BOUNDS(Small<F>) void moe_tile_##name(                                                 \
        const void *w, const void *x, float *out, Tasks tasks, ExpertPlan plan, unsigned n, unsigned segments) {      \
        moe_tile<F, Small<F>>(w, x, out, tasks, plan, n, segments);                                                   \
    }
FOR_EACH_FORMAT(MOE_TILE)
