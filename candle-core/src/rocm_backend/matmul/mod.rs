//! Dense matrix products: own kernels (own.rs), or rocBLAS (blas.rs) where `CANDLE_ROCM_GEMM` asks for it (choice.rs).
use super::copy::Contiguous;
use super::kind::same_dtype;
use super::walk::merged_stride;
use super::RocmStorage;
use crate::backend::BackendStorage;
use crate::{DType, Layout, Result};
use candle_hip::DevicePtr;
use kernels::gemm::Strides;

use super::error::OrRocm;
use super::{kernels, RocmError};

mod blas;
mod choice;
mod own;

pub(super) use blas::Blas;
pub(crate) use own::{launch, plan};

/// `C[b, m, n] = A[b, m, k] × B[b, k, n]`, all in one type, C contiguous.
struct Product {
    dtype: DType,
    batches: usize,
    m: usize,
    n: usize,
    k: usize,
    a: (DevicePtr, Strides),
    b: (DevicePtr, Strides),
    c: DevicePtr,
}

/// `lhs[b, m, k]` × `rhs[b, k, n]`, contiguous. Any strides are taken as they are; only an operand whose batch
/// dimensions cannot be walked in equal steps is copied first.
pub(super) fn matmul(
    lhs: &RocmStorage,
    rhs: &RocmStorage,
    (batches, m, n, k): (usize, usize, usize, usize),
    lhs_l: &Layout,
    rhs_l: &Layout,
) -> Result<RocmStorage> {
    let (device, dtype) = (lhs.device(), lhs.dtype());
    same_dtype(dtype, rhs.dtype(), "matmul")?;
    if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16 | DType::F64) {
        let op = "matmul";
        return Err(RocmError::UnsupportedDType { dtype, op }).rocm();
    }
    let choice = choice::choice()?;
    let (a, b) = (Operand::of(lhs, lhs_l)?, Operand::of(rhs, rhs_l)?);
    let out = RocmStorage::uninit(device, batches * m * n, dtype)?;
    let product = Product {
        dtype,
        batches,
        m,
        n,
        k,
        a: (a.elements.ptr(), a.strides),
        b: (b.elements.ptr(), b.strides),
        c: out.ptr_at(0),
    };
    // SAFETY: the strides are those of the layouts, whose elements lie within their storages; C is `out`, contiguous.
    unsafe {
        if !blas::run(device, &product, choice)? {
            own::run(device, &product)?;
        }
    }
    Ok(out)
}

/// An operand: where its elements are, and how far apart.
struct Operand {
    elements: Contiguous,
    strides: Strides,
}

impl Operand {
    fn of(x: &RocmStorage, l: &Layout) -> Result<Self> {
        if let Some(strides) = strides(l) {
            let elements = Contiguous::InPlace(x.ptr(l));
            return Ok(Self { elements, strides });
        }
        let elements = Contiguous::of(x, l)?;
        let missing = || RocmError::from("a contiguous layout has one step".to_string());
        let strides = strides(&Layout::contiguous(l.shape()))
            .ok_or_else(missing)
            .rocm()?;
        Ok(Self { elements, strides })
    }
}

/// The strides of a batch of matrices whose batch dimensions are one step apart, or `None` when no single step leads
/// from each matrix to the next (a broadcast over an outer dimension, say).
fn strides(l: &Layout) -> Option<Strides> {
    let rank = l.dims().len();
    // A batch of one never takes the step.
    let batch = merged_stride(&l.dims()[..rank - 2], &l.stride()[..rank - 2])?;
    Some(Strides {
        row: l.stride()[rank - 2] as i64,
        column: l.stride()[rank - 1] as i64,
        batch: batch as i64,
    })
}
