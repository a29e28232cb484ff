// Casts between any two number types: convert_<to>(walk, from, x, out). `from` names the source's type by number, the
// order of FROM below and of `number_kind` in rocm_backend/kind.rs. The result is contiguous.
#include "element.h"
#include "walk.h"

template <class To, class From>
static __device__ __forceinline__ void convert_all(const Walk<1> &walk, const void *x, To *out) {
    const From *from = static_cast<const From *>(x);
    FOR_EACH(i, walk.count) out[i] = convert<To>(from[walk.at(i)]);
}

template <class To>
static __device__ __forceinline__ void convert_from(const Walk<1> &walk, uint32_t from, const void *x, To *out) {
    switch (from) {  // the same for all threads
    case 0: return convert_all<To, uint8_t>(walk, x, out);
    case 1: return convert_all<To, uint32_t>(walk, x, out);
    case 2: return convert_all<To, int16_t>(walk, x, out);
    case 3: return convert_all<To, int32_t>(walk, x, out);
    case 4: return convert_all<To, int64_t>(walk, x, out);
    case 5: return convert_all<To, bf16>(walk, x, out);
    case 6: return convert_all<To, f16>(walk, x, out);
    case 7: return convert_all<To, float>(walk, x, out);
    case 8: return convert_all<To, double>(walk, x, out);
    case 9: return convert_all<To, f8>(walk, x, out);
    }
}

#define CONVERT(T, SUFFIX)                                                                                     \
    extern "C" __global__ void convert_##SUFFIX(Walk<1> walk, uint32_t from, const void *x, T *out) {          \
        convert_from<T>(walk, from, x, out);                                                                   \
    }
FOR_NUMBERS(CONVERT)
