//! The types of quantized tensors, for the tests that take each in turn.
#![allow(dead_code)] // each test file uses a part
use candle_core::quantized::GgmlDType;

/// Types with blocks of several elements.
pub const QUANTIZED: [GgmlDType; 12] = [
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q8_1,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
    GgmlDType::Q8K,
];

/// Types that a quantized tensor stores element by element.
const PLAIN: [GgmlDType; 3] = [GgmlDType::F32, GgmlDType::F16, GgmlDType::BF16];

/// Every type that candle knows.
pub fn all() -> impl Iterator<Item = GgmlDType> {
    PLAIN.into_iter().chain(QUANTIZED)
}
