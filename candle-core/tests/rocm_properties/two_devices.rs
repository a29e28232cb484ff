//! Two GPUs of different families in one process. Emulated: a child of this program starts with two targets.
use crate::nearness::{bits, identical};
use crate::views::{Content, View, Way, ALL};
use candle_core::{DType, Device, Result, Tensor};
use std::process::Command;

#[test]
fn two_gpus_of_different_families() {
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .args([
            "--exact",
            "two_devices::in_a_process_with_two",
            "--ignored",
            "--nocapture",
        ])
        .env("HIP_EMULATOR_ARCH", "gfx1100,gfx90a")
        .output()
        .expect("this program can be started again");
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("1 passed"), "no test ran:\n{out}");
}

fn views() -> impl Iterator<Item = View> {
    let ways = [
        Way::Contiguous,
        Way::Offset,
        Way::Inside,
        Way::Backwards,
        Way::Repeated(0),
    ];
    ways.into_iter()
        .zip(1..)
        .map(|(way, seed)| View { way, seed })
}

#[test]
#[ignore = "run by two_gpus_of_different_families"]
fn in_a_process_with_two() -> Result<()> {
    let (first, second) = (Device::new_rocm(0)?, Device::new_rocm(1)?);
    assert!(!first.same_device(&second));
    assert_ne!(first.location(), second.location());
    let target = |d: &Device| {
        Ok::<_, candle_core::Error>(d.as_rocm_device()?.properties().target.to_string())
    };
    assert_ne!(
        target(&first)?,
        target(&second)?,
        "waves of 32 and of 64 lanes"
    );

    for &dtype in ALL {
        for view in views() {
            let x = view.tensor(&[5, 17], dtype, Content::Anything)?;
            let on_first = x.to_device(&first)?;
            let on_second = on_first.to_device(&second)?;
            assert!(on_second.device().same_device(&second));
            identical(&on_second, &x)?;
            let back = on_second.to_device(&first)?;
            assert!(back.device().same_device(&first));
            identical(&back, &x)?;
            assert_eq!(bits(&on_first)?, bits(&x)?, "the original stays");
        }
    }
    each_computes(&first, &second)?;
    together_they_are_refused(&first, &second)?;
    at_the_same_time(&first, &second)
}

/// The same graph on the CPU and on both: elementwise, a product, reductions, a selection by index.
fn graph(x: &Tensor, w: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let h = x.matmul(&w.t()?)?.gelu()?;
    let rows = h.index_select(ids, 0)?;
    rows.broadcast_sub(&rows.max_keepdim(1)?)?.exp()?.sum(1)
}

fn inputs(device: &Device) -> Result<[Tensor; 3]> {
    let content = Content::Between(-1.0, 1.0);
    let x = View {
        way: Way::Inside,
        seed: 3,
    }
    .tensor(&[9, 33], DType::F32, content)?;
    let w = View::contiguous(4).tensor(&[70, 33], DType::F32, content)?;
    let ids = Tensor::new(&[8u32, 0, 3, 3], &Device::Cpu)?;
    Ok([
        x.to_device(device)?,
        w.to_device(device)?,
        ids.to_device(device)?,
    ])
}

fn result(device: &Device) -> Result<Vec<f32>> {
    let [x, w, ids] = inputs(device)?;
    graph(&x, &w, &ids)?.to_vec1::<f32>()
}

fn assert_near(found: &[f32], expected: &[f32]) {
    for (f, e) in found.iter().zip(expected) {
        // 33 products and 70 exponentials: under 200 roundings of a sum of positive numbers.
        assert!(
            (f - e).abs() <= 200.0 * 2f32.powi(-24) * e.abs(),
            "{found:?} is not {expected:?}"
        );
    }
}

fn each_computes(first: &Device, second: &Device) -> Result<()> {
    let expected = result(&Device::Cpu)?;
    assert_near(&result(first)?, &expected);
    assert_near(&result(second)?, &expected);
    Ok(())
}

fn together_they_are_refused(first: &Device, second: &Device) -> Result<()> {
    let a = Tensor::ones((2, 2), DType::F32, first)?;
    let b = Tensor::ones((2, 2), DType::F32, second)?;
    let ids = Tensor::zeros(2, DType::U32, second)?;
    let outcomes = [
        ("add", &a + &b),
        ("matmul", a.matmul(&b)),
        ("cat", Tensor::cat(&[&a, &b], 0)),
        ("eq", a.eq(&b)),
        ("index-select", a.index_select(&ids, 0)),
        ("where", a.to_dtype(DType::U8)?.where_cond(&b, &b)),
    ];
    for (name, outcome) in outcomes {
        let error = outcome.expect_err(name).to_string();
        assert!(error.contains("device mismatch"), "{name}: {error}");
        assert!(
            error.contains("gpu_id: 0") && error.contains("gpu_id: 1"),
            "{name}: {error}"
        );
    }
    // Both go on.
    assert_eq!(a.sum_all()?.to_scalar::<f32>()?, 4.0);
    assert_eq!(b.sum_all()?.to_scalar::<f32>()?, 4.0);
    Ok(())
}

fn at_the_same_time(first: &Device, second: &Device) -> Result<()> {
    let expected = result(&Device::Cpu)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = [first, second, first, second]
            .into_iter()
            .map(|device| {
                scope.spawn(move || (0..5).map(|_| result(device)).collect::<Result<Vec<_>>>())
            })
            .collect();
        for thread in threads {
            let results = thread.join().expect("no thread panics")?;
            results
                .iter()
                .for_each(|found| assert_near(found, &expected));
        }
        Ok(())
    })
}
