//! What goes wrong on rocm, and what the error says then.
//!
//! The HIP runtime is opened once a process, so cases that need another one run in a child: this program again, with
//! one of the ignored tests and another environment.
use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::quantized::{gguf_file, GgmlDType, QTensor};
use candle_core::rocm_backend::kernels;
use candle_core::{DType, Device, Result, RocmDevice, RocmStorage, Tensor};
use std::process::{Command, Output};

/// Runs the ignored test `case` in a child with `variables` set on top of this environment.
fn child(case: &str, variables: &[(&str, &str)]) -> Output {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args([
        "--exact",
        case,
        "--ignored",
        "--nocapture",
        "--test-threads",
        "1",
    ]);
    command.envs(variables.iter().copied());
    let output = command.output().expect("this program can be started again");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{case} with {variables:?}:\n{out}\n{err}"
    );
    assert!(out.contains("1 passed"), "{case} ran no test:\n{out}");
    output
}

fn text<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.expect_err("this must fail").to_string()
}

fn contains(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

#[test]
fn a_missing_library_is_one_clear_error() {
    child(
        "without_a_library",
        &[("CANDLE_HIP_LIBRARY", "/nowhere/libamdhip64.so")],
    );
}

#[test]
#[ignore = "run by a_missing_library_is_one_clear_error"]
fn without_a_library() -> Result<()> {
    // The rest of candle does not care.
    assert_eq!(
        (Tensor::new(1f32, &Device::Cpu)? + 1.0)?.to_scalar::<f32>()?,
        2.0
    );
    assert!(!candle_core::utils::rocm_is_available());
    assert!(Device::rocm_if_available(0)?.is_cpu());
    contains(
        &text(Device::new_rocm(0)),
        &["/nowhere/libamdhip64.so", "CANDLE_HIP_LIBRARY"],
    );
    // Not only the first time.
    contains(&text(Device::new_rocm(0)), &["/nowhere/libamdhip64.so"]);
    Ok(())
}

#[test]
fn a_device_that_is_not_there_is_named() {
    contains(
        &text(Device::new_rocm(7)),
        &["no ROCm device 7", "the only device is 0"],
    );
}

#[test]
fn a_code_object_for_another_target_is_refused() -> Result<()> {
    let device = RocmDevice::new(0)?;
    let target = device.properties().target.clone();
    let other = kernels::AFFINE
        .code_objects
        .iter()
        .find(|c| c.target != target);
    let other = other.expect("the default build holds two targets");
    contains(
        &text(device.load_module(other.bytes)),
        &["hipErrorNoBinaryForGpu"],
    );
    // The device goes on.
    assert_eq!(
        Tensor::ones(2, DType::F32, &Device::Rocm(device))?.to_vec1::<f32>()?,
        [1.0; 2]
    );
    Ok(())
}

#[test]
fn a_target_without_code_objects_is_told_what_was_built() {
    let error = kernels::UNARY
        .select("gfx906")
        .expect_err("not among the defaults")
        .to_string();
    contains(&error, &["gfx906", "CANDLE_HIP_ARCHS"]);
    contains(&error, &[kernels::TARGETS_BUILT[0]]);
}

#[test]
fn an_access_out_of_bounds_names_the_kernel() {
    child("reads_out_of_bounds", &[("CANDLE_ROCM_POOL", "off")]);
}

#[test]
#[ignore = "run by an_access_out_of_bounds_names_the_kernel"]
fn reads_out_of_bounds() -> Result<()> {
    let device = RocmDevice::new(0)?;
    let x = RocmStorage::uninit(&device, 16, DType::F32)?;
    let out = RocmStorage::uninit(&device, 4096, DType::F32)?;
    let launch = device.launch(&kernels::UNARY, "uexp", "f32", "")?;
    let launch = launch
        .arg(4096usize)
        .arg(0usize)
        .arg(0usize)
        .arg(x.ptr_at(0))
        .arg(out.ptr_at(0));
    // SAFETY: it is not; the point is what the runtime says about it.
    let outcome = unsafe { launch.over(4096).run() }.and_then(|()| device.synchronize());
    contains(&text(outcome), &["uexp_f32"]);
    Ok(())
}

#[test]
fn exhausted_memory_says_how_much_and_the_device_goes_on() {
    child("runs_out_of_memory", &[("HIP_EMULATOR_MEMORY", "64M")]);
}

#[test]
#[ignore = "run by exhausted_memory_says_how_much_and_the_device_goes_on"]
fn runs_out_of_memory() -> Result<()> {
    let device = Device::new_rocm(0)?;
    let kept = Tensor::ones((1 << 20,), DType::F32, &device)?;
    let error = text(Tensor::zeros((1 << 30,), DType::F32, &device));
    contains(
        &error,
        &["out of memory", &(4u64 << 30).to_string(), "in use"],
    );
    assert_eq!(kept.sum_all()?.to_scalar::<f32>()?, (1 << 20) as f32);
    // What the pool caches is given back before a request fails: 40 MiB fit, though 40 MiB of other sizes were used.
    for size in [10 << 20, 12 << 20, 14 << 20] {
        drop(Tensor::zeros((size,), DType::U8, &device)?);
    }
    Tensor::zeros((40 << 20,), DType::U8, &device)?;
    Ok(())
}

#[test]
fn nothing_is_left_on_the_device() {
    let output = child(
        "uses_the_device_and_leaves",
        &[("HIP_EMULATOR_LEDGER", "1")],
    );
    let ledger = String::from_utf8_lossy(&output.stderr);
    contains(&ledger, &["0 live allocations"]);
}

#[test]
#[ignore = "run by nothing_is_left_on_the_device"]
fn uses_the_device_and_leaves() -> Result<()> {
    let device = Device::new_rocm(0)?;
    let x = Tensor::rand(0f32, 1f32, (64, 512), &device)?;
    let w = QTensor::quantize(&x, GgmlDType::Q4K)?;
    let w = candle_core::quantized::QMatMul::from_qtensor(w)?;
    let y = candle_core::Module::forward(&w, &x)?;
    // A view, so that shapes were kept on the device.
    assert_eq!(y.t()?.contiguous()?.dims(), [64, 64]);
    Ok(())
}

#[test]
fn a_truncated_gguf_file_is_an_error() -> Result<()> {
    let device = Device::new_rocm(0)?;
    let weights = QTensor::quantize(
        &Tensor::ones((4, 256), DType::F32, &Device::Cpu)?,
        GgmlDType::Q4_0,
    )?;
    let mut file = std::io::Cursor::new(Vec::new());
    gguf_file::write(&mut file, &[], &[("w", &weights)])?;
    let whole = file.into_inner();
    for cut in [whole.len() - 1, whole.len() / 2, 20, 3] {
        let mut file = std::io::Cursor::new(&whole[..cut]);
        let outcome =
            gguf_file::Content::read(&mut file).and_then(|c| c.tensor(&mut file, "w", &device));
        assert!(
            outcome.is_err(),
            "{cut} of {} bytes were enough",
            whole.len()
        );
    }
    let mut file = std::io::Cursor::new(&whole);
    let content = gguf_file::Content::read(&mut file)?;
    assert_eq!(
        content.tensor(&mut file, "w", &device)?.data()?,
        weights.data()?
    );
    contains(
        &text(content.tensor(&mut file, "v", &device).map(|_| ())),
        &["v"],
    );
    Ok(())
}

#[test]
fn operations_between_devices_are_refused() -> Result<()> {
    let here = Tensor::ones(2, DType::F32, &Device::Cpu)?;
    let there = here.to_device(&Device::new_rocm(0)?)?;
    contains(&text(&here + &there), &["device mismatch", "Rocm"]);
    Ok(())
}

#[test]
fn an_unsupported_type_is_named() -> Result<()> {
    let device = RocmDevice::new(0)?;
    let storage = RocmStorage::uninit(&device, 4, DType::U32)?;
    let layout = candle_core::Layout::contiguous((2, 2));
    contains(
        &text(storage.matmul(&storage, (1, 2, 2, 2), &layout, &layout)),
        &["matmul", "U32"],
    );
    Ok(())
}
