// One kernel per fault that the emulator's checks name, and its correct twin.
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))

static __device__ unsigned item() { return __builtin_amdgcn_workitem_id_x(); }

static __device__ void barrier() {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}

// Each work-item but the first takes the word before its own; `synchronised` says whether a barrier comes before.
extern "C" __global__ void lds_race(unsigned *out, unsigned synchronised) {
    __shared__ volatile unsigned words[256];
    words[item()] = item();
    if (synchronised) barrier();
    out[item()] = words[item() ? item() - 1 : 0];
}

// Each wave reads the first word, then the last wave changes it; a barrier between the two is missing.
extern "C" __global__ void lds_race_after_read(unsigned *out, unsigned synchronised) {
    __shared__ volatile unsigned words[256];
    words[item()] = item();
    barrier();
    unsigned first = words[0];
    if (synchronised) barrier();
    if (item() == 255) words[0] = 7;
    out[item()] = first;
}

// Writes the first `count` words and reads all of them.
extern "C" __global__ void lds_uninitialised(unsigned *out, unsigned count) {
    __shared__ volatile unsigned words[256];
    if (item() < count) words[item()] = item();
    barrier();
    out[item()] = words[item()];
}

// Neighbours in one word, stored by different waves: no race.
extern "C" __global__ void lds_bytes(unsigned *out, unsigned) {
    __shared__ volatile unsigned char bytes[256];
    bytes[(item() & 63) * 4 + item() / 64] = item();
    barrier();
    out[item()] = bytes[item()];
}

// Waves whose number is at least `count` end before the barrier; hardware does not wait for them.
extern "C" __global__ void ended_before_barrier(unsigned *out, unsigned count) {
    __shared__ volatile unsigned words[256];
    if (item() / 64 >= count) return;
    words[item()] = item();
    barrier();
    out[item()] = words[item() ^ 64];
}

// An atomic on an address that is not a multiple of its size: what the hardware traps on.
extern "C" __global__ void misaligned_atomic(unsigned *out, unsigned offset) {
    unsigned *place = (unsigned *)((char *)out + offset);
    __atomic_fetch_add(place, 1u, __ATOMIC_RELAXED);
}

// Copies `count` words from the second buffer.
extern "C" __global__ void copy_words(unsigned *out, const unsigned *in, unsigned count) {
    if (item() < count) out[item()] = in[item()];
}

// Work-items whose number has a bit of `away` stay away from the barrier and go on behind it.
extern "C" __global__ void lanes_around_a_barrier(unsigned *out, unsigned away) {
    __shared__ volatile unsigned words[256];
    words[item()] = item();
    if ((item() & away) == 0) {
        words[item()] = 2 * item();
        barrier();
    }
    out[item()] = words[item()];
}

// Waves below `limit` wait at one barrier, the others at another.
extern "C" __global__ void two_barriers(unsigned *out, unsigned limit) {
    __shared__ volatile unsigned words[256];
    if (__builtin_amdgcn_readfirstlane(item()) < limit) {
        words[item()] = item();
        barrier();
        out[item()] = words[item() ^ 64];
    } else {
        words[item()] = 2 * item();
        barrier();
        out[item()] = words[item()];
    }
}

// Reads or writes (`write`) the word behind the 256 of `out`.
extern "C" __global__ void past_the_end(unsigned *out, unsigned write) {
    if (write) out[item() + 1] = item();
    else out[item()] = *(volatile unsigned *)(out + item() + 1);
}
