//! Which compiler a target takes: clang for AMD, nvcc for NVIDIA. Each is looked for only when a target wants it.

use std::path::Path;

use super::compiler::Toolchain;
use super::modules::Source;
use super::nvcc::Nvcc;
use super::selection::Wanted;
use super::targets::{Family, Target};
use super::Result;

/// The compilers that a list of targets takes.
pub struct Compilers {
    amd: Option<Toolchain>,
    nvidia: Option<Nvcc>,
}

/// What the compilers at hand make of the targets that were wanted.
pub struct Choice {
    pub compilers: Compilers,
    /// To be built.
    pub targets: Vec<&'static Target>,
    /// Named by nobody, and newer than the compiler.
    pub left_out: Vec<&'static Target>,
}

impl Compilers {
    /// Finds what the wanted targets need. A compiler too old for a named one is an error; others are left out.
    pub fn find(wanted: &[Wanted]) -> Result<Choice> {
        let of = |nvidia: bool| -> Vec<&Wanted> {
            let of_vendor = |w: &&Wanted| is_nvidia(w.target) == nvidia;
            wanted.iter().filter(of_vendor).collect()
        };
        let (amd, nvidia) = (of(false), of(true));
        let compilers = Compilers {
            amd: (!amd.is_empty()).then(Toolchain::find).transpose()?,
            nvidia: (!nvidia.is_empty()).then(Nvcc::find).transpose()?,
        };
        let named: Vec<&Target> = amd.iter().filter(|w| w.named).map(|w| w.target).collect();
        let mut left_out = Vec::new();
        if let Some(clang) = &compilers.amd {
            clang.check(&named)?;
            let unnamed = amd.iter().filter(|w| !w.named && !clang.knows(w.target));
            left_out = unnamed.map(|w| w.target).collect();
        }
        if let Some(nvcc) = &compilers.nvidia {
            nvcc.check(&nvidia.iter().map(|w| w.target).collect::<Vec<_>>())?;
        }
        let targets: Vec<&'static Target> = wanted
            .iter()
            .map(|w| w.target)
            .filter(|target| {
                left_out
                    .iter()
                    .all(|left: &&Target| left.name != target.name)
            })
            .collect();
        Ok(Choice {
            compilers,
            targets,
            left_out,
        })
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
