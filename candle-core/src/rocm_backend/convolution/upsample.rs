//! Images of another size: the nearest element, or interpolated between the four nearest.
use super::super::operations::Operation;
use super::super::{copy, kernels, mover, RocmStorage};
use super::table::{UPSAMPLE_BILINEAR2D, UPSAMPLE_NEAREST1D, UPSAMPLE_NEAREST2D};
use super::{invalid, one_each};
use crate::backend::BackendStorage;
use crate::{Layout, Result, Shape};

/// x (batch, channels, length) to (batch, channels, `size`).
pub(in super::super) fn upsample_nearest1d(
    x: &RocmStorage,
    l: &Layout,
    size: usize,
) -> Result<RocmStorage> {
    let (batch, channels, length) = l.shape().dims3()?;
    let s = l.stride();
    // An image of one row.
    let strides = vec![s[0], s[1], 0, s[2]];
    let shape = Shape::from((batch, channels, 1, length));
    let image = Layout::new(shape, strides, l.start_offset());
    nearest(x, &image, (1, size), &UPSAMPLE_NEAREST1D)
}

/// x (batch, channels, height, width) to (batch, channels, `height`, `width`).
pub(in super::super) fn upsample_nearest2d(
    x: &RocmStorage,
    l: &Layout,
    height: usize,
    width: usize,
) -> Result<RocmStorage> {
    nearest(x, l, (height, width), &UPSAMPLE_NEAREST2D)
}

fn nearest(
    x: &RocmStorage,
    l: &Layout,
    size: (usize, usize),
    row: &'static Operation,
) -> Result<RocmStorage> {
    let op = row.name;
    let (count, (height, width)) = output(l, size, op)?;
    let out = RocmStorage::uninit(x.device(), count, x.dtype())?;
    if count == 0 {
        return Ok(out);
    }
    // Elements are moved only; of the types with 8 bytes the kernel exists for this one.
    let suffix = match mover(x.dtype(), op)? {
        "i64" => "f64",
        suffix => suffix,
    };
    let launch = x.device().launch(&kernels::CONV, row.kernel, suffix, "")?;
    // The kernel's "w" is the third dimension and its "h" the fourth.
    let launch = launch.arg(size.0).arg(size.1);
    let launch = launch
        .arg(height as f64 / size.0 as f64)
        .arg(width as f64 / size.1 as f64);
    let launch = launch.words(&[l.dims(), l.stride()].concat())?;
    let launch = launch.arg(x.ptr(l)).arg(out.ptr_at(0));
    // SAFETY: the kernel reads x by its layout, indices held within it, and writes the `count` elements of `out`.
    unsafe { one_each(launch, count)?.run() }?;
    Ok(out)
}

/// x (batch, channels, height, width) to (batch, channels, `size`). `scales` are the factors the caller asked for,
/// when they shall say where the elements lie rather than the two sizes; corners that are aligned need neither.
pub(in super::super) fn upsample_bilinear2d(
    x: &RocmStorage,
    l: &Layout,
    size: (usize, usize),
    align_corners: bool,
    scales: (Option<f64>, Option<f64>),
) -> Result<RocmStorage> {
    let op = UPSAMPLE_BILINEAR2D.name;
    UPSAMPLE_BILINEAR2D.suffix_for(x.dtype())?;
    let (count, from) = output(l, size, op)?;
    let mut out = RocmStorage::uninit(x.device(), count, x.dtype())?;
    if count == 0 {
        return Ok(out);
    }
    if from == size {
        // Nothing to interpolate, whatever the factors, as on the CPU.
        copy::strided(x, l, &mut out, 0)?;
        return Ok(out);
    }
    if !align_corners {
        let rows = (size.0, from.0, scales.0);
        let columns = (size.1, from.1, scales.1);
        for (size, from, scale) in [rows, columns] {
            check_scale(op, size, from, scale)?;
        }
    }
    let launch = UPSAMPLE_BILINEAR2D.launch(x.device(), x.dtype())?;
    let launch = launch.arg(size.1).arg(size.0).arg(align_corners);
    let launch = launch
        .arg(scales.0.is_some())
        .arg(scales.0.unwrap_or(0.0))
        .arg(scales.1.is_some())
        .arg(scales.1.unwrap_or(0.0));
    let launch = launch.words(&[l.dims(), l.stride()].concat())?;
    let launch = launch.arg(x.ptr(l)).arg(out.ptr_at(0));
    // SAFETY: the kernel reads x by its layout, held within it by `check_scale`, and writes the `count` elements of
    // `out`.
    unsafe { one_each(launch, count)?.run() }?;
    Ok(out)
}

/// The number of elements of the result, and the input's height and width.
fn output(l: &Layout, size: (usize, usize), op: &str) -> Result<(usize, (usize, usize))> {
    let (batch, channels, height, width) = l.shape().dims4()?;
    let count = batch * channels * size.0 * size.1;
    if count > 0 && height * width == 0 {
        let (shape, size) = (l.dims(), [size.0, size.1]);
        return invalid(format!(
            "{op}: an empty image {shape:?} cannot become {size:?}"
        ));
    }
    Ok((count, (height, width)))
}

/// An error unless a factor leads every one of `size` elements to a place within `from` elements.
fn check_scale(op: &str, size: usize, from: usize, scale: Option<f64>) -> Result<()> {
    let Some(scale) = scale else { return Ok(()) };
    let last = (size as f64 - 0.5) / scale - 0.5;
    if scale > 0.0 && last < from as f64 {
        return Ok(());
    }
    invalid(format!(
        "{op}: {from} elements times {scale} are fewer than the {size} asked for"
    ))
}
