//! How often the process called the runtime, by kind. Always on: one relaxed addition per call.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Copies of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transfers {
    /// Number of copies.
    pub count: u64,
    /// Bytes copied.
    pub bytes: u64,
}

macro_rules! counters {
    (
        calls { $($(#[$call_doc:meta])* $call:ident,)+ }
        transfers { $($(#[$transfer_doc:meta])* $transfer:ident,)+ }
    ) => {
        /// Calls that succeeded since the start of the process or the latest [`reset_counters`], on all
        /// devices together.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$call_doc])* pub $call: u64,)+
            $($(#[$transfer_doc])* pub $transfer: Transfers,)+
        }

        impl Counters {
            /// What happened between `earlier` and this reading.
            pub fn since(&self, earlier: &Counters) -> Counters {
                Counters {
                    $($call: self.$call.wrapping_sub(earlier.$call),)+
                    $($transfer: Transfers {
                        count: self.$transfer.count.wrapping_sub(earlier.$transfer.count),
                        bytes: self.$transfer.bytes.wrapping_sub(earlier.$transfer.bytes),
                    },)+
                }
            }
        }

        /// The live counters.
        pub(crate) struct Live {
            $(pub $call: Calls,)+
            $(pub $transfer: Copies,)+
        }

        pub(crate) static LIVE: Live = Live {
            $($call: Calls(AtomicU64::new(0)),)+
            $($transfer: Copies { count: AtomicU64::new(0), bytes: AtomicU64::new(0) },)+
        };

        /// Reads the counters. Each is exact; together they are no snapshot while other threads work.
        pub fn counters() -> Counters {
            Counters {
                $($call: LIVE.$call.0.load(Relaxed),)+
                $($transfer: Transfers {
                    count: LIVE.$transfer.count.load(Relaxed),
                    bytes: LIVE.$transfer.bytes.load(Relaxed),
                },)+
            }
        }

        /// Sets every counter to zero.
        pub fn reset_counters() {
            $(LIVE.$call.0.store(0, Relaxed);)+
            $(LIVE.$transfer.count.store(0, Relaxed); LIVE.$transfer.bytes.store(0, Relaxed);)+
        }
    };
}

counters! {
    calls {
    /// Kernel launches; those inside a graph count when they are captured.
    launches,
    /// Graph launches.
    graph_launches,
    /// Device allocations.
    mallocs,
    /// Device allocations given back.
    frees,
    /// Pinned host allocations.
    pinned_mallocs,
    /// Pinned host allocations given back.
    pinned_frees,
    /// Fills of device memory.
    memsets,
    /// Waits of the host for a device, a stream or an event.
    synchronizations,
    }
    transfers {
    /// Copies from the host to a device.
    host_to_device,
    /// Copies from a device to the host.
    device_to_host,
    /// Copies within a device and between devices.
    device_to_device,
    }
}

pub(crate) struct Calls(AtomicU64);

impl Calls {
    #[inline]
    pub fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

pub(crate) struct Copies {
    count: AtomicU64,
    bytes: AtomicU64,
}

impl Copies {
    #[inline]
    pub fn add(&self, bytes: usize) {
        self.count.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }
}
