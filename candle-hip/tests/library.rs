//! Finding and refusing runtime libraries. A process opens the runtime once, so each case runs in a child
//! process: this test binary again, with only `probe`.

mod common;

use candle_hip::{drop_failures, Device, DeviceMemory, Error, Stream};
use std::process::Command;

/// Runs `probe` in a child process with exactly these of the variables that matter; returns its report.
fn report(action: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().expect("the test's own path"));
    command.args(["--ignored", "--exact", "probe", "--nocapture"]);
    for variable in ["CANDLE_HIP_LIBRARY", "ROCM_PATH", "HIP_PATH"] {
        command.env_remove(variable);
    }
    let output = command
        .env("PROBE", action)
        .envs(environment.iter().copied())
        .output()
        .expect("the child process runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    let report = text
        .split("REPORT\n")
        .nth(1)
        .and_then(|rest| rest.split("\nEND").next());
    let report = report.unwrap_or_else(|| panic!("no report in:\n{text}\n{errors}"));
    format!("{report}{errors}")
}

#[test]
#[ignore = "the body of the child processes that the other tests start"]
fn probe() {
    let action = std::env::var("PROBE").expect("started by another test");
    let outcome = match action.as_str() {
        "count" => Device::count().map(|count| format!("{count} devices")),
        "device" => Device::new(0).map(|device| format!("{:?}", device.properties())),
        "synchronize" => Device::new(0)
            .and_then(|device| Stream::new(&device))
            .and_then(|stream| stream.synchronize())
            .map(|()| "synchronized".into()),
        "drop" => Device::new(0)
            .and_then(|device| {
                Ok([
                    DeviceMemory::new(&device, 8)?,
                    DeviceMemory::new(&device, 8)?,
                ])
            })
            .map(|memories| {
                drop(memories);
                let failures = drop_failures();
                format!(
                    "{} failures: {}",
                    failures.count,
                    failures.latest.expect("a failure")
                )
            }),
        "capture" => Device::new(0)
            .and_then(|device| Stream::new(&device))
            .and_then(|stream| stream.begin_capture())
            .map(|()| "capturing".into()),
        "blas" => {
            candle_hip::blas::Library::get().map(|library| library.path().display().to_string())
        }
        other => panic!("unknown action {other}"),
    };
    let text = outcome.unwrap_or_else(|error| match error.is_library_missing() {
        true => format!("missing: {error}"),
        false => format!("error: {error}"),
    });
    println!("REPORT\n{text}\nEND");
}

fn fake(without: &[&str]) -> String {
    common::fake_hip(without)
        .to_str()
        .expect("a path in UTF-8")
        .to_string()
}

#[test]
fn a_named_library_that_does_not_exist_is_the_error() {
    let text = report(
        "count",
        &[("CANDLE_HIP_LIBRARY", "/nonexistent/libamdhip64.so")],
    );
    assert!(
        text.starts_with("missing: CANDLE_HIP_LIBRARY is set to '/nonexistent/libamdhip64.so'"),
        "{text}"
    );
    assert!(text.contains("No such file"), "{text}");
}

#[test]
fn a_named_file_that_is_no_library_is_the_error() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let text = report("count", &[("CANDLE_HIP_LIBRARY", path)]);
    assert!(
        text.starts_with("missing: CANDLE_HIP_LIBRARY is set to")
            && text.contains("invalid ELF header"),
        "{text}"
    );
}

#[test]
fn a_library_that_is_not_hip_is_refused_by_the_first_missing_function() {
    let text = report("count", &[("CANDLE_HIP_LIBRARY", "libm.so.6")]);
    assert!(text.contains("undefined symbol: hip"), "{text}");
}

#[test]
fn the_missing_function_is_named() {
    let library = fake(&["hipMemsetD16Async"]);
    let text = report("count", &[("CANDLE_HIP_LIBRARY", &library)]);
    assert!(
        text.contains("undefined symbol: hipMemsetD16Async"),
        "{text}"
    );
    let library = fake(&["hipGetDeviceProperties", "hipGetDevicePropertiesR0600"]);
    let text = report("count", &[("CANDLE_HIP_LIBRARY", &library)]);
    assert!(
        text.contains("neither hipGetDevicePropertiesR0600 nor hipGetDeviceProperties"),
        "{text}"
    );
}

#[test]
fn without_a_library_every_path_tried_is_listed() {
    // The loader's own search and /opt/rocm may find a real runtime: then that is what must be used.
    let text = report(
        "count",
        &[
            ("ROCM_PATH", "/nonexistent/rocm"),
            ("HIP_PATH", "/nonexistent/hip"),
        ],
    );
    if !text.starts_with("missing: ") {
        assert!(text.ends_with(" devices"), "{text}");
        return;
    }
    for path in [
        "/nonexistent/rocm/lib/libamdhip64.so: ",
        "/nonexistent/rocm/lib/libamdhip64.so.7: ",
        "/nonexistent/hip/lib/libamdhip64.so.6: ",
        "  libamdhip64.so: ",
        "  libamdhip64.so.5: ",
        "/opt/rocm/lib/libamdhip64.so.6: ",
        "Install AMD's ROCm runtime",
    ] {
        assert!(text.contains(path), "{path} not in:\n{text}");
    }
}

#[test]
fn rocm_path_is_searched() {
    let root = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("rocm");
    std::fs::create_dir_all(root.join("lib")).expect("a temporary folder");
    std::fs::copy(fake(&[]), root.join("lib/libamdhip64.so.6")).expect("a copy");
    let text = report(
        "count",
        &[("ROCM_PATH", root.to_str().expect("a path in UTF-8"))],
    );
    assert_eq!(text, "2 devices");
}

#[test]
fn an_old_runtime_is_refused() {
    let text = report(
        "count",
        &[
            ("CANDLE_HIP_LIBRARY", &fake(&[])),
            ("FAKE_VERSION", "40321153"),
        ],
    );
    assert!(
        text.contains("its HIP version is 4.3.21153, older than 5.2"),
        "{text}"
    );
}

#[test]
fn no_device_is_a_count_of_zero_and_a_clear_error() {
    let library = fake(&[]);
    let environment = [
        ("CANDLE_HIP_LIBRARY", library.as_str()),
        ("FAKE_COUNT", "0"),
    ];
    assert_eq!(report("count", &environment), "0 devices");
    // What ROCm 5.2.3 says on a machine without a card.
    let invalid = [
        ("CANDLE_HIP_LIBRARY", library.as_str()),
        ("FAKE_INIT", "101"),
    ];
    assert_eq!(report("count", &invalid), "0 devices");
    let text = report("device", &environment);
    assert!(
        text.starts_with("error: there is no ROCm device 0: the HIP runtime sees no device"),
        "{text}"
    );
}

#[test]
fn the_architecture_is_read_from_each_layout_of_the_properties() {
    let expected =
        "target: \"gfx90a\", arch: \"gfx90a:sramecc+:xnack-\", wave_size: 64, compute_units: 60";
    let both = fake(&[]);
    let rocm_5 = fake(&["hipGetDevicePropertiesR0600"]);
    for environment in [
        vec![("CANDLE_HIP_LIBRARY", both.as_str())],
        vec![("CANDLE_HIP_LIBRARY", rocm_5.as_str())],
        vec![
            ("CANDLE_HIP_LIBRARY", both.as_str()),
            ("FAKE_LAYOUT", "moved"),
        ],
    ] {
        let text = report("device", &environment);
        assert!(text.contains(expected), "{environment:?}: {text}");
    }
    let text = report(
        "device",
        &[("CANDLE_HIP_LIBRARY", &both), ("FAKE_LAYOUT", "none")],
    );
    assert!(
        text.starts_with("error: device 0: hipGetDevicePropertiesR0600 of "),
        "{text}"
    );
    assert!(
        text.contains("(HIP 6.2.41133) returned no architecture"),
        "{text}"
    );
}

#[test]
fn answers_that_make_no_sense_are_refused() {
    let library = fake(&[]);
    let text = report(
        "device",
        &[("CANDLE_HIP_LIBRARY", &library), ("FAKE_WAVE", "32")],
    );
    assert!(text.contains("waves of gfx90a have 32 lanes"), "{text}");
    let text = report(
        "device",
        &[("CANDLE_HIP_LIBRARY", &library), ("FAKE_UNITS", "-1")],
    );
    assert!(text.contains("its number of compute units is -1"), "{text}");
}

#[test]
fn a_name_that_is_not_terminated_stays_in_its_field() {
    let text = report(
        "device",
        &[("CANDLE_HIP_LIBRARY", &fake(&[])), ("FAKE_NAME", "long")],
    );
    assert!(
        text.contains(&format!("name: \"{}\"", "x".repeat(256))),
        "{text}"
    );
}

#[test]
fn a_kernels_failure_comes_out_of_the_wait_with_the_runtimes_words() {
    let text = report(
        "synchronize",
        &[("CANDLE_HIP_LIBRARY", &fake(&[])), ("FAKE_SYNC", "719")],
    );
    assert_eq!(
        text,
        "error: waiting for a stream of device 0: hipStreamSynchronize failed with hipErrorLaunchFailure (719): \
         kernel 'k' read out of bounds"
    );
}

#[test]
fn a_failed_release_is_kept_and_said_once() {
    let text = report(
        "drop",
        &[("CANDLE_HIP_LIBRARY", &fake(&[])), ("FAKE_FREE", "17")],
    );
    assert!(text.starts_with("2 failures: freeing 0x"), "{text}");
    assert_eq!(text.matches("candle-hip: freeing 0x").count(), 1, "{text}");
    assert!(
        text.contains("hipFree failed with hipErrorInvalidDevicePointer (17)"),
        "{text}"
    );
}

#[test]
fn a_runtime_without_graphs_says_so() {
    let text = report("capture", &[("CANDLE_HIP_LIBRARY", &fake(&["graphs"]))]);
    assert!(
        text.starts_with("error: the HIP runtime '")
            && text.ends_with("does not support stream capture"),
        "{text}"
    );
}

#[test]
fn rocblas_has_its_own_variable() {
    let text = report(
        "blas",
        &[("CANDLE_ROCBLAS_LIBRARY", "/nonexistent/librocblas.so")],
    );
    assert!(
        text.starts_with("missing: CANDLE_ROCBLAS_LIBRARY is set to '/nonexistent/librocblas.so'"),
        "{text}"
    );
    let text = report("blas", &[("CANDLE_ROCBLAS_LIBRARY", "libm.so.6")]);
    assert!(
        text.contains("undefined symbol: rocblas_create_handle"),
        "{text}"
    );
}

#[test]
fn library_errors_can_be_told_from_others() {
    let missing = Error::LibraryMissing {
        title: "x",
        tried: vec![],
        install: "y",
    };
    assert!(missing.is_library_missing() && !missing.is_no_device() && !missing.is_out_of_memory());
}
