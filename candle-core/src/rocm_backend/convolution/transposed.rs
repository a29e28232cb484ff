//! Transposed convolutions: every input element spreads its kernel over the output.
use super::super::operations::Operation;
use super::super::{copy, matmul, RocmStorage};
use super::table::{CONV_TRANSPOSE1D, CONV_TRANSPOSE1D_PRODUCT, CONV_TRANSPOSE2D};
use super::{common_dtype, expect_shape, invalid, one_each, repeated_matrix};
use crate::backend::BackendStorage;
use crate::conv::{ParamsConvTranspose1D, ParamsConvTranspose2D};
use crate::{Layout, Result};

/// How the kernel is spread, the same along every spatial dimension.
struct Spread {
    /// The operation, and the kernel where it is no matrix product.
    row: &'static Operation,
    padding: usize,
    output_padding: usize,
    stride: usize,
    dilation: usize,
}

/// x (batch, channels in, length) with kernel (channels in, channels out, size).
pub(in super::super) fn conv_transpose1d(
    x: &RocmStorage,
    l: &Layout,
    kernel: &RocmStorage,
    kernel_l: &Layout,
    p: &ParamsConvTranspose1D,
) -> Result<RocmStorage> {
    let op = CONV_TRANSPOSE1D.name;
    expect_shape(op, "input", l, &[p.b_size, p.c_in, p.l_in])?;
    expect_shape(op, "kernel", kernel_l, &[p.c_in, p.c_out, p.k_size])?;
    let spread = Spread {
        row: &CONV_TRANSPOSE1D,
        padding: p.padding,
        output_padding: p.output_padding,
        stride: p.stride,
        dilation: p.dilation,
    };
    let dtype = common_dtype(x, kernel, op)?;
    let length = spread.output(p.l_in, p.k_size)?;
    // Without the padding, what the elements spread covers the whole output.
    let covered = p.dilation == 1 && p.output_padding <= p.padding;
    if covered && CONV_TRANSPOSE1D_PRODUCT.dtypes.contains(&dtype) {
        return spread.by_product(x, l, kernel, kernel_l, length);
    }
    spread.directly(x, l, kernel, kernel_l, &[length])
}

/// x (batch, channels in, height, width) with kernel (channels in, channels out, height, width).
pub(in super::super) fn conv_transpose2d(
    x: &RocmStorage,
    l: &Layout,
    kernel: &RocmStorage,
    kernel_l: &Layout,
    p: &ParamsConvTranspose2D,
) -> Result<RocmStorage> {
    let op = CONV_TRANSPOSE2D.name;
    expect_shape(op, "input", l, &[p.b_size, p.c_in, p.i_h, p.i_w])?;
    expect_shape(op, "kernel", kernel_l, &[p.c_in, p.c_out, p.k_h, p.k_w])?;
    let spread = Spread {
        row: &CONV_TRANSPOSE2D,
        padding: p.padding,
        output_padding: p.output_padding,
        stride: p.stride,
        dilation: p.dilation,
    };
    let size = [spread.output(p.i_h, p.k_h)?, spread.output(p.i_w, p.k_w)?];
    spread.directly(x, l, kernel, kernel_l, &size)
}

impl Spread {
    /// The output's size along a dimension.
    fn output(&self, length: usize, taps: usize) -> Result<usize> {
        let Self {
            row,
            padding,
            output_padding,
            stride,
            dilation,
        } = *self;
        let op = row.name;
        let size = || {
            let starts = length.checked_sub(1)?.checked_mul(stride)?;
            let reach = taps.checked_sub(1)?.checked_mul(dilation)?;
            let whole = starts.checked_add(reach)?.checked_add(output_padding)?;
            whole.checked_add(1)?.checked_sub(padding.checked_mul(2)?)
        };
        match size().filter(|_| stride > 0) {
            Some(size) => Ok(size),
            None => invalid(format!(
                "{op}: an input of size {length} and a kernel of size {taps} with stride {stride}, dilation \
                 {dilation}, padding {padding} and output padding {output_padding} give no output"
            )),
        }
    }

    /// The translated kernel: each element of the output gathers its sum.
    fn directly(
        &self,
        x: &RocmStorage,
        l: &Layout,
        kernel: &RocmStorage,
        kernel_l: &Layout,
        size: &[usize],
    ) -> Result<RocmStorage> {
        let dtype = common_dtype(x, kernel, self.row.name)?;
        self.row.suffix_for(dtype)?;
        let count = l.dims()[0] * kernel_l.dims()[1] * size.iter().product::<usize>();
        let out = RocmStorage::uninit(x.device(), count, dtype)?;
        if count == 0 {
            return Ok(out);
        }
        let launch = self.row.launch(x.device(), dtype)?;
        let launch = launch.arg(l.shape().elem_count());
        // The kernel takes the width before the height.
        let launch = size.iter().rev().fold(launch, |l, &size| l.arg(size));
        let launch = launch
            .arg(self.stride)
            .arg(self.padding)
            .arg(self.output_padding)
            .arg(self.dilation);
        let launch =
            launch.words(&[l.dims(), l.stride(), kernel_l.dims(), kernel_l.stride()].concat())?;
        let launch = launch
            .arg(x.ptr(l))
            .arg(kernel.ptr(kernel_l))
            .arg(out.ptr_at(0));
        // SAFETY: the kernel reads both operands by their layouts and writes the `count` elements of `out`.
        unsafe { one_each(launch, count)?.run() }?;
        Ok(out)
    }

    /// For one dimension: what each input element spreads is a matrix product; `col2im1d` adds up what overlaps.
    fn by_product(
        &self,
        x: &RocmStorage,
        l: &Layout,
        kernel: &RocmStorage,
        kernel_l: &Layout,
        length: usize,
    ) -> Result<RocmStorage> {
        let device = x.device();
        let (batch, channels_in, length_in) = l.shape().dims3()?;
        let (_, channels_out, taps) = kernel_l.shape().dims3()?;
        let mut copied = None;
        let (kernel, kernel_l) = repeated_matrix(kernel, kernel_l, batch, &mut copied)?;
        let bmnk = (batch, length_in, channels_out * taps, channels_in);
        // (batch, length in, channels out, taps)
        let spread = matmul::matmul(x, kernel, bmnk, &l.transpose(1, 2)?, &kernel_l)?;

        let whole = (length_in - 1) * self.stride + taps;
        let count = batch * channels_out * whole;
        let sums = RocmStorage::uninit(device, count, x.dtype())?;
        if count == 0 {
            return Ok(sums);
        }
        let launch = CONV_TRANSPOSE1D_PRODUCT.launch(device, x.dtype())?;
        let launch = launch
            .arg(count)
            .arg(whole)
            .arg(length_in)
            .arg(channels_out)
            .arg(taps)
            .arg(self.stride);
        let launch = launch.arg(spread.ptr_at(0)).arg(sums.ptr_at(0));
        // SAFETY: both are contiguous and of the shapes that the numbers say; the kernel writes all of `sums`.
        unsafe { one_each(launch, count)?.run() }?;
        if length == whole {
            return Ok(sums);
        }
        let within =
            Layout::contiguous((batch, channels_out, whole)).narrow(2, self.padding, length)?;
        let elements = within.shape().elem_count();
        let mut out = RocmStorage::uninit(device, elements, x.dtype())?;
        copy::strided(&sums, &within, &mut out, 0)?;
        Ok(out)
    }
}
