//! Quantized tensors on AMD GPUs.
//!
//! [`QRocmStorage`] holds the blocks as they lie in a GGUF file, followed by zeros: kernels that walk a row in steps
//! of [`MATRIX_ROW_PADDING`] elements may read past the last row. `types.rs` says which kernel serves which type;
//! `product.rs` chooses among them for a matrix product, `together.rs` makes one launch of several, `experts.rs` runs mixtures
//! of experts, `quantize.rs` makes blocks. `lookup.rs` turns blocks into numbers. Bytes reach the device through the page-locked buffers of `staging.rs`.
use super::{GgmlDType, GgmlType, QStorage, QTensor};
use crate::rocm_backend::{RocmBuffer, Stretch};
use crate::{DType, Layout, Result, RocmDevice, RocmStorage, Shape};
use candle_hip::DevicePtr;
use std::sync::Arc;

mod crossover;
mod dense;
mod document;
mod experts;
mod large;
mod lookup;
mod own;
mod pairs;
mod product;
mod quantize;
mod staging;
mod tile;
mod together;
mod types;

pub use document::quantized_document;
pub use experts::{moe_gemm, moe_gemm_gguf, SortedTokens};
pub use product::{set_force_dmmv, set_product_kernels, ProductKernels};
use staging::Staging;
pub use staging::STAGING_BYTES;
pub use together::{products, products_in};

/// Elements by which rows are padded for the kernels.
pub const MATRIX_ROW_PADDING: usize = 512;

/// Blocks on the device with zeros behind them.
#[derive(Debug)]
struct PaddedHipSlice {
    /// Elements of dense types, bytes of quantized ones.
    storage: RocmStorage,
    /// Bytes of the blocks, without the padding.
    len: usize,
    /// What they came through, kept for the next tensor.
    staging: Arc<Staging>,
}

impl PaddedHipSlice {
    /// Room for `len` bytes of blocks; the padding is zero, the blocks are not written yet.
    fn uninit(device: &RocmDevice, len: usize, dtype: GgmlDType) -> Result<Self> {
        let padding = MATRIX_ROW_PADDING.div_ceil(dtype.block_size()) * dtype.type_size();
        let mut buffer = device.allocate(len + padding)?;
        buffer.fill_zero(len..len + padding)?;
        let elements = types::row(dtype).dense.unwrap_or(DType::U8);
        let storage = RocmStorage::new(buffer, elements);
        let staging = Staging::of(device);
        Ok(Self {
            storage,
            len,
            staging,
        })
    }

    /// `fill` is asked for the blocks' bytes a stretch at a time, in order.
    fn filled(
        device: &RocmDevice,
        len: usize,
        dtype: GgmlDType,
        fill: impl FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<Self> {
        let padded = Self::uninit(device, len, dtype)?;
        // SAFETY: the buffer holds `len` bytes; giving it back is ordered behind the copies.
        unsafe { padded.staging.upload(device, padded.ptr(), len, fill) }?;
        Ok(padded)
    }

    fn from_host(device: &RocmDevice, bytes: &[u8], dtype: GgmlDType) -> Result<Self> {
        let mut rest = bytes;
        Self::filled(device, bytes.len(), dtype, |stretch| {
            let (now, later) = rest.split_at(stretch.len());
            stretch.copy_from_slice(now);
            rest = later;
            Ok(())
        })
    }

    fn buffer(&self) -> &RocmBuffer {
        self.storage.buffer()
    }

    fn ptr(&self) -> DevicePtr {
        self.buffer().ptr()
    }
}

/// Activations in int8, as the products read them, made by a kernel along with the elements themselves.
#[derive(Debug)]
pub struct Int8Rows {
    buffer: RocmBuffer,
    rows: usize,
    k: usize,
}

impl Int8Rows {
    /// Room for the int8 form of `rows` rows of `k` elements, for a kernel to fill by the rules of candle-kernels'
    /// `quantized/activations.h`; nothing where no product reads it because rows are no whole segments.
    ///
    /// # Errors
    /// [`RocmError::OutOfMemory`](crate::RocmError::OutOfMemory).
    pub fn for_rows(device: &RocmDevice, rows: usize, k: usize) -> Result<Option<Self>> {
        if !k.is_multiple_of(own::SEGMENT) || rows * k == 0 {
            return Ok(None);
        }
        let buffer = own::Activations::room(device, rows, k)?;
        Ok(Some(Self { buffer, rows, k }))
    }

    /// Address of the first row; valid as long as this lives.
    pub fn ptr(&self) -> DevicePtr {
        self.buffer.ptr()
    }

    /// Leaves them with the storage that holds the elements, from element `start` on: products with these find them there
    /// until an element changes.
    pub fn keep(self, x: &mut RocmStorage, start: usize) {
        let stretch = Stretch {
            start,
            rows: self.rows,
            columns: self.k,
        };
        x.keep_form(stretch, self.buffer);
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

fn expect_whole_blocks(len: usize, dtype: GgmlDType) -> Result<()> {
    let size = dtype.type_size();
    if !len.is_multiple_of(size) {
        crate::bail!("{len} bytes are no whole number of {dtype:?} blocks of {size} bytes")
    }
    Ok(())
}

impl QRocmStorage {
    /// Room for `elem_count` elements in blocks of `dtype`, every byte 0.
    ///
    /// # Errors
    /// [`RocmError::OutOfMemory`](crate::RocmError::OutOfMemory).
    pub fn zeros(device: &RocmDevice, elem_count: usize, dtype: GgmlDType) -> Result<Self> {
        let len = bytes_of(elem_count, dtype);
        let mut data = PaddedHipSlice::uninit(device, len, dtype)?;
        data.storage.buffer_mut().fill_zero(0..len)?;
        Ok(Self { data, dtype })
    }

    /// Storage from blocks as a GGUF file holds them.
    ///
    /// # Errors
    /// A number of bytes that is no whole number of blocks; [`RocmError::OutOfMemory`](crate::RocmError::OutOfMemory).
    pub fn from_data(device: &RocmDevice, bytes: &[u8], dtype: GgmlDType) -> Result<Self> {
        expect_whole_blocks(bytes.len(), dtype)?;
        let data = PaddedHipSlice::from_host(device, bytes, dtype)?;
        Ok(Self { data, dtype })
    }

    /// Storage of `len` bytes of blocks read from `reader`, straight into page-locked memory: at most
    /// [`STAGING_BYTES`] of the tensor lie on the host at a time.
    ///
    /// # Errors
    /// A number of bytes that is no whole number of blocks; [`RocmError::OutOfMemory`](crate::RocmError::OutOfMemory);
    /// an error of the reader, such as an early end.
    pub fn from_reader(
        device: &RocmDevice,
        reader: &mut impl std::io::Read,
        len: usize,
        dtype: GgmlDType,
    ) -> Result<Self> {
        expect_whole_blocks(len, dtype)?;
        let data =
            PaddedHipSlice::filled(
                device,
                len,
                dtype,
                |stretch| Ok(reader.read_exact(stretch)?),
            )?;
        Ok(Self { data, dtype })
    }

    /// The type of the blocks.
    pub fn dtype(&self) -> GgmlDType {
        self.dtype
    }

    /// The GPU that they lie on.
    pub fn device(&self) -> &RocmDevice {
        self.data.buffer().device()
    }

    /// Address of the first block, for a kernel.
    fn ptr(&self) -> DevicePtr {
        self.data.ptr()
    }

    /// Bytes of the blocks, without the padding.
    pub fn storage_size_in_bytes(&self) -> usize {
        self.data.len
    }

    /// Address of the first block. It stays valid while this storage lives; work that reads it outside of candle has
    /// to be ordered with the device's stream.
    ///
    /// # Errors
    /// None; the signature is that of the other backends.
    pub fn device_ptr(&self) -> Result<*const u8> {
        Ok(self.data.buffer().ptr().as_raw() as *const u8)
    }

    /// The blocks, copied to the host.
    ///
    /// # Errors
    /// What the device reports when it is waited for.
    pub fn data(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.data.len];
        self.data.buffer().copy_to_host(0, &mut bytes)?;
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

    /// `x` times the transposed weights: `[.., k]` × `[n, k]` gives `[.., n]`, in the type of `x`.
    ///
    /// # Errors
    /// Shapes that do not fit, or a type of `x` that has no kernel.
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
    /// in u32; the result is `[batch, experts per token, n]`, in f32. Every type of weights is served by a kernel.
    ///
    /// # Errors
    /// Shapes and types that do not fit. An id that is no expert is an error of the next call that waits for the
    /// device.
    pub fn indexed_moe_forward(
        &self,
        shape: &Shape,
        x: &RocmStorage,
        x_l: &Layout,
        ids: &RocmStorage,
        ids_l: &Layout,
    ) -> Result<(RocmStorage, Shape)> {
        experts::indexed(self, shape, x, x_l, ids, ids_l)
    }
}

/// A tensor of a GGUF file, whose `len` bytes of blocks `reader` gives next. See [`QRocmStorage::from_reader`].
pub(crate) fn read_tensor(
    device: &RocmDevice,
    reader: &mut impl std::io::Read,
    dtype: GgmlDType,
    shape: &Shape,
    len: usize,
) -> Result<QTensor> {
    let storage = QRocmStorage::from_reader(device, reader, len, dtype)?;
    QTensor::new(QStorage::Rocm(storage), shape)
}

/// Quantized storage from blocks on the host.
///
/// # Errors
/// [`RocmError::OutOfMemory`](crate::RocmError::OutOfMemory).
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
