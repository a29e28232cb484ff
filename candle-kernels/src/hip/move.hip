// Elements moved, not computed: kernels by width.
//
//   copy_<w>    (walk, x, out)                        strided to contiguous
//   copy2_<w>   (walk, x, out)                        strided to strided (second operand of the walk)
//   set_<w>     (walk, value, x)                      a constant to the walk's places
//   where_<w>   (walk, kind, condition, t, f, out)    t where the condition is not zero, else f
#include "element.h"
#include "walk.h"

/// Whether an integer of the given kind is not zero.
static __device__ __forceinline__ bool is_true(uint32_t kind, const void *condition, uint64_t at) {
    switch (kind) {
    case KIND_U8: return static_cast<const uint8_t *>(condition)[at] != 0;
    case KIND_I16: return static_cast<const int16_t *>(condition)[at] != 0;
    case KIND_I64: return static_cast<const int64_t *>(condition)[at] != 0;
    default: return static_cast<const uint32_t *>(condition)[at] != 0;
    }
}

#define MOVES(T, SUFFIX)                                                                                       \
    extern "C" __global__ void copy_##SUFFIX(Walk<1> walk, const T *x, T *out) {                               \
        FOR_EACH(i, walk.count) out[i] = x[walk.at(i)];                                                        \
    }                                                                                                          \
    extern "C" __global__ void copy2_##SUFFIX(Walk<2> walk, const T *x, T *out) {                              \
        FOR_EACH(i, walk.count) {                                                                              \
            uint64_t at[2];                                                                                    \
            walk.at(i, at);                                                                                    \
            out[at[1]] = x[at[0]];                                                                             \
        }                                                                                                      \
    }                                                                                                          \
    extern "C" __global__ void set_##SUFFIX(Walk<1> walk, T value, T *x) {                                     \
        FOR_EACH(i, walk.count) x[walk.at(i)] = value;                                                         \
    }                                                                                                          \
    extern "C" __global__ void where_##SUFFIX(Walk<3> walk, uint32_t kind, const void *condition, const T *t,  \
                                              const T *f, T *out) {                                            \
        FOR_EACH(i, walk.count) {                                                                              \
            uint64_t at[3];                                                                                    \
            walk.at(i, at);                                                                                    \
            out[i] = is_true(kind, condition, at[0]) ? t[at[1]] : f[at[2]];                                    \
        }                                                                                                      \
    }
FOR_WIDTHS(MOVES)
