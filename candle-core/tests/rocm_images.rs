//! Pooling and upsampling on rocm, for random shapes and layouts, against the CPU backend.
use candle_core::{DType, Device, Result, Tensor};

mod rocm_random;
use rocm_random::*;

/// Shape of an image, window and stride of a pool.
type Pool = ([usize; 4], (usize, usize), (usize, usize));

fn draw_pool(r: &mut Random) -> Option<Pool> {
    let shape = r.image(14);
    let size = (r.between(1, 6), r.between(1, 6));
    let stride = (r.between(1, 3), r.between(1, 3));
    (size.0 <= shape[2] && size.1 <= shape[3]).then_some((shape, size, stride))
}

#[test]
fn avg_pool2d() -> Result<()> {
    let device = rocm()?;
    for (seed, mut r, (shape, size, stride)) in cases(draw_pool) {
        let case = format!("{seed}: {shape:?}, window {size:?}, stride {stride:?}");
        for &dtype in FLOATS {
            let x = r.view(&shape, dtype)?;
            let found = x.to_device(&device)?.avg_pool2d_with_stride(size, stride)?;
            let x = x.to_dtype(DType::F64)?;
            let exact = x.avg_pool2d_with_stride(size, stride)?;
            let magnitude = x.abs()?.avg_pool2d_with_stride(size, stride)?;
            // In f32 and f64 each sum, the reciprocal and the product are rounded.
            let roundings = match dtype {
                DType::F16 | DType::BF16 => SUMMED_IN_F32,
                _ => size.0 * size.1 + 2,
            };
            assert_near(&case, &found, &exact, &magnitude, roundings as f64)?;
        }
        for dtype in [DType::U8, DType::U32] {
            let x = r.view(&shape, dtype)?;
            let found = x.to_device(&device)?.avg_pool2d_with_stride(size, stride)?;
            // The CPU backend multiplies integers by the reciprocal, which is 0 for them: its f64 answer, rounded down,
            // is the reference. A 64th is less than the smallest fraction, a 36th, and more than its rounding.
            let averages = x
                .to_dtype(DType::F64)?
                .avg_pool2d_with_stride(size, stride)?;
            let expected = (averages + 1.0 / 64.0)?.floor()?.to_dtype(dtype)?;
            assert_equal(&case, &found, &expected)?;
        }
    }
    Ok(())
}

#[test]
fn max_pool2d() -> Result<()> {
    let device = rocm()?;
    let dtypes = [FLOATS, &[DType::U8, DType::U32, DType::I64]].concat();
    for (seed, mut r, (shape, size, stride)) in cases(draw_pool) {
        let case = format!("{seed}: {shape:?}, window {size:?}, stride {stride:?}");
        for &dtype in &dtypes {
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
    let integers = [DType::U8, DType::U32, DType::I16, DType::I32, DType::I64];
    let draw = |r: &mut Random| Some((r.image(9), r.between(1, 20), r.between(1, 20)));
    for (seed, mut r, (shape, height, width)) in cases(draw) {
        let case = format!("{seed}: {shape:?} to {height} x {width}");
        for &dtype in &[FLOATS, &integers].concat() {
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

/// What an image is scaled to.
#[derive(Debug)]
enum Scale {
    Size(usize, usize),
    Factors(f64, f64),
}

#[test]
fn upsample_bilinear2d() -> Result<()> {
    let device = rocm()?;
    let draw = |r: &mut Random| {
        let scale = match r.between(0, 1) {
            0 => Scale::Size(r.between(1, 20), r.between(1, 20)),
            _ => Scale::Factors(
                r.between(5, 40) as f64 / 10.0,
                r.between(5, 40) as f64 / 10.0,
            ),
        };
        let shape = r.image(9);
        // A factor below 1 may leave nothing of the image.
        let empty =
            matches!(scale, Scale::Factors(h, w) if h.min(w) < 1.0) && shape[2].min(shape[3]) == 1;
        (!empty).then_some((shape, scale, r.between(0, 1) == 1))
    };
    for (seed, mut r, (shape, scale, align)) in cases(draw) {
        let op = |x: &Tensor| match scale {
            Scale::Size(height, width) => x.upsample_bilinear2d(height, width, align),
            Scale::Factors(h, w) => x.upsample_bilinear2d_with_scale(h, w, align),
        };
        let case = format!("{seed}: {shape:?} to {scale:?}, corners aligned: {align}");
        for &dtype in FLOATS {
            let x = r.view(&shape, dtype)?;
            let found = op(&x.to_device(&device)?)?;
            // A contiguous one: the CPU hands back the whole storage when the size stays.
            let exact = op(&x.to_dtype(DType::F64)?.contiguous()?)?;
            let magnitude = Tensor::full(2f64, exact.shape(), &Device::Cpu)?;
            // The kernel interpolates in f64 and rounds once. In f64 there are a dozen roundings, those of the place
            // among up to 9 elements magnified by as much.
            let roundings = if dtype == DType::F64 { 64.0 } else { 1.01 };
            assert_near(&case, &found, &exact, &magnitude, roundings)?;
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
    let pooled = zeros(&[2, 0, 4, 4])?.max_pool2d(2)?;
    assert_eq!(pooled.dims(), [2, 0, 2, 2]);
    let larger = zeros(&[0, 1, 4, 4])?.upsample_nearest2d(8, 8)?;
    assert_eq!(larger.dims(), [0, 1, 8, 8]);
    let error = zeros(&[1, 1, 0, 4])?.upsample_bilinear2d(3, 3, false);
    assert_message(error, "an empty image [1, 1, 0, 4] cannot become [3, 3]");
    Ok(())
}

#[test]
fn errors_name_what_is_wrong() -> Result<()> {
    let image = |dtype| Tensor::zeros((1, 1, 4, 4), dtype, &rocm()?);
    let average = image(DType::I64)?.avg_pool2d(2);
    assert_message(average, "unsupported dtype I64 for op avg_pool2d");
    let largest = image(DType::I16)?.max_pool2d(2);
    assert_message(largest, "unsupported dtype I16 for op max_pool2d");
    let scaled = image(DType::I16)?.upsample_bilinear2d(8, 8, false);
    assert_message(scaled, "unsupported dtype I16 for op upsample_bilinear2d");
    let nothing = image(DType::F32)?.avg_pool2d_with_stride(0, 1);
    assert_message(nothing, "a window of size 0");
    Ok(())
}
