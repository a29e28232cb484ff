//! Real code objects through the whole crate: on the runtime that `CANDLE_HIP_LIBRARY` names, else on the
//! emulator of this workspace, which is built for it.

use candle_hip::{
    kernel_args, Device, DeviceMemory, Event, KernelArg, Launch, Library, Module, Stream,
};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

/// Builds the emulator in this test's profile and returns its path.
fn build_emulator() -> PathBuf {
    // target/<profile>/deps/<this test>
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.ancestors().nth(2).expect("a profile's folder");
    let target = folder.parent().expect("the target folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--package",
        "hip-emulator",
        "--lib",
        "--target-dir",
    ]);
    cargo.arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    let profile = folder
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a profile");
    // The profile `dev` lies in `debug`.
    cargo.args([
        "--profile",
        if profile == "debug" { "dev" } else { profile },
    ]);
    let output = cargo.output().expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    folder.join("libhip_emulator.so")
}

fn device() -> Device {
    static SETUP: OnceLock<()> = OnceLock::new();
    SETUP.get_or_init(|| {
        if std::env::var_os("CANDLE_HIP_LIBRARY").is_none() {
            std::env::set_var("CANDLE_HIP_LIBRARY", build_emulator());
        }
    });
    Device::new(0).expect("a device")
}

/// The tests' kernels, compiled for this device.
fn kernels(device: &Device) -> Module {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    let image = IMAGE.get_or_init(|| compile(&device.properties().target));
    Module::load(device, image.as_slice()).expect("a code object for this device")
}

fn compile(target: &str) -> Vec<u8> {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("kernels-{target}-{}.hsaco", std::process::id()));
    let mut command = match target.starts_with("sm_") {
        true => nvcc(target),
        false => clang(target),
    };
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/kernels.hip"))
        .arg("-o")
        .arg(&out);
    let output = command.output().expect("the compiler runs");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let image = std::fs::read(&out).expect("the code object");
    std::fs::remove_file(&out).expect("a file of ours");
    image
}

/// The compiler for AMD targets, with all its flags.
fn clang(target: &str) -> Command {
    let named = std::env::var_os("CANDLE_HIP_CLANG").map(PathBuf::from);
    let rocm = std::env::var_os("ROCM_PATH").unwrap_or_else(|| "/opt/rocm".into());
    let usual = (17..=22)
        .rev()
        .map(|version| format!("clang-{version}").into());
    let candidates = named
        .into_iter()
        .chain([Path::new(&rocm).join("llvm/bin/clang")])
        .chain(usual)
        .chain(["clang".into()]);
    let runs = |clang: &PathBuf| Command::new(clang).arg("--version").output().is_ok();
    let clang = candidates
        .into_iter()
        .find(runs)
        .expect("clang (apt-get install clang-19 lld-19)");
    let mut command = Command::new(clang);
    command
        .args([
            "-x",
            "hip",
            "--cuda-device-only",
            "--no-gpu-bundle-output",
            "-nogpuinc",
            "-nogpulib",
            "-O2",
        ])
        .args(["-mcode-object-version=5", "-std=c++17"])
        .arg(format!("--offload-arch={target}"));
    command
}

/// The compiler for NVIDIA cards, behind a runtime such as hip-nvidia, with all its flags.
fn nvcc(target: &str) -> Command {
    let program = match std::env::var_os("CUDA_HOME") {
        Some(toolkit) => Path::new(&toolkit).join("bin/nvcc"),
        None => "nvcc".into(),
    };
    let mut command = Command::new(program);
    command
        .args(["-x", "cu", "-cubin", "-O2", "-std=c++17"])
        .arg(format!("-arch={target}"));
    command
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let words = bytes
        .chunks_exact(4)
        .map(|word| f32::from_ne_bytes(word.try_into().unwrap()));
    words.collect()
}

#[test]
fn the_device_describes_itself() {
    let device = device();
    let properties = device.properties();
    // The emulator's devices are called "(emulated)".
    println!(
        "{} on {}",
        properties.name,
        Library::get().unwrap().path().display()
    );
    assert!(
        properties.arch.starts_with(&properties.target),
        "{properties:?}"
    );
    assert!(
        properties.compute_units > 0 && properties.max_threads_per_block >= 256,
        "{properties:?}"
    );
    assert!(
        properties.shared_memory_per_block >= 32768,
        "{properties:?}"
    );
    let (free, total) = device.memory_info().unwrap();
    assert!(free <= total && total > 0, "{free} of {total}");
}

#[test]
fn bytes_survive_the_way_through_device_memory() {
    let device = device();
    let stream = Stream::new(&device).unwrap();
    let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7) as u8).collect();
    let mut first = DeviceMemory::new(&device, 1000).unwrap();
    let mut second = DeviceMemory::new(&device, 1000).unwrap();
    first.write(&stream, 0, &bytes).unwrap();
    second.fill(&stream, 0, 1000, 0xee).unwrap();
    second.copy_from(&stream, 100, &first, 0, 900).unwrap();
    let mut back = vec![0; 1000];
    second.read(&stream, 0, &mut back).unwrap();
    assert_eq!(back[..100], [0xee; 100]);
    assert_eq!(back[100..], bytes[..900]);
}

#[test]
fn a_kernel_computes_each_element_and_no_more() {
    let device = device();
    let stream = Stream::new(&device).unwrap();
    let kernel = kernels(&device).function("scale").unwrap();
    const COUNT: usize = 1000;
    let input: Vec<f32> = (0..COUNT).map(|i| i as f32 - 3.25).collect();
    let bytes: Vec<u8> = input.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let mut source = DeviceMemory::new(&device, 4 * COUNT).unwrap();
    let mut result = DeviceMemory::new(&device, 4 * COUNT + 4).unwrap();
    source.write(&stream, 0, &bytes).unwrap();
    result.fill(&stream, 0, 4 * COUNT + 4, 0).unwrap();
    let args = kernel_args![result.ptr(), source.ptr(), 0.5f32, COUNT as u32];
    // SAFETY: the kernel reads and writes `COUNT` floats, which both allocations hold.
    unsafe {
        kernel
            .launch(&Launch::linear(COUNT, 256), &stream, &args)
            .unwrap()
    };
    let mut bytes = vec![0; 4 * COUNT + 4];
    result.read(&stream, 0, &mut bytes).unwrap();
    // Halving is exact.
    let expected: Vec<f32> = input.iter().map(|value| value / 2.0).chain([0.0]).collect();
    assert_eq!(floats(&bytes), expected);
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Shape {
    rows: u64,
    tag: u8,
    weight: f32,
}
// SAFETY: the fields of the kernel's `Shape`, laid out by C's rules.
unsafe impl KernelArg for Shape {}

#[test]
fn a_kernel_sees_the_arguments_that_were_packed() {
    let device = device();
    let stream = Stream::new(&device).unwrap();
    let kernel = kernels(&device).function("arguments").unwrap();
    let result = DeviceMemory::new(&device, 72).unwrap();
    let shape = Shape {
        rows: 1 << 40,
        tag: 9,
        weight: -0.5,
    };
    let args = kernel_args![
        result.ptr(),
        200u8,
        65535u16,
        -5i64,
        shape,
        1.25f32,
        -2.5f64,
        -7i32
    ];
    // SAFETY: the kernel writes nine doubles, which `result` holds.
    unsafe {
        kernel
            .launch(&Launch::new([1, 1, 1], [64, 1, 1]), &stream, &args)
            .unwrap()
    };
    let mut bytes = [0; 72];
    result.read(&stream, 0, &mut bytes).unwrap();
    let doubles: Vec<f64> = bytes
        .chunks(8)
        .map(|d| f64::from_ne_bytes(d.try_into().unwrap()))
        .collect();
    assert_eq!(
        doubles,
        [
            200.0,
            65535.0,
            -5.0,
            (1u64 << 40) as f64,
            9.0,
            -0.5,
            1.25,
            -2.5,
            -7.0
        ]
    );
}

#[test]
fn a_modules_variable_can_be_read_and_written() {
    let device = device();
    let stream = Stream::new(&device).unwrap();
    let module = kernels(&device);
    let (counter, len) = module.global("counter").unwrap();
    assert_eq!(len, 4);
    let result = DeviceMemory::new(&device, 4).unwrap();
    let kernel = module.function("increment").unwrap();
    for expected in [42u32, 100] {
        // SAFETY: the kernel writes one word, which `result` holds; `counter` is one word of the module,
        // which `kernel` keeps; the host's words live until the stream has been waited for.
        unsafe {
            kernel
                .launch(
                    &Launch::new([1, 1, 1], [1, 1, 1]),
                    &stream,
                    &kernel_args![result.ptr()],
                )
                .unwrap();
            let mut word = [0u32];
            stream.copy_to_host(&mut word, result.ptr()).unwrap();
            stream.synchronize().unwrap();
            assert_eq!(word, [expected]);
            stream.copy_to_device(counter, &[99u32]).unwrap();
            stream.synchronize().unwrap();
        }
    }
}

#[test]
fn an_unknown_kernel_is_named() {
    let error = kernels(&device()).function("nowhere").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("looking up the kernel 'nowhere': hipModuleGetFunction failed"),
        "{error}"
    );
}

#[test]
fn a_code_object_of_another_target_is_refused() {
    let device = device();
    let other = match device.properties().target.as_str() {
        "gfx90a" => "gfx1100",
        "sm_80" => "sm_90",
        nvidia if nvidia.starts_with("sm_") => "sm_80",
        _ => "gfx90a",
    };
    let error = Module::load(&device, compile(other)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("loading a code object of ") && text.contains(&device.properties().arch),
        "{text}"
    );
    // hipErrorNoBinaryForGpu, or hipErrorInvalidImage where the runtime looks closer first.
    assert!(matches!(error.code(), Some(209 | 200)), "{text}");
}

#[test]
fn more_memory_than_there_is_is_told_apart() {
    let device = device();
    let error = device.malloc(1 << 50).unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
    // The device goes on working.
    DeviceMemory::new(&device, 64).unwrap();
}

#[test]
fn threads_share_streams_and_kernels() {
    let device = device();
    let stream = Arc::new(Stream::new(&device).unwrap());
    let kernel = kernels(&device).function("scale").unwrap();
    let workers: Vec<_> = (1..=4u8)
        .map(|factor| {
            let (device, stream, kernel) = (device.clone(), stream.clone(), kernel.clone());
            std::thread::spawn(move || {
                let mut memory = DeviceMemory::new(&device, 256).unwrap();
                let ones: Vec<u8> = [1.0f32; 64]
                    .iter()
                    .flat_map(|one| one.to_ne_bytes())
                    .collect();
                memory.write(&stream, 0, &ones).unwrap();
                let args = kernel_args![memory.ptr(), memory.ptr(), f32::from(factor), 64u32];
                for _ in 0..3 {
                    // SAFETY: the kernel scales 64 floats, which `memory` holds, in place.
                    unsafe {
                        kernel
                            .launch(&Launch::linear(64, 32), &stream, &args)
                            .unwrap()
                    };
                }
                let mut bytes = [0; 256];
                memory.read(&stream, 0, &mut bytes).unwrap();
                // Small integers: powers are exact.
                assert_eq!(floats(&bytes), [f32::from(factor).powi(3); 64]);
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("the worker's assertions hold");
    }
}

#[test]
fn events_order_streams_and_take_the_time() {
    let device = device();
    let (first, second) = (Stream::new(&device).unwrap(), Stream::new(&device).unwrap());
    let (start, end) = (
        Event::with_timing(&device).unwrap(),
        Event::with_timing(&device).unwrap(),
    );
    let mut memory = DeviceMemory::new(&device, 4096).unwrap();
    start.record(&first).unwrap();
    memory.fill(&first, 0, 4096, 5).unwrap();
    end.record(&first).unwrap();
    second.wait_event(&end).unwrap();
    let mut bytes = [0; 4096];
    memory.read(&second, 0, &mut bytes).unwrap();
    assert_eq!(bytes, [5; 4096]);
    end.synchronize().unwrap();
    assert!(end.is_complete().unwrap() && first.is_idle().unwrap());
    let ms = start.elapsed_ms(&end).unwrap();
    assert!((0.0..60_000.0).contains(&ms), "{ms} ms");
}
