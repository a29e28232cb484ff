//! Where a run-time library is looked for, and what is said when it is not there.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A library to look for.
pub(crate) struct Wanted {
    /// The library in words.
    pub title: &'static str,
    /// The environment variable that overrides the search.
    pub variable: &'static str,
    /// File names, the preferred one first.
    pub names: &'static [&'static str],
    /// What to do when it is missing.
    pub install: &'static str,
}

/// Variables that name an installed ROCm; the library lies in their `lib` folder.
const ROOTS: [&str; 2] = ["ROCM_PATH", "HIP_PATH"];
/// Where AMD's packages install, when neither variable nor loader knows.
const DEFAULT_ROOT: &str = "/opt/rocm";
#[cfg(not(windows))]
const FOLDER: &str = "lib";
#[cfg(windows)]
const FOLDER: &str = "bin";

/// The value of a variable; an empty one counts as unset.
fn set(environment: &impl Fn(&str) -> Option<OsString>, variable: &str) -> Option<PathBuf> {
    environment(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Every path to try, in order, when the override is not set.
pub(crate) fn candidates(
    wanted: &Wanted,
    environment: &impl Fn(&str) -> Option<OsString>,
) -> Vec<PathBuf> {
    let inside = |root: &Path| {
        let folder = root.join(FOLDER);
        wanted
            .names
            .iter()
            .map(move |name| folder.join(name))
            .collect::<Vec<_>>()
    };
    let mut paths: Vec<PathBuf> = ROOTS
        .iter()
        .filter_map(|variable| set(environment, variable))
        .flat_map(|root| inside(&root))
        .collect();
    paths.extend(wanted.names.iter().map(PathBuf::from));
    paths.extend(inside(Path::new(DEFAULT_ROOT)));
    let mut seen = std::collections::HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    paths
}

/// Opens the first candidate that `open` accepts. `open` answers a refusal with its reason.
pub(crate) fn open<T>(
    wanted: &Wanted,
    environment: impl Fn(&str) -> Option<OsString>,
    open: impl Fn(&Path) -> Result<T, String>,
) -> Result<(PathBuf, T)> {
    if let Some(path) = set(&environment, wanted.variable) {
        return match open(&path) {
            Ok(library) => Ok((path, library)),
            Err(reason) => Err(Error::LibraryUnusable {
                variable: wanted.variable,
                path,
                reason,
            }),
        };
    }
    let mut tried = Vec::new();
    for path in candidates(wanted, &environment) {
        match open(&path) {
            Ok(library) => return Ok((path, library)),
            Err(reason) => tried.push((path, reason)),
        }
    }
    Err(Error::LibraryMissing {
        title: wanted.title,
        tried,
        install: wanted.install,
    })
}

/// Opens one file or name with the system's loader.
pub(crate) fn load(path: &Path) -> Result<libloading::Library, String> {
    // SAFETY: opening a library runs its initialisers. The names looked for are those of AMD's
    // runtime libraries; any other file is the user's explicit choice through the environment.
    unsafe { libloading::Library::new(path) }.map_err(reason)
}

/// The loader's own words, which name the file or the missing symbol.
pub(crate) fn reason(error: libloading::Error) -> String {
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted {
        title: "a library",
        variable: "OVERRIDE",
        names: &["liba.so", "liba.so.7"],
        install: "Install it.",
    };

    fn environment(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| {
            let pair = pairs.iter().find(|(key, _)| *key == name);
            pair.map(|(_, value)| OsString::from(value))
        }
    }

    #[test]
    fn roots_come_before_the_loader_and_the_default_root() {
        let paths = candidates(
            &WANTED,
            &environment(&[("HIP_PATH", "/h"), ("ROCM_PATH", "/r")]),
        );
        let expected = [
            "/r/lib/liba.so",
            "/r/lib/liba.so.7",
            "/h/lib/liba.so",
            "/h/lib/liba.so.7",
            "liba.so",
            "liba.so.7",
            "/opt/rocm/lib/liba.so",
            "/opt/rocm/lib/liba.so.7",
        ];
        assert_eq!(paths, expected.map(PathBuf::from));
    }

    #[test]
    fn an_empty_variable_is_unset_and_no_path_is_tried_twice() {
        let paths = candidates(
            &WANTED,
            &environment(&[("HIP_PATH", ""), ("ROCM_PATH", "/opt/rocm")]),
        );
        let expected = [
            "/opt/rocm/lib/liba.so",
            "/opt/rocm/lib/liba.so.7",
            "liba.so",
            "liba.so.7",
        ];
        assert_eq!(paths, expected.map(PathBuf::from));
    }

    #[test]
    fn the_override_is_the_only_path_tried() {
        let tried = std::cell::RefCell::new(Vec::new());
        let outcome = open(
            &WANTED,
            environment(&[("OVERRIDE", "/x/libx.so"), ("ROCM_PATH", "/r")]),
            |path| {
                tried.borrow_mut().push(path.to_path_buf());
                Err::<(), _>("no good".to_string())
            },
        );
        assert_eq!(*tried.borrow(), [PathBuf::from("/x/libx.so")]);
        let text = outcome.unwrap_err().to_string();
        assert_eq!(text, "OVERRIDE is set to '/x/libx.so', which cannot be used: no good. Correct or unset OVERRIDE.");
    }

    #[test]
    fn a_missing_library_lists_every_path_with_its_reason() {
        let outcome = open(&WANTED, environment(&[]), |path| {
            Err::<(), _>(format!("cannot open {}", path.display()))
        });
        let error = outcome.unwrap_err();
        assert!(error.is_library_missing());
        assert_eq!(
            error.to_string(),
            "a library was not found.\nTried:\n  liba.so: cannot open liba.so\n  liba.so.7: cannot open liba.so.7\n  \
             /opt/rocm/lib/liba.so: cannot open /opt/rocm/lib/liba.so\n  \
             /opt/rocm/lib/liba.so.7: cannot open /opt/rocm/lib/liba.so.7\nInstall it."
        );
    }

    #[test]
    fn the_first_usable_candidate_wins() {
        let (path, value) = open(&WANTED, environment(&[("ROCM_PATH", "/r")]), |path| {
            path.ends_with("liba.so.7")
                .then_some(7)
                .ok_or_else(|| "absent".to_string())
        })
        .unwrap();
        assert_eq!((path, value), (PathBuf::from("/r/lib/liba.so.7"), 7));
    }

    #[test]
    fn the_loader_names_the_file_that_it_cannot_open() {
        let reason = load(Path::new("/nonexistent/liba.so")).unwrap_err();
        assert!(reason.contains("/nonexistent/liba.so"), "{reason}");
    }
}
