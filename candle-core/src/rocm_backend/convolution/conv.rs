//! Convolutions as matrix products: per image, the kernel (output channels x window) times the windows
//! (window x positions), which is the result (output channels x positions) as it shall lie in memory.
use super::super::operations::Operation;
use super::super::{matmul, RocmStorage};
use super::table::{CONV1D, CONV2D};
use super::view::Windows;
use super::{common_dtype, expect_shape, invalid, one_each, repeated_matrix};
use crate::backend::BackendStorage;
use crate::conv::{ParamsConv1D, ParamsConv2D};
use crate::{Layout, Result};

/// How a convolution's window moves, the same along every spatial dimension.
struct Window {
    op: &'static str,
    im2col: &'static Operation,
    padding: usize,
    stride: usize,
    dilation: usize,
}

/// x (batch, channels in, length) with kernel (channels out, channels in, size).
pub(in super::super) fn conv1d(
    x: &RocmStorage,
    l: &Layout,
    kernel: &RocmStorage,
    kernel_l: &Layout,
    p: &ParamsConv1D,
) -> Result<RocmStorage> {
    let op = "conv1d";
    expect_shape(op, "input", l, &[p.b_size, p.c_in, p.l_in])?;
    expect_shape(op, "kernel", kernel_l, &[p.c_out, p.c_in, p.k_size])?;
    let window = Window {
        op,
        im2col: &CONV1D,
        padding: p.padding,
        stride: p.stride,
        dilation: p.dilation,
    };
    window.convolve(x, l, kernel, kernel_l)
}

/// x (batch, channels in, height, width) with kernel (channels out, channels in, height, width).
pub(in super::super) fn conv2d(
    x: &RocmStorage,
    l: &Layout,
    kernel: &RocmStorage,
    kernel_l: &Layout,
    p: &ParamsConv2D,
) -> Result<RocmStorage> {
    let op = "conv2d";
    expect_shape(op, "input", l, &[p.b_size, p.c_in, p.i_h, p.i_w])?;
    expect_shape(op, "kernel", kernel_l, &[p.c_out, p.c_in, p.k_h, p.k_w])?;
    let window = Window {
        op,
        im2col: &CONV2D,
        padding: p.padding,
        stride: p.stride,
        dilation: p.dilation,
    };
    window.convolve(x, l, kernel, kernel_l)
}

impl Window {
    fn convolve(
        &self,
        x: &RocmStorage,
        l: &Layout,
        kernel: &RocmStorage,
        kernel_l: &Layout,
    ) -> Result<RocmStorage> {
        self.im2col.suffix_for(common_dtype(x, kernel, self.op)?)?;
        let (batch, channels_out) = (l.dims()[0], kernel_l.dims()[0]);
        let taps = &kernel_l.dims()[2..];
        let lengths = l.dims()[2..].iter().zip(taps);
        let positions = lengths
            .map(|(&length, &taps)| self.positions(length, taps))
            .collect::<Result<Vec<_>>>()?;
        let count: usize = positions.iter().product();
        let depth: usize = kernel_l.dims()[1..].iter().product();

        let mut copied = None;
        let (kernel, kernel_l) = repeated_matrix(kernel, kernel_l, batch, &mut copied)?;
        let bmnk = (batch, channels_out, count, depth);
        let (stride, dilation) = ([self.stride; 2], [self.dilation; 2]);
        let windows = Windows::new(l, &positions, taps, &stride, &dilation);
        if let Some(columns) = windows.columns(l).filter(|_| self.padding == 0) {
            return matmul::matmul(kernel, x, bmnk, &kernel_l, &columns);
        }
        let columns = self.im2col(x, l, &windows)?;
        // Each window's elements lie together.
        let columns_l = Layout::new(
            (batch, depth, count).into(),
            vec![count * depth, 1, depth],
            0,
        );
        matmul::matmul(kernel, &columns, bmnk, &kernel_l, &columns_l)
    }

    /// How many times a window of `taps` elements fits along a dimension.
    fn positions(&self, length: usize, taps: usize) -> Result<usize> {
        let Self {
            op,
            padding,
            stride,
            dilation,
            ..
        } = *self;
        let padded = padding.checked_mul(2).and_then(|p| p.checked_add(length));
        let reach = taps.checked_sub(1).and_then(|t| t.checked_mul(dilation));
        let rest = match (padded, reach) {
            (Some(padded), Some(reach)) => padded.checked_sub(reach).and_then(|r| r.checked_sub(1)),
            _ => None,
        };
        match rest.and_then(|rest| rest.checked_div(stride)) {
            Some(steps) => Ok(steps + 1),
            None => invalid(format!(
                "{op}: a kernel of size {taps} with dilation {dilation} and stride {stride} does not fit into an \
                 input of size {length} with padding {padding}"
            )),
        }
    }

    /// (batch, positions..., channels, taps...), zeros where a window reaches over the edge.
    fn im2col(&self, x: &RocmStorage, l: &Layout, windows: &Windows) -> Result<RocmStorage> {
        let (positions, taps) = (&windows.positions, &windows.taps);
        let images_channels = l.dims()[0] * l.dims()[1];
        let window: usize = taps.iter().product();
        let count = images_channels * positions.iter().product::<usize>() * window;
        let out = RocmStorage::uninit(x.device(), count, x.dtype())?;
        if count == 0 {
            return Ok(out);
        }
        // The kernel for one dimension has a work-item for a whole window of a channel.
        let work_items = if taps.len() == 1 {
            count / window
        } else {
            count
        };
        let launch = self.im2col.launch(x.device(), x.dtype())?.arg(work_items);
        let sizes = positions.iter().chain(taps);
        let launch = sizes.fold(launch, |launch, &size| launch.arg(size));
        let launch = launch
            .arg(self.stride)
            .arg(self.padding)
            .arg(self.dilation)
            .words(&[l.dims(), l.stride()].concat())?;
        let launch = launch.arg(x.ptr(l)).arg(out.ptr_at(0));
        // SAFETY: the kernel reads x by its layout, only where a window lies within it, and writes the `count` elements
        // of `out`; `positions` counts the windows that fit.
        unsafe { one_each(launch, work_items)?.run() }?;
        Ok(out)
    }
}
