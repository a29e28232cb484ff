// Element types, the type in which each is computed, and conversions that equal Rust's.
#pragma once

#include "portable.h"

#if defined(__HIP__)
#include "compat/fp8.h"
typedef __hip_fp8_e4m3 f8;
#else
#include <cuda_fp8.h>
typedef __nv_fp8_e4m3 f8;
#endif

// candle's CPU backend rounds after every operation; a fused multiply-add would not.
#if defined(__clang__)
#pragma clang fp contract(off)
#endif

template <bool CONDITION, class A, class B> struct Either { typedef A type; };
template <class A, class B> struct Either<false, A, B> { typedef B type; };

template <class A, class B> constexpr bool is_same = false;
template <class A> constexpr bool is_same<A, A> = true;

/// 16- and 8-bit floats: stored only, computed as f32.
template <class T> constexpr bool is_narrow_float = is_same<T, f16> || is_same<T, bf16> || is_same<T, f8>;
template <class T> constexpr bool is_float = is_narrow_float<T> || is_same<T, float> || is_same<T, double>;
template <class T> constexpr bool is_signed_integer =
    is_same<T, int16_t> || is_same<T, int32_t> || is_same<T, int64_t>;

/// The type that one operation on a T is computed in; its result is rounded to T.
template <class T> struct Computed { typedef typename Either<is_narrow_float<T>, float, T>::type type; };
template <class T> using Value = typename Computed<T>::type;

template <class T> static __device__ __forceinline__ Value<T> value_of(T x) { return static_cast<Value<T>>(x); }

/// A float of at most as many digits, such that rounding it again to a narrower type gives what rounding `x` at once
/// gives: cut off, with the last bit set when something was cut ("round to odd").
static __device__ __forceinline__ float round_to_odd(double x) {
    float nearest = static_cast<float>(x);
    const double back = nearest;
    if (back == x || x != x || __builtin_isinf(nearest)) return nearest;
    uint32_t bits = __builtin_bit_cast(uint32_t, nearest);
    const bool away = (back < 0 ? -back : back) > (x < 0 ? -x : x);
    if (away) bits -= 1;
    return __builtin_bit_cast(float, bits | 1);
}

/// The largest and smallest value of an integer type.
template <class I> struct Limits {
    static constexpr bool SIGNED = I(-1) < I(0);
    static constexpr I MIN = SIGNED ? I(uint64_t(1) << (sizeof(I) * 8 - 1)) : I(0);
    static constexpr I MAX = I(~MIN);
};

/// As Rust's `as`: towards zero, limited to the type's range, NaN is zero.
template <class I, class F> static __device__ __forceinline__ I saturate(F x) {
    constexpr unsigned BITS = sizeof(I) * 8 - (Limits<I>::SIGNED ? 1 : 0);
    // 2^BITS, exact in every float type.
    constexpr F END = F(uint64_t(1) << (BITS - 1)) * F(2);
    if (x != x) return 0;
    if (x >= END) return Limits<I>::MAX;
    if (x <= F(Limits<I>::MIN)) return Limits<I>::MIN;
    return static_cast<I>(x);
}

/// `x` as a To, with the CPU backend's roundings: whole numbers become narrow floats by way of f32, f64 directly.
template <class To, class From> static __device__ __forceinline__ To convert(From x) {
    if constexpr (is_same<To, From>) {
        return x;
    } else if constexpr (is_narrow_float<To>) {
        if constexpr (is_same<From, double>) return To(round_to_odd(x));
        else return To(static_cast<float>(value_of(x)));
    } else if constexpr (is_float<To>) {
        return static_cast<To>(value_of(x));
    } else if constexpr (is_float<From>) {
        return saturate<To>(value_of(x));
    } else {
        return static_cast<To>(x);
    }
}

/// The number types with the names that kernels carry: calls ROW(type, name) for each.
#define FOR_FLOATS(ROW) ROW(float, f32) ROW(double, f64) ROW(f16, f16) ROW(bf16, bf16) ROW(f8, f8_e4m3)
#define FOR_INTEGERS(ROW) ROW(uint8_t, u8) ROW(uint32_t, u32) ROW(int16_t, i16) ROW(int32_t, i32) ROW(int64_t, i64)
#define FOR_NUMBERS(ROW) FOR_FLOATS(ROW) FOR_INTEGERS(ROW)
/// Unsigned types by width, for kernels that move elements without reading them as numbers.
#define FOR_WIDTHS(ROW) ROW(uint8_t, b8) ROW(uint16_t, b16) ROW(uint32_t, b32) ROW(uint64_t, b64)

/// Integer types that the host names by number: `IntegerKind` of rocm_backend/kind.rs.
enum IntegerKind : uint32_t { KIND_U8, KIND_U32, KIND_I16, KIND_I32, KIND_I64 };
