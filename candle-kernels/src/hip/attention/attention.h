// Scaled dot-product attention: what its kernels share. The host side (which kernel, launch geometry, the struct below)
// is src/rocm/attention.rs; both structs must agree byte for byte.
//
//   out[row] = sum over keys of softmax(shaped(q[row] * k[key])) * v[key]
//
// A row is a query of one head. The heads that share keys and values (grouped queries) are taken together: row r of
// a key head is query r / group of head r % group in that group, so that neighbouring rows have neighbouring queries.
//
// Softmax runs in base 2 and online: with m the largest score so far, sums are kept of 2^(score - m) and of that times v,
// and multiplied by 2^(old m - new m) when m grows. A row all of whose scores are minus infinity ends as 0/0, NaN: what
// softmax gives for it.
#pragma once

#include "../quantized/int8_rows.h"

/// Passed by value. Strides count elements; 0 repeats. The last dimension of q, k, v and out lies in steps of 1.
struct AttentionArgs {
    int64_t q_batch, q_head, q_position;
    int64_t k_batch, k_head, k_position;
    int64_t v_batch, v_head, v_position;
    int64_t mask_batch, mask_head, mask_query, mask_key;
    /// Heads of k and v; heads of q for each of them; queries of a head; keys.
    uint32_t key_heads, group, queries, keys;
    /// Elements of a row of q and k, a multiple of 16 bytes; elements of a row of v and out. Rows of q, k and v begin at
    /// multiples of 16 bytes, and those of v may be read up to the next one.
    uint32_t width, value_width;
    /// The context is cut into `splits` pieces of `split_keys` keys; each is the work of another workgroup.
    uint32_t splits, split_keys;
    /// Whether query i sees key j only if j - keys <= i - queries: the last query sees all.
    uint32_t causal;
    /// Rows of one workgroup; workgroups that have a key head's rows; key heads of all batch entries.
    uint32_t tile_rows, tiles, pairs;
    /// Factor of the products, in base 2: times log2(e), or divided by the cap.
    float scale;
    /// 0, or c times log2(e) for scores of c * tanh(score / c).
    float cap;
    /// Null, or where it stands how many keys there are before those of the queries: then `keys` is how many there is room
    /// for. What is recorded once (a graph) sees as many keys as there are at each launch.
    const uint32_t *past;
    /// Null, or where the kernel that writes the result leaves it in int8 as well, the heads of a query side by side as a row.
    /// There is then one query, and `value_width` is a whole number of segments.
    void *int8;

    /// The arguments of this launch.
    __device__ __forceinline__ AttentionArgs now() const {
        AttentionArgs args = *this;
        if (past) args.keys = min(keys, *past + queries);
        return args;
    }
};

constexpr float LOG2_E = 1.44269504088896340736f;
constexpr float NEVER = -__builtin_inff();

static __device__ __forceinline__ float exp2_of(float x) {
#if defined(__HIP__)
    return __builtin_amdgcn_exp2f(x);  // v_exp_f32: 1 ulp, results below 2^-126 are 0
#else
    return exp2f(x);
#endif
}

/// Where a workgroup's work lies.
struct AttentionPlace {
    uint32_t batch, key_head, first_row, rows, split, first_key, end_key;
};

/// blockIdx.x counts tiles of rows within key heads within batches, blockIdx.y pieces of the context. Causal, the last tiles see
/// the most keys: those of all key heads come first, so that what is left over in the end is short.
static __device__ __forceinline__ AttentionPlace place_of(const AttentionArgs &args) {
    AttentionPlace at;
    at.rows = args.group * args.queries;
    const uint32_t within = args.causal ? args.pairs : args.tiles, outer = blockIdx.x / within;
    const uint32_t inner = blockIdx.x - outer * within;
    const uint32_t tile = args.causal ? args.tiles - 1 - outer : inner, pair = args.causal ? inner : outer;
    at.first_row = tile * args.tile_rows;
    at.batch = pair / args.key_heads;
    at.key_head = pair - at.batch * args.key_heads;
    at.split = blockIdx.y;
    at.first_key = at.split * args.split_keys;
    at.end_key = min(at.first_key + args.split_keys, args.keys);
    return at;
}

/// One row: its head and query, and how many of the keys it sees.
struct AttentionRow {
    uint32_t head, query, visible;

    __device__ __forceinline__ AttentionRow(const AttentionArgs &args, const AttentionPlace &at, uint32_t row) {
        query = row / args.group;
        head = at.key_head * args.group + (row - query * args.group);
        // 64 bits: there may be more queries than keys.
        const int64_t seen = args.causal ? int64_t(query) + 1 + args.keys - args.queries : int64_t(args.keys);
        visible = seen < 0 ? 0 : static_cast<uint32_t>(seen);
    }

    /// Its number among all rows of q and out.
    __device__ __forceinline__ uint64_t number(const AttentionArgs &args, const AttentionPlace &at) const {
        return (uint64_t(at.batch) * args.key_heads * args.group + head) * args.queries + query;
    }

    template <class T>
    __device__ __forceinline__ const T *in_q(const AttentionArgs &args, const AttentionPlace &at, const T *q) const {
        return q + at.batch * args.q_batch + head * args.q_head + query * args.q_position;
    }

    template <class T>
    __device__ __forceinline__ const T *in_mask(const AttentionArgs &args, const AttentionPlace &at, const T *mask) const {
        return mask + at.batch * args.mask_batch + head * args.mask_head + query * args.mask_query;
    }
};

/// A product of q and k, scaled, as a score in base 2 where scores are capped.
static __device__ __forceinline__ float capped(const AttentionArgs &args, float scaled) { return tanhf(scaled) * args.cap; }

/// The largest score as what is subtracted from scores: minus infinity would make NaN of scores that are that, too.
static __device__ __forceinline__ float base_of(float largest) { return largest == NEVER ? 0.0f : largest; }

/// Powers that become numbers of T are multiplied by 2 to this, which the final division takes out again: f16 then holds those
/// of down to 2^-28 with all digits. CDNA 2 would take what is below 2^-14 for 0, and a long context may consist of little else.
template <class T> constexpr float POWERS_EXPONENT = 0;
template <> constexpr float POWERS_EXPONENT<f16> = 14;

/// What a split leaves of a row for the combining kernel: first the row's largest score and its sum of powers, then
/// the sums of powers times values.
static __device__ __forceinline__ float *partial_of(const AttentionArgs &args, float *partials, uint64_t row,
                                                    uint32_t split) {
    return partials + (row * args.splits + split) * (args.value_width + 2);
}

/// Leaves element `i` of head `head` of a query in int8, which a product reads as row number `row`, its `heads` side by side. All
/// lanes of a warp come, with the elements of a segment.
static __device__ __forceinline__ void leave_int8(void *int8, uint32_t row, uint32_t head, uint32_t heads, uint32_t width,
                                                  uint32_t i, float value) {
    const float values[1] = {value};
    store_int8<1>(ActivationRow(int8, row, heads * width / SEGMENT), head * width + i, values);
}
