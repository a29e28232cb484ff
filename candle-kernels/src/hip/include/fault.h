// What a kernel does with input that only it can see to be bad: an index out of range, a division by zero. It leaves
// the element out and reports the first such case of the device; the host turns the report into an error at the next
// synchronisation (rocm_backend/fault.rs). A kernel that finds nothing wrong reads and writes nothing for it.
#pragma once

#include "portable.h"

#if defined(__HIP__)
#include "compat/atomics.h"
#endif

/// In pinned host memory. `op` is written last and not zero.
struct FaultRecord {
    int64_t index;
    uint64_t size;
    uint64_t op;
};

/// Passed by value. `claimed` lies in device memory: the thread that changes it from 0 to 1 writes the record.
struct FaultReport {
    uint32_t *claimed;
    FaultRecord *record;
    /// Which operation is running; the host knows its name.
    uint64_t op;

    __device__ __forceinline__ void raise(int64_t index, uint64_t size) const {
        if (atomicCAS(claimed, 0u, 1u) != 0u) return;
        record->index = index;
        record->size = size;
        __threadfence();
        record->op = op;
    }
};
