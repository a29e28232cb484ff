// Products of two matrices whose lines are rows, contiguous along k, that lie anywhere: one after the other, or as a table
// picks them. The tiles of fma.h and cores.h with another way into LDS, on which elements are widened to what the tile
// multiplies. (Their own, for lines at equal distances of any strides, keeps no address for each line.)
#pragma once

#include "cores.h"
#include "fma.h"

namespace by_rows {

/// 16 bytes of a row as they came: words, since halves of a register would be taken apart as soon as they arrive.
typedef multiply_add::Run<unsigned> Words;

/// A tile by multiply-adds of A's rows and B's, and how they come into it.
template <class A, class B, multiply_add::TileName NAME> struct Fma {
    static constexpr unsigned STEPS = multiply_add::DEPTH<A, B>;
    typedef multiply_add::Tile<float, STEPS, NAME> Lds;
    static constexpr unsigned ROWS = Lds::ROWS, COLUMNS = Lds::COLUMNS;
    typedef float Sums[Lds::HIGH][Lds::WIDE];

    /// The line of 16 bytes, counted line by line, that a thread fetches with its neighbours.
    static __device__ __forceinline__ unsigned line(unsigned number) { return number; }

    template <unsigned LINES, class T>
    static __device__ __forceinline__ void put(float *lds, unsigned line, unsigned step, const Words &words) {
        const auto run = __builtin_bit_cast(multiply_add::Run<T>, words);
        float *to = lds + multiply_add::place<LINES>(step, line);
#pragma unroll
        for (unsigned e = 0; e < run.SIZE; ++e) to[multiply_add::place<LINES>(e, 0)] = static_cast<float>(run.element[e]);
    }
    template <unsigned LINES, class T>
    static __device__ __forceinline__ void put_one(float *lds, unsigned line, unsigned step, T value) {
        lds[multiply_add::place<LINES>(step, line)] = static_cast<float>(value);
    }

    /// Calls `begin(row)` for each row in which this thread has results: what takes them, by `take(column, values)`, or what
    /// is false.
    template <class Begin> static __device__ __forceinline__ void write(const Sums &sums, Begin begin) {
        constexpr unsigned SIDE = multiply_add::SIDE;
#pragma unroll
        for (unsigned y = 0; y < Lds::HIGH; ++y) {
            const auto to = begin(Lds::row(y));
            if (!to) continue;
#pragma unroll
            for (unsigned x = 0; x < Lds::WIDE; x += SIDE) {
                float values[SIDE];
#pragma unroll
                for (unsigned i = 0; i < SIDE; ++i) values[i] = sums[y][x + i];
                to.take(Lds::column(x), values);
            }
        }
    }
};

#if defined(MATRIX_CORES)

/// A tile on the matrix cores for T, to which both operands are widened.
template <class T, TileName NAME> struct OnCores {
    typedef CoresTile<T, NAME> Lds;
    typedef typename Lds::Cores Cores;
    static constexpr unsigned STEPS = Lds::STEPS, ROWS = Lds::ROWS, COLUMNS = Lds::COLUMNS;
    typedef typename Cores::Sums Sums[Lds::HIGH][Lds::WIDE];

    /// Lines side by side that write to all banks, as Piece of cores.h has them.
    static __device__ __forceinline__ unsigned line(unsigned number) {
        return number / 8 * 8 + number % 2 * 4 + number % 8 / 2;
    }

    template <unsigned LINES, class From>
    static __device__ __forceinline__ void put(char *lds, unsigned line, unsigned step, const Words &words) {
        char *to = lds + line_at(line) + step * sizeof(T);
        if constexpr (__is_same(From, T)) {
            write_words<4>(to, words.element);
        } else {
            const auto run = __builtin_bit_cast(multiply_add::Run<From>, words);
            unsigned wide[run.SIZE * sizeof(T) / 4];
#pragma unroll
            for (unsigned e = 0; e < run.SIZE; ++e)
                wide[e] = __builtin_bit_cast(unsigned, static_cast<T>(run.element[e]));
#pragma unroll
            for (unsigned e = 0; e < run.SIZE; e += 4) write_words<4>(to + e * sizeof(T), wide + e);
        }
    }
    template <unsigned LINES, class From>
    static __device__ __forceinline__ void put_one(char *lds, unsigned line, unsigned step, From value) {
        reinterpret_cast<T *>(lds + line_at(line))[step] = static_cast<T>(value);
    }

    template <class Begin> static __device__ __forceinline__ void write(const Sums &sums, Begin begin) {
        const unsigned lane = Lds::lane(), line = Cores::line(lane);
#pragma unroll
        for (unsigned y = 0; y < Lds::HIGH; ++y) {
            const unsigned first = Lds::wave_row() + y * Cores::SIZE;
            if constexpr (Lds::TURNED) {
                const auto to = begin(first + line);
                if (!to) continue;
#pragma unroll
                for (unsigned x = 0; x < Lds::WIDE; ++x) {
                    float values[Cores::RESULTS];
#pragma unroll
                    for (unsigned r = 0; r < Cores::RESULTS; ++r) values[r] = sums[y][x][r];
                    to.take(Lds::wave_column() + x * Cores::SIZE + Cores::row(lane, 0), values);
                }
            } else {
#pragma unroll
                for (unsigned r = 0; r < Cores::RESULTS; ++r) {
                    const auto to = begin(first + Cores::row(lane, r));
                    if (!to) continue;
#pragma unroll
                    for (unsigned x = 0; x < Lds::WIDE; ++x) {
                        const float value[1] = {sums[y][x][r]};
                        to.take(Lds::wave_column() + x * Cores::SIZE + line, value);
                    }
                }
            }
        }
    }
};

#endif

/// Rows one after the other.
template <class T> struct Adjacent {
    typedef T Element;
    /// What a thread keeps of where a row begins, in bytes.
    typedef unsigned Kept;

    const T *first;
    unsigned count, k;

    __device__ __forceinline__ uint64_t offset(unsigned line) const { return static_cast<uint64_t>(line) * k * sizeof(T); }
    template <unsigned LINES> __device__ __forceinline__ bool kept() const { return k < 0xffffffffu / (LINES * sizeof(T)); }
};

/// A piece of `LINES` rows, all those of a tile of `Scheme`, on its way to LDS. `Rows` is Adjacent, or another of its form.
template <class Scheme, unsigned LINES, class Rows> struct Piece {
    typedef typename Rows::Element T;
    static constexpr unsigned STEPS = Scheme::STEPS, SIZE = 16 / sizeof(T), RUNS = LINES * STEPS / SIZE;
    static constexpr unsigned EACH = (RUNS + THREADS - 1) / THREADS;
    static_assert(RUNS % THREADS == 0 || RUNS < THREADS, "threads have as many runs each, or one or none");

    const T *first;
    typename Rows::Kept from[EACH];
    Words runs[EACH];

    static __device__ __forceinline__ unsigned number(unsigned i) {
        const unsigned number = i * THREADS + threadIdx.x;
        return RUNS < THREADS ? min(number, RUNS - 1) : number;
    }
    static __device__ __forceinline__ unsigned line(unsigned i) { return Scheme::line(number(i) / (STEPS / SIZE)); }
    static __device__ __forceinline__ unsigned step(unsigned i) { return number(i) % (STEPS / SIZE) * SIZE; }

    /// Rows beyond the last repeat it; their results are not stored.
    __device__ __forceinline__ explicit Piece(const Rows &rows) : first(rows.first) {
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) {
            const uint64_t offset = rows.offset(min(line(i), rows.count - 1)) + step(i) * sizeof(T);
            from[i] = static_cast<typename Rows::Kept>(offset);
        }
    }

    /// Whether 16 bytes of every row can be read at a time.
    static __device__ __forceinline__ bool wide(const Rows &rows) {
        const uint64_t bytes = reinterpret_cast<uintptr_t>(rows.first) | rows.k * sizeof(T);
        return bytes % multiply_add::READ_ALIGNED == 0 && rows.template kept<LINES>();
    }

    /// Starts to read STEPS steps from `at` on.
    __device__ __forceinline__ void fetch(unsigned at) {
        const char *base = reinterpret_cast<const char *>(first + at);
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) runs[i] = multiply_add::read<unsigned>(base + from[i]);
    }

    /// Writes what was read.
    template <class S> __device__ __forceinline__ void store(S *lds) const {
        if (RUNS < THREADS && threadIdx.x >= RUNS) return;
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) Scheme::template put<LINES, T>(lds, line(i), step(i), runs[i]);
    }

    /// Copies the steps from `at` on, element by element, and zeroes beyond k.
    template <class S> static __device__ __forceinline__ void copy(const Rows &rows, unsigned at, S *lds) {
        const unsigned depth = rows.k - at;
#pragma unroll 1
        for (unsigned i = threadIdx.x; i < LINES * STEPS; i += THREADS) {
            const unsigned line = i / STEPS, own = i % STEPS;
            const char *row = reinterpret_cast<const char *>(rows.first) + rows.offset(min(line, rows.count - 1));
            const T found = reinterpret_cast<const T *>(row)[at + min(own, depth - 1)];
            Scheme::template put_one<LINES>(lds, line, own, own < depth ? found : T(0.0f));
        }
    }
};

/// sums += A's rows times B's. `lds` is free, and is left in use.
template <class Scheme, class A, class B>
static __device__ __forceinline__ void multiply(const A &a, const B &b, typename Scheme::Lds &lds, typename Scheme::Sums &sums) {
    typedef Piece<Scheme, Scheme::ROWS, A> APiece;
    typedef Piece<Scheme, Scheme::COLUMNS, B> BPiece;
    constexpr unsigned STEPS = Scheme::STEPS;
    unsigned step = 0;
    if (a.k >= STEPS && APiece::wide(a) && BPiece::wide(b)) {
        const unsigned end = a.k / STEPS * STEPS;
        APiece a_piece(a);
        BPiece b_piece(b);
        a_piece.fetch(0);
        b_piece.fetch(0);
        while (step < end) {
            __syncthreads();
            a_piece.store(lds.a);
            b_piece.store(lds.b);
            __syncthreads();
            step += STEPS;
            // The last piece is read twice: a branch here would cost more.
            const unsigned next = min(step, end - STEPS);
            a_piece.fetch(next);
            b_piece.fetch(next);
#if defined(__HIP__)
            // Or the compiler moves the loads behind the products, to spare registers.
            __builtin_amdgcn_sched_barrier(0);
#endif
            lds.multiply(sums);
        }
    }
    for (; step < a.k; step += STEPS) {
        __syncthreads();
        APiece::copy(a, step, lds.a);
        BPiece::copy(b, step, lds.b);
        __syncthreads();
        lds.multiply(sums);
    }
}

}  // namespace by_rows
