//! The same model many times over: nothing grows.
//!
//! `CANDLE_SOAK_PASSES` is the number of forward passes, 500 unless set (ten thousand take about twenty times as long).
use crate::child::{nothing_is_live, run};
use crate::model::{self, tokens, Model};
use candle_core::{Device, Result};
use std::time::Instant;

/// Lengths of the prompts, in turn.
const LENGTHS: [usize; 4] = [1, 3, 7, 2];
/// Passes after which every shape has been seen, every kernel loaded and every size of block cached.
const WARM: usize = 5 * LENGTHS.len();
/// What host memory may grow by: the emulator's threads come and go with stacks and heaps of their own, of which libc keeps
/// some. It does not depend on the number of passes, so that ten thousand bound a leak to 400 bytes a pass: less than
/// one handle with its name.
const SLACK: usize = 4 << 20;

/// Resident memory of this process in bytes (proc(5): the second number of statm, in pages of 4 KiB here).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse::<usize>().ok());
    pages.expect("a number of pages") * 4096
}

#[test]
fn memory_stays_flat() {
    let (out, ledger) = run("soak::passes_and_passes", &[("HIP_EMULATOR_LEDGER", "1")]);
    for line in out.lines().filter(|l| l.starts_with("soak")) {
        println!("{line}");
    }
    nothing_is_live(&ledger);
}

#[test]
#[ignore = "run by memory_stays_flat"]
fn passes_and_passes() -> Result<()> {
    let passes = std::env::var("CANDLE_SOAK_PASSES");
    let passes: usize = passes.map_or(500, |n| n.parse().expect("a number of passes"));
    let device = Device::new_rocm(0)?;
    let rocm = device.as_rocm_device()?;
    let model = Model::load(&model::file()?, &device)?;
    let pass = |i: usize| model.forward(&tokens(LENGTHS[i % LENGTHS.len()], i % LENGTHS.len()));
    let first = (0..WARM).map(pass).collect::<Result<Vec<_>>>()?;

    let (pool, free, host) = (rocm.pool_statistics(), rocm.memory_info()?.0, resident());
    let (start, mut most) = (Instant::now(), host);
    for i in 0..passes {
        assert_eq!(pass(i)?, first[i % LENGTHS.len()], "pass {i}");
        if i % 100 == 99 {
            most = most.max(resident());
            assert_eq!(
                rocm.memory_info()?.0,
                free,
                "device memory after {i} passes"
            );
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = rocm.pool_statistics();
    println!(
        "\nsoak: {passes} passes in {seconds:.1} s; device: {after}, {} blocks from HIP before and {} after, {} reused; \
         host: {} KiB resident before, {} KiB at most",
        pool.hip_allocations,
        after.hip_allocations,
        after.reused - pool.reused,
        host >> 10,
        most >> 10
    );
    // Every block of every pass came from the pool and went back to it.
    let mut expected = pool;
    expected.reused = after.reused;
    assert_eq!(after, expected);
    assert!(
        after.reused - pool.reused >= passes * 30,
        "the passes allocate"
    );
    assert!(
        most <= host + SLACK,
        "{host} bytes of host memory grew to {most}"
    );
    Ok(())
}
