//! The same mistake gives the same kind of error on rocm as on the CPU, so that a program that handles one handles both.
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Device, Error, Module, Result, Tensor, D};
use std::mem::discriminant;
use std::sync::Arc;

struct Mistake {
    name: &'static str,
    make: fn(&Device) -> Result<Tensor>,
}

const fn mistake(name: &'static str, make: fn(&Device) -> Result<Tensor>) -> Mistake {
    Mistake { name, make }
}

fn floats(device: &Device, dims: &[usize]) -> Result<Tensor> {
    Tensor::ones(dims, DType::F32, device)
}

fn whole(device: &Device, dims: &[usize]) -> Result<Tensor> {
    Tensor::ones(dims, DType::I64, device)
}

/// Weights `[4, 32]` in Q4_0.
fn blocks(device: &Device) -> Result<QTensor> {
    QTensor::quantize_onto(&floats(&Device::Cpu, &[4, 32])?, GgmlDType::Q4_0, device)
}

const MISTAKES: &[Mistake] = &[
    // Shapes.
    mistake("add of other shapes", |d| {
        floats(d, &[2, 3])? + floats(d, &[3, 2])?
    }),
    mistake("broadcast of shapes that do not fit", |d| {
        floats(d, &[2, 3])?.broadcast_add(&floats(d, &[2])?)
    }),
    mistake("matmul of shapes that do not fit", |d| {
        floats(d, &[2, 3])?.matmul(&floats(d, &[2, 3])?)
    }),
    mistake("matmul of other batches", |d| {
        floats(d, &[2, 2, 3])?.matmul(&floats(d, &[3, 3, 2])?)
    }),
    mistake("reshape to another size", |d| {
        floats(d, &[2, 3])?.reshape((4, 2))
    }),
    mistake("narrow beyond the end", |d| {
        floats(d, &[2, 3])?.narrow(1, 2, 2)
    }),
    mistake("a dimension that is not there", |d| {
        floats(d, &[2, 3])?.sum(2)
    }),
    mistake("transpose of a vector", |d| floats(d, &[2])?.t()),
    mistake("cat of other shapes", |d| {
        Tensor::cat(&[floats(d, &[2, 3])?, floats(d, &[2, 4])?], 0)
    }),
    mistake("stack of nothing", |_| Tensor::stack::<Tensor, _>(&[], 0)),
    mistake("where with other shapes", |d| {
        let condition = Tensor::ones((2, 3), DType::U8, d)?;
        condition.where_cond(&floats(d, &[2, 2])?, &floats(d, &[2, 3])?)
    }),
    mistake("convolution of other channels", |d| {
        floats(d, &[1, 3, 8])?.conv1d(&floats(d, &[2, 2, 3])?, 0, 1, 1, 1)
    }),
    mistake("maximum of nothing", |d| floats(d, &[2, 0])?.max(1)),
    mistake("gather with more dimensions", |d| {
        floats(d, &[2, 3])?.gather(&Tensor::zeros((2, 1, 1), DType::U32, d)?, 1)
    }),
    mistake("index_select by a matrix", |d| {
        floats(d, &[2, 3])?.index_select(&Tensor::zeros((2, 1), DType::U32, d)?, 0)
    }),
    mistake("index_add of other shapes", |d| {
        let ids = Tensor::zeros(2, DType::U32, d)?;
        floats(d, &[2, 3])?.index_add(&ids, &floats(d, &[3, 3])?, 0)
    }),
    mistake("a scalar out of a matrix", |d| {
        let value = floats(d, &[2, 3])?.to_scalar::<f32>()?;
        Tensor::new(value, &Device::Cpu)
    }),
    // Types.
    mistake("add of other types", |d| floats(d, &[2])? + whole(d, &[2])?),
    mistake("matmul of other types", |d| {
        floats(d, &[2, 2])?.matmul(&floats(d, &[2, 2])?.to_dtype(DType::F16)?)
    }),
    mistake("matmul of whole numbers", |d| {
        whole(d, &[2, 2])?.matmul(&whole(d, &[2, 2])?)
    }),
    mistake("powf of whole numbers", |d| whole(d, &[2])?.powf(2.0)),
    mistake("elu of whole numbers", |d| whole(d, &[2])?.elu(1.0)),
    mistake("cast to f4", |d| floats(d, &[2])?.to_dtype(DType::F4)),
    mistake("where by floats", |d| {
        floats(d, &[2])?.where_cond(&floats(d, &[2])?, &floats(d, &[2])?)
    }),
    mistake("index_select by floats", |d| {
        floats(d, &[2, 3])?.index_select(&floats(d, &[2])?, 0)
    }),
    mistake("gather by floats", |d| {
        floats(d, &[2, 3])?.gather(&floats(d, &[2, 3])?, 1)
    }),
    mistake("index_add by floats", |d| {
        floats(d, &[2, 3])?.index_add(&floats(d, &[2])?, &floats(d, &[2, 3])?, 0)
    }),
    mistake("the wrong type of numbers on the host", |d| {
        Tensor::new(floats(d, &[2])?.to_vec1::<u32>()?, &Device::Cpu)
    }),
    // Indices, which a GPU's kernel finds.
    mistake("index_select behind the end", |d| {
        floats(d, &[2, 3])?.index_select(&Tensor::new(&[0u32, 2], d)?, 0)
    }),
    mistake("index_select before the start", |d| {
        floats(d, &[2, 3])?.index_select(&Tensor::new(&[-1i64], d)?, 0)
    }),
    mistake("gather behind the end", |d| {
        floats(d, &[2, 3])?.gather(&Tensor::new(&[[3u32], [0]], d)?, 1)
    }),
    mistake("scatter_add behind the end", |d| {
        let ids = Tensor::new(&[[3u32], [0]], d)?;
        floats(d, &[2, 3])?.scatter_add(&ids, &floats(d, &[2, 1])?, 1)
    }),
    mistake("scatter behind the end", |d| {
        let ids = Tensor::new(&[[3u32], [0]], d)?;
        floats(d, &[2, 3])?.scatter(&ids, &floats(d, &[2, 1])?, 1)
    }),
    mistake("index_add behind the end", |d| {
        let ids = Tensor::new(&[0u32, 7], d)?;
        floats(d, &[2, 3])?.index_add(&ids, &floats(d, &[2, 3])?, 0)
    }),
    mistake("embedding behind the end", |d| {
        floats(d, &[2, 3])?.embedding(&Tensor::new(&[5u32], d)?)
    }),
    mistake("quantized embedding behind the end", |d| {
        Arc::new(blocks(d)?).embedding(&Tensor::new(&[5u32], d)?)
    }),
    // Quantized weights.
    mistake("quantized product of another width", |d| {
        QMatMul::from_qtensor(blocks(d)?)?.forward(&floats(d, &[2, 31])?)
    }),
    mistake("quantized product of whole numbers", |d| {
        QMatMul::from_qtensor(blocks(d)?)?.forward(&whole(d, &[2, 32])?)
    }),
    mistake("quantizing rows that are no blocks", |d| {
        QTensor::quantize(&floats(d, &[2, 33])?, GgmlDType::Q4_0)?.dequantize(d)
    }),
    mistake("sorting a view", |d| {
        floats(d, &[3, 2])?.t()?.arg_sort_last_dim(true)
    }),
    mistake("a slice of a dimension from the end", |d| {
        floats(d, &[3])?.sum(D::Minus2)
    }),
];

/// The error beneath a backtrace and what was being done.
fn root(error: Error) -> Error {
    match error {
        Error::WithBacktrace { inner, .. } | Error::Context { inner, .. } => root(*inner),
        error => error,
    }
}

/// What a kernel finds is an error of whoever waits for the device next: these tests take turns.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    // One that failed has had its turn.
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The error of a mistake, which on a device comes no later than with the result.
fn error(mistake: &Mistake, device: &Device) -> Error {
    let outcome = (mistake.make)(device).and_then(|t| t.to_device(&Device::Cpu));
    match outcome {
        Err(error) => error,
        Ok(_) => panic!("{} passes on {device:?}", mistake.name),
    }
}

#[test]
fn a_mistake_is_the_same_error_as_on_the_cpu() -> Result<()> {
    let _turn = alone();
    let rocm = Device::new_rocm(0)?;
    let mut others = Vec::new();
    for mistake in MISTAKES {
        let (cpu, found) = (error(mistake, &Device::Cpu), error(mistake, &rocm));
        let text = format!("{}:\n    cpu: {cpu}\n    rocm: {found}", mistake.name);
        println!("{text}");
        let (cpu, found) = (root(cpu), root(found));
        // Where the CPU's error is a mere text, rocm's may have a kind.
        if !matches!(cpu, Error::Msg(_)) && discriminant(&cpu) != discriminant(&found) {
            others.push(text);
        }
    }
    assert!(
        others.is_empty(),
        "other kinds of errors:\n{}",
        others.join("\n")
    );
    // And the device goes on.
    assert_eq!(floats(&rocm, &[2])?.to_vec1::<f32>()?, [1.0; 2]);
    Ok(())
}

/// What an index out of range says beyond the CPU's error: that it came late.
#[test]
fn an_index_found_on_the_device_says_so() -> Result<()> {
    let _turn = alone();
    let rocm = Device::new_rocm(0)?;
    let x = floats(&rocm, &[2, 3])?;
    let y = x.index_select(&Tensor::new(&[-4i64], &rocm)?, 0)?;
    let late = y.to_vec2::<f32>().expect_err("an index").to_string();
    crate::child::contains(
        &late,
        &["index-select", "index -4", "size 2", "found on the device"],
    );
    Ok(())
}

#[test]
fn tensors_of_several_devices_do_not_mix() -> Result<()> {
    let _turn = alone();
    let rocm = Device::new_rocm(0)?;
    let (here, there) = (floats(&Device::Cpu, &[2, 2])?, floats(&rocm, &[2, 2])?);
    let ids = Tensor::zeros(1, DType::U32, &Device::Cpu)?;
    let outcomes = [
        &here + &there,
        there.matmul(&here),
        there.index_select(&ids, 0),
        Tensor::cat(&[&here, &there], 0),
        there.broadcast_mul(&here),
        there.index_add(&ids, &here.narrow(0, 0, 1)?, 0),
        there.slice_scatter(&here, 0, 0),
    ];
    for (i, outcome) in outcomes.into_iter().enumerate() {
        let error = outcome.expect_err("two devices");
        let text = error.to_string();
        assert!(
            matches!(root(error), Error::DeviceMismatchBinaryOp { .. }),
            "{i}: {text}"
        );
    }
    let product = QMatMul::from_qtensor(blocks(&rocm)?)?.forward(&floats(&Device::Cpu, &[1, 32])?);
    crate::child::contains(
        &product.expect_err("two devices").to_string(),
        &["cpu", "RocmDevice"],
    );
    Ok(())
}
