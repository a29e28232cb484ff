//! Which compiler a target takes: clang for AMD, nvcc for NVIDIA. Each is looked for only when a target wants it.

use std::path::Path;

use super::compiler::Toolchain;
use super::modules::Source;
use super::nvcc::Nvcc;
use super::targets::{Family, Target};
use super::Result;

/// The compilers that a list of targets takes.
pub struct Compilers {
    amd: Option<Toolchain>,
    nvidia: Option<Nvcc>,
}

impl Compilers {
    /// Finds what `targets` need, and stops for targets that it is too old for.
    pub fn find(targets: &[&Target]) -> Result<Self> {
        let (nvidia, amd): (Vec<&Target>, Vec<&Target>) =
            targets.iter().partition(|target| is_nvidia(target));
        let wanted = |targets: &[&Target]| !targets.is_empty();
        let compilers = Compilers {
            amd: wanted(&amd).then(Toolchain::find).transpose()?,
            nvidia: wanted(&nvidia).then(Nvcc::find).transpose()?,
        };
        if let Some(clang) = &compilers.amd {
            clang.check(&amd)?;
        }
        if let Some(nvcc) = &compilers.nvidia {
            nvcc.check(&nvidia)?;
        }
        Ok(compilers)
    }

    /// Digest of the compiler for `target`, for the cache.
    pub fn digest(&self, target: &Target) -> &str {
        match (&self.amd, &self.nvidia) {
            (_, Some(nvcc)) if is_nvidia(target) => &nvcc.digest,
            (Some(clang), _) => &clang.digest,
            _ => "",
        }
    }

    /// Flags that do not name files: part of the cache's key. `texts` are the source and all that it includes.
    pub fn flags(&self, module: &Source, target: &Target, texts: &[Vec<u8>]) -> Vec<String> {
        match &self.amd {
            Some(clang) if !is_nvidia(target) => clang.flags(module, target),
            _ => Nvcc::flags(module, target, texts),
        }
    }

    /// Makes what all modules of `target` share, in `folder`.
    pub fn prepare(&self, target: &Target, folder: &Path) -> Result<()> {
        match &self.amd {
            Some(clang) if !is_nvidia(target) => clang.control(target, folder).map(drop),
            _ => Ok(()),
        }
    }

    /// Compiles `source` to the code object `out`. The error holds the compiler's messages.
    pub fn compile(
        &self,
        target: &Target,
        folder: &Path,
        flags: &[String],
        includes: &[&Path],
        source: &Path,
        out: &Path,
    ) -> Result<()> {
        match (&self.amd, &self.nvidia) {
            (_, Some(nvcc)) if is_nvidia(target) => nvcc.compile(flags, includes, source, out),
            (Some(clang), _) if !is_nvidia(target) => {
                let control = clang.control(target, folder)?;
                clang.compile(flags, includes, &control, source, out)
            }
            _ => Err(format!(
                "no compiler was looked for that builds {}",
                target.name
            )),
        }
    }
}

fn is_nvidia(target: &Target) -> bool {
    target.family == Family::Nvidia
}
