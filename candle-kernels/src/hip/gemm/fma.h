// Matrix products by fused multiply-adds, for types without matrix cores and for operands of two types: tiles through LDS,
// the next piece of both operands on its way in registers while the present one is multiplied. Elements are widened on their
// way into LDS. Operands are read as gemm/cores.h reads them: 16 bytes along k, 16 bytes along lines, or one by one.
#pragma once

#include "args.h"

namespace multiply_add {

/// A row of fma_tiles.h.
struct Shape {
    unsigned rows, columns, row_threads, cost;
};
#define tile(...) {__VA_ARGS__}
#define tiles(...) {__VA_ARGS__}
constexpr Shape TILES[] =
#include "fma_tiles.h"
    ;
#undef tiles
#undef tile
enum TileName { FLAT, SMALL, MIDDLE, LARGE };

/// Steps along k that lie in LDS at a time: 64 bytes of the narrower operand's lines.
template <class A, class B> constexpr unsigned DEPTH = 64 / (sizeof(A) < sizeof(B) ? sizeof(A) : sizeof(B));
/// A thread's results are squares of so many rows and columns.
constexpr unsigned SIDE = 4;

/// Where a step of a line lies in LDS. Lines stand side by side, for the lanes that multiply; the gap after every fourth step
/// has lanes that write four steps each of eight lines find all 32 banks.
template <unsigned LINES> constexpr __device__ unsigned place(unsigned step, unsigned line) {
    return step * LINES + step / 4 * 8 + line;
}

/// 16 bytes of elements.
template <class T> struct alignas(16) Run {
    static constexpr unsigned SIZE = 16 / sizeof(T);
    T element[SIZE];
};

/// AMD's cards take vector loads that are not aligned (LLVM's unaligned-access-mode, which HSA sets).
#if defined(__HIP__)
constexpr unsigned READ_ALIGNED = 1;
template <class T> static __device__ __forceinline__ Run<T> read(const char *from) {
    typedef unsigned Loose __attribute__((ext_vector_type(4), aligned(2)));
    return __builtin_bit_cast(Run<T>, *reinterpret_cast<const Loose *>(from));
}
#else
constexpr unsigned READ_ALIGNED = 16;
template <class T> static __device__ __forceinline__ Run<T> read(const char *from) {
    return *reinterpret_cast<const Run<T> *>(from);
}
#endif

/// A tile's lines of A (rows) or of B (columns).
template <class T> struct Lines {
    const T *first;
    int64_t line_stride, k_stride;
    unsigned count;
};

enum Way { ALONG_K, ALONG_LINES, ANY };

/// `DEPTH` steps of `LINES` lines on their way to LDS, where they are S.
template <class T, class S, unsigned LINES, unsigned DEPTH> struct Piece {
    static constexpr unsigned SIZE = Run<T>::SIZE, RUNS = LINES * DEPTH / SIZE;
    static constexpr unsigned EACH = (RUNS + THREADS - 1) / THREADS;
    static_assert(RUNS % THREADS == 0 || RUNS < THREADS, "threads have as many runs each, or one or none");

    Run<T> runs[EACH];

    static __device__ __forceinline__ Way way_of(const Lines<T> &lines) {
        // Offsets within the tile, in bytes, have to fit into 32 bits.
        constexpr int64_t FAR = (uint64_t(1) << 31) / (LINES > DEPTH ? LINES : DEPTH) / sizeof(T);
        const int64_t apart = lines.k_stride == 1 ? lines.line_stride : lines.k_stride;
        const uint64_t bytes = reinterpret_cast<uintptr_t>(lines.first) | apart * sizeof(T);
        if (bytes % READ_ALIGNED != 0 || apart >= FAR) return ANY;
        if (lines.k_stride == 1) return ALONG_K;
        return lines.line_stride == 1 && lines.count % SIZE == 0 ? ALONG_LINES : ANY;
    }

    static __device__ __forceinline__ unsigned number(unsigned i) {
        const unsigned number = i * THREADS + threadIdx.x;
        return RUNS < THREADS ? min(number, RUNS - 1) : number;
    }
    /// The first line and step of a thread's run number i. Lanes side by side read bytes that are.
    template <Way WAY> static __device__ __forceinline__ unsigned line(unsigned i) {
        return WAY == ALONG_K ? number(i) / (DEPTH / SIZE) : number(i) % (LINES / SIZE) * SIZE;
    }
    template <Way WAY> static __device__ __forceinline__ unsigned step(unsigned i) {
        return WAY == ALONG_K ? number(i) % (DEPTH / SIZE) * SIZE : number(i) / (LINES / SIZE);
    }

    /// Starts to read DEPTH steps from `first` on. Lines beyond the last repeat it; their results are not stored.
    template <Way WAY> __device__ __forceinline__ void fetch(const Lines<T> &from, unsigned first) {
        const char *base = reinterpret_cast<const char *>(from.first + first * from.k_stride);
        const unsigned apart = static_cast<unsigned>(WAY == ALONG_K ? from.line_stride : from.k_stride);
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) {
            // Along lines their count is a multiple of SIZE: a run lies within it or outside of it.
            const unsigned own = min(line<WAY>(i), from.count - (WAY == ALONG_K ? 1 : SIZE));
            const unsigned offset = WAY == ALONG_K ? own * apart + step<WAY>(i) : own + step<WAY>(i) * apart;
            runs[i] = read<T>(base + offset * static_cast<unsigned>(sizeof(T)));
        }
    }

    /// Writes what was read.
    template <Way WAY> __device__ __forceinline__ void store(S *lds) const {
        if (RUNS < THREADS && threadIdx.x >= RUNS) return;
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) {
            const T(&from)[SIZE] = runs[i].element;
            S *to = lds + place<LINES>(step<WAY>(i), line<WAY>(i));
            if constexpr (WAY == ALONG_K) {
#pragma unroll
                for (unsigned e = 0; e < SIZE; ++e) to[place<LINES>(e, 0)] = static_cast<S>(from[e]);
            } else {
#pragma unroll
                for (unsigned e = 0; e < SIZE; e += Run<S>::SIZE) {
                    Run<S> wide;
#pragma unroll
                    for (unsigned j = 0; j < Run<S>::SIZE; ++j) wide.element[j] = static_cast<S>(from[e + j]);
                    *reinterpret_cast<Run<S> *>(to + e) = wide;
                }
            }
        }
    }

    /// Copies `depth` steps (at least 1) from `first` on, of any layout, and zeroes beyond.
    static __device__ __forceinline__ void copy(const Lines<T> &from, unsigned first, unsigned depth, S *lds) {
        const T *base = from.first + first * from.k_stride;
        const bool along_k = from.k_stride == 1;
#pragma unroll 1
        for (unsigned i = threadIdx.x; i < LINES * DEPTH; i += THREADS) {
            const unsigned line = along_k ? i / DEPTH : i % LINES, own = along_k ? i % DEPTH : i / LINES;
            const T found = base[min(line, from.count - 1) * from.line_stride + min(own, depth - 1) * from.k_stride];
            lds[place<LINES>(own, line)] = own < depth ? static_cast<S>(found) : S(0);
        }
    }
};

/// What lies in LDS, of products summed in S.
template <class S, unsigned DEPTH, TileName NAME> struct Tile {
    static constexpr unsigned ROWS = TILES[NAME].rows, COLUMNS = TILES[NAME].columns;
    static constexpr unsigned ROW_THREADS = TILES[NAME].row_threads, COLUMN_THREADS = THREADS / ROW_THREADS;
    /// Rows and columns of a thread's results.
    static constexpr unsigned HIGH = ROWS / ROW_THREADS, WIDE = COLUMNS / COLUMN_THREADS;
    static_assert(HIGH % SIDE == 0 && WIDE % SIDE == 0, "whole squares");

    alignas(16) S a[place<ROWS>(DEPTH, 0)];
    alignas(16) S b[place<COLUMNS>(DEPTH, 0)];

    /// Squares of a thread lie as far apart as all threads' squares are wide: lanes side by side read bytes that are.
    static __device__ __forceinline__ unsigned row(unsigned y) {
        return (y / SIDE * ROW_THREADS + threadIdx.x / COLUMN_THREADS) * SIDE + y % SIDE;
    }
    static __device__ __forceinline__ unsigned column(unsigned x) {
        return (x / SIDE * COLUMN_THREADS + threadIdx.x % COLUMN_THREADS) * SIDE + x % SIDE;
    }

    template <unsigned COUNT> static __device__ __forceinline__ void load(S (&to)[COUNT], const S *from, unsigned apart) {
        constexpr unsigned SIZE = Run<S>::SIZE;
#pragma unroll
        for (unsigned i = 0; i < COUNT; i += SIZE) {
            const Run<S> run = *reinterpret_cast<const Run<S> *>(from + i / SIDE * apart + i % SIDE);
#pragma unroll
            for (unsigned j = 0; j < SIZE; ++j) to[i + j] = run.element[j];
        }
    }

    /// sums += what lies in LDS.
    __device__ __forceinline__ void multiply(S (&sums)[HIGH][WIDE]) const {
        const S *a_at = a + row(0), *b_at = b + column(0);
        // Addresses of four steps differ by constants. ptxas reads all four ahead and runs out of registers.
#if defined(__NVCC__)
        constexpr unsigned AT_ONCE = HIGH * WIDE > 32 ? 2 : 4;
#else
        constexpr unsigned AT_ONCE = 4;
#endif
#pragma unroll 1
        for (unsigned four = 0; four < DEPTH; four += 4) {
#pragma unroll AT_ONCE
            for (unsigned step = 0; step < 4; ++step) {
                S left[HIGH], right[WIDE];
                load(left, a_at + step * ROWS, ROW_THREADS * SIDE);
                load(right, b_at + step * COLUMNS, COLUMN_THREADS * SIDE);
#pragma unroll
                for (unsigned y = 0; y < HIGH; ++y)
#pragma unroll
                    for (unsigned x = 0; x < WIDE; ++x) sums[y][x] += left[y] * right[x];
            }
            a_at += place<ROWS>(4, 0);
            b_at += place<COLUMNS>(4, 0);
        }
    }

    /// Writes the part of the tile that belongs to C.
    template <class Out>
    static __device__ __forceinline__ void write(const S (&sums)[HIGH][WIDE], Out *c, const GemmArgs &args, const Part &part) {
#pragma unroll
        for (unsigned y = 0; y < HIGH; ++y) {
            if (row(y) >= part.rows) continue;
            Out *to = c + row(y) * args.c_row;
#pragma unroll
            for (unsigned x = 0; x < WIDE; ++x)
                if (column(x) < part.columns) to[column(x) * args.c_col] = static_cast<Out>(sums[y][x]);
        }
    }
};

/// sums += the product over steps `begin` to `end - 1`, whole pieces.
template <Way A_WAY, Way B_WAY, class A, class B, class S, unsigned STEPS, TileName NAME>
static __device__ __forceinline__ void whole_pieces(const Lines<A> &a, const Lines<B> &b, unsigned begin, unsigned end,
                                                    Tile<S, STEPS, NAME> &lds,
                                                    S (&sums)[Tile<S, STEPS, NAME>::HIGH][Tile<S, STEPS, NAME>::WIDE]) {
    Piece<A, S, Tile<S, STEPS, NAME>::ROWS, STEPS> a_piece;
    Piece<B, S, Tile<S, STEPS, NAME>::COLUMNS, STEPS> b_piece;
    a_piece.template fetch<A_WAY>(a, begin);
    b_piece.template fetch<B_WAY>(b, begin);
    for (unsigned step = begin; step < end;) {
        __syncthreads();
        a_piece.template store<A_WAY>(lds.a);
        b_piece.template store<B_WAY>(lds.b);
        __syncthreads();
        step += STEPS;
        // The last piece is read twice: a branch here would cost more.
        const unsigned next = min(step, end - STEPS);
        a_piece.template fetch<A_WAY>(a, next);
        b_piece.template fetch<B_WAY>(b, next);
#if defined(__HIP__)
        // Or the compiler moves the loads behind the products, to spare registers.
        __builtin_amdgcn_sched_barrier(0);
#endif
        lds.multiply(sums);
    }
}

/// C = A * B, or a part of it, C in the type of A. With `LINEAR` rows of A and columns of B are only expected to be contiguous;
/// others are right, too, and slow.
template <class A, class B, TileName NAME, bool LINEAR>
static __device__ __forceinline__ void gemm(const A *a, const B *b, void *c, const GemmArgs &args) {
    typedef Sum<A> S;
    constexpr unsigned STEPS = DEPTH<A, B>;
    typedef Tile<S, STEPS, NAME> Tile;
    __shared__ Tile lds;
    constexpr unsigned ROWS = Tile::ROWS, COLUMNS = Tile::COLUMNS;
    const Part part = Part::of<ROWS, COLUMNS>(args);
    if (part.batch >= args.batches) return;
    const Lines<A> a_lines = {a + part.batch * args.a_batch + part.row * args.a_row, args.a_row, args.a_col, part.rows};
    const Lines<B> b_lines = {b + part.batch * args.b_batch + part.column * args.b_col, args.b_col, args.b_row,
                              part.columns};
    S sums[Tile::HIGH][Tile::WIDE] = {};

    unsigned step = part.begin;
    const Way a_way = Piece<A, S, ROWS, STEPS>::way_of(a_lines), b_way = Piece<B, S, COLUMNS, STEPS>::way_of(b_lines);
    const unsigned whole = (part.end - step) / STEPS * STEPS;
    const bool wide = LINEAR ? a_way == ALONG_K && b_way == ALONG_K : a_way != ANY && b_way != ANY;
    if (whole != 0 && wide) {
        const unsigned end = step + whole;
        if (LINEAR || (a_way == ALONG_K && b_way == ALONG_K)) {
            whole_pieces<ALONG_K, ALONG_K>(a_lines, b_lines, step, end, lds, sums);
        } else if constexpr (!LINEAR) {
            if (a_way == ALONG_K) whole_pieces<ALONG_K, ALONG_LINES>(a_lines, b_lines, step, end, lds, sums);
            else if (b_way == ALONG_K) whole_pieces<ALONG_LINES, ALONG_K>(a_lines, b_lines, step, end, lds, sums);
            else whole_pieces<ALONG_LINES, ALONG_LINES>(a_lines, b_lines, step, end, lds, sums);
        }
        step = end;
    }
    for (; step < part.end; step += STEPS) {
        __syncthreads();
        Piece<A, S, ROWS, STEPS>::copy(a_lines, step, part.end - step, lds.a);
        Piece<B, S, COLUMNS, STEPS>::copy(b_lines, step, part.end - step, lds.b);
        __syncthreads();
        lds.multiply(sums);
    }

    if (args.splits > 1) Tile::write(sums, part.of_c(static_cast<S *>(c), args), args, part);
    else Tile::write(sums, part.of_c(static_cast<A *>(c), args), args, part);
}

}  // namespace multiply_add

// Room for two workgroups a multiprocessor.
#if defined(__NVCC__)
#define FMA_BOUNDS __launch_bounds__(THREADS, 2)
#else
#define FMA_BOUNDS __launch_bounds__(THREADS)
#endif
