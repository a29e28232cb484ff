//! What the environment changes, each in a process of its own: this program starts itself with the
//! variables set and runs one of the parts at the end of this file.

mod support;

use hip_emulator::api::{device, memory};
use std::ffi::{c_char, c_int, c_void, CStr};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::ptr::null_mut;
use support::*;

/// Runs the part called `name` (an ignored test) with `variables`.
fn part(name: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        &format!("parts::{name}"),
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    for name in ["ARCH", "MEMORY", "POISON", "LEDGER", "TRACE", "PROFILE"] {
        command.env_remove(format!("HIP_EMULATOR_{name}"));
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

/// The standard error of a part that must succeed.
fn errors_of(name: &str, variables: &[(&str, &str)]) -> String {
    let output = part(name, variables);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{}\n{text}",
        String::from_utf8_lossy(&output.stdout)
    );
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(ran, "the part {name} exists and ran");
    text
}

#[test]
fn live_allocations_are_listed_at_exit() {
    let text = errors_of("leak", &[]);
    assert!(
        text.contains("live allocation no. 1: 1000 bytes, device 0"),
        "{text}"
    );
    assert!(
        text.contains("live allocation no. 3: 24 bytes, pinned host memory"),
        "{text}"
    );
    let total = "hip-emulator: 2 live allocations (1024 bytes) at exit, 3 made, peak 1524 bytes";
    assert!(text.contains(total), "{text}");
}

#[test]
fn a_clean_process_says_so_only_when_asked() {
    assert!(!errors_of("clean", &[]).contains("at exit"));
    let text = errors_of("clean", &[("HIP_EMULATOR_LEDGER", "1")]);
    assert!(
        text.contains("hip-emulator: 0 live allocations (0 bytes) at exit, 1 made, peak 10"),
        "{text}"
    );
}

#[test]
fn unknown_targets_and_bad_values_fail_the_device_count() {
    let cases = [
        ("HIP_EMULATOR_ARCH", "gfx803", "gfx1100"),
        ("HIP_EMULATOR_MEMORY", "plenty", "8G"),
        (
            "HIP_EMULATOR_PROFILE",
            "/nonexistent/folder/file",
            "/nonexistent",
        ),
    ];
    for (name, value, expected) in cases {
        let text = errors_of("no_device", &[(name, value)]);
        assert!(
            text.contains(name) && text.contains(value) && text.contains(expected),
            "{text}"
        );
    }
}

#[test]
fn memory_limit_and_poison_follow_the_environment() {
    errors_of(
        "small_and_zeroed",
        &[("HIP_EMULATOR_MEMORY", "1M"), ("HIP_EMULATOR_POISON", "0")],
    );
}

#[test]
fn launches_are_traced_and_profiled() {
    let file =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("profile-{}", std::process::id()));
    let path = file.to_str().unwrap();
    let text = errors_of(
        "two_launches",
        &[("HIP_EMULATOR_TRACE", "1"), ("HIP_EMULATOR_PROFILE", path)],
    );
    let traced = text
        .lines()
        .filter(|l| l.starts_with("hip-emulator: launch vadd on gfx1100 (emulated)"));
    assert_eq!(traced.count(), 2, "{text}");
    let profile = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let lines: Vec<_> = profile.lines().collect();
    assert_eq!(lines.len(), 2, "{profile}");
    for line in &lines {
        assert!(
            line.starts_with("{\"kernel\":\"vadd\",\"target\":\"gfx1100\",\"emulated\":true"),
            "{line}"
        );
        assert!(
            line.contains("\"grid\":[2, 1, 1]") && line.ends_with('}'),
            "{line}"
        );
    }
    // The same launch costs the same; only the host's time differs.
    let counts = |line: &str| line.split("\"instructions\"").nth(1).map(str::to_string);
    assert!(counts(lines[0]).is_some());
    assert_eq!(counts(lines[0]), counts(lines[1]));
}

#[test]
fn the_shared_library_works_when_opened_at_run_time() {
    // Cargo puts the library beside the test programs.
    let library = std::env::current_exe()
        .unwrap()
        .with_file_name("libhip_emulator.so");
    // SAFETY: our own library; its constructors do nothing. The signatures are HIP's.
    unsafe {
        let library = libloading::Library::new(&library).unwrap_or_else(|error| panic!("{error}"));
        let count: libloading::Symbol<unsafe extern "C" fn(*mut c_int) -> u32> =
            library.get(b"hipGetDeviceCount").unwrap();
        let name: libloading::Symbol<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> u32> =
            library.get(b"hipDeviceGetName").unwrap();
        let malloc: libloading::Symbol<unsafe extern "C" fn(*mut *mut c_void, usize) -> u32> =
            library.get(b"hipMalloc").unwrap();
        let free: libloading::Symbol<unsafe extern "C" fn(*mut c_void) -> u32> =
            library.get(b"hipFree").unwrap();
        let (mut devices, mut text, mut pointer) = (0, [0 as c_char; 256], null_mut());
        assert_eq!(count(&mut devices), SUCCESS);
        assert!(devices >= 1);
        assert_eq!(name(text.as_mut_ptr(), 256, 0), SUCCESS);
        assert!(CStr::from_ptr(text.as_ptr())
            .to_str()
            .unwrap()
            .contains("emulated"));
        assert_eq!(malloc(&mut pointer, 100), SUCCESS);
        assert_eq!(free(pointer), SUCCESS);
    }
}

/// Run by the tests above in processes of their own, never directly.
mod parts {
    use super::*;

    #[test]
    #[ignore = "started by live_allocations_are_listed_at_exit"]
    fn leak() {
        let mut pointer = null_mut();
        // SAFETY: `pointer` is valid for the results.
        unsafe {
            assert_eq!(memory::hipMalloc(&mut pointer, 1000), SUCCESS);
            assert_eq!(memory::hipMalloc(&mut pointer, 500), SUCCESS);
            let freed_later = pointer;
            assert_eq!(memory::hipHostMalloc(&mut pointer, 24, 0), SUCCESS);
            assert_eq!(memory::hipFree(freed_later), SUCCESS);
            let (mut count, mut bytes) = (0, 0);
            assert_eq!(
                memory::hipEmulatorLiveAllocations(&mut count, &mut bytes),
                SUCCESS
            );
            assert_eq!((count, bytes), (2, 1024));
        }
    }

    #[test]
    #[ignore = "started by a_clean_process_says_so_only_when_asked"]
    fn clean() {
        drop(Buffer::new(10));
    }

    #[test]
    #[ignore = "started by unknown_targets_and_bad_values_fail_the_device_count"]
    fn no_device() {
        let mut count = 7;
        // SAFETY: `count` is valid.
        assert_eq!(unsafe { device::hipGetDeviceCount(&mut count) }, NO_DEVICE);
        assert_eq!(count, 0);
        assert!(last_text().contains("HIP_EMULATOR_"), "{}", last_text());
        assert_eq!(device::hipInit(0), NO_DEVICE);
        assert_eq!(device::hipSetDevice(0), NO_DEVICE);
    }

    #[test]
    #[ignore = "started by memory_limit_and_poison_follow_the_environment"]
    fn small_and_zeroed() {
        let (mut free, mut total, mut pointer) = (0, 0, null_mut());
        let buffer = Buffer::new(1 << 19);
        assert!(buffer.read::<u8>().iter().all(|byte| *byte == 0));
        // SAFETY: all pointers are valid.
        unsafe {
            assert_eq!(device::hipMemGetInfo(&mut free, &mut total), SUCCESS);
            assert_eq!((free, total), (1 << 19, 1 << 20));
            assert_eq!(
                memory::hipMalloc(&mut pointer, (1 << 19) + 1),
                OUT_OF_MEMORY
            );
            assert_eq!(memory::hipMalloc(&mut pointer, 1 << 19), SUCCESS);
        }
        assert_eq!(memory::hipFree(pointer), SUCCESS);
    }

    #[test]
    #[ignore = "started by launches_are_traced_and_profiled"]
    fn two_launches() {
        let module = Module::load(&code_object("api", "gfx1100")).unwrap();
        let (a, out) = (Buffer::of(&[1.0f32; 64]), Buffer::new(256));
        let arguments = pack(&[
            &a.address().to_le_bytes(),
            &a.address().to_le_bytes(),
            &out.address().to_le_bytes(),
            &64u32.to_le_bytes(),
        ]);
        for _ in 0..2 {
            let code = launch(
                module.function("vadd"),
                [2, 1, 1],
                [32, 1, 1],
                0,
                &arguments,
            );
            assert_eq!(code, SUCCESS, "{}", last_text());
        }
    }
}
