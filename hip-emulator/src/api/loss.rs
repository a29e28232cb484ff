//! Devices that are lost.
//!
//! On a card, a kernel's fault costs more than its stream: ROCm up to 6 ends the process ("Memory access fault by GPU
//! node"), ROCm 7 refuses every later call on the device with the fault's code. The emulator by itself lets the program go on, so
//! that a test can provoke faults one after the other. `HIP_EMULATOR_STICKY=1` makes a fault cost the device, as
//! ROCm 7 does; `HIP_EMULATOR_LOSE=N` takes the devices away without a fault, in the middle of whatever runs.

use super::error::{Code, Refusal};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;

/// Whether a device is there, and for how long.
pub struct Loss {
    /// Calls that name one of its streams before it goes by itself.
    calls_left: Option<AtomicU64>,
    reason: OnceLock<Refusal>,
}

impl Loss {
    /// A device that goes at the call after `after` calls, or stays.
    pub fn new(after: Option<u64>) -> Loss {
        Loss {
            calls_left: after.map(AtomicU64::new),
            reason: OnceLock::new(),
        }
    }

    /// Takes the device away. The first reason stays.
    pub fn lose(&self, reason: Refusal) {
        let _ = self.reason.set(reason);
    }

    /// Refuses when the device is lost, with the code of what it was lost to.
    pub fn check(&self) -> Result<(), Refusal> {
        match self.reason.get() {
            None => Ok(()),
            Some(reason) => Err(Refusal::new(
                reason.code,
                format!("the device is lost: {}", reason.text),
            )),
        }
    }

    /// Counts a call that names a stream of the device, and refuses when the device is lost.
    pub fn count(&self) -> Result<(), Refusal> {
        if let Some(left) = &self.calls_left {
            let one_less = |n: u64| n.checked_sub(1);
            // `try_update` from Rust 1.99 on, a name that 1.87 does not have.
            #[allow(deprecated)]
            let counted = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
            if counted.is_err() {
                self.lose(Refusal::new(
                    Code::ErrorLaunchFailure,
                    "HIP_EMULATOR_LOSE has it lost here",
                ));
            }
        }
        self.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_stays_unless_told_otherwise() {
        let loss = Loss::new(None);
        assert!((0..1000).all(|_| loss.count().is_ok()));
        loss.lose(Refusal::new(Code::ErrorIllegalAddress, "kernel a"));
        loss.lose(Refusal::new(Code::ErrorLaunchFailure, "kernel b"));
        let refusal = loss.check().unwrap_err();
        assert_eq!(refusal.code, Code::ErrorIllegalAddress);
        assert_eq!(refusal.text, "the device is lost: kernel a");
    }

    #[test]
    fn a_device_goes_after_so_many_calls_and_does_not_come_back() {
        let loss = Loss::new(Some(2));
        assert!(loss.count().is_ok() && loss.count().is_ok());
        assert!(loss.check().is_ok());
        for _ in 0..3 {
            assert_eq!(loss.count().unwrap_err().code, Code::ErrorLaunchFailure);
        }
        assert!(loss.check().is_err());
    }
}
