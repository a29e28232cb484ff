// A mixture of experts as a list of tasks: a row of activations, the expert that multiplies it, the row of the result.
#pragma once

#include "fault.h"

/// One task, found.
struct Task {
    unsigned expert, input, output;
    float scale;
};

/// A task whose expert is known.
struct PlannedLine {
    unsigned input, output;
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

    /// A task that was found before.
    __device__ __forceinline__ PlannedLine planned(unsigned number) const {
        const unsigned output = outputs ? outputs[number] : number;
        return PlannedLine{output / shared, output, scales ? scales[output] : 1.0f};
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

// ---- tasks sorted by expert, for the kernels that multiply by tiles -----------------------------------------------

/// Tasks that a tile multiplies with one expert: those at `first`, `first + 1`, ... of the order. None: there are no
/// further groups.
struct ExpertGroup {
    uint32_t expert, first, count;
};

/// Device memory for it, by value: `ExpertPlan` of candle-core/src/quantized/rocm/experts.rs.
struct ExpertPlan {
    /// Numbers of the tasks by expert, of `Tasks::count`.
    uint32_t *order;
    ExpertGroup *groups;
    unsigned most_groups;
    unsigned padding;
};
static_assert(sizeof(ExpertPlan) == 24, "the host passes 24 bytes");

/// The most experts that a plan counts.
constexpr unsigned MOST_PLANNED_EXPERTS = 1024;
constexpr unsigned PLAN_THREADS = 256;

/// Sorts the tasks by expert and cuts each expert's into groups of at most `columns`. One workgroup of PLAN_THREADS;
/// `most_groups` is room enough. Bad tasks are refused and left out.
template <class T>
static __device__ __forceinline__ void plan_experts(T *out, const Tasks &tasks, const ExpertPlan &plan, unsigned n,
                                                    unsigned columns) {
    constexpr unsigned EACH = MOST_PLANNED_EXPERTS / PLAN_THREADS;  // successive experts of a thread
    // By expert its number of tasks, then where the next one goes.
    __shared__ unsigned tasks_of[MOST_PLANNED_EXPERTS];
    // By thread its experts' tasks and groups, then those of all threads before it.
    __shared__ unsigned tasks_before[PLAN_THREADS], groups_before[PLAN_THREADS];
    const unsigned thread = threadIdx.x;

    for (unsigned i = 0; i < EACH; ++i) tasks_of[i * PLAN_THREADS + thread] = 0;
    __syncthreads();
    for (unsigned t = thread; t < tasks.count; t += PLAN_THREADS) {
        Task task;
        if (tasks.find(t, task)) {
            atomicAdd(&tasks_of[task.expert], 1u);
        } else {
            for (unsigned row = 0; row < n; ++row) tasks.refuse(t, task, out, n, row);
        }
    }
    __syncthreads();

    unsigned task_count = 0, group_count = 0;
    for (unsigned i = 0; i < EACH; ++i) {
        const unsigned count = tasks_of[thread * EACH + i];
        task_count += count;
        group_count += (count + columns - 1) / columns;
    }
    tasks_before[thread] = task_count;
    groups_before[thread] = group_count;
    __syncthreads();
    unsigned next_task = 0, next_group = 0, all_groups = 0;
    for (unsigned i = 0; i < PLAN_THREADS; ++i) {
        if (i < thread) {
            next_task += tasks_before[i];
            next_group += groups_before[i];
        }
        all_groups += groups_before[i];
    }
    for (unsigned i = 0; i < EACH; ++i) {
        const unsigned expert = thread * EACH + i, count = tasks_of[expert];
        tasks_of[expert] = next_task;
        for (unsigned done = 0; done < count; done += columns) {
            plan.groups[next_group++] = ExpertGroup{expert, next_task + done, min(columns, count - done)};
        }
        next_task += count;
    }
    for (unsigned i = all_groups + thread; i < plan.most_groups; i += PLAN_THREADS) plan.groups[i] = ExpertGroup{0, 0, 0};
    __syncthreads();

    for (unsigned t = thread; t < tasks.count; t += PLAN_THREADS) {
        Task task;
        if (tasks.find(t, task)) plan.order[atomicAdd(&tasks_of[task.expert], 1u)] = t;
    }
}
