//! Any bytes as a GGML file.
#![no_main]
#[path = "../../candle-core/tests/rocm_readers/counting.rs"]
mod counting;
#[path = "../../candle-core/tests/rocm_readers/invariants.rs"]
#[allow(dead_code)] // each target checks one reader
mod invariants;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Refusing is an answer.
    let _ = invariants::ggml(bytes, &candle_core::Device::Cpu);
});
