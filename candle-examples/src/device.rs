//! `--device`: which device an example runs on.
use candle::{Device, Error, Result};
use std::fmt;
use std::str::FromStr;

mod args;
mod list;

pub use args::DeviceArgs;

/// What the user asked for. Parsed from `auto`, `cpu`, `cuda`, `metal`, `rocm`, the last three with an optional
/// `:N`, the number of the card counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceSpec {
    /// The first of cuda, metal and rocm that this build has and this machine offers, else the CPU.
    #[default]
    Auto,
    Cpu,
    /// A card of a backend, with its number.
    Card(Backend, usize),
}

/// A family of cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Cuda,
    Metal,
    Rocm,
}

/// A backend's name, how to open its card number N, and whether this build has it.
struct Row {
    backend: Backend,
    name: &'static str,
    open: fn(usize) -> Result<Device>,
    built: bool,
}

const BACKENDS: [Row; 3] = [
    Row {
        backend: Backend::Cuda,
        name: "cuda",
        open: Device::new_cuda,
        built: cfg!(feature = "cuda"),
    },
    Row {
        backend: Backend::Metal,
        name: "metal",
        open: Device::new_metal,
        built: cfg!(feature = "metal"),
    },
    Row {
        backend: Backend::Rocm,
        name: "rocm",
        open: Device::new_rocm,
        built: cfg!(feature = "rocm"),
    },
];

impl Backend {
    fn row(self) -> &'static Row {
        match self {
            Self::Cuda => &BACKENDS[0],
            Self::Metal => &BACKENDS[1],
            Self::Rocm => &BACKENDS[2],
        }
    }
}

/// The backends of this build, such as `cpu, rocm`.
fn built() -> String {
    let cards = BACKENDS.iter().filter(|row| row.built).map(|row| row.name);
    ["cpu"]
        .into_iter()
        .chain(cards)
        .collect::<Vec<_>>()
        .join(", ")
}

impl FromStr for DeviceSpec {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parsed = match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            _ => {
                let (name, number) = text.split_once(':').unwrap_or((text, "0"));
                // `parse` alone would take "+1".
                let digits = number.bytes().all(|b| b.is_ascii_digit());
                let number = number.parse().ok().filter(|_| digits);
                let row = BACKENDS.iter().find(|row| row.name == name);
                row.zip(number).map(|(row, n)| Self::Card(row.backend, n))
            }
        };
        parsed.ok_or_else(|| {
            format!(
                "`{text}` is no device; say auto, cpu, cuda[:N], metal[:N] or rocm[:N] with N = 0, 1, … \
                 (this build has {})",
                built()
            )
        })
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Card(backend, n) => write!(f, "{}:{n}", backend.row().name),
        }
    }
}

impl DeviceSpec {
    /// The device that the options `--device` and `--cpu` together ask for.
    ///
    /// # Errors
    /// When the two contradict each other.
    pub fn or_cpu(self, cpu: bool) -> Result<Self> {
        match (cpu, self) {
            (false, spec) => Ok(spec),
            (true, Self::Auto | Self::Cpu) => Ok(Self::Cpu),
            (true, spec @ Self::Card(..)) => {
                candle::bail!(
                    "--cpu and --device {spec} contradict each other: leave one of them out"
                )
            }
        }
    }

    /// Opens the device.
    ///
    /// # Errors
    /// When this build has no such backend, or when the card cannot be opened.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Auto => crate::device(false),
            Self::Cpu => Ok(Device::Cpu),
            Self::Card(backend, n) => {
                let row = backend.row();
                if !row.built {
                    candle::bail!(
                        "--device {self}: this build has no {name}, only {}; build with --features {name}",
                        built(),
                        name = row.name
                    )
                }
                (row.open)(n).map_err(|e| match e {
                    // Upstream shows a context above the error; one message reads better.
                    Error::WithBacktrace { inner, .. } => cannot_open(self, &inner),
                    e => cannot_open(self, &e),
                })
            }
        }
    }
}

fn cannot_open(spec: DeviceSpec, cause: &Error) -> Error {
    Error::msg(format!("--device {spec} cannot be opened: {cause}"))
}

/// The device's name for a reader, such as `rocm:0 Radeon RX 7900 XTX (gfx1100)`.
pub fn describe(device: &Device) -> String {
    match device.location() {
        candle::DeviceLocation::Cpu => "cpu".into(),
        candle::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle::DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
        candle::DeviceLocation::Rocm { gpu_id } => format!("rocm:{gpu_id}{}", card(device)),
    }
}

#[cfg(feature = "rocm")]
fn card(device: &Device) -> String {
    match device {
        Device::Rocm(rocm) => name_with_target(&rocm.properties().name, &rocm.properties().target),
        _ => String::new(),
    }
}

#[cfg(not(feature = "rocm"))]
fn card(_: &Device) -> String {
    String::new()
}

/// An emulated card's name says its target itself.
#[cfg(any(test, feature = "rocm"))]
fn name_with_target(name: &str, target: &str) -> String {
    match name.contains(target) {
        true => format!(" {name}"),
        false => format!(" {name} ({target})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written() {
        for (text, spec, shown) in [
            ("auto", DeviceSpec::Auto, "auto"),
            ("cpu", DeviceSpec::Cpu, "cpu"),
            ("cuda", DeviceSpec::Card(Backend::Cuda, 0), "cuda:0"),
            ("metal:2", DeviceSpec::Card(Backend::Metal, 2), "metal:2"),
            ("rocm", DeviceSpec::Card(Backend::Rocm, 0), "rocm:0"),
            ("rocm:13", DeviceSpec::Card(Backend::Rocm, 13), "rocm:13"),
        ] {
            assert_eq!(text.parse(), Ok(spec), "{text}");
            assert_eq!(spec.to_string(), shown);
        }
    }

    #[test]
    fn other_text_is_refused_with_the_valid_forms() {
        for text in [
            "",
            "gpu",
            "ROCM",
            "rocm:",
            "rocm:-1",
            "rocm:+1",
            "rocm:1:2",
            "rocm: 1",
            "cpu:0",
            "auto:1",
            ":1",
            "rocm:99999999999999999999999",
        ] {
            let error = text.parse::<DeviceSpec>().unwrap_err();
            assert!(error.contains(&format!("`{text}`")), "{error}");
            assert!(
                error.contains("rocm[:N]") && error.contains("this build has cpu"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_cpu_flag_agrees_or_is_an_error() {
        let card = DeviceSpec::Card(Backend::Rocm, 1);
        assert_eq!(DeviceSpec::Auto.or_cpu(true).unwrap(), DeviceSpec::Cpu);
        assert_eq!(DeviceSpec::Cpu.or_cpu(true).unwrap(), DeviceSpec::Cpu);
        assert_eq!(card.or_cpu(false).unwrap(), card);
        let error = card.or_cpu(true).unwrap_err().to_string();
        assert!(error.contains("--cpu and --device rocm:1"), "{error}");
    }

    #[test]
    fn the_cpu_opens_and_is_named() {
        assert_eq!(describe(&DeviceSpec::Cpu.open().unwrap()), "cpu");
    }

    #[test]
    fn a_backend_that_was_not_built_is_named_with_its_feature() {
        for row in BACKENDS.iter().filter(|row| !row.built) {
            let error = DeviceSpec::Card(row.backend, 0)
                .open()
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(&format!("--features {}", row.name)),
                "{error}"
            );
        }
        assert!(
            BACKENDS.iter().any(|row| !row.built),
            "no build has both cuda and metal"
        );
    }

    #[test]
    fn the_target_is_shown_once() {
        assert_eq!(
            name_with_target("AMD Radeon RX 7900 XTX", "gfx1100"),
            " AMD Radeon RX 7900 XTX (gfx1100)"
        );
        assert_eq!(
            name_with_target("Instinct MI210 (emulated gfx90a)", "gfx90a"),
            " Instinct MI210 (emulated gfx90a)"
        );
    }
}
