// Exchange between the lanes of a CUDA warp: an aligned group of `width` <= 32 lanes of the wave. The mask
// argument is ignored; upstream always passes the whole warp.
#pragma once

#include "platform.h"

namespace candle_compat {

/// This lane's number within the wave, 0 to CANDLE_WAVE_SIZE - 1.
COMPAT_DEVICE int lane() {
    unsigned low = __builtin_amdgcn_mbcnt_lo(~0u, 0);
#if CANDLE_WAVE_SIZE == 64
    return __builtin_amdgcn_mbcnt_hi(~0u, low);
#else
    return low;
#endif
}

/// `value` as lane `source` of the wave holds it. ds_bpermute_b32 addresses lanes in bytes.
template <class T> COMPAT_DEVICE T read_lane(T value, int source) {
    static_assert(sizeof(T) <= 8, "at most two registers");
    if constexpr (sizeof(T) == 8) {
        struct Pair { int low, high; } pair = __builtin_bit_cast(Pair, value);
        pair.low = __builtin_amdgcn_ds_bpermute(source * 4, pair.low);
        pair.high = __builtin_amdgcn_ds_bpermute(source * 4, pair.high);
        return __builtin_bit_cast(T, pair);
    } else {
        int word = 0;
        __builtin_memcpy(&word, &value, sizeof(T));
        word = __builtin_amdgcn_ds_bpermute(source * 4, word);
        __builtin_memcpy(&value, &word, sizeof(T));
        return value;
    }
}

/// Lane `source`, or this lane itself where `source` lies outside this lane's group: CUDA's rule.
COMPAT_DEVICE int within_group(int source, int width) {
    return (source ^ lane()) < width && source >= 0 ? source : lane();
}

}  // namespace candle_compat

template <class T> COMPAT_DEVICE T __shfl_xor_sync(unsigned, T value, int mask, int width = 32) {
    return candle_compat::read_lane(value, candle_compat::within_group(candle_compat::lane() ^ mask, width));
}
template <class T> COMPAT_DEVICE T __shfl_down_sync(unsigned, T value, unsigned delta, int width = 32) {
    return candle_compat::read_lane(value, candle_compat::within_group(candle_compat::lane() + int(delta), width));
}
template <class T> COMPAT_DEVICE T __shfl_up_sync(unsigned, T value, unsigned delta, int width = 32) {
    return candle_compat::read_lane(value, candle_compat::within_group(candle_compat::lane() - int(delta), width));
}
template <class T> COMPAT_DEVICE T __shfl_sync(unsigned, T value, int source, int width = 32) {
    return candle_compat::read_lane(value, (candle_compat::lane() & -width) | (source & (width - 1)));
}
