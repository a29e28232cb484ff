// std::numeric_limits of integers, as far as upstream asks: lowest() and max(); <climits> likewise.
#pragma once

#include "platform.h"

#define INT_MAX __INT_MAX__
#define INT_MIN (-__INT_MAX__ - 1)

namespace std {

template <class T> struct numeric_limits {
    static constexpr bool is_signed = T(-1) < T(0);
    static constexpr __host__ __device__ T max() { return is_signed ? T(~(T(1) << (sizeof(T) * 8 - 1))) : T(-1); }
    static constexpr __host__ __device__ T lowest() { return T(~max()); }
};

template <class A, class B> inline constexpr bool is_same_v = __is_same(A, B);

}  // namespace std
