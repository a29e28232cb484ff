//! The HIP runtime library: found, opened and resolved once per process.

pub(crate) mod search;

use crate::error::{Error, HipFailure, Result};
use crate::fork;
use crate::sys::graph::GraphFunctions;
use crate::sys::hip::{hipError_t, HipFunctions};
use search::Wanted;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// ROCm's HIP runtime. The plain name, a link to the installed one, comes first, then each major version
/// that a release of ROCm has had since 5, the newest first.
static HIP: Wanted = Wanted {
    title: "the HIP runtime (libamdhip64)",
    variable: "CANDLE_HIP_LIBRARY",
    #[cfg(not(windows))]
    names: &[
        "libamdhip64.so",
        "libamdhip64.so.10",
        "libamdhip64.so.7",
        "libamdhip64.so.6",
        "libamdhip64.so.5",
    ],
    #[cfg(windows)]
    names: &["amdhip64_10.dll", "amdhip64_7.dll", "amdhip64_6.dll", "amdhip64.dll"],
    install: "Install AMD's ROCm runtime (package 'hip-runtime-amd' of https://rocm.docs.amd.com, or \
              'libamdhip64-5' of Debian and Ubuntu), or set CANDLE_HIP_LIBRARY to the path of the library.",
};

/// The bindings are generated from the headers of 5.2; attribute numbers were others before 5.0.
const OLDEST_MAJOR_VERSION: i32 = 5;

/// `hipGetDeviceProperties` and its versioned form: the struct differs, so the table has it untyped.
pub(crate) type GetProperties = unsafe extern "C" fn(*mut c_void, c_int) -> hipError_t;

/// The opened HIP runtime with all its resolved functions.
///
/// The library stays open until the process ends: handles, and the runtime's own threads, may
/// outlive any scope.
pub struct Library {
    path: PathBuf,
    runtime_version: Option<i32>,
    functions: HipFunctions,
    graph: Option<GraphFunctions>,
    properties_r0600: Option<GetProperties>,
    properties: Option<GetProperties>,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library")
            .field("path", &self.path)
            .field("runtime_version", &self.runtime_version)
            .finish_non_exhaustive()
    }
}

impl Library {
    /// The process's HIP runtime, opened by the first call.
    ///
    /// The first of these that exists and has every required function: the path in
    /// `CANDLE_HIP_LIBRARY` (when set, nothing else is tried); `$ROCM_PATH/lib`; `$HIP_PATH/lib`; the
    /// loader's own search for the library's name; `/opt/rocm/lib`. The outcome, an error included, is
    /// kept: later changes of the environment have no effect.
    ///
    /// # Errors
    /// [`Error::LibraryMissing`] with every path tried, or [`Error::LibraryUnusable`] when
    /// `CANDLE_HIP_LIBRARY` names something that is no HIP runtime; [`Error::Forked`].
    pub fn get() -> Result<&'static Library> {
        static LIBRARY: OnceLock<Result<Library>> = OnceLock::new();
        LIBRARY
            .get_or_init(|| {
                let (path, library) =
                    search::open(&HIP, |name| std::env::var_os(name), Library::open)?;
                fork::watch();
                Ok(Library { path, ..library })
            })
            .as_ref()
            .map_err(Error::clone)
            .and_then(|library| fork::expect_own_process().map(|()| library))
    }

    fn open(path: &Path) -> Result<Library, String> {
        let library = search::load(path)?;
        // SAFETY: each symbol is used with the type that HIP's public header declares for that name
        // (struct layouts excepted, which `GetProperties` leaves open), and the copied pointers stay
        // valid because `functions` keeps the library open for as long as they are reachable.
        let (properties_r0600, properties) = unsafe {
            let optional = |name: &CStr| {
                let symbol = library.get::<GetProperties>(name.to_bytes_with_nul());
                symbol.ok().map(|symbol| *symbol)
            };
            (
                optional(c"hipGetDevicePropertiesR0600"),
                optional(c"hipGetDeviceProperties"),
            )
        };
        // SAFETY: as above; the tables are generated from HIP's header. The second table opens the
        // same file again, which only counts one more reference.
        let (functions, graph) = unsafe {
            let functions = HipFunctions::from_library(library).map_err(search::reason)?;
            let graph = search::load(path).ok();
            (
                functions,
                graph.and_then(|l| GraphFunctions::from_library(l).ok()),
            )
        };
        if properties_r0600.is_none() && properties.is_none() {
            return Err(
                "it has neither hipGetDevicePropertiesR0600 nor hipGetDeviceProperties".into(),
            );
        }
        let mut version = 0;
        // SAFETY: the call writes one int.
        let status = unsafe { (functions.hipRuntimeGetVersion)(&mut version) };
        let runtime_version = (status == hipError_t::hipSuccess).then_some(version);
        match runtime_version {
            Some(v) if v / 10_000_000 < OLDEST_MAJOR_VERSION => Err(format!(
                "its HIP version is {}, older than {OLDEST_MAJOR_VERSION}.2",
                version_text(v)
            )),
            _ => Ok(Library {
                path: path.to_path_buf(),
                runtime_version,
                functions,
                graph,
                properties_r0600,
                properties,
            }),
        }
    }

    /// What was opened: a path, or a bare name that the system's loader resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// HIP's version such as `6.2.41133`, when the runtime tells.
    pub fn version(&self) -> Option<String> {
        self.runtime_version.map(version_text)
    }

    /// The table of required functions.
    #[inline]
    pub(crate) fn functions(&self) -> &HipFunctions {
        &self.functions
    }

    /// The table of stream capture.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the runtime lacks one of its functions.
    pub(crate) fn graph_functions(&self) -> Result<&GraphFunctions> {
        self.graph.as_ref().ok_or_else(|| Error::Unsupported {
            what: "stream capture",
            library: self.path.clone(),
        })
    }

    /// `hipGetDevicePropertiesR0600`, else `hipGetDeviceProperties`, with the name for messages.
    pub(crate) fn device_properties(&self) -> Result<(&'static str, GetProperties)> {
        let newer = self
            .properties_r0600
            .map(|f| ("hipGetDevicePropertiesR0600", f));
        let older = self.properties.map(|f| ("hipGetDeviceProperties", f));
        newer.or(older).ok_or_else(|| Error::Unsupported {
            what: "device properties",
            library: self.path.clone(),
        })
    }

    /// Turns a status into a `Result`; `context` says what was being done.
    #[inline]
    pub(crate) fn check(
        &self,
        call: &'static str,
        status: hipError_t,
        context: impl FnOnce() -> String,
    ) -> Result<()> {
        if status == hipError_t::hipSuccess {
            Ok(())
        } else {
            Err(self.failure(call, status, context()))
        }
    }

    #[cold]
    pub(crate) fn failure(&self, call: &'static str, status: hipError_t, context: String) -> Error {
        // SAFETY: both return a NUL-terminated string, or null, that the runtime owns; it is copied
        // at once. hipGetLastError takes this thread's error away, so that another user of HIP on
        // the thread does not take ours for its own.
        let (name, description) = unsafe {
            let name = text((self.functions.hipGetErrorName)(status));
            let description = text((self.functions.hipGetErrorString)(status));
            (self.functions.hipGetLastError)();
            (name, description)
        };
        Error::Hip(Box::new(HipFailure {
            call,
            code: status.0,
            name: name.unwrap_or_else(|| "an unnamed error".into()),
            description: description.unwrap_or_default(),
            context,
        }))
    }
}

/// Copies a C string.
///
/// # Safety
/// `string` is null or points to a NUL-terminated string.
unsafe fn text(string: *const c_char) -> Option<String> {
    // SAFETY: not null, and NUL-terminated by the caller's promise.
    (!string.is_null()).then(|| {
        unsafe { CStr::from_ptr(string) }
            .to_string_lossy()
            .into_owned()
    })
}

/// HIP packs its version as major · 10⁷ + minor · 10⁵ + patch (`HIP_VERSION` in hip_version.h).
fn version_text(version: i32) -> String {
    let (major, rest) = (version / 10_000_000, version % 10_000_000);
    format!("{major}.{}.{}", rest / 100_000, rest % 100_000)
}

/// Calls a function of the table and checks its status: `hip!(library, hipFree(ptr), "freeing {ptr}")`.
/// It stands inside the caller's `unsafe` block.
macro_rules! hip {
    ($library:expr, $function:ident($($argument:expr),* $(,)?), $($context:tt)+) => {{
        let library: &$crate::library::Library = $library;
        library.check(
            stringify!($function),
            (library.functions().$function)($($argument),*),
            || format!($($context)+),
        )
    }};
}
pub(crate) use hip;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_unpacked() {
        // HIP_VERSION of ROCm 5.2.3 as Debian 12 ships it, and of ROCm 7.0.
        assert_eq!(version_text(50_221_153), "5.2.21153");
        assert_eq!(version_text(70_051_831), "7.0.51831");
    }
}
