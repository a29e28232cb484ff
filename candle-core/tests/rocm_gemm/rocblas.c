// Stands in for rocBLAS where the device is emulated: device memory is host memory there, so a plain loop computes the
// product. It follows AMD's reference ("rocBLAS API Reference", rocblas_gemm_strided_batched_ex): column-major,
// D = alpha op(A) op(B) + beta C, the factors in the type of the sums. With ROCBLAS_STAND_IN_LOG it writes a line a call.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { F16 = 150, F32 = 151, F64 = 152, BF16 = 168 };
enum { NONE = 111, TRANSPOSE = 112 };

static double from_half(uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double value = exponent == 0 ? fraction * 0x1p-24 : (1024 + fraction) * 0x1p-25 * (double)(1u << exponent);
    return bits & 0x8000 ? -value : value;
}

static double load(const void *at, int64_t i, uint32_t type) {
    if (type == F64) return ((const double *)at)[i];
    if (type == F32) return ((const float *)at)[i];
    const uint16_t bits = ((const uint16_t *)at)[i];
    if (type == F16) return from_half(bits);
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
}

// The nearest of all 65536 halves would be slow but plain; narrowing by bisection over the ordered codes is as plain.
static uint16_t to_narrow(double value, uint32_t type) {
    const double magnitude = value < 0 ? -value : value;
    uint16_t low = 0, high = type == F16 ? 0x7bff : 0x7f7f;
    while (high - low > 1) {
        const uint16_t middle = (uint16_t)((low + high) / 2);
        if (load(&middle, 0, type) <= magnitude) low = middle;
        else high = middle;
    }
    const double below = magnitude - load(&low, 0, type), above = load(&high, 0, type) - magnitude;
    const uint16_t nearest = below < above || (below == above && low % 2 == 0) ? low : high;
    return nearest | (value < 0 ? 0x8000 : 0);
}

static void store(void *at, int64_t i, uint32_t type, double value) {
    if (type == F64) ((double *)at)[i] = value;
    else if (type == F32) ((float *)at)[i] = (float)value;
    else ((uint16_t *)at)[i] = to_narrow(value, type);
}

static int handle;

uint32_t rocblas_create_handle(void **out) {
    *out = &handle;
    return 0;
}
uint32_t rocblas_destroy_handle(void *used) { return used == &handle ? 0 : 1; }
uint32_t rocblas_set_stream(void *used, void *stream) { return used == &handle && stream ? 0 : 1; }

uint32_t rocblas_gemm_strided_batched_ex(void *used, uint32_t trans_a, uint32_t trans_b, int m, int n, int k,
                                         const void *alpha, const void *a, uint32_t a_type, int lda, int64_t stride_a,
                                         const void *b, uint32_t b_type, int ldb, int64_t stride_b, const void *beta,
                                         const void *c, uint32_t c_type, int ldc, int64_t stride_c, void *d,
                                         uint32_t d_type, int ldd, int64_t stride_d, int batches, uint32_t compute,
                                         uint32_t algorithm, int32_t solution, uint32_t flags) {
    if (used != &handle || c != d || c_type != d_type || ldc != ldd || stride_c != stride_d) return 11;
    if (algorithm || solution || flags || (compute != F32 && compute != F64)) return 11;
    // rocBLAS refuses leading dimensions shorter than a column (rocblas_status_invalid_size).
    if (lda < (trans_a == NONE ? m : k) || ldb < (trans_b == NONE ? k : n) || ldd < m) return 4;
    // A library that works on the host has to wait for what the device was given before.
    void *hip = dlopen(getenv("CANDLE_HIP_LIBRARY"), RTLD_NOW | RTLD_NOLOAD);
    int (*wait)(void) = hip ? (int (*)(void))dlsym(hip, "hipDeviceSynchronize") : NULL;
    if (!wait || wait() != 0) return 6;
    const double by = load(alpha, 0, compute), keep = load(beta, 0, compute);
    for (int64_t batch = 0; batch < batches; ++batch)
        for (int64_t column = 0; column < n; ++column)
            for (int64_t row = 0; row < m; ++row) {
                double sum = 0;
                for (int64_t i = 0; i < k; ++i) {
                    const int64_t at_a = trans_a == NONE ? row + i * lda : i + row * lda;
                    const int64_t at_b = trans_b == NONE ? i + column * ldb : column + i * ldb;
                    sum += load(a, batch * stride_a + at_a, a_type) * load(b, batch * stride_b + at_b, b_type);
                }
                const int64_t at = batch * stride_d + row + column * ldd;
                store(d, at, d_type, by * sum + (keep == 0 ? 0 : keep * load(d, at, d_type)));
            }
    const char *log = getenv("ROCBLAS_STAND_IN_LOG");
    FILE *file = log ? fopen(log, "a") : NULL;
    if (file) {
        fprintf(file, "gemm %dx%dx%d\n", m, n, k);
        fclose(file);
    }
    return 0;
}
