//! Quantized tensors on AMD GPUs.
//!
//! [`QRocmStorage`] holds the blocks as they lie in a GGUF file, followed by zeros: kernels that walk a row in steps
//! of [`MATRIX_ROW_PADDING`] elements may read past the last row. `types.rs` says which kernel serves which type;
//! `product.rs` chooses among them for a matrix product.
use super::{GgmlDType, GgmlType, QStorage};
use crate::backend::{BackendDevice, BackendStorage};
use crate::rocm_backend::{cast_elements, kernels, RocmBuffer};
use crate::{CpuStorage, DType, Layout, Result, RocmDevice, RocmStorage, Shape};
use std::borrow::Cow;

mod product;
mod types;

pub use product::set_force_dmmv;
use types::{CountArgument, Dequantize};

/// Elements by which rows are padded for the kernels.
pub const MATRIX_ROW_PADDING: usize = 512;

/// Blocks on the device with zeros behind them.
#[derive(Debug)]
struct PaddedHipSlice {
    buffer: RocmBuffer,
    /// Bytes of the blocks, without the padding.
    len: usize,
}

impl PaddedHipSlice {
    /// Room for `len` bytes of blocks; the padding is zero, the blocks are not written yet.
    fn uninit(device: &RocmDevice, len: usize, dtype: GgmlDType) -> Result<Self> {
        let padding = MATRIX_ROW_PADDING.div_ceil(dtype.block_size()) * dtype.type_size();
        let buffer = device.allocate(len + padding)?;
        buffer.fill_zero(len..len + padding)?;
        Ok(Self { buffer, len })
    }

    fn from_host(device: &RocmDevice, bytes: &[u8], dtype: GgmlDType) -> Result<Self> {
        let mut padded = Self::uninit(device, bytes.len(), dtype)?;
        padded.buffer.copy_from_host(0, bytes)?;
        Ok(padded)
    }
}

/// The blocks of a quantized tensor on an AMD GPU.
#[derive(Debug)]
pub struct QRocmStorage {
    data: PaddedHipSlice,
    dtype: GgmlDType,
}

/// Bytes of `count` elements; the last block may be partly used.
fn bytes_of(count: usize, dtype: GgmlDType) -> usize {
    count.div_ceil(dtype.block_size()) * dtype.type_size()
}

impl QRocmStorage {
    pub fn zeros(device: &RocmDevice, elem_count: usize, dtype: GgmlDType) -> Result<Self> {
        let len = bytes_of(elem_count, dtype);
        let data = PaddedHipSlice::uninit(device, len, dtype)?;
        data.buffer.fill_zero(0..len)?;
        Ok(Self { data, dtype })
    }

    /// Storage from blocks as a GGUF file holds them.
    pub fn from_data(device: &RocmDevice, bytes: &[u8], dtype: GgmlDType) -> Result<Self> {
        let size = dtype.type_size();
        if bytes.len() % size != 0 {
            crate::bail!(
                "{} bytes are no whole number of {dtype:?} blocks of {size} bytes",
                bytes.len()
            )
        }
        let data = PaddedHipSlice::from_host(device, bytes, dtype)?;
        Ok(Self { data, dtype })
    }

    pub fn dtype(&self) -> GgmlDType {
        self.dtype
    }

    pub fn device(&self) -> &RocmDevice {
        self.data.buffer.device()
    }

    /// Bytes of the blocks, without the padding.
    pub fn storage_size_in_bytes(&self) -> usize {
        self.data.len
    }

    /// Address of the first block. It stays valid while this storage lives; work that reads it outside of candle has
    /// to be ordered with the device's stream.
    pub fn device_ptr(&self) -> Result<*const u8> {
        Ok(self.data.buffer.ptr().as_raw() as *const u8)
    }

    /// The blocks, copied to the host.
    pub fn data(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.data.len];
        self.data.buffer.copy_to_host(0, &mut bytes)?;
        Ok(bytes)
    }

    /// An error unless the storage holds at least `elem_count` elements.
    fn expect_elements(&self, elem_count: usize, op: &str) -> Result<()> {
        let (need, have) = (bytes_of(elem_count, self.dtype), self.data.len);
        if need > have {
            crate::bail!(
                "{op}: {elem_count} elements of {:?} are {need} bytes, the storage holds {have}",
                self.dtype
            )
        }
        Ok(())
    }

    pub fn dequantize(&self, elem_count: usize) -> Result<RocmStorage> {
        self.dequantize_to(elem_count, DType::F32)
    }

    pub fn dequantize_f16(&self, elem_count: usize) -> Result<RocmStorage> {
        self.dequantize_to(elem_count, DType::F16)
    }

    /// `dtype` is F32 or F16.
    fn dequantize_to(&self, elem_count: usize, dtype: DType) -> Result<RocmStorage> {
        self.expect_elements(elem_count, "dequantize")?;
        let dense = match self.dtype {
            GgmlDType::F32 => Some(DType::F32),
            GgmlDType::F16 => Some(DType::F16),
            GgmlDType::BF16 => Some(DType::BF16),
            _ => None,
        };
        if let Some(from) = dense {
            let layout = Layout::contiguous(elem_count);
            return cast_elements(self.device(), self.data.buffer.ptr(), from, &layout, dtype);
        }
        match types::row(self.dtype).dequantize {
            Some(kernel) if elem_count % self.dtype.block_size() == 0 => {
                self.launch_dequantize(kernel, elem_count, dtype)
            }
            _ => self.dequantize_on_host(elem_count, dtype),
        }
    }

    fn launch_dequantize(
        &self,
        kernel: Dequantize,
        elem_count: usize,
        dtype: DType,
    ) -> Result<RocmStorage> {
        let out = RocmStorage::uninit(self.device(), elem_count, dtype)?;
        if elem_count == 0 {
            return Ok(out);
        }
        let name = if dtype == DType::F16 {
            kernel.to_f16
        } else {
            kernel.to_f32
        };
        let launch = self.device().launch(&kernels::QUANTIZED, name, "", "")?;
        let launch = launch.arg(self.data.buffer.ptr()).arg(out.ptr_at(0));
        let launch = match kernel.count {
            CountArgument::None => launch,
            CountArgument::Blocks => launch.int("number of blocks", elem_count / 32)?,
            CountArgument::Elements => launch.int("number of elements", elem_count)?,
        };
        let groups = elem_count.div_ceil(kernel.elements) as u32;
        let launch = launch.geometry([groups, 1, 1], [kernel.threads as u32, 1, 1]);
        // SAFETY: the storage holds `elem_count` elements (checked by the caller) and the result as many.
        unsafe { launch.run() }?;
        Ok(out)
    }

    /// For types without a kernel, through the CPU's code.
    fn dequantize_on_host(&self, elem_count: usize, dtype: DType) -> Result<RocmStorage> {
        // Blocks hold 16-bit and 32-bit numbers: words of 64 bits align them all.
        let mut words = vec![0u64; self.data.len.div_ceil(8)];
        // SAFETY: the words are plain data and their bytes cover `len`.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), self.data.len)
        };
        self.data.buffer.copy_to_host(0, bytes)?;
        let floats = self
            .dtype
            .from_data(Cow::Borrowed(&*bytes))
            .dequantize(elem_count)?;
        let floats = self.device().storage_from_cpu_storage_owned(floats)?;
        match dtype {
            DType::F32 => Ok(floats),
            dtype => floats.to_dtype(&Layout::contiguous(elem_count), dtype),
        }
    }

    /// Rows `ids` of a matrix of `rows` × `hidden`, in f32. `ids` are u32 and contiguous.
    pub fn embedding(
        &self,
        rows: usize,
        hidden: usize,
        ids: &RocmStorage,
        ids_l: &Layout,
    ) -> Result<RocmStorage> {
        let op = "quantized-embedding";
        let ids_ptr = ids
            .expect_dtype(DType::U32, op)?
            .contiguous_ptr(ids_l, op)?;
        let expected = bytes_of(rows * hidden, self.dtype);
        if self.data.len != expected {
            crate::bail!(
                "{op}: {rows} rows of {hidden} are {expected} bytes, the storage holds {}",
                self.data.len
            )
        }
        let count = ids_l.shape().elem_count();
        let Some(kernel) = types::row(self.dtype).get_rows else {
            let matrix = self.dequantize(rows * hidden)?;
            return matrix.index_select(ids, &Layout::contiguous((rows, hidden)), ids_l, 0);
        };
        let out = RocmStorage::uninit(self.device(), count * hidden, DType::F32)?;
        if count * hidden == 0 {
            return Ok(out);
        }
        // HIP's smallest limit of a grid in y over all targets.
        const MOST_Y: usize = u16::MAX as usize;
        let groups = hidden.div_ceil(kernel.elements);
        if groups > MOST_Y && !kernel.strides {
            crate::bail!(
                "{op}: a row of {hidden} elements is longer than {}",
                MOST_Y * kernel.elements
            )
        }
        let row_bytes = bytes_of(hidden, self.dtype);
        let launch = self
            .device()
            .launch(&kernels::QUANTIZED, kernel.kernel, "", "")?;
        let launch = launch
            .arg(self.data.buffer.ptr())
            .arg(ids_ptr)
            .arg(out.ptr_at(0));
        let launch = launch.arg(hidden as i64).arg(row_bytes);
        let grid = [count as u32, groups.min(MOST_Y) as u32, 1];
        let launch = launch.geometry(grid, [kernel.threads as u32, 1, 1]);
        // SAFETY: the result holds a row for each id; ids beyond `rows` read outside, as on the other backends.
        unsafe { launch.run() }?;
        Ok(out)
    }

    /// Quantizes f32 elements on the same device. The work is the CPU's, as on CUDA.
    pub fn quantize(&mut self, src: &RocmStorage) -> Result<()> {
        let floats = src.expect_dtype(DType::F32, "quantize")?.to_cpu_storage()?;
        self.quantize_onto(&floats)
    }

    pub fn quantize_imatrix(
        &mut self,
        src: &RocmStorage,
        weights: &[f32],
        n_per_row: usize,
    ) -> Result<()> {
        let floats = src.expect_dtype(DType::F32, "quantize")?.to_cpu_storage()?;
        self.quantize_imatrix_onto(&floats, weights, n_per_row)
    }

    /// Quantizes f32 elements that lie on the CPU.
    pub fn quantize_onto(&mut self, src: &CpuStorage) -> Result<()> {
        let mut blocks = self.dtype.cpu_zeros(src.as_slice::<f32>()?.len());
        blocks.from_float(src.as_slice::<f32>()?);
        self.replace(QStorage::Cpu(blocks))
    }

    pub fn quantize_imatrix_onto(
        &mut self,
        src: &CpuStorage,
        weights: &[f32],
        n_per_row: usize,
    ) -> Result<()> {
        let mut blocks = self.dtype.cpu_zeros(src.as_slice::<f32>()?.len());
        blocks.from_float_imatrix(src.as_slice::<f32>()?, weights, n_per_row);
        self.replace(QStorage::Cpu(blocks))
    }

    fn replace(&mut self, blocks: QStorage) -> Result<()> {
        self.data = PaddedHipSlice::from_host(self.device(), &blocks.data()?, self.dtype)?;
        Ok(())
    }

    /// `x` times the transposed weights: `[.., k]` × `[n, k]` gives `[.., n]`, in the type of `x`.
    pub fn fwd(
        &self,
        shape: &Shape,
        x: &RocmStorage,
        layout: &Layout,
    ) -> Result<(RocmStorage, Shape)> {
        product::forward(self, shape, x, layout)
    }

    /// For each token and each of its experts: `x` times the transposed weights of that expert.
    ///
    /// `shape` is `[experts, n, k]`, `x` `[batch, experts per token or 1, k]` in f32, `ids` `[batch, experts per token]`
    /// in u32; the result is `[batch, experts per token, n]`.
    pub fn indexed_moe_forward(
        &self,
        shape: &Shape,
        x: &RocmStorage,
        x_l: &Layout,
        ids: &RocmStorage,
        ids_l: &Layout,
    ) -> Result<(RocmStorage, Shape)> {
        product::indexed_moe(self, shape, x, x_l, ids, ids_l)
    }
}

/// Quantized storage from blocks on the host.
pub fn load_quantized<T: GgmlType + Send + Sync + 'static>(
    device: &RocmDevice,
    blocks: &[T],
) -> Result<QStorage> {
    // SAFETY: blocks are plain data; the bytes are those of the slice.
    let bytes = unsafe {
        std::slice::from_raw_parts(blocks.as_ptr().cast::<u8>(), std::mem::size_of_val(blocks))
    };
    QRocmStorage::from_data(device, bytes, T::DTYPE).map(QStorage::Rocm)
}
