//! Training on rocm: 20 steps of an optimiser on a small network, loss and gradients as on the CPU.
use candle::{DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, SGD};

const STEPS: usize = 20;
const BATCH: usize = 24;
const WIDTHS: [usize; 4] = [6, 19, 10, 4];

/// Numbers in [-1, 1) that look random and are the same everywhere.
fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / f64::from(1 << 24) * 2.0 - 1.0
    };
    (0..8).for_each(|_| {
        next();
    });
    (0..count).map(|_| next()).collect()
}

/// A perceptron with two hidden layers, its input and what it shall learn.
struct Network {
    weights: Vec<Var>,
    biases: Vec<Var>,
    x: Tensor,
    classes: Tensor,
    targets: Tensor,
}

impl Network {
    fn new(dtype: DType, device: &Device) -> Result<Self> {
        let tensor = |shape: &[usize], seed| {
            let count = shape.iter().product();
            Tensor::from_vec(numbers(count, seed), shape, &Device::Cpu)?
                .to_dtype(dtype)?
                .to_device(device)
        };
        let (mut weights, mut biases) = (vec![], vec![]);
        for (i, pair) in WIDTHS.windows(2).enumerate() {
            weights.push(Var::from_tensor(&tensor(
                &[pair[1], pair[0]],
                10 + i as u64,
            )?)?);
            biases.push(Var::from_tensor(&tensor(&[pair[1]], 20 + i as u64)?)?);
        }
        let classes: Vec<u32> = (0..BATCH as u32)
            .map(|i| (i * 7) % WIDTHS[3] as u32)
            .collect();
        Ok(Self {
            weights,
            biases,
            x: tensor(&[BATCH, WIDTHS[0]], 1)?,
            classes: Tensor::new(classes, device)?,
            targets: tensor(&[BATCH, WIDTHS[3]], 2)?,
        })
    }

    fn variables(&self) -> Vec<Var> {
        [self.weights.as_slice(), self.biases.as_slice()].concat()
    }

    fn forward(&self) -> Result<Tensor> {
        let mut h = self.x.clone();
        for (i, (w, b)) in self.weights.iter().zip(&self.biases).enumerate() {
            h = h.matmul(&w.t()?)?.broadcast_add(b)?;
            h = match i {
                0 => h.tanh()?,
                1 => h.silu()?,
                _ => h,
            };
        }
        Ok(h)
    }
}

#[derive(Clone, Copy)]
enum Loss {
    MeanSquare,
    CrossEntropy,
}

/// Losses of every step, and the gradients and values of every variable after it.
struct Course {
    losses: Vec<f64>,
    gradients: Vec<Vec<f64>>,
    values: Vec<Vec<f64>>,
}

fn doubles(t: &Tensor) -> Result<Vec<f64>> {
    t.flatten_all()?
        .to_dtype(DType::F64)?
        .to_device(&Device::Cpu)?
        .to_vec1()
}

fn train<O: Optimizer>(
    dtype: DType,
    device: &Device,
    loss: Loss,
    optimiser: impl Fn(Vec<Var>) -> Result<O>,
) -> Result<Course> {
    let network = Network::new(dtype, device)?;
    let mut optimiser = optimiser(network.variables())?;
    let mut course = Course {
        losses: vec![],
        gradients: vec![],
        values: vec![],
    };
    for _ in 0..STEPS {
        let out = network.forward()?;
        let loss = match loss {
            Loss::MeanSquare => candle_nn::loss::mse(&out, &network.targets)?,
            Loss::CrossEntropy => candle_nn::loss::cross_entropy(&out, &network.classes)?,
        };
        let gradients = loss.backward()?;
        course.losses.push(doubles(&loss)?[0]);
        for variable in network.variables() {
            let gradient = gradients.get(&variable).expect("every variable counts");
            assert!(gradient.device().same_device(device));
            course.gradients.push(doubles(gradient)?);
        }
        optimiser.step(&gradients)?;
        for variable in network.variables() {
            course.values.push(doubles(&variable)?);
        }
    }
    Ok(course)
}

/// Largest difference of two tensors relative to the larger one's largest element.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().chain(b).fold(0.0, |m: f64, v| m.max(v.abs()));
    let off = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    // A NaN would get lost in `max`.
    off.fold(
        0.0,
        |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) },
    ) / largest
}

/// A step's sums have under 64 terms, so that a gradient is off by some 100 roundings at most; 20 steps add up, and an
/// optimiser that divides by the gradients' size magnifies small ones. That is 2000 roundings, and a factor of 4.
fn tolerance(dtype: DType) -> f64 {
    let unit = match dtype {
        DType::F32 => 2f64.powi(-24),
        _ => 2f64.powi(-53),
    };
    4.0 * 100.0 * STEPS as f64 * unit
}

fn compare<O: Optimizer>(
    name: &str,
    loss: Loss,
    optimiser: impl Fn(Vec<Var>) -> Result<O>,
) -> Result<()> {
    for dtype in [DType::F32, DType::F64] {
        let here = train(dtype, &Device::Cpu, loss, &optimiser)?;
        let there = train(dtype, &Device::new_rocm(0)?, loss, &optimiser)?;
        let allowed = tolerance(dtype);
        assert!(
            here.losses[STEPS - 1] < 0.9 * here.losses[0],
            "{name}: nothing was learned: {:?}",
            here.losses
        );
        for (step, (a, b)) in here.losses.iter().zip(&there.losses).enumerate() {
            let d = distance(&[*a], &[*b]);
            assert!(
                d <= allowed,
                "{name} {dtype:?}: loss {b}, not {a}, after {step} steps: {d:e}"
            );
        }
        let variables = here.gradients.len() / STEPS;
        for (what, a, b) in [
            ("gradient", &here.gradients, &there.gradients),
            ("value", &here.values, &there.values),
        ] {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                let d = distance(a, b);
                let (step, variable) = (i / variables, i % variables);
                assert!(
                    d <= allowed,
                    "{name} {dtype:?}: {what} of variable {variable} after {step} steps: {d:e}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn sgd_on_a_mean_square() -> Result<()> {
    compare("SGD", Loss::MeanSquare, |variables| {
        SGD::new(variables, 0.1)
    })
}

#[test]
fn adamw_on_a_cross_entropy() -> Result<()> {
    let parameters = ParamsAdamW {
        lr: 0.02,
        ..ParamsAdamW::default()
    };
    compare("AdamW", Loss::CrossEntropy, |variables| {
        AdamW::new(variables, parameters.clone())
    })
}
