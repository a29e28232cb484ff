//! Graphs: what is recorded runs at each launch, on the memory it was recorded with, and nothing else gets that memory.
use candle_core::rocm_backend::hip::{counters, Counters};
use candle_core::rocm_backend::RocmGraph;
use candle_core::{DType, Device, Result, RocmDevice, Tensor, D};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Recording is a matter of the device, which the tests of this process share; the counters are the process's.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn device() -> Result<(Device, RocmDevice)> {
    let device = Device::new_rocm(0)?;
    let rocm = device.as_rocm_device()?.clone();
    Ok((device, rocm))
}

/// Several kernels, temporaries, a reduction, a product.
fn step(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    let y = x.matmul(w)?.silu()?;
    let y = y.broadcast_sub(&y.mean_keepdim(D::Minus1)?)?;
    (y.to_dtype(DType::F16)? * 2.0)?.to_dtype(DType::F32)
}

fn values(t: &Tensor) -> Result<Vec<f32>> {
    t.flatten_all()?.to_vec1()
}

fn recorded(rocm: &RocmDevice, x: &Tensor, w: &Tensor) -> Result<(RocmGraph, Tensor)> {
    step(x, w)?;
    rocm.graph(|| step(x, w))
}

#[test]
fn a_launch_does_what_the_plain_calls_do() -> Result<()> {
    let _alone = alone();
    let (device, rocm) = device()?;
    let w = Tensor::randn(0f32, 1f32, (48, 64), &device)?;
    let x = Tensor::zeros((3, 48), DType::F32, &device)?;
    let (graph, y) = recorded(&rocm, &x, &w)?;
    for seed in 0..5 {
        let input = Tensor::randn(seed as f32, 1f32, (3, 48), &device)?;
        x.slice_set(&input, 0, 0)?;
        // Memory of this size comes and goes between launches.
        let expected = values(&step(&input, &w)?)?;
        graph.launch()?;
        assert_eq!(values(&y)?, expected, "launch {seed}");
    }
    Ok(())
}

#[test]
fn a_launch_is_one_call() -> Result<()> {
    let _alone = alone();
    let (device, rocm) = device()?;
    let (x, w) = (
        Tensor::ones((2, 48), DType::F32, &device)?,
        Tensor::ones((48, 64), DType::F32, &device)?,
    );
    let (graph, _y) = recorded(&rocm, &x, &w)?;
    let before = counters();
    graph.launch()?;
    let expected = Counters {
        graph_launches: 1,
        ..Counters::default()
    };
    assert_eq!(counters().since(&before), expected);
    Ok(())
}

/// Everything that the graph was recorded with is dropped; its memory is asked for by others and overwritten.
#[test]
fn nobody_else_gets_a_graphs_memory() -> Result<()> {
    let _alone = alone();
    let (device, rocm) = device()?;
    let held_before = rocm.pool_statistics();
    let w = Tensor::randn(0f32, 1f32, (48, 64), &device)?;
    let x = Tensor::randn(0f32, 1f32, (3, 48), &device)?;
    let expected = values(&step(&x, &w)?)?;
    let (graph, y) = recorded(&rocm, &x, &w)?;
    drop((x, w));
    for _ in 0..3 {
        let sizes = [3 * 48, 48 * 64, 3 * 64, 3];
        let others = sizes.map(|n| Tensor::full(7f32, n, &device));
        graph.launch()?;
        assert_eq!(values(&y)?, expected);
        for other in others {
            assert!(values(&other?)?.iter().all(|v| *v == 7.0));
        }
        rocm.trim_pool();
    }
    let statistics = rocm.pool_statistics();
    assert!(statistics.cached_blocks > 0, "{statistics}");
    drop(graph);
    rocm.trim_pool();
    assert_eq!(rocm.pool_statistics().cached_blocks, 0);
    drop(y);
    rocm.trim_pool();
    let statistics = rocm.pool_statistics();
    assert_eq!(
        statistics.used_blocks, held_before.used_blocks,
        "{statistics}"
    );
    Ok(())
}

/// The second graph reads what the first one makes; the older is dropped first.
#[test]
fn graphs_may_build_on_each_other() -> Result<()> {
    let _alone = alone();
    let (device, rocm) = device()?;
    let x = Tensor::ones(100, DType::F32, &device)?;
    let double = || &x * 2.0;
    double()?;
    let (first, doubled) = rocm.graph(double)?;
    let more = || &doubled + 1.0;
    more()?;
    let (second, sum) = rocm.graph(more)?;
    drop(doubled);
    for value in [1f32, 5.0] {
        x.slice_set(&Tensor::full(value, 100, &device)?, 0, 0)?;
        first.launch()?;
        second.launch()?;
        assert_eq!(values(&sum)?, vec![2.0 * value + 1.0; 100]);
    }
    drop(first);
    let other = Tensor::full(9f32, 100, &device)?;
    second.launch()?;
    assert_eq!(
        values(&sum)?,
        vec![11.0; 100],
        "the first graph's result stays the second's input"
    );
    assert_eq!(values(&other)?, vec![9.0; 100]);
    Ok(())
}

#[test]
fn what_cannot_be_recorded_is_an_error_and_costs_nothing() -> Result<()> {
    let _alone = alone();
    let (device, rocm) = device()?;
    let x = Tensor::ones(10, DType::F32, &device)?;
    let used = || {
        rocm.trim_pool();
        rocm.pool_statistics().used_blocks
    };
    let before = used();
    // Waiting for a value, in the middle of work.
    let error = rocm.graph(|| (&x + 1.0)?.to_vec1::<f32>()).unwrap_err();
    assert!(error.to_string().contains("captur"), "{error}");
    // An upload waits too.
    assert!(rocm.graph(|| Tensor::new(&[1f32, 2.0], &device)).is_err());
    // The closure's own error comes out as it is.
    let error = rocm.graph(|| x.reshape(3)).unwrap_err();
    assert!(error.to_string().starts_with("Shape mismatch"), "{error}");
    let error = rocm.graph(|| rocm.graph(|| Ok(()))).unwrap_err();
    assert!(error.to_string().contains("do not nest"), "{error}");
    // A panic ends the recording as well.
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = rocm.graph(|| -> Result<()> { panic!("on purpose") });
    }));
    assert!(panic.is_err());
    assert_eq!(values(&(&x + 1.0)?)?, vec![2.0; 10], "the device goes on");
    assert_eq!(used(), before);
    Ok(())
}

/// What other threads do meanwhile is not recorded: they wait, and their results are right.
#[test]
fn other_threads_wait_while_a_graph_is_recorded() -> Result<()> {
    let _alone = alone();
    let (device, rocm) = device()?;
    let (x, w) = (
        Tensor::ones((2, 48), DType::F32, &device)?,
        Tensor::ones((48, 64), DType::F32, &device)?,
    );
    let expected = values(&step(&x, &w)?)?;
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    for _ in 0..20 {
                        assert_eq!(values(&step(&x, &w)?)?, expected);
                    }
                    Ok(())
                })
            })
            .collect();
        for _ in 0..10 {
            let (graph, y) = rocm.graph(|| step(&x, &w))?;
            graph.launch()?;
            assert_eq!(values(&y)?, expected);
        }
        for worker in workers {
            worker.join().expect("no panic")?;
        }
        Ok(())
    })
}
