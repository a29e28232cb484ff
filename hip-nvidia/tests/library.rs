//! The library as candle-hip opens it, on any machine: its symbols, and what it says without a CUDA driver.

use std::collections::BTreeSet;
use std::ffi::{c_char, c_int, CStr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The cdylib that cargo built beside this test.
fn library() -> PathBuf {
    // target/<profile>/deps/<this test>
    let test = std::env::current_exe().unwrap();
    let candidates: Vec<PathBuf> = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("libhip_nvidia.so"))
        .collect();
    let newest = |path: &&PathBuf| path.metadata().and_then(|data| data.modified()).ok();
    let found = candidates
        .iter()
        .filter(|path| path.exists())
        .max_by_key(newest);
    found
        .unwrap_or_else(|| panic!("none of {candidates:?} exists"))
        .clone()
}

/// The names that the files of candle-hip look up: `b"name\0"` and `c"name"`.
fn wanted() -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../candle-hip/src");
    let mut names = BTreeSet::new();
    for file in [
        "sys/hip.rs",
        "sys/graph.rs",
        "library/mod.rs",
        "blas/sys.rs",
    ] {
        let text = std::fs::read_to_string(source.join(file)).unwrap();
        for (open, close) in [("b\"", "\\0\""), ("c\"", "\"")] {
            for rest in text.split(open).skip(1) {
                let name = rest.split(close).next().unwrap_or_default();
                let is_name =
                    |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                if (name.starts_with("hip") || name.starts_with("rocblas_")) && is_name(name) {
                    names.insert(name.to_string());
                }
            }
        }
    }
    names
}

#[test]
fn every_function_that_candle_hip_looks_up_is_exported() {
    let names = wanted();
    // Some of each table: the search above finds what it is for.
    for name in [
        "hipInit",
        "hipGraphLaunch",
        "hipGetDevicePropertiesR0600",
        "rocblas_set_stream",
    ] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
    assert!(names.len() >= 50, "{names:?}");
    // SAFETY: the library has no initialisers.
    let library = unsafe { libloading::Library::new(library()) }.unwrap();
    let missing: Vec<&String> = names
        .iter()
        // SAFETY: the symbol is not called.
        .filter(|name| unsafe { library.get::<*const ()>(name.as_bytes()) }.is_err())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Runs the ignored test `without_a_driver` in a process of its own, with libcuda named as `path`.
fn child(path: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "without_a_driver", "--ignored", "--nocapture"])
        .env("HIP_NVIDIA_CUDA", path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("1 passed"), "{text}");
    text
}

#[test]
fn a_missing_driver_is_one_clear_error() {
    let text = child("/nowhere/libcuda.so.1");
    for part in [
        "hipErrorSharedObjectInitFailed",
        "/nowhere/libcuda.so.1",
        "Install NVIDIA's driver",
        "HIP_NVIDIA_CUDA",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_library_that_is_no_driver_is_refused() {
    let text = child(library().to_str().unwrap());
    assert!(text.contains("it has no cuInit"), "{text}");
}

#[test]
#[ignore = "part of the tests above, which run it in a process of its own"]
fn without_a_driver() {
    type Text = unsafe extern "C" fn(u32) -> *const c_char;
    // SAFETY: the functions have HIP's types.
    unsafe {
        let library = libloading::Library::new(library()).unwrap();
        let init = library
            .get::<unsafe extern "C" fn(u32) -> u32>(b"hipInit\0")
            .unwrap();
        let version = library
            .get::<unsafe extern "C" fn(*mut c_int) -> u32>(b"hipRuntimeGetVersion\0")
            .unwrap();
        let set_device = library
            .get::<unsafe extern "C" fn(c_int) -> u32>(b"hipSetDevice\0")
            .unwrap();
        let name = library.get::<Text>(b"hipGetErrorName\0").unwrap();
        let text = library.get::<Text>(b"hipGetErrorString\0").unwrap();
        let mut number = 0;
        // candle-hip asks for the version when it opens the library, before there is a device to ask for.
        assert_eq!(version(&mut number), 0);
        assert!(number >= 50_000_000);
        let status = init(0);
        assert_ne!(status, 0);
        assert_eq!(set_device(0), status, "every call says the same");
        println!(
            "{}: {}",
            CStr::from_ptr(name(status)).to_str().unwrap(),
            CStr::from_ptr(text(status)).to_str().unwrap()
        );
    }
}
