//! rocBLAS, optional and opened at run time like HIP itself.

mod sys;

use crate::device::Device;
use crate::drop_failures;
use crate::error::{Error, Result};
use crate::library::search::{self, Wanted};
use crate::memory::DevicePtr;
use crate::stream::Stream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use sys::Functions;

static ROCBLAS: Wanted = Wanted {
    title: "rocBLAS (librocblas)",
    variable: "CANDLE_ROCBLAS_LIBRARY",
    #[cfg(not(windows))]
    names: &[
        "librocblas.so",
        "librocblas.so.5",
        "librocblas.so.4",
        "librocblas.so.3",
        "librocblas.so.0",
    ],
    #[cfg(windows)]
    names: &["rocblas.dll"],
    install: "It is optional. To use it, install the package 'rocblas' of AMD's ROCm, or set \
              CANDLE_ROCBLAS_LIBRARY to the path of the library.",
};

/// The opened rocBLAS; it stays open until the process ends.
#[derive(Debug)]
pub struct Library {
    path: PathBuf,
    functions: Functions,
}

impl Library {
    /// The process's rocBLAS, opened by the first call; the search is that of
    /// [`Library::get`](crate::Library::get) with `CANDLE_ROCBLAS_LIBRARY`.
    ///
    /// # Errors
    /// When no rocBLAS can be opened: every place that was tried, with the reason. The outcome is kept, good or bad.
    pub fn get() -> Result<&'static Library> {
        static LIBRARY: OnceLock<Result<Library>> = OnceLock::new();
        LIBRARY
            .get_or_init(|| {
                let open = |path: &Path| Functions::load(path);
                let (path, functions) =
                    search::open(&ROCBLAS, |name| std::env::var_os(name), open)?;
                Ok(Library { path, functions })
            })
            .as_ref()
            .map_err(Error::clone)
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn check(
        &self,
        call: &'static str,
        status: u32,
        context: impl FnOnce() -> String,
    ) -> Result<()> {
        match status {
            sys::STATUS_SUCCESS => Ok(()),
            status => Err(Error::Blas {
                call,
                status,
                context: context(),
            }),
        }
    }
}

/// Element type of a matrix, or of the accumulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Datatype {
    /// `rocblas_datatype_f16_r`
    F16 = 150,
    /// `rocblas_datatype_f32_r`
    F32 = 151,
    /// `rocblas_datatype_f64_r`
    F64 = 152,
    /// `rocblas_datatype_bf16_r`
    Bf16 = 168,
}

/// A column-major matrix, or a batch of them.
#[derive(Debug, Clone, Copy)]
pub struct Matrix {
    /// The first element.
    pub ptr: DevicePtr,
    /// The elements' type.
    pub datatype: Datatype,
    /// Elements from one column to the next.
    pub leading_dimension: i32,
    /// Elements from one matrix of the batch to the next.
    pub stride: i64,
}

/// `d = alpha · op(a) · op(b) + beta · d` for each matrix of a batch; op(a) has m × k, op(b) k × n and d m × n elements.
#[derive(Debug, Clone, Copy)]
pub struct Gemm {
    /// Rows of d.
    pub m: i32,
    /// Columns of d.
    pub n: i32,
    /// Length of the sums.
    pub k: i32,
    /// Whether op(a) is a's transpose.
    pub transpose_a: bool,
    /// Whether op(b) is b's transpose.
    pub transpose_b: bool,
    /// The left factor.
    pub a: Matrix,
    /// The right factor.
    pub b: Matrix,
    /// The result.
    pub d: Matrix,
    /// Matrices in the batch.
    pub batch: i32,
    /// Type of the sums: F32, or F64 for F64 matrices.
    pub compute: Datatype,
    /// Factor of the product.
    pub alpha: f64,
    /// Factor of what stands in d.
    pub beta: f64,
}

/// rocBLAS' state for one device and one stream.
#[derive(Debug)]
pub struct Handle {
    library: &'static Library,
    device: Device,
    handle: sys::Handle,
}

// SAFETY: a handle may move between threads; it is `!Sync`, as rocBLAS asks for one user at a time.
unsafe impl Send for Handle {}

impl Handle {
    /// A handle for `device`.
    ///
    /// # Errors
    /// As [`Library::get`]; rocBLAS' status where it does not know the device.
    pub fn new(device: &Device) -> Result<Handle> {
        let library = Library::get()?;
        device.make_current()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the call writes one handle.
        let status = unsafe { (library.functions.create_handle)(&mut handle) };
        library.check("rocblas_create_handle", status, || {
            format!("starting rocBLAS on device {}", device.ordinal())
        })?;
        Ok(Handle {
            library,
            device: device.clone(),
            handle,
        })
    }

    /// Queues a product on `stream`, of the same device.
    ///
    /// # Errors
    /// A stream of another device; rocBLAS' status where it refuses the product.
    ///
    /// # Safety
    /// The three matrices lie in live memory of the device, with all elements that their dimensions and strides
    /// reach, and stay allocated until the stream has passed this point.
    pub unsafe fn gemm_strided_batched(&self, stream: &Stream, gemm: &Gemm) -> Result<()> {
        stream.expect_device(&self.device, "the rocBLAS handle")?;
        self.device.make_current()?;
        let operation = |transpose| {
            if transpose {
                sys::OPERATION_TRANSPOSE
            } else {
                sys::OPERATION_NONE
            }
        };
        // The factors have the type of the sums.
        let (single, double) = (
            [gemm.alpha as f32, gemm.beta as f32],
            [gemm.alpha, gemm.beta],
        );
        let [alpha, beta]: [*const std::ffi::c_void; 2] = match gemm.compute {
            Datatype::F32 => [
                std::ptr::from_ref(&single[0]).cast(),
                std::ptr::from_ref(&single[1]).cast(),
            ],
            Datatype::F64 => [
                std::ptr::from_ref(&double[0]).cast(),
                std::ptr::from_ref(&double[1]).cast(),
            ],
            other => {
                return Err(Error::InvalidArgument(format!(
                    "a matrix product cannot sum in {other:?}"
                )))
            }
        };
        let Gemm {
            m, n, k, a, b, d, ..
        } = *gemm;
        let context = || format!("multiplying {m}×{k} by {k}×{n}, {} times", gemm.batch);
        // SAFETY: handle and stream are live; the factors are read before the call returns (pointer mode
        // host, the default); the rest is the caller's promise.
        let status = unsafe { (self.library.functions.set_stream)(self.handle, stream.as_raw()) };
        self.library.check("rocblas_set_stream", status, context)?;
        // SAFETY: as above.
        let status = unsafe {
            (self.library.functions.gemm_strided_batched_ex)(
                self.handle,
                operation(gemm.transpose_a),
                operation(gemm.transpose_b),
                m,
                n,
                k,
                alpha,
                a.ptr.as_void(),
                a.datatype as u32,
                a.leading_dimension,
                a.stride,
                b.ptr.as_void(),
                b.datatype as u32,
                b.leading_dimension,
                b.stride,
                beta,
                d.ptr.as_void(),
                d.datatype as u32,
                d.leading_dimension,
                d.stride,
                d.ptr.as_void(),
                d.datatype as u32,
                d.leading_dimension,
                d.stride,
                gemm.batch,
                gemm.compute as u32,
                sys::ALGORITHM_STANDARD,
                0,
                0,
            )
        };
        self.library
            .check("rocblas_gemm_strided_batched_ex", status, context)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let release = || {
            self.device.make_current()?;
            // SAFETY: the handle is live and not used again.
            let status = unsafe { (self.library.functions.destroy_handle)(self.handle) };
            self.library
                .check("rocblas_destroy_handle", status, || "ending rocBLAS".into())
        };
        drop_failures::keep_drop_failure(release());
    }
}
