//! Quantized tensors on AMD GPUs in a build without the feature `rocm`: they cannot be made.
use super::GgmlDType;
use crate::dummy_rocm_backend::Never;
use crate::{CpuStorage, Error, Layout, Result, RocmDevice, RocmStorage, Shape};

/// Stands for quantized blocks on an AMD GPU; cannot be made without the feature `rocm`.
pub struct QRocmStorage {
    never: Never,
}

impl QRocmStorage {
    /// Blocks of zeros.
    ///
    /// # Errors
    /// Always [`Error::NotCompiledWithRocmSupport`].
    pub fn zeros(_: &RocmDevice, _: usize, _: GgmlDType) -> Result<Self> {
        Err(Error::NotCompiledWithRocmSupport)
    }
    /// Storage from blocks.
    ///
    /// # Errors
    /// Always [`Error::NotCompiledWithRocmSupport`].
    pub fn from_data(_: &RocmDevice, _: &[u8], _: GgmlDType) -> Result<Self> {
        Err(Error::NotCompiledWithRocmSupport)
    }
    /// The type of the blocks; cannot be reached.
    pub fn dtype(&self) -> GgmlDType {
        match self.never {}
    }
    /// The GPU; cannot be reached.
    pub fn device(&self) -> &RocmDevice {
        match self.never {}
    }
    /// Bytes of the blocks; cannot be reached.
    pub fn storage_size_in_bytes(&self) -> usize {
        match self.never {}
    }
    /// Address of the first block; cannot be reached.
    pub fn device_ptr(&self) -> Result<*const u8> {
        match self.never {}
    }
    /// The blocks; cannot be reached.
    pub fn data(&self) -> Result<Vec<u8>> {
        match self.never {}
    }
    /// The elements in f32; cannot be reached.
    pub fn dequantize(&self, _: usize) -> Result<RocmStorage> {
        match self.never {}
    }
    /// The elements in f16; cannot be reached.
    pub fn dequantize_f16(&self, _: usize) -> Result<RocmStorage> {
        match self.never {}
    }
    /// Quantizes elements in f32; cannot be reached.
    pub fn quantize(&mut self, _: &RocmStorage) -> Result<()> {
        match self.never {}
    }
    /// As [`Self::quantize`], by importance; cannot be reached.
    pub fn quantize_imatrix(&mut self, _: &RocmStorage, _: &[f32], _: usize) -> Result<()> {
        match self.never {}
    }
    /// Quantizes elements on the CPU; cannot be reached.
    pub fn quantize_onto(&mut self, _: &CpuStorage) -> Result<()> {
        match self.never {}
    }
    /// As [`Self::quantize_onto`], by importance; cannot be reached.
    pub fn quantize_imatrix_onto(&mut self, _: &CpuStorage, _: &[f32], _: usize) -> Result<()> {
        match self.never {}
    }
    /// Rows by their numbers; cannot be reached.
    pub fn embedding(
        &self,
        _: usize,
        _: usize,
        _: &RocmStorage,
        _: &Layout,
    ) -> Result<RocmStorage> {
        match self.never {}
    }
    /// Product with the transposed weights; cannot be reached.
    pub fn fwd(&self, _: &Shape, _: &RocmStorage, _: &Layout) -> Result<(RocmStorage, Shape)> {
        match self.never {}
    }
    /// Products of chosen experts; cannot be reached.
    pub fn indexed_moe_forward(
        &self,
        _: &Shape,
        _: &RocmStorage,
        _: &Layout,
        _: &RocmStorage,
        _: &Layout,
    ) -> Result<(RocmStorage, Shape)> {
        match self.never {}
    }
}

/// Quantized storage from blocks on the host.
///
/// # Errors
/// Always [`Error::NotCompiledWithRocmSupport`].
pub fn load_quantized<T: super::GgmlType + Send + Sync + 'static>(
    _: &RocmDevice,
    _: &[T],
) -> Result<super::QStorage> {
    Err(Error::NotCompiledWithRocmSupport)
}
