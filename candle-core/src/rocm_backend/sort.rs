//! Sorting along the last dimension.
use super::error::OrRocm;
use super::operations::{ARGSORT, ARGSORT_LONG};
use super::{kernels, RocmError, RocmStorage};
use crate::backend::BackendStorage;
use crate::{DType, Layout, Result};

/// Pairs that a workgroup sorts in LDS; `CHUNK` of candle-kernels' order.hip.
const CHUNK: usize = 2048;
const MOST_THREADS: usize = 256;
/// Rows that are sorted at a time, below HIP's limits on a grid.
const MOST_ROWS: usize = 1 << 20;
const MOST_LONG_ROWS: usize = 65_535;
/// Pairs in memory at a time when rows are long, unless a single row has more.
const MOST_PAIRS: usize = 1 << 25;

impl RocmStorage {
    /// Positions that sort each row of `columns` elements of a contiguous tensor, of type u32. Equal elements keep
    /// their order; NaN counts as the largest.
    pub(crate) fn argsort_last_dim(
        &self,
        l: &Layout,
        ascending: bool,
        columns: usize,
    ) -> Result<Self> {
        let dtype = self.dtype();
        ARGSORT.suffix_for(dtype)?;
        let count = l.shape().elem_count();
        let out = Self::uninit(self.device(), count, DType::U32)?;
        let start = match l.contiguous_offsets() {
            Some((start, _)) => start,
            None => return Err(crate::Error::RequiresContiguous { op: ARGSORT.name }.bt()),
        };
        if count == 0 {
            return Ok(out);
        }
        let padded = columns.next_power_of_two();
        if padded > 1 << 31 {
            let (kernel, what) = (ARGSORT.name.to_string(), "number of columns");
            let (value, limit) = (columns, 1 << 31);
            return Err(RocmError::TooLarge {
                kernel,
                what,
                value,
                limit,
            })
            .rocm();
        }
        let row = Row {
            columns,
            padded,
            descending: !ascending,
        };
        let rows = count / columns;
        let step = match padded <= CHUNK {
            true => MOST_ROWS,
            false => (MOST_PAIRS / padded).clamp(1, MOST_LONG_ROWS),
        };
        for first in (0..rows).step_by(step) {
            let rows = step.min(rows - first);
            let (x, to) = (start + first * columns, first * columns);
            match padded <= CHUNK {
                true => self.sort_short(x, &out, to, &row, rows)?,
                false => self.sort_long(x, &out, to, &row, rows)?,
            }
        }
        Ok(out)
    }

    /// Rows that fit into LDS, a workgroup each.
    fn sort_short(&self, x: usize, out: &Self, to: usize, row: &Row, rows: usize) -> Result<()> {
        let launch = ARGSORT.launch(self.device(), self.dtype())?;
        let launch = launch.arg(self.ptr_at(x)).arg(out.ptr_at(to));
        let launch = row.args(launch).groups(rows)?;
        let threads = (row.padded / 2).clamp(32, MOST_THREADS) as u32;
        let lds = row.padded * self.pair_bytes();
        // SAFETY: the rows lie within both tensors, and the LDS asked for holds a padded row of pairs.
        unsafe { launch.block([threads, 1, 1]).dynamic_lds(lds as u32).run() }
    }

    /// Longer rows: chunks sorted in LDS, then merged through memory.
    fn sort_long(&self, x: usize, out: &Self, to: usize, row: &Row, rows: usize) -> Result<()> {
        let (device, pair) = (self.device(), self.pair());
        let (padded, pairs) = (row.padded as u64, rows * row.padded);
        let memory = device.allocate(pairs * self.pair_bytes())?;
        let block = [MOST_THREADS as u32, 1, 1];
        let chunks = row.padded / CHUNK;

        let launch = ARGSORT_LONG.launch(device, self.dtype())?;
        let launch = launch.arg(self.ptr_at(x)).arg(memory.ptr());
        let grid = [chunks as u32, rows as u32, 1];
        // SAFETY: the kernel reads the rows, padding left out, and writes a chunk of pairs for each workgroup.
        unsafe { row.args(launch).geometry(grid, block).run() }?;

        let mut run = 2 * CHUNK;
        while run <= row.padded {
            let mut distance = run / 2;
            while distance >= CHUNK {
                let launch = device.launch(&kernels::ORDER, "order_step", pair, "")?;
                let launch = launch.arg(memory.ptr()).arg(pairs as u64);
                let launch = launch.arg(distance as u64).arg(run as u64).arg(padded);
                // SAFETY: pairs and their partners lie within `memory`; no two threads share one.
                unsafe { launch.over(pairs / 2).run() }?;
                distance /= 2;
            }
            let launch = device.launch(&kernels::ORDER, "order_merge", pair, "")?;
            let launch = launch.arg(memory.ptr()).arg(run as u64).arg(padded);
            // SAFETY: a chunk of `memory` for each workgroup.
            unsafe { launch.groups(pairs / CHUNK)?.block(block).run() }?;
            run *= 2;
        }

        let launch = device.launch(&kernels::ORDER, "order_end", pair, "")?;
        let launch = launch.arg(memory.ptr()).arg(out.ptr_at(to));
        let launch = launch.arg(row.columns as u32).arg(row.padded as u32);
        let groups = row.columns.div_ceil(MOST_THREADS) as u32;
        // SAFETY: reads the pairs of each row, writes its columns.
        unsafe { launch.geometry([groups, rows as u32, 1], block).run() }
    }

    /// The kernels' name for this type's pairs of key and column.
    fn pair(&self) -> &'static str {
        match self.dtype().size_in_bytes() {
            8 => "wide",
            _ => "narrow",
        }
    }

    fn pair_bytes(&self) -> usize {
        match self.dtype().size_in_bytes() {
            8 => 16,
            _ => 8,
        }
    }
}

/// How long rows are and which way they are sorted.
struct Row {
    columns: usize,
    /// The next power of two.
    padded: usize,
    descending: bool,
}

impl Row {
    fn args<'a>(&self, launch: super::Launch<'a>) -> super::Launch<'a> {
        launch
            .arg(self.columns as u32)
            .arg(self.padded as u32)
            .arg(u32::from(self.descending))
    }
}
