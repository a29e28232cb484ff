//! What the kernels execute, pinned: wave instructions, bytes, registers and waves of each as the emulator counts them, for
//! every type of weights beside candle's own kernels translated from CUDA, and for the other kernels of a decoding step.
//!
//! `expected/<target>.tsv` holds the counts. A kernel that executes 5 % more or fewer instructions than written there, that
//! fits fewer waves on a SIMD or that moves 5 % more bytes fails until `CANDLE_COUNTERS=write` has written the new ones on purpose
//! (scripts/counters.sh does, for each target, and makes docs/counters.md of them). Counts depend on the compiler, so the
//! file names it; what another compiler made is held to what does not depend on it (`pinned::holds_anywhere`).
//!
//! Emulated: counts, not times. The profile is the process's, so this file holds one test.
mod cases;
mod pinned;
mod profile;

use candle::rocm_backend::kernels;
use candle::{Device, Result};
use pinned::Pinned;
use profile::Profile;

#[test]
fn counters_are_as_pinned() -> Result<()> {
    let profile = Profile::begin();
    let device = Device::new_rocm(0)?;
    let target = &device.as_rocm_device()?.properties().target;
    let target = kernels::targets::base_name(target).to_string();
    let mut found = Vec::new();
    for case in cases::all() {
        let case = case.prepare(&device)?;
        device.synchronize()?;
        profile.skip();
        case.run()?;
        device.synchronize()?;
        let kernels = profile.read(|kernel| case.counts(kernel));
        assert!(!kernels.is_empty(), "{}: no kernel was counted", case.name);
        for kernel in kernels {
            found.push((case.name.clone(), kernel));
        }
    }
    assert!(found.len() >= 100, "only {} rows", found.len());

    let pinned = Pinned::of(&target);
    let compiler = pinned::compiler(&target);
    if std::env::var("CANDLE_COUNTERS").as_deref() == Ok("write") {
        pinned.write(&compiler, &found);
        return Ok(());
    }
    let mut faults = pinned::holds_anywhere(&found);
    match pinned.read() {
        Ok((theirs, _)) if theirs != compiler => println!(
            "{target}: kernels by {compiler}; the counts on file are {theirs}'s and are not compared"
        ),
        Ok((_, expected)) => {
            faults.extend(pinned::compare(&expected, &found));
            faults.extend(pinned::fewer_waves(&found));
        }
        Err(error) => faults.push(error),
    }
    assert!(
        faults.is_empty(),
        "{target}, {} of {} rows:\n{}\nIf that is meant: scripts/counters.sh writes the new counts.",
        faults.len(),
        found.len(),
        faults.join("\n")
    );
    println!("{target}: {} rows", found.len());
    Ok(())
}
