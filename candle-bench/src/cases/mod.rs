//! What is measured.

pub mod dense;
pub mod fused;
pub mod models;
pub mod quantized;
