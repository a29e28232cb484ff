// Kernels for the executor's tests: each exercises one area; results are compared with the host's.
// Self-contained: no HIP headers.

#define GLOBAL extern "C" __attribute__((global)) __attribute__((amdgpu_flat_work_group_size(1, 256)))
#define SHARED __attribute__((shared))
#define DEVICE __attribute__((device))
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef _Float16 half;

DEVICE inline u32 tid() { return __builtin_amdgcn_workitem_id_x(); }
DEVICE inline u32 group() { return __builtin_amdgcn_workgroup_id_x(); }
DEVICE inline u32 size() { return __builtin_amdgcn_workgroup_size_x(); }
DEVICE inline u32 global_id() { return group() * size() + tid(); }
DEVICE inline void barrier() {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}

GLOBAL void add_f32(const float *a, const float *b, float *c, u32 n) {
    u32 i = global_id();
    if (i < n) c[i] = a[i] + b[i];
}

// Sum of each workgroup through LDS, with a barrier inside a loop.
GLOBAL void reduce_u32(const u32 *a, u32 *sums, u32 n) {
    SHARED u32 part[256];
    u32 i = global_id();
    part[tid()] = i < n ? a[i] : 0;
    for (u32 step = size() / 2; step > 0; step /= 2) {
        barrier();
        if (tid() < step) part[tid()] += part[tid() + step];
    }
    if (tid() == 0) sums[group()] = part[0];
}

// out[0..n] sums, the rest other operations, so that one launch covers a family.
GLOBAL void divide(const float *a, const float *b, float *q, const double *x, const double *y, double *r, u32 n) {
    u32 i = global_id();
    if (i >= n) return;
    q[i] = a[i] / b[i];
    r[i] = x[i] / y[i];
}

GLOBAL void integers(const u32 *a, const u32 *b, u32 *out, u32 n) {
    u32 i = global_id();
    if (i >= n) return;
    u32 x = a[i], y = b[i];
    u32 *o = out + 16 * i;
    o[0] = y ? x / y : 0;
    o[1] = y ? x % y : 0;
    o[2] = y ? (u32)((int)x / ((int)(y >> 1) + 1)) : 0;
    o[3] = __builtin_clz(x | 1);
    o[4] = __builtin_ctz(x | 0x80000000u);
    o[5] = __builtin_popcount(x);
    o[6] = __builtin_bitreverse32(x);
    o[7] = (x >> (y & 31)) | (x << (31 & -(y & 31)));
    o[8] = (u32)(((u64)x * y) >> 32);
    o[9] = (u32)(((i64)(int)x * (int)y) >> 32);
    o[10] = (x & 0xffffff) * (y & 0xffffff);
    o[11] = (u32)((int)(x << 5) >> 21);
    o[12] = (x & y) | (~x & 0x12345678u);
    o[13] = (int)x < (int)y ? x : y;
    o[14] = __builtin_bswap32(x) ^ y;
    o[15] = x + y * 3 + (x ^ y);
}

GLOBAL void wide(const u64 *a, const u64 *b, u64 *out, u32 n) {
    u32 i = global_id();
    if (i >= n) return;
    u64 x = a[i], y = b[i];
    u64 *o = out + 8 * i;
    o[0] = y ? x / y : 0;
    o[1] = y ? x % y : 0;
    o[2] = y ? (u64)((i64)x / ((i64)(y >> 1) + 1)) : 0;
    o[3] = x * y;
    o[4] = x << (y & 63);
    o[5] = x >> (y & 63);
    o[6] = (u64)((i64)x >> (y & 63));
    o[7] = x > y ? x - y : (i64)x < (i64)y ? x + y : x ^ y;
}

GLOBAL void bytes(const u8 *a, const i8 *b, const u16 *c, u16 *out, u8 *small, u32 n) {
    u32 i = global_id();
    if (i >= n) return;
    u16 x = (u16)(a[i] * 3 + b[i]);
    u16 y = (u16)(c[i] >> (a[i] & 15));
    out[i] = (u16)(x * y + (short)c[i] / 7);
    small[i] = (u8)(x ^ b[i]);
}

GLOBAL void halves(const half *a, const half *b, half *out, float *wide_out, u32 n) {
    u32 i = global_id();
    if (i >= n) return;
    half x = a[i], y = b[i];
    half *o = out + 8 * i;
    o[0] = x + y;
    o[1] = x - y;
    o[2] = x * y;
    o[3] = __builtin_fmaf16(x, y, x);
    o[4] = x < y ? x : y;
    o[5] = (half)((float)x * 1.5f + (float)y);
    o[6] = (half)(int)x;
    o[7] = __builtin_fabsf16(x) - y;
    wide_out[i] = (float)x * (float)y + 0.25f;
}

typedef half half2 __attribute__((ext_vector_type(2)));
typedef short short2 __attribute__((ext_vector_type(2)));
GLOBAL void packed(const half2 *a, const half2 *b, half2 *out, const short2 *c, const short2 *d, short2 *iout, u32 n) {
    u32 i = global_id();
    if (i >= n) return;
    half2 x = a[i], y = b[i];
    out[2 * i] = x * y + (half2){y.y, x.x};
    out[2 * i + 1] = x - y;
    short2 p = c[i], q = d[i];
    iout[2 * i] = p * q + (short2){q.y, p.x};
    iout[2 * i + 1] = (p - q) >> (short2){3, 5};
}

typedef float float2 __attribute__((ext_vector_type(2)));
GLOBAL void packed_f32(const float2 *a, const float2 *b, float2 *out, u32 n) {
    u32 i = global_id();
    if (i >= n) return;
    float2 x = a[i], y = b[i];
    float2 swapped = {y.y, y.x};
    out[2 * i] = __builtin_elementwise_fma(x, y, swapped);
    out[2 * i + 1] = x * -swapped + y;
}

GLOBAL void floats(const float *a, float *out, u32 n) {
    u32 i = global_id();
    if (i >= n) return;
    float x = a[i];
    float *o = out + 12 * i;
    o[0] = __builtin_floorf(x);
    o[1] = __builtin_ceilf(x);
    o[2] = __builtin_truncf(x);
    o[3] = __builtin_rintf(x);
    o[4] = __builtin_fminf(x, 1.5f);
    o[5] = __builtin_fmaxf(x, -1.5f);
    o[6] = __builtin_amdgcn_fractf(x);
    o[7] = __builtin_amdgcn_frexp_mantf(x);
    o[8] = (float)__builtin_amdgcn_frexp_expf(x);
    o[9] = __builtin_ldexpf(x, 7);
    o[10] = __builtin_amdgcn_classf(x, 0x3) ? 1.0f : __builtin_amdgcn_classf(x, 0x204) ? 2.0f : 0.0f;
    o[11] = __builtin_fmaf(x, x, -1.0f);
}

GLOBAL void converts(const float *a, const double *b, u32 *out, float *fout, double *dout, u32 n) {
    u32 i = global_id();
    if (i >= n) return;
    out[4 * i] = (u32)(int)(a[i] < 0 ? -a[i] : a[i]);
    out[4 * i + 1] = (u32)__builtin_fabsf(a[i]);
    out[4 * i + 2] = (u32)(int)b[i];
    out[4 * i + 3] = (u32)__builtin_fabs(b[i]);
    fout[i] = (float)b[i] + (float)out[4 * i] + (float)(int)(i - 7);
    dout[i] = (double)a[i] * b[i] + (double)(int)(i - 9) + (double)i;
}

GLOBAL void atomics(u32 *counters, u64 *wide_counter, float *sum, u32 *old, u32 n) {
    u32 i = global_id();
    if (i >= n) return;
    old[i] = __atomic_fetch_add(&counters[0], 1u, __ATOMIC_RELAXED);
    __atomic_fetch_max(&counters[1], i * 7 % 1000, __ATOMIC_RELAXED);
    __atomic_fetch_and(&counters[2], ~(1u << (i & 31)), __ATOMIC_RELAXED);
    __atomic_fetch_xor(&counters[3], i, __ATOMIC_RELAXED);
    __atomic_fetch_add(wide_counter, (u64)i << 20, __ATOMIC_RELAXED);
    u32 *bits = (u32 *)sum;
    u32 seen = __atomic_load_n(bits, __ATOMIC_RELAXED);
    for (;;) {
        float next = __builtin_bit_cast(float, seen) + 1.0f;
        if (__atomic_compare_exchange_n(bits, &seen, __builtin_bit_cast(u32, next), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) break;
    }
}

GLOBAL void lds_atomics(const u32 *a, u32 *histogram, u32 n) {
    SHARED u32 bins[16];
    if (tid() < 16) bins[tid()] = 0;
    barrier();
    u32 i = global_id();
    if (i < n) __atomic_fetch_add(&bins[a[i] & 15], 1u, __ATOMIC_RELAXED);
    barrier();
    if (tid() < 16) __atomic_fetch_add(&histogram[tid()], bins[tid()], __ATOMIC_RELAXED);
}

// A local array indexed by data: scratch.
GLOBAL void scratch(const u32 *a, u32 *out, u32 n) {
    u32 i = global_id();
    if (i >= n) return;
    u32 local[24];
    for (u32 k = 0; k < 24; k++) local[(k * 7 + a[i]) % 24] = k * a[i];
    u32 sum = 0;
    for (u32 k = 0; k < 24; k++) sum = sum * 31 + local[(k + (a[i] >> 5)) % 24];
    out[i] = sum;
}

GLOBAL void divergent(const u32 *a, u32 *out, u32 n) {
    u32 i = global_id();
    if (i >= n) return;
    u32 x = a[i] | 1, steps = 0;
    while (x != 1 && steps < 200) {
        if (x & 1) x = 3 * x + 1;
        else x >>= 1;
        switch (x & 3) {
            case 0: steps += 1; break;
            case 1: steps += 2; continue;
            case 2: steps += 3; break;
            default: steps += 1;
        }
    }
    out[i] = steps * 1000 + (x & 0xff);
}

// Every work-item's value goes to its neighbour in the other order, and a butterfly sum of 32 lanes.
GLOBAL void lanes(const int *a, int *out) {
    u32 i = global_id();
    u32 lane = tid() & 31;
    int v = a[i];
    u32 base = (tid() & ~31u) & (__builtin_amdgcn_wavefrontsize() - 1);
    out[3 * i] = __builtin_amdgcn_ds_bpermute((int)(base + (31 - lane)) * 4, v);
    int sum = v;
    for (u32 m = 16; m > 0; m /= 2) sum += __builtin_amdgcn_ds_bpermute((int)(base + (lane ^ m)) * 4, sum);
    out[3 * i + 1] = sum;
    out[3 * i + 2] = __builtin_amdgcn_readfirstlane(v) + __builtin_amdgcn_mbcnt_lo(~0u, 0);
}

GLOBAL void dpp(const int *a, int *out) {
    u32 i = global_id();
    int v = a[i];
    int *o = out + 6 * i;
    o[0] = __builtin_amdgcn_update_dpp(-1, v, 0xb1, 0xf, 0xf, false);      // quad_perm:[1,0,3,2]
    o[1] = __builtin_amdgcn_update_dpp(-1, v, 0x101, 0xf, 0xf, false);     // row_shl:1
    o[2] = __builtin_amdgcn_update_dpp(-1, v, 0x113, 0xf, 0xf, true);      // row_shr:3, zeros
    o[3] = __builtin_amdgcn_update_dpp(-1, v, 0x124, 0xf, 0x5, false);     // row_ror:4, two banks
    o[4] = __builtin_amdgcn_update_dpp(-1, v, 0x140, 0xf, 0xf, false);     // row_mirror
    o[5] = __builtin_amdgcn_update_dpp(-1, v, 0x141, 0x1, 0xf, false);     // row_half_mirror, first row
}

GLOBAL void dot(const u32 *a, const u32 *b, int *out, u32 n) {
    u32 i = global_id();
    if (i >= n) return;
#if defined(__gfx9_generic__)
    // No dot product in the subset that all of gfx9 has.
    int sum = (int)i;
    for (int k = 0; k < 4; k++) sum += (int)(signed char)(a[i] >> 8 * k) * (int)(signed char)(b[i] >> 8 * k);
    out[i] = sum;
#elif defined(__gfx90a__) || defined(__gfx942__) || defined(__gfx1030__) || defined(__gfx10_3_generic__)
    out[i] = __builtin_amdgcn_sdot4((int)a[i], (int)b[i], (int)i, false);
#else
    out[i] = __builtin_amdgcn_sudot4(true, (int)a[i], true, (int)b[i], (int)i, false);
#endif
}

// Work-item and workgroup ids of three dimensions.
GLOBAL void ids(u32 *out) {
    u32 x = __builtin_amdgcn_workitem_id_x(), y = __builtin_amdgcn_workitem_id_y(), z = __builtin_amdgcn_workitem_id_z();
    u32 gx = __builtin_amdgcn_workgroup_id_x(), gy = __builtin_amdgcn_workgroup_id_y(), gz = __builtin_amdgcn_workgroup_id_z();
    u32 sx = __builtin_amdgcn_workgroup_size_x(), sy = __builtin_amdgcn_workgroup_size_y(), sz = __builtin_amdgcn_workgroup_size_z();
    u32 width = __builtin_amdgcn_grid_size_x(), height = __builtin_amdgcn_grid_size_y();
    u32 index = ((gz * sz + z) * height + gy * sy + y) * width + gx * sx + x;
    out[index] = x | y << 4 | z << 8 | gx << 12 | gy << 16 | gz << 20;
}

// A pointer that may be LDS or global: FLAT accesses.
GLOBAL void flat(const u32 *a, u32 *out) {
    SHARED u32 local[256];
    u32 i = global_id();
    local[tid()] = a[i] * 3;
    barrier();
    const u32 *p = (a[i] & 1) ? (const u32 *)&local[tid() ^ 1] : &a[i];
    out[i] = *(const volatile u32 *)p;
}

GLOBAL void out_of_bounds(u32 *out, u32 index) {
    if (tid() == 3) out[index] = 7;
}

GLOBAL void endless(u32 *out) {
    while (__atomic_load_n(out, __ATOMIC_RELAXED) == 0) {}
}

GLOBAL void trap(u32 *out) {
    if (tid() == 0) out[0] = 1;
    __builtin_trap();
}

// Eight independent multiply-adds a turn, for measuring the executor.
GLOBAL void fma_loop(float *out, u32 turns) {
    float a[8];
    float x = (float)tid() * 0.001f;
    for (u32 k = 0; k < 8; k++) a[k] = (float)k;
    for (u32 i = 0; i < turns; i++) {
        _Pragma("unroll") for (u32 k = 0; k < 8; k++) a[k] = __builtin_fmaf(a[k], x, 0.5f);
    }
    float sum = 0;
    for (u32 k = 0; k < 8; k++) sum += a[k];
    out[tid()] = sum;
}

// c = a·b of n×n matrices (n a multiple of 64), a tile of 64×64 for a workgroup of 256: each work-item makes 4×4
// results from two strips in LDS. What an emulator's speed is measured on.
GLOBAL void tiled_product(const float *a, const float *b, float *c, u32 n) {
    SHARED static float left[16][64], right[16][64];
    u32 x = tid() % 16, y = tid() / 16;
    u32 tiles = n / 64, row = group() / tiles * 64, column = group() % tiles * 64;
    float sums[4][4] = {};
    for (u32 first = 0; first < n; first += 16) {
        for (u32 i = 0; i < 4; i++) {
            u32 at = tid() + 256 * i;
            left[at % 16][at / 16] = a[(row + at / 16) * n + first + at % 16];
            right[at / 64][at % 64] = b[(first + at / 64) * n + column + at % 64];
        }
        barrier();
        for (u32 k = 0; k < 16; k++)
            for (u32 i = 0; i < 4; i++)
                for (u32 j = 0; j < 4; j++)
                    sums[i][j] = __builtin_fmaf(left[k][4 * y + i], right[k][4 * x + j], sums[i][j]);
        barrier();
    }
    for (u32 i = 0; i < 4; i++)
        for (u32 j = 0; j < 4; j++) c[(row + 4 * y + i) * n + column + 4 * x + j] = sums[i][j];
}
