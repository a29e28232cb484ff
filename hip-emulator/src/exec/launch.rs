//! One launch: workgroups spread over threads, the waves of a workgroup taking turns on one.

use super::counters::Counters;
use super::lines::Touched;
use super::program::Program;
use super::watch::Watched;
use super::worker::Worker;
use crate::fault::Fault;
use crate::kernel::Geometry;
use crate::memory::Snapshot;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::Instant;

/// Instructions of one wave before it counts as hung, unless `HIP_EMULATOR_BUDGET` says otherwise.
const DEFAULT_BUDGET: u64 = 1 << 36;

/// Nanoseconds below which a launch is expected to be over before another thread could help.
const SHORT: u64 = 100_000;

/// What all waves of a launch share.
pub struct Launch<'a> {
    pub program: &'a Program,
    pub geometry: &'a Geometry,
    pub memory: &'a Snapshot,
    /// Instructions that each wave may execute.
    pub budget: u64,
    pub watched: Watched,
}

/// The budget that the environment asks for.
fn budget() -> u64 {
    std::env::var("HIP_EMULATOR_BUDGET")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(DEFAULT_BUDGET)
}

impl Launch<'_> {
    /// Workgroups, or `None` if their number overflows.
    fn groups(&self) -> Option<u64> {
        self.geometry
            .grid
            .iter()
            .try_fold(1u64, |product, n| product.checked_mul(u64::from(*n)))
    }

    fn group(&self, index: u64) -> [u32; 3] {
        let [x, y, _] = self.geometry.grid.map(u64::from);
        [
            (index % x) as u32,
            (index / x % y) as u32,
            (index / x / y) as u32,
        ]
    }

    /// Has one worker take workgroups until none is left or one has failed.
    fn work(&self, next: &AtomicU64, groups: u64, failed: &AtomicBool, result: &Mutex<Outcome>) {
        if next.load(Ordering::Relaxed) >= groups {
            // A thread that woke up too late.
            return;
        }
        let mut worker = Worker::new(self);
        let mut fault = None;
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= groups {
                break;
            }
            if let Err(found) = worker.run_group(self.group(index)) {
                failed.store(true, Ordering::Relaxed);
                fault = Some((index, found));
                break;
            }
        }
        let counters = worker.counters();
        let mut result = result
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        result.counters += counters;
        result.touched.merge(worker.touched());
        // Of several faults, the one of the lowest workgroup is reported.
        if let Some((index, fault)) = fault {
            if result
                .fault
                .as_ref()
                .is_none_or(|(lowest, _)| index < *lowest)
            {
                result.fault = Some((index, fault));
            }
        }
    }
}

#[derive(Default)]
struct Outcome {
    counters: Counters,
    touched: Touched,
    fault: Option<(u64, Fault)>,
}

/// Runs a launch to its end.
///
/// A fault stops the launch; stores that waves made before it stay made, as on a GPU.
pub fn run(program: &Program, geometry: &Geometry, memory: &Snapshot) -> Result<Counters, Fault> {
    run_counting(program, geometry, memory, false)
}

/// The same; `traffic` also counts bytes, lines and bank conflicts, which is slow.
pub fn run_counting(
    program: &Program,
    geometry: &Geometry,
    memory: &Snapshot,
    traffic: bool,
) -> Result<Counters, Fault> {
    let launch = Launch {
        program,
        geometry,
        memory,
        budget: budget(),
        watched: Watched::from_environment(traffic),
    };
    let Some(groups) = launch.groups() else {
        return Err(program.fault(crate::fault::FaultKind::Illegal(
            "the grid has more than 2^64 workgroups".into(),
        )));
    };
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let result = Mutex::new(Outcome::default());
    let work = || launch.work(&next, groups, &failed, &result);
    if geometry.block.contains(&0) || groups == 0 {
        return Ok(Counters::default());
    }
    let started = Instant::now();
    // Waking another thread up takes longer than a short launch.
    let short = program
        .last_time
        .load(Ordering::Relaxed)
        .saturating_mul(groups)
        < SHORT;
    let workers = if short {
        1
    } else {
        groups.min(rayon::current_num_threads() as u64)
    };
    // This thread works too.
    rayon::in_place_scope(|scope| {
        for _ in 1..workers {
            scope.spawn(|_| work());
        }
        work();
    });
    let time = started.elapsed().as_nanos() as u64 * workers / groups;
    program.last_time.store(time.max(1), Ordering::Relaxed);
    let outcome = result
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    match outcome.fault {
        Some((_, fault)) => Err(fault),
        None => {
            let mut counters = outcome.counters;
            counters.traffic.distinct_bytes_loaded = outcome.touched.bytes_loaded();
            counters.traffic.distinct_bytes_stored = outcome.touched.bytes_stored();
            Ok(counters)
        }
    }
}
