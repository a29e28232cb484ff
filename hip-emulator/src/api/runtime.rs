//! The process's devices, memory and handles.

use super::error::{remember, Code, HipError, Refusal};
use super::loss::Loss;
use super::settings::Settings;
use super::stream::Stream;
use crate::launch::{Function, Recorder};
use crate::memory::{report_at_exit, Limits, Memory};
use crate::target::Target;
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// One emulated card.
pub struct Device {
    pub target: &'static Target,
    /// The null stream of this device.
    pub default_stream: Arc<Stream>,
    pub loss: Loss,
}

/// Everything that calls share.
pub struct Runtime {
    pub settings: Settings,
    pub devices: Vec<Device>,
    pub memory: Arc<Memory>,
    pub recorder: Recorder,
    pub streams: Handles<Stream>,
    pub events: Handles<super::event::Event>,
    pub modules: Handles<super::module::Module>,
    pub functions: Handles<Function>,
    /// Captured, and made ready to be launched.
    pub graphs: Handles<super::graph::Graph>,
    pub executables: Handles<Arc<super::graph::Graph>>,
}

thread_local! {
    static CURRENT: Cell<u32> = const { Cell::new(0) };
}

impl Runtime {
    fn new(settings: Settings) -> Result<Runtime, String> {
        let recorder = Recorder::new(settings.trace, settings.profile.as_deref())?;
        let limits = Limits {
            device_bytes: settings.device_bytes[0],
            poison: settings.poison,
        };
        let devices = settings
            .targets
            .iter()
            .enumerate()
            .map(|(number, target)| Device {
                target,
                default_stream: Arc::new(Stream::new(number as u32, 0)),
                loss: Loss::new(settings.lose_after),
            });
        Ok(Runtime {
            devices: devices.collect(),
            memory: Memory::with_sizes(limits, settings.device_bytes.clone()),
            recorder,
            streams: Handles::new("stream", 1),
            events: Handles::new("event", 2),
            modules: Handles::new("module", 3),
            functions: Handles::new("function", 4),
            graphs: Handles::new("graph", 5),
            executables: Handles::new("executable graph", 6),
            settings,
        })
    }

    /// The device that this thread chose with `hipSetDevice`; 0 until then.
    pub fn current(&self) -> u32 {
        CURRENT.get()
    }

    /// Refuses when this thread's device is lost.
    pub fn expect_current(&self) -> Result<(), Refusal> {
        self.devices[self.current() as usize].loss.check()
    }

    pub fn choose(&self, device: c_int) -> Result<(), Refusal> {
        CURRENT.set(self.index(device)?);
        Ok(())
    }

    /// Checks a device number.
    pub fn index(&self, device: c_int) -> Result<u32, Refusal> {
        match usize::try_from(device) {
            Ok(index) if index < self.devices.len() => Ok(index as u32),
            _ => Err(Refusal::new(
                Code::ErrorInvalidDevice,
                format!(
                    "device {device} of {} (HIP_EMULATOR_ARCH lists them)",
                    self.devices.len()
                ),
            )),
        }
    }

    pub fn device(&self, device: c_int) -> Result<&Device, Refusal> {
        let index = self.index(device)?;
        Ok(&self.devices[index as usize])
    }
}

extern "C" {
    /// C's `atexit`: the ledger is printed when the process ends or the library is closed.
    fn atexit(callback: extern "C" fn()) -> c_int;
}

static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();

extern "C" fn print_ledger() {
    // A panic here would abort a process that is ending well.
    let _ = catch_unwind(|| {
        if let Some(Ok(runtime)) = RUNTIME.get() {
            let text = report_at_exit(&runtime.memory, runtime.settings.ledger);
            if !text.is_empty() {
                eprint!("{text}");
            }
        }
    });
}

/// The runtime, set up from the environment at the first call.
pub fn runtime() -> Result<&'static Runtime, Refusal> {
    let runtime = RUNTIME.get_or_init(|| {
        let variable = |name: &str| std::env::var(name).ok();
        let runtime = Settings::read(variable).and_then(Runtime::new);
        match &runtime {
            Ok(_) => {
                // SAFETY: the callback is a plain function that lives as long as this library; libc
                // runs it at exit or when the library is closed. When registering fails there is only
                // no ledger.
                unsafe { atexit(print_ledger) };
            }
            Err(text) => eprintln!("hip-emulator: {text}"),
        }
        runtime
    });
    runtime
        .as_ref()
        .map_err(|text| Refusal::new(Code::ErrorNoDevice, text.clone()))
}

/// Runs the body of one C function: errors become codes with a remembered text, panics too.
pub fn call(
    name: &'static str,
    body: impl FnOnce(&'static Runtime) -> Result<(), Refusal>,
) -> HipError {
    let outcome = catch_unwind(AssertUnwindSafe(|| body(runtime()?)));
    let refusal = match outcome {
        Ok(Ok(())) => return Code::Success as HipError,
        Ok(Err(refusal)) => refusal,
        Err(panic) => {
            let what = panic
                .downcast_ref::<&str>()
                .map(|text| text.to_string())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_string());
            Refusal::loud(
                Code::ErrorUnknown,
                format!("a defect of the emulator: {what}"),
            )
        }
    };
    if refusal.loud {
        eprintln!("hip-emulator: {name}: {}", refusal.text);
    }
    remember(&refusal);
    refusal.code as HipError
}

/// Writes a result through a C pointer.
///
/// # Safety
/// `pointer` must be null (which is refused) or valid for a write of `T`.
pub unsafe fn give<T>(pointer: *mut T, value: T) -> Result<(), Refusal> {
    if pointer.is_null() {
        return Err(Refusal::new(
            Code::ErrorInvalidValue,
            "the pointer for the result is null",
        ));
    }
    // SAFETY: not null, and valid by the caller's contract. C callers may not keep Rust's alignment.
    unsafe { pointer.write_unaligned(value) };
    Ok(())
}

/// Objects behind opaque pointers. A handle is a number that is never used twice, so a destroyed or
/// foreign one is found out, and nothing is ever read through it.
pub struct Handles<T> {
    what: &'static str,
    tag: usize,
    state: Mutex<(usize, HashMap<usize, Arc<T>>)>,
}

impl<T> Handles<T> {
    /// `tag` (below 16) tells the kinds of handles apart.
    fn new(what: &'static str, tag: usize) -> Handles<T> {
        Handles {
            what,
            tag,
            state: Mutex::new((0x1000, HashMap::new())),
        }
    }

    fn state(&self) -> MutexGuard<'_, (usize, HashMap<usize, Arc<T>>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn insert(&self, object: T) -> *mut c_void {
        let mut state = self.state();
        state.0 += 16;
        let handle = state.0 | self.tag;
        state.1.insert(handle, Arc::new(object));
        handle as *mut c_void
    }

    pub fn get(&self, handle: *mut c_void) -> Result<Arc<T>, Refusal> {
        self.state()
            .1
            .get(&(handle as usize))
            .cloned()
            .ok_or_else(|| self.unknown(handle))
    }

    pub fn remove(&self, handle: *mut c_void) -> Result<Arc<T>, Refusal> {
        self.state()
            .1
            .remove(&(handle as usize))
            .ok_or_else(|| self.unknown(handle))
    }

    /// Removes the objects that `gone` picks.
    pub fn remove_where(&self, gone: impl Fn(&T) -> bool) {
        let mut removed = Vec::new();
        self.state().1.retain(|_, object| {
            let gone = gone(object);
            if gone {
                removed.push(Arc::clone(object));
            }
            !gone
        });
        // Dropped outside the lock.
        drop(removed);
    }

    pub fn all(&self) -> Vec<Arc<T>> {
        self.state().1.values().cloned().collect()
    }

    fn unknown(&self, handle: *mut c_void) -> Refusal {
        Refusal::new(
            Code::ErrorInvalidHandle,
            format!(
                "{handle:?} is no live {} (null, destroyed, or never created)",
                self.what
            ),
        )
    }
}
