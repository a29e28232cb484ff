//! Kernels that fault, and devices that are gone.
//!
//! What a fault costs on a card: up to ROCm 6 the runtime ends the process; from ROCm 7 on every later call on that device gives
//! the fault's code, until the process ends. The emulator does the latter with `HIP_EMULATOR_STICKY=1`.
use crate::child::{contains, nothing_is_live, run, text};
use crate::model::{self, tokens, Model};
use candle_core::backend::BackendDevice;
use candle_core::rocm_backend::kernels;
use candle_core::{DType, Device, Result, RocmDevice, RocmStorage, Tensor};

/// The emulated target of this run, twice.
fn two() -> String {
    let arch = std::env::var("HIP_EMULATOR_ARCH").unwrap_or_else(|_| "gfx1100".into());
    let first = arch.split(',').next().unwrap_or("gfx1100");
    format!("{first},{first}")
}

/// A launch that reads far behind its input, which is a mistake that only a custom operation can make.
fn fault(device: &RocmDevice) -> Result<()> {
    let x = RocmStorage::uninit(device, 16, DType::F32)?;
    let out = RocmStorage::uninit(device, 4096, DType::F32)?;
    let launch = device.launch(&kernels::UNARY, "uexp", "f32", "")?;
    let launch = launch.arg(4096usize).arg(0usize).arg(0usize);
    let launch = launch.arg(x.ptr_at(0)).arg(out.ptr_at(0)).over(4096);
    // SAFETY: it is not; the point is what comes of it.
    unsafe { launch.run() }?;
    device.synchronize()
}

/// Everything that a program may try on a device that is gone is an error that says so.
fn everything_is_refused(
    device: &Device,
    kept: &Tensor,
    model: &Model,
    why: &[&str],
) -> Result<()> {
    let attempts = [
        (
            "a new tensor",
            text(Tensor::ones(1 << 16, DType::F32, device)),
        ),
        ("an operation", text(kept.exp())),
        ("a result", text(kept.to_vec1::<f32>())),
        (
            "a copy to the device",
            text(Tensor::new(&[1f32; 300], device)),
        ),
        ("a copy to the host", text(kept.to_device(&Device::Cpu))),
        ("waiting", text(device.synchronize())),
        ("a forward pass", text(model.forward(&tokens(3, 1)))),
        ("loading", text(Model::load(&model::file()?, device))),
    ];
    for (what, error) in attempts {
        println!("{what}: {error}");
        contains(&error, why);
    }
    // Another device object is the same device.
    contains(&text(Tensor::new(&[1f32; 300], &Device::new_rocm(0)?)), why);
    Ok(())
}

fn goes_on(device: &Device) -> Result<()> {
    let x = Tensor::new(&[1f32, 2.0, 3.0], device)?;
    assert_eq!((x.sqr()? + 1.0)?.to_vec1::<f32>()?, [2.0, 5.0, 10.0]);
    Ok(())
}

#[test]
fn a_kernel_that_faults_costs_its_device_and_nothing_else() {
    let variables = [
        ("HIP_EMULATOR_STICKY", "1"),
        ("HIP_EMULATOR_ARCH", &two()),
        ("HIP_EMULATOR_LEDGER", "1"),
        // Each block has its exact size, so that the access lies outside of it.
        ("CANDLE_ROCM_POOL", "off"),
    ];
    let (_, ledger) = run("loss::faults_on_one_of_two_devices", &variables);
    nothing_is_live(&ledger);
}

#[test]
#[ignore = "run by a_kernel_that_faults_costs_its_device_and_nothing_else"]
fn faults_on_one_of_two_devices() -> Result<()> {
    let (device, other) = (Device::new_rocm(0)?, Device::new_rocm(1)?);
    let model = Model::load(&model::file()?, &device)?;
    let second = Model::load(&model::file()?, &other)?;
    let expected = second.forward(&tokens(3, 1))?;
    assert_eq!(model.forward(&tokens(3, 1))?, expected);
    let kept = Tensor::ones(64, DType::F32, &device)?;

    let error = text(fault(device.as_rocm_device()?));
    println!("\n{error}");
    let fault = ["uexp_f32", "hipErrorIllegalAddress", "out of bounds"];
    contains(&error, &fault);
    contains(
        &error,
        &["device 0", "refuses further work", "HIP_LAUNCH_BLOCKING=1"],
    );
    // The first fault stays the reason of everything that fails later.
    let why = ["the device is lost", "uexp_f32", "hipErrorIllegalAddress"];
    everything_is_refused(&device, &kept, &model, &why)?;

    goes_on(&Device::Cpu)?;
    goes_on(&other)?;
    assert_eq!(second.forward(&tokens(3, 1))?, expected);
    Ok(())
}

#[test]
fn a_device_lost_in_the_middle_of_anything() {
    // Calls until then: inside the load, in the first pass, in the middle of a later one.
    for calls in ["20", "60", "300"] {
        let variables = [("HIP_EMULATOR_LOSE", calls), ("HIP_EMULATOR_LEDGER", "1")];
        let (out, ledger) = run("loss::computes_until_the_device_is_lost", &variables);
        nothing_is_live(&ledger);
        let passes = out.lines().find_map(|l| l.strip_prefix("passes: "));
        assert_eq!(passes == Some("0"), calls != "300", "{calls}: {out}");
    }
}

#[test]
#[ignore = "run by a_device_lost_in_the_middle_of_anything"]
fn computes_until_the_device_is_lost() -> Result<()> {
    let device = Device::new_rocm(0)?;
    let kept = Tensor::ones(64, DType::F32, &device)?;
    let model = Model::load(&model::file()?, &device);
    let mut passes = 0;
    let error = match &model {
        Err(error) => error.to_string(),
        Ok(model) => loop {
            match model.forward(&tokens(3, 1)) {
                Ok(_) => passes += 1,
                Err(error) => break error.to_string(),
            }
        },
    };
    println!("\npasses: {passes}\n{error}");
    contains(
        &error,
        &["the device is lost", "hipErrorLaunchFailure", "device 0"],
    );
    contains(&text(kept.exp()), &["the device is lost"]);
    contains(&text(device.synchronize()), &["the device is lost"]);
    goes_on(&Device::Cpu)
}
