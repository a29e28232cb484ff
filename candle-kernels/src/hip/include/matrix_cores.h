// Products of small dense matrices on matrix cores: MFMA of CDNA 2 and 3, WMMA of RDNA 3 and 4.
//
//   MatrixCores<T>            the instruction for elements of type T: D = A * B + C, A 16 x DEPTH, B DEPTH x 16, C and D
//                             16 x 16. `PRESENT` is false where the target has none for T.
//   MatrixChunk<T>            a run along k that a lane reads at once (16 bytes, 32 on gfx11), and its products.
//
// T is f16 or bf16 (summed in f32), float or double (summed in themselves).
//
//   target            f16, bf16                                        float                double
//   gfx90a, gfx942    v_mfma_f32_16x16x16{_f16,_bf16} (bf16: "_1k")    v_mfma_f32_16x16x4   v_mfma_f64_16x16x4
//   gfx11             v_wmma_f32_16x16x16_{f16,bf16}                   -                    -
//   gfx12             the same names, another layout                   -                    -
//
// Where elements lie. A wave holds A, B, C and D spread over its lanes. A and B are held alike: a lane has, of ONE row of
// A (of ONE column of B), ELEMENTS neighbouring steps of k in order of k. D: a lane has RESULTS rows of ONE column.
//
//                    lanes   row of A, column of B and of D   its steps of k             row of D of result r
//   CDNA f16, bf16   64      lane % 16                        lane / 16 * 4 + 0..3       lane / 16 * 4 + r
//   CDNA float       64      lane % 16                        lane / 16                  lane / 16 * 4 + r
//   CDNA double      64      lane % 16                        lane / 16                  lane / 16 + 4 * r
//   gfx11            32      lane % 16                        0..15, both halves alike   lane / 16 + 2 * r
//   gfx12            32      lane % 16                        lane / 16 * 8 + 0..7       lane / 16 * 8 + r
//
// Two consequences. Since A and B are held alike, multiply(b, a, c) gives the transposed product: a lane then has one
// row of D and RESULTS of its columns. And on CDNA with 16-bit elements and on gfx12 the results of a lane, narrowed to T,
// are at once its elements of a next product's A or B along D's rows: see `operand_of`. On CDNA those of float are its part of a
// MatrixChunk.
//
// Sources: AMD's matrix instruction calculator (github.com/ROCm/amd_matrix_instruction_calculator); "AMD Instinct MI200
// Instruction Set Architecture" and "AMD Instinct MI300 ...", chapter "Matrix Arithmetic Instructions"; "RDNA3 Instruction
// Set Architecture" and "RDNA4 ...", section "Wave Matrix Multiply Accumulate"; LLVM's BuiltinsAMDGPU.def for the types.
//
// Numbers. Products of 16-bit elements are exact in f32; the order and the roundings of the sum are the hardware's, at most
// one rounding for each product. CDNA 2 takes subnormal f16 and bf16 elements for zero and flushes subnormal sums of
// theirs (MI200 document, "Denormalized values"; CDNA 3 keeps them): products that hang on bf16 below 2^-126 or f16 below
// 2^-14 are lost there. float and double are multiplied and added with IEEE roundings, subnormals kept: as a chain of FMAs.
//
// EXEC is ignored: every lane of the wave has to arrive, in uniform control flow.
//
// A kernel on CDNA whose registers fit into 256 best says so, by amdgpu_waves_per_eu(2): else clang keeps sums in accumulation
// registers and moves them to vector registers and back in every round of a loop (LLVM 19, f64: 340 instructions for 75).
#pragma once

#include "portable.h"

/// A target without matrix cores for T.
template <class T> struct MatrixCores { static constexpr bool PRESENT = false; };

#if defined(__gfx90a__) || defined(__gfx942__) || defined(__gfx9_4_generic__)
#define MATRIX_CORES_MFMA 1
#elif defined(__GFX11__) || defined(__GFX12__)
#define MATRIX_CORES_WMMA 1
#endif
/// Defined where there are any: f16 and bf16 then are among them.
#if defined(MATRIX_CORES_MFMA) || defined(MATRIX_CORES_WMMA)
#define MATRIX_CORES 1
#endif

#if defined(MATRIX_CORES)

/// `COUNT` values in consecutive registers.
template <class V, unsigned COUNT> struct Registers {
    typedef V type __attribute__((ext_vector_type(COUNT)));
};
/// One value is no vector to the builtins.
template <class V> struct Registers<V, 1> { typedef V type; };

/// What the rows of the table above share. `Bits` is the builtin's name for an element of T.
template <class Bits, unsigned PER_LANE, unsigned STEPS, class SumType, unsigned PER_LANE_OF_D> struct MatrixShape {
    static constexpr bool PRESENT = true;
    /// Lanes that take part.
    static constexpr unsigned LANES = CANDLE_WAVE_SIZE;
    /// Rows of A and D, columns of B and D.
    static constexpr unsigned SIZE = 16;
    /// Steps of k of one instruction.
    static constexpr unsigned DEPTH = STEPS;
    /// Steps of k that one lane holds.
    static constexpr unsigned ELEMENTS = PER_LANE;
    /// Elements of D that one lane holds.
    static constexpr unsigned RESULTS = PER_LANE_OF_D;
    /// A lane's share of A or B, of C or D. Index them with constants: a register cannot be chosen at run time.
    typedef typename Registers<Bits, ELEMENTS>::type Fragment;
    typedef typename Registers<SumType, RESULTS>::type Sums;
    typedef SumType Sum;

    /// The row of A, the column of B, the column of D that `lane` holds.
    static __device__ __forceinline__ unsigned line(unsigned lane) { return lane % SIZE; }
};

#endif

#if defined(MATRIX_CORES_MFMA)

/// f16 and bf16 on CDNA.
template <class Bits> struct HalfMfma : MatrixShape<Bits, 4, 16, float, 4> {
    /// Results r and r + 1 are neighbours in D's column.
    static constexpr bool RESULTS_ADJOIN = true;
    static __device__ __forceinline__ unsigned first_step(unsigned lane) { return lane / 16 * 4; }
    static __device__ __forceinline__ unsigned row(unsigned lane, unsigned r) { return lane / 16 * 4 + r; }
};

template <> struct MatrixCores<f16> : HalfMfma<_Float16> {
    static __device__ __forceinline__ Sums multiply(Fragment a, Fragment b, Sums c) {
        return __builtin_amdgcn_mfma_f32_16x16x16f16(a, b, c, 0, 0, 0);
    }
    static __device__ __forceinline__ Fragment operand_of(unsigned, Sums d) {
        return __builtin_convertvector(d, Fragment);
    }
};

template <> struct MatrixCores<bf16> : HalfMfma<short> {
    static __device__ __forceinline__ Sums multiply(Fragment a, Fragment b, Sums c) {
        return __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(a, b, c, 0, 0, 0);
    }
    static __device__ __forceinline__ Fragment operand_of(unsigned, Sums d) {
        Fragment out;
#pragma unroll
        for (unsigned i = 0; i < ELEMENTS; ++i) out[i] = static_cast<short>(bf16(d[i]).bits);
        return out;
    }
};

template <> struct MatrixCores<float> : MatrixShape<float, 1, 4, float, 4> {
    static constexpr bool RESULTS_ADJOIN = true;
    static __device__ __forceinline__ unsigned first_step(unsigned lane) { return lane / 16; }
    static __device__ __forceinline__ unsigned row(unsigned lane, unsigned r) { return lane / 16 * 4 + r; }
    static __device__ __forceinline__ Sums multiply(Fragment a, Fragment b, Sums c) {
        return __builtin_amdgcn_mfma_f32_16x16x4f32(a, b, c, 0, 0, 0);
    }
};

template <> struct MatrixCores<double> : MatrixShape<double, 1, 4, double, 4> {
    static constexpr bool RESULTS_ADJOIN = false;
    static __device__ __forceinline__ unsigned first_step(unsigned lane) { return lane / 16; }
    static __device__ __forceinline__ unsigned row(unsigned lane, unsigned r) { return lane / 16 + 4 * r; }
    static __device__ __forceinline__ Sums multiply(Fragment a, Fragment b, Sums c) {
        return __builtin_amdgcn_mfma_f64_16x16x4f64(a, b, c, 0, 0, 0);
    }
};

#elif defined(MATRIX_CORES_WMMA)

#if defined(__GFX12__)

/// f16 and bf16 on gfx12.
template <class Bits> struct HalfWmma : MatrixShape<Bits, 8, 16, float, 8> {
    static constexpr bool RESULTS_ADJOIN = true;
    static __device__ __forceinline__ unsigned first_step(unsigned lane) { return lane / 16 * 8; }
    static __device__ __forceinline__ unsigned row(unsigned lane, unsigned r) { return lane / 16 * 8 + r; }
};
#define MATRIX_CORES_BUILTIN(TYPE) __builtin_amdgcn_wmma_f32_16x16x16_##TYPE##_w32_gfx12

#else

/// f16 and bf16 on gfx11.
template <class Bits> struct HalfWmma : MatrixShape<Bits, 16, 16, float, 8> {
    static constexpr bool RESULTS_ADJOIN = false;
    static __device__ __forceinline__ unsigned first_step(unsigned) { return 0; }
    static __device__ __forceinline__ unsigned row(unsigned lane, unsigned r) { return lane / 16 + 2 * r; }
};
#define MATRIX_CORES_BUILTIN(TYPE) __builtin_amdgcn_wmma_f32_16x16x16_##TYPE##_w32

#endif

/// The results of a lane as elements of a next product, whose k runs along D's rows.
template <class Shape, class T>
static __device__ __forceinline__ typename Shape::Fragment wmma_operand_of(unsigned lane, typename Shape::Sums d) {
    unsigned pairs[Shape::RESULTS / 2];
#pragma unroll
    for (unsigned i = 0; i < Shape::RESULTS / 2; ++i) {
        const T low(d[2 * i]), high(d[2 * i + 1]);
        pairs[i] = __builtin_bit_cast(unsigned short, low) |
                   static_cast<unsigned>(__builtin_bit_cast(unsigned short, high)) << 16;
    }
    unsigned words[Shape::ELEMENTS / 2];
    if constexpr (Shape::ELEMENTS == Shape::RESULTS) {
#pragma unroll
        for (unsigned i = 0; i < Shape::ELEMENTS / 2; ++i) words[i] = pairs[i];
    } else {
        // Lane l < 16 has the even rows, lane l + 16 the odd ones; both need all of them.
        const bool upper = lane >= 16;
#pragma unroll
        for (unsigned i = 0; i < Shape::RESULTS / 2; ++i) {
            // v_permlanex16_b32 with the identity in its selectors: the same lane of the other half.
            const unsigned other =
                __builtin_amdgcn_permlanex16(pairs[i], pairs[i], 0x76543210u, 0xfedcba98u, false, false);
            const unsigned even = upper ? other : pairs[i], odd = upper ? pairs[i] : other;
            words[2 * i] = (even & 0xffffu) | odd << 16;
            words[2 * i + 1] = even >> 16 | (odd & 0xffff0000u);
        }
    }
    typename Shape::Fragment out;
    static_assert(sizeof(out) == sizeof(words), "two elements a word");
    __builtin_memcpy(&out, words, sizeof(out));
    return out;
}

template <> struct MatrixCores<f16> : HalfWmma<_Float16> {
    static __device__ __forceinline__ Sums multiply(Fragment a, Fragment b, Sums c) {
        return MATRIX_CORES_BUILTIN(f16)(a, b, c);
    }
    static __device__ __forceinline__ Fragment operand_of(unsigned lane, Sums d) {
        return wmma_operand_of<HalfWmma<_Float16>, f16>(lane, d);
    }
};

template <> struct MatrixCores<bf16> : HalfWmma<short> {
    static __device__ __forceinline__ Sums multiply(Fragment a, Fragment b, Sums c) {
        return MATRIX_CORES_BUILTIN(bf16)(a, b, c);
    }
    static __device__ __forceinline__ Fragment operand_of(unsigned lane, Sums d) {
        return wmma_operand_of<HalfWmma<short>, bf16>(lane, d);
    }
};

#undef MATRIX_CORES_BUILTIN

#endif

#if defined(MATRIX_CORES)

/// A lane's share of a run of DEPTH steps along k, read at once: as many elements as one 16-byte read brings, or as one
/// instruction wants if that is more (gfx11). Where that is several instructions, a lane's elements are neighbours all the
/// same: which step of k an instruction takes from which lane is free as long as A and B agree.
template <class T> struct MatrixChunk {
    typedef MatrixCores<T> Cores;
    typedef typename Cores::Fragment Fragment;
    static constexpr unsigned READ = 16 / sizeof(T);
    static constexpr unsigned ELEMENTS = Cores::ELEMENTS > READ ? Cores::ELEMENTS : READ;
    static constexpr unsigned INSTRUCTIONS = ELEMENTS / Cores::ELEMENTS;
    static constexpr unsigned DEPTH = Cores::DEPTH * INSTRUCTIONS;

    Fragment part[INSTRUCTIONS];

    /// `steps` points to the first of the run's DEPTH steps of this lane's row of A (column of B), neighbours in memory
    /// and aligned to 16 bytes. LDS best has its lines 16 bytes more than a multiple of 64 bytes apart: then the lanes
    /// that are served together read from different banks.
    static __device__ __forceinline__ MatrixChunk load(unsigned lane, const T *steps) {
        const T *from = steps + Cores::first_step(lane) * INSTRUCTIONS;
        MatrixChunk out;
        __builtin_memcpy(out.part, __builtin_assume_aligned(from, 16), sizeof(out.part));
        return out;
    }

    /// c + a * b over the run.
    static __device__ __forceinline__ typename Cores::Sums multiply(const MatrixChunk &a, const MatrixChunk &b,
                                                                    typename Cores::Sums c) {
#pragma unroll
        for (unsigned i = 0; i < INSTRUCTIONS; ++i) c = Cores::multiply(a.part[i], b.part[i], c);
        return c;
    }
};

#endif
