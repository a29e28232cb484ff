//! Where candle's CUDA backend 0.11.1 errs or has no kernel, rocm gives the CPU's answer. Each test names the fault.
use crate::cases::rocm;
use crate::nearness::{bits, identical, rounded, wide};
use crate::views::{Content, View, Way, ALL};
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Device, Module, Result, Tensor};

/// CUDA adds the offset of a view twice: once to the pointer, once in the kernel.
#[test]
fn index_add_from_and_to_views_with_an_offset() -> Result<()> {
    let device = rocm()?;
    let whole = Tensor::arange(0f32, 40.0, &Device::Cpu)?.reshape((8, 5))?;
    let source = Tensor::arange(100f32, 130.0, &Device::Cpu)?.reshape((6, 5))?;
    let ids = Tensor::new(&[9u32, 1, 0, 1], &Device::Cpu)?.narrow(0, 1, 3)?;
    for (x, source) in [
        (whole.narrow(0, 3, 2)?, source.narrow(0, 2, 3)?),
        (whole.narrow(0, 6, 2)?, source.narrow(0, 3, 3)?),
        (whole.narrow(0, 0, 2)?, source.narrow(0, 3, 3)?),
    ] {
        let found = x.to_device(&device)?.index_add(
            &ids.to_device(&device)?,
            &source.to_device(&device)?,
            0,
        )?;
        identical(&found, &x.index_add(&ids, &source, 0)?)?;
    }
    Ok(())
}

/// CUDA asks for a kernel `ucopy_f8e4m3`; its own is called `ucopy_f8_e4m3`.
#[test]
fn strided_copies_of_f8() -> Result<()> {
    for way in [Way::Inside, Way::Backwards, Way::Stepped, Way::Repeated(1)] {
        let x = View { way, seed: 9 }.tensor(&[7, 5], DType::F8E4M3, Content::Anything)?;
        identical(&x.to_device(&rocm()?)?.contiguous()?, &x)?;
        identical(&x.to_device(&rocm()?)?.t()?.contiguous()?, &x.t()?)?;
    }
    Ok(())
}

/// CUDA's unary and binary kernels of f8 have names that are looked up differently, as do those of `where`.
#[test]
fn functions_of_f8() -> Result<()> {
    let x = View::contiguous(3).tensor(&[33], DType::F8E4M3, Content::Between(-4.0, 4.0))?;
    let there = x.to_device(&rocm()?)?;
    let exact_x = wide(&x)?;
    rounded(&there.neg()?, &exact_x.neg()?, None, 0.0)?;
    rounded(&there.tanh()?, &exact_x.tanh()?, None, 2.0)?;
    let mask = x.ge(&x.zeros_like()?)?;
    let found = mask
        .to_device(&rocm()?)?
        .where_cond(&there, &there.zeros_like()?)?;
    identical(&found, &mask.where_cond(&x, &x.zeros_like()?)?)
}

/// CUDA's copy of rows, fill and slices have no kernels of i16 and i32.
#[test]
fn sixteen_and_thirty_two_bit_integers_are_moved() -> Result<()> {
    for dtype in [DType::I16, DType::I32] {
        let x = View::contiguous(4).tensor(&[6, 7], dtype, Content::Whole(-100, 100))?;
        let there = x.to_device(&rocm()?)?;
        identical(
            &Tensor::cat(&[&there, &there], 1)?,
            &Tensor::cat(&[&x, &x], 1)?,
        )?;
        identical(&there.t()?.contiguous()?, &x.t()?)?;
        identical(
            &Tensor::ones((3, 3), dtype, &rocm()?)?,
            &Tensor::ones((3, 3), dtype, &Device::Cpu)?,
        )?;
    }
    Ok(())
}

/// CUDA's product of a quantized matrix with 2 to 8 columns writes rows in pairs and guards only the batch: with an odd number of
/// rows the last store is out of bounds.
#[test]
fn quantized_products_with_odd_rows() -> Result<()> {
    for dtype in [
        GgmlDType::Q4_0,
        GgmlDType::Q8_0,
        GgmlDType::Q4K,
        GgmlDType::Q6K,
    ] {
        for rows in [1, 3, 7, 33] {
            let weights = View::contiguous(5).tensor(
                &[rows, 256],
                DType::F32,
                Content::Between(-1.0, 1.0),
            )?;
            let here = QTensor::quantize(&weights, dtype)?;
            let bytes = here.data()?;
            let there = QTensor::quantize(&weights.to_device(&rocm()?)?, dtype)?;
            assert_eq!(there.data()?, bytes, "{dtype:?}");
            let exact = here.dequantize(&Device::Cpu)?.to_dtype(DType::F64)?;
            let there = QMatMul::from_qtensor(there)?;
            for columns in [1, 2, 3, 5, 8, 9] {
                let x = View::contiguous(6).tensor(
                    &[columns, 256],
                    DType::F32,
                    Content::Between(-1.0, 1.0),
                )?;
                let found = there.forward(&x.to_device(&rocm()?)?)?;
                let exact_x = wide(&x)?;
                let exact = exact_x.matmul(&exact.t()?)?;
                // The kernels round x to 8 bits: half a step of 1/127 of each block's largest number, under 1/127 here,
                // times the sum of the weights' sizes.
                let bound = (weights.abs()?.sum(1)?.to_vec1::<f32>()?.into_iter())
                    .map(|sum| f64::from(sum) / 127.0);
                let bound: Vec<f64> = bound.collect();
                crate::nearness::within(&found, &exact, |i, _| bound[i % rows])?;
            }
        }
    }
    Ok(())
}

/// CUDA reads bytes back through a slice of wider elements, whose address need not be aligned.
#[test]
fn bytes_come_back_from_any_offset() -> Result<()> {
    for &dtype in ALL {
        let x = View::contiguous(7).tensor(&[23], dtype, Content::Anything)?;
        let there = x.to_device(&rocm()?)?;
        for start in [1, 3, 5, 22] {
            let (part, there) = (
                x.narrow(0, start, 23 - start)?,
                there.narrow(0, start, 23 - start)?,
            );
            assert_eq!(
                bits(&there.contiguous()?)?,
                bits(&part)?,
                "{dtype:?} from {start}"
            );
        }
    }
    Ok(())
}
