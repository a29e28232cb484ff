//! Convolutions on rocm, for random shapes, layouts and parameters, against the CPU backend in f64.
use candle_core::{DType, Result, Tensor};

mod rocm_random;
use rocm_random::*;

/// A convolution, or a transposed one: shapes and parameters.
#[derive(Debug)]
struct Convolution {
    x: Vec<usize>,
    kernel: Vec<usize>,
    padding: usize,
    output_padding: usize,
    stride: usize,
    dilation: usize,
    groups: usize,
}

impl Convolution {
    /// Random parameters for inputs of up to `longest` in each of `dims` dimensions. The kernel's first dimension is
    /// that of the output channels, for a transposed convolution that of the input channels.
    fn draw(r: &mut Random, dims: usize, longest: usize, transposed: bool) -> Option<Self> {
        let (batch, c_in, c_out) = (r.between(1, 3), r.between(1, 4), r.between(1, 5));
        let groups = match (transposed, dims) {
            // candle has no groups here.
            (true, 2) => 1,
            _ => r.between(1, 3),
        };
        let lengths: Vec<usize> = (0..dims).map(|_| r.between(1, longest)).collect();
        let taps: Vec<usize> = (0..dims).map(|_| r.between(1, 5)).collect();
        let (padding, stride, dilation) = (r.between(0, 3), r.between(1, 3), r.between(1, 3));
        let (output_padding, each) = match transposed {
            true => (r.between(0, stride - 1), [c_in * groups, c_out]),
            false => (0, [c_out * groups, c_in]),
        };
        let mut sizes = lengths.iter().zip(&taps);
        let valid = sizes.all(|(&length, &taps)| match transposed {
            false => length + 2 * padding > dilation * (taps - 1),
            // candle's own formulas subtract from these parts of the size before they add the rest.
            true if dims == 1 => (length - 1) * stride >= 2 * padding,
            true => (length - 1) * stride + dilation * (taps - 1) + output_padding >= 2 * padding,
        });
        valid.then(|| Self {
            x: [&[batch, c_in * groups], &lengths[..]].concat(),
            kernel: [&each[..], &taps].concat(),
            padding,
            output_padding,
            stride,
            dilation,
            groups,
        })
    }

    fn forward(&self, x: &Tensor, kernel: &Tensor) -> Result<Tensor> {
        match self.x.len() {
            3 => x.conv1d(
                kernel,
                self.padding,
                self.stride,
                self.dilation,
                self.groups,
            ),
            _ => x.conv2d(
                kernel,
                self.padding,
                self.stride,
                self.dilation,
                self.groups,
            ),
        }
    }

    fn transposed(&self, x: &Tensor, kernel: &Tensor) -> Result<Tensor> {
        let (padding, output_padding) = (self.padding, self.output_padding);
        let (stride, dilation) = (self.stride, self.dilation);
        match self.x.len() {
            3 => x.conv_transpose1d(
                kernel,
                padding,
                output_padding,
                stride,
                dilation,
                self.groups,
            ),
            _ => x.conv_transpose2d(kernel, padding, output_padding, stride, dilation),
        }
    }

    /// Runs `op` on random views, in each type on rocm and in f64 on the CPU. `halves` roundings happen in f16 and
    /// bf16.
    fn check(
        &self,
        random: &mut Random,
        halves: usize,
        op: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<()> {
        let device = rocm()?;
        for &dtype in FLOATS {
            let x = random.view(&self.x, dtype)?;
            let kernel = random.view(&self.kernel, dtype)?;
            let case = format!(
                "{self:?}, strides {:?} and {:?}",
                x.stride(),
                kernel.stride()
            );
            let found = op(&x.to_device(&device)?, &kernel.to_device(&device)?)?;
            // The CPU's conv1d multiplies by the wrong elements of a kernel that is not contiguous.
            let double = |t: &Tensor| t.to_dtype(DType::F64)?.contiguous();
            let (x, kernel) = (double(&x)?, double(&kernel)?);
            let exact = by_image(&x, |x| op(x, &kernel))?;
            let magnitude = by_image(&x.abs()?, |x| op(x, &kernel.abs()?))?;
            let roundings = match dtype {
                DType::F16 | DType::BF16 => halves,
                // Each product and each sum is rounded.
                _ => 2 * self.x[1] * self.kernel[2..].iter().product::<usize>(),
            };
            assert_near(&case, &found, &exact, &magnitude, roundings as f64)?;
        }
        Ok(())
    }
}

/// `op` on one image after another: the CPU's conv_transpose1d mixes up the images of a batch (its matrix product takes
/// a transposed left operand for rows when the right one is repeated).
fn by_image(x: &Tensor, op: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let images = (0..x.dim(0)?).map(|i| op(&x.narrow(0, i, 1)?));
    Tensor::cat(&images.collect::<Result<Vec<_>>>()?, 0)
}

#[test]
fn conv1d() -> Result<()> {
    for (_, mut r, case) in cases(|r| Convolution::draw(r, 1, 40, false)) {
        case.check(&mut r, SUMMED_IN_F32, |x, k| case.forward(x, k))?;
    }
    Ok(())
}

#[test]
fn conv2d() -> Result<()> {
    for (_, mut r, case) in cases(|r| Convolution::draw(r, 2, 12, false)) {
        case.check(&mut r, SUMMED_IN_F32, |x, k| case.forward(x, k))?;
    }
    Ok(())
}

/// Kernels that need no gathering of windows: of one element, as large as the image, or on a single channel.
#[test]
fn convolutions_in_place() -> Result<()> {
    let mut r = Random::new(1);
    for (x, kernel, stride) in [
        ([2, 6, 5, 7], [9, 6, 1, 1], 1),
        ([2, 6, 5, 7], [9, 6, 1, 1], 2),
        ([2, 3, 4, 5], [8, 3, 4, 5], 1),
        ([3, 1, 1, 30], [4, 1, 1, 5], 3),
        ([1, 12, 16, 16], [70, 12, 1, 1], 1),
    ] {
        let flat = |s: &[usize; 4]| vec![s[0], s[1], s[2] * s[3]];
        for (x, kernel) in [(x.to_vec(), kernel.to_vec()), (flat(&x), flat(&kernel))] {
            let case = Convolution {
                x,
                kernel,
                padding: 0,
                output_padding: 0,
                stride,
                dilation: 1,
                groups: 1,
            };
            // Each operand in several layouts.
            for _ in 0..4 {
                case.check(&mut r, SUMMED_IN_F32, |x, k| case.forward(x, k))?;
            }
        }
    }
    Ok(())
}

#[test]
fn conv_transpose1d() -> Result<()> {
    for (_, mut r, case) in cases(|r| Convolution::draw(r, 1, 20, true)) {
        // The products are rounded to the type before up to one for each element of the kernel is added up in it.
        let halves = 2 * case.kernel[2];
        case.check(&mut r, halves.max(SUMMED_IN_F32), |x, k| {
            case.transposed(x, k)
        })?;
    }
    Ok(())
}

#[test]
fn conv_transpose2d() -> Result<()> {
    for (_, mut r, case) in cases(|r| Convolution::draw(r, 2, 7, true)) {
        case.check(&mut r, SUMMED_IN_F32, |x, k| case.transposed(x, k))?;
    }
    Ok(())
}

/// Integers wrap around in their own type, on the CPU and in the kernels.
#[test]
fn transposed_convolutions_of_integers() -> Result<()> {
    let device = rocm()?;
    let mut r = Random::new(3);
    let x = r.view(&[2, 3, 4, 5], DType::U32)?;
    let kernel = r.view(&[3, 2, 3, 2], DType::U32)?;
    let found = x
        .to_device(&device)?
        .conv_transpose2d(&kernel.to_device(&device)?, 1, 1, 2, 1)?;
    assert_equal("2d", &found, &x.conv_transpose2d(&kernel, 1, 1, 2, 1)?)?;

    let (x, kernel) = (x.flatten_from(2)?, kernel.flatten_from(2)?);
    let found =
        x.to_device(&device)?
            .conv_transpose1d(&kernel.to_device(&device)?, 0, 0, 2, 1, 1)?;
    // A padding makes the CPU take its path without a matrix product, which knows no integers.
    let padded = x.conv_transpose1d(&kernel, 1, 0, 2, 1, 1)?;
    let length = padded.dim(2)?;
    assert_equal("1d", &found.narrow(2, 1, length)?.contiguous()?, &padded)
}

#[test]
fn empty_tensors() -> Result<()> {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &rocm()?);
    let none = zeros(&[0, 3, 5, 5])?.conv2d(&zeros(&[2, 3, 3, 3])?, 1, 1, 1, 1)?;
    assert_eq!(none.dims(), [0, 2, 5, 5]);
    // No input channels: sums of nothing.
    let sums = zeros(&[1, 0, 5])?.conv1d(&zeros(&[2, 0, 3])?, 1, 1, 1, 1)?;
    assert_eq!(sums.to_vec3::<f32>()?, [[[0f32; 5]; 2]]);
    Ok(())
}

#[test]
fn errors_name_what_is_wrong() -> Result<()> {
    let device = rocm()?;
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &device);
    let f32s = |shape: &[usize]| zeros(shape, DType::F32);

    let mixed = f32s(&[1, 2, 5])?.conv1d(&zeros(&[2, 2, 3], DType::F16)?, 0, 1, 1, 1);
    assert_message(mixed, "dtype mismatch in conv1d");
    let integers =
        zeros(&[1, 2, 5], DType::I64)?.conv1d(&zeros(&[2, 2, 3], DType::I64)?, 0, 1, 1, 1);
    assert_message(integers, "unsupported dtype I64 for op conv1d");

    let large = f32s(&[1, 2, 3, 9])?.conv2d(&f32s(&[2, 2, 3, 4])?, 1, 1, 4, 1);
    assert_message(large, "conv2d: a kernel of size 3 with dilation 4");
    let still = f32s(&[1, 2, 9])?.conv1d(&f32s(&[2, 2, 3])?, 1, 0, 1, 1);
    assert_message(still, "stride 0");
    let nothing = f32s(&[1, 2, 1])?.conv_transpose1d(&f32s(&[2, 2, 1])?, 3, 0, 1, 1, 1);
    assert_message(nothing, "give no output");
    // Not divisible by the groups: candle hands over a kernel of another shape than its parameters say.
    let uneven = f32s(&[1, 2, 9])?.conv1d(&f32s(&[3, 1, 3])?, 1, 1, 1, 2);
    assert_message(uneven, "the kernel has the shape");

    // And the device still works.
    let ones = Tensor::ones((1, 1, 4), DType::F32, &device)?;
    let sums = ones.conv1d(&Tensor::ones((1, 1, 3), DType::F32, &device)?, 0, 1, 1, 1)?;
    assert_eq!(sums.to_vec3::<f32>()?, [[[3.0, 3.0]]]);
    Ok(())
}
