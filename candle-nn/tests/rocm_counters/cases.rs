//! The table of what is counted. Shapes are those of models' layers, where few rows of activations are multiplied cut to what
//! the emulator does in a moment: counts grow with the number of rows, columns and blocks, and the page says for how many they are.
use candle::quantized::rocm::{set_product_kernels, ProductKernels};
use candle::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle::{DType, Device, Module, Result, Tensor, D};

/// Weights of a product with few rows of activations: rows and elements of a row.
pub const VECTOR: (usize, usize) = (64, 4096);
/// Weights of a product with many: the queries' of Qwen3-30B-A3B. How tiles share a card depends on how many there are.
pub const TILE: (usize, usize) = (4096, 2048);
/// Candle's kernels do the same for each tile, so a part of the rows tells as much.
const TRANSLATED_TILE: (usize, usize) = (1024, 2048);
const VECTOR_COLUMNS: [usize; 4] = [1, 2, 4, 8];
const TILE_COLUMNS: [usize; 3] = [16, 64, 128];

const TYPES: [GgmlDType; 12] = [
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q8_1,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
    GgmlDType::Q8K,
];

type Step = Box<dyn Fn() -> Result<()>>;
/// Puts a case's operands on the device.
type Make = Box<dyn FnOnce(&Device) -> Result<Step>>;

/// Something to count.
pub struct Case {
    pub name: String,
    make: Make,
    kernels: ProductKernels,
    /// Beginnings of the names of the kernels that count; empty for all of them.
    counted: &'static [&'static str],
}

/// A case whose operands are on the device.
pub struct Prepared {
    pub name: String,
    step: Step,
    kernels: ProductKernels,
    counted: &'static [&'static str],
}

impl Case {
    fn of<F>(name: impl Into<String>, make: impl FnOnce(&Device) -> Result<F> + 'static) -> Self
    where
        F: Fn() -> Result<Tensor> + 'static,
    {
        Self {
            name: name.into(),
            make: Box::new(move |device| {
                let step = make(device)?;
                Ok(Box::new(move || step().map(|_| ())))
            }),
            kernels: ProductKernels::Own,
            counted: &[],
        }
    }

    pub fn prepare(self, device: &Device) -> Result<Prepared> {
        Ok(Prepared {
            name: self.name,
            step: (self.make)(device)?,
            kernels: self.kernels,
            counted: self.counted,
        })
    }
}

impl Prepared {
    pub fn run(&self) -> Result<()> {
        set_product_kernels(self.kernels);
        let done = (self.step)();
        set_product_kernels(ProductKernels::Own);
        done
    }

    pub fn counts(&self, kernel: &str) -> bool {
        self.counted.is_empty() || self.counted.iter().any(|start| kernel.starts_with(start))
    }
}

/// The product of `columns` rows of activations with weights of a type; without the quantizer, which is a case of its own.
fn product(dtype: GgmlDType, columns: usize, kernels: ProductKernels) -> Case {
    let (n, k) = match (columns > 8, kernels) {
        (false, _) => VECTOR,
        (true, ProductKernels::Own) => TILE,
        (true, ProductKernels::Translated) => TRANSLATED_TILE,
    };
    let by = match kernels {
        ProductKernels::Own => "own",
        ProductKernels::Translated => "translated",
    };
    let name = format!("product {dtype:?} {n}x{k} columns {columns} {by}");
    let case = Case::of(name, move |device| {
        let weights = weights(dtype, n, k, device)?;
        let x = numbers((columns, k), device)?;
        Ok(move || weights.forward(&x))
    });
    Case {
        kernels,
        counted: match kernels {
            ProductKernels::Own => &["vec_", "tile_", "gemm_join"],
            ProductKernels::Translated => &["mul_mat_"],
        },
        ..case
    }
}

/// Weights: few rows over and over, since quantizing takes the CPU longer than the product takes the emulator. No count depends on
/// the values.
fn weights(dtype: GgmlDType, n: usize, k: usize, device: &Device) -> Result<QMatMul> {
    let distinct = n.min(64);
    let rows = QTensor::quantize(&numbers((distinct, k), &Device::Cpu)?, dtype)?;
    let bytes = rows.data()?.repeat(n / distinct);
    let storage = QStorage::from_data(bytes.into(), device, dtype)?;
    QMatMul::from_qtensor(QTensor::new(storage, (n, k))?)
}

/// Whether candle has a kernel of its own for a product. The tile of Q6K is not used: it has a race in the LDS.
fn translated(dtype: GgmlDType, columns: usize) -> bool {
    match dtype {
        GgmlDType::Q8_1 | GgmlDType::Q8K => false,
        GgmlDType::Q6K => columns <= 8,
        _ => true,
    }
}

/// Numbers without a pattern that a kernel could profit from; the same in each run.
fn numbers<S: Into<candle::Shape>>(shape: S, device: &Device) -> Result<Tensor> {
    let shape = shape.into();
    let values: Vec<f32> = (0..shape.elem_count() as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1u32 << 23) as f32 - 1.0)
        .collect();
    Tensor::from_vec(values, shape, device)
}

fn attention(name: &str, dtype: DType, queries: usize, keys: usize) -> Case {
    const WIDTH: usize = 128;
    Case::of(
        format!("attention {name} 32 heads of {WIDTH}, 8 of keys, {queries} queries, {keys} keys"),
        move |device| {
            let part = |heads, n| numbers((1, heads, n, WIDTH), device)?.to_dtype(dtype);
            let (q, k, v) = (part(32, queries)?, part(8, keys)?, part(8, keys)?);
            Ok(move || candle_nn::ops::sdpa(&q, &k, &v, None, true, 0.088, 1.0))
        },
    )
}

fn dense(dtype: DType, m: usize, n: usize, k: usize) -> Case {
    let name = format!("dense product {} {m}x{k} by {k}x{n}", dtype.as_str());
    Case::of(name, move |device| {
        let x = numbers((m, k), device)?.to_dtype(dtype)?;
        let w = numbers((n, k), device)?.to_dtype(dtype)?.t()?;
        Ok(move || x.matmul(&w))
    })
}

pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in TYPES {
        for columns in VECTOR_COLUMNS.into_iter().chain(TILE_COLUMNS) {
            cases.push(product(dtype, columns, ProductKernels::Own));
            if translated(dtype, columns) {
                cases.push(product(dtype, columns, ProductKernels::Translated));
            }
        }
    }
    cases.push(Case {
        counted: &["quantize_activations"],
        ..Case::of("quantize activations 1x4096", |device| {
            let weights = numbers((8, 4096), &Device::Cpu)?;
            let weights = QTensor::quantize_onto(&weights, GgmlDType::Q4_0, device)?;
            let weights = QMatMul::from_qtensor(weights)?;
            let x = numbers((1, 4096), device)?;
            Ok(move || weights.forward(&x))
        })
    });
    cases.push(attention("decode", DType::F16, 1, 100));
    cases.push(attention("decode", DType::F16, 1, 1024));
    cases.push(attention("prompt", DType::F16, 64, 64));
    cases.push(attention("prompt f32", DType::F32, 64, 64));
    cases.push(Case::of(
        "attention decode f32 8 heads of 128, 1 queries, 580 keys",
        |device| {
            let part = |n| numbers((1, 8, n, 128), device);
            let (q, k, v) = (part(1)?, part(580)?, part(580)?);
            Ok(move || candle_nn::ops::sdpa(&q, &k, &v, None, true, 0.088, 1.0))
        },
    ));
    for dtype in [DType::F16, DType::BF16, DType::F32] {
        cases.push(dense(dtype, 256, 256, 512));
        cases.push(dense(dtype, 1, 256, 1024));
        cases.push(dense(dtype, 8, 256, 1024));
    }
    cases.push(Case::of("rms-norm 1x4096", |device| {
        let (x, alpha) = (numbers((1, 4096), device)?, numbers(4096, device)?);
        Ok(move || candle_nn::ops::rms_norm(&x, &alpha, 1e-5))
    }));
    cases.push(Case::of("residual and rms-norm 1x4096", |device| {
        let (x, branch) = (numbers((1, 4096), device)?, numbers((1, 4096), device)?);
        let weight = numbers(4096, device)?;
        Ok(move || Ok(candle_nn::fused::add_rms_norm(&x, &branch, &weight, 1e-5)?.1))
    }));
    cases.push(Case::of(
        "rms-norm, residual and rms-norm 1x4096",
        |device| {
            let (x, branch) = (numbers((1, 4096), device)?, numbers((1, 4096), device)?);
            let weight = numbers(4096, device)?;
            Ok(move || {
                let norm = (&weight, 1e-5);
                Ok(candle_nn::fused::add_rms_norms(&x, &branch, norm, norm)?.1)
            })
        },
    ));
    cases.push(Case::of("gated convolution 1x2048, 3 taps", |device| {
        let (bcx, weight) = (
            numbers((1, 1, 3 * 2048), device)?,
            numbers((2048, 3), device)?,
        );
        let before = candle_nn::fused::CachedConv::new();
        Ok(move || before.clone().step(&bcx, &weight))
    }));
    cases.push(Case::of("router 8 of 128", |device| {
        let logits = numbers((1, 128), device)?;
        Ok(
            move || match candle_nn::fused::route_token(&logits, 8, true)? {
                Some(routes) => Ok(routes.weights),
                None => candle::bail!("one token is for the kernel"),
            },
        )
    }));
    cases.push(Case::of("softmax 32x1024", |device| {
        let x = numbers((32, 1024), device)?;
        Ok(move || candle_nn::ops::softmax_last_dim(&x))
    }));
    cases.push(Case::of("rope 32x128", |device| {
        let x = numbers((1, 32, 1, 128), device)?;
        let (cos, sin) = (numbers((1, 64), device)?, numbers((1, 64), device)?);
        Ok(move || candle_nn::rotary_emb::rope(&x, &cos, &sin))
    }));
    cases.push(Case::of("silu 1x11008", |device| {
        let x = numbers((1, 11008), device)?;
        Ok(move || x.silu())
    }));
    cases.push(Case::of("product of elements 1x11008", |device| {
        let (a, b) = (numbers((1, 11008), device)?, numbers((1, 11008), device)?);
        Ok(move || &a * &b)
    }));
    cases.push(Case::of("argmax 1x32000", |device| {
        let x = numbers((1, 32000), device)?;
        Ok(move || x.argmax(D::Minus1))
    }));
    cases
}
