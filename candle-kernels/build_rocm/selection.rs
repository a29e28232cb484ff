//! Which targets to build: the meaning of `CANDLE_HIP_ARCHS` and of `--arch`.

use super::targets::{find, Target, NVIDIA_TARGETS, TARGETS};
use super::{native, Result};

/// A target to build.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub target: &'static Target,
    /// Somebody named it, so a compiler too old for it is an error. One that only belongs to the default or to `all`
    /// is left out instead.
    pub named: bool,
}

/// Targets named by `request`: `native`, `all`, or a list separated by commas, semicolons or spaces.
/// `None` or an empty string means the rows marked default.
pub fn targets(request: Option<&str>) -> Result<Vec<Wanted>> {
    let request = request.map(str::trim).unwrap_or("");
    let mut chosen: Vec<Wanted> = Vec::new();
    let mut add = |target: &'static Target, named: bool| match chosen
        .iter_mut()
        .find(|have| have.target.name == target.name)
    {
        Some(have) => have.named |= named,
        None => chosen.push(Wanted { target, named }),
    };
    if request.is_empty() {
        let default = TARGETS.iter().filter(|target| target.default);
        default.for_each(|target| add(target, false));
        return Ok(chosen);
    }
    for word in request
        .split([',', ';', ' '])
        .filter(|word| !word.is_empty())
    {
        match word {
            "all" => TARGETS.iter().for_each(|target| add(target, false)),
            "native" => native::targets()?
                .into_iter()
                .for_each(|target| add(target, true)),
            name => add(find(name).ok_or_else(|| unknown(name))?, true),
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
            .map(|wanted| wanted.target.name)
            .collect()
    }

    #[test]
    fn what_a_user_names_is_more_than_a_wish() {
        let named = |request| -> Vec<bool> {
            let wanted = targets(request).unwrap();
            wanted.iter().map(|wanted| wanted.named).collect()
        };
        assert!(named(None).iter().all(|named| !named));
        assert!(named(Some("all")).iter().all(|named| !named));
        assert_eq!(named(Some("gfx1100,gfx90a")), [true, true]);
        let both = targets(Some("all,gfx942")).unwrap();
        for wanted in both {
            assert_eq!(wanted.named, wanted.target.name == "gfx942");
        }
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
