//! ggml's own CUDA kernels for products with one to eight columns, launched as ggml launches them, on candle's CUDA
//! device and its weights.
//!
//! Nothing of ggml is here: whoever measures compiles mmvq.cu and quantize.cu of its sources and names the folder of the
//! two cubins (docs/benchmarks/README.md). What is needed to launch them (symbols, order of arguments, geometry, block
//! formats) is that of the llama.cpp within llama-cpp-python 0.3.36: ggml/src/ggml-cuda/mmvq.cu (`calc_nwarps`,
//! `calc_rows_per_block` for generic NVIDIA cards, `should_use_small_k`), quantize.cu (`quantize_row_q8_1_cuda`), common.cuh.

use crate::cases::quantized::Activations;
use crate::on_cuda::with_elements;
use anyhow::{Context, Result};
use candle_core::cuda::cudarc::driver::{result, sys, DevicePtr};
use candle_core::op::BackpropOp;
use candle_core::quantized::{GgmlDType, QMatMul};
use candle_core::{CudaDevice, CudaStorage, Storage, Tensor};
use std::ffi::{c_void, CString};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

type Call = Box<dyn Fn(usize) -> Result<Tensor>>;

/// Rows of activations are padded to this many elements.
const ROW_PADDING: usize = 512;
const QUANTIZE_THREADS: u32 = 256;
const WARP: u32 = 32;
pub const MOST_COLUMNS: usize = 8;

/// A type's number in ggml, and how many elements of a row a workgroup takes at a time where there is one column:
/// shorter rows have a kernel of their own there, and no lane here.
fn kernel(dtype: GgmlDType) -> Option<(u32, usize)> {
    Some(match dtype {
        GgmlDType::Q4_0 => (2, 2048),
        GgmlDType::Q4_1 => (3, 2048),
        GgmlDType::Q5_0 => (6, 2048),
        GgmlDType::Q5_1 => (7, 2048),
        GgmlDType::Q8_0 => (8, 1024),
        GgmlDType::Q2K => (10, 2048),
        GgmlDType::Q3K => (11, 2048),
        GgmlDType::Q4K => (12, 2048),
        GgmlDType::Q5K => (13, 2048),
        GgmlDType::Q6K => (14, 1024),
        _ => return None,
    })
}

/// Rows of a workgroup and its warps.
fn geometry(columns: usize) -> (usize, u32) {
    match columns {
        1 => (1, 4),
        2..=4 => (2, 4),
        _ => (2, 2),
    }
}

/// An argument that divides by one, as ggml prepares divisors: multiplier, shift, divisor.
const BY_ONE: [u32; 3] = [1, 0, 1];

/// What ggml passes for operations that a product's launch does as well (five pointers and two numbers, common.cuh): none.
/// Larger than what the kernel takes, so that nothing is read beyond it should another release take more.
const NOTHING_FUSED: [u64; 16] = [0; 16];

/// The two modules, loaded on a device for the rest of the process.
#[derive(Clone)]
pub struct Kernels {
    device: CudaDevice,
    products: sys::CUmodule,
    quantize: sys::CUfunction,
    /// A kernel may be set up while the one before it ends (programmatic stream serialization), as ggml has it from
    /// Hopper on.
    overlapped: bool,
}

impl Kernels {
    /// # Errors
    /// A file that is missing or no cubin for this card, a release of ggml with other kernels, or a card whose launches
    /// have another geometry.
    pub fn open(folder: &Path, device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream();
        let context = stream.context();
        let capability = context.compute_capability()?;
        anyhow::ensure!(
            capability >= (8, 0) && capability != (12, 1),
            "this card (compute capability {}.{}) has launches of its own in ggml, which the lane does not know",
            capability.0,
            capability.1
        );
        context.bind_to_thread()?;
        let products = load(&folder.join("mmvq.cubin"))?;
        let quantizers = load(&folder.join("quantize.cubin"))?;
        Ok(Self {
            device: device.clone(),
            products,
            quantize: function(quantizers, "_Z13quantize_q8_1PKfPvlllllj5uint3")?,
            overlapped: capability >= (9, 0),
        })
    }

    /// The same with each launch after the end of the one before, which is what all other lanes have and ggml with
    /// GGML_CUDA_PDL=0; `None` where these are like that already.
    pub fn serial(&self) -> Option<Self> {
        self.overlapped.then(|| Self {
            overlapped: false,
            ..self.clone()
        })
    }

    /// The product of `x` with each of `weights` in turn, or `None` where ggml has no such kernel. `alone` leaves the
    /// conversion of the activations out: they are converted once, here.
    pub fn product(
        self: &Rc<Self>,
        dtype: GgmlDType,
        weights: Arc<Vec<QMatMul>>,
        x: Activations,
        alone: bool,
    ) -> Result<Option<Call>> {
        let columns = x.columns();
        let (Some((number, least_k)), 1..=MOST_COLUMNS) = (kernel(dtype), columns) else {
            return Ok(None);
        };
        let pointers = self.pointers(&weights)?;
        let Some(QMatMul::QTensor(first)) = weights.first() else {
            return Ok(None);
        };
        let (n, k) = first.shape().dims2()?;
        let (rows, warps) = geometry(columns);
        if k < least_k || !n.is_multiple_of(rows) {
            return Ok(None);
        }
        let symbol = format!(
            "_Z13mul_mat_vec_qIL9ggml_type{number}ELi{columns}ELb0ELb0ELb0EEvPKvS2_PKi31ggml_cuda_mm_fusion_args_device\
             Pfj5uint3jjjS7_jjjS7_jjjj"
        );
        let k_padded = k.next_multiple_of(ROW_PADDING);
        let block = GgmlDType::Q8_1;
        let bytes = columns * k_padded / block.block_size() * block.type_size();
        let stream = self.device.cuda_stream();
        // ggml takes both from a pool: a launch allocates nothing.
        let quantized = self.device.alloc_zeros::<u8>(bytes)?;
        let out = self.device.alloc_zeros::<f32>(n * columns)?;
        let product = Product {
            function: function(self.products, &symbol)?,
            quantized: quantized.device_ptr(&stream).0,
            out: out.device_ptr(&stream).0,
            n,
            k,
            row_blocks: k / dtype.block_size(),
            activation_blocks: k_padded / block.block_size(),
            grid: (n / rows) as u32,
            warps,
        };
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(out, self.device.clone()));
        let out = Tensor::from_storage(storage, (columns, n), BackpropOp::none(), false);
        let kernels = self.clone();
        if alone {
            kernels.quantize(x.first(), quantized.device_ptr(&stream).0, k_padded)?;
        }
        Ok(Some(Box::new(move |i| {
            // The pointers are of these, which live as long as the call.
            let (_weights, quantized) = (&weights, &quantized);
            if !alone {
                kernels.quantize(x.next(), quantized.device_ptr(&stream).0, k_padded)?;
            }
            kernels.multiply(&product, pointers[i % pointers.len()])?;
            Ok(out.clone())
        })))
    }

    fn pointers(&self, weights: &[QMatMul]) -> Result<Vec<sys::CUdeviceptr>> {
        let stream = self.device.cuda_stream();
        let pointer = |weights: &QMatMul| {
            let QMatMul::QTensor(weights) = weights else {
                anyhow::bail!("these weights are not quantized")
            };
            let (pointer, _guard) = weights.device_ptr_with_guard(&stream)?;
            Ok(pointer as sys::CUdeviceptr)
        };
        weights.iter().map(pointer).collect()
    }

    fn multiply(&self, p: &Product, weights: sys::CUdeviceptr) -> Result<()> {
        let ids = 0u64;
        let [k, n, row_blocks, activation_blocks] =
            [p.k, p.n, p.row_blocks, p.activation_blocks].map(|v| v as u32);
        // One channel of one sample: what lies between two of them is not used.
        let none = 0u32;
        let mut args = [
            argument(&weights),
            argument(&p.quantized),
            argument(&ids),
            argument(&NOTHING_FUSED),
            argument(&p.out),
            argument(&k),
            argument(&BY_ONE),
            argument(&row_blocks),
            argument(&activation_blocks),
            argument(&n),
            argument(&BY_ONE),
            argument(&none),
            argument(&none),
            argument(&none),
            argument(&BY_ONE),
            argument(&none),
            argument(&none),
            argument(&none),
            argument(&none),
        ];
        // SAFETY: the kernel's arguments in its order, each at least as large as it takes; n is a multiple of a workgroup's
        // rows, the buffers have the sizes that n, k and the columns of the kernel's name ask for, and outlive the call.
        unsafe { self.launch(p.function, (p.grid, 1), (WARP, p.warps), &mut args) }
            .context("ggml's product")
    }

    /// `x` as Q8_1 blocks.
    fn quantize(&self, x: &Tensor, into: sys::CUdeviceptr, k_padded: usize) -> Result<()> {
        let (columns, k) = x.dims2()?;
        let stream = self.device.cuda_stream();
        let (stride, all, padded) = (k as i64, (k * columns) as i64, k_padded as i64);
        let rows = columns as u32;
        let grid = ((k_padded as u32).div_ceil(QUANTIZE_THREADS), rows);
        with_elements(x, |values| {
            let (values, _guard) = values.device_ptr(&stream);
            let mut args = [
                argument(&values),
                argument(&into),
                argument(&stride),
                argument(&stride),
                argument(&all),
                argument(&all),
                argument(&padded),
                argument(&rows),
                argument(&BY_ONE),
            ];
            // SAFETY: as above; reads `columns` rows of k, which lie side by side, and writes the padded rows' blocks.
            unsafe { self.launch(self.quantize, grid, (QUANTIZE_THREADS, 1), &mut args) }
                .context("ggml's quantize_q8_1")
        })
    }

    /// # Safety
    /// Arguments and geometry are those of the function, and its buffers are there until it has run.
    unsafe fn launch(
        &self,
        function: sys::CUfunction,
        grid: (u32, u32),
        block: (u32, u32),
        args: &mut [*mut c_void],
    ) -> Result<()> {
        let stream = self.device.cuda_stream();
        stream.context().bind_to_thread()?;
        let mut value = sys::CUlaunchAttributeValue { pad: [0; 64] };
        value.programmaticStreamSerializationAllowed = 1;
        let mut attribute = sys::CUlaunchAttribute {
            id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value,
        };
        let config = sys::CUlaunchConfig {
            gridDimX: grid.0,
            gridDimY: grid.1,
            gridDimZ: 1,
            blockDimX: block.0,
            blockDimY: block.1,
            blockDimZ: 1,
            sharedMemBytes: 0,
            hStream: stream.cu_stream(),
            attrs: &mut attribute,
            numAttrs: self.overlapped.into(),
        };
        // SAFETY: as the caller promises; config and arguments are read before the call returns.
        let status = unsafe {
            sys::cuLaunchKernelEx(&config, function, args.as_mut_ptr(), std::ptr::null_mut())
        };
        Ok(status.result()?)
    }
}

/// A product's launch, but for the weights.
struct Product {
    function: sys::CUfunction,
    quantized: sys::CUdeviceptr,
    out: sys::CUdeviceptr,
    n: usize,
    k: usize,
    /// Blocks of a row of weights, and of a padded one of activations.
    row_blocks: usize,
    activation_blocks: usize,
    grid: u32,
    warps: u32,
}

fn argument<T>(value: &T) -> *mut c_void {
    std::ptr::from_ref(value).cast_mut().cast()
}

/// A module in the current context.
fn load(path: &Path) -> Result<sys::CUmodule> {
    let image = std::fs::read(path).with_context(|| {
        format!(
            "reading {} (docs/benchmarks/README.md says how to make it)",
            path.display()
        )
    })?;
    anyhow::ensure!(
        image.starts_with(b"\x7fELF"),
        "{} is no cubin",
        path.display()
    );
    // SAFETY: an ELF image, whose size its own headers tell; it is copied.
    unsafe { result::module::load_data(image.as_ptr().cast()) }.with_context(|| {
        format!(
            "loading {}: was it compiled for this card's architecture?",
            path.display()
        )
    })
}

fn function(module: sys::CUmodule, symbol: &str) -> Result<sys::CUfunction> {
    // SAFETY: modules are never unloaded.
    unsafe { result::module::get_function(module, CString::new(symbol)?) }
        .with_context(|| format!("no {symbol} there: is it another release of ggml?"))
}
