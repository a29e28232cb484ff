//! Rotary embeddings in their three layouts.
use crate::cases::{family, rocm};
use crate::nearness::{about, doubles, unit_roundoff, wide, within};
use crate::views::{with_each, Content, View};
use candle::{DType, Result, Tensor};
use proptest::prelude::*;

const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::BF16, DType::F64];

type Rope = fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>;

#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    apply: Rope,
    /// `[batch, time, heads, dim]` instead of `[batch, heads, time, dim]`.
    time_first: bool,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "rope",
        apply: candle_nn::rotary_emb::rope,
        time_first: false,
    },
    Kind {
        name: "rope_i",
        apply: candle_nn::rotary_emb::rope_i,
        time_first: false,
    },
    Kind {
        name: "rope_thd",
        apply: candle_nn::rotary_emb::rope_thd,
        time_first: true,
    },
];

#[derive(Clone, Copy, Debug)]
struct Shape {
    batch: usize,
    heads: usize,
    time: usize,
    half: usize,
    /// Rows of the tables beyond those in use.
    spare: usize,
    /// Tables for each batch entry.
    per_batch: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let sizes = (1usize..4, 1usize..6, 1usize..9, 1usize..20);
    (sizes, 0usize..3, any::<bool>()).prop_map(|((batch, heads, time, half), spare, per_batch)| {
        Shape {
            batch,
            heads,
            time,
            half,
            // A table for each batch entry has no rows to spare: their distance is the entry's size.
            spare: if per_batch { 0 } else { spare },
            per_batch,
        }
    })
}

fn check(kind: Kind, dtype: DType, shape: Shape, seed: u64) -> Result<()> {
    let Shape {
        batch,
        heads,
        time,
        half,
        spare,
        per_batch,
    } = shape;
    let dims = match kind.time_first {
        true => [batch, time, heads, 2 * half],
        false => [batch, heads, time, 2 * half],
    };
    let table = match per_batch {
        true => vec![batch, time, half],
        false => vec![time + spare, half],
    };
    let content = Content::Between(-1.0, 1.0);
    let x = View::contiguous(seed).tensor(&dims, dtype, content)?;
    let cos = View::contiguous(seed + 1).tensor(&table, dtype, content)?;
    let sin = View::contiguous(seed + 2).tensor(&table, dtype, content)?;
    let device = rocm()?;
    let found = (kind.apply)(
        &x.to_device(&device)?,
        &cos.to_device(&device)?,
        &sin.to_device(&device)?,
    )?;
    let exact = (kind.apply)(&wide(&x)?, &wide(&cos)?, &wide(&sin)?)?;
    // |x1 cos| + |x2 sin|, the sizes of what is rounded: two products and a sum. A rotation by -|sin| adds where the
    // first of a pair subtracts, so the sizes of the two halves come from two rotations.
    let sizes = |sin: Tensor| (kind.apply)(&wide(&x)?.abs()?, &wide(&cos)?.abs()?, &sin);
    let first = doubles(&sizes(wide(&sin)?.abs()?.neg()?)?)?;
    let second = doubles(&sizes(wide(&sin)?.abs()?)?)?;
    let unit = 1.01 * 2.0 * unit_roundoff(dtype);
    within(&found, &exact, |i, _| {
        unit * first[i].abs().max(second[i].abs())
    })
}

#[test]
fn rotations() {
    let rows = with_each(KINDS, FLOATS);
    family(
        &rows,
        (shape(), any::<u32>()),
        |&(kind, dtype), (shape, seed)| {
            about(kind.name, dtype, check(kind, dtype, shape, seed.into()))
        },
    );
}

#[test]
fn many_rows() -> Result<()> {
    let shape = Shape {
        batch: 2,
        heads: 33,
        time: 1000,
        half: 1,
        spare: 0,
        per_batch: false,
    };
    for &kind in KINDS {
        about(kind.name, DType::F32, check(kind, DType::F32, shape, 5))?;
    }
    Ok(())
}
