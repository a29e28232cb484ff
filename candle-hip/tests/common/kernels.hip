// Kernels for tests of candle-hip, free of any header.
// Both compilers' own words for where a thread stands: HIP's by clang, CUDA's by nvcc.
#if defined(__HIP__)
#define DEVICE __attribute__((device))
#define KERNEL extern "C" __attribute__((global)) void

DEVICE inline unsigned global_id() {
    return __builtin_amdgcn_workgroup_id_x() * __builtin_amdgcn_workgroup_size_x() + __builtin_amdgcn_workitem_id_x();
}
#else
#define DEVICE __device__
#define KERNEL extern "C" __global__ void

DEVICE inline unsigned global_id() { return blockIdx.x * blockDim.x + threadIdx.x; }
#endif

DEVICE __attribute__((used)) unsigned counter = 41;

KERNEL scale(float *out, const float *in, float factor, unsigned count) {
    unsigned i = global_id();
    if (i < count) out[i] = in[i] * factor;
}

struct Shape {
    unsigned long long rows;
    unsigned char tag;
    float weight;
};

// Each argument once, after whatever padding C puts before it.
KERNEL arguments(double *out, unsigned char a, unsigned short b, long long c, Shape s, float d, double e, int f) {
    if (global_id() != 0) return;
    out[0] = a;
    out[1] = b;
    out[2] = (double)c;
    out[3] = (double)s.rows;
    out[4] = s.tag;
    out[5] = s.weight;
    out[6] = d;
    out[7] = e;
    out[8] = f;
}

KERNEL increment(unsigned *out) {
    if (global_id() == 0) *out = ++counter;
}
