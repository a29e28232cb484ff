//! The nvcc that compiles the kernels for NVIDIA cards (measurement beside CUDA, through `hip-nvidia`): where it is
//! looked for, and how it is called.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::Digest;
use super::compiler::{first_working, run};
use super::modules::{Origin, Source};
use super::targets::Target;
use super::Result;

const FIX: &str = "install NVIDIA's CUDA toolkit (or, without administrator's rights, the PyPI packages nvidia-cuda-nvcc, \
    nvidia-nvvm, nvidia-cuda-crt, nvidia-cuda-runtime and nvidia-cuda-cccl of one release) and set CUDA_HOME to its \
    folder, or leave sm_ targets out of CANDLE_HIP_ARCHS";

/// Oldest release whose headers have the 8-bit floats that upstream's kernels use.
const OLDEST: u32 = 12;

/// How a source says that its products and sums are rounded one after the other.
const UNFUSED: &[u8] = b"#pragma clang fp contract(off)";

/// An nvcc.
pub struct Nvcc {
    program: PathBuf,
    /// The line of `nvcc --version` that names the release.
    version: String,
    /// Digest of the compiler, for the cache.
    pub digest: String,
}

impl Nvcc {
    /// Finds the compiler; the error lists what was tried and says what to install.
    pub fn find() -> Result<Self> {
        let mut candidates: Vec<PathBuf> = ["CUDA_HOME", "CUDA_PATH"]
            .iter()
            .filter_map(env::var_os)
            .map(|folder| PathBuf::from(folder).join("bin/nvcc"))
            .collect();
        candidates.extend(["nvcc", "/usr/local/cuda/bin/nvcc"].map(PathBuf::from));
        first_working(&candidates, inspect).map_err(|tried| {
            format!(
                "no nvcc, which compiles for NVIDIA cards, was found. Looked for, in this order (CUDA_HOME names a \
                 toolkit's folder):\n{tried}\nfix: {FIX}"
            )
        })
    }

    /// Stops for targets that this nvcc does not know.
    pub fn check(&self, targets: &[&Target]) -> Result<()> {
        let known = run(Command::new(&self.program).arg("--list-gpu-code"))?;
        match targets
            .iter()
            .find(|target| !known.split_whitespace().any(|name| name == target.name))
        {
            None => Ok(()),
            Some(target) => Err(format!(
                "{} ({}) does not compile for {}: use another release of CUDA (CUDA_HOME), or leave the target out \
                 of CANDLE_HIP_ARCHS",
                self.program.display(),
                self.version,
                target.name
            )),
        }
    }

    /// Flags that do not name files: part of the cache's key. `texts` are the source and all that it includes.
    pub fn flags(module: &Source, target: &Target, texts: &[Vec<u8>]) -> Vec<String> {
        let mut flags: Vec<String> = [
            "-x",
            "cu",
            "-cubin",
            "-std=c++17",
            "-O3",
            // std::numeric_limits in kernels.
            "--expt-relaxed-constexpr",
        ]
        .map(String::from)
        .to_vec();
        flags.push(format!("-arch={}", target.name));
        flags.push(format!("-DCANDLE_WAVE_SIZE={}", target.wave_size));
        // nvcc has the choice per file only, and no pragma for it.
        let contains = |text: &Vec<u8>| text.windows(UNFUSED.len()).any(|part| part == UNFUSED);
        if texts.iter().any(contains) {
            flags.push("-fmad=false".into());
        }
        if module.origin == Origin::Upstream {
            // The code paths that AMD targets take, so that a card shows those.
            flags.push(format!("-DCANDLE_CUDA_LEVEL={}", module.cuda_level));
            flags.extend(["-include", "cuda_compat.h", "-w"].map(String::from));
        }
        flags
    }

    /// Compiles `source` to the cubin `out`. The error holds the compiler's messages.
    pub fn compile(
        &self,
        flags: &[String],
        includes: &[&Path],
        source: &Path,
        out: &Path,
    ) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(flags);
        for folder in includes {
            command.arg("-I").arg(folder);
        }
        command.arg(source).arg("-o").arg(out);
        run(&mut command).map(drop)
    }
}

/// An nvcc with its release, or why it will not do.
fn inspect(program: &Path) -> Result<Nvcc> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => "not found".to_string(),
            _ => e.to_string(),
        })?;
    let said = String::from_utf8_lossy(&output.stdout);
    // "Cuda compilation tools, release 13.0, V13.0.88"
    let version = said.lines().find(|line| line.contains("release "));
    let release = version.and_then(|line| {
        line.split("release ")
            .nth(1)?
            .split('.')
            .next()?
            .parse()
            .ok()
    });
    match (version, release) {
        (Some(line), Some(OLDEST..)) => Ok(Nvcc {
            program: program.to_path_buf(),
            version: line.trim().to_string(),
            digest: Digest::new().add(said.as_bytes()).hex(),
        }),
        (Some(line), Some(_)) => Err(format!(
            "is \"{}\", and release {OLDEST} is the oldest that will do",
            line.trim()
        )),
        _ => Err("`--version` names no release of CUDA".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_nvcc_is_reported_with_every_candidate() {
        let candidates = ["/nowhere/bin/nvcc".into(), "/nowhere/nvcc".into()];
        let tried = first_working(&candidates, inspect).err().unwrap();
        assert_eq!(
            tried,
            "  /nowhere/bin/nvcc: not found\n  /nowhere/nvcc: not found"
        );
    }

    /// `true` starts and says nothing.
    #[test]
    fn a_program_that_is_no_nvcc_is_refused() {
        let why = inspect(Path::new("true")).err().unwrap();
        assert!(why.contains("names no release"), "{why}");
    }

    #[test]
    fn a_source_that_forbids_fused_multiplication_is_obeyed() {
        let target = super::super::targets::find("sm_90").unwrap();
        let module = &super::super::modules::SOURCES[0];
        let unfused = |text: &str| {
            Nvcc::flags(module, target, &[Vec::new(), text.as_bytes().to_vec()])
                .contains(&"-fmad=false".to_string())
        };
        assert!(unfused("int a;\n#pragma clang fp contract(off)\n"));
        assert!(!unfused("int a;\n#pragma clang fp contract(fast)\n"));
    }

    /// Translated modules take the row's code paths and the compatibility header, own ones neither.
    #[test]
    fn translated_modules_are_compiled_for_the_rows_level() {
        let target = super::super::targets::find("sm_90").unwrap();
        for module in super::super::modules::SOURCES {
            let flags = Nvcc::flags(module, target, &[]);
            assert!(flags.contains(&"-arch=sm_90".to_string()));
            let level = format!("-DCANDLE_CUDA_LEVEL={}", module.cuda_level);
            let upstream = module.origin == Origin::Upstream;
            assert_eq!(flags.contains(&level), upstream, "{}", module.name);
            assert_eq!(flags.contains(&"cuda_compat.h".to_string()), upstream);
        }
    }
}
