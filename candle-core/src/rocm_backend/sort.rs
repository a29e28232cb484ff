//! Sorting along the last dimension.
use super::{kernel_suffix, kernels, RocmError, RocmStorage};
use crate::backend::BackendStorage;
use crate::{DType, Layout, Result};

/// The kernel keeps a row's positions in LDS, 4 bytes each, padded to a power of two; every target has 64 KiB.
const MOST_COLUMNS: usize = 16 * 1024;
const MOST_THREADS: usize = 256;

impl RocmStorage {
    /// Positions that sort each row of `columns` elements of a contiguous tensor, of type u32.
    pub(crate) fn argsort_last_dim(
        &self,
        l: &Layout,
        ascending: bool,
        columns: usize,
    ) -> Result<Self> {
        let dtype = self.dtype();
        let count = l.shape().elem_count();
        let out = Self::uninit(self.device(), count, DType::U32)?;
        let x = self.contiguous_ptr(l, "argsort")?;
        if count == 0 {
            return Ok(out);
        }
        let name = if ascending { "asort_asc" } else { "asort_desc" };
        let padded = columns.next_power_of_two();
        if padded > MOST_COLUMNS {
            let (kernel, what) = (name.to_string(), "number of columns");
            return Err(RocmError::TooLarge {
                kernel,
                what,
                value: columns,
                limit: MOST_COLUMNS,
            }
            .into());
        }
        let launch =
            self.device()
                .launch(&kernels::SORT, name, kernel_suffix(dtype, "argsort")?, "")?;
        let launch = launch
            .arg(x)
            .arg(out.ptr_at(0))
            .arg(columns as i32)
            .arg(padded as i32);
        let threads = padded.min(MOST_THREADS) as u32;
        let launch = launch.groups(count / columns)?.block([threads, 1, 1]);
        // SAFETY: one workgroup a row; the LDS asked for holds the padded row's positions.
        unsafe { launch.dynamic_lds(padded as u32 * 4).run() }?;
        Ok(out)
    }
}
