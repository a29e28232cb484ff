//! Choosing the code object for a device.

use super::targets::{base_name, generic_of};
use super::{CodeObject, Module};

/// No code object of a module runs on a device. The message says what was built and how to build more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCodeObject {
    /// Name of the module.
    pub module: &'static str,
    /// The device's target as the runtime reports it.
    pub device: String,
    /// Targets that the module was built for.
    pub built: Vec<&'static str>,
}

impl std::fmt::Display for NoCodeObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let processor = base_name(&self.device);
        write!(
            f,
            "no kernels for this GPU: it is a {}, and module `{}` was built for {}",
            self.device,
            self.module,
            if self.built.is_empty() {
                "no target".to_string()
            } else {
                self.built.join(", ")
            },
        )?;
        match generic_of(processor) {
            Some(generic) if super::targets::find(processor).is_none() => write!(
                f,
                ". Rebuild with CANDLE_HIP_ARCHS={generic} (the generic target of its family), or CANDLE_HIP_ARCHS=all"
            ),
            _ if processor.starts_with("sm_") => {
                write!(f, ". Rebuild with CANDLE_HIP_ARCHS={processor}")
            }
            _ if super::targets::find(processor).is_some() => {
                write!(f, ". Rebuild with CANDLE_HIP_ARCHS={processor}, CANDLE_HIP_ARCHS=native or CANDLE_HIP_ARCHS=all")
            }
            _ => write!(f, ". candle-rocm supports RDNA2, RDNA3, RDNA4, CDNA2 and CDNA3"),
        }
    }
}

impl std::error::Error for NoCodeObject {}

impl Module {
    /// The code object for a device of target `device` (HIP's `gcnArchName`, features allowed): the exact target's,
    /// else that of its family's generic target.
    ///
    /// # Errors
    /// Neither is built; the error names the device and what is.
    pub fn select(&self, device: &str) -> Result<&'static CodeObject, NoCodeObject> {
        let processor = base_name(device);
        let of = |target: &str| {
            self.code_objects
                .iter()
                .find(|object| object.target == target)
        };
        of(processor)
            .or_else(|| of(generic_of(processor)?))
            .ok_or_else(|| NoCodeObject {
                module: self.name,
                device: device.to_string(),
                built: self
                    .code_objects
                    .iter()
                    .map(|object| object.target)
                    .collect(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn object(target: &'static str) -> CodeObject {
        CodeObject { target, bytes: &[] }
    }

    const MODULE: Module = Module {
        name: "sample",
        index: 0,
        code_objects: &[object("gfx11-generic"), object("gfx1100"), object("gfx90a")],
        max_threads: 1024,
    };

    #[test]
    fn the_exact_target_comes_before_the_generic_one() {
        assert_eq!(MODULE.select("gfx1100").unwrap().target, "gfx1100");
        assert_eq!(MODULE.select("gfx1151").unwrap().target, "gfx11-generic");
    }

    /// Machine code for one NVIDIA architecture runs on no other.
    #[test]
    fn nvidia_targets_are_chosen_exactly() {
        const NVIDIA: Module = Module {
            code_objects: &[object("sm_80"), object("sm_90")],
            ..MODULE
        };
        assert_eq!(NVIDIA.select("sm_90").unwrap().target, "sm_90");
        assert_eq!(
            NVIDIA.select("sm_86").unwrap_err().built,
            ["sm_80", "sm_90"]
        );
    }

    #[test]
    fn features_of_the_device_do_not_matter() {
        assert_eq!(
            MODULE.select("gfx90a:sramecc+:xnack-").unwrap().target,
            "gfx90a"
        );
    }

    #[test]
    fn the_error_says_what_was_built_and_how_to_rebuild() {
        let message = |device| MODULE.select(device).unwrap_err().to_string();
        for part in [
            "gfx1201",
            "`sample`",
            "gfx11-generic, gfx1100, gfx90a",
            "CANDLE_HIP_ARCHS=gfx1201",
        ] {
            assert!(message("gfx1201").contains(part), "{}", message("gfx1201"));
        }
        assert!(
            message("gfx1032").contains("CANDLE_HIP_ARCHS=gfx10-3-generic"),
            "{}",
            message("gfx1032")
        );
        assert!(
            message("sm_90").ends_with("CANDLE_HIP_ARCHS=sm_90"),
            "{}",
            message("sm_90")
        );
        assert!(
            message("gfx803").contains("supports RDNA2"),
            "{}",
            message("gfx803")
        );
    }
}
