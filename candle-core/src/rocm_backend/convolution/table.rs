//! The kernels of convolutions, pooling and upsampling: rows of the table of operations.
use super::super::kernels;
use super::super::kind::{MATRIX, NUMBERS};
use super::super::operations::{row, Operation};
use crate::DType;
use DType::{BF16, F16, F32, F64, U32, U8};

/// The types that upstream's convolution and pooling kernels exist for.
const KERNEL_TYPES: &[DType] = &[F32, F16, BF16, F64, U8, U32];

const fn conv(name: &'static str, kernel: &'static str, dtypes: &'static [DType]) -> Operation {
    row(name, kernel, &kernels::CONV, dtypes)
}

/// The windows of the input, gathered for a matrix product.
pub(super) static CONV1D: Operation = conv("conv1d", "im2col1d", MATRIX);
pub(super) static CONV2D: Operation = conv("conv2d", "im2col", MATRIX);
/// Adds up what a matrix product spread.
pub(super) static CONV_TRANSPOSE1D_PRODUCT: Operation =
    conv("conv_transpose1d", "col2im1d", MATRIX);
pub(super) static CONV_TRANSPOSE1D: Operation =
    conv("conv_transpose1d", "conv_transpose1d", KERNEL_TYPES);
pub(super) static CONV_TRANSPOSE2D: Operation =
    conv("conv_transpose2d", "conv_transpose2d", KERNEL_TYPES);
/// The kernel multiplies by an f32 reciprocal and adds integers up in their own type: only for types that this is exact
/// enough for.
pub(super) static AVG_POOL2D: Operation = conv("avg_pool2d", "avg_pool2d", &[F32, F16, BF16]);
pub(super) static MAX_POOL2D: Operation = conv("max_pool2d", "max_pool2d", KERNEL_TYPES);
pub(super) static UPSAMPLE_NEAREST1D: Operation =
    conv("upsample_nearest1d", "upsample_nearest2d", NUMBERS);
pub(super) static UPSAMPLE_NEAREST2D: Operation =
    conv("upsample_nearest2d", "upsample_nearest2d", NUMBERS);
pub(super) static UPSAMPLE_BILINEAR2D: Operation =
    conv("upsample_bilinear2d", "upsample_bilinear2d", KERNEL_TYPES);

/// For the documentation, in its order.
pub(in super::super) const ROWS: [&Operation; 10] = [
    &CONV1D,
    &CONV2D,
    &CONV_TRANSPOSE1D_PRODUCT,
    &CONV_TRANSPOSE1D,
    &CONV_TRANSPOSE2D,
    &AVG_POOL2D,
    &MAX_POOL2D,
    &UPSAMPLE_NEAREST1D,
    &UPSAMPLE_NEAREST2D,
    &UPSAMPLE_BILINEAR2D,
];

/// What the rows do not say.
pub(in super::super) const NOTE: &str =
    "Convolutions are matrix products with the windows of the input, in place where there is no padding and the windows \
     are in equal steps, else gathered by the named kernel. `conv_transpose1d` is one whose result `col2im1d` adds up, \
     unless it has a dilation, an output padding larger than the padding, or integers. `avg_pool2d` of F64, U8 and U32 and \
     `max_pool2d` of I64 are reductions over a view of the windows. Nearest elements are moved by the kernel of a type of \
     the same width.";
