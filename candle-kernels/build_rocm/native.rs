//! The targets of the GPUs in this machine, for `CANDLE_HIP_ARCHS=native`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::targets::{find, generic_of, Target};
use super::Result;

/// Where the kernel driver lists its devices. Readable without ROCm being installed.
const TOPOLOGY: &str = "/sys/class/kfd/kfd/topology/nodes";

/// Rows for this machine's GPUs: the exact target of each, or the generic one of its family. One that has neither
/// (an old card beside a new one) is passed over as long as another has.
pub fn targets() -> Result<Vec<&'static Target>> {
    let mut processors = from_topology(Path::new(TOPOLOGY));
    if processors.is_empty() {
        processors = from_tools();
    }
    if processors.is_empty() {
        return Err(format!(
            "CANDLE_HIP_ARCHS=native, but no AMD GPU was found: {TOPOLOGY} lists none, and neither \
             rocm_agent_enumerator nor rocminfo reports one. Name the targets instead, for example \
             CANDLE_HIP_ARCHS=gfx1100, or leave the variable unset"
        ));
    }
    let known = |name: &String| find(name).or_else(|| find(generic_of(name)?));
    let targets: Vec<&'static Target> = processors.iter().filter_map(known).collect();
    if targets.is_empty() {
        let names: Vec<&str> = processors.iter().map(String::as_str).collect();
        return Err(format!(
            "CANDLE_HIP_ARCHS=native, but candle-rocm has no kernels for this machine's GPU: {}; \
             CANDLE_HIP_ARCHS=all builds for every supported one",
            names.join(", ")
        ));
    }
    Ok(targets)
}

fn from_topology(nodes: &Path) -> BTreeSet<String> {
    let Ok(nodes) = fs::read_dir(nodes) else {
        return BTreeSet::new();
    };
    nodes
        .filter_map(|node| fs::read_to_string(node.ok()?.path().join("properties")).ok())
        .filter_map(|properties| {
            let line = properties
                .lines()
                .find_map(|line| line.strip_prefix("gfx_target_version "))?;
            processor_name(line.trim().parse().ok()?)
        })
        .collect()
}

/// `gfx_target_version` is major * 10000 + minor * 100 + stepping; 0 marks a CPU. Names write the stepping as one
/// hexadecimal digit: 90010 is gfx90a.
fn processor_name(version: u32) -> Option<String> {
    let (major, minor, stepping) = (version / 10000, version / 100 % 100, version % 100);
    (version != 0).then(|| format!("gfx{major}{minor:x}{stepping:x}"))
}

fn from_tools() -> BTreeSet<String> {
    let rocm =
        std::env::var_os("ROCM_PATH").map_or_else(|| PathBuf::from("/opt/rocm"), PathBuf::from);
    for tool in ["rocm_agent_enumerator", "rocminfo"] {
        for program in [PathBuf::from(tool), rocm.join("bin").join(tool)] {
            let Ok(output) = Command::new(program).output() else {
                continue;
            };
            let found = processors_in(&String::from_utf8_lossy(&output.stdout));
            if !found.is_empty() {
                return found;
            }
        }
    }
    BTreeSet::new()
}

/// Every `gfxNNN` word of a tool's output; rocm_agent_enumerator prints `gfx000` for a CPU.
fn processors_in(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() > 3 && word.starts_with("gfx") && *word != "gfx000")
        .filter(|word| word[3..].chars().all(|c| c.is_ascii_hexdigit()))
        .map(str::to_string)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_become_names() {
        assert_eq!(processor_name(0), None);
        for (version, name) in [
            (90010, "gfx90a"),
            (90402, "gfx942"),
            (100300, "gfx1030"),
            (110501, "gfx1151"),
        ] {
            assert_eq!(processor_name(version).as_deref(), Some(name));
        }
    }

    #[test]
    fn tool_output_is_searched_for_processors() {
        let text = "gfx000\n  Name:  gfx90a\n  Name: amdgcn-amd-amdhsa--gfx90a:sramecc+:xnack-\n";
        assert_eq!(
            processors_in(text).into_iter().collect::<Vec<_>>(),
            ["gfx90a"]
        );
    }
}
