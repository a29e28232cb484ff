//! The four functions of rocBLAS' C interface that are used, declared by hand from AMD's reference
//! ("rocBLAS API Reference", rocm.docs.amd.com): Debian 12 packages no header to generate them from.

use crate::library::search;
use std::ffi::{c_int, c_void};
use std::path::Path;

/// `rocblas_handle`
pub(super) type Handle = *mut c_void;

/// `rocblas_status_success`
pub(super) const STATUS_SUCCESS: u32 = 0;
/// `rocblas_operation_none`
pub(super) const OPERATION_NONE: u32 = 111;
/// `rocblas_operation_transpose`
pub(super) const OPERATION_TRANSPOSE: u32 = 112;
/// `rocblas_gemm_algo_standard`
pub(super) const ALGORITHM_STANDARD: u32 = 0;

/// `rocblas_gemm_strided_batched_ex`: handle, transA, transB, m, n, k, alpha, a, a_type, lda, stride_a, b, b_type, ldb,
/// stride_b, beta, c, c_type, ldc, stride_c, d, d_type, ldd, stride_d, batch_count, compute_type, algo,
/// solution_index, flags.
type GemmStridedBatchedEx = unsafe extern "C" fn(
    Handle,
    u32,
    u32,
    c_int,
    c_int,
    c_int,
    *const c_void,
    *const c_void,
    u32,
    c_int,
    i64,
    *const c_void,
    u32,
    c_int,
    i64,
    *const c_void,
    *const c_void,
    u32,
    c_int,
    i64,
    *mut c_void,
    u32,
    c_int,
    i64,
    c_int,
    u32,
    u32,
    i32,
    u32,
) -> u32;

/// The resolved functions; the library stays open with them.
#[derive(Debug)]
pub(super) struct Functions {
    _library: libloading::Library,
    pub create_handle: unsafe extern "C" fn(*mut Handle) -> u32,
    pub destroy_handle: unsafe extern "C" fn(Handle) -> u32,
    pub set_stream: unsafe extern "C" fn(Handle, *mut c_void) -> u32,
    pub gemm_strided_batched_ex: GemmStridedBatchedEx,
}

impl Functions {
    /// Opens the library and resolves every function, or says which is missing.
    ///
    /// # Errors
    /// The reason why the library cannot be opened, or the function that it lacks.
    pub fn load(path: &Path) -> Result<Functions, String> {
        let library = search::load(path)?;
        // SAFETY: each symbol is used with the type that AMD's reference gives for that name, and the
        // copied pointers are kept together with the library.
        unsafe {
            Ok(Functions {
                create_handle: *library
                    .get(b"rocblas_create_handle\0")
                    .map_err(search::reason)?,
                destroy_handle: *library
                    .get(b"rocblas_destroy_handle\0")
                    .map_err(search::reason)?,
                set_stream: *library
                    .get(b"rocblas_set_stream\0")
                    .map_err(search::reason)?,
                gemm_strided_batched_ex: *library
                    .get(b"rocblas_gemm_strided_batched_ex\0")
                    .map_err(search::reason)?,
                _library: library,
            })
        }
    }
}
