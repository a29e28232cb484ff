//! The clang and the math bitcode that compile the kernels: where they are looked for, and how they are called.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::Digest;
use super::modules::Source;
use super::targets::{Dot4, Family, Target};
use super::Result;

/// Versions of LLVM that are tried by name on PATH, best first.
const VERSIONS: std::ops::RangeInclusive<u32> = 17..=22;

/// What a Debian or Ubuntu user types to get everything.
const FIX: &str =
    "apt-get install clang-19 lld-19 llvm-19 rocm-device-libs (Debian 13, Ubuntu 24.04: \
    rocm-device-libs-17), or install ROCm and set ROCM_PATH";

/// A clang that can build AMD code objects, with the bitcode it links.
pub struct Toolchain {
    clang: PathBuf,
    /// First line of `clang --version`.
    pub version: String,
    llvm: u32,
    ocml: PathBuf,
    /// Digest of compiler and bitcode, for the cache.
    pub digest: String,
}

impl Toolchain {
    /// Finds the tools; the error lists what was tried and says what to install.
    pub fn find() -> Result<Self> {
        let (clang, version, llvm) = find_clang()?;
        let ocml = find_ocml(&clang)?;
        let bitcode =
            fs::read(&ocml).map_err(|e| format!("cannot read {}: {e}", ocml.display()))?;
        let digest = Digest::new().add(version.as_bytes()).add(&bitcode).hex();
        Ok(Toolchain {
            clang,
            version,
            llvm,
            ocml,
            digest,
        })
    }

    /// One line that says what is used.
    pub fn describe(&self) -> String {
        format!(
            "{} ({}), {}",
            self.clang.display(),
            self.version,
            self.ocml.display()
        )
    }

    /// Whether this clang is new enough for `target`.
    pub fn knows(&self, target: &Target) -> bool {
        target.min_llvm <= self.llvm
    }

    /// Stops for targets that this clang is too old for.
    pub fn check(&self, targets: &[&Target]) -> Result<()> {
        match targets.iter().find(|target| !self.knows(target)) {
            None => Ok(()),
            Some(target) => Err(format!(
                "target {} needs clang {} or newer, and {} is {}. Install a newer one and name it with \
                 CANDLE_HIP_CLANG, or leave the target out of CANDLE_HIP_ARCHS",
                target.name, target.min_llvm, self.clang.display(), self.version
            )),
        }
    }

    /// Flags that do not name files: part of the cache's key.
    pub fn flags(&self, module: &Source, target: &Target) -> Vec<String> {
        let mut flags: Vec<String> = [
            "-x",
            "hip",
            "--cuda-device-only",
            "--no-gpu-bundle-output",
            "-std=c++17",
            "-O3",
            // No header and no library of any SDK: ours and the bitcode below are all there is.
            "-nogpuinc",
            "-nogpulib",
            "-nostdinc++",
            "-nostdlibinc",
        ]
        .map(String::from)
        .to_vec();
        flags.push(format!("--offload-arch={}", target.name));
        flags.push(format!(
            "-mcode-object-version={}",
            target.code_object_version
        ));
        flags.push(format!(
            "--gpu-max-threads-per-block={}",
            module.max_threads
        ));
        flags.push(format!("-DCANDLE_WAVE_SIZE={}", target.wave_size));
        match target.dot4 {
            Dot4::Sdot4 => flags.push("-DCANDLE_HAS_SDOT4".into()),
            Dot4::Sudot4 => flags.push("-DCANDLE_HAS_SUDOT4".into()),
            Dot4::None => {}
        }
        match module.origin {
            super::modules::Origin::Upstream => {
                // The toolkit version that upstream asks about: one that has every function of cuda_compat.h.
                flags.extend([
                    "-D__CUDACC_VER_MAJOR__=12".into(),
                    "-D__CUDACC_VER_MINOR__=4".into(),
                ]);
                flags.push(format!("-DCANDLE_CUDA_LEVEL={}", module.cuda_level));
                if module.is_mmq() {
                    flags.extend(mmq_defines(target).iter().map(|d| format!("-D{d}")));
                }
                flags.extend(["-include", "cuda_compat.h", "-w"].map(String::from));
            }
            super::modules::Origin::Own => {}
        }
        flags
    }

    /// Compiles `source` to the code object `out`. The error holds the compiler's messages.
    pub fn compile(
        &self,
        flags: &[String],
        includes: &[&Path],
        control: &Path,
        source: &Path,
        out: &Path,
    ) -> Result<()> {
        let mut command = Command::new(&self.clang);
        command.args(flags);
        for folder in includes {
            command.arg("-I").arg(folder);
        }
        for bitcode in [&self.ocml, control] {
            command
                .args(["-Xclang", "-mlink-builtin-bitcode", "-Xclang"])
                .arg(bitcode);
        }
        command.arg(source).arg("-o").arg(out);
        run(&mut command).map(drop)
    }

    /// ocml's control variables for `target`, as bitcode: `folder/oclc-<target>-….bc`, made once. Generated rather
    /// than taken from the device libraries, so that targets newer than the installed ones work.
    pub fn control(&self, target: &Target, folder: &Path) -> Result<PathBuf> {
        let text = control_module(target);
        let digest = Digest::new()
            .add(self.digest.as_bytes())
            .add(text.as_bytes())
            .hex();
        let out = folder.join(format!("oclc-{}-{digest}.bc", target.name));
        if out.is_file() {
            return Ok(out);
        }
        let stem = format!("oclc-{}-{}", target.name, std::process::id());
        let (source, scratch) = (
            folder.join(format!("{stem}.ll")),
            folder.join(format!("{stem}.part")),
        );
        super::translate::write_if_changed(&source, text.as_bytes())?;
        let mut command = Command::new(&self.clang);
        command.args([
            "--target=amdgcn-amd-amdhsa",
            "-nogpulib",
            "-x",
            "ir",
            "-c",
            "-emit-llvm",
            "-w",
        ]);
        run(command.arg(&source).arg("-o").arg(&scratch))?;
        fs::rename(&scratch, &out).map_err(|e| format!("cannot write {}: {e}", out.display()))?;
        // Left behind it would only be clutter.
        let _ = fs::remove_file(&source);
        Ok(out)
    }
}

/// What makes `mmq_gguf/` take its AMD branches, and in them a family's matrix cores: the names that ggml's build for HIP
/// gives its compiler.
fn mmq_defines(target: &Target) -> &'static [&'static str] {
    match target.family {
        Family::Cdna2 => &["GGML_USE_HIP", "CDNA", "CDNA2", "AMD_MFMA_AVAILABLE"],
        Family::Cdna3 => &["GGML_USE_HIP", "CDNA", "CDNA3", "AMD_MFMA_AVAILABLE"],
        Family::Rdna2 => &["GGML_USE_HIP", "RDNA2"],
        Family::Rdna3 => &["GGML_USE_HIP", "RDNA3", "AMD_WMMA_AVAILABLE"],
        Family::Rdna4 => &["GGML_USE_HIP", "RDNA4", "AMD_WMMA_AVAILABLE"],
        Family::Gcn5 => &["GGML_USE_HIP", "GCN"],
        Family::Nvidia => &[],
    }
}

/// IR that defines the variables which ocml's functions read (ROCm device libraries, doc/OCML.md, "Controls").
fn control_module(target: &Target) -> String {
    let wave64 = u32::from(target.wave_size == 64);
    let variables = [
        ("ISA_version", "i32", target.isa_version),
        ("ABI_version", "i32", target.code_object_version * 100),
        ("wavefrontsize64", "i8", wave64),
        ("daz_opt", "i8", 0),
        ("finite_only_opt", "i8", 0),
        ("unsafe_math_opt", "i8", 0),
        ("correctly_rounded_sqrt32", "i8", 1),
    ];
    let mut text = String::from("target triple = \"amdgcn-amd-amdhsa\"\n");
    for (name, kind, value) in variables {
        text +=
            &format!("@__oclc_{name} = linkonce_odr hidden addrspace(4) constant {kind} {value}\n");
    }
    text
}

/// Runs a tool; its standard output, or an error with the last lines of what it said.
pub fn run(command: &mut Command) -> Result<String> {
    const LINES: usize = 60;
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|e| format!("cannot start {program}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().take(LINES).collect();
    Err(format!(
        "{program} failed ({}):\n{}",
        output.status,
        lines.join("\n")
    ))
}

/// The clang to use with its version, or an error that lists the candidates.
fn find_clang() -> Result<(PathBuf, String, u32)> {
    if let Some(named) = env::var_os("CANDLE_HIP_CLANG") {
        let named = PathBuf::from(named);
        return inspect_clang(&named)
            .map_err(|why| format!("CANDLE_HIP_CLANG={}: {why}\nfix: {FIX}", named.display()));
    }
    let mut candidates: Vec<PathBuf> = rocm_folders()
        .iter()
        .map(|rocm| rocm.join("llvm/bin/clang++"))
        .collect();
    candidates.extend(
        VERSIONS
            .rev()
            .map(|version| PathBuf::from(format!("clang-{version}"))),
    );
    candidates.push("clang".into());
    first_working(&candidates, inspect_clang).map_err(|tried| {
        format!(
            "no clang that compiles for AMD GPUs was found. Looked for, in this order (CANDLE_HIP_CLANG names \
             one directly):\n{tried}\nfix: {FIX}"
        )
    })
}

/// The first candidate that `inspect` accepts, or one line for each that says why not.
pub fn first_working<T>(candidates: &[PathBuf], inspect: impl Fn(&Path) -> Result<T>) -> Result<T> {
    let mut tried = Vec::new();
    for candidate in candidates {
        match inspect(candidate) {
            Ok(found) => return Ok(found),
            Err(why) => tried.push(format!("  {}: {why}", candidate.display())),
        }
    }
    tried.dedup();
    Err(tried.join("\n"))
}

/// A clang with its version line and LLVM's major version, or why it will not do.
fn inspect_clang(clang: &Path) -> Result<(PathBuf, String, u32)> {
    let ask = |question: &str| -> Result<String> {
        let output = Command::new(clang)
            .arg(question)
            .output()
            .map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => "not found".to_string(),
                _ => e.to_string(),
            })?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let version = ask("--version")?;
    let first = version
        .lines()
        .next()
        .unwrap_or_default()
        .trim()
        .to_string();
    let llvm = first
        .split("clang version ")
        .nth(1)
        .and_then(|rest| rest.split('.').next()?.parse().ok())
        .ok_or_else(|| format!("`--version` says \"{first}\", which is no clang"))?;
    if llvm < *VERSIONS.start() {
        return Err(format!(
            "is clang {llvm}, and {} is the oldest that will do",
            VERSIONS.start()
        ));
    }
    if !ask("--print-targets")?.contains("amdgcn") {
        return Err("was built without the AMDGPU target".into());
    }
    let linker = ask("--print-prog-name=lld")?;
    if !Path::new(linker.trim()).is_absolute() {
        return Err(format!(
            "its linker lld is missing (apt-get install lld-{llvm})"
        ));
    }
    Ok((clang.to_path_buf(), first, llvm))
}

/// The math bitcode for `clang`, or an error that lists the places.
fn find_ocml(clang: &Path) -> Result<PathBuf> {
    if let Some(named) = env::var_os("CANDLE_HIP_OCML") {
        let named = PathBuf::from(named);
        return inspect_ocml(clang, &named)
            .map_err(|why| format!("CANDLE_HIP_OCML={}: {why}\nfix: {FIX}", named.display()));
    }
    let mut candidates = Vec::new();
    // A compiler's own device libraries are the ones it was tested with.
    if let Ok(resources) = run(Command::new(clang).arg("-print-resource-dir")) {
        let resources = PathBuf::from(resources.trim());
        candidates.push(resources.join("amdgcn/bitcode/ocml.bc"));
        candidates.push(resources.join("lib/amdgcn/bitcode/ocml.bc"));
    }
    for rocm in rocm_folders() {
        candidates.push(rocm.join("amdgcn/bitcode/ocml.bc"));
    }
    candidates.extend(
        subfolders("/usr/lib")
            .into_iter()
            .map(|lib| lib.join("amdgcn/bitcode/ocml.bc"))
            .filter(|p| p.exists()),
    );
    candidates.push("/usr/lib/x86_64-linux-gnu/amdgcn/bitcode/ocml.bc".into());
    for version in VERSIONS.rev() {
        candidates.push(
            format!("/usr/lib/llvm-{version}/lib/clang/{version}/amdgcn/bitcode/ocml.bc").into(),
        );
    }
    first_working(&candidates, |candidate| inspect_ocml(clang, candidate)).map_err(|tried| {
        format!(
            "the math library of the ROCm device libraries, ocml.bc, was not found. Looked for, in this order \
             (CANDLE_HIP_OCML names one directly):\n{tried}\nfix: {FIX}"
        )
    })
}

/// Bitcode of a newer LLVM than the compiler's cannot be read: better known now than in the middle of a kernel.
fn inspect_ocml(clang: &Path, ocml: &Path) -> Result<PathBuf> {
    if !ocml.is_file() {
        return Err("not found".into());
    }
    let mut command = Command::new(clang);
    command.args([
        "--target=amdgcn-amd-amdhsa",
        "-nogpulib",
        "-x",
        "ir",
        "-c",
        "-emit-llvm",
        "-O0",
        "-w",
    ]);
    run(command.arg(ocml).args(["-o", "/dev/null"]))
        .map(|_| ocml.to_path_buf())
        .map_err(|_| {
            format!(
                "{} cannot read it (it comes from a newer LLVM, or is damaged)",
                clang.display()
            )
        })
}

/// Installations of ROCm: `ROCM_PATH`, `HIP_PATH`, then the usual place.
fn rocm_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = ["ROCM_PATH", "HIP_PATH"]
        .iter()
        .filter_map(env::var_os)
        .map(PathBuf::from)
        .collect();
    folders.push("/opt/rocm".into());
    folders.dedup();
    folders
}

fn subfolders(of: &str) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(of)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_compiler_is_reported_with_every_candidate() {
        let tried = first_working(
            &["/nowhere/clang-19".into(), "/nowhere/clang".into()],
            inspect_clang,
        )
        .unwrap_err();
        assert_eq!(
            tried,
            "  /nowhere/clang-19: not found\n  /nowhere/clang: not found"
        );
    }

    /// `true` starts and says nothing: whatever answers to a compiler's name is asked what it is.
    #[test]
    fn a_program_that_is_no_clang_is_refused() {
        let why = inspect_clang(Path::new("true")).unwrap_err();
        assert!(why.contains("no clang"), "{why}");
    }

    #[test]
    fn missing_or_damaged_bitcode_is_refused() {
        let (clang, _, _) = find_clang().unwrap();
        assert_eq!(
            inspect_ocml(&clang, Path::new("/nowhere/ocml.bc")).unwrap_err(),
            "not found"
        );
        let why = inspect_ocml(
            &clang,
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"),
        );
        assert!(why.unwrap_err().contains("cannot read it"));
    }

    #[test]
    fn a_target_newer_than_the_compiler_is_refused() {
        let toolchain = Toolchain {
            clang: "clang-17".into(),
            version: "clang version 17.0.6".into(),
            llvm: 17,
            ocml: PathBuf::new(),
            digest: String::new(),
        };
        let message = toolchain
            .check(&[super::super::targets::find("gfx1201").unwrap()])
            .unwrap_err();
        assert!(
            message.contains("gfx1201 needs clang 19") && message.contains("17.0.6"),
            "{message}"
        );
    }
}
