//! What the integration tests share: building the fake runtime, and running code in a child process with
//! another environment (a process opens the HIP runtime once).

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `fake_hip.c` without the given functions into a library named after them.
pub fn fake_hip(without: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/fake_hip.c");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let name = format!("libfake_hip{}.so", without.join("_"));
    // Several tests build at once: each writes its own file and moves it into place whole.
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let partial = folder.join(format!("{name}.{}.{number}", std::process::id()));
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&partial)
        .args(
            without
                .iter()
                .map(|function| format!("-DWITHOUT_{function}")),
        )
        .arg(&source)
        .output()
        .expect("the C compiler 'cc', which Rust links with, must run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let library = folder.join(name);
    std::fs::rename(&partial, &library).expect("the library's folder is writable");
    library
}

/// The smallest file that counts as a code object: an ELF header for machine EM_AMDGPU without any tables.
#[allow(dead_code)] // not every test file loads modules
pub fn empty_code_object() -> Vec<u8> {
    let mut image = vec![0u8; 64];
    image[..6].copy_from_slice(b"\x7fELF\x02\x01");
    image[18..20].copy_from_slice(&224u16.to_le_bytes());
    image
}
