//! Products, gated activations and norms of [`crate::fused`] on AMD GPUs: candle-kernels' fused.hip.
use super::WARP;
use candle::backend::BackendStorage;
use candle::quantized::rocm::Int8Rows;
use candle::quantized::QMatMul;
use candle::rocm_backend::hip::DevicePtr;
use candle::rocm_backend::{kernel_suffix, kernels};
use candle::{
    CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, RocmStorage, Shape, Storage, Tensor,
};

/// Work-items of a workgroup of element-wise kernels.
pub(super) const BLOCK: u32 = 256;
/// The most work-items that take a row: of a few rows each has the card to itself, while many fill it, and then small
/// workgroups wait less for each other (docs/performance.md).
const MOST_OF_A_ROW: usize = 1024;
const MOST_OF_MANY_ROWS: usize = 256;
const MANY_ROWS: usize = 64;
/// Bytes that a work-item reads at once.
const RUN_BYTES: usize = 16;
/// HIP's smallest limit of a grid in y over all targets; the kernels step over what lies beyond.
pub(super) const MOST_GRID_Y: usize = u16::MAX as usize;

/// Whether the kernels here take such operands: all on rocm and of one type that the kernels have.
pub(crate) fn takes(operands: &[&Tensor]) -> bool {
    let dtype = operands[0].dtype();
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
        && operands
            .iter()
            .all(|x| x.device().is_rocm() && x.dtype() == dtype && Rows::of(x.layout()).is_some())
}

/// The products of `x` as `dtype` in few launches, or `None` where there is no way to.
pub(crate) fn products(
    weights: &[(&QMatMul, Option<&Tensor>)],
    x: &Tensor,
    dtype: DType,
) -> Result<Option<Vec<Tensor>>> {
    let quantized = weights.iter().map(|(w, bias)| match w {
        QMatMul::QTensor(w) => Some((w.as_ref(), *bias)),
        _ => None,
    });
    match quantized.collect::<Option<Vec<_>>>() {
        Some(weights) => candle::quantized::rocm::products_in(&weights, x, dtype),
        None => Ok(None),
    }
}

/// A tensor as rows of its last dimension.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rows {
    rows: usize,
    columns: usize,
    /// Elements from the beginning of a row to that of the next.
    step: usize,
}

impl Rows {
    /// None unless the elements of a row lie side by side and the rows at even distances.
    fn of(l: &Layout) -> Option<Self> {
        let (&columns, outer) = l.dims().split_last()?;
        let (&inner_step, outer_steps) = l.stride().split_last()?;
        if columns > 1 && inner_step != 1 {
            return None;
        }
        let (mut rows, mut step) = (1, columns);
        for (&dim, &stride) in outer.iter().zip(outer_steps).rev() {
            if dim == 1 {
                continue;
            }
            if rows == 1 {
                step = stride;
            } else if stride != rows * step {
                return None;
            }
            rows *= dim;
        }
        Some(Self {
            rows,
            columns,
            step,
        })
    }

    fn of_operand(l: &Layout, op: &'static str) -> Result<Self> {
        match Self::of(l) {
            Some(rows) => Ok(rows),
            None => Err(candle::Error::RequiresContiguous { op }.bt()),
        }
    }
}

/// What a kernel takes for rows that are not wanted in int8.
pub(super) fn address(int8: &Option<Int8Rows>) -> DevicePtr {
    int8.as_ref().map_or(DevicePtr::NULL, Int8Rows::ptr)
}

/// Work-items, in whole warps, for each of `rows` rows.
fn row_threads(rows: usize, columns: usize, dtype: DType) -> u32 {
    let run = RUN_BYTES / dtype.size_in_bytes();
    let runs = match columns.is_multiple_of(run) {
        true => columns / run,
        false => columns,
    };
    let most = match rows < MANY_ROWS {
        true => MOST_OF_A_ROW,
        false => MOST_OF_MANY_ROWS,
    };
    runs.next_multiple_of(WARP as usize).min(most) as u32
}

fn same_shape(a: &Layout, b: &Layout, op: &'static str) -> Result<()> {
    if a.shape() != b.shape() {
        let (lhs, rhs) = (a.shape().clone(), b.shape().clone());
        return Err(candle::Error::ShapeMismatchBinaryOp { lhs, rhs, op }.bt());
    }
    Ok(())
}

/// `silu(gate) * up`.
pub(crate) struct SiluMul;

impl CustomOp2 for SiluMul {
    only_on_rocm!("silu-mul", gate up);

    fn rocm_fwd(
        &self,
        gate: &RocmStorage,
        gate_l: &Layout,
        up: &RocmStorage,
        up_l: &Layout,
    ) -> Result<(RocmStorage, Shape)> {
        let op = self.name();
        same_shape(gate_l, up_l, op)?;
        let up = up.expect_dtype(gate.dtype(), op)?;
        let (of_gate, of_up) = (Rows::of_operand(gate_l, op)?, Rows::of_operand(up_l, op)?);
        let Rows { rows, columns, .. } = of_gate;
        let mut out = RocmStorage::uninit(gate.device(), rows * columns, gate.dtype())?;
        let int8 = Int8Rows::for_rows(gate.device(), rows, columns)?;
        if rows * columns > 0 {
            let suffix = kernel_suffix(gate.dtype(), op)?;
            let launch = gate
                .device()
                .launch(&kernels::FUSED, "silu_mul", suffix, "")?;
            let launch = launch.arg(gate.ptr(gate_l)).arg(up.ptr(up_l));
            let launch = launch.arg(out.ptr_at(0)).arg(address(&int8));
            let launch = launch.int("rows", rows)?;
            let launch = launch
                .int("columns", columns)?
                .arg(of_gate.step as u64)
                .arg(of_up.step as u64);
            let grid = [
                columns.div_ceil(BLOCK as usize) as u32,
                rows.min(MOST_GRID_Y) as u32,
                1,
            ];
            // SAFETY: the kernel reads the elements of both operands by their steps and writes rows × columns, and as many
            // in int8 where there is room for them.
            unsafe { launch.geometry(grid, [BLOCK, 1, 1]).run() }?;
        }
        if let Some(int8) = int8 {
            int8.keep(&mut out, 0);
        }
        Ok((out, gate_l.shape().clone()))
    }
}

/// `x + branch` and that normalised, one behind the other: `[2, ..]`.
struct AddRmsNorm<'a> {
    eps: f32,
    /// How the branch is normalised before it is added: the weights, and what is added to its mean square.
    branch_norm: Option<(&'a Tensor, f32)>,
}

/// `x + branch`, the branch normalised first where it has a norm, and that sum normalised; or `None` where the kernel does not take
/// them. A norm is its weights, and what is added to the mean square.
pub(crate) fn add_rms_norm(
    x: &Tensor,
    branch: &Tensor,
    branch_norm: Option<(&Tensor, f32)>,
    (weight, eps): (&Tensor, f32),
) -> Result<Option<(Tensor, Tensor)>> {
    let of_branch = branch_norm.map_or(weight, |(weight, _)| weight);
    let contiguous = x.is_contiguous() && branch.is_contiguous();
    if !contiguous || !takes(&[x, branch, weight, of_branch]) {
        return Ok(None);
    }
    let both = x.apply_op3_no_bwd(branch, weight, &AddRmsNorm { eps, branch_norm })?;
    Ok(Some((both.get(0)?, both.get(1)?)))
}

impl CustomOp3 for AddRmsNorm<'_> {
    only_on_rocm!("add-rms-norm", x branch weight);

    fn rocm_fwd(
        &self,
        x: &RocmStorage,
        x_l: &Layout,
        branch: &RocmStorage,
        branch_l: &Layout,
        weight: &RocmStorage,
        weight_l: &Layout,
    ) -> Result<(RocmStorage, Shape)> {
        let op = self.name();
        same_shape(x_l, branch_l, op)?;
        let Rows { rows, columns, .. } = Rows::of_operand(x_l, op)?;
        let dtype = x.dtype();
        let weights = |weight: &RocmStorage, l: &Layout| {
            if l.shape().elem_count() != columns {
                candle::bail!("{op}: weights {:?} do not fit rows of {columns}", l.shape())
            }
            weight.expect_dtype(dtype, op)?.contiguous_ptr(l, op)
        };
        let x_ptr = x.contiguous_ptr(x_l, op)?;
        let branch_ptr = branch
            .expect_dtype(dtype, op)?
            .contiguous_ptr(branch_l, op)?;
        let weight_ptr = weights(weight, weight_l)?;
        let branch_norm = self
            .branch_norm
            .map(|(weight, eps)| (weight.storage_and_layout(), eps));
        let branch_norm = match &branch_norm {
            Some(((storage, l), eps)) => match &**storage {
                Storage::Rocm(storage) => Some((weights(storage, l)?, *eps)),
                _ => candle::bail!("{op}: the branch is on rocm, the weights of its norm are not"),
            },
            None => None,
        };
        let count = rows * columns;
        let mut out = RocmStorage::uninit(x.device(), 2 * count, dtype)?;
        let int8 = Int8Rows::for_rows(x.device(), rows, columns)?;
        if count > 0 {
            let suffix = kernel_suffix(dtype, op)?;
            let kernel = match branch_norm {
                None => "add_rms_norm",
                Some(_) => "add_rms_norms",
            };
            let launch = x.device().launch(&kernels::FUSED, kernel, suffix, "")?;
            let launch = launch.arg(x_ptr).arg(branch_ptr);
            let launch = match branch_norm {
                None => launch,
                Some((weight, _)) => launch.arg(weight),
            };
            let launch = launch.arg(weight_ptr);
            let launch = launch.arg(out.ptr_at(0)).arg(out.ptr_at(count));
            let launch = launch.arg(address(&int8)).int("columns", columns)?;
            let launch = match branch_norm {
                None => launch,
                Some((_, eps)) => launch.arg(eps),
            };
            let launch = launch.arg(self.eps);
            let threads = row_threads(rows, columns, dtype);
            // SAFETY: one workgroup a row of contiguous tensors; the result has both halves, and the second one in int8
            // where there is room for it.
            unsafe { launch.groups(rows)?.block([threads, 1, 1]).run() }?;
        }
        if let Some(int8) = int8 {
            int8.keep(&mut out, count);
        }
        Ok((out, Shape::from([&[2], x_l.dims()].concat())))
    }
}
