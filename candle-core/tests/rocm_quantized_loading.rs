//! Loading a GGUF file onto rocm: what it costs in host memory, and how long beside a plain copy of the file.
//!
//! `CANDLE_LOADING_MIB` is the size of the file, 48 unless set. The numbers are printed (`--nocapture`);
//! scripts/bench_load.sh does so for a gigabyte.
use candle_core::quantized::gguf_file::{self, Content};
use candle_core::quantized::rocm::STAGING_BYTES;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Result, Tensor};
use std::fs::File;
use std::io::BufReader;
use std::time::Instant;

const MIB: usize = 1 << 20;
/// Tensors of the file: one is far larger than the staging.
const TENSORS: usize = 2;
/// What else a program's memory may grow by meanwhile: the allocator's and the runtime's own.
const SLACK: usize = 16 * MIB;

/// The most memory that this program has held since the last reset, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    kib.expect("VmHWM in kB")
        .trim()
        .parse::<usize>()
        .expect("a number")
        * 1024
}

/// Sets the peak to what is held now (proc(5), clear_refs).
fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("own memory statistics");
}

fn write_model(path: &std::path::Path, mib: usize) -> Result<()> {
    // Rows of 1024 elements in Q8_0, 34 bytes for each 32. One is quantized and repeated: a gigabyte would take minutes.
    let row = Tensor::arange(0f32, 1024., &Device::Cpu)?.reshape((1, 1024))?;
    let row = QTensor::quantize(&row, GgmlDType::Q8_0)?
        .data()?
        .into_owned();
    let rows = mib * MIB / row.len() / TENSORS;
    let blocks = QStorage::from_data(row.repeat(rows).into(), &Device::Cpu, GgmlDType::Q8_0)?;
    let tensor = QTensor::new(blocks, (rows, 1024))?;
    let tensors: Vec<String> = (0..TENSORS).map(|i| format!("blk.{i}.weight")).collect();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|name| (name.as_str(), &tensor))
        .collect();
    gguf_file::write(&mut File::create(path)?, &[], &tensors)
}

#[test]
fn loading_needs_no_copy_on_the_host() -> Result<()> {
    let mib = std::env::var("CANDLE_LOADING_MIB");
    let mib = mib.map_or(48, |mib| mib.parse().expect("a number of MiB"));
    let folder = std::env::temp_dir().join(format!("candle-loading-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (model, copy) = (folder.join("model.gguf"), folder.join("copy"));
    write_model(&model, mib)?;
    let bytes = std::fs::metadata(&model)?.len() as usize;

    let device = Device::new_rocm(0)?;
    // Page-locks the staging and starts the runtime.
    let first = QTensor::quantize_onto(
        &Tensor::zeros(32, DType::F32, &Device::Cpu)?,
        GgmlDType::Q8_0,
        &device,
    )?;
    reset_peak();
    let before = peak();
    let start = Instant::now();
    let mut file = BufReader::new(File::open(&model)?);
    let content = Content::read(&mut file)?;
    let names = (0..TENSORS).map(|i| format!("blk.{i}.weight"));
    let tensors = names.map(|name| content.tensor(&mut file, &name, &device));
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    device.synchronize()?;
    let (seconds, grown) = (start.elapsed().as_secs_f64(), peak() - before);

    let start = Instant::now();
    std::fs::copy(&model, &copy)?;
    let copied = start.elapsed().as_secs_f64();
    let last = tensors[TENSORS - 1].data()?;
    assert_eq!(last[last.len() - 34..].len(), 34);
    assert_eq!(last[last.len() - 1] as i8, 127);
    drop(first);
    std::fs::remove_dir_all(&folder)?;

    // The emulator's device memory is this program's, so there the tensors count once.
    println!(
        "{} MiB: loaded in {seconds:.2} s ({:.0} MiB/s), peak grown by {} MiB, of which the tensors {} MiB where device \
         memory is the host's; the file copied in {copied:.2} s",
        bytes / MIB,
        bytes as f64 / MIB as f64 / seconds,
        grown / MIB,
        bytes / MIB,
    );
    assert!(
        grown <= bytes + STAGING_BYTES + SLACK,
        "loading {bytes} bytes took {grown} of host memory at its peak"
    );
    Ok(())
}
