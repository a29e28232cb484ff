//! Products that share their activations quantize them once, and never see those of yesterday: whatever changes a tensor in
//! place, the next product is that of the new elements.
use candle_core::backend::BackendStorage;
use candle_core::quantized::rocm::products;
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::rocm_backend::hip::counters;
use candle_core::rocm_backend::kernels;
use candle_core::{
    CpuStorage, DType, Device, InplaceOp1, InplaceOp2, InplaceOp3, Layout, Module, Result,
    RocmStorage, Tensor,
};
use std::sync::Mutex;

mod rocm_support;
use rocm_support::{numbers, rocm};

const ROWS: usize = 3;
const K: usize = 256;
const N: usize = 24;

/// The counters of launches are the process's.
static SERIAL: Mutex<()> = Mutex::new(());

fn weights(seed: u64) -> Result<QMatMul> {
    let values = Tensor::from_vec(numbers(N * K, seed), (N, K), &Device::Cpu)?;
    QMatMul::from_qtensor(QTensor::quantize_onto(&values, GgmlDType::Q4_0, &rocm()?)?)
}

fn activations(rows: usize, seed: u64) -> Result<Tensor> {
    Tensor::from_vec(numbers(rows * K, seed), (rows, K), &rocm()?)
}

/// The product with a copy, which shares nothing with `x`.
fn of_a_copy(w: &QMatMul, x: &Tensor) -> Result<Vec<Vec<f32>>> {
    let copy = x.to_device(&Device::Cpu)?.to_device(&rocm()?)?;
    w.forward(&copy)?.to_vec2()
}

fn launches(work: impl FnOnce() -> Result<()>) -> Result<u64> {
    let before = counters();
    work()?;
    Ok(counters().since(&before).launches)
}

#[test]
fn activations_are_quantized_once() -> Result<()> {
    let _serial = SERIAL.lock().unwrap_or_else(|e| e.into_inner());
    let (q, k, v) = (weights(1)?, weights(2)?, weights(3)?);
    let x = activations(ROWS, 4)?;
    let three = || -> Result<()> {
        for w in [&q, &k, &v] {
            w.forward(&x)?;
        }
        Ok(())
    };
    assert_eq!(launches(three)?, 4, "one quantization, three products");
    // Another shape of the same elements, and a clone, are the same activations; a part of them is not.
    let reshaped = x.clone().reshape((1, ROWS, K))?;
    assert_eq!(launches(|| q.forward(&reshaped).map(drop))?, 1);
    let part = x.narrow(0, 1, 1)?;
    assert_eq!(launches(|| q.forward(&part).map(drop))?, 2);
    assert_eq!(q.forward(&part)?.to_vec2::<f32>()?, of_a_copy(&q, &part)?);
    assert_eq!(q.forward(&x)?.to_vec2::<f32>()?, of_a_copy(&q, &x)?);
    Ok(())
}

/// Launches by the types of three weights that read the same activations: what is left when these are quantized.
#[test]
fn weights_of_one_type_share_a_launch() -> Result<()> {
    use GgmlDType::{Q4K, Q6K, Q8_0};
    let _serial = SERIAL.lock().unwrap_or_else(|e| e.into_inner());
    let quantized = |dtype, n: usize| {
        let values = Tensor::from_vec(numbers(n * K, 5), (n, K), &Device::Cpu)?;
        QTensor::quantize_onto(&values, dtype, &rocm()?)
    };
    for (types, expected) in [
        ([Q4K, Q4K, Q4K], 1),
        ([Q4K, Q4K, Q6K], 2),
        ([Q4K, Q6K, Q4K], 2),
        ([Q8_0, Q6K, Q4K], 3),
    ] {
        let w = [
            quantized(types[0], 40)?,
            quantized(types[1], 9)?,
            quantized(types[2], 16)?,
        ];
        for (rows, together) in [(1, true), (8, true), (9, false)] {
            let x = activations(rows, 6)?;
            let several = || products(&[(&w[0], None), (&w[1], None), (&w[2], None)], &x);
            let mut found = several()?;
            assert_eq!(found.is_some(), together, "{types:?} {rows}");
            let again = launches(|| {
                found = several()?;
                Ok(())
            })?;
            assert_eq!(
                again,
                if together { expected } else { 0 },
                "{types:?} {rows}"
            );
            for (found, n) in found.iter().flatten().zip([40, 9, 16]) {
                assert_eq!(found.dims(), [rows, n]);
            }
        }
    }
    let w = quantized(Q8_0, 40)?;
    let four = launches(|| products(&[(&w, None); 4], &activations(2, 7)?).map(drop))?;
    assert_eq!(four, 3, "the activations, three weights, the fourth");
    // What belongs to other kernels, or to nobody, is left alone.
    let x = activations(2, 7)?;
    let dense = quantized(GgmlDType::F16, 8)?;
    let (short, elsewhere) = (
        activations(1, 8)?.narrow(1, 0, 39)?,
        Tensor::zeros(40, DType::F32, &Device::Cpu)?,
    );
    for (weights, x) in [
        (&[(&w, None), (&dense, None)][..], &x),
        (&[(&w, Some(&short))], &x),
        (&[(&w, Some(&elsewhere))], &x),
        (&[(&w, None)], &x.narrow(1, 0, 32)?),
        (&[(&w, None)], &x.to_device(&Device::Cpu)?),
        (&[(&w, None)], &x.to_dtype(DType::F64)?),
        (&[(&w, None)], &x.flatten_all()?),
        (&[(&w, None)], &x.narrow(0, 0, 0)?),
    ] {
        let none = launches(|| {
            assert!(products(weights, x)?.is_none());
            Ok(())
        })?;
        assert_eq!(none, 0);
    }
    Ok(())
}

/// Overwrites the storage with numbers of the host's, as any kernel could.
struct Overwrite(Vec<f32>);

impl Overwrite {
    fn run(&self, x: &RocmStorage) -> Result<()> {
        let new = Tensor::new(&self.0[..], &Device::Rocm(x.device().clone()))?;
        let (new, _) = new.storage_and_layout();
        let candle_core::Storage::Rocm(new) = &*new else {
            candle_core::bail!("not on rocm")
        };
        let launch = x.device().launch(&kernels::UNARY, "ucopy", "f32", "")?;
        let count = self.0.len();
        let launch = launch.arg(count).arg(0usize).arg(0usize);
        let launch = launch.arg(new.ptr_at(0)).arg(x.ptr_at(0)).over(count);
        // SAFETY: the arguments of the translated copy, for contiguous operands of `count` elements.
        unsafe { launch.run() }
    }
}

fn unused<T>() -> Result<T> {
    candle_core::bail!("only on rocm")
}

impl InplaceOp1 for Overwrite {
    fn name(&self) -> &'static str {
        "overwrite"
    }
    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
        unused()
    }
    fn rocm_fwd(&self, x: &mut RocmStorage, _: &Layout) -> Result<()> {
        self.run(x)
    }
}

impl InplaceOp2 for Overwrite {
    fn name(&self) -> &'static str {
        "overwrite"
    }
    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<()> {
        unused()
    }
    fn rocm_fwd(&self, x: &mut RocmStorage, _: &Layout, _: &RocmStorage, _: &Layout) -> Result<()> {
        self.run(x)
    }
}

impl InplaceOp3 for Overwrite {
    fn name(&self) -> &'static str {
        "overwrite"
    }
    fn cpu_fwd(
        &self,
        _: &mut CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<()> {
        unused()
    }
    fn rocm_fwd(
        &self,
        x: &mut RocmStorage,
        _: &Layout,
        _: &RocmStorage,
        _: &Layout,
        _: &RocmStorage,
        _: &Layout,
    ) -> Result<()> {
        self.run(x)
    }
}

#[test]
fn changes_in_place_are_seen() -> Result<()> {
    let _serial = SERIAL.lock().unwrap_or_else(|e| e.into_inner());
    let w = weights(5)?;
    let row = activations(1, 6)?;
    let ids = Tensor::zeros((1, K), candle_core::DType::U32, &rocm()?)?;
    let overwrite = || Overwrite(numbers(ROWS * K, 7));
    let other = activations(ROWS, 8)?;
    type Change<'a> = (&'a str, Box<dyn Fn(&Tensor) -> Result<()> + 'a>);
    let changes: [Change; 8] = [
        // Rows beside each other are one stretch: a copy; columns are copied as rows of a matrix.
        ("slice_set of rows", Box::new(|x| x.slice_set(&row, 0, 1))),
        (
            "slice_set of columns",
            Box::new(|x| x.slice_set(&other.narrow(1, 0, 5)?.contiguous()?, 1, 3)),
        ),
        ("scatter_set", Box::new(|x| x.scatter_set(&ids, &row, 0))),
        (
            "scatter_add_set",
            Box::new(|x| x.scatter_add_set(&ids, &row, 0)),
        ),
        ("zero_set", Box::new(|x| x.zero_set())),
        ("one operand", Box::new(|x| x.inplace_op1(&overwrite()))),
        (
            "two operands",
            Box::new(|x| x.inplace_op2(&other, &overwrite())),
        ),
        (
            "three operands",
            Box::new(|x| x.inplace_op3(&other, &ids, &overwrite())),
        ),
    ];
    for (what, change) in changes {
        let x = activations(ROWS, 9)?;
        let before = w.forward(&x)?.to_vec2::<f32>()?;
        assert_eq!(launches(|| w.forward(&x).map(drop))?, 1, "they are kept");
        change(&x)?;
        let after = w.forward(&x)?.to_vec2::<f32>()?;
        assert_eq!(after, of_a_copy(&w, &x)?, "{what}");
        assert_ne!(after, before, "{what} changed nothing");
    }
    Ok(())
}

/// Threads that multiply the same tensor while another one changes it in between: each product is that of a whole state.
#[test]
fn threads_share_activations() -> Result<()> {
    let _serial = SERIAL.lock().unwrap_or_else(|e| e.into_inner());
    const ROUNDS: usize = 6;
    let w = weights(10)?;
    let states = [activations(ROWS, 11)?, activations(ROWS, 12)?];
    let expected = [of_a_copy(&w, &states[0])?, of_a_copy(&w, &states[1])?];
    let x = states[0].copy()?;
    std::thread::scope(|scope| -> Result<()> {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    for _ in 0..ROUNDS {
                        let found = w.forward(&x)?.to_vec2::<f32>()?;
                        assert!(expected.contains(&found), "a mixture of states");
                    }
                    Ok(())
                })
            })
            .collect();
        for round in 1..=ROUNDS {
            x.slice_set(&states[round % 2], 0, 0)?;
        }
        for reader in readers {
            reader.join().expect("no panic")?;
        }
        Ok(())
    })?;
    assert_eq!(w.forward(&x)?.to_vec2::<f32>()?, expected[ROUNDS % 2]);
    Ok(())
}

/// What is recorded quantizes its input itself, and a launch changes what was quantized before.
#[test]
fn graphs_see_new_elements() -> Result<()> {
    let _serial = SERIAL.lock().unwrap_or_else(|e| e.into_inner());
    let device = rocm()?;
    let (w, after) = (weights(15)?, weights(16)?);
    let x = activations(ROWS, 17)?;
    // K outputs, for another product.
    let square = Tensor::from_vec(numbers(K * K, 18), (K, K), &Device::Cpu)?;
    let square = QTensor::quantize_onto(&square, GgmlDType::Q8_0, &device)?;
    let square = QMatMul::from_qtensor(square)?;
    let step = || {
        let y = square.forward(&x)?;
        Ok((w.forward(&x)?, y))
    };
    step()?;
    let (graph, (out, y)) = device.as_rocm_device()?.graph(step)?;
    for seed in 20..23 {
        x.slice_set(&activations(ROWS, seed)?, 0, 0)?;
        graph.launch()?;
        assert_eq!(out.to_vec2::<f32>()?, of_a_copy(&w, &x)?);
        assert_eq!(after.forward(&y)?.to_vec2::<f32>()?, of_a_copy(&after, &y)?);
    }
    Ok(())
}

/// What is kept goes with the tensor, and a tensor keeps one form at a time.
#[test]
fn memory_lives_as_long_as_the_tensor() -> Result<()> {
    let _serial = SERIAL.lock().unwrap_or_else(|e| e.into_inner());
    let device = rocm()?;
    let Device::Rocm(card) = &device else {
        candle_core::bail!("not on rocm")
    };
    let w = weights(13)?;
    let blocks = || card.pool_statistics().used_blocks;
    let at_first = blocks();
    let x = activations(ROWS, 14)?;
    for part in 0..ROWS {
        w.forward(&x.narrow(0, part, 1)?)?;
        w.forward(&x)?;
    }
    assert_eq!(blocks(), at_first + 2, "the tensor and one form");
    drop(x);
    assert_eq!(blocks(), at_first);
    Ok(())
}
