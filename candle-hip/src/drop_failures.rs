//! Errors of `Drop`, which can neither be returned nor thrown.

use crate::error::{Error, Result};
use crate::sys::hip::hipError_t;
use std::sync::{Mutex, PoisonError};

/// The failures of `Drop` in this process so far.
#[derive(Debug, Clone, Default)]
pub struct DropFailures {
    /// How many there were.
    pub count: u64,
    /// The first one: later ones are often its consequences.
    pub first: Option<Error>,
    /// The latest one.
    pub latest: Option<Error>,
}

static FAILURES: Mutex<DropFailures> = Mutex::new(DropFailures {
    count: 0,
    first: None,
    latest: None,
});

/// What went wrong while handles were dropped: a release that the runtime refused. The first failure is
/// also written to standard error.
pub fn drop_failures() -> DropFailures {
    // A panic cannot leave the record half written: every field is assigned whole.
    FAILURES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// Keeps the error of a release that was made in a `Drop`, if it is one: for the handles here and for owners built on
/// the raw functions, an allocator say.
pub fn keep_drop_failure(outcome: Result<()>) {
    let Err(error) = outcome else { return };
    // What a forked process holds copies of is its parent's to release.
    if matches!(error, Error::Forked) {
        return;
    }
    // The runtime has been shut down (the process is ending) and has released everything itself.
    if error.code() == Some(hipError_t::hipErrorDeinitialized.0) {
        return;
    }
    let mut failures = FAILURES.lock().unwrap_or_else(PoisonError::into_inner);
    failures.count += 1;
    if failures.first.is_none() {
        // `eprintln!` would panic when standard error is closed; that message is then lost, the
        // record is not.
        use std::io::Write;
        let _ = writeln!(
            std::io::stderr(),
            "candle-hip: {error} (further failures of this kind are only counted)"
        );
        failures.first = Some(error.clone());
    }
    failures.latest = Some(error);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::HipFailure;

    fn failure(code: u32) -> Error {
        Error::Hip(Box::new(HipFailure {
            call: "hipFree",
            code,
            name: "hipErrorX".into(),
            description: String::new(),
            context: format!("test {code}"),
        }))
    }

    #[test]
    fn failures_are_kept_and_a_finished_runtime_is_none() {
        let before = drop_failures().count;
        keep_drop_failure(Ok(()));
        keep_drop_failure(Err(failure(hipError_t::hipErrorDeinitialized.0)));
        assert_eq!(drop_failures().count, before);
        keep_drop_failure(Err(failure(1)));
        keep_drop_failure(Err(failure(17)));
        let after = drop_failures();
        assert_eq!(after.count, before + 2);
        assert_eq!(after.latest, Some(failure(17)));
        assert!(after.first.is_some());
    }
}
