//! Wave-instructions per second and core of the emulator (emulated, not a GPU's speed).
//!
//! `cargo run --release -p hip-emulator --example speed -- FILE.co|TARGET…` runs what it knows of each code object:
//! `mul_mat_vec_q4_0_q8_1_cuda1` of candle's quantized module on a 4096×4096 matrix and `fast_sum_f32` of its reduce
//! module on 1024 rows of 1024. For a target such as gfx1100 it compiles `tests/kernels/exec.hip` (with clang-19) and
//! runs `tiled_product` on 512×512 matrices and `fma_loop`. Results are checked. One thread, unless
//! `RAYON_NUM_THREADS` says more; `HIP_EMULATOR_CHECK=none` tells what the checks cost.

use half::f16;
use hip_emulator::code_object::{CodeObject, Image};
use hip_emulator::exec::Counters;
use hip_emulator::launch::{Arguments, Function, Recorder, Request};
use hip_emulator::memory::{Block, Kind, Limits, Memory};
use hip_emulator::target::Target;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

const ROWS: usize = 4096;
const COLUMNS: usize = 4096;
const BLOCKS: usize = COLUMNS / 32;

/// Weights (q4_0: f16 scale, 32 nibbles) and activations (q8_1: f16 scale, f16 scaled sum, 32 bytes).
struct Product {
    weights: Vec<u8>,
    activations: Vec<u8>,
}

impl Product {
    fn new() -> Product {
        let mut state = 1u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let mut weights = Vec::new();
        for _ in 0..ROWS * BLOCKS {
            weights.extend(f16::from_f32(f32::from(byte()) / 4096.0).to_le_bytes());
            weights.extend((0..16).map(|_| byte()));
        }
        let mut activations = Vec::new();
        for _ in 0..BLOCKS {
            let scale = f16::from_f32(f32::from(byte()) / 1024.0);
            let values: Vec<u8> = (0..32).map(|_| byte()).collect();
            let sum: i32 = values.iter().map(|v| i32::from(*v as i8)).sum();
            activations.extend(scale.to_le_bytes());
            activations.extend(f16::from_f32(scale.to_f32() * sum as f32).to_le_bytes());
            activations.extend(values);
        }
        Product {
            weights,
            activations,
        }
    }

    /// Row `row` of the product in f64, and the sum of its terms' magnitudes.
    fn row(&self, row: usize) -> (f64, f64) {
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for block in 0..BLOCKS {
            let w = &self.weights[(row * BLOCKS + block) * 18..][..18];
            let a = &self.activations[block * 36..][..36];
            let scale = |bytes: &[u8]| f16::from_le_bytes([bytes[0], bytes[1]]).to_f64();
            // Low nibbles are the first 16 values; 8 is taken off through the activations' sum.
            let dot: i32 = (0..32)
                .map(|i| {
                    i32::from(if i < 16 {
                        w[2 + i] & 15
                    } else {
                        w[2 + i - 16] >> 4
                    }) * i32::from(a[4 + i] as i8)
                })
                .sum();
            let term = scale(w) * (f64::from(dot) * scale(a) - 8.0 * scale(&a[2..]));
            sum += term;
            magnitude += scale(w) * (f64::from(dot).abs() * scale(a) + 8.0 * scale(&a[2..]).abs());
        }
        (sum, magnitude)
    }
}

fn report(target: &Target, name: &str, counters: &Counters, seconds: f64) {
    let threads = rayon::current_num_threads() as f64;
    let rate = counters.instructions as f64 / seconds / threads / 1e6;
    println!(
        "{:8} {name:28} {:9} wave instructions, {:7.2} ms, {rate:6.1} million a second and core (emulated)",
        target.name,
        counters.instructions,
        seconds * 1e3
    );
}

/// Seconds that this thread has run, which other processes on the machine do not lengthen; the wall
/// clock where the kernel does not say.
fn seconds() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    let own = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    own.filter(|_| rayon::current_num_threads() == 1)
        .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .map_or_else(
            || start.elapsed().as_secs_f64(),
            |nanoseconds| nanoseconds * 1e-9,
        )
}

/// The fastest of some launches after the first, which decodes.
fn measure(
    function: &Function,
    request: &Request<'_>,
    memory: &Arc<Memory>,
) -> Result<(Counters, f64), Failure> {
    let recorder = Recorder::default();
    let counters = function.launch(request, memory, &recorder)?;
    let mut best = f64::INFINITY;
    for _ in 0..8 {
        let started = seconds();
        function.launch(request, memory, &recorder)?;
        best = best.min(seconds() - started);
    }
    Ok((counters, best))
}

fn filled(memory: &Arc<Memory>, bytes: &[u8]) -> Result<Arc<Block>, Failure> {
    let block = memory.allocate(bytes.len(), Kind::Device(0))?;
    // SAFETY: the block has that many bytes and no kernel runs.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), block.start() as *mut u8, bytes.len()) };
    Ok(block)
}

fn matrix_vector(
    target: &Target,
    function: &Function,
    memory: &Arc<Memory>,
) -> Result<(), Failure> {
    let product = Product::new();
    let (weights, activations) = (
        filled(memory, &product.weights)?,
        filled(memory, &product.activations)?,
    );
    let result = memory.allocate(ROWS * 4, Kind::Device(0))?;
    let mut arguments = Vec::new();
    for block in [&weights, &activations, &result] {
        arguments.extend(block.start().to_le_bytes());
    }
    for number in [COLUMNS, ROWS, COLUMNS, ROWS] {
        arguments.extend((number as u32).to_le_bytes());
    }
    let request = Request {
        grid: [ROWS as u32, 1, 1],
        block: [32, 4, 1],
        dynamic_lds: 0,
        arguments: Arguments::Packed(&arguments),
    };
    let (counters, seconds) = measure(function, &request, memory)?;
    for row in 0..ROWS {
        // SAFETY: the block holds ROWS floats and no kernel runs.
        let got = f64::from(unsafe { *(result.start() as *const f32).add(row) });
        let (want, magnitude) = product.row(row);
        // 128 terms of f32, each rounded a few times.
        if (got - want).abs() > magnitude * 1e-5 {
            return Err(format!("row {row} of the product is {got}, not {want}").into());
        }
    }
    report(target, "mul_mat_vec_q4_0_q8_1", &counters, seconds);
    Ok(())
}

/// Whole numbers: products and sums of a few hundred are exact in f32.
fn whole_numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 28) as f32 - 8.0
    };
    (0..count).map(|_| next()).collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Compares `count` floats of a block with what `want` says.
fn check(block: &Block, count: usize, want: impl Fn(usize) -> f32) -> Result<(), Failure> {
    for i in 0..count {
        // SAFETY: the block holds `count` floats and no kernel runs.
        let got = unsafe { *(block.start() as *const f32).add(i) };
        if got != want(i) {
            return Err(format!("element {i} is {got}, not {}", want(i)).into());
        }
    }
    Ok(())
}

/// A tiled matrix product through LDS.
fn gemm(target: &Target, function: &Function, memory: &Arc<Memory>) -> Result<(), Failure> {
    const N: usize = 512;
    let (a, b) = (whole_numbers(N * N, 1), whole_numbers(N * N, 2));
    let (left, right) = (filled(memory, &bytes(&a))?, filled(memory, &bytes(&b))?);
    let result = memory.allocate(N * N * 4, Kind::Device(0))?;
    let mut arguments = Vec::new();
    for block in [&left, &right, &result] {
        arguments.extend(block.start().to_le_bytes());
    }
    arguments.extend((N as u32).to_le_bytes());
    let request = Request {
        grid: [(N * N / (64 * 64)) as u32, 1, 1],
        block: [256, 1, 1],
        dynamic_lds: 0,
        arguments: Arguments::Packed(&arguments),
    };
    let (counters, seconds) = measure(function, &request, memory)?;
    check(&result, N * N, |at| {
        let (row, column) = (at / N, at % N);
        (0..N).map(|k| a[row * N + k] * b[k * N + column]).sum()
    })?;
    report(target, "tiled_product", &counters, seconds);
    Ok(())
}

/// Sums of rows: element count, elements of a row, dimensions, shape and strides, source, destination.
fn reduction(target: &Target, function: &Function, memory: &Arc<Memory>) -> Result<(), Failure> {
    const N: usize = 1024;
    let source = whole_numbers(N * N, 3);
    let values = filled(memory, &bytes(&source))?;
    let info: Vec<u8> = [N as u64, N as u64, N as u64, 1]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let info = filled(memory, &info)?;
    let result = memory.allocate(N * 4, Kind::Device(0))?;
    let mut arguments = Vec::new();
    for word in [
        (N * N) as u64,
        N as u64,
        2,
        info.start(),
        values.start(),
        result.start(),
    ] {
        arguments.extend(word.to_le_bytes());
    }
    let request = Request {
        grid: [N as u32, 1, 1],
        block: [N as u32, 1, 1],
        dynamic_lds: 0,
        arguments: Arguments::Packed(&arguments),
    };
    let (counters, seconds) = measure(function, &request, memory)?;
    check(&result, N, |row| source[row * N..][..N].iter().sum())?;
    report(target, "fast_sum_f32", &counters, seconds);
    Ok(())
}

fn fma_loop(target: &Target, function: &Function, memory: &Arc<Memory>) -> Result<(), Failure> {
    let result = memory.allocate(256 * 4, Kind::Device(0))?;
    let mut arguments = result.start().to_le_bytes().to_vec();
    arguments.extend(100_000u32.to_le_bytes());
    let request = Request {
        grid: [1, 1, 1],
        block: [256, 1, 1],
        dynamic_lds: 0,
        arguments: Arguments::Packed(&arguments),
    };
    let (counters, seconds) = measure(function, &request, memory)?;
    report(target, "fma_loop", &counters, seconds);
    Ok(())
}

/// `tests/kernels/exec.hip` for a target.
fn compiled(target: &str) -> Result<Vec<u8>, Failure> {
    let out = std::env::temp_dir().join(format!("speed-{target}-{}.hsaco", std::process::id()));
    let status = std::process::Command::new("clang-19")
        .args(["-x", "hip", "--cuda-device-only", "--no-gpu-bundle-output"])
        .args(["-nogpuinc", "-nogpulib", "-O2", "-mcode-object-version=5"])
        .arg(format!("--offload-arch={target}"))
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/kernels/exec.hip"
        ))
        .arg("-o")
        .arg(&out)
        .status()?;
    if !status.success() {
        return Err(format!("clang-19 did not compile exec.hip for {target}").into());
    }
    let bytes = std::fs::read(&out)?;
    std::fs::remove_file(&out)?;
    Ok(bytes)
}

fn main() -> Result<(), Failure> {
    let threads = std::env::var("RAYON_NUM_THREADS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()?;
    for path in std::env::args().skip(1) {
        let bytes = if path.starts_with("gfx") && !path.contains('.') {
            compiled(&path)?
        } else {
            std::fs::read(&path)?
        };
        let object = CodeObject::parse(bytes)?;
        let target =
            Target::named(&object.target).ok_or_else(|| format!("{path}: unknown target"))?;
        let memory = Memory::new(Limits {
            device_bytes: 1 << 30,
            poison: false,
        });
        let image = Arc::new(Image::load(object, &memory, 0, target)?);
        let run = |name: &str, run: fn(&Target, &Function, &Arc<Memory>) -> Result<(), Failure>| {
            match image.kernel(name)? {
                Some((kernel, metadata)) => run(
                    target,
                    &Function::new(kernel, metadata, 0, image.clone()),
                    &memory,
                ),
                None => Ok(()),
            }
        };
        run("mul_mat_vec_q4_0_q8_1_cuda1", matrix_vector)?;
        run("tiled_product", gemm)?;
        run("fast_sum_f32", reduction)?;
        run("fma_loop", fma_loop)?;
    }
    Ok(())
}
