//! A line per launch: `HIP_EMULATOR_TRACE` on the standard error, `HIP_EMULATOR_PROFILE` in a file.

use super::occupancy::Resources;
use crate::exec::Counters;
use crate::fault::Fault;
use crate::kernel::{Geometry, Kernel};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Where launches are written down; by default nowhere.
#[derive(Default)]
pub struct Recorder {
    trace: bool,
    profile: Option<Mutex<File>>,
}

impl Recorder {
    /// Opens (and empties) `profile`. The error names the file.
    pub fn new(trace: bool, profile: Option<&Path>) -> Result<Recorder, String> {
        let profile = match profile {
            None => None,
            Some(path) => match File::create(path) {
                Ok(file) => Some(Mutex::new(file)),
                Err(error) => {
                    return Err(format!("HIP_EMULATOR_PROFILE={}: {error}", path.display()))
                }
            },
        };
        Ok(Recorder { trace, profile })
    }

    /// Whether launches are profiled.
    pub fn profiles(&self) -> bool {
        self.profile.is_some()
    }

    /// The time, if anybody wants to know.
    pub fn start(&self) -> Option<Instant> {
        (self.trace || self.profile.is_some()).then(Instant::now)
    }

    pub fn finish(
        &self,
        kernel: &Kernel,
        geometry: &Geometry,
        started: Option<Instant>,
        outcome: &Result<Counters, Fault>,
    ) {
        let Some(started) = started else { return };
        let seconds = started.elapsed().as_secs_f64();
        if self.trace {
            let end = match outcome {
                Ok(_) => String::new(),
                Err(fault) => format!(" FAILED: {fault}"),
            };
            eprintln!(
                "hip-emulator: launch {} on {} (emulated), grid {:?}, block {:?}, {} bytes of dynamic \
                 LDS, {:.3} ms{end}",
                kernel.name,
                kernel.target.name,
                geometry.grid,
                geometry.block,
                geometry.dynamic_lds,
                seconds * 1e3,
            );
        }
        if let Some(file) = &self.profile {
            let line = json_line(kernel, geometry, seconds, outcome);
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = file.write_all(line.as_bytes()) {
                eprintln!("hip-emulator: HIP_EMULATOR_PROFILE cannot be written: {error}");
            }
        }
    }
}

fn json_line(
    kernel: &Kernel,
    geometry: &Geometry,
    seconds: f64,
    outcome: &Result<Counters, Fault>,
) -> String {
    let mut line = format!(
        "{{\"kernel\":{},\"target\":{},\"emulated\":true,\"grid\":{:?},\"block\":{:?},\
         \"dynamic_lds\":{},\"host_seconds\":{seconds}",
        json_string(&kernel.name),
        json_string(kernel.target.name),
        geometry.grid,
        geometry.block,
        geometry.dynamic_lds,
    );
    let resources = Resources::of(kernel, geometry);
    for (name, value) in resources.named() {
        let _ = write!(line, ",\"{name}\":{value}");
    }
    match outcome {
        Ok(counters) => {
            for (name, count) in counters.named() {
                let _ = write!(line, ",\"{name}\":{count}");
            }
        }
        Err(fault) => {
            let _ = write!(line, ",\"fault\":{}", json_string(&fault.to_string()));
        }
    }
    line.push_str("}\n");
    line
}

fn json_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::json_string;

    #[test]
    fn strings_are_escaped() {
        assert_eq!(json_string("a\"b\\c\td"), "\"a\\\"b\\\\c\\u0009d\"");
    }
}
