//! Names of AMD targets, as the runtime reports them.

/// A device's architecture string, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arch {
    /// The processor, such as `gfx90a`.
    pub target: String,
    /// The whole string, such as `gfx90a:sramecc+:xnack-`.
    pub full: String,
}

impl Arch {
    /// Parses `gfx` + 3 to 5 hexadecimal digits, then any number of `:feature+` or `:feature-`
    /// (LLVM's AMDGPUUsage, "Target ID"). `sm_` + digits is what an NVIDIA card is called.
    pub fn parse(text: &str) -> Option<Arch> {
        let mut parts = text.split(':');
        let target = parts.next()?;
        let known = match target.strip_prefix("gfx") {
            Some(digits) => {
                (3..=5).contains(&digits.len())
                    && digits
                        .bytes()
                        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            }
            None => target.strip_prefix("sm_").is_some_and(|digits| {
                (2..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
            }),
        };
        let feature = |part: &str| {
            let name = part.strip_suffix(['+', '-']).unwrap_or_default();
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        (known && parts.all(feature)).then(|| Arch {
            target: target.into(),
            full: text.into(),
        })
    }

    /// Lanes of a wave as HIP compiles for this target; `None` for a generation not known here.
    /// The last two digits of a gfx name are minor version and stepping, those before the generation:
    /// GCN and CDNA (up to 9) have 64 lanes; HIP compiles RDNA (10 to 12) for 32.
    pub fn wave_size(&self) -> Option<u32> {
        let Some(digits) = self.target.strip_prefix("gfx") else {
            return Some(32);
        };
        match digits[..digits.len() - 2].parse() {
            Ok(6..=9) => Some(64),
            Ok(10..=12) => Some(32),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_taken_off() {
        let arch = Arch::parse("gfx90a:sramecc+:xnack-").unwrap();
        assert_eq!(
            (arch.target.as_str(), arch.full.as_str()),
            ("gfx90a", "gfx90a:sramecc+:xnack-")
        );
        assert_eq!(Arch::parse("gfx1100").unwrap().target, "gfx1100");
    }

    #[test]
    fn other_text_is_no_target() {
        for text in [
            "",
            "gfx",
            "gfx9",
            "gfxabcx",
            "gfx1100 ",
            "gfx90A",
            "gfx90a:",
            "gfx90a:xnack",
            "gfx123456",
            "AMD Radeon",
            "sm_",
            "sm_x0",
        ] {
            assert_eq!(Arch::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn waves_have_64_lanes_on_cdna_and_32_on_rdna() {
        // Default wave sizes from LLVM's AMDGPUUsage, "AMDGPU Processors".
        let expected = [
            ("gfx803", 64),
            ("gfx906", 64),
            ("gfx908", 64),
            ("gfx90a", 64),
            ("gfx942", 64),
            ("gfx950", 64),
            ("gfx1030", 32),
            ("gfx1100", 32),
            ("gfx1151", 32),
            ("gfx1201", 32),
            ("sm_90", 32),
        ];
        for (target, lanes) in expected {
            assert_eq!(
                Arch::parse(target).unwrap().wave_size(),
                Some(lanes),
                "{target}"
            );
        }
        assert_eq!(Arch::parse("gfx1310").unwrap().wave_size(), None);
    }
}
