// Atomics with CUDA's meaning: relaxed, visible to the whole device.
#pragma once

#include "fp8.h"

#define COMPAT_ATOMIC(NAME, OPERATION, T) \
    COMPAT_DEVICE T NAME(T *at, T value) { return OPERATION(at, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT); }
#define COMPAT_INTEGER_ATOMICS(T)                        \
    COMPAT_ATOMIC(atomicAdd, __hip_atomic_fetch_add, T)  \
    COMPAT_ATOMIC(atomicMin, __hip_atomic_fetch_min, T)  \
    COMPAT_ATOMIC(atomicMax, __hip_atomic_fetch_max, T)
COMPAT_INTEGER_ATOMICS(int)
COMPAT_INTEGER_ATOMICS(unsigned)
COMPAT_INTEGER_ATOMICS(long)
COMPAT_INTEGER_ATOMICS(unsigned long)
COMPAT_INTEGER_ATOMICS(long long)
COMPAT_INTEGER_ATOMICS(unsigned long long)
COMPAT_ATOMIC(atomicAdd, __hip_atomic_fetch_add, float)
COMPAT_ATOMIC(atomicAdd, __hip_atomic_fetch_add, double)
#undef COMPAT_INTEGER_ATOMICS
#undef COMPAT_ATOMIC

/// Returns what was there; stored `desired` if that was `expected`.
template <class T> COMPAT_DEVICE T atomicCAS(T *at, T expected, T desired) {
    __hip_atomic_compare_exchange_strong(at, &expected, desired, __ATOMIC_RELAXED, __ATOMIC_RELAXED,
                                         __HIP_MEMORY_SCOPE_AGENT);
    return expected;
}

namespace candle_compat {

/// atomicAdd for a 16-bit float: no target has it for a lone element. Compares bits, so a NaN cannot hang it.
template <class T> COMPAT_DEVICE T add_by_exchange(T *at, T value) {
    unsigned short *word = reinterpret_cast<unsigned short *>(at);
    unsigned short seen = *word, before;
    do {
        before = seen;
        T sum = __builtin_bit_cast(T, before) + value;
        seen = atomicCAS(word, before, __builtin_bit_cast(unsigned short, sum));
    } while (seen != before);
    return __builtin_bit_cast(T, before);
}

}  // namespace candle_compat

COMPAT_DEVICE __half atomicAdd(__half *at, __half value) { return candle_compat::add_by_exchange(at, value); }
COMPAT_DEVICE __hip_bfloat16 atomicAdd(__hip_bfloat16 *at, __hip_bfloat16 value) {
    return candle_compat::add_by_exchange(at, value);
}
