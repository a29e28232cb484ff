//! Candle's `mmq_gguf` kernels, translated with their branches for AMD's matrix cores, against f64 and against ours.
//!
//! Nothing of candle runs them on rocm and the build does not compile them: this test does, with
//! scripts/compile_hip_kernels.sh, which takes half a minute of CPU for each type and target the first time. Hence:
//!
//!     cargo test -p candle-core --features rocm --test rocm_quantized_mmq -- --ignored
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::rocm_backend::hip::{KernelArgs, Launch};
use candle_core::rocm_backend::RocmBuffer;
use candle_core::{Device, Module, Result, RocmDevice, Tensor};
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::path::PathBuf;
use std::process::Command;

/// A type as mmq_gguf knows it.
struct Type {
    dtype: GgmlDType,
    /// Of the module, `mmq_instance_<name>`.
    name: &'static str,
    /// Its number in ggml.
    number: u32,
    /// The layout of scales and sums of its activations: 0 is four f32 scales, 1 four pairs of a scale and a sum in f16.
    layout: u32,
}

const TYPES: [Type; 4] = [
    Type {
        dtype: GgmlDType::Q4_0,
        name: "q4_0",
        number: 2,
        layout: 1,
    },
    Type {
        dtype: GgmlDType::Q8_0,
        name: "q8_0",
        number: 8,
        layout: 0,
    },
    Type {
        dtype: GgmlDType::Q4K,
        name: "q4_k",
        number: 12,
        layout: 1,
    },
    Type {
        dtype: GgmlDType::Q6K,
        name: "q6_k",
        number: 14,
        layout: 0,
    },
];

/// Rows of the weights of a tile, for every AMD target but RDNA 1.
const TILE_ROWS: usize = 128;
/// Words of a line of such a tile in the LDS; the four types agree.
const LINE_WORDS: usize = 76;
/// Activations of a block, and its bytes: 16 of scales, 128 of integers.
const BLOCK: usize = 128;
const BLOCK_BYTES: usize = 144;
/// Elements by which the quantizer pads a row; also those that a workgroup of it makes.
const PADDING: usize = 512;
const WAVES: usize = 8;

/// Compiles the modules for the device's target; gives the folder that they lie in.
fn compile(target: &str) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let modules: Vec<String> = TYPES
        .iter()
        .map(|t| format!("mmq_instance_{}", t.name))
        .collect();
    let folder = std::env::temp_dir().join(format!("candle-mmq-{}", std::process::id()));
    let output = Command::new(format!("{root}/scripts/compile_hip_kernels.sh"))
        .args(["--arch", target, "--module"])
        .arg(format!("mmq_quantize,{}", modules.join(",")))
        .arg("--out")
        .arg(&folder)
        .output()
        .expect("scripts/compile_hip_kernels.sh can be started");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    folder
}

/// A kernel of one of the modules.
struct Kernel<'a> {
    device: &'a RocmDevice,
    folder: &'a std::path::Path,
    module: String,
    /// The mangled name: the kernels are templates without a C name.
    symbol: String,
}

impl Kernel<'_> {
    fn run(&self, grid: [u32; 3], block: [u32; 3], lds: usize, args: &KernelArgs) -> Result<()> {
        let target = &self.device.properties().target;
        let path = self.folder.join(format!("{}-{target}.co", self.module));
        let module = self.device.load_module(std::fs::read(path)?)?;
        let function = module.function(&self.symbol);
        let function = function.map_err(candle_core::Error::wrap)?;
        let launch = Launch::new(grid, block).with_lds(lds as u32);
        // SAFETY: the arguments are those of the kernel, in its order; on the emulator an access outside of the memory
        // they name is an error.
        unsafe { function.launch(&launch, self.device.stream(), args) }
            .map_err(candle_core::Error::wrap)?;
        self.device
            .stream()
            .synchronize()
            .map_err(candle_core::Error::wrap)
    }
}

struct Product {
    rows: usize,
    n: usize,
    k: usize,
}

/// The product by mmq_gguf of f32 activations at `x`; weights with a whole number of tiles and of 256 elements a row.
fn mmq(
    device: &RocmDevice,
    folder: &std::path::Path,
    t: &Type,
    p: &Product,
    weights: &QTensor,
    x: &RocmBuffer,
) -> Result<Vec<f32>> {
    let padded = p.k.next_multiple_of(PADDING);
    // A tile of activations is read whole: as many blocks more as it has at most.
    let blocks = padded / BLOCK * p.rows + TILE_ROWS;
    let activations = device.allocate_zeroed(blocks * BLOCK_BYTES)?;
    let quantize = Kernel {
        device,
        folder,
        module: "mmq_quantize".into(),
        symbol: format!(
            "_ZL17quantize_mmq_q8_1IL18mmq_q8_1_ds_layout{}EEvPKfPKiPvlllllii",
            t.layout
        ),
    };
    let mut args = KernelArgs::new();
    args.push(x.ptr()).push(0u64).push(activations.ptr());
    for size in [p.k, p.k, p.k * p.rows, p.k * p.rows, padded] {
        args.push(size as i64);
    }
    args.push(p.rows as i32).push(1i32);
    let grid = [p.rows as u32, (padded / PADDING) as u32, 1];
    quantize.run(grid, [128, 1, 1], 0, &args)?;

    // Multiples of 16 up to 64 have an instance.
    let columns = p.rows.next_multiple_of(16).min(64);
    let out = device.allocate(p.rows * p.n * size_of::<f32>())?;
    let product = Kernel {
        device,
        folder,
        module: format!("mmq_instance_{}", t.name),
        symbol: format!(
            "_ZL9mul_mat_qIL9ggml_type{}ELi{columns}ELb0EEvPKcPKiS4_S4_PfS5_iiiiiiiiiiiiiiiii",
            t.number
        ),
    };
    let mut args = KernelArgs::new();
    args.push(weights.device_ptr()? as u64)
        .push(activations.ptr());
    args.push(0u64).push(0u64).push(out.ptr()).push(0u64);
    let blocks_of_a_row = p.k / t.dtype.block_size();
    for size in [p.k, p.n, p.rows, blocks_of_a_row, p.rows, p.n] {
        args.push(size as i32);
    }
    // One channel and one sample: ratio, count, three strides of each; then the most columns.
    for number in [1, 1, 0, 0, 0, 1, 1, 0, 0, 0, p.rows as i32] {
        args.push(number);
    }
    let wave = device.properties().wave_size as usize;
    let of_columns = (columns * BLOCK_BYTES).next_multiple_of(WAVES * wave * 4);
    let lds = columns * 4 + TILE_ROWS * LINE_WORDS * 4 + of_columns;
    let grid = [(p.n / TILE_ROWS) as u32, p.rows.div_ceil(columns) as u32, 1];
    product.run(grid, [wave as u32, WAVES as u32, 1], lds, &args)?;

    let mut bytes = vec![0u8; p.rows * p.n * size_of::<f32>()];
    out.copy_to_host(0, &mut bytes)?;
    let floats = bytes.chunks_exact(4);
    Ok(floats
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect())
}

fn random(count: usize, scale: f32, seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count)
        .map(|_| scale * rng.random_range(-1f32..1f32))
        .collect()
}

/// The product of two rows in f64 and how far a kernel may be from it. Each activation is off by half a step of its
/// block's largest / 127. `per_block` of the largest weight times the largest activation, 32 times a block, covers f32
/// sums (2^-22) or scales and sums in f16 (2^-10), as in rocm_quantized_products.rs.
fn reference(w: &[f32], x: &[f32], per_block: f64) -> (f64, f64) {
    let (mut sum, mut bound) = (0f64, 0f64);
    for (w, x) in w.chunks(32).zip(x.chunks(32)) {
        let largest = |v: &[f32]| v.iter().fold(0f64, |m, v| m.max(v.abs() as f64));
        let (w_most, x_most) = (largest(w), largest(x));
        for (w, x) in w.iter().zip(x) {
            sum += *w as f64 * *x as f64;
            bound += (w.abs() as f64 / 254. + w_most * per_block) * x_most;
        }
    }
    (sum, bound)
}

#[test]
#[ignore = "compiles modules that the build leaves out: minutes the first time; run it with --ignored"]
fn mmq_gguf_gives_what_our_tiles_give() -> Result<()> {
    // Before the runtime is opened. In the tiles of Q6K, as in `mul_mat_q6_K`, several waves store the same scales to the
    // same place of the LDS without order: the emulator would report a race. Everything else stays checked.
    std::env::set_var(
        "HIP_EMULATOR_CHECK",
        "lds-uninitialised,global-uninitialised",
    );
    let device = Device::new_rocm(0)?;
    let rocm = device.as_rocm_device()?;
    let folder = compile(&rocm.properties().target);
    for t in &TYPES {
        for (rows, n, k) in [(9, 128, 512), (33, 256, 256), (130, 128, 768)] {
            let tensor = Tensor::from_vec(random(n * k, 1., 1), (n, k), &Device::Cpu)?;
            let quantized = QTensor::quantize(&tensor, t.dtype)?;
            let w = quantized.dequantize(&Device::Cpu)?.flatten_all()?;
            let w = w.to_vec1::<f32>()?;
            let storage = QStorage::from_data(quantized.data()?, &device, t.dtype)?;
            let weights = QTensor::new(storage, (n, k))?;
            let x = random(rows * k, 3., 2);
            let bytes: Vec<u8> = x.iter().flat_map(|v| v.to_le_bytes()).collect();
            let there = rocm.upload(&bytes)?;
            let by_mmq = mmq(rocm, &folder, t, &Product { rows, n, k }, &weights, &there)?;
            let ours = QMatMul::QTensor(weights.into());
            let ours = ours.forward(&Tensor::from_slice(&x, (rows, k), &device)?)?;
            let ours = ours.flatten_all()?.to_vec1::<f32>()?;
            for (row, x) in x.chunks(k).enumerate() {
                for (column, w) in w.chunks(k).enumerate() {
                    let at = row * n + column;
                    let what =
                        format!("{:?} [{rows}, {k}] x [{n}, {k}] [{row}, {column}]", t.dtype);
                    let mut bounds = 0.;
                    for (found, per_block) in [(by_mmq[at], -10), (ours[at], -22)] {
                        let (expected, bound) = reference(w, x, 2f64.powi(per_block));
                        let error = (found as f64 - expected).abs();
                        assert!(
                            error <= bound,
                            "{what}: {found}, expected {expected} within {bound}"
                        );
                        bounds += bound;
                    }
                    let apart = (by_mmq[at] - ours[at]).abs() as f64;
                    assert!(
                        apart <= bounds,
                        "{what}: {} by mmq, {} by ours",
                        by_mmq[at],
                        ours[at]
                    );
                }
            }
        }
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
