//! The fused operations on AMD GPUs: what `rocm_fwd` of the custom operations calls.
//!
//! The kernels are candle's own, translated to HIP; a CUDA warp is 32 lanes here on every target.
use candle::backend::BackendStorage;
use candle::rocm_backend::{kernel_suffix, kernels};
use candle::{DType, Layout, Result, RocmStorage, Shape};

/// What an operation of rocm alone begins with: its name, for operands of the names given or for a tensor changed in place, and
/// that there is none on the CPU. (The caller asks where its tensors are.)
macro_rules! only_on_rocm {
    ($name:literal, in place) => {
        fn name(&self) -> &'static str {
            $name
        }

        fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
            candle::bail!("{}: this kernel is for rocm", $name)
        }
    };
    ($name:literal, $($operand:ident)+) => {
        fn name(&self) -> &'static str {
            $name
        }

        fn cpu_fwd(&self, $($operand: &CpuStorage, _: &Layout),+) -> Result<(CpuStorage, Shape)> {
            let _ = ($($operand),+);
            candle::bail!("{}: this kernel is for rocm", $name)
        }
    };
}

pub(crate) mod attention;
pub(crate) mod cached;
pub(crate) mod conv;
pub(crate) mod fused;
pub(crate) mod moe;
pub(crate) mod route;

const WARP: u32 = 32;
/// Rows at least this long are normalised by as many work-items: the kernels know one warp or this many.
const LONG_ROW: usize = 1024;

/// Rows and columns of a tensor seen as a matrix of its last dimension.
fn rows_and_columns(l: &Layout, op: &str) -> Result<(usize, usize)> {
    match l.dims().split_last() {
        Some((columns, outer)) => Ok((outer.iter().product(), *columns)),
        None => candle::bail!("{op} needs at least one dimension"),
    }
}

fn expect_float(dtype: DType, op: &'static str) -> Result<&'static str> {
    match dtype {
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => kernel_suffix(dtype, op),
        dtype => Err(candle::Error::UnsupportedDTypeForOp(dtype, op).bt()),
    }
}

pub(crate) fn sigmoid(x: &RocmStorage, l: &Layout) -> Result<(RocmStorage, Shape)> {
    let out = candle::rocm_backend::unary(x, l, "usigmoid")?;
    Ok((out, l.shape().clone()))
}

pub(crate) fn softmax_last_dim(x: &RocmStorage, l: &Layout) -> Result<(RocmStorage, Shape)> {
    let op = "softmax-last-dim";
    let (rows, columns) = rows_and_columns(l, op)?;
    let x_ptr = x.contiguous_ptr(l, op)?;
    let out = RocmStorage::uninit(x.device(), rows * columns, x.dtype())?;
    if rows * columns > 0 {
        let launch = x.device().launch(
            &kernels::REDUCE,
            "softmax",
            expect_float(x.dtype(), op)?,
            "",
        )?;
        let launch = launch
            .arg(x_ptr)
            .arg(out.ptr_at(0))
            .int("columns", columns)?;
        let launch = launch.groups(rows)?.block([1, WARP, 1]);
        // SAFETY: one warp a row of a contiguous tensor.
        unsafe { launch.run() }?;
    }
    Ok((out, l.shape().clone()))
}

pub(crate) fn rms_norm(
    x: &RocmStorage,
    l: &Layout,
    alpha: &RocmStorage,
    alpha_l: &Layout,
    eps: f32,
) -> Result<(RocmStorage, Shape)> {
    normalise(x, l, &[(alpha, alpha_l)], eps, "rmsnorm")
}

pub(crate) fn layer_norm(
    x: &RocmStorage,
    l: &Layout,
    alpha: &RocmStorage,
    alpha_l: &Layout,
    beta: &RocmStorage,
    beta_l: &Layout,
    eps: f32,
) -> Result<(RocmStorage, Shape)> {
    normalise(x, l, &[(alpha, alpha_l), (beta, beta_l)], eps, "layernorm")
}

/// `weights` hold one number per column each.
fn normalise(
    x: &RocmStorage,
    l: &Layout,
    weights: &[(&RocmStorage, &Layout)],
    eps: f32,
    kernel: &'static str,
) -> Result<(RocmStorage, Shape)> {
    let (rows, columns) = rows_and_columns(l, kernel)?;
    let x_ptr = x.contiguous_ptr(l, kernel)?;
    let out = RocmStorage::uninit(x.device(), rows * columns, x.dtype())?;
    if rows * columns > 0 {
        let suffix = expect_float(x.dtype(), kernel)?;
        let mut launch = x.device().launch(&kernels::REDUCE, kernel, suffix, "")?;
        launch = launch.arg(x_ptr).arg(out.ptr_at(0));
        for (weight, weight_l) in weights {
            if weight_l.shape().elem_count() != columns {
                candle::bail!(
                    "{kernel}: weights {:?} do not fit rows of {columns}",
                    weight_l.shape()
                )
            }
            let weight = weight.expect_dtype(x.dtype(), kernel)?;
            launch = launch.arg(weight.contiguous_ptr(weight_l, kernel)?);
        }
        let threads = if columns < LONG_ROW {
            WARP
        } else {
            LONG_ROW as u32
        };
        let launch = launch.int("columns", columns)?.arg(threads as i32).arg(eps);
        // SAFETY: one workgroup a row of a contiguous tensor; the weights hold a number for each column.
        unsafe { launch.groups(rows)?.block([threads, 1, 1]).run() }?;
    }
    Ok((out, l.shape().clone()))
}

/// Where the two halves of a rotated pair lie, and in which order the dimensions come.
#[derive(Clone, Copy)]
pub(crate) enum Rope {
    /// `[batch, heads, time, dim]`, pairs next to each other.
    Interleaved,
    /// `[batch, heads, time, dim]`, pairs half a head apart.
    Halves,
    /// `[batch, time, heads, dim]`, pairs half a head apart.
    HalvesTimeFirst,
}

pub(crate) fn rope(
    kind: Rope,
    (x, l): (&RocmStorage, &Layout),
    (cos, cos_l): (&RocmStorage, &Layout),
    (sin, sin_l): (&RocmStorage, &Layout),
) -> Result<(RocmStorage, Shape)> {
    let (b, d1, d2, d) = l.shape().dims4()?;
    let dtype = x.dtype();
    let op = match kind {
        Rope::Interleaved => "rope_i",
        Rope::Halves => "rope",
        Rope::HalvesTimeFirst => "rope_thd",
    };
    let x_ptr = x.contiguous_ptr(l, op)?;
    let cos_ptr = cos.expect_dtype(dtype, op)?.contiguous_ptr(cos_l, op)?;
    let sin_ptr = sin.expect_dtype(dtype, op)?.contiguous_ptr(sin_l, op)?;
    let count = b * d1 * d2 * d;
    let out = RocmStorage::uninit(x.device(), count, dtype)?;
    if count > 0 {
        // Tables of rank 3 hold angles for each batch entry; the kernels then want the size of one.
        let per_batch = cos_l.dims().len() == 3 && sin_l.dims().len() == 3;
        let table_stride = if per_batch { d1 * d2 * d } else { 0 };
        let sizes: &[(&'static str, usize)] = match kind {
            Rope::Interleaved => &[("heads", b * d1), ("time × dim", d2 * d)],
            Rope::Halves => &[("heads", b * d1), ("time × dim", d2 * d), ("dim", d)],
            Rope::HalvesTimeFirst => &[("batch", b), ("time", d1), ("heads", d2), ("dim", d)],
        };
        let mut launch = x
            .device()
            .launch(&kernels::REDUCE, op, expect_float(dtype, op)?, "")?;
        launch = launch
            .arg(x_ptr)
            .arg(cos_ptr)
            .arg(sin_ptr)
            .arg(out.ptr_at(0));
        for (what, size) in sizes {
            launch = launch.int(what, *size)?;
        }
        let launch = launch
            .int("elements of a batch entry", table_stride)?
            .one_each(count / 2)?;
        // SAFETY: a work-item a pair; candle_nn checked the tables against time and dim.
        unsafe { launch.run() }?;
    }
    Ok((out, l.shape().clone()))
}
