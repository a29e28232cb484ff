//! [`crate::fused`] on AMD GPUs: candle-kernels' fused.hip.
use super::attention::{sdpa_for_product, Scores};
use crate::fused::{Norms, Rotary};
use candle::backend::BackendStorage;
use candle::quantized::rocm::Int8Rows;
use candle::quantized::QMatMul;
use candle::rocm_backend::hip::{DevicePtr, KernelArg};
use candle::rocm_backend::{kernel_suffix, kernels};
use candle::{
    CpuStorage, CustomOp2, CustomOp3, DType, InplaceOp1, Layout, Result, RocmStorage, Shape,
    Storage, Tensor,
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
/// `PLACING_WARPS` of fused.hip, a head each, and the lanes of one.
const PLACING_WARPS: u32 = 8;
const WARP: u32 = 32;
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

pub(super) fn only_on_rocm<T>(op: &str) -> Result<T> {
    candle::bail!("{op}: this kernel is for rocm")
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
    fn name(&self) -> &'static str {
        "silu-mul"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        only_on_rocm(self.name())
    }

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
pub(crate) struct AddRmsNorm<'a> {
    pub(crate) eps: f32,
    /// How the branch is normalised before it is added: the weights, and what is added to its mean square.
    pub(crate) branch_norm: Option<(&'a Tensor, f32)>,
}

impl CustomOp3 for AddRmsNorm<'_> {
    fn name(&self) -> &'static str {
        "add-rms-norm"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        only_on_rocm(self.name())
    }

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

/// `Heads` of fused.hip, byte for byte.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Heads {
    from: u64,
    to: u64,
    /// Weights of a norm, or 0.
    norm: u64,
    /// From batch entry to batch entry, head to head, position to position.
    from_steps: [u64; 3],
    to_steps: [u64; 3],
    heads: u32,
    rotated: u32,
}

/// `Placing` of fused.hip, byte for byte.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Placing {
    tensors: [Heads; 3],
    batches: u32,
    positions: u32,
    width: u32,
    rotary: u32,
    interleaved: u32,
    angles: u32,
    epsilon: f32,
    padding: u32,
    past: u64,
}
const _: () = assert!(size_of::<Heads>() == 80 && size_of::<Placing>() == 280);

// SAFETY: `repr(C)` without padding, laid out as the kernel's struct.
unsafe impl KernelArg for Placing {}

/// Normalises queries and keys where they want it and rotates them by the angles from number `position` on; keys and values go to
/// `kv`, `[2, batch, heads, capacity, width]`, from position `at` on. The result are the queries, in the type of `kv`.
pub(crate) struct Place<'a> {
    pub(crate) rotary: &'a Rotary<'a>,
    pub(crate) position: usize,
    pub(crate) kv: &'a Tensor,
    pub(crate) at: usize,
    /// A u32 on the device that is added to `position` and `at` when the kernel runs.
    pub(crate) past: Option<&'a Tensor>,
}

impl Place<'_> {
    /// The tensor, or a copy where the elements of a head do not lie side by side.
    fn source(x: &Tensor) -> Result<Tensor> {
        match x.stride().last() {
            Some(1) => Ok(x.clone()),
            _ => x.contiguous(),
        }
    }

    /// Places keys and values; the rotated queries are the result.
    pub(crate) fn heads(&self, (q, k, v): (&Tensor, &Tensor, &Tensor)) -> Result<Tensor> {
        Self::source(q)?.apply_op3_no_bwd(&Self::source(k)?, &Self::source(v)?, self)
    }
}

/// The address of a u32 on the device.
fn pointer_to(past: &Tensor) -> Result<DevicePtr> {
    let (storage, layout) = past.storage_and_layout();
    match &*storage {
        Storage::Rocm(storage) => Ok(storage.expect_dtype(DType::U32, "past")?.ptr(layout)),
        _ => candle::bail!("how many positions there are has to stand on rocm"),
    }
}

/// Attention of queries to keys and values that are cached, causal or with a mask in place of that. What a product reads of it
/// is left in int8.
pub(crate) struct Attend<'a> {
    pub(crate) mask: Option<&'a Tensor>,
    pub(crate) scale: f32,
    /// A u32 on the device, how many keys there are before the queries' own when the kernel runs: those of `k` and `v` are then
    /// the most that there can be.
    pub(crate) past: Option<&'a Tensor>,
}

impl CustomOp3 for Attend<'_> {
    fn name(&self) -> &'static str {
        "cached-attention"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        only_on_rocm(self.name())
    }

    fn rocm_fwd(
        &self,
        q: &RocmStorage,
        q_l: &Layout,
        k: &RocmStorage,
        k_l: &Layout,
        v: &RocmStorage,
        v_l: &Layout,
    ) -> Result<(RocmStorage, Shape)> {
        let scores = Scores {
            mask: self.mask,
            causal: self.mask.is_none(),
            scale: self.scale,
            softcapping: 1.0,
        };
        let past = self.past.map_or(Ok(DevicePtr::NULL), pointer_to)?;
        sdpa_for_product((q, q_l), (k, k_l), (v, v_l), &scores, past)
    }
}

/// The launch, with all that is known before the cache is locked.
struct IntoCache<'a> {
    op: &'a Place<'a>,
    placing: Placing,
    /// The type of what comes.
    from: DType,
}

impl CustomOp3 for Place<'_> {
    fn name(&self) -> &'static str {
        "place-heads"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        only_on_rocm(self.name())
    }

    fn rocm_fwd(
        &self,
        q: &RocmStorage,
        q_l: &Layout,
        k: &RocmStorage,
        k_l: &Layout,
        v: &RocmStorage,
        v_l: &Layout,
    ) -> Result<(RocmStorage, Shape)> {
        let op = self.name();
        let (batches, heads, positions, width) = q_l.shape().dims4()?;
        let (_, key_heads, _, _) = k_l.shape().dims4()?;
        let k = k.expect_dtype(q.dtype(), op)?;
        let v = v.expect_dtype(q.dtype(), op)?;
        let (angles, half) = self.rotary.cos.dims2()?;
        let rotary = 2 * half;
        let end = self.position + positions;
        if self.rotary.sin.dims() != [angles, half] || end > angles || rotary > width {
            candle::bail!(
                "{op}: angles {:?} and {:?} do not fit positions {} to {end} of heads of {width}",
                self.rotary.cos.dims(),
                self.rotary.sin.dims(),
                self.position
            )
        }
        let word = |what: &str, value: usize| -> Result<u32> {
            match i32::try_from(value) {
                Ok(v) => Ok(v as u32),
                Err(_) => candle::bail!("{op}: {what} is {value}, more than {}", i32::MAX),
            }
        };
        let most_heads = heads.max(key_heads);
        word(
            "the number of elements",
            batches * most_heads * positions * width,
        )?;
        let held = self.kv.dtype();
        let out = RocmStorage::uninit(q.device(), q_l.shape().elem_count(), held)?;
        let from = |x: &RocmStorage, l: &Layout, rotated: bool| -> Result<Heads> {
            let step = |dim: usize| l.stride()[dim] as u64;
            Ok(Heads {
                from: x.ptr(l).as_raw(),
                from_steps: [step(0), step(1), step(2)],
                heads: word("heads", l.dims()[1])?,
                rotated: rotated.into(),
                ..Heads::default()
            })
        };
        let queries = Heads {
            to: out.ptr_at(0).as_raw(),
            to_steps: [heads * positions * width, positions * width, width].map(|n| n as u64),
            ..from(q, q_l, true)?
        };
        let placing = Placing {
            tensors: [queries, from(k, k_l, true)?, from(v, v_l, false)?],
            batches: word("batch", batches)?,
            positions: word("positions", positions)?,
            width: word("width", width)?,
            rotary: word("rotary", rotary)?,
            interleaved: self.rotary.interleaved.into(),
            angles: 0,
            epsilon: self.rotary.norms.map_or(0.0, |norms| norms.eps),
            padding: 0,
            past: match self.past {
                Some(past) => pointer_to(past)?.as_raw(),
                None => 0,
            },
        };
        let into = [2, batches, key_heads, self.at + positions, width];
        let room = self.kv.dims();
        let fits = room.len() == 5 && {
            let same = [0, 1, 2, 4].iter().all(|&d| room[d] == into[d]);
            same && room[3] >= into[3] && self.kv.is_contiguous()
        };
        if !fits {
            candle::bail!("{op}: a cache of {room:?} has no place for {into:?}")
        }
        if q_l.shape().elem_count() > 0 {
            let (op, from) = (self, q.dtype());
            self.kv.inplace_op1(&IntoCache { op, placing, from })?;
        }
        Ok((out, q_l.shape().clone()))
    }
}

impl InplaceOp1 for IntoCache<'_> {
    fn name(&self) -> &'static str {
        "place-heads"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
        only_on_rocm(self.name())
    }

    fn rocm_fwd(&self, kv: &mut RocmStorage, l: &Layout) -> Result<()> {
        let op = self.name();
        let Place {
            rotary,
            position,
            at,
            ..
        } = *self.op;
        let (_, batches, heads, capacity, width) = l.shape().dims5()?;
        let mut placing = self.placing;
        for which in 0..2 {
            let first = which * batches * heads * capacity * width + at * width;
            let into = &mut placing.tensors[1 + which];
            into.to = kv.ptr_at(l.start_offset() + first).as_raw();
            into.to_steps = [heads * capacity * width, capacity * width, width].map(|n| n as u64);
        }
        let (cos, cos_l) = rotary.cos.storage_and_layout();
        let (sin, sin_l) = rotary.sin.storage_and_layout();
        let (Storage::Rocm(cos), Storage::Rocm(sin)) = (&*cos, &*sin) else {
            candle::bail!("{op}: the queries are on rocm, the angles are not")
        };
        placing.angles = match cos.dtype() {
            DType::F32 => 0,
            DType::F16 => 1,
            DType::BF16 => 2,
            dtype => return Err(candle::Error::UnsupportedDTypeForOp(dtype, op).bt()),
        };
        let sin = sin.expect_dtype(cos.dtype(), op)?;
        let half = placing.rotary as usize / 2;
        let skipped = position * half * cos.dtype().size_in_bytes();
        let (from, to) = match (self.from, kv.dtype()) {
            (from, to) if from == to => (kernel_suffix(to, op)?, ""),
            (DType::F32, to @ (DType::F16 | DType::BF16)) => ("f32", kernel_suffix(to, op)?),
            (from, to) => candle::bail!(
                "{op}: heads in {from:?} for a cache in {to:?}: it holds their own type, or f16 or bf16 of f32"
            ),
        };
        let norms = match rotary.norms {
            Some(Norms { q, k, .. }) => vec![q, k],
            None => Vec::new(),
        };
        let held: Vec<_> = norms.iter().map(|t| t.storage_and_layout()).collect();
        for ((weight, weight_l), heads) in held.iter().zip(&mut placing.tensors) {
            let Storage::Rocm(weight) = &**weight else {
                candle::bail!("{op}: the queries are on rocm, the weights of their norm are not")
            };
            if weight_l.shape().elem_count() != width {
                candle::bail!(
                    "{op}: weights {:?} of a norm do not fit heads of {width}",
                    weight_l.shape()
                )
            }
            let weight = weight.expect_dtype(self.from, op)?;
            heads.norm = weight.contiguous_ptr(weight_l, op)?.as_raw();
        }
        let launch = kv
            .device()
            .launch(&kernels::FUSED, "place_heads", from, to)?;
        let launch = launch
            .arg(placing)
            .arg(cos.contiguous_ptr(cos_l, op)?.offset(skipped))
            .arg(sin.contiguous_ptr(sin_l, op)?.offset(skipped));
        let of_heads = placing.batches as usize * placing.positions as usize;
        let most = placing.tensors.iter().map(|t| t.heads).max().unwrap_or(0);
        let groups = (of_heads * most as usize).div_ceil(PLACING_WARPS as usize) as u32;
        // SAFETY: a warp for each head of the tensor with the most of them; those beyond another's last batch
        // entry do nothing. Sources are read by their strides; queries go to a result of their size, keys and values to
        // positions that `Place` checked against the cache's room, which is borrowed mutably.
        unsafe {
            launch
                .geometry([groups, 3, 1], [WARP, PLACING_WARPS, 1])
                .run()
        }
    }
}
