// Elements by index along one dimension. Indices are of any integer kind; the kind's largest value means "none":
// such an element reads as zero and is not written. An index outside of the dimension is reported.
//
//   pick_<w>     (walk, ids, x, out, step)        out[i] = x[walk.at + id * step]: index-select and gather
//   put_set_<w>  (walk, ids, src, out, loop)      out[walk.at + id * step] = src: scatter
//   put_add_<t>  (walk, ids, src, out, loop)      the same with +=: scatter-add, index-add
//
// A thread of `put` owns every place of the result that its elements can go to and takes them in order, so equal
// indices give the CPU's result, bit for bit.
#include "element.h"
#include "fault.h"
#include "walk.h"

/// Passed by value: the indices and what they index.
struct Ids {
    const void *ids;
    uint64_t size;  // of the indexed dimension
    uint64_t step;  // elements from one index to the next
    FaultReport fault;
    uint32_t kind;
    uint32_t unused;
};

/// Passed by value: the dimension that a thread of `put` goes along.
struct Along {
    uint64_t count;
    uint64_t src_stride, ids_stride;
};

template <class I> static __device__ __forceinline__ bool widen(const void *ids, uint64_t at, int64_t &id) {
    const I value = static_cast<const I *>(ids)[at];
    id = static_cast<int64_t>(value);
    return value != Limits<I>::MAX;
}

/// Reads an index; false when it means "none" or lies outside.
static __device__ __forceinline__ bool read_id(const Ids &ids, uint64_t at, uint64_t &offset) {
    int64_t id = 0;
    bool some = false;
    switch (ids.kind) {  // the same for all threads
    case KIND_U8: some = widen<uint8_t>(ids.ids, at, id); break;
    case KIND_U32: some = widen<uint32_t>(ids.ids, at, id); break;
    case KIND_I16: some = widen<int16_t>(ids.ids, at, id); break;
    case KIND_I32: some = widen<int32_t>(ids.ids, at, id); break;
    case KIND_I64: some = widen<int64_t>(ids.ids, at, id); break;
    }
    if (!some) return false;
    if (static_cast<uint64_t>(id) >= ids.size) {
        ids.fault.raise(id, ids.size);
        return false;
    }
    offset = static_cast<uint64_t>(id) * ids.step;
    return true;
}

struct Set {
    template <class T> static __device__ __forceinline__ T of(T, T src) { return src; }
};
struct Add {
    template <class T> static __device__ __forceinline__ T of(T old, T src) { return T(value_of(old) + value_of(src)); }
};

template <class How, class T>
static __device__ __forceinline__ void put(const Walk<3> &walk, const Ids &ids, const T *src, T *out,
                                           const Along &along) {
    FOR_EACH(i, walk.count) {
        uint64_t at[3];  // of the source, the indices, the result
        walk.at(i, at);
        for (uint64_t step = 0; step < along.count; ++step) {
            uint64_t offset;
            if (!read_id(ids, at[1] + step * along.ids_stride, offset)) continue;
            T &place = out[at[2] + offset];
            place = How::template of<T>(place, src[at[0] + step * along.src_stride]);
        }
    }
}

#define BY_WIDTH(T, SUFFIX)                                                                                       \
    extern "C" __global__ void pick_##SUFFIX(Walk<2> walk, Ids ids, const T *x, T *out) {                         \
        FOR_EACH(i, walk.count) {                                                                                 \
            uint64_t at[2], offset;                                                                               \
            walk.at(i, at);                                                                                       \
            out[i] = read_id(ids, at[1], offset) ? x[at[0] + offset] : T(0);                                      \
        }                                                                                                         \
    }                                                                                                             \
    extern "C" __global__ void put_set_##SUFFIX(Walk<3> walk, Ids ids, const T *src, T *out, Along along) {       \
        put<Set, T>(walk, ids, src, out, along);                                                                  \
    }
FOR_WIDTHS(BY_WIDTH)

#define BY_TYPE(T, SUFFIX)                                                                                        \
    extern "C" __global__ void put_add_##SUFFIX(Walk<3> walk, Ids ids, const T *src, T *out, Along along) {       \
        put<Add, T>(walk, ids, src, out, along);                                                                  \
    }
FOR_NUMBERS(BY_TYPE)
