//! The emulator's line of JSON per launch, read back case by case.
use std::cell::Cell;
use std::path::PathBuf;

/// Columns of `expected/*.tsv` after the kernel's name, as the profile calls them. Launches of one kernel in a case are
/// summed, except what the kernel has whatever it does.
pub const COLUMNS: [&str; 14] = [
    "instructions",
    "packed",
    "matrix",
    "lds",
    "global_bytes_loaded",
    "global_bytes_stored",
    "global_lines",
    "distinct_bytes_loaded",
    "distinct_bytes_stored",
    "lds_bank_conflicts",
    "vgprs",
    "lds_bytes",
    "scratch_bytes",
    "waves_per_simd",
];
const FIRST_RESOURCE: usize = 10;

/// What a kernel did in a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    pub name: String,
    pub counts: [u64; COLUMNS.len()],
}

impl Kernel {
    /// The count of a column.
    pub fn get(&self, column: &str) -> u64 {
        let place = COLUMNS.iter().position(|name| *name == column);
        self.counts[place.unwrap_or_else(|| panic!("no column is called {column}"))]
    }
}

/// The profile of this process.
pub struct Profile {
    path: PathBuf,
    read: Cell<usize>,
}

impl Profile {
    /// Has the emulator write a profile. Call before anything asks for a device.
    pub fn begin() -> Self {
        let path = std::env::temp_dir().join(format!("candle-counters-{}", std::process::id()));
        std::env::set_var("HIP_EMULATOR_PROFILE", &path);
        Self {
            path,
            read: Cell::new(0),
        }
    }

    fn lines(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap_or_else(|error| {
            panic!(
                "no profile at {}: {error}. This test needs the emulator (CANDLE_HIP_LIBRARY), with HIP_EMULATOR_ARCH one target.",
                self.path.display()
            )
        })
    }

    /// What was launched so far is of no interest.
    pub fn skip(&self) {
        self.read.set(self.lines().len());
    }

    /// What was launched since, by kernel, in the order of the first launches.
    pub fn read(&self, wanted: impl Fn(&str) -> bool) -> Vec<Kernel> {
        let lines = self.lines();
        let mut kernels: Vec<Kernel> = Vec::new();
        for line in lines[self.read.get()..].lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            assert!(line.get("fault").is_none(), "{line}");
            let name = line["kernel"].as_str().expect("a kernel's name");
            if !wanted(name) {
                continue;
            }
            let counts = COLUMNS.map(|column| {
                line[column]
                    .as_u64()
                    .unwrap_or_else(|| panic!("the profile has no {column}: {line}"))
            });
            match kernels.iter_mut().find(|kernel| kernel.name == name) {
                None => kernels.push(Kernel {
                    name: name.to_string(),
                    counts,
                }),
                Some(kernel) => {
                    for (sum, count) in kernel.counts[..FIRST_RESOURCE].iter_mut().zip(counts) {
                        *sum += count;
                    }
                }
            }
        }
        self.read.set(lines.len());
        kernels
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
