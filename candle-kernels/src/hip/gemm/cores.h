// Matrix products on matrix cores: tiles through LDS, the next piece of both operands on its way in registers while the
// present one is multiplied.
//
// LDS holds LINE_BYTES along k of each line (a line is a row of A or a column of B), so that a lane reads its share of a
// product in 16 bytes. Operands come in whichever way memory offers:
//
//   along k      neighbouring steps lie together: 16 bytes of a line at a time
//   along lines  neighbouring lines lie together: as many lines as a wide load brings, turned in registers
//   any          element by element
//
// 16 bytes are read from any address: AMD's cards take vector loads that are not aligned (LLVM's unaligned-access-mode,
// which HSA sets), and a load within a matrix stays within it. What lies beyond the last line repeats that line, and its
// results are not stored; what lies beyond the last step is zero in both operands.
#pragma once

#include "args.h"
#include "matrix_cores.h"

#if defined(MATRIX_CORES)

/// A row of tiles.h.
struct Tile {
    unsigned rows, columns, wave_rows, cost;
};
#define tile(...) {__VA_ARGS__}
#define tiles(...) {__VA_ARGS__}
constexpr Tile TILES[] =
#include "tiles.h"
    ;
#undef tiles
#undef tile
enum TileName { FLAT, SMALL, LARGE };

/// Bytes along k that lie in LDS at a time.
constexpr unsigned LINE_BYTES = 64;
/// A line's distance from the next, and eight lines' distance from the next eight beyond that. Eight lanes that read
/// 16 bytes each of eight lines find all 32 banks; so do eight lanes that write every fourth line.
constexpr unsigned LINE_APART = LINE_BYTES + 16, EIGHT_APART = 16;

constexpr unsigned line_at(unsigned line) { return line * LINE_APART + line / 8 * EIGHT_APART; }

enum Way { ALONG_K, ALONG_LINES, ANY };

/// A tile's lines of A or of B.
template <class T> struct Lines {
    const T *first;
    int64_t line_stride, k_stride;
    unsigned count;
};

/// The same number, not known to be: what is computed from it is not kept in registers across the loops around.
static __device__ __forceinline__ unsigned forgotten(unsigned value) {
    asm volatile("" : "+v"(value));
    return value;
}

/// Reads words from anywhere.
template <unsigned COUNT> static __device__ __forceinline__ void read_words(unsigned *to, const char *from) {
    typedef unsigned Loose __attribute__((ext_vector_type(COUNT), aligned(2)));
    const Loose words = *reinterpret_cast<const Loose *>(from);
#pragma unroll
    for (unsigned i = 0; i < COUNT; ++i) to[i] = words[i];
}

/// Writes words into LDS, where they are aligned.
template <unsigned COUNT> static __device__ __forceinline__ void write_words(char *to, const unsigned *from) {
    typedef unsigned Words __attribute__((ext_vector_type(COUNT)));
    Words words;
#pragma unroll
    for (unsigned i = 0; i < COUNT; ++i) words[i] = from[i];
    *reinterpret_cast<Words *>(to) = words;
}

/// LINE_BYTES of `LINES` lines on their way to LDS.
template <class T, unsigned LINES> struct Piece {
    static constexpr unsigned STEPS = LINE_BYTES / sizeof(T);
    // Along k a thread has chunks of 16 bytes of a line.
    static constexpr unsigned CHUNK = 16 / sizeof(T);
    static constexpr unsigned CHUNKS_PER_LINE = STEPS / CHUNK;
    static constexpr unsigned CHUNKS = LINES * CHUNKS_PER_LINE;
    static constexpr unsigned CHUNKS_PER_THREAD = (CHUNKS + THREADS - 1) / THREADS;
    // Along lines it has a block of neighbouring lines and steps.
    static constexpr unsigned BLOCK_LINES = sizeof(T) == 8 ? 2 : 4;
    static constexpr unsigned BLOCK_STEPS = sizeof(T) == 2 ? 4 : 2;
    static constexpr unsigned BLOCKS_PER_LINE = STEPS / BLOCK_STEPS;
    static constexpr unsigned BLOCKS = LINES / BLOCK_LINES * BLOCKS_PER_LINE;
    /// Words of a step of a block.
    static constexpr unsigned STEP_WORDS = BLOCK_LINES * sizeof(T) / 4;
    static constexpr unsigned WORDS = BLOCK_STEPS * STEP_WORDS;
    static_assert(BLOCKS <= THREADS && CHUNKS_PER_THREAD * 4 <= WORDS, "a thread has one block");

    /// Words, not elements: halves of a register would be taken apart as soon as they arrive.
    unsigned word[WORDS];

    static __device__ __forceinline__ Way way_of(const Lines<T> &lines) {
        // Offsets within the tile, in bytes, have to fit into 32 bits.
        constexpr int64_t FAR = (uint64_t(1) << 31) / (LINES > STEPS ? LINES : STEPS) / sizeof(T);
        if (lines.k_stride == 1 && lines.line_stride < FAR) return ALONG_K;
        return lines.line_stride == 1 && lines.k_stride < FAR && lines.count % BLOCK_LINES == 0 ? ALONG_LINES : ANY;
    }

    /// The line of a chunk. Threads that take a line and the fourth one after it side by side write to all banks.
    static __device__ __forceinline__ unsigned chunk_line(unsigned chunk) {
        const unsigned i = chunk / CHUNKS_PER_LINE;
        return i / 8 * 8 + i % 2 * 4 + i % 8 / 2;
    }

    /// This thread's block. Eight threads side by side take neighbouring lines, the next eight the next steps.
    static __device__ __forceinline__ unsigned block_line() {
        return (threadIdx.x % 8 + threadIdx.x / (8 * BLOCKS_PER_LINE) * 8) * BLOCK_LINES;
    }
    static __device__ __forceinline__ unsigned block_step() { return threadIdx.x / 8 % BLOCKS_PER_LINE * BLOCK_STEPS; }

    /// Starts to read STEPS steps from `step` on. A thread with nothing to do reads the last line again: in a branch, what is
    /// read would be moved as soon as it arrives, which waits for it.
    template <Way WAY> __device__ __forceinline__ void fetch(const Lines<T> &from, unsigned step) {
        // A scalar base with a 32-bit offset for each lane takes half the registers of an address for each lane.
        const char *base = reinterpret_cast<const char *>(from.first + step * from.k_stride);
        if constexpr (WAY == ALONG_K) {
#pragma unroll
            for (unsigned c = 0; c < CHUNKS_PER_THREAD; ++c) {
                const unsigned chunk = c * THREADS + threadIdx.x;
                const unsigned line = min(chunk_line(chunk), from.count - 1);
                const unsigned offset = line * static_cast<unsigned>(from.line_stride) * sizeof(T);
                read_words<4>(word + c * 4, base + (offset + chunk % CHUNKS_PER_LINE * 16));
            }
        } else {
            // The count is a multiple of BLOCK_LINES: a block lies within it or outside of it.
            const unsigned line = min(block_line(), from.count - BLOCK_LINES);
#pragma unroll
            for (unsigned s = 0; s < BLOCK_STEPS; ++s) {
                const unsigned offset = (line + (block_step() + s) * static_cast<unsigned>(from.k_stride)) * sizeof(T);
                read_words<STEP_WORDS>(word + s * STEP_WORDS, base + offset);
            }
        }
    }

    /// Writes what was read.
    template <Way WAY> __device__ __forceinline__ void store(char *lds) const {
        if constexpr (WAY == ALONG_K) {
#pragma unroll
            for (unsigned c = 0; c < CHUNKS_PER_THREAD; ++c) {
                const unsigned chunk = c * THREADS + threadIdx.x;
                if (CHUNKS % THREADS != 0 && chunk >= CHUNKS) break;
                char *to = lds + line_at(chunk_line(chunk)) + chunk % CHUNKS_PER_LINE * 16;
                write_words<4>(to, word + c * 4);
            }
        } else if (BLOCKS % THREADS == 0 || threadIdx.x < BLOCKS) {
#pragma unroll
            for (unsigned i = 0; i < BLOCK_LINES; ++i) {
                constexpr unsigned LINE_WORDS = BLOCK_STEPS * sizeof(T) / 4;
                unsigned line[LINE_WORDS];
#pragma unroll
                for (unsigned w = 0; w < LINE_WORDS; ++w) {
                    if constexpr (sizeof(T) == 2) {
                        // Halves of two steps side by side: v_perm_b32 picks bytes, 0 to 3 of its second operand.
                        const unsigned *from = word + 2 * w * STEP_WORDS + i / 2;
                        line[w] = __builtin_amdgcn_perm(from[STEP_WORDS], from[0], i % 2 ? 0x07060302u : 0x05040100u);
                    } else {
                        constexpr unsigned EACH = sizeof(T) / 4;
                        line[w] = word[w / EACH * STEP_WORDS + i * EACH + w % EACH];
                    }
                }
                char *to = lds + line_at(block_line() + i) + block_step() * sizeof(T);
                write_words<LINE_WORDS>(to, line);
            }
        }
    }

    /// Copies `depth` steps (at least 1) from `step` on, of any layout, and zeroes beyond. Slower: element by element, and
    /// the products wait for it.
    static __device__ __forceinline__ void copy(const Lines<T> &from, unsigned step, unsigned depth, char *lds) {
        const T *first = from.first + step * from.k_stride;
        const bool along_k = from.k_stride == 1;
#pragma unroll 2
        for (unsigned i = forgotten(threadIdx.x); i < LINES * STEPS; i += THREADS) {
            const unsigned line = along_k ? i / STEPS : i % LINES, own = along_k ? i % STEPS : i / LINES;
            const T found = first[min(line, from.count - 1) * from.line_stride + min(own, depth - 1) * from.k_stride];
            reinterpret_cast<T *>(lds + line_at(line))[own] = own < depth ? found : T(0.0f);
        }
    }
};

template <class T, TileName NAME> struct CoresTile {
    typedef MatrixCores<T> Cores;
    typedef MatrixChunk<T> Chunk;
    typedef typename Cores::Sums Sums;
    static constexpr unsigned ROWS = TILES[NAME].rows, COLUMNS = TILES[NAME].columns;
    static constexpr unsigned WAVE_ROWS = TILES[NAME].wave_rows;
    static constexpr unsigned WAVE_COLUMNS = THREADS / Cores::LANES / WAVE_ROWS;
    /// Squares of 16 x 16 of a wave.
    static constexpr unsigned HIGH = ROWS / WAVE_ROWS / Cores::SIZE, WIDE = COLUMNS / WAVE_COLUMNS / Cores::SIZE;
    static constexpr unsigned STEPS = LINE_BYTES / sizeof(T);
    /// A lane that has neighbouring results had better have them in a row of C: the transposed product.
    static constexpr bool TURNED = Cores::RESULTS_ADJOIN;
    static_assert(HIGH * WAVE_ROWS * Cores::SIZE == ROWS && WIDE * WAVE_COLUMNS * Cores::SIZE == COLUMNS, "whole squares");

    char a[line_at(ROWS)];
    char b[line_at(COLUMNS)];

    static __device__ __forceinline__ unsigned lane() { return threadIdx.x % Cores::LANES; }
    static __device__ __forceinline__ unsigned wave() { return threadIdx.x / Cores::LANES; }
    static __device__ __forceinline__ unsigned wave_row() { return wave() / WAVE_COLUMNS * HIGH * Cores::SIZE; }
    static __device__ __forceinline__ unsigned wave_column() { return wave() % WAVE_COLUMNS * WIDE * Cores::SIZE; }

    /// sums += what lies in LDS.
    __device__ __forceinline__ void multiply(Sums (&sums)[HIGH][WIDE]) const {
        const T *a_line = reinterpret_cast<const T *>(a + line_at(wave_row() + Cores::line(lane())));
        const T *b_line = reinterpret_cast<const T *>(b + line_at(wave_column() + Cores::line(lane())));
        constexpr unsigned SQUARES_APART = line_at(Cores::SIZE) / sizeof(T);
#pragma unroll
        for (unsigned step = 0; step < STEPS; step += Chunk::DEPTH) {
            Chunk left[HIGH], right[WIDE];
#pragma unroll
            for (unsigned y = 0; y < HIGH; ++y) left[y] = Chunk::load(lane(), a_line + y * SQUARES_APART + step);
#pragma unroll
            for (unsigned x = 0; x < WIDE; ++x) right[x] = Chunk::load(lane(), b_line + x * SQUARES_APART + step);
#pragma unroll
            for (unsigned y = 0; y < HIGH; ++y)
#pragma unroll
                for (unsigned x = 0; x < WIDE; ++x)
                    sums[y][x] = TURNED ? Chunk::multiply(right[x], left[y], sums[y][x])
                                        : Chunk::multiply(left[y], right[x], sums[y][x]);
        }
    }

    /// Writes the tile, all of which belongs to C, whose rows are contiguous.
    template <class Out>
    static __device__ __forceinline__ void write_whole(const Sums (&sums)[HIGH][WIDE], Out *c, int64_t c_row) {
        const unsigned line = Cores::line(lane()), across = Cores::row(lane(), 0);
        Out *first = c + (wave_row() + (TURNED ? line : across)) * c_row + (wave_column() + (TURNED ? across : line));
#pragma unroll
        for (unsigned y = 0; y < HIGH; ++y, first += Cores::SIZE * c_row) {
#pragma unroll
            for (unsigned x = 0; x < WIDE; ++x) {
                Out *to = first + x * Cores::SIZE;
                if constexpr (TURNED) {
                    Out out[Cores::RESULTS];
#pragma unroll
                    for (unsigned r = 0; r < Cores::RESULTS; ++r) out[r] = static_cast<Out>(sums[y][x][r]);
                    __builtin_memcpy(to, out, sizeof(out));
                } else {
#pragma unroll
                    for (unsigned r = 0; r < Cores::RESULTS; ++r)
                        to[(Cores::row(0, r) - Cores::row(0, 0)) * c_row] = static_cast<Out>(sums[y][x][r]);
                }
            }
        }
    }

    /// Writes the part of the tile that belongs to C, of any strides: by way of LDS, a square at a time, because a loop
    /// over what lies in registers is unrolled to thousands of instructions.
    __device__ __forceinline__ void write_edge(const Sums (&sums)[HIGH][WIDE], void *c, const GemmArgs &args,
                                               const Part &part) {
        typedef typename Cores::Sum Sum;
        constexpr unsigned APART = Cores::SIZE + 4;  // successive rows in other banks
        constexpr unsigned WAVES = THREADS / Cores::LANES;
        static_assert(WAVES * Cores::SIZE * APART * sizeof(Sum) <= sizeof(CoresTile), "a square for each wave");
        Sum *square = reinterpret_cast<Sum *>(a) + wave() * Cores::SIZE * APART;
        const unsigned line = Cores::line(lane());
        __syncthreads();
#pragma unroll
        for (unsigned y = 0; y < HIGH; ++y) {
#pragma unroll
            for (unsigned x = 0; x < WIDE; ++x) {
#pragma unroll
                for (unsigned r = 0; r < Cores::RESULTS; ++r) {
                    const unsigned across = Cores::row(lane(), r);
                    square[TURNED ? line * APART + across : across * APART + line] = sums[y][x][r];
                }
                __syncwarp();
#pragma unroll 1
                for (unsigned i = lane(); i < Cores::SIZE * Cores::SIZE; i += Cores::LANES) {
                    const unsigned row = wave_row() + y * Cores::SIZE + i / Cores::SIZE;
                    const unsigned column = wave_column() + x * Cores::SIZE + i % Cores::SIZE;
                    if (row >= part.rows || column >= part.columns) continue;
                    const Sum sum = square[i / Cores::SIZE * APART + i % Cores::SIZE];
                    const uint64_t at = row * args.c_row + column * args.c_col;
                    if (args.splits > 1) part.of_c(static_cast<Sum *>(c), args)[at] = sum;
                    else part.of_c(static_cast<T *>(c), args)[at] = static_cast<T>(sum);
                }
                __syncwarp();
            }
        }
    }

    __device__ __forceinline__ void write(const Sums (&sums)[HIGH][WIDE], void *c, const GemmArgs &args,
                                          const Part &part) {
        if (part.rows != ROWS || part.columns != COLUMNS || args.c_col != 1) write_edge(sums, c, args, part);
        else if (args.splits > 1) write_whole(sums, part.of_c(static_cast<typename Cores::Sum *>(c), args), args.c_row);
        else write_whole(sums, part.of_c(static_cast<T *>(c), args), args.c_row);
    }
};

/// sums += the product over steps `begin` to `end - 1`, whole pieces. Each way of reading has a loop of its own: with the
/// choice inside, the compiler joins the loads and narrows them.
template <Way A_WAY, Way B_WAY, class T, class Tile>
static __device__ __forceinline__ void whole_pieces(const Lines<T> &a, const Lines<T> &b, unsigned begin, unsigned end,
                                                    Tile &lds, typename Tile::Sums (&sums)[Tile::HIGH][Tile::WIDE]) {
    Piece<T, Tile::ROWS> a_piece;
    Piece<T, Tile::COLUMNS> b_piece;
    a_piece.template fetch<A_WAY>(a, begin);
    b_piece.template fetch<B_WAY>(b, begin);
    for (unsigned step = begin; step < end;) {
        __syncthreads();
        a_piece.template store<A_WAY>(lds.a);
        b_piece.template store<B_WAY>(lds.b);
        __syncthreads();
        step += Tile::STEPS;
        // The last piece is read twice: a branch here would cost more.
        const unsigned next = min(step, end - Tile::STEPS);
        a_piece.template fetch<A_WAY>(a, next);
        b_piece.template fetch<B_WAY>(b, next);
        // Or the compiler moves the loads behind the products, to spare registers.
        __builtin_amdgcn_sched_barrier(0);
        lds.multiply(sums);
    }
}

template <class T, TileName NAME>
static __device__ __forceinline__ void gemm_on_cores(const T *a, const T *b, void *c, const GemmArgs &args) {
    typedef CoresTile<T, NAME> Tile;
    alignas(16) __shared__ Tile lds;
    constexpr unsigned ROWS = Tile::ROWS, COLUMNS = Tile::COLUMNS, STEPS = Tile::STEPS;
    const Part part = Part::of<ROWS, COLUMNS>(args);
    if (part.batch >= args.batches) return;
    const Lines<T> a_lines = {a + part.batch * args.a_batch + part.row * args.a_row, args.a_row, args.a_col, part.rows};
    const Lines<T> b_lines = {b + part.batch * args.b_batch + part.column * args.b_col, args.b_col, args.b_row,
                              part.columns};
    typename Tile::Sums sums[Tile::HIGH][Tile::WIDE] = {};

    unsigned step = part.begin;
    const Way a_way = Piece<T, ROWS>::way_of(a_lines), b_way = Piece<T, COLUMNS>::way_of(b_lines);
    const unsigned whole = (part.end - step) / STEPS * STEPS;
    if (whole != 0 && a_way != ANY && b_way != ANY) {
        const unsigned end = step + whole;
        if (a_way == ALONG_K) {
            if (b_way == ALONG_K) whole_pieces<ALONG_K, ALONG_K>(a_lines, b_lines, step, end, lds, sums);
            else whole_pieces<ALONG_K, ALONG_LINES>(a_lines, b_lines, step, end, lds, sums);
        } else {
            if (b_way == ALONG_K) whole_pieces<ALONG_LINES, ALONG_K>(a_lines, b_lines, step, end, lds, sums);
            else whole_pieces<ALONG_LINES, ALONG_LINES>(a_lines, b_lines, step, end, lds, sums);
        }
        step = end;
    }
    for (; step < part.end; step += STEPS) {
        __syncthreads();
        Piece<T, ROWS>::copy(a_lines, step, part.end - step, lds.a);
        Piece<T, COLUMNS>::copy(b_lines, step, part.end - step, lds.b);
        __syncthreads();
        lds.multiply(sums);
    }

    lds.write(sums, c, args, part);
}

#endif
