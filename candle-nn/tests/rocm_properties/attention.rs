//! Scaled dot-product attention: from its parts, and fused where rocm has it.
use crate::cases::{family, rocm};
use crate::nearness::{about, accumulator_roundoff, unit_roundoff, wide, within};
use crate::views::{Content, View};
use candle::{DType, Result, Tensor, D};
use proptest::prelude::*;

const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::BF16, DType::F64];

/// Batch, heads, groups of queries for each key head, query and key length, size of a head.
type Sizes = (usize, usize, usize, usize, usize, usize);

fn sizes() -> impl Strategy<Value = Sizes> {
    (
        1usize..3,
        1usize..4,
        1usize..3,
        1usize..7,
        1usize..20,
        1usize..40,
    )
}

struct Inputs {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: f64,
}

fn inputs((b, h, g, m, n, d): Sizes, dtype: DType, seed: u64) -> Result<Inputs> {
    let of = |heads, len, seed| {
        View::contiguous(seed).tensor(&[b, heads, len, d], dtype, Content::Between(-1.0, 1.0))
    };
    Ok(Inputs {
        q: of(h * g, m, seed)?,
        k: of(h, n, seed + 1)?,
        v: of(h, n, seed + 2)?,
        // A power of two, which scales without rounding.
        scale: if d < 8 { 1.0 } else { 0.25 },
    })
}

/// softmax(q kᵀ · scale) v, key heads repeated for their groups.
fn attention(Inputs { q, k, v, scale }: &Inputs, groups: usize) -> Result<Tensor> {
    let repeated = |t: &Tensor| {
        let (b, h, n, d) = t.dims4()?;
        t.unsqueeze(2)?
            .expand((b, h, groups, n, d))?
            .reshape((b, h * groups, n, d))
    };
    let scores = (q.matmul(&repeated(k)?.t()?)? * *scale)?;
    candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&repeated(v)?)
}

impl Inputs {
    fn map(&self, apply: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self {
            q: apply(&self.q)?,
            k: apply(&self.k)?,
            v: apply(&self.v)?,
            scale: self.scale,
        })
    }
}

/// The error of the scores, sums of d products below 1, goes through the exponential as it is; weights and sums add
/// a few roundings each; the result is a mean of numbers below 1.
fn bound((_, _, _, _, n, d): Sizes, dtype: DType) -> f64 {
    let (unit, sum) = (unit_roundoff(dtype), accumulator_roundoff(dtype));
    let score = d as f64 * unit + d as f64 * d as f64 * sum;
    let weights = 2.0 * score + 20.0 * unit + 32.0 * unit.min(n as f64 * unit);
    1.01 * (weights + n as f64 * sum + unit)
}

#[test]
fn attention_from_its_parts() {
    family(FLOATS, (sizes(), any::<u32>()), |&dtype, (sizes, seed)| {
        let check = || {
            let inputs = inputs(sizes, dtype, seed.into())?;
            let exact = attention(&inputs.map(wide)?, sizes.2)?;
            let device = rocm()?;
            let found = attention(&inputs.map(|t| t.to_device(&device))?, sizes.2)?;
            within(&found, &exact, |_, _| bound(sizes, dtype))
        };
        about("attention", dtype, check())
    });
}

/// Upstream fuses it for Metal only. Whatever rocm answers has to be right; a refusal has to name the operation.
#[test]
fn fused_attention() {
    family(FLOATS, (sizes(), any::<u32>()), |&dtype, (sizes, seed)| {
        let check = || {
            let inputs = inputs(sizes, dtype, seed.into())?;
            let exact = attention(&inputs.map(wide)?, sizes.2)?;
            let device = rocm()?;
            let there = inputs.map(|t| t.to_device(&device))?;
            match candle_nn::ops::sdpa(
                &there.q,
                &there.k,
                &there.v,
                None,
                false,
                inputs.scale as f32,
                1.0,
            ) {
                Ok(found) => within(&found, &exact, |_, _| bound(sizes, dtype)),
                Err(e) if e.to_string().contains("sdpa") => Ok(()),
                Err(e) => Err(e),
            }
        };
        about("sdpa", dtype, check())
    });
}
