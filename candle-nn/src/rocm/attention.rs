//! `candle_nn::ops::sdpa` on AMD GPUs.
use candle::backend::BackendStorage;
use candle::quantized::rocm::Int8Rows;
use candle::rocm_backend::hip::{DevicePtr, KernelArg};
use candle::rocm_backend::kernel_suffix;
use candle::rocm_backend::kernels::{self, attention as plans};
use candle::{DType, Layout, Result, RocmStorage, Shape, Storage, Tensor};

const OP: &str = "sdpa";
/// Threads of a workgroup that joins the pieces of a row.
const COMBINING: u32 = 128;

/// How products of q and k become weights, as [`crate::ops::sdpa`] takes it.
pub(crate) struct Scores<'a> {
    pub mask: Option<&'a Tensor>,
    pub causal: bool,
    pub scale: f32,
    pub softcapping: f32,
}

/// `plans::Args`, as a kernel's argument.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Args(plans::Args);

// SAFETY: `plans::Args` is `repr(C)` and, as its own tests hold, laid out like the kernel's struct.
unsafe impl KernelArg for Args {}

/// A tensor as the kernels read it: rows that begin at multiples of 16 bytes, their elements side by side.
struct Operand {
    ptr: DevicePtr,
    strides: plans::Strides,
    /// Elements of a row, those that fill its last 16 bytes included.
    width: usize,
    /// Where the rows are when they are not the tensor's own.
    _copy: Option<RocmStorage>,
}

impl Operand {
    /// The tensor where it is, whatever its strides, or else a copy whose rows are filled up with zeros.
    fn of(x: &RocmStorage, l: &Layout) -> Result<Self> {
        let (batches, heads, positions, width) = l.shape().dims4()?;
        let read = plans::READ_BYTES / x.dtype().size_in_bytes();
        let given = Self {
            ptr: x.ptr(l),
            strides: strides(l),
            width,
            _copy: None,
        };
        let plans::Strides {
            batch,
            head,
            position,
        } = given.strides;
        let steps = [batch, head, position].map(|step| step as usize);
        let step_bytes = position as usize * x.dtype().size_in_bytes();
        let in_place = (width == 1 || l.stride()[3] == 1)
            && step_bytes < plans::MOST_STEP_BYTES
            && width.is_multiple_of(read)
            && steps.iter().all(|step| step.is_multiple_of(read))
            && given.ptr.as_raw().is_multiple_of(plans::READ_BYTES as u64);
        if in_place {
            return Ok(given);
        }

        let padded = width.next_multiple_of(read);
        let rows = batches * heads * positions;
        let mut copy = RocmStorage::uninit(x.device(), rows * width, x.dtype())?;
        x.copy_strided_src(&mut copy, 0, l)?;
        if padded != width {
            let zeros = x
                .device()
                .allocate_zeroed(rows * padded * x.dtype().size_in_bytes())?;
            let mut wider = RocmStorage::new(zeros, x.dtype());
            copy.copy2d(&mut wider, rows, width, width, padded, 0, 0)?;
            copy = wider;
        }
        let position = padded as i64;
        Ok(Self {
            ptr: copy.ptr_at(0),
            strides: plans::Strides {
                batch: position * (heads * positions) as i64,
                head: position * positions as i64,
                position,
            },
            width: padded,
            _copy: Some(copy),
        })
    }
}

/// Strides of the outer three dimensions; those of a dimension of 1 do not matter.
fn strides(l: &Layout) -> plans::Strides {
    let of = |dim: usize| match l.dims()[dim] {
        1 => 0,
        _ => l.stride()[dim] as i64,
    };
    plans::Strides {
        batch: of(0),
        head: of(1),
        position: of(2),
    }
}

/// The mask seen as `[batches, heads, queries, keys]`.
fn mask_layout(mask: &Tensor, dtype: DType, shape: &Shape) -> Result<Layout> {
    if mask.dtype() != dtype {
        candle::bail!(
            "{OP}: the mask is {:?}, q is {dtype:?}: they must have one type",
            mask.dtype()
        )
    }
    mask.layout().broadcast_as(shape.clone()).map_err(|_| {
        candle::Error::Msg(format!(
            "{OP}: a mask of {:?} does not fit scores of {:?} (batch, heads of q, queries, keys)",
            mask.dims(),
            shape.dims()
        ))
        .bt()
    })
}

/// softmax(q kᵀ · scale + mask) v with each head of k and v shared by as many heads of q as there are to one of them.
/// `q` is `[batch, heads, queries, width]`, `k` `[batch, key heads, keys, width]`, `v` `[batch, key heads, keys, value
/// width]`; all f16, bf16 or f32, of any strides. The result is `[batch, heads, queries, value width]`.
///
/// A row that sees no key is NaN, as softmax of nothing but minus infinity is; without keys the result is 0.
pub(crate) fn sdpa(
    q: (&RocmStorage, &Layout),
    k: (&RocmStorage, &Layout),
    v: (&RocmStorage, &Layout),
    scores: &Scores<'_>,
) -> Result<(RocmStorage, Shape)> {
    attention(q, k, v, scores, DevicePtr::NULL, false)
}

/// [`sdpa`] for a quantized product of its result, which is left in int8 too where the kernels can (one query, heads in whole
/// segments), and of keys and values that may have room for more: `past`, where it is not null, is the address of a u32 on the
/// device, how many keys there are before those of the queries. What is recorded in a graph so sees more keys at each launch.
pub(crate) fn sdpa_for_product(
    q: (&RocmStorage, &Layout),
    k: (&RocmStorage, &Layout),
    v: (&RocmStorage, &Layout),
    scores: &Scores<'_>,
    past: DevicePtr,
) -> Result<(RocmStorage, Shape)> {
    attention(q, k, v, scores, past, true)
}

fn attention(
    (q, q_l): (&RocmStorage, &Layout),
    (k, k_l): (&RocmStorage, &Layout),
    (v, v_l): (&RocmStorage, &Layout),
    scores: &Scores<'_>,
    past: DevicePtr,
    for_product: bool,
) -> Result<(RocmStorage, Shape)> {
    let (batches, heads, queries, width) = q_l.shape().dims4()?;
    let (k_batches, key_heads, keys, k_width) = k_l.shape().dims4()?;
    let (v_batches, v_heads, values, value_width) = v_l.shape().dims4()?;
    let dtype = q.dtype();
    if !matches!(dtype, DType::F16 | DType::BF16 | DType::F32) {
        return Err(candle::Error::UnsupportedDTypeForOp(dtype, OP).bt());
    }
    k.expect_dtype(dtype, OP)?;
    v.expect_dtype(dtype, OP)?;
    let fits = (batches, batches) == (k_batches, v_batches)
        && (key_heads, keys) == (v_heads, values)
        && width == k_width
        && (heads == 0 || (key_heads > 0 && heads.is_multiple_of(key_heads)));
    if !fits {
        candle::bail!(
            "{OP}: q {:?}, k {:?} and v {:?} do not fit: batches, the last dimension of q and k, heads and positions of k \
             and v must be equal, and the heads of q a multiple of those of k",
            q_l.dims(),
            k_l.dims(),
            v_l.dims()
        )
    }
    if scores.softcapping == 0.0 || !scores.softcapping.is_finite() {
        candle::bail!(
            "{OP}: softcapping by {}: it must be a number other than 0, 1 for none",
            scores.softcapping
        )
    }
    let shape = Shape::from((batches, heads, queries, value_width));
    let mask_l = match scores.mask {
        Some(mask) => {
            let scores = Shape::from((batches, heads, queries, keys));
            Some(mask_layout(mask, dtype, &scores)?)
        }
        None => None,
    };
    let device = q.device();
    let count = shape.elem_count();
    if count == 0 || keys == 0 {
        let zeros = device.allocate_zeroed(count * dtype.size_in_bytes())?;
        return Ok((RocmStorage::new(zeros, dtype), shape));
    }
    if width == 0 {
        candle::bail!("{OP}: heads of q and k of no elements")
    }

    let mask = scores.mask.map(Tensor::storage_and_layout);
    let mask_ptr = match (&mask, &mask_l) {
        (Some((storage, _)), Some(l)) => match &**storage {
            Storage::Rocm(storage) => storage.ptr(l),
            _ => candle::bail!("{OP}: q is on rocm, the mask is not"),
        },
        _ => DevicePtr::NULL,
    };
    let (q, k, v) = (
        Operand::of(q, q_l)?,
        Operand::of(k, k_l)?,
        Operand::of(v, v_l)?,
    );
    let problem = plans::Problem {
        batches,
        key_heads,
        group: heads / key_heads,
        queries,
        keys,
        width: q.width,
        value_width,
        element_bytes: dtype.size_in_bytes(),
        q: q.strides,
        k: k.strides,
        v: v.strides,
        mask: mask_l.as_ref().map(strides).unwrap_or_default(),
        mask_key: mask_l.as_ref().map_or(0, |l| l.stride()[3] as i64),
        causal: scores.causal,
        scale: scores.scale,
        softcapping: scores.softcapping,
        past: past.as_raw(),
    };
    let properties = device.properties();
    let card = plans::Card {
        target: &properties.target,
        wave_size: properties.wave_size,
        compute_units: properties.compute_units,
    };
    let mut plan = problem
        .plan(&card)
        .map_err(|e| candle::Error::Msg(format!("{OP}: {e}")).bt())?;

    let mut out = RocmStorage::uninit(device, count, dtype)?;
    let int8 = match for_product && plan.leaves_int8() {
        true => Int8Rows::for_rows(device, batches, heads * value_width)?,
        false => None,
    };
    let int8_ptr = int8.as_ref().map_or(DevicePtr::NULL, Int8Rows::ptr);
    plan.args.int8 = int8_ptr.as_raw();
    let pieces = match plan.partials {
        0 => None,
        count => Some(RocmStorage::uninit(device, count, DType::F32)?),
    };
    let partials = pieces.as_ref().map_or(DevicePtr::NULL, |p| p.ptr_at(0));
    let suffix = kernel_suffix(dtype, OP)?;
    let module = match plan.module {
        plans::Module::Rows => &kernels::ATTENTION_ROWS,
        plans::Module::Tiles => &kernels::ATTENTION_TILES,
        plans::Module::Fma => &kernels::ATTENTION_FMA,
    };
    let launch = device.launch(module, plan.prefix, suffix, plan.suffix)?;
    let launch = launch.arg(q.ptr).arg(k.ptr).arg(v.ptr).arg(mask_ptr);
    let launch = launch.arg(out.ptr_at(0)).arg(partials).arg(Args(plan.args));
    // SAFETY: sizes and strides are those of the operands, whose rows are aligned and as long as their width says; `out`,
    // `partials` and the int8 rows have room for what the plan says. All may be released behind the launch.
    unsafe { launch.geometry(plan.grid, plan.block).run() }?;

    if plan.partials > 0 {
        let launch = device
            .launch(module, "attention_combine", suffix, "")?
            .arg(partials)
            .arg(out.ptr_at(0))
            .arg(plan.args.splits)
            .arg(plan.args.value_width)
            .arg(int8_ptr);
        // A context is split where there are few rows for a card: they fit a grid.
        let grid = [(heads * queries) as u32, batches as u32, 1];
        let launch = launch.geometry(grid, [COMBINING, 1, 1]);
        // SAFETY: a workgroup a row of the result; `partials` holds each row's pieces, as the launch before left them; the int8
        // rows have the heads of a batch entry each.
        unsafe { launch.run() }?;
    }
    if let Some(int8) = int8 {
        int8.keep(&mut out, 0);
    }
    Ok((out, shape))
}
