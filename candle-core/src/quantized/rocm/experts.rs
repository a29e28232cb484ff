//! Mixtures of experts: each row of activations with the weights of an expert that the device picked.
//!
//! The numbers of the experts lie on the device, so the host cannot check them before the launch. The kernels do: a
//! row whose expert does not exist becomes NaN and is reported to the backend (rocm_backend/fault.rs), whose next call
//! that waits for the device returns it as an error. No result reaches the host before that.
use super::own::{Activations, MOST_GRID_Y, WARPS, WARP_PER_ROW};
use super::{types, QRocmStorage};
use crate::backend::BackendStorage;
use crate::quantized::{GgmlDType, QStorage, QTensor};
use crate::rocm_backend::hip::{DevicePtr, KernelArg};
use crate::rocm_backend::{kernel_suffix, kernels, FaultReport, FaultyOp};
use crate::{DType, Layout, Result, RocmDevice, RocmStorage, Shape};

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

/// What the tasks of a launch are; counts and sizes are checked against each other by the callers.
struct Plan {
    tasks: Tasks,
    n: usize,
    k: usize,
    /// Rows of activations.
    inputs: usize,
}

impl Plan {
    /// Enqueues the kernel for quantized or dense weights. The result is f32 for quantized weights, else in the type
    /// of x.
    fn run(
        &self,
        device: &RocmDevice,
        weights: DevicePtr,
        dtype: GgmlDType,
        x: DevicePtr,
        x_dtype: DType,
    ) -> Result<RocmStorage> {
        let op = "mixture of experts";
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
        let activations;
        let (launch, x, k) = match (row.own, row.dense) {
            (Some(name), _) => {
                let product = &kernels::QUANTIZED_PRODUCT;
                activations = Activations::of(device, x, x_dtype, self.inputs * self.k)?;
                let launch = device.launch(product, "moe", name, "")?;
                (launch, activations.ptr(), self.k / super::own::SEGMENT)
            }
            (None, Some(dense)) => {
                let (w_name, x_name) = (kernel_suffix(dense, op)?, kernel_suffix(x_dtype, op)?);
                let launch =
                    device.launch(&kernels::QUANTIZED_DENSE, "dense_moe", w_name, x_name)?;
                (launch, x, self.k)
            }
            (None, None) => crate::bail!("{op}: {dtype:?} has no kernel"),
        };
        let launch = launch.arg(weights).arg(x).arg(out.ptr_at(0));
        let launch = launch
            .arg(self.tasks)
            .int("rows of the weights", self.n)?
            .int("k", k)?;
        let groups = self.n.div_ceil(WARPS as usize) as u32;
        let grid = [groups, count.min(MOST_GRID_Y) as u32, 1];
        // SAFETY: the kernel checks each expert and row against the counts in `tasks`; those were checked against the
        // weights, x, and the buffers that `tasks` names.
        unsafe { launch.geometry(grid, WARP_PER_ROW).run() }?;
        Ok(out)
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
    let x_ptr = x.expect_dtype(DType::F32, op)?.contiguous_ptr(x_l, op)?;
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
    let out = plan.run(w.device(), w.ptr(), w.dtype, x_ptr, DType::F32)?;
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
    let x_ptr = x.contiguous_ptr(x_l, op)?;
    let out = plan.run(w.device(), w.ptr(), w.dtype, x_ptr, x_dtype(x, op)?)?;
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
    let out = plan.run(x.device(), w_ptr, ggml, x.contiguous_ptr(x_l, op)?, dtype)?;
    Ok((out, Shape::from((plan.tasks.count as usize, plan.n))))
}

fn x_dtype(x: &RocmStorage, op: &'static str) -> Result<DType> {
    match x.dtype() {
        dtype @ (DType::F32 | DType::F16 | DType::BF16) => Ok(dtype),
        dtype => Err(crate::rocm_backend::RocmError::UnsupportedDType { dtype, op }.into()),
    }
}
