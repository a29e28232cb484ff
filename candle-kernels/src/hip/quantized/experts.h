// A mixture of experts as a list of tasks: a row of activations, the expert that multiplies it, the row of the result.
#pragma once

#include "fault.h"

/// One task, found.
struct Task {
    unsigned expert, input, output;
    float scale;
};

/// The tasks as the host hands them over, by value: `Tasks` of candle-core/src/quantized/rocm/experts.rs.
struct Tasks {
    /// The expert of each task.
    const uint32_t *experts;
    /// The row of the result of each task; null: the task's own number.
    const uint32_t *outputs;
    /// By row of the result, what it is multiplied with; null: 1.
    const float *scales;
    FaultReport fault;
    unsigned count, expert_count;
    /// Successive rows of the result that share a row of activations.
    unsigned shared;
    unsigned padding;

    /// False when the expert or the row does not exist; `task` then says which were asked for.
    __device__ __forceinline__ bool find(unsigned number, Task &task) const {
        task.expert = experts[number];
        task.output = outputs ? outputs[number] : number;
        if (task.expert >= expert_count || task.output >= count) return false;
        task.input = task.output / shared;
        task.scale = scales ? scales[task.output] : 1.0f;
        return true;
    }

    /// Reports a bad number and leaves NaN, where there is a row for it: never a number that looks right.
    template <class T>
    __device__ __forceinline__ void refuse(unsigned number, const Task &task, T *out, unsigned n, unsigned row) const {
        if (task.expert >= expert_count) {
            fault.raise(task.expert, expert_count);
        } else {
            fault.raise(task.output, count);
        }
        const unsigned output = task.output < count ? task.output : number;
        out[static_cast<size_t>(output) * n + row] = static_cast<T>(NAN);
    }
};
static_assert(sizeof(Tasks) == 64, "the host passes 64 bytes");
