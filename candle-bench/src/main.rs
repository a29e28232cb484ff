//! The same operation on candle's CUDA backend and on rocm, in one process, on one card.
//!
//! With the features `cuda` and `rocm` together, and `hip-nvidia` in the place of libamdhip64, an NVIDIA card runs both;
//! an AMD card (or the emulator, for `--smoke`) runs rocm alone. See docs/benchmarks/README.md for what the numbers mean.

mod cases;
mod clock;
#[cfg(feature = "cuda")]
mod ggml;
mod lanes;
mod measure;
#[cfg(feature = "cuda")]
mod on_cuda;
#[cfg(feature = "cuda")]
mod quantized_cu;
mod report;
mod weights;

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use cases::{dense, fused, models, quantized};
use clap::{Parser, ValueEnum};
use clock::Clock;
use measure::Bench;
use report::{LaneInfo, Report};
use std::path::PathBuf;
use std::rc::Rc;

/// Families of cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Blocks of each type to f32.
    Dequantize,
    /// Products with quantized weights: types × shapes × columns.
    Product,
    /// Dense products in f32, f16 and bf16.
    Gemm,
    /// Norms, softmax, rotations and the other operations of a transformer.
    Fused,
    /// Whole models: load, prefill, decode.
    Model,
}

/// Times candle's operations on every backend of this build, side by side.
#[derive(Debug, Parser)]
struct Args {
    /// What to measure; all when not given.
    #[arg(long, value_delimiter = ',')]
    groups: Vec<Group>,
    /// Lanes: cuda, rocm, and with their older kernels for quantized products cuda-old (quantized.cu) and rocm-old
    /// (translated from it); with --ggml also ggml and ggml-serial.
    #[arg(long, value_delimiter = ',')]
    lanes: Vec<String>,
    /// A folder with mmvq.cubin and quantize.cubin, compiled of ggml's sources (docs/benchmarks/README.md): the lanes
    /// ggml and ggml-serial, for products of up to 8 columns.
    #[arg(long)]
    ggml: Option<PathBuf>,
    /// Types of weights.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "q4_0,q4_1,q5_0,q5_1,q8_0,q8_1,q2k,q3k,q4k,q5k,q6k,q8k,f16,bf16"
    )]
    types: Vec<String>,
    /// Shapes of weights, rows × columns.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "4096x4096,14336x4096,4096x14336,32000x4096"
    )]
    shapes: Vec<String>,
    /// Columns (rows of activations) of the products.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,64,512")]
    columns: Vec<usize>,
    /// Models: 7b, 1b, tiny.
    #[arg(long, value_delimiter = ',', default_value = "7b,1b")]
    models: Vec<String>,
    /// Types of the models' weights.
    #[arg(long, value_delimiter = ',', default_value = "q4_0,q4k,q6k,q8_0,f16")]
    model_types: Vec<String>,
    /// Tokens of the prompt.
    #[arg(long, default_value_t = 512)]
    prefill: usize,
    /// Tokens decoded after it.
    #[arg(long, default_value_t = 128)]
    decode: usize,
    /// Models also with the translated kernels.
    #[arg(long)]
    translated_models: bool,
    /// Samples of each case and lane.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// MiB of operands that take turns, more than any cache holds.
    #[arg(long, default_value_t = 512)]
    rotate_mib: usize,
    /// MiB of the copy that measures the bandwidth.
    #[arg(long, default_value_t = 512)]
    copy_mib: usize,
    /// Where models are written for the time of their run.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Leave the models there, for another run of the same command.
    #[arg(long)]
    keep: bool,
    /// A file for the results as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// A few cases, small enough for an emulator; the times mean nothing.
    #[arg(long)]
    smoke: bool,
}

impl Args {
    fn shrink(&mut self) {
        let list = |s: &str| s.split(',').map(String::from).collect();
        self.types = list("q4_0,q8_1,q6k,f16");
        self.shapes = list("128x512");
        self.columns = vec![1, 16];
        self.models = list("tiny");
        self.model_types = list("q8_0,f16");
        (self.prefill, self.decode, self.rounds) = (8, 4, 1);
        (self.rotate_mib, self.copy_mib) = (0, 1);
    }

    fn wants(&self, group: Group) -> bool {
        self.groups.is_empty() || self.groups.contains(&group)
    }
}

fn shape(text: &str) -> Result<(usize, usize)> {
    let parsed = text
        .split_once('x')
        .and_then(|(n, k)| Some((n.parse().ok()?, k.parse().ok()?)));
    parsed.with_context(|| format!("--shapes: {text:?} is no shape such as 4096x14336"))
}

fn clocks(bench: &[lanes::Lane], copy_bytes: usize) -> Result<Vec<Rc<Clock>>> {
    let mut clocks: Vec<(&Device, Rc<Clock>)> = Vec::new();
    for lane in bench {
        let known = clocks
            .iter()
            .find(|(d, _)| d.location() == lane.device.location());
        let clock = match known {
            Some((_, clock)) => clock.clone(),
            None => Rc::new(
                Clock::new(&lane.device, copy_bytes)
                    .context("measuring the bandwidth of a copy")?,
            ),
        };
        clocks.push((&lane.device, clock));
    }
    Ok(clocks.into_iter().map(|(_, clock)| clock).collect())
}

fn run(args: &Args) -> Result<Report> {
    let lanes = lanes::open(&args.lanes, args.ggml.as_deref())?;
    let clocks = clocks(&lanes, args.copy_mib << 20)?;
    let infos = lanes.iter().zip(&clocks).map(|(lane, clock)| LaneInfo {
        lane: lane.name.into(),
        card: lane.card(),
        copy_gigabytes_per_second: clock.copy_bytes_per_second / 1e9,
    });
    let report = Report {
        command: std::iter::once("candle-bench".to_string())
            .chain(std::env::args().skip(1))
            .collect::<Vec<_>>()
            .join(" "),
        gemm: std::env::var("CANDLE_ROCM_GEMM").unwrap_or_else(|_| "own".into()),
        rotate_mib: args.rotate_mib,
        rounds: args.rounds,
        lanes: infos.collect(),
        rows: Vec::new(),
        models: Vec::new(),
        failures: Vec::new(),
    };
    let mut bench = Bench {
        lanes,
        clocks,
        rounds: args.rounds,
        rotate_bytes: args.rotate_mib << 20,
        report,
        json: args.json.clone(),
    };
    let shapes = args
        .shapes
        .iter()
        .map(|s| shape(s))
        .collect::<Result<Vec<_>>>()?;
    let types = args
        .types
        .iter()
        .map(|t| Ok((t, weights::dtype(t)?)))
        .collect::<Result<Vec<_>>>()?;
    if args.wants(Group::Dequantize) {
        let shape = if args.smoke { shapes[0] } else { (4096, 14336) };
        for (name, dtype) in &types {
            quantized::dequantize(&mut bench, name, *dtype, shape)?;
        }
    }
    if args.wants(Group::Product) {
        for (name, dtype) in &types {
            for shape in &shapes {
                quantized::product(&mut bench, name, *dtype, *shape, &args.columns)?;
            }
        }
    }
    if args.wants(Group::Gemm) {
        gemms(&mut bench, args, &shapes)?;
    }
    if args.wants(Group::Fused) {
        let (length, heads) = if args.smoke { (8, 2) } else { (512, 32) };
        fused::all(&mut bench, length, heads)?;
    }
    if args.wants(Group::Model) {
        let folder = args.folder.clone().unwrap_or_else(std::env::temp_dir);
        let how = models::Run {
            folder: &folder,
            prefill: args.prefill,
            decode: args.decode,
            rounds: args.rounds.min(3),
            translated: args.translated_models,
            keep: args.keep,
        };
        for model in &args.models {
            let shape = models::shape(model)?;
            for name in &args.model_types {
                let dtype = weights::dtype(name)?;
                match models::run(&bench, &shape, name, dtype, &how) {
                    Ok(row) => bench.report.models.push(row),
                    Err(e) => {
                        eprintln!("{model} {name}: {e:#}");
                        bench.report.failures.push(format!("{model} {name}: {e:#}"));
                    }
                }
                bench.save()?;
            }
        }
    }
    Ok(bench.report)
}

fn gemms(bench: &mut Bench, args: &Args, shapes: &[(usize, usize)]) -> Result<()> {
    let small = args.smoke;
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for shape in shapes {
            for rows in if small {
                vec![1, 16]
            } else {
                vec![1, 8, 64, 512]
            } {
                dense::gemm(bench, dtype, rows, *shape)?;
            }
        }
    }
    if small {
        return Ok(());
    }
    // The ceiling of arithmetic: as large as a card needs to be busy.
    dense::gemm(bench, DType::F16, 8192, (8192, 8192))?;
    dense::gemm(bench, DType::F32, 4096, (4096, 4096))?;
    // Scores and values of 32 heads of 128, for one token after 512 and for 512 at once.
    for rows in [1, 512] {
        dense::batched(bench, 32, rows, 128, 512, true)?;
        dense::batched(bench, 32, rows, 512, 128, false)?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut args = Args::parse();
    if args.smoke {
        args.shrink();
    }
    let report = run(&args)?;
    println!("{}", report.tables());
    anyhow::ensure!(
        report.failures.is_empty(),
        "not measured:\n{}",
        report.failures.join("\n")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every group on whatever device there is: the results agree, the times are there.
    #[test]
    fn the_small_cases_run() -> Result<()> {
        let mut args = Args::try_parse_from(["candle-bench", "--smoke"])?;
        args.shrink();
        let report = run(&args)?;
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        for group in ["dequantize", "product", "gemm", "fused"] {
            assert!(report.rows.iter().any(|row| row.group == group), "{group}");
        }
        let entries = report.rows.iter().flat_map(|row| &row.entries);
        assert!(entries
            .into_iter()
            .all(|e| e.device_us > 0.0 && e.warm_us > 0.0));
        assert_eq!(report.models.len(), 2);
        for model in &report.models {
            assert!(model.entries.iter().all(|e| e.tokens.len() == 4));
            let first = &model.entries[0].tokens;
            assert!(
                model.entries.iter().all(|e| e.tokens == *first),
                "{}",
                model.weights
            );
        }
        assert!(report.tables().contains("| fused |"));
        Ok(())
    }
}
