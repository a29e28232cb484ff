//! Many threads on one device.
use crate::child::{nothing_is_live, run};
use crate::model::{self, tokens, Model};
use candle_core::{DType, Device, Result, Tensor};
use std::sync::Barrier;

const THREADS: usize = 16;
/// Passes of each thread.
const PASSES: usize = 3;

#[test]
fn sixteen_threads_share_a_device() {
    let (_, ledger) = run("threads::share_a_device", &[("HIP_EMULATOR_LEDGER", "1")]);
    nothing_is_live(&ledger);
}

#[test]
#[ignore = "run by sixteen_threads_share_a_device"]
fn share_a_device() -> Result<()> {
    let file = model::file()?;
    let start = Barrier::new(THREADS);
    let work = |thread: usize| -> Result<Device> {
        // All of them make the device, at the same time: it is one.
        start.wait();
        let device = Device::new_rocm(0)?;
        // Loads beside the passes of others.
        let model = Model::load(&file, &device)?;
        let expected = model.forward(&tokens(1 + thread % 5, thread))?;
        for pass in 0..PASSES {
            let mine = Tensor::full(thread as f32, 300 + pass, &device)?;
            let found = model.forward(&tokens(1 + thread % 5, thread))?;
            assert_eq!(found, expected, "thread {thread}, pass {pass}");
            let sum = mine.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
            assert_eq!(sum, (thread * (300 + pass)) as f64);
        }
        Ok(device)
    };
    let devices = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|i| {
                scope.spawn({
                    let work = &work;
                    move || work(i)
                })
            })
            .collect();
        let join =
            |t: std::thread::ScopedJoinHandle<'_, Result<Device>>| t.join().expect("no panic");
        threads.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    assert!(devices.iter().all(|d| d.same_device(&devices[0])));
    let after = devices[0].as_rocm_device()?.pool_statistics();
    println!("{after}");
    assert_eq!(after.used_bytes, 0, "something of a thread is left");
    // And what they computed is what one thread computes.
    let model = Model::load(&file, &devices[0])?;
    let alone = model.forward(&tokens(5, 4))?;
    let cpu = Model::load(&file, &Device::Cpu)?.forward(&tokens(5, 4))?;
    let spread = cpu.iter().fold(0f32, |m, v| m.max(v.abs()));
    for (found, expected) in alone.iter().zip(&cpu) {
        // Both round activations to 8 bits, at other places: a step of 1/127 in each of a dozen products.
        assert!(
            (found - expected).abs() <= 0.1 * spread,
            "{found} {expected}"
        );
    }
    Ok(())
}
