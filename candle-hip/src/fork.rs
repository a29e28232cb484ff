//! Processes that were forked after the runtime was opened.
//!
//! The child of a fork has the memory of its parent and none of its threads; the driver does not know it. HIP calls in
//! it fail in odd ways or wait for ever. Here they are refused from the first one on, and releases of the handles that the
//! child has copies of do nothing: they are the parent's.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};

static FORKED: AtomicBool = AtomicBool::new(false);

/// From now on a child of this process knows that it is one. To be called once.
pub(crate) fn watch() {
    #[cfg(unix)]
    {
        type Handler = Option<unsafe extern "C" fn()>;
        extern "C" {
            /// POSIX: the third function runs in the child, before `fork` returns there.
            fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> i32;
        }
        unsafe extern "C" fn in_child() {
            FORKED.store(true, Ordering::Relaxed);
        }
        // SAFETY: the function only sets a flag, which is allowed in the child of a process with threads, and it is part
        // of the program for good. When there is no memory to register it, a child goes unnoticed.
        unsafe { pthread_atfork(None, None, Some(in_child)) };
    }
}

/// Whether this process was forked from one that had opened the HIP runtime.
#[inline]
pub fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Ends a call early in such a process.
///
/// # Errors
/// [`Error::Forked`].
#[inline]
pub fn expect_own_process() -> Result<()> {
    match is_forked() {
        false => Ok(()),
        true => Err(Error::Forked),
    }
}
