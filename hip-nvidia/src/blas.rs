//! The part of rocBLAS' C ABI that candle-hip calls, over cuBLAS. Both are column-major with the same meaning of
//! transposes, leading dimensions and strides, so only the numbers of enumerations change.

use crate::cuda::Handle;
use crate::library;
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

/// `rocblas_status`: those that this library gives.
pub const SUCCESS: u32 = 0;
pub const INVALID_HANDLE: u32 = 1;
pub const NOT_IMPLEMENTED: u32 = 2;
pub const INVALID_SIZE: u32 = 4;
pub const MEMORY_ERROR: u32 = 5;
pub const INTERNAL_ERROR: u32 = 6;
pub const INVALID_VALUE: u32 = 11;
pub const ARCH_MISMATCH: u32 = 15;

/// `CUBLAS_GEMM_DEFAULT`
const GEMM_DEFAULT: c_int = -1;

/// `cublasGemmStridedBatchedEx`: handle, operations, m, n, k, alpha, a, its type, lda, stride, b likewise, beta, c
/// likewise, batch, compute type, algorithm.
type Gemm = unsafe extern "C" fn(
    Handle,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    *const c_void,
    *const c_void,
    c_int,
    c_int,
    i64,
    *const c_void,
    c_int,
    c_int,
    i64,
    *const c_void,
    *mut c_void,
    c_int,
    c_int,
    i64,
    c_int,
    c_int,
    c_int,
) -> c_int;

/// The functions of cuBLAS that are used (cublas_api.h of CUDA 13.0); the library stays open.
struct Cublas {
    create: unsafe extern "C" fn(*mut Handle) -> c_int,
    destroy: unsafe extern "C" fn(Handle) -> c_int,
    set_stream: unsafe extern "C" fn(Handle, Handle) -> c_int,
    gemm: Gemm,
    _library: libloading::Library,
}

impl Cublas {
    fn open() -> Result<Cublas, String> {
        let names = ["libcublas.so.13", "libcublas.so.12", "libcublas.so"];
        let library = library::open("HIP_NVIDIA_CUBLAS", &names)?;
        let reason = |why: libloading::Error| why.to_string();
        // SAFETY: each symbol is used with the type that cublas_api.h declares for it, and the copied pointers are
        // kept together with the library.
        unsafe {
            Ok(Cublas {
                create: *library.get(b"cublasCreate_v2\0").map_err(reason)?,
                destroy: *library.get(b"cublasDestroy_v2\0").map_err(reason)?,
                set_stream: *library.get(b"cublasSetStream_v2\0").map_err(reason)?,
                gemm: *library
                    .get(b"cublasGemmStridedBatchedEx\0")
                    .map_err(reason)?,
                _library: library,
            })
        }
    }

    /// The process's cuBLAS. A `rocblas_status` has no text: what is missing goes to the standard error, once.
    fn get() -> Result<&'static Cublas, u32> {
        static CUBLAS: OnceLock<Option<Cublas>> = OnceLock::new();
        let opened = CUBLAS.get_or_init(|| {
            let report = |why: &String| {
                eprintln!(
                    "hip-nvidia: cuBLAS cannot be used: {why}. Install NVIDIA's cuBLAS, or set HIP_NVIDIA_CUBLAS to \
                     the library's path"
                );
            };
            Cublas::open().inspect_err(report).ok()
        });
        opened.as_ref().ok_or(NOT_IMPLEMENTED)
    }
}

/// `rocblas_status` for `cublasStatus_t`.
pub fn status(cublas: c_int) -> u32 {
    match cublas {
        0 => SUCCESS,
        1 => INVALID_HANDLE,   // NOT_INITIALIZED
        3 => MEMORY_ERROR,     // ALLOC_FAILED
        7 => INVALID_VALUE,    // INVALID_VALUE
        8 => ARCH_MISMATCH,    // ARCH_MISMATCH
        15 => NOT_IMPLEMENTED, // NOT_SUPPORTED
        _ => INTERNAL_ERROR,
    }
}

/// `cublasOperation_t` for `rocblas_operation`.
pub fn operation(rocblas: u32) -> Result<c_int, u32> {
    match rocblas {
        111 => Ok(0), // none
        112 => Ok(1), // transpose
        113 => Ok(2), // conjugate transpose
        _ => Err(INVALID_VALUE),
    }
}

/// `cudaDataType_t` for `rocblas_datatype`.
pub fn datatype(rocblas: u32) -> Result<c_int, u32> {
    match rocblas {
        150 => Ok(2),  // f16_r
        151 => Ok(0),  // f32_r
        152 => Ok(1),  // f64_r
        168 => Ok(14), // bf16_r
        _ => Err(NOT_IMPLEMENTED),
    }
}

/// `cublasComputeType_t` for the `rocblas_datatype` of the sums. F32 is full F32, never TF32.
pub fn compute_type(rocblas: u32) -> Result<c_int, u32> {
    match rocblas {
        150 => Ok(64), // COMPUTE_16F
        151 => Ok(68), // COMPUTE_32F
        152 => Ok(70), // COMPUTE_64F
        _ => Err(NOT_IMPLEMENTED),
    }
}

fn code(outcome: Result<c_int, u32>) -> u32 {
    outcome.map_or_else(|status| status, status)
}

/// A handle for this thread's device.
#[no_mangle]
pub unsafe extern "C" fn rocblas_create_handle(handle: *mut Handle) -> u32 {
    // SAFETY: valid or null by rocBLAS' contract; cuBLAS refuses null.
    code(Cublas::get().map(|cublas| unsafe { (cublas.create)(handle) }))
}

#[no_mangle]
pub unsafe extern "C" fn rocblas_destroy_handle(handle: Handle) -> u32 {
    // SAFETY: a live handle by rocBLAS' contract.
    code(Cublas::get().map(|cublas| unsafe { (cublas.destroy)(handle) }))
}

#[no_mangle]
pub unsafe extern "C" fn rocblas_set_stream(handle: Handle, stream: Handle) -> u32 {
    // SAFETY: live handles by rocBLAS' contract.
    code(Cublas::get().map(|cublas| unsafe { (cublas.set_stream)(handle, stream) }))
}

/// `d = alpha · op(a) · op(b) + beta · c`, in place only (`c` and `d` the same matrix), as cuBLAS has it.
#[no_mangle]
pub unsafe extern "C" fn rocblas_gemm_strided_batched_ex(
    handle: Handle,
    operation_a: u32,
    operation_b: u32,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: *const c_void,
    a: *const c_void,
    a_type: u32,
    lda: c_int,
    stride_a: i64,
    b: *const c_void,
    b_type: u32,
    ldb: c_int,
    stride_b: i64,
    beta: *const c_void,
    c: *const c_void,
    c_type: u32,
    ldc: c_int,
    stride_c: i64,
    d: *mut c_void,
    d_type: u32,
    ldd: c_int,
    stride_d: i64,
    batch: c_int,
    compute: u32,
    _algorithm: u32,
    _solution: i32,
    _flags: u32,
) -> u32 {
    let multiply = || {
        if (c, c_type, ldc, stride_c) != (d.cast_const(), d_type, ldd, stride_d) {
            return Err(NOT_IMPLEMENTED);
        }
        if [m, n, k, batch].iter().any(|size| *size < 0) {
            return Err(INVALID_SIZE);
        }
        let cublas = Cublas::get()?;
        // SAFETY: rocBLAS' contract is cuBLAS': a live handle, factors of the compute type in host memory, matrices with
        // all elements that sizes and strides reach.
        Ok(unsafe {
            (cublas.gemm)(
                handle,
                operation(operation_a)?,
                operation(operation_b)?,
                m,
                n,
                k,
                alpha,
                a,
                datatype(a_type)?,
                lda,
                stride_a,
                b,
                datatype(b_type)?,
                ldb,
                stride_b,
                beta,
                d,
                datatype(d_type)?,
                ldd,
                stride_d,
                batch,
                compute_type(compute)?,
                GEMM_DEFAULT,
            )
        })
    };
    code(multiply())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of the public headers: rocblas-types.h, library_types.h, cublas_api.h.
    #[test]
    fn enumerations_are_translated() {
        assert_eq!([111, 112, 113].map(operation), [Ok(0), Ok(1), Ok(2)]);
        assert_eq!(
            [150, 151, 152, 168].map(datatype),
            [Ok(2), Ok(0), Ok(1), Ok(14)]
        );
        assert_eq!([151, 152].map(compute_type), [Ok(68), Ok(70)]);
        assert_eq!(
            (operation(0), datatype(160)),
            (Err(INVALID_VALUE), Err(NOT_IMPLEMENTED))
        );
        assert_eq!(
            [0, 1, 3, 7, 8, 13, 14, 15].map(status),
            [0, 1, 5, 11, 15, 6, 6, 2]
        );
    }
}
