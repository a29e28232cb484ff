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

fn quantized(dtype: GgmlDType, n: usize, k: usize) -> Result<QTensor> {
    let values = Tensor::from_vec(numbers(n * k, 5), (n, k), &Device::Cpu)?;
    QTensor::quantize_onto(&values, dtype, &rocm()?)
}

/// Launches by the types of three weights that read the same activations: what is left when these are quantized.
#[test]
fn weights_of_few_types_share_a_launch() -> Result<()> {
    use GgmlDType::{Q4K, Q6K, Q8_0};
    let _serial = SERIAL.lock().unwrap_or_else(|e| e.into_inner());
    let quantized = |dtype, n| quantized(dtype, n, K);
    // With one row, and with more.
    for (types, expected) in [
        ([Q4K, Q4K, Q4K], [1, 1]),
        ([Q4K, Q4K, Q6K], [1, 2]),
        ([Q4K, Q6K, Q4K], [1, 2]),
        ([Q8_0, Q6K, Q4K], [2, 3]),
        ([Q8_0, Q8_0, Q4K], [2, 2]),
    ] {
        let w = [
            quantized(types[0], 40)?,
            quantized(types[1], 9)?,
            quantized(types[2], 16)?,
        ];
        for (rows, expected) in [(1, expected[0]), (2, expected[1]), (8, expected[1]), (9, 0)] {
            let together = expected > 0;
            let x = activations(rows, 6)?;
            let several = || products(&[(&w[0], None), (&w[1], None), (&w[2], None)], &x);
            let mut found = several()?;
            assert_eq!(found.is_some(), together, "{types:?} {rows}");
            let again = launches(|| {
                found = several()?;
                Ok(())
            })?;
            assert_eq!(again, expected, "{types:?} {rows}");
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

/// Two types in a launch give the bits that each gives by itself, in whichever order, with a bias and without.
#[test]
fn weights_of_two_types_give_the_same_bits() -> Result<()> {
    use GgmlDType::{Q2K, Q3K, Q4K, Q5K, Q5_0, Q5_1, Q6K, Q8_0};
    let _serial = SERIAL.lock().unwrap_or_else(|e| e.into_inner());
    // More portions than a workgroup has lanes, whatever the format, and a last one that is not full.
    const LONG: usize = 17 * 256;
    let bits = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
    let device = rocm()?;
    for (a, b) in [
        (Q4K, Q6K),
        (Q5K, Q6K),
        (Q4K, Q5K),
        (Q3K, Q4K),
        (Q3K, Q5K),
        (Q2K, Q4K),
        (Q2K, Q3K),
        (Q5_0, Q8_0),
        (Q5_1, Q8_0),
    ] {
        // Queries, keys and values; none of them a whole number of workgroups' rows.
        let (many, few, other) = (
            quantized(a, 13, LONG)?,
            quantized(a, 3, LONG)?,
            quantized(b, 6, LONG)?,
        );
        let orders = [
            vec![&many, &few, &other],
            vec![&many, &other, &few],
            vec![&other, &few],
        ];
        for (weights, dtype) in orders.iter().zip([DType::F32, DType::F16, DType::BF16]) {
            let what = format!("{a:?} {b:?} {dtype:?}");
            let x = Tensor::from_vec(numbers(LONG, 6), (1, LONG), &device)?.to_dtype(dtype)?;
            let mut with_biases = Vec::new();
            for (i, w) in weights.iter().enumerate() {
                let n = w.shape().dims2()?.0;
                let bias = Tensor::from_vec(numbers(n, 7 + i as u64), n, &device)?;
                with_biases.push((*w, (i != 1).then_some(bias.to_dtype(dtype)?)));
            }
            let parts: Vec<_> = with_biases.iter().map(|(w, b)| (*w, b.as_ref())).collect();
            let mut found = None;
            let count = launches(|| {
                found = products(&parts, &x)?;
                Ok(())
            })?;
            assert_eq!(count, 2, "{what}: the activations, the products");
            let found = found.expect("one row");
            assert_eq!(found.len(), parts.len(), "{what}");
            for (found, (w, bias)) in found.iter().zip(&parts) {
                let alone = products(&[(w, *bias)], &x)?.expect("one row");
                assert_eq!(bits(found)?, bits(&alone[0])?, "{what}");
                assert!(bits(found)?.iter().any(|v| *v != 0.), "{what}");
            }
        }
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

/// f32 of f16 and bf16 has the numbers that it was made of, so products find their int8 form with it; no other conversion does.
#[test]
fn a_conversion_hands_the_form_on() -> Result<()> {
    let _serial = SERIAL.lock().unwrap_or_else(|e| e.into_inner());
    let w = weights(20)?;
    let product = |x: &Tensor| launches(|| w.forward(x).map(drop));
    for (from, to, kept) in [
        (DType::F16, DType::F32, true),
        (DType::BF16, DType::F32, true),
        (DType::F32, DType::F16, false),
        (DType::F32, DType::BF16, false),
        (DType::F16, DType::BF16, false),
    ] {
        let what = format!("{from:?} to {to:?}");
        let x = activations(ROWS, 21)?.to_dtype(from)?;
        assert_eq!(product(&x)?, 2, "{what}: made");
        let y = x.to_dtype(to)?;
        assert_eq!(product(&y)?, if kept { 1 } else { 2 }, "{what}");
        let y = y.to_dtype(DType::F32)?;
        assert_eq!(
            w.forward(&y)?.to_vec2::<f32>()?,
            of_a_copy(&w, &y)?,
            "{what}"
        );
        assert_eq!(product(&x)?, 1, "{what}: still there");
    }
    let x = activations(ROWS, 22)?.to_dtype(DType::F16)?;
    w.forward(&x)?;
    // Neither of a part nor of another order of the elements.
    let (part, turned) = (x.narrow(0, 1, 2)?, x.reshape((K, ROWS))?.t()?);
    for other in [part, turned] {
        let y = other.to_dtype(DType::F32)?;
        assert_eq!(product(&y)?, 2);
        assert_eq!(w.forward(&y)?.to_vec2::<f32>()?, of_a_copy(&w, &y)?);
    }
    // Each ends when its own elements change.
    w.forward(&x)?;
    let (y, z) = (x.to_dtype(DType::F32)?, x.to_dtype(DType::F32)?);
    let before = w.forward(&z)?.to_vec2::<f32>()?;
    x.slice_set(&activations(1, 23)?.to_dtype(DType::F16)?, 0, 0)?;
    y.slice_set(&activations(1, 24)?, 0, 1)?;
    assert_eq!([product(&z)?, product(&x)?, product(&y)?], [1, 2, 2]);
    assert_eq!(w.forward(&z)?.to_vec2::<f32>()?, before);
    assert_eq!(w.forward(&y)?.to_vec2::<f32>()?, of_a_copy(&w, &y)?);
    // What was made before a recording is of the past in it.
    let x = activations(ROWS, 25)?.to_dtype(DType::F16)?;
    w.forward(&x)?;
    let step = || w.forward(&x.to_dtype(DType::F32)?);
    step()?;
    let (graph, out) = rocm()?.as_rocm_device()?.graph(step)?;
    for seed in 26..28 {
        x.slice_set(&activations(ROWS, seed)?.to_dtype(DType::F16)?, 0, 0)?;
        graph.launch()?;
        let y = x.to_dtype(DType::F32)?;
        assert_eq!(out.to_vec2::<f32>()?, of_a_copy(&w, &y)?);
    }
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
