//! candle-nn's fused operations and caches on random shapes, layouts and types, on rocm against the CPU.
//!
//! Cases, tensors and the judgement of results are those of candle-core's property tests. The device is the one that
//! `CANDLE_HIP_LIBRARY` leads to: a card, or the emulator.
extern crate candle as candle_core;

#[allow(dead_code)]
#[path = "../../../candle-core/tests/rocm_properties/cases.rs"]
mod cases;
#[allow(dead_code)]
#[path = "../../../candle-core/tests/rocm_properties/nearness.rs"]
mod nearness;
#[allow(dead_code)]
#[path = "../../../candle-core/tests/rocm_properties/views.rs"]
mod views;

mod activations;
mod attention;
mod kv_cache;
mod normalisation;
mod rotary;
