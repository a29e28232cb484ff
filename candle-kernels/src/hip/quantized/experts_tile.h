// A mixture's products by tiles: the tasks of one expert by rows of its dense weights (gemm/rows.h).
#pragma once

#include "../gemm/rows.h"
#include "experts.h"

/// What the products are made of for weights W and activations X, and what they are multiplied in: their own type where
/// matrix cores take it as it is, which CDNA 2's do not with subnormal f16 (include/matrix_cores.h); f32 on those of CDNA.
/// A product of two 16-bit elements is exact in f32, so that each has the roundings of a sum in f32 and no others.
#if defined(MATRIX_CORES)
template <class W, class X> constexpr bool SAME_CORES = __is_same(W, X) && sizeof(W) == 2;
#if defined(__gfx90a__)
template <> constexpr bool SAME_CORES<f16, f16> = false;
#endif
#endif

/// The tile that a group is, of one of the two sizes that both tables of tiles have: flat (32 tasks x 128 rows) or large
/// (128 x 128).
template <class W, class X, bool IS_LARGE> struct ExpertsTile {
    template <bool CORES, class = void> struct Choice {
        typedef by_rows::Fma<X, W, IS_LARGE ? multiply_add::LARGE : multiply_add::FLAT> Scheme;
    };
#if defined(MATRIX_CORES)
    template <class Also> struct Choice<true, Also> {
        template <bool SAME, class> struct Multiplied { typedef float type; };
        template <class Used> struct Multiplied<true, Used> { typedef W type; };
        typedef by_rows::OnCores<typename Multiplied<SAME_CORES<W, X>, Also>::type, IS_LARGE ? LARGE : FLAT> Scheme;
    };
    typedef typename Choice<SAME_CORES<W, X> || MatrixCores<float>::PRESENT>::Scheme Scheme;
#else
    typedef typename Choice<false>::Scheme Scheme;
#endif
};

/// The rows of activations of a group's tasks.
template <class X> struct RowsOfTasks {
    typedef X Element;
    typedef uint64_t Kept;

    const X *first;
    unsigned count, k;
    const PlannedLine *lines;

    __device__ __forceinline__ uint64_t offset(unsigned line) const {
        return static_cast<uint64_t>(lines[line].input) * k * sizeof(X);
    }
    template <unsigned LINES> static __device__ __forceinline__ bool kept() { return true; }
};

/// A task's row of the result, from a tile's first column on; without columns there is no row. (The result's own address is kept: of
/// one that may be null the compiler forgets that it is global memory.)
template <class X> struct RowOfResult {
    X *result;
    uint64_t at;
    float scale;
    unsigned columns;

    __device__ __forceinline__ explicit operator bool() const { return columns != 0; }

    template <unsigned COUNT> __device__ __forceinline__ void take(unsigned column, const float (&values)[COUNT]) const {
        X *to = result + (at + column);
        X results[COUNT];
#pragma unroll
        for (unsigned i = 0; i < COUNT; ++i) results[i] = static_cast<X>(scale * values[i]);
#if defined(__HIP__)
        // Stores need not be aligned, as the loads.
        if (column + COUNT <= columns) {
            __builtin_memcpy(to, results, sizeof(results));
            return;
        }
#endif
#pragma unroll
        for (unsigned i = 0; i < COUNT; ++i)
            if (column + i < columns) to[i] = results[i];
    }
};

/// Grid x counts tiles of the weights' rows; y and z groups.
template <class W, class X, bool IS_LARGE>
static __device__ __forceinline__ void moe_tile(const W *w, const X *x, X *out, const Tasks &tasks, const ExpertPlan &plan,
                                                unsigned n, unsigned k) {
    typedef typename ExpertsTile<W, X, IS_LARGE>::Scheme Scheme;
    alignas(16) __shared__ typename Scheme::Lds lds;
    __shared__ PlannedLine lines[Scheme::ROWS];
    const unsigned number = blockIdx.z * gridDim.y + blockIdx.y;
    if (number >= plan.most_groups) return;
    const ExpertGroup group = plan.groups[number];
    if (group.count == 0) return;
    if (threadIdx.x < group.count) lines[threadIdx.x] = tasks.planned(plan.order[group.first + threadIdx.x]);
    __syncthreads();
    const unsigned first_row = blockIdx.x * Scheme::COLUMNS, rows = min(Scheme::COLUMNS, n - first_row);
    const by_rows::Adjacent<W> weights = {w + (static_cast<size_t>(group.expert) * n + first_row) * k, rows, k};
    const RowsOfTasks<X> activations = {x, group.count, k, lines};
    typename Scheme::Sums sums = {};
    by_rows::multiply<Scheme>(activations, weights, lds, sums);
    Scheme::write(sums, [&](unsigned row) {
        if (row >= group.count) return RowOfResult<X>{out, 0, 0, 0};
        const PlannedLine line = lines[row];
        return RowOfResult<X>{out, static_cast<uint64_t>(line.output) * n + first_row, line.scale, rows};
    });
}
