//! Which targets to build: the meaning of `CANDLE_HIP_ARCHS` and of `--arch`.

use super::targets::{find, Target, NVIDIA_TARGETS, TARGETS};
use super::{native, Result};

/// Targets named by `request`: `native`, `all`, or a list separated by commas, semicolons or spaces.
/// `None` or an empty string means the rows marked default.
pub fn targets(request: Option<&str>) -> Result<Vec<&'static Target>> {
    let request = request.map(str::trim).unwrap_or("");
    if request.is_empty() {
        return Ok(TARGETS.iter().filter(|target| target.default).collect());
    }
    let mut chosen: Vec<&'static Target> = Vec::new();
    let mut add = |target: &'static Target| {
        if !chosen.iter().any(|have| have.name == target.name) {
            chosen.push(target);
        }
    };
    for word in request
        .split([',', ';', ' '])
        .filter(|word| !word.is_empty())
    {
        match word {
            "all" => TARGETS.iter().for_each(&mut add),
            "native" => native::targets()?.into_iter().for_each(&mut add),
            name => add(find(name).ok_or_else(|| unknown(name))?),
        }
    }
    if chosen.is_empty() {
        return Err(format!(
            "CANDLE_HIP_ARCHS=\"{request}\" names no target; {}",
            choices()
        ));
    }
    Ok(chosen)
}

fn unknown(name: &str) -> String {
    format!(
        "unknown target \"{name}\" (CANDLE_HIP_ARCHS or --arch); {}",
        choices()
    )
}

/// The sentence that lists what may be asked for.
fn choices() -> String {
    let names = |rows: &[Target]| -> String {
        let names: Vec<&str> = rows.iter().map(|target| target.name).collect();
        names.join(", ")
    };
    format!(
        "known are {}, the words native and all, and for NVIDIA cards {}",
        names(TARGETS),
        names(NVIDIA_TARGETS)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(request: Option<&str>) -> Vec<&'static str> {
        targets(request)
            .unwrap()
            .iter()
            .map(|target| target.name)
            .collect()
    }

    #[test]
    fn lists_keep_their_order_and_drop_repetitions() {
        assert_eq!(
            names(Some("gfx1100, gfx90a;gfx1100")),
            ["gfx1100", "gfx90a"]
        );
    }

    #[test]
    fn unset_and_empty_mean_the_default() {
        assert_eq!(names(None), names(Some("")));
        assert!(names(None).contains(&"gfx1100") && names(None).contains(&"gfx90a"));
        assert_eq!(names(Some("all")).len(), TARGETS.len());
    }

    /// NVIDIA targets need another compiler: only a user who names one is asked for it.
    #[test]
    fn nvidia_targets_are_built_only_when_named() {
        assert_eq!(names(Some("gfx1100,sm_90")), ["gfx1100", "sm_90"]);
        for request in [None, Some("all")] {
            assert!(names(request).iter().all(|name| name.starts_with("gfx")));
        }
    }

    #[test]
    fn an_unknown_target_is_named_with_the_known_ones() {
        let message = targets(Some("gfx1100,gfx803")).unwrap_err();
        assert!(
            message.contains("\"gfx803\"")
                && message.contains("gfx90a")
                && message.contains("sm_90"),
            "{message}"
        );
    }
}
