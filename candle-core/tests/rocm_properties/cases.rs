//! How many random cases run, and what happens to one that fails.
//!
//! A family of operations is a table of rows, each an operation in a type. Its cases are dealt out evenly, so that
//! every row has its turn in every run. The generator starts from a fixed seed: a failure is the same everywhere, and
//! proptest shrinks it to the smallest case that fails.
//!
//! `CANDLE_PROPERTY_CASES` sets the number of cases of each family, `CANDLE_PROPERTY_SEED` another seed.
use candle_core::{Device, Result};
use proptest::strategy::Strategy;
use proptest::test_runner::{
    Config, RngAlgorithm, TestCaseError, TestCaseResult, TestRng, TestRunner,
};
use std::cell::Cell;

/// Cases of a family when the environment names no other number.
const CASES: u32 = 200;
/// Fewer layouts than this would leave a row's views untried.
const LEAST_PER_ROW: u32 = 4;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable} is {text:?}, not a number"),
    }
}

pub fn rocm() -> Result<Device> {
    Device::new_rocm(0)
}

fn runner(cases: u32, row: usize) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    let chosen = number("CANDLE_PROPERTY_SEED").unwrap_or(1);
    // Each row its own, or all of them would see the same layouts.
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&chosen.to_le_bytes());
    seed[8..16].copy_from_slice(&(row as u64).to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

/// Runs the family's cases: `test` gets a row and what `strategy` draws.
pub fn family<R, S: Strategy>(rows: &[R], strategy: S, test: impl Fn(&R, S::Value) -> Result<()>) {
    let all = number("CANDLE_PROPERTY_CASES").map_or(CASES, |n| n as u32);
    let each = all.div_ceil(rows.len() as u32).max(LEAST_PER_ROW);
    // While one handle lives, the device and its loaded kernels stay for the next case.
    let _device = rocm().expect("these tests need a device");
    let mut failures = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let ran = Cell::new(0);
        let outcome = runner(each, i).run(&strategy, |case| -> TestCaseResult {
            ran.set(ran.get() + 1);
            test(row, case).map_err(|e| TestCaseError::fail(e.to_string()))
        });
        match outcome {
            Ok(()) => assert!(ran.get() >= each, "{} of {each} cases ran", ran.get()),
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} rows failed\n{}",
        failures.len(),
        rows.len(),
        failures.join("\n")
    );
}

/// As [`family`], for operations that have but one row.
pub fn property<S: Strategy>(strategy: S, test: impl Fn(S::Value) -> Result<()>) {
    family(&[()], strategy, |(), case| test(case))
}
