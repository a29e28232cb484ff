//! `--list-devices`: what this program could run on, and why it could not.
use super::BACKENDS;

/// A device, or a backend that offers none.
pub(super) struct Entry {
    /// As `--device` takes it, such as `rocm:0`.
    pub name: String,
    /// What is known of it, such as its target and memory.
    pub facts: Vec<String>,
    /// Why it cannot be used.
    pub obstacle: Option<String>,
}

impl Entry {
    #[cfg_attr(not(any(feature = "cuda", feature = "rocm")), allow(dead_code))]
    fn unusable(name: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self {
            name: name.into(),
            facts: Vec::new(),
            obstacle: Some(why.to_string()),
        }
    }
}

/// The devices of every backend in this build, and a line for each backend that is not in it.
pub(super) fn all() -> Vec<Entry> {
    let mut entries = vec![cpu()];
    #[cfg(feature = "cuda")]
    entries.extend(cuda::entries());
    #[cfg(feature = "metal")]
    entries.push(metal());
    #[cfg(feature = "rocm")]
    entries.extend(rocm::entries());
    let missing = BACKENDS.iter().filter(|row| !row.built);
    entries.extend(missing.map(|row| Entry {
        name: row.name.into(),
        facts: vec![format!("not in this build: --features {}", row.name)],
        obstacle: None,
    }));
    entries
}

/// A line for each entry; what stands in its way follows on lines of its own.
pub(super) fn text(entries: &[Entry]) -> String {
    let width = entries.iter().map(|e| e.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for Entry {
        name,
        facts,
        obstacle,
    } in entries
    {
        out += &format!("{name:width$}  {}", facts.join(", "));
        if let Some(obstacle) = obstacle {
            let between = if facts.is_empty() { "" } else { "; " };
            let indented = obstacle.trim_end().replace('\n', "\n    ");
            out += &format!("{between}cannot be used: {indented}");
        }
        out.push('\n');
    }
    out
}

/// Bytes for a reader.
#[cfg_attr(not(any(feature = "cuda", feature = "rocm")), allow(dead_code))]
fn size(bytes: usize) -> String {
    format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64)
}

/// Size and what is free of it, where the device tells.
#[cfg_attr(not(any(feature = "cuda", feature = "rocm")), allow(dead_code))]
fn memory(total: usize, free: Option<usize>) -> String {
    match free {
        Some(free) => format!("{} ({} free)", size(total), size(free)),
        None => size(total),
    }
}

fn cpu() -> Entry {
    let threads = candle::utils::get_num_threads();
    let plural = if threads == 1 { "" } else { "s" };
    let mut facts = vec![format!("{threads} thread{plural}")];
    let instructions = [
        ("avx", candle::utils::with_avx()),
        ("neon", candle::utils::with_neon()),
        ("simd128", candle::utils::with_simd128()),
        ("f16c", candle::utils::with_f16c()),
    ];
    let built = instructions.iter().filter(|(_, built)| *built);
    facts.extend(built.map(|(name, _)| name.to_string()));
    Entry {
        name: "cpu".into(),
        facts,
        obstacle: None,
    }
}

/// Candle does not tell how many cards Metal has, and asking for one that is not there is a panic.
#[cfg(feature = "metal")]
fn metal() -> Entry {
    match candle::Device::new_metal(0) {
        Ok(_) => Entry {
            name: "metal:0".into(),
            facts: vec!["the system's default card".into()],
            obstacle: None,
        },
        Err(e) => Entry {
            name: "metal".into(),
            facts: Vec::new(),
            obstacle: Some(e.to_string()),
        },
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use super::{memory, Entry};
    use candle::cuda_backend::cudarc::driver::{CudaContext, DriverError};

    pub fn entries() -> Vec<Entry> {
        match CudaContext::device_count() {
            Err(e) => vec![Entry::unusable("cuda", e)],
            Ok(0) => vec![Entry::unusable("cuda", "the driver sees no card")],
            Ok(count) => (0..count as usize).map(entry).collect(),
        }
    }

    fn entry(ordinal: usize) -> Entry {
        let name = format!("cuda:{ordinal}");
        let facts = || -> Result<Vec<String>, DriverError> {
            let card = CudaContext::new(ordinal)?;
            let (major, minor) = card.compute_capability()?;
            let free = card.mem_get_info().ok().map(|(free, _)| free);
            Ok(vec![
                card.name()?,
                format!("sm_{major}{minor}"),
                memory(card.total_mem()?, free),
            ])
        };
        match facts() {
            Ok(facts) => Entry {
                name,
                facts,
                obstacle: None,
            },
            Err(e) => Entry::unusable(name, e),
        }
    }
}

#[cfg(feature = "rocm")]
mod rocm {
    use super::{memory, Entry};
    use candle::rocm_backend::{hip, kernels};

    pub fn entries() -> Vec<Entry> {
        match hip::Device::count() {
            Err(e) => vec![Entry::unusable("rocm", e)],
            // Asking for the first says what to check.
            Ok(0) => vec![match hip::Device::new(0) {
                Err(e) => Entry::unusable("rocm", e),
                Ok(_) => entry(0),
            }],
            Ok(count) => (0..count).map(entry).collect(),
        }
    }

    fn entry(ordinal: usize) -> Entry {
        let name = format!("rocm:{ordinal}");
        let device = match hip::Device::new(ordinal) {
            Ok(device) => device,
            Err(e) => return Entry::unusable(name, e),
        };
        let properties = device.properties();
        let free = device.memory_info().ok().map(|(free, _)| free);
        let mut facts = vec![
            properties.name.clone(),
            properties.arch.clone(),
            memory(properties.total_memory, free),
            format!("waves of {} lanes", properties.wave_size),
        ];
        let obstacle = match code_object(&properties.arch) {
            Ok(target) => {
                facts.push(format!("kernels built for {target}"));
                // Opening is the proof.
                let opened = candle::Device::new_rocm(ordinal);
                opened.err().map(|e| crate::gguf_tokenizer::plain(&e))
            }
            Err(e) => Some(e.to_string()),
        };
        Entry {
            name,
            facts,
            obstacle,
        }
    }

    /// The target whose code objects the device would run, when every module has one.
    fn code_object(arch: &str) -> Result<&'static str, kernels::NoCodeObject> {
        let mut chosen = "";
        for module in kernels::ALL {
            chosen = module.select(arch)?.target;
        }
        Ok(chosen)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_code_object_is_the_one_that_the_backend_would_load() {
            for target in kernels::TARGETS_BUILT {
                assert_eq!(code_object(target).unwrap(), *target);
            }
            let error = code_object("gfx803").unwrap_err().to_string();
            assert!(error.contains("it is a gfx803"), "{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_lines_up_and_gives_reasons() {
        let entries = [
            Entry {
                name: "cpu".into(),
                facts: vec!["2 threads".into(), "avx".into()],
                obstacle: None,
            },
            Entry {
                name: "rocm:0".into(),
                facts: vec!["Radeon".into()],
                obstacle: Some("no kernels\nfor it\n".into()),
            },
            Entry::unusable("cuda", "no driver"),
        ];
        assert_eq!(
            text(&entries),
            "cpu     2 threads, avx\n\
             rocm:0  Radeon; cannot be used: no kernels\n    for it\n\
             cuda    cannot be used: no driver\n"
        );
    }

    #[test]
    fn the_cpu_and_every_backend_are_listed() {
        let entries = all();
        assert_eq!(entries[0].name, "cpu");
        assert!(entries[0].obstacle.is_none());
        for row in &BACKENDS {
            let of_it = entries.iter().any(|e| e.name.starts_with(row.name));
            assert!(of_it, "{}:\n{}", row.name, text(&entries));
        }
    }

    #[test]
    fn memory_is_shown_in_gib() {
        assert_eq!(memory(24 << 30, None), "24.0 GiB");
        assert_eq!(memory(24 << 30, Some(3 << 29)), "24.0 GiB (1.5 GiB free)");
    }
}
