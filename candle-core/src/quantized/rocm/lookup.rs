//! Dequantization and rows by index: the CPU's values, bit for bit (candle-kernels/src/hip/quantized/lookup.hip).
use super::own::float_type;
use super::{bytes_of, types, QRocmStorage};
use crate::backend::BackendStorage;
use crate::rocm_backend::{cast_elements, kernels, FaultyOp};
use crate::{DType, Layout, Result, RocmStorage};
use candle_hip::DevicePtr;

/// Work-items of a workgroup: `WARPS` of lookup.hip, of 32 lanes each.
const THREADS: u32 = 256;
/// Elements that a workgroup writes at a time, or in two (`LANE_GROUPS` of lookup.hip).
const ELEMENTS_OF_GROUP: usize = 64 * THREADS as usize;
/// The kernels stride over the grid: more workgroups than any GPU holds gain nothing.
const MOST_GROUPS: usize = 1 << 16;

/// Which rows of the weights a kernel writes.
struct Rows {
    /// u32 on the device; null: all of them, in order.
    ids: DevicePtr,
    /// Rows of the result.
    count: usize,
    /// Rows of the weights.
    of: usize,
    /// Elements of a row, whole blocks.
    len: usize,
}

impl QRocmStorage {
    /// The first `elem_count` elements in f32.
    ///
    /// # Errors
    /// More elements than the storage holds, or a part of a block.
    pub fn dequantize(&self, elem_count: usize) -> Result<RocmStorage> {
        self.dequantize_to(elem_count, DType::F32)
    }

    /// As [`Self::dequantize`]; the values are rounded to f16.
    ///
    /// # Errors
    /// As [`Self::dequantize`].
    pub fn dequantize_f16(&self, elem_count: usize) -> Result<RocmStorage> {
        self.dequantize_to(elem_count, DType::F16)
    }

    pub(super) fn dequantize_to(&self, elem_count: usize, dtype: DType) -> Result<RocmStorage> {
        self.expect_elements(elem_count, "dequantize")?;
        if let Some(from) = types::row(self.dtype).dense {
            let layout = Layout::contiguous(elem_count);
            return cast_elements(self.device(), self.ptr(), from, &layout, dtype);
        }
        let all = Rows {
            ids: DevicePtr::NULL,
            count: 1,
            of: 1,
            len: elem_count,
        };
        self.lookup(&all, dtype, "dequantize")
    }

    /// Rows `ids` of a matrix of `rows` × `hidden`, in f32. `ids` are u32 and contiguous.
    ///
    /// # Errors
    /// Sizes that do not fit. An id beyond the last row is an error of the next call that waits for the device.
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
        if types::row(self.dtype).dense.is_some() {
            let matrix = Layout::contiguous((rows, hidden));
            let ids_l = Layout::contiguous_with_offset(count, ids_l.start_offset());
            let picked = self.data.storage.index_select(ids, &matrix, &ids_l, 0)?;
            return picked.to_dtype(&Layout::contiguous(count * hidden), DType::F32);
        }
        let picked = Rows {
            ids: ids_ptr,
            count,
            of: rows,
            len: hidden,
        };
        self.lookup(&picked, DType::F32, op)
    }

    fn lookup(&self, rows: &Rows, dtype: DType, op: &'static str) -> Result<RocmStorage> {
        let Some(name) = types::row(self.dtype).own else {
            crate::bail!("{op}: {:?} has no kernel", self.dtype)
        };
        if !rows.len.is_multiple_of(self.dtype.block_size()) {
            crate::bail!(
                "{op}: {} elements are no whole number of {:?} blocks of {}",
                rows.len,
                self.dtype,
                self.dtype.block_size()
            )
        }
        let out = RocmStorage::uninit(self.device(), rows.count * rows.len, dtype)?;
        let row_blocks = rows.len / self.dtype.block_size();
        let blocks = rows.count * row_blocks;
        if blocks == 0 {
            return Ok(out);
        }
        let launch = self
            .device()
            .launch(&kernels::QUANTIZED_LOOKUP, "lookup", name, "")?;
        let launch = launch
            .arg(self.ptr())
            .arg(rows.ids)
            .arg(out.ptr_at(0))
            .arg(row_blocks)
            .arg(blocks);
        let launch = launch
            .int("rows", rows.of)?
            .arg(self.device().fault_report(FaultyOp::Embedding)?)
            .arg(float_type(dtype)?);
        let groups = (rows.count * rows.len).div_ceil(ELEMENTS_OF_GROUP);
        let groups = groups.min(MOST_GROUPS);
        // SAFETY: the storage holds `of` rows, checked by the callers; ids are checked by the kernel; the result holds
        // every block that is written.
        unsafe { launch.groups(groups)?.block([THREADS, 1, 1]).run() }?;
        Ok(out)
    }
}
