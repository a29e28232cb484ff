//! Sliding windows as strides: a tensor seen as all its windows, without moving an element.
pub(super) use crate::rocm_backend::walk::merged_stride;
use crate::Layout;

/// The windows of an input (batch, channels, spatial dimensions...), in elements of its storage.
pub(super) struct Windows {
    /// Windows along each spatial dimension, and the step from one to the next.
    pub(super) positions: Vec<usize>,
    pub(super) position_strides: Vec<usize>,
    /// Elements of a window along each spatial dimension, and the step from one to the next.
    pub(super) taps: Vec<usize>,
    pub(super) tap_strides: Vec<usize>,
}

impl Windows {
    /// Windows of `taps` elements that are `dilation` apart; `stride` leads from a window to the next, each given per
    /// spatial dimension.
    pub(super) fn new(
        l: &Layout,
        positions: &[usize],
        taps: &[usize],
        stride: &[usize],
        dilation: &[usize],
    ) -> Self {
        let steps = |factors: &[usize]| -> Vec<usize> {
            let strides = l.stride()[2..].iter();
            strides.zip(factors).map(|(s, factor)| s * factor).collect()
        };
        Self {
            positions: positions.to_vec(),
            position_strides: steps(stride),
            taps: taps.to_vec(),
            tap_strides: steps(dilation),
        }
    }

    /// (batch, channels, positions..., taps...): a window's elements last.
    pub(super) fn layout(&self, l: &Layout) -> Layout {
        let dims = [&l.dims()[..2], &self.positions, &self.taps].concat();
        let strides = [&l.stride()[..2], &self.position_strides, &self.tap_strides].concat();
        Layout::new(dims.into(), strides, l.start_offset())
    }

    /// (batch, channels x taps, positions), the right-hand side of a convolution's matrix product; `None` when the
    /// elements of a window, or the windows, are not in equal steps.
    pub(super) fn columns(&self, l: &Layout) -> Option<Layout> {
        let (channels, channel_stride) = (l.dims()[1], l.stride()[1]);
        let rows = merged_stride(
            &[&[channels], &self.taps[..]].concat(),
            &[&[channel_stride], &self.tap_strides[..]].concat(),
        )?;
        let columns = merged_stride(&self.positions, &self.position_strides)?;
        let depth = channels * self.taps.iter().product::<usize>();
        let positions = self.positions.iter().product::<usize>();
        let shape = (l.dims()[0], depth, positions).into();
        let strides = vec![l.stride()[0], rows, columns];
        Some(Layout::new(shape, strides, l.start_offset()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The storage's element at each index of the layout, in order.
    fn elements(l: &Layout) -> Vec<usize> {
        l.strided_index().collect()
    }

    #[test]
    fn dimensions_merge_when_their_steps_agree() {
        assert_eq!(merged_stride(&[2, 3, 4], &[12, 4, 1]), Some(1));
        assert_eq!(merged_stride(&[2, 3], &[6, 2]), Some(2));
        assert_eq!(merged_stride(&[5, 1, 3], &[3, 77, 1]), Some(1));
        assert_eq!(merged_stride(&[2, 3], &[0, 0]), Some(0));
        assert_eq!(merged_stride(&[1, 1], &[9, 9]), Some(1));
        assert_eq!(merged_stride(&[2, 3], &[4, 1]), None);
        assert_eq!(merged_stride(&[2, 3], &[1, 2]), None);
    }

    #[test]
    fn windows_of_a_row() {
        // One channel of 6 elements, from element 10 on; windows of 2 elements, 3 apart, every second.
        let l = Layout::contiguous_with_offset((1, 1, 6), 10);
        let windows = Windows::new(&l, &[2], &[2], &[2], &[3]);
        assert_eq!(elements(&windows.layout(&l)), [10, 13, 12, 15]);
        // The same, transposed: a row per tap.
        let columns = windows.columns(&l).expect("one channel is in equal steps");
        assert_eq!(columns.dims(), [1, 2, 2]);
        assert_eq!(elements(&columns), [10, 12, 13, 15]);
    }

    #[test]
    fn one_by_one_windows_are_the_image_itself() {
        let l = Layout::contiguous((2, 3, 4, 5));
        let columns = |stride| {
            let positions = [4usize.div_ceil(stride), 5usize.div_ceil(stride)];
            let steps = [stride; 2];
            Windows::new(&l, &positions, &[1, 1], &steps, &[1, 1]).columns(&l)
        };
        let whole = columns(1).expect("a contiguous image is in equal steps");
        assert_eq!(elements(&whole), (0..120).collect::<Vec<_>>());
        assert!(columns(2).is_none(), "rows of 3 out of every second row");
    }
}
