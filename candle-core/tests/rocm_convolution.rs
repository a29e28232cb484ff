//! Convolutions, pooling and upsampling on rocm, for random shapes and parameters, against the CPU backend in f64.
//!
//! Inputs are rounded to the type under test first, so the reference is exact but for f64's own rounding, and every
//! tolerance is a count of the type's roundings. The device is the one that `CANDLE_HIP_LIBRARY` leads to: a card, or
//! the emulator. Each case prints as its parameters when it fails.
use candle_core::{DType, Device, Result, Tensor};

const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::BF16, DType::F64];
/// Random cases of each operation; each runs for one layout of every operand, in turn, and every type.
const CASES: u64 = 48;

fn rocm() -> Result<Device> {
    Device::new_rocm(0)
}

/// Numbers that look random and are the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Neighbouring seeds start alike.
        for _ in 0..8 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 24
    }

    /// A number from `low` to `high`, both included.
    fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.next() as usize % (high - low + 1)
    }

    /// Numbers in [-2, 2) for floats, below 200 for integers, where two of them overflow u8.
    fn tensor(&mut self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let count = shape.iter().product();
        let mut number = || (self.next() % (1 << 20)) as f64 / f64::from(1 << 20);
        let numbers: Vec<f64> = match dtype.is_float() {
            true => (0..count).map(|_| number() * 4.0 - 2.0).collect(),
            false => (0..count).map(|_| (number() * 200.0).floor()).collect(),
        };
        Tensor::from_vec(numbers, shape, &Device::Cpu)?.to_dtype(dtype)
    }

    /// A tensor of this shape on the CPU: contiguous, within a larger one, with its dimensions stored backwards, or
    /// one element of the first dimension repeated.
    fn view(&mut self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        match self.next() % 4 {
            0 => self.tensor(shape, dtype),
            1 => {
                let larger: Vec<usize> = shape.iter().map(|d| d + 2).collect();
                let t = self.tensor(&larger, dtype)?;
                let each = shape.iter().enumerate();
                each.map(|(dim, &len)| (dim, len))
                    .try_fold(t, |t, (dim, len)| t.narrow(dim, 1, len))
            }
            2 => {
                let backwards: Vec<usize> = shape.iter().rev().copied().collect();
                let order: Vec<usize> = (0..shape.len()).rev().collect();
                self.tensor(&backwards, dtype)?.permute(order)
            }
            _ => {
                let one = [&[1], &shape[1..]].concat();
                self.tensor(&one, dtype)?.broadcast_as(shape)
            }
        }
    }
}

/// Half the distance from 1 to the next number: the relative error of one rounding.
fn unit_roundoff(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 2f64.powi(-53),
        DType::F32 => 2f64.powi(-24),
        DType::F16 => 2f64.powi(-11),
        DType::BF16 => 2f64.powi(-8),
        _ => 0.0,
    }
}

/// Half the smallest number: the absolute error of rounding a tiny result (f16 has no smaller steps than 2^-24).
fn smallest_roundoff(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-25),
        _ => 0.0,
    }
}

fn doubles(t: &Tensor) -> Result<Vec<f64>> {
    t.to_device(&Device::Cpu)?
        .flatten_all()?
        .to_dtype(DType::F64)?
        .to_vec1()
}

/// Asserts that each element of `found` is as near to the reference as `roundings` roundings of numbers up to
/// `magnitude` allow.
fn assert_near(
    case: &str,
    found: &Tensor,
    exact: &Tensor,
    magnitude: &Tensor,
    roundings: f64,
) -> Result<()> {
    let dtype = found.dtype();
    assert!(
        found.device().is_rocm(),
        "{case}: the result left the device"
    );
    assert_eq!(found.dims(), exact.dims(), "{case}");
    let (unit, least) = (unit_roundoff(dtype), smallest_roundoff(dtype));
    let magnitudes = doubles(magnitude)?;
    for (i, (found, exact)) in doubles(found)?.into_iter().zip(doubles(exact)?).enumerate() {
        let allowed = roundings * (unit * magnitudes[i] + least);
        assert!(
            (found - exact).abs() <= allowed,
            "{case} {dtype:?}: element {i} is {found}, not {exact}; {allowed:e} is allowed"
        );
    }
    Ok(())
}

fn assert_equal(case: &str, found: &Tensor, expected: &Tensor) -> Result<()> {
    assert!(
        found.device().is_rocm(),
        "{case}: the result left the device"
    );
    assert_eq!(found.dims(), expected.dims(), "{case}");
    assert_eq!(found.dtype(), expected.dtype(), "{case}");
    assert_eq!(
        doubles(found)?,
        doubles(expected)?,
        "{case} {:?}",
        found.dtype()
    );
    Ok(())
}

/// Runs `op` on views of the two shapes, in each of `dtypes` on rocm and in f64 on the CPU.
fn check_product(
    case: &str,
    random: &mut Random,
    (x_shape, kernel_shape): (&[usize], &[usize]),
    dtypes: &[DType],
    op: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<()> {
    let device = rocm()?;
    for &dtype in dtypes {
        let (x, kernel) = (
            random.view(x_shape, dtype)?,
            random.view(kernel_shape, dtype)?,
        );
        let case = format!("{case}, strides {:?} and {:?}", x.stride(), kernel.stride());
        let found = op(&x.to_device(&device)?, &kernel.to_device(&device)?)?;
        // The CPU's conv1d multiplies by the wrong elements of a kernel that is not contiguous.
        let double = |t: &Tensor| t.to_dtype(DType::F64)?.contiguous();
        let (x, kernel) = (double(&x)?, double(&kernel)?);
        let exact = op(&x, &kernel)?;
        let magnitude = op(&x.abs()?, &kernel.abs()?)?;
        // f16 and bf16 are summed in f32 and rounded once, or once per overlapping window of a transposed
        // convolution; in f32 and f64 each of the products and sums is rounded.
        let taps: usize = kernel_shape[2..].iter().product();
        let roundings = match dtype {
            DType::F16 | DType::BF16 => 2 * taps + 2,
            _ => 2 * kernel_shape.iter().product::<usize>() + 2,
        };
        assert_near(&case, &found, &exact, &magnitude, roundings as f64)?;
    }
    Ok(())
}

/// Whether a kernel fits into the padded input.
fn fits(length: usize, taps: usize, padding: usize, dilation: usize) -> bool {
    length + 2 * padding > dilation * (taps - 1)
}

#[test]
fn conv1d() -> Result<()> {
    for seed in 0..CASES {
        let mut r = Random::new(seed);
        let (batch, groups) = (r.between(1, 3), r.between(1, 3));
        let (c_in, c_out) = (r.between(1, 4), r.between(1, 5));
        let (length, taps) = (r.between(1, 40), r.between(1, 5));
        let (padding, stride, dilation) = (r.between(0, 3), r.between(1, 3), r.between(1, 3));
        if !fits(length, taps, padding, dilation) {
            continue;
        }
        let x = [batch, c_in * groups, length];
        let kernel = [c_out * groups, c_in, taps];
        let case = format!(
            "{seed}: {x:?} * {kernel:?}, padding {padding}, stride {stride}, dilation {dilation}, groups {groups}"
        );
        check_product(&case, &mut r, (&x, &kernel), FLOATS, |x, k| {
            x.conv1d(k, padding, stride, dilation, groups)
        })?;
    }
    Ok(())
}

#[test]
fn conv2d() -> Result<()> {
    for seed in 0..CASES {
        let mut r = Random::new(seed);
        let (batch, groups) = (r.between(1, 3), r.between(1, 3));
        let (c_in, c_out) = (r.between(1, 4), r.between(1, 5));
        let (height, width) = (r.between(1, 12), r.between(1, 12));
        let (taps_h, taps_w) = (r.between(1, 4), r.between(1, 4));
        let (padding, stride, dilation) = (r.between(0, 2), r.between(1, 3), r.between(1, 2));
        if !fits(height, taps_h, padding, dilation) || !fits(width, taps_w, padding, dilation) {
            continue;
        }
        let x = [batch, c_in * groups, height, width];
        let kernel = [c_out * groups, c_in, taps_h, taps_w];
        let case = format!(
            "{seed}: {x:?} * {kernel:?}, padding {padding}, stride {stride}, dilation {dilation}, groups {groups}"
        );
        check_product(&case, &mut r, (&x, &kernel), FLOATS, |x, k| {
            x.conv2d(k, padding, stride, dilation, groups)
        })?;
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
        // Each operand in several layouts.
        for _ in 0..4 {
            let case = format!("{x:?} * {kernel:?}, stride {stride}");
            check_product(&case, &mut r, (&x, &kernel), FLOATS, |x, k| {
                x.conv2d(k, 0, stride, 1, 1)
            })?;
            let (x, kernel) = (
                [x[0], x[1], x[2] * x[3]],
                [kernel[0], kernel[1], kernel[2] * kernel[3]],
            );
            check_product(&case, &mut r, (&x, &kernel), FLOATS, |x, k| {
                x.conv1d(k, 0, stride, 1, 1)
            })?;
        }
    }
    Ok(())
}

#[test]
fn conv_transpose1d() -> Result<()> {
    for seed in 0..CASES {
        let mut r = Random::new(seed);
        let (batch, groups) = (r.between(1, 3), r.between(1, 3));
        let (c_in, c_out) = (r.between(1, 4), r.between(1, 5));
        let (length, taps) = (r.between(1, 20), r.between(1, 6));
        let (stride, dilation) = (r.between(1, 3), r.between(1, 2));
        let (padding, output_padding) = (r.between(0, 2), r.between(0, stride - 1));
        // candle's own formula subtracts the padding first.
        if (length - 1) * stride <= 2 * padding {
            continue;
        }
        let x = [batch, c_in * groups, length];
        let kernel = [c_in * groups, c_out, taps];
        let case = format!(
            "{seed}: {x:?} * {kernel:?}, padding {padding}, output padding {output_padding}, stride {stride}, \
             dilation {dilation}, groups {groups}"
        );
        check_product(&case, &mut r, (&x, &kernel), FLOATS, |x, k| {
            x.conv_transpose1d(k, padding, output_padding, stride, dilation, groups)
        })?;
    }
    Ok(())
}

#[test]
fn conv_transpose2d() -> Result<()> {
    for seed in 0..CASES {
        let mut r = Random::new(seed);
        let (batch, c_in, c_out) = (r.between(1, 3), r.between(1, 4), r.between(1, 4));
        let (height, width) = (r.between(2, 7), r.between(2, 7));
        let (taps_h, taps_w) = (r.between(1, 4), r.between(1, 4));
        let (stride, dilation) = (r.between(1, 3), r.between(1, 2));
        let (padding, output_padding) = (r.between(0, 1), r.between(0, stride - 1));
        let size = |length: usize, taps: usize| {
            (length - 1) * stride + dilation * (taps - 1) + output_padding + 1
        };
        if size(height, taps_h) <= 2 * padding || size(width, taps_w) <= 2 * padding {
            continue;
        }
        let (x, kernel) = ([batch, c_in, height, width], [c_in, c_out, taps_h, taps_w]);
        let case = format!(
            "{seed}: {x:?} * {kernel:?}, padding {padding}, output padding {output_padding}, stride {stride}, \
             dilation {dilation}"
        );
        check_product(&case, &mut r, (&x, &kernel), FLOATS, |x, k| {
            x.conv_transpose2d(k, padding, output_padding, stride, dilation)
        })?;
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

/// Shape, window and stride of a pool.
fn pool_case(seed: u64) -> Option<(Random, [usize; 4], (usize, usize), (usize, usize))> {
    let mut r = Random::new(seed);
    let shape = [
        r.between(1, 3),
        r.between(1, 4),
        r.between(1, 14),
        r.between(1, 14),
    ];
    let size = (r.between(1, 6), r.between(1, 6));
    let stride = (r.between(1, 3), r.between(1, 3));
    (size.0 <= shape[2] && size.1 <= shape[3]).then_some((r, shape, size, stride))
}

#[test]
fn avg_pool2d() -> Result<()> {
    let device = rocm()?;
    for seed in 0..CASES {
        let Some((mut r, shape, size, stride)) = pool_case(seed) else {
            continue;
        };
        let case = format!("{seed}: {shape:?}, window {size:?}, stride {stride:?}");
        for &dtype in FLOATS {
            let x = r.view(&shape, dtype)?;
            let found = x.to_device(&device)?.avg_pool2d_with_stride(size, stride)?;
            let x = x.to_dtype(DType::F64)?;
            let exact = x.avg_pool2d_with_stride(size, stride)?;
            let magnitude = x.abs()?.avg_pool2d_with_stride(size, stride)?;
            // Each sum, the reciprocal and the product; sums of f16 and bf16 are f32's.
            let roundings = (size.0 * size.1 + 2) as f64;
            assert_near(&case, &found, &exact, &magnitude, roundings)?;
        }
        for dtype in [DType::U8, DType::U32] {
            let x = r.view(&shape, dtype)?;
            let found = x.to_device(&device)?.avg_pool2d_with_stride(size, stride)?;
            // The CPU backend multiplies integers by the reciprocal, which is 0 for them: its f64 answer, rounded down,
            // is the reference. A 64th is less than the smallest fraction, a 36th, and more than its rounding.
            let sums = x
                .to_dtype(DType::F64)?
                .avg_pool2d_with_stride(size, stride)?;
            let expected = (sums + 1.0 / 64.0)?.floor()?.to_dtype(dtype)?;
            assert_equal(&case, &found, &expected)?;
        }
    }
    Ok(())
}

#[test]
fn max_pool2d() -> Result<()> {
    let device = rocm()?;
    for seed in 0..CASES {
        let Some((mut r, shape, size, stride)) = pool_case(seed) else {
            continue;
        };
        let case = format!("{seed}: {shape:?}, window {size:?}, stride {stride:?}");
        for &dtype in [FLOATS, &[DType::U8, DType::U32, DType::I64]]
            .concat()
            .iter()
        {
            let x = r.view(&shape, dtype)?;
            let found = x.to_device(&device)?.max_pool2d_with_stride(size, stride)?;
            assert_equal(&case, &found, &x.max_pool2d_with_stride(size, stride)?)?;
        }
    }
    Ok(())
}

#[test]
fn upsample_nearest() -> Result<()> {
    let device = rocm()?;
    for seed in 0..CASES {
        let mut r = Random::new(seed);
        let shape = [
            r.between(1, 3),
            r.between(1, 3),
            r.between(1, 9),
            r.between(1, 9),
        ];
        let (height, width) = (r.between(1, 20), r.between(1, 20));
        let case = format!("{seed}: {shape:?} to {height} x {width}");
        let integers = [DType::U8, DType::U32, DType::I16, DType::I32, DType::I64];
        for &dtype in [FLOATS, &integers].concat().iter() {
            let x = r.view(&shape, dtype)?;
            let found = x.to_device(&device)?.upsample_nearest2d(height, width)?;
            assert_equal(&case, &found, &x.upsample_nearest2d(height, width)?)?;
            let x = r.view(&shape[1..], dtype)?;
            let found = x.to_device(&device)?.upsample_nearest1d(width)?;
            assert_equal(&case, &found, &x.upsample_nearest1d(width)?)?;
        }
    }
    Ok(())
}

#[test]
fn upsample_bilinear2d() -> Result<()> {
    let device = rocm()?;
    for seed in 0..CASES {
        let mut r = Random::new(seed);
        let shape = [
            r.between(1, 3),
            r.between(1, 3),
            r.between(1, 9),
            r.between(1, 9),
        ];
        let (height, width) = (r.between(1, 20), r.between(1, 20));
        let align = r.between(0, 1) == 1;
        let scales = (
            r.between(5, 40) as f64 / 10.0,
            r.between(5, 40) as f64 / 10.0,
        );
        let by_scale = r.between(0, 1) == 1;
        let op = |x: &Tensor| match by_scale {
            true => x.upsample_bilinear2d_with_scale(scales.0, scales.1, align),
            false => x.upsample_bilinear2d(height, width, align),
        };
        let case = format!(
            "{seed}: {shape:?} to {height} x {width} or by {scales:?} ({by_scale}), corners aligned: {align}"
        );
        for &dtype in FLOATS {
            let x = r.view(&shape, dtype)?;
            let found = op(&x.to_device(&device)?)?;
            let x = x.to_dtype(DType::F64)?;
            // The kernel interpolates in f64 and rounds once; a fused multiplication-addition may round a place in
            // the image otherwise, by a 2^-53 of up to 9 rows.
            let magnitude = Tensor::full(2f64, op(&x)?.shape(), &Device::Cpu)?;
            assert_near(
                &case,
                &found,
                &op(&x)?,
                &magnitude,
                1.0 + 64.0 * f64::from(u8::from(dtype == DType::F64)),
            )?;
        }
    }
    Ok(())
}

/// Elements of integers are cut off after interpolation, as on the CPU.
#[test]
fn upsample_bilinear2d_of_integers() -> Result<()> {
    let device = rocm()?;
    for dtype in [DType::U8, DType::U32] {
        let x = Random::new(5).view(&[2, 3, 4, 5], dtype)?;
        // Powers of two: no place in the image, and no weight, is rounded.
        let found = x.to_device(&device)?.upsample_bilinear2d(8, 20, false)?;
        assert_equal("", &found, &x.upsample_bilinear2d(8, 20, false)?)?;
    }
    Ok(())
}

/// An image that keeps its size is copied element by element, whatever its layout.
#[test]
fn bilinear_to_the_same_size() -> Result<()> {
    let x = Random::new(9).tensor(&[1, 2, 4, 4], DType::F32)?;
    let view = x.transpose(2, 3)?.narrow(1, 1, 1)?;
    let found = view.to_device(&rocm()?)?.upsample_bilinear2d(4, 4, false)?;
    assert_equal("", &found, &view.contiguous()?)
}

#[test]
fn empty_tensors() -> Result<()> {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &rocm()?);
    let none = zeros(&[0, 3, 5, 5])?.conv2d(&zeros(&[2, 3, 3, 3])?, 1, 1, 1, 1)?;
    assert_eq!(none.dims(), [0, 2, 5, 5]);
    // No input channels: sums of nothing.
    let sums = zeros(&[1, 0, 5])?.conv1d(&zeros(&[2, 0, 3])?, 1, 1, 1, 1)?;
    assert_eq!(sums.to_vec3::<f32>()?, [[[0f32; 5]; 2]]);
    assert_eq!(zeros(&[2, 0, 4, 4])?.max_pool2d(2)?.dims(), [2, 0, 2, 2]);
    assert_eq!(
        zeros(&[0, 1, 4, 4])?.upsample_nearest2d(8, 8)?.dims(),
        [0, 1, 8, 8]
    );
    let error = zeros(&[1, 1, 0, 4])?.upsample_bilinear2d(3, 3, false);
    assert_message(error, "an empty image [1, 1, 0, 4] cannot become [3, 3]");
    Ok(())
}

fn assert_message(result: Result<Tensor>, expected: &str) {
    let message = match result {
        Ok(t) => panic!("no error but {t}"),
        Err(e) => e.to_string(),
    };
    assert!(message.contains(expected), "{message:?} lacks {expected:?}");
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
    assert_message(integers, "conv1d is not implemented for I64");
    let pool = zeros(&[1, 1, 4, 4], DType::I64)?.avg_pool2d(2);
    assert_message(pool, "avg_pool2d is not implemented for I64");
    let bilinear = zeros(&[1, 1, 4, 4], DType::I16)?.upsample_bilinear2d(8, 8, false);
    assert_message(bilinear, "upsample_bilinear2d is not implemented for I16");

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
