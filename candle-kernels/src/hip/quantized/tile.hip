// Products of many rows of activations with quantized weights, by tiles. The host side is
// candle-core/src/quantized/rocm/{own,experts}.rs.
//
//   tile_<t>         tiles of 64 rows of weights x 32 rows of activations
//   tile_large_<t>   of 128 x 128
//   moe_tile_<t>     of 64 x 32, the activations being those that one expert multiplies
//                    (moe_plan of dense.hip sorts them)
//
// <t> is a format of formats.h. Weights are [n, k], activations rows of activations.h, results [rows, n] in
// f32, f16 or bf16. Nothing is read or written beyond these, whatever n, k and rows are; k is a whole number of blocks.
#include "tile.h"
#include "experts.h"

// Rows of weights, rows of activations, threads, waves of 64 lanes along the rows.
typedef Shape<64, 32, 128, 2> Small;
typedef Shape<128, 128, 256, 2> Large;

template <class F, class S>
static __device__ __forceinline__ void tile(const void *w, const void *x, void *out, unsigned n,
                                            unsigned segments, unsigned rows, int type) {
    __shared__ Pieces<F, S> lds;
    const unsigned first_row = blockIdx.x * S::ROWS;
    // Lines beyond the last repeat it; their results are not stored.
    const uint8_t *row = weight_row<F>(w, min(first_row + threadIdx.x % S::ROWS, n - 1), segments);
    for (unsigned first_column = blockIdx.y * S::COLUMNS; first_column < rows; first_column += gridDim.y * S::COLUMNS) {
        const unsigned column = min(first_column + (threadIdx.x - S::ROWS) % S::COLUMNS, rows - 1);
        Results<F, S> results;
        add_tile<F, S>(lds, results, row, ActivationRow(x, column, segments), segments);
        results.each([&](unsigned row, unsigned column, float value) {
            const unsigned to_row = first_row + row, to_column = first_column + column;
            if (to_row < n && to_column < rows) {
                store_float(out, static_cast<size_t>(to_column) * n + to_row, type, value);
            }
        });
    }
}

#define TILE(prefix, name, F, S)                                                                                      \
    extern "C" __global__ __launch_bounds__(S::THREADS) void prefix##_##name(                                         \
        const void *w, const void *x, void *out, unsigned n, unsigned segments, unsigned rows, int type) { \
        tile<F, S>(w, x, out, n, segments, rows, type);                                                               \
    }
#define TILES(name, F) TILE(tile, name, F, Small) TILE(tile_large, name, F, Large)
FOR_EACH_FORMAT(TILES)

template <class F, class S>
static __device__ __forceinline__ void moe_tile(const void *w, const void *x, float *out, const Tasks &tasks,
                                                const ExpertPlan &plan, unsigned n, unsigned segments) {
    __shared__ Pieces<F, S> lds;
    __shared__ PlannedLine lines[S::COLUMNS];
    const unsigned first_row = blockIdx.x * S::ROWS;
    for (unsigned number = blockIdx.y; number < plan.most_groups; number += gridDim.y) {
        const ExpertGroup group = plan.groups[number];
        if (group.count == 0) return;
        if (threadIdx.x < S::COLUMNS) {
            lines[threadIdx.x] = tasks.planned(plan.order[group.first + min(threadIdx.x, group.count - 1)]);
        }
        __syncthreads();
        const size_t row = static_cast<size_t>(group.expert) * n + min(first_row + threadIdx.x % S::ROWS, n - 1);
        const unsigned input = lines[(threadIdx.x - S::ROWS) % S::COLUMNS].input;
        Results<F, S> results;
        add_tile<F, S>(lds, results, weight_row<F>(w, row, segments), ActivationRow(x, input, segments), segments);
        results.each([&](unsigned row, unsigned column, float value) {
            const unsigned to_row = first_row + row;
            if (to_row < n && column < group.count) {
                const PlannedLine line = lines[column];
                out[static_cast<size_t>(line.output) * n + to_row] = line.scale * value;
            }
        });
        // The next group's lines take the place of these.
        __syncthreads();
    }
}

#define MOE_TILE(name, F)                                                                                         \
    extern "C" __global__ __launch_bounds__(Small::THREADS) void moe_tile_##name(                                 \
        const void *w, const void *x, float *out, Tasks tasks, ExpertPlan plan, unsigned n,            \
        unsigned segments) {                                                                                      \
        moe_tile<F, Small>(w, x, out, tasks, plan, n, segments);                                                  \
    }
FOR_EACH_FORMAT(MOE_TILE)
