// Kernels for the tests of the C ABI. No HIP header: the attributes are all that is needed.
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __constant__ __attribute__((constant))
#define __shared__ __attribute__((shared))

typedef unsigned int u32;
typedef unsigned long u64;

// A variable with a pointer to it: the pointer needs a relocation at load time.
extern "C" __device__ u32 counter = 7;
extern "C" __device__ u32 *counter_address = &counter;
// A constant variable lies in .data (the host may set it), a const one in .rodata.
extern "C" __attribute__((used)) __device__ const u32 fixed[4] = {1, 2, 3, 4};
extern "C" __constant__ float factors[4] = {1.0f, 2.0f, 4.0f, 8.0f};

static __device__ u32 global_x() {
  return __builtin_amdgcn_workgroup_id_x() * __builtin_amdgcn_workgroup_size_x() +
         __builtin_amdgcn_workitem_id_x();
}

extern "C" __global__ void vadd(const float *a, const float *b, float *out, u32 n) {
  u32 i = global_x();
  if (i < n) out[i] = a[i] + b[i];
}

// Arguments of every size, to check packing: out[0..5].
extern "C" __global__ void mixed(unsigned char a, unsigned short b, u32 c, u64 d, float e, u64 *out) {
  if (global_x() == 0) {
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
    out[4] = (u64)e;
  }
}

// What a kernel can learn about its launch, from the implicit arguments and the dispatch packet.
extern "C" __global__ void geometry(u32 *out) {
  if (global_x() != 0 || __builtin_amdgcn_workgroup_id_y() != 0 || __builtin_amdgcn_workgroup_id_z() != 0 ||
      __builtin_amdgcn_workitem_id_y() != 0 || __builtin_amdgcn_workitem_id_z() != 0)
    return;
  const __attribute__((address_space(4))) u32 *implicit =
      (const __attribute__((address_space(4))) u32 *)__builtin_amdgcn_implicitarg_ptr();
  const __attribute__((address_space(4))) unsigned short *halves =
      (const __attribute__((address_space(4))) unsigned short *)implicit;
  const __attribute__((address_space(4))) u32 *packet =
      (const __attribute__((address_space(4))) u32 *)__builtin_amdgcn_dispatch_ptr();
  out[0] = implicit[0];  // hidden_block_count_x, _y, _z
  out[1] = implicit[1];
  out[2] = implicit[2];
  out[3] = halves[6];    // hidden_group_size_x, _y, _z
  out[4] = halves[7];
  out[5] = halves[8];
  out[6] = halves[32];   // hidden_grid_dims
  out[7] = packet[1] & 0xffff;   // workgroup_size_x
  out[8] = packet[3];    // grid_size_x, in work-items
  out[9] = packet[4];
  out[10] = packet[5];
  out[11] = packet[7];   // group_segment_size
}

extern "C" __global__ void count(u32 *out) {
  if (global_x() == 0) {
    *counter_address += 1;
    out[0] = counter;
    out[1] = (u32)factors[3];
  }
}

extern "C" __global__ void store_at(u32 *out, u32 index) {
  if (global_x() == 0) out[index] = 1;
}

extern "C" __global__ void load_at(const u32 *in, u32 *out) {
  u32 i = global_x();
  out[i] = in[i];
}

extern "C" __global__ __attribute__((amdgpu_flat_work_group_size(1, 64))) void small_blocks(u32 *out) {
  out[global_x()] = 1;
}

extern "C" __global__ void own_lds(u32 *out) {
  __shared__ u32 tile[8192];
  tile[__builtin_amdgcn_workitem_id_x()] = 1;
  __builtin_amdgcn_s_barrier();
  out[global_x()] = tile[0];
}

extern "C" __global__ void trap(void) { __builtin_trap(); }

extern "C" __global__ void nothing(void) {}
