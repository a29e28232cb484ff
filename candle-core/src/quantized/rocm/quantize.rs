//! Making blocks: on the device for the types whose kernel gives the CPU's very bits, else by the CPU's code.
use super::own::SEGMENT;
use super::{bytes_of, types, PaddedHipSlice, QRocmStorage};
use crate::backend::BackendStorage;
use crate::quantized::QStorage;
use crate::rocm_backend::{cast_elements, kernels, OrRocm};
use crate::{CpuStorage, DType, Layout, Result, RocmStorage};
use candle_hip::DevicePtr;

/// `BLOCK_THREADS` of quantize.hip: blocks that a workgroup makes.
const BLOCK_THREADS: u32 = 64;

impl QRocmStorage {
    /// Quantizes f32 elements on the same device. Q4_0 to Q8_1 and the dense types never leave it.
    ///
    /// # Errors
    /// Another type than f32, or another number of elements than the storage was made for: a view of a larger tensor
    /// has to be copied first.
    pub fn quantize(&mut self, src: &RocmStorage) -> Result<()> {
        let src = src.expect_dtype(DType::F32, "quantize")?;
        let count = src.buffer().len() / size_of::<f32>();
        if bytes_of(count, self.dtype) != self.data.len {
            crate::bail!(
                "quantize: {count} elements for a storage of {} bytes of {:?}; a view of a larger tensor has to be \
                 copied first",
                self.data.len,
                self.dtype
            )
        }
        let row = types::row(self.dtype);
        if let Some(dtype) = row.dense {
            let layout = Layout::contiguous(count);
            let values = cast_elements(self.device(), src.ptr_at(0), DType::F32, &layout, dtype)?;
            let stream = self.device().queue();
            let (to, from) = (self.ptr(), values.ptr_at(0));
            // SAFETY: both hold this many bytes, as compared above; the copy is ordered before their release.
            return unsafe { stream.copy_on_device(to, from, self.data.len) }.rocm();
        }
        match row.quantize {
            Some(kernel) if count.is_multiple_of(SEGMENT) => {
                self.quantize_on_device(kernel, src.ptr_at(0), count)
            }
            _ => self.quantize_onto(&src.to_cpu_storage()?),
        }
    }

    fn quantize_on_device(
        &mut self,
        kernel: &'static str,
        src: DevicePtr,
        count: usize,
    ) -> Result<()> {
        let blocks = count / SEGMENT;
        if blocks == 0 {
            return Ok(());
        }
        let launch = self.device().launch(&kernels::QUANTIZE, kernel, "", "")?;
        let launch = launch.arg(src).arg(self.ptr()).arg(blocks);
        let launch = launch
            .groups(blocks.div_ceil(BLOCK_THREADS as usize))?
            .block([BLOCK_THREADS, 1, 1]);
        // SAFETY: reads `blocks` × 32 floats, writes as many blocks; both sizes were compared by the caller.
        unsafe { launch.run() }
    }

    /// As [`Self::quantize`], by the importance of each of `n_per_row` columns. The work is the CPU's.
    ///
    /// # Errors
    /// Elements that are not f32; what the device reports.
    pub fn quantize_imatrix(
        &mut self,
        src: &RocmStorage,
        weights: &[f32],
        n_per_row: usize,
    ) -> Result<()> {
        let floats = src.expect_dtype(DType::F32, "quantize")?.to_cpu_storage()?;
        self.quantize_imatrix_onto(&floats, weights, n_per_row)
    }

    /// Quantizes f32 elements that lie on the CPU, there: the blocks are smaller than the elements on their way.
    ///
    /// # Errors
    /// Elements that are not f32; [`RocmError::OutOfMemory`](crate::RocmError::OutOfMemory).
    pub fn quantize_onto(&mut self, src: &CpuStorage) -> Result<()> {
        let mut blocks = self.dtype.cpu_zeros(src.as_slice::<f32>()?.len());
        blocks.from_float(src.as_slice::<f32>()?);
        self.replace(QStorage::Cpu(blocks))
    }

    /// As [`Self::quantize_onto`], by the importance of each of `n_per_row` columns.
    ///
    /// # Errors
    /// As [`Self::quantize_onto`].
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
}
