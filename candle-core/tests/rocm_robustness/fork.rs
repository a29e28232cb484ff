//! Forks before and after the first use of HIP.
use crate::child::{contains, run, text};
use candle_core::{DType, Device, Result, Tensor};
use std::time::{Duration, Instant};

extern "C" {
    fn fork() -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn kill(pid: i32, signal: i32) -> i32;
    fn _exit(status: i32) -> !;
}

const WNOHANG: i32 = 1;
const SIGKILL: i32 = 9;

/// Runs `f` in a forked child. Fails when it fails there, or takes longer than any of them should.
fn in_fork(what: &str, f: impl FnOnce() -> Result<()>) {
    // SAFETY: the child uses what libc makes safe to use after a fork (memory, the standard streams), and ends without
    // running the parent's exit handlers.
    let pid = unsafe { fork() };
    if pid == 0 {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        let status = match outcome {
            Ok(Ok(())) => 0,
            Ok(Err(error)) => {
                eprintln!("in the child: {error}");
                1
            }
            Err(_) => 2,
        };
        // SAFETY: ends this process.
        unsafe { _exit(status) };
    }
    assert!(pid > 0, "fork failed");
    let (start, mut status) = (Instant::now(), -1);
    // SAFETY: the child is ours and `status` is written by the call.
    while unsafe { waitpid(pid, &mut status, WNOHANG) } == 0 {
        if start.elapsed() > Duration::from_secs(30) {
            // SAFETY: the child has not been waited for, so the number is still its own.
            unsafe { kill(pid, SIGKILL) };
            panic!("{what}: the child hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(status, 0, "{what}: the child failed");
}

#[test]
fn a_child_of_a_process_that_uses_the_device_is_told() {
    let (_, err) = run(
        "fork::forks_after_the_first_use",
        &[("HIP_EMULATOR_LEDGER", "1")],
    );
    crate::child::nothing_is_live(&err);
    // Handles that the child lets go are the parent's: no failed release is reported.
    assert!(!err.contains("candle-hip:"), "{err}");
}

#[test]
#[ignore = "run by a_child_of_a_process_that_uses_the_device_is_told"]
fn forks_after_the_first_use() -> Result<()> {
    let device = Device::new_rocm(0)?;
    let x = Tensor::new(&[1f32, 2.0], &device)?;
    let why = ["forked", "spawn"];
    in_fork("an idle parent", || {
        contains(&text(x.to_vec1::<f32>()), &why);
        contains(&text(x.exp()), &why);
        contains(&text(Tensor::rand(0f32, 1., 4, &device)), &why);
        contains(&text(device.synchronize()), &why);
        contains(&text(Device::new_rocm(0)), &why);
        contains(&text(Device::new_rocm(1)), &why);
        assert!(!candle_core::utils::rocm_is_available());
        assert!(Device::rocm_if_available(0)?.is_cpu());
        drop(x.clone());
        let y = Tensor::new(&[1f32, 2.0], &Device::Cpu)?;
        assert_eq!(y.sqr()?.to_vec1::<f32>()?, [1.0, 4.0]);
        Ok(())
    });
    // The parent has lost nothing.
    assert_eq!(x.sqr()?.to_vec1::<f32>()?, [1.0, 4.0]);

    // Threads that hold every lock now and then: a child must not wait for one that is never given back.
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let made = Tensor::zeros(1000, DType::F32, &device).and_then(|t| t + 1.0);
                    made.expect("the parent goes on");
                }
            });
        }
        for i in 0..20 {
            in_fork(&format!("a busy parent, fork {i}"), || {
                let kept = x.clone();
                contains(&text(Tensor::zeros(1000, DType::F32, &device)), &why);
                contains(&text(kept.exp()), &why);
                contains(&text(Device::new_rocm(0)), &why);
                Ok(())
            });
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(x.sqr()?.to_vec1::<f32>()?, [1.0, 4.0]);
    Ok(())
}

#[test]
fn a_fork_before_the_first_use_costs_nothing() {
    run("fork::forks_before_the_first_use", &[]);
}

#[test]
#[ignore = "run by a_fork_before_the_first_use_costs_nothing"]
fn forks_before_the_first_use() -> Result<()> {
    let compute = || {
        let x = Tensor::new(&[3f32, 4.0], &Device::new_rocm(0)?)?;
        assert_eq!(x.sqr()?.to_vec1::<f32>()?, [9.0, 16.0]);
        Ok(())
    };
    in_fork("the child", compute);
    compute()
}
