//! Mixtures of experts: each row of activations with the weights of an expert that the device picked.
//!
//! The numbers of the experts lie on the device, so the host cannot check them before the launch. The kernels do: a
//! row whose expert does not exist becomes NaN and is reported to the backend (rocm_backend/fault.rs), whose next call
//! that waits for the device returns it as an error. No result reaches the host before that.
//!
//! Few tasks of an expert are rows of a vector kernel; many are sorted by expert on the device and multiplied by tiles, so
//! that the weights are read and unpacked once for all of a tile.
use super::crossover::crossover;
use super::dense::experts_tile;
use super::own::{activation_bytes, Activations, Product, MOST_GRID_Y, SEGMENT, WARPS, WORKGROUP};
use super::tile::{Tile, MOST_K, SMALL};
use super::{types, QRocmStorage};
use crate::backend::BackendStorage;
use crate::quantized::{GgmlDType, QStorage, QTensor};
use crate::rocm_backend::hip::{DevicePtr, KernelArg};
use crate::rocm_backend::{
    kernel_suffix, kernels, matmul, FaultReport, FaultyOp, Launch, RocmBuffer,
};
use crate::{DType, Layout, Result, RocmDevice, RocmStorage, Shape};
use kernels::gemm::{Problem, Tiles};

/// `Tasks` of experts.h, byte for byte.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Tasks {
    experts: u64,
    outputs: u64,
    scales: u64,
    fault: FaultReport,
    count: u32,
    expert_count: u32,
    shared: u32,
    padding: u32,
}
const _: () = assert!(size_of::<Tasks>() == 64);

// SAFETY: `repr(C)` without padding between its members, laid out as the kernels' struct.
unsafe impl KernelArg for Tasks {}

/// The most experts that moe_plan counts: `MOST_PLANNED_EXPERTS` of experts.h.
pub(super) const MOST_PLANNED_EXPERTS: u32 = 1024;
/// `PLAN_THREADS` of experts.h.
const PLAN_THREADS: u32 = 256;
/// Bytes of `ExpertGroup` of experts.h.
const GROUP: usize = 12;

/// `ExpertPlan` of experts.h, byte for byte.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct ExpertPlan {
    order: u64,
    groups: u64,
    most_groups: u32,
    padding: u32,
}
const _: () = assert!(size_of::<ExpertPlan>() == 24);

// SAFETY: `repr(C)` without padding between its members, laid out as the kernels' struct.
unsafe impl KernelArg for ExpertPlan {}

/// The tasks of a launch sorted by expert, in groups for the tiles.
struct Sorted {
    plan: ExpertPlan,
    _buffer: RocmBuffer,
}

/// What the tasks of a launch are; counts and sizes are checked against each other by the callers.
struct Plan {
    tasks: Tasks,
    n: usize,
    k: usize,
    /// Rows of activations.
    inputs: usize,
}

impl Plan {
    /// Enqueues the kernel for quantized or dense weights and the rows of `x` from element `start` on. The result is f32
    /// for quantized weights, else in the type of x.
    fn run(
        &self,
        device: &RocmDevice,
        weights: DevicePtr,
        dtype: GgmlDType,
        x: &RocmStorage,
        start: usize,
    ) -> Result<RocmStorage> {
        let op = "mixture of experts";
        let x_dtype = x.dtype();
        let count = self.tasks.count as usize;
        let row = types::row(dtype);
        let out_dtype = if row.own.is_some() {
            DType::F32
        } else {
            x_dtype
        };
        let out = RocmStorage::uninit(device, count * self.n, out_dtype)?;
        if count * self.n == 0 {
            return Ok(out);
        }
        match (row.own, row.dense) {
            (Some(name), _) => {
                let x = Activations::of(x, start, self.inputs, self.k)?;
                self.run_quantized(name, weights, x.ptr(), &out)?;
            }
            (None, Some(dense)) => {
                let names = [kernel_suffix(dense, op)?, kernel_suffix(x_dtype, op)?];
                self.run_dense(names, weights, x.ptr_at(start), &out)?;
            }
            (None, None) => crate::bail!("{op}: {dtype:?} has no kernel"),
        }
        Ok(out)
    }

    /// Weights of the quantized type `name`, activations quantized.
    fn run_quantized(
        &self,
        name: &'static str,
        weights: DevicePtr,
        x: DevicePtr,
        out: &RocmStorage,
    ) -> Result<()> {
        let device = out.device();
        // The tiles count the bytes of activations, and of their rows of the weights, in 32 bits.
        let fits = activation_bytes(self.inputs, self.k) <= u32::MAX as usize && self.k <= MOST_K;
        let sorted = match fits && self.has(crossover(device).tasks_per_expert) {
            true => Some(self.sort(device, &SMALL, out)?),
            false => None,
        };
        let launch = match sorted {
            Some(_) => device.launch(&kernels::QUANTIZED_TILE, "moe_tile", name, "")?,
            None => device.launch(&kernels::QUANTIZED_PRODUCT, "moe", name, "")?,
        };
        let launch = self.arguments(
            launch,
            [weights, x, out.ptr_at(0)],
            &sorted,
            self.k / SEGMENT,
        )?;
        let launch = match &sorted {
            Some(sorted) => {
                let groups = sorted.plan.most_groups as usize;
                SMALL.grid(launch, self.n.div_ceil(SMALL.rows), groups)
            }
            None => {
                let rows = self.n.div_ceil(WARPS as usize);
                launch.geometry([rows as u32, self.task_rows(), 1], WORKGROUP)
            }
        };
        // SAFETY: the kernel checks each expert and row against the counts in `tasks` (for tiles moe_plan did); those
        // were checked against the weights, x, and the buffers that `tasks` names.
        unsafe { launch.run() }
    }

    /// Weights and activations of the float types `names`.
    fn run_dense(
        &self,
        names: [&'static str; 2],
        weights: DevicePtr,
        x: DevicePtr,
        out: &RocmStorage,
    ) -> Result<()> {
        let device = out.device();
        let tile = experts_tile(self.tasks.count as usize, self.tasks.expert_count as usize);
        let [same_half, others] = crossover(device).dense_tasks_per_expert;
        let from = match names[0] == names[1] && names[0] != "f32" {
            true => same_half,
            false => others,
        };
        let sorted = match self.has(from) {
            true => Some(self.sort(device, tile, out)?),
            false => None,
        };
        let kernel = sorted.as_ref().map_or("dense_moe", |_| tile.kernel);
        let launch = device.launch(&kernels::QUANTIZED_DENSE, kernel, names[0], names[1])?;
        let launch = self.arguments(launch, [weights, x, out.ptr_at(0)], &sorted, self.k)?;
        let launch = match &sorted {
            Some(sorted) => {
                // Every group has workgroups of its own.
                let groups = sorted.plan.most_groups as usize;
                let layers = groups.div_ceil(MOST_GRID_Y);
                let grid = [self.n.div_ceil(tile.rows), groups.div_ceil(layers), layers];
                launch.geometry(grid.map(|v| v as u32), [tile.threads, 1, 1])
            }
            None => {
                // As many products of one row each.
                let row = Product {
                    rows: 1,
                    n: self.n,
                    k: self.k,
                };
                let batches = self.tasks.count as usize;
                let rows = Problem {
                    batches,
                    ..row.dense()
                };
                let Some(plan) = matmul::plan(&rows, Tiles::OfTwoTypes)? else {
                    return Ok(());
                };
                let launch = launch.arg(plan.args.splits);
                launch.geometry([plan.grid[0], self.task_rows(), 1], plan.block)
            }
        };
        // SAFETY: as for quantized weights.
        unsafe { launch.run() }
    }

    /// What every kernel is given: weights, activations and result, the tasks, n and k.
    fn arguments<'a>(
        &self,
        launch: Launch<'a>,
        operands: [DevicePtr; 3],
        sorted: &Option<Sorted>,
        k: usize,
    ) -> Result<Launch<'a>> {
        let launch = operands.into_iter().fold(launch, Launch::arg);
        let launch = launch.arg(self.tasks);
        let launch = match sorted {
            Some(sorted) => launch.arg(sorted.plan),
            None => launch,
        };
        launch.int("rows of the weights", self.n)?.int("k", k)
    }

    /// Rows of a grid whose workgroups walk over the tasks.
    fn task_rows(&self) -> u32 {
        self.tasks.count.min(MOST_GRID_Y as u32)
    }

    /// Whether there are so many tasks of an expert, on average, and no more experts than moe_plan counts.
    fn has(&self, tasks_per_expert: usize) -> bool {
        let experts = self.tasks.expert_count;
        let enough = self.tasks.count as usize >= experts as usize * tasks_per_expert;
        experts <= MOST_PLANNED_EXPERTS && enough
    }

    /// Enqueues the sorting of the tasks. The result's rows of bad tasks become NaN.
    fn sort(&self, device: &RocmDevice, tile: &Tile, out: &RocmStorage) -> Result<Sorted> {
        let (count, experts) = (self.tasks.count as usize, self.tasks.expert_count as usize);
        // Each expert's last group may be part of a tile.
        let groups = count.min(count / tile.columns + experts);
        let buffer = device.allocate(count * size_of::<u32>() + groups * GROUP)?;
        let plan = ExpertPlan {
            order: buffer.ptr().as_raw(),
            groups: buffer.ptr().offset(count * size_of::<u32>()).as_raw(),
            most_groups: word("groups of tasks", groups)?,
            padding: 0,
        };
        let x_name = kernel_suffix(out.dtype(), "mixture of experts")?;
        let launch = device.launch(&kernels::QUANTIZED_DENSE, "moe_plan", x_name, "")?;
        let launch = launch.arg(out.ptr_at(0)).arg(self.tasks).arg(plan);
        let launch = launch
            .int("rows of the weights", self.n)?
            .int("columns of a tile", tile.columns)?;
        let launch = launch.geometry([1, 1, 1], [PLAN_THREADS, 1, 1]);
        // SAFETY: the buffer holds a number for each task and the most groups there can be; the kernel writes NaN into
        // whole rows of the result only.
        unsafe { launch.run() }?;
        Ok(Sorted {
            plan,
            _buffer: buffer,
        })
    }
}

fn word(what: &str, value: usize) -> Result<u32> {
    // The kernels count in 32 bits and candle's launches in signed ones.
    match u32::try_from(value) {
        Ok(v) if v <= i32::MAX as u32 => Ok(v),
        _ => crate::bail!(
            "mixture of experts: {what} is {value}, more than {}",
            i32::MAX
        ),
    }
}

/// See [`QRocmStorage::indexed_moe_forward`].
pub(super) fn indexed(
    w: &QRocmStorage,
    shape: &Shape,
    x: &RocmStorage,
    x_l: &Layout,
    ids: &RocmStorage,
    ids_l: &Layout,
) -> Result<(RocmStorage, Shape)> {
    let op = "indexed_moe_forward";
    let (experts, n, k) = shape.dims3()?;
    let (batch, inputs, x_k) = x_l.shape().dims3()?;
    let (ids_batch, picked) = ids_l.shape().dims2()?;
    if x_k != k
        || ids_batch != batch
        || (inputs != 1 && inputs != picked)
        || !k.is_multiple_of(w.dtype.block_size())
    {
        let (x, ids) = (x_l.shape(), ids_l.shape());
        crate::bail!("{op}: input {x:?} and ids {ids:?} do not fit weights of shape {shape:?}")
    }
    w.expect_elements(experts * n * k, op)?;
    let x = x.expect_dtype(DType::F32, op)?;
    x.contiguous_ptr(x_l, op)?;
    let ids_ptr = ids
        .expect_dtype(DType::U32, op)?
        .contiguous_ptr(ids_l, op)?;
    let plan = Plan {
        tasks: Tasks {
            experts: ids_ptr.as_raw(),
            outputs: 0,
            scales: 0,
            fault: w.device().fault_report(FaultyOp::Experts)?,
            count: word("tokens × experts per token", batch * picked)?,
            expert_count: word("experts", experts)?,
            shared: if inputs == 1 {
                word("experts per token", picked)?.max(1)
            } else {
                1
            },
            padding: 0,
        },
        n,
        k,
        inputs: batch * inputs,
    };
    let out = plan.run(w.device(), w.ptr(), w.dtype, x, x_l.start_offset())?;
    Ok((out, Shape::from((batch, picked, n))))
}

/// Tokens sorted by expert, as `candle_nn::moe` hands them over. All are contiguous.
pub struct SortedTokens<'a> {
    /// For each task the row of the result, u32. Each row has one task.
    pub rows: (&'a RocmStorage, &'a Layout),
    /// For each task its expert, u32.
    pub experts: (&'a RocmStorage, &'a Layout),
    /// By row of the result, what it is multiplied with, f32. Without it each row of activations is the input of
    /// `per_token` successive rows of the result; with it of one.
    pub weights: Option<(&'a RocmStorage, &'a Layout)>,
    /// Experts of a token, when there are no `weights`.
    pub per_token: usize,
}

impl SortedTokens<'_> {
    /// The plan for activations `[inputs, k]` and weights `[experts, n, k]`.
    fn plan(
        &self,
        device: &RocmDevice,
        weights: &Shape,
        x: &Shape,
        op: &'static str,
    ) -> Result<Plan> {
        let (experts, n, k) = weights.dims3()?;
        let (inputs, x_k) = x.dims2()?;
        if x_k != k {
            crate::bail!("{op}: the input {x:?} does not fit weights of shape {weights:?}")
        }
        if self.per_token == 0 {
            crate::bail!("{op}: no expert per token")
        }
        let shared = match self.weights {
            Some(_) => 1,
            None => self.per_token,
        };
        let count = inputs * shared;
        let table = |what: &str, table: (&RocmStorage, &Layout), dtype| -> Result<u64> {
            let found = table.1.shape().elem_count();
            if found != count {
                crate::bail!("{op}: {what} has {found} elements, {count} are wanted")
            }
            let storage = table.0.expect_dtype(dtype, op)?;
            Ok(storage.contiguous_ptr(table.1, op)?.as_raw())
        };
        let tasks = Tasks {
            experts: table("experts_ids", self.experts, DType::U32)?,
            outputs: table("sorted_token_ids", self.rows, DType::U32)?,
            scales: match self.weights {
                Some(weights) => table("topk_weights", weights, DType::F32)?,
                None => 0,
            },
            fault: device.fault_report(FaultyOp::Experts)?,
            count: word("rows of the result", count)?,
            expert_count: word("experts", experts)?,
            shared: word("experts per token", shared)?,
            padding: 0,
        };
        Ok(Plan {
            tasks,
            n,
            k,
            inputs,
        })
    }
}

/// `x` `[inputs, k]` in f32, f16 or bf16, contiguous, times the experts' transposed weights `[experts, n, k]`, as
/// `tokens` pairs them: `[rows, n]` in f32.
///
/// # Errors
/// Sizes and types that do not fit. A bad expert is an error of the next call that waits for the device.
pub fn moe_gemm_gguf(
    weights: &QTensor,
    x: &RocmStorage,
    x_l: &Layout,
    tokens: &SortedTokens<'_>,
) -> Result<(RocmStorage, Shape)> {
    let op = "moe_gemm_gguf";
    let QStorage::Rocm(w) = &weights.storage else {
        crate::bail!(
            "{op}: the input is on rocm, the weights are on {:?}",
            weights.device()
        )
    };
    let plan = tokens.plan(w.device(), &weights.shape, x_l.shape(), op)?;
    x_dtype(x, op)?;
    x.contiguous_ptr(x_l, op)?;
    let out = plan.run(w.device(), w.ptr(), w.dtype, x, x_l.start_offset())?;
    let shape = Shape::from((plan.tasks.count as usize, plan.n));
    match types::row(w.dtype).own {
        Some(_) => Ok((out, shape)),
        None => {
            let out = out.to_dtype(&Layout::contiguous(&shape), DType::F32)?;
            Ok((out, shape))
        }
    }
}

/// As [`moe_gemm_gguf`] with dense weights `[experts, n, k]` of the type of `x`, f16 or bf16 (f32 works too); the
/// result has this type.
///
/// # Errors
/// Shapes that do not fit, a layout that is not contiguous, another type: as the CPU and CUDA say it.
pub fn moe_gemm(
    weights: &RocmStorage,
    weights_l: &Layout,
    x: &RocmStorage,
    x_l: &Layout,
    tokens: &SortedTokens<'_>,
) -> Result<(RocmStorage, Shape)> {
    let op = "moe_gemm";
    let plan = tokens.plan(x.device(), weights_l.shape(), x_l.shape(), op)?;
    let dtype = x_dtype(x, op)?;
    let w_ptr = weights
        .expect_dtype(dtype, op)?
        .contiguous_ptr(weights_l, op)?;
    let ggml = match dtype {
        DType::F16 => GgmlDType::F16,
        DType::BF16 => GgmlDType::BF16,
        _ => GgmlDType::F32,
    };
    x.contiguous_ptr(x_l, op)?;
    let out = plan.run(x.device(), w_ptr, ggml, x, x_l.start_offset())?;
    Ok((out, Shape::from((plan.tasks.count as usize, plan.n))))
}

fn x_dtype(x: &RocmStorage, op: &'static str) -> Result<DType> {
    match x.dtype() {
        dtype @ (DType::F32 | DType::F16 | DType::BF16) => Ok(dtype),
        dtype => Err(crate::rocm_backend::RocmError::UnsupportedDType { dtype, op }.into()),
    }
}
