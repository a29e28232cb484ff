//! What the environment asks for.

use crate::exec::unknown_check;
use crate::target::{Target, TARGETS};
use std::path::PathBuf;

/// Devices and behaviour, read once per process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `HIP_EMULATOR_ARCH`: one device per name of the comma-separated list. Default gfx1100.
    pub targets: Vec<&'static Target>,
    /// `HIP_EMULATOR_MEMORY`: bytes, with an optional K, M, G or T, of every device or, as a comma-separated list, of
    /// each. Default 16G. One number per device.
    pub device_bytes: Vec<u64>,
    /// `HIP_EMULATOR_POISON=0`: fresh memory reads as zeroes.
    pub poison: bool,
    /// `HIP_EMULATOR_LEDGER=1`: the ledger's total is printed at exit even when nothing is live.
    pub ledger: bool,
    /// `HIP_EMULATOR_TRACE=1`: a line per launch on the standard error.
    pub trace: bool,
    /// `HIP_EMULATOR_STICKY=1`: a kernel's fault costs the program its device.
    pub sticky: bool,
    /// `HIP_EMULATOR_LOSE=N`: each device is lost after N calls that name one of its streams.
    pub lose_after: Option<u64>,
    /// `HIP_EMULATOR_PROFILE=FILE`: a JSON line per launch.
    pub profile: Option<PathBuf>,
}

const DEFAULT_TARGET: &str = "gfx1100";
const DEFAULT_BYTES: u64 = 16 << 30;

impl Settings {
    /// Reads the settings through `variable`; the error names the variable and what it may hold.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Settings, String> {
        let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        if let Some(wrong) = given("HIP_EMULATOR_CHECK").and_then(|list| unknown_check(&list)) {
            return Err(wrong);
        }
        let list = given("HIP_EMULATOR_ARCH").unwrap_or_else(|| DEFAULT_TARGET.to_string());
        let targets = list
            .split(',')
            .map(|name| target(name.trim()))
            .collect::<Result<Vec<_>, _>>()?;
        let device_bytes = match given("HIP_EMULATOR_MEMORY") {
            None => vec![DEFAULT_BYTES; targets.len()],
            Some(text) => sizes(&text, targets.len())?,
        };
        let switch = |name: &str, default: bool| match given(name).as_deref().map(str::trim) {
            None => Ok(default),
            Some("1") => Ok(true),
            Some("0") => Ok(false),
            Some(other) => Err(format!("{name}={other:?} is neither 0 nor 1")),
        };
        let lose_after = given("HIP_EMULATOR_LOSE").map(|text| {
            let number = text.trim().parse().ok();
            number.ok_or_else(|| format!("HIP_EMULATOR_LOSE={text:?} is not a number of calls"))
        });
        Ok(Settings {
            targets,
            device_bytes,
            poison: switch("HIP_EMULATOR_POISON", true)?,
            ledger: switch("HIP_EMULATOR_LEDGER", false)?,
            trace: switch("HIP_EMULATOR_TRACE", false)?,
            sticky: switch("HIP_EMULATOR_STICKY", false)?,
            lose_after: lose_after.transpose()?,
            profile: given("HIP_EMULATOR_PROFILE").map(PathBuf::from),
        })
    }
}

fn target(name: &str) -> Result<&'static Target, String> {
    Target::named(name).ok_or_else(|| {
        let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        format!(
            "HIP_EMULATOR_ARCH names {name:?}, which the emulator does not know; it knows {}",
            known.join(", ")
        )
    })
}

/// One size for all devices, or a list with one for each.
fn sizes(text: &str, devices: usize) -> Result<Vec<u64>, String> {
    let sizes = text.split(',').map(|size| bytes(size.trim()));
    let sizes: Option<Vec<u64>> = sizes.collect();
    match sizes.as_deref() {
        Some([all]) => Ok(vec![*all; devices]),
        Some(each) if each.len() == devices => Ok(each.to_vec()),
        Some(each) => Err(format!(
            "HIP_EMULATOR_MEMORY={text:?} lists {} sizes, HIP_EMULATOR_ARCH {devices} devices; give one size, or one per device",
            each.len()
        )),
        None => Err(format!(
            "HIP_EMULATOR_MEMORY={text:?} is not a number of bytes such as 8589934592, 512M or 8G (or a list of them, one per device)"
        )),
    }
}

fn bytes(text: &str) -> Option<u64> {
    let text = text.strip_suffix(['B', 'b']).unwrap_or(text);
    let text = text.strip_suffix(['i', 'I']).unwrap_or(text);
    let (digits, shift) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 10),
        (at, 'm' | 'M') => (&text[..at], 20),
        (at, 'g' | 'G') => (&text[..at], 30),
        (at, 't' | 'T') => (&text[..at], 40),
        _ => (text, 0),
    };
    let number: u64 = digits.trim().parse().ok()?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_string())
        })
    }

    #[test]
    fn defaults_are_one_gfx1100_with_16_gib() {
        let settings = read(&[]).unwrap();
        assert_eq!(
            settings.targets.iter().map(|t| t.name).collect::<Vec<_>>(),
            ["gfx1100"]
        );
        assert_eq!(settings.device_bytes, [16 << 30]);
        assert!(settings.poison && !settings.ledger && !settings.trace);
        assert_eq!(settings.profile, None);
        assert!(!settings.sticky && settings.lose_after.is_none());
    }

    #[test]
    fn a_list_of_targets_is_a_list_of_devices() {
        let settings = read(&[("HIP_EMULATOR_ARCH", "gfx90a, gfx1100,gfx90a")]).unwrap();
        let names: Vec<_> = settings.targets.iter().map(|t| t.name).collect();
        assert_eq!(names, ["gfx90a", "gfx1100", "gfx90a"]);
    }

    #[test]
    fn sizes_take_suffixes() {
        for (text, expected) in [
            ("1000", 1000),
            ("64K", 65536),
            ("512m", 512 << 20),
            ("2G", 2 << 30),
            ("1T", 1 << 40),
            ("3GiB", 3 << 30),
        ] {
            assert_eq!(
                read(&[("HIP_EMULATOR_MEMORY", text)]).unwrap().device_bytes,
                [expected],
                "{text}"
            );
        }
        for text in ["lots", "-1", "G", "0", "99999999T", "1.5G"] {
            let error = read(&[("HIP_EMULATOR_MEMORY", text)]).unwrap_err();
            assert!(
                error.contains("HIP_EMULATOR_MEMORY") && error.contains(text),
                "{error}"
            );
        }
    }

    #[test]
    fn devices_may_have_sizes_of_their_own() {
        let two = |memory| {
            read(&[
                ("HIP_EMULATOR_ARCH", "gfx1100,gfx90a"),
                ("HIP_EMULATOR_MEMORY", memory),
            ])
        };
        assert_eq!(two("1G").unwrap().device_bytes, [1 << 30, 1 << 30]);
        assert_eq!(two("1G, 2M").unwrap().device_bytes, [1 << 30, 2 << 20]);
        let error = two("1G,1G,1G").unwrap_err();
        assert!(
            error.contains("3 sizes") && error.contains("2 devices"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_target_lists_the_known_ones() {
        let error = read(&[("HIP_EMULATOR_ARCH", "gfx1100,gfx803")]).unwrap_err();
        assert!(
            error.contains("gfx803") && error.contains("gfx1100") && error.contains("gfx90a"),
            "{error}"
        );
        assert!(read(&[("HIP_EMULATOR_TRACE", "yes")]).is_err());
        assert!(read(&[("HIP_EMULATOR_LOSE", "soon")]).is_err());
    }
}
