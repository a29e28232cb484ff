//! Products by rocBLAS, which is opened at run time and may be missing.
//!
//! rocBLAS is column-major: a row-major C is its transpose there, `C^T = B^T × A^T`.
use super::super::error::{OrRocm, RocmError};
use super::super::{kernels, RocmDevice};
use super::choice::Choice;
use super::Product;
use crate::{DType, Result};
use candle_hip::blas::{Datatype, Gemm, Handle, Matrix};
use candle_hip::DevicePtr;
use kernels::gemm::Strides;
use std::sync::{Mutex, PoisonError};

/// Multiplications from which `auto` asks rocBLAS; smaller products are bound by their launch.
const WORTHWHILE: usize = 1 << 20;
/// Rows up to which own kernels read each weight once, which no library does better.
const FEW_ROWS: usize = 8;

/// A device's rocBLAS, started by the first product that wants it.
#[derive(Debug, Default)]
pub(in super::super) struct Blas(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    NotTried,
    Ready(Handle),
    /// What `auto` found: not there, or it does not know the card.
    Unusable(candle_hip::Error),
}

/// Queues the product on rocBLAS if the choice and the product ask for it; false means that it did not.
///
/// # Safety
/// The operands' strides stay within live memory, and C has room for its elements.
pub(super) unsafe fn run(device: &RocmDevice, product: &Product, choice: Choice) -> Result<bool> {
    let Product {
        m, n, k, batches, ..
    } = *product;
    let large = m > FEW_ROWS && n > FEW_ROWS && m.saturating_mul(n).saturating_mul(k) >= WORTHWHILE;
    let wanted = match choice {
        Choice::Own => false,
        Choice::Rocblas => true,
        Choice::Auto => large,
    };
    // An empty sum is zero: own kernels write it.
    if !wanted || m * n * k * batches == 0 {
        return Ok(false);
    }
    let Some(gemm) = describe(product)? else {
        // Strides that rocBLAS does not express.
        return Ok(false);
    };
    let mut state = device
        .inner
        .blas
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let State::NotTried = *state {
        *state = match Handle::new(&device.inner.hip) {
            Ok(handle) => State::Ready(handle),
            Err(error) => State::Unusable(error),
        };
    }
    let outcome = match &*state {
        // SAFETY: the caller's promise; `describe` gave rocBLAS the same elements.
        State::Ready(handle) => unsafe { handle.gemm_strided_batched(&device.queue(), &gemm) },
        State::Unusable(error) => Err(error.clone()),
        State::NotTried => Ok(()),
    };
    match (outcome, choice) {
        (Ok(()), _) => Ok(true),
        (Err(error), Choice::Auto) => {
            // Not again for every product.
            *state = State::Unusable(error);
            Ok(false)
        }
        (Err(error), _) => Err(error).rocm(),
    }
}

/// The product in rocBLAS' terms, or `None` if an operand has neither contiguous rows nor contiguous columns.
fn describe(product: &Product) -> Result<Option<Gemm>> {
    let Product {
        m, n, k, batches, ..
    } = *product;
    let datatype = match product.dtype {
        DType::F16 => Datatype::F16,
        DType::BF16 => Datatype::Bf16,
        DType::F64 => Datatype::F64,
        _ => Datatype::F32,
    };
    let int = |what, value: usize| match i32::try_from(value) {
        Ok(value) => Ok(value),
        Err(_) => Err(RocmError::TooLarge {
            kernel: "rocblas_gemm_strided_batched_ex".into(),
            what,
            value,
            limit: i32::MAX as usize,
        })
        .rocm(),
    };
    let matrix = |ptr: DevicePtr, leading: usize, stride: i64| -> Result<Matrix> {
        Ok(Matrix {
            ptr,
            datatype,
            leading_dimension: int("leading dimension", leading)?,
            stride,
        })
    };
    let (Some(a), Some(b)) = (rows_of(product.a.1, m, k), rows_of(product.b.1, k, n)) else {
        return Ok(None);
    };
    Ok(Some(Gemm {
        m: int("columns", n)?,
        n: int("rows", m)?,
        k: int("length of the sums", k)?,
        // Row-major is the transpose already; column-major has to be transposed.
        transpose_a: !b.row_major,
        transpose_b: !a.row_major,
        a: matrix(product.b.0, b.leading, product.b.1.batch)?,
        b: matrix(product.a.0, a.leading, product.a.1.batch)?,
        d: matrix(product.c, n, (m * n) as i64)?,
        batch: int("batches", batches)?,
        compute: match datatype {
            Datatype::F64 => Datatype::F64,
            _ => Datatype::F32,
        },
        alpha: 1.0,
        beta: 0.0,
    }))
}

/// How a matrix lies in memory.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    row_major: bool,
    /// Elements from one row (or column) to the next.
    leading: usize,
}

/// The order of a matrix of `rows` × `columns`. With a single row or column that dimension's stride is of no matter.
fn rows_of(strides: Strides, rows: usize, columns: usize) -> Option<Order> {
    let line = |step: i64, next: i64, length: usize, count: usize| {
        let leading = if count == 1 {
            length
        } else {
            usize::try_from(next).ok()?
        };
        ((length == 1 || step == 1) && leading >= length).then_some(leading)
    };
    let order = |row_major, leading| Order { row_major, leading };
    line(strides.column, strides.row, columns, rows)
        .map(|leading| order(true, leading))
        .or_else(|| {
            line(strides.row, strides.column, rows, columns).map(|leading| order(false, leading))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_of_matrices() {
        let order = |row, column, rows, columns| {
            let batch = 0;
            rows_of(Strides { row, column, batch }, rows, columns).map(|o| (o.row_major, o.leading))
        };
        assert_eq!(order(5, 1, 3, 5), Some((true, 5)));
        assert_eq!(order(9, 1, 3, 5), Some((true, 9)));
        assert_eq!(order(1, 3, 3, 5), Some((false, 3)));
        assert_eq!(order(0, 1, 1, 5), Some((true, 5)));
        assert_eq!(order(7, 99, 3, 1), Some((true, 7)));
        // Every second element, or a row repeated: neither order.
        assert_eq!(order(10, 2, 3, 5), None);
        assert_eq!(order(0, 1, 3, 5), None);
    }
}
