//! Weights of any type and size: a stretch of random numbers, the same in each run, quantized once on the CPU and repeated.

use anyhow::{Context, Result};
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Shape, Tensor};
use rand::{rngs::StdRng, SeedableRng};
use rand_distr::{Distribution, Normal};
use std::borrow::Cow;

/// Elements that are really quantized: whole rows of blocks for every type, and quick on one core even for k-quants.
const STRETCH: usize = 1 << 17;

/// The types and their names on the command line and in tables.
pub const TYPES: [(&str, GgmlDType); 15] = [
    ("q4_0", GgmlDType::Q4_0),
    ("q4_1", GgmlDType::Q4_1),
    ("q5_0", GgmlDType::Q5_0),
    ("q5_1", GgmlDType::Q5_1),
    ("q8_0", GgmlDType::Q8_0),
    ("q8_1", GgmlDType::Q8_1),
    ("q2k", GgmlDType::Q2K),
    ("q3k", GgmlDType::Q3K),
    ("q4k", GgmlDType::Q4K),
    ("q5k", GgmlDType::Q5K),
    ("q6k", GgmlDType::Q6K),
    ("q8k", GgmlDType::Q8K),
    ("f16", GgmlDType::F16),
    ("bf16", GgmlDType::BF16),
    ("f32", GgmlDType::F32),
];

/// The type of a name.
pub fn dtype(name: &str) -> Result<GgmlDType> {
    let found = TYPES.iter().find(|(n, _)| *n == name);
    let names = || TYPES.map(|(n, _)| n).join(", ");
    Ok(found
        .with_context(|| format!("no type {name:?}; there are {}", names()))?
        .1)
}

/// Bytes of `elements`, a multiple of the type's block.
pub fn bytes_of(dtype: GgmlDType, elements: usize) -> usize {
    elements / dtype.block_size() * dtype.type_size()
}

/// Whether the type is one of plain numbers, which `QMatMul` turns into f32 when weights are loaded.
pub fn is_dense(dtype: GgmlDType) -> bool {
    matches!(dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16)
}

/// Normal numbers.
fn stretch(seed: u64, deviation: f32, count: usize) -> Result<Vec<f32>> {
    let normal = Normal::new(0f32, deviation)?;
    let numbers = StdRng::seed_from_u64(seed);
    Ok(normal.sample_iter(numbers).take(count).collect())
}

/// Normal numbers in f32 on the CPU: a stretch of random ones, repeated. Its length is odd, so that rows differ.
pub fn normal(deviation: f32, shape: impl Into<Shape>) -> Result<Tensor> {
    let shape = shape.into();
    let elements = shape.elem_count();
    let mut values = stretch(1, deviation, (STRETCH - 1).min(elements))?;
    values.reserve(elements.saturating_sub(values.len()));
    while values.len() < elements {
        let more = values.len().min(elements - values.len());
        values.extend_from_within(..more);
    }
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// Blocks of one type, of as many elements as wanted.
pub struct Blocks {
    dtype: GgmlDType,
    stretch: Vec<u8>,
}

impl Blocks {
    /// Normal with a standard deviation that keeps the products of rows of thousands near one.
    pub fn new(dtype: GgmlDType) -> Result<Self> {
        let values = Tensor::new(stretch(2, 0.02, STRETCH)?, &Device::Cpu)?;
        let stretch = QTensor::quantize(&values, dtype)?.data()?.into_owned();
        Ok(Self { dtype, stretch })
    }

    /// `number` turns the stretch, so that copies are not the same bytes.
    pub fn bytes(&self, elements: usize, number: usize) -> Vec<u8> {
        let size = bytes_of(self.dtype, elements);
        let skip = number * self.dtype.type_size() % self.stretch.len();
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&self.stretch[skip..][..size.min(self.stretch.len() - skip)]);
        while bytes.len() < size {
            bytes.extend_from_slice(&self.stretch[..self.stretch.len().min(size - bytes.len())]);
        }
        bytes
    }

    /// A tensor of `rows` × `columns` on a device.
    pub fn tensor(
        &self,
        (rows, columns): (usize, usize),
        number: usize,
        device: &Device,
    ) -> Result<QTensor> {
        let bytes = self.bytes(rows * columns, number);
        let storage = QStorage::from_data(Cow::Owned(bytes), device, self.dtype)?;
        Ok(QTensor::new(storage, (rows, columns))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any size, and finite numbers wherever the stretch is turned to.
    #[test]
    fn blocks_repeat_by_whole_blocks() -> Result<()> {
        for (name, dtype) in TYPES {
            let blocks = Blocks::new(dtype)?;
            for number in [0, 3] {
                let t = blocks.tensor((3, STRETCH / 2 + 256), number, &Device::Cpu)?;
                let sum = t
                    .dequantize(&Device::Cpu)?
                    .sqr()?
                    .mean_all()?
                    .to_scalar::<f32>()?;
                // The variance, give or take what few bits lose.
                assert!((sum.sqrt() - 0.02).abs() < 0.003, "{name} {number}: {sum}");
            }
        }
        Ok(())
    }
}
