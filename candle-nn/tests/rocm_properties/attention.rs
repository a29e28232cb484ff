//! Scaled dot-product attention: from its parts, and fused, against f64 on the CPU.
use crate::cases::{family, property, rocm};
use crate::nearness::{about, accumulator_roundoff, doubles, unit_roundoff, wide, within};
use crate::views::{view, Content, View};
use candle::{DType, Device, Result, Tensor, D};
use candle_nn::ops::sdpa;
use proptest::prelude::*;

const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::BF16, DType::F64];
const FUSED: &[DType] = &[DType::F32, DType::F16, DType::BF16];

/// The CPU computes about so many products a second in f64, the emulator about half as many.
const MOST_PRODUCTS: usize = 6_000_000;

#[derive(Clone, Copy, Debug)]
struct Sizes {
    batches: usize,
    key_heads: usize,
    group: usize,
    queries: usize,
    keys: usize,
    width: usize,
    value_width: usize,
}

impl Sizes {
    fn heads(&self) -> usize {
        self.key_heads * self.group
    }

    fn products(&self) -> usize {
        self.batches * self.heads() * self.queries * self.keys * (self.width + self.value_width)
    }

    fn limited(mut self) -> Self {
        while self.products() > MOST_PRODUCTS {
            let longer = self.queries.max(self.keys);
            for length in [&mut self.queries, &mut self.keys] {
                if *length == longer {
                    *length = length.div_ceil(2);
                }
            }
        }
        self
    }
}

fn width() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => prop::sample::select(vec![32usize, 64, 72, 80, 96, 112, 128, 192, 256]),
        1 => 1usize..71,
    ]
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let group = prop::sample::select(vec![1usize, 2, 3, 4, 8]);
    let queries = prop_oneof![2 => Just(1usize), 2 => 2usize..17, 3 => 17usize..131];
    let keys = prop_oneof![1 => 1usize..33, 3 => 33usize..301];
    let values = prop_oneof![3 => Just(None), 1 => width().prop_map(Some)];
    (1usize..3, 1usize..4, group, queries, keys, width(), values).prop_map(
        |(batches, key_heads, group, queries, keys, width, values)| {
            let value_width = values.unwrap_or(width);
            let sizes = Sizes {
                batches,
                key_heads,
                group,
                queries,
                keys,
                width,
                value_width,
            };
            sizes.limited()
        },
    )
}

/// Where keys and values come from, or queries.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// The first positions of a longer buffer, as a cache of keys gives them.
    Cached(usize),
    /// `[batch, position, head, width]` seen with heads first, as a projection gives them.
    Projected,
    Any(View),
}

fn ways() -> impl Strategy<Value = Way> {
    prop_oneof![
        2 => (0usize..9).prop_map(Way::Cached),
        1 => Just(Way::Projected),
        1 => view().prop_map(Way::Any),
    ]
}

/// Whole 64ths: each type holds them exactly, and none is too small for matrix cores that know no subnormal numbers.
fn numbers(view: View, dims: &[usize], dtype: DType) -> Result<Tensor> {
    view.tensor(dims, dtype, Content::Whole(-64, 64))?
        .affine(1.0 / 64.0, 0.0)
}

impl Way {
    /// The tensor on the CPU and on rocm, there in this way.
    fn tensors(self, dims: [usize; 4], dtype: DType, seed: u64) -> Result<(Tensor, Tensor)> {
        let [batches, heads, positions, width] = dims;
        let fresh = |dims: [usize; 4]| numbers(View::contiguous(seed), &dims, dtype);
        let device = rocm()?;
        let pair = |t: Tensor, cut: &dyn Fn(&Tensor) -> Result<Tensor>| {
            Ok((cut(&t)?.contiguous()?, cut(&t.to_device(&device)?)?))
        };
        match self {
            Self::Cached(more) => pair(fresh([batches, heads, positions + more, width])?, &|t| {
                t.narrow(2, 0, positions)
            }),
            Self::Projected => pair(fresh([batches, positions, heads, width])?, &|t| {
                t.transpose(1, 2)
            }),
            // A view of the CPU keeps its layout on its way to the device.
            Self::Any(view) => {
                let t = View { seed, ..view }.tensor(&dims, dtype, Content::Whole(-1, 1))?;
                Ok((t.contiguous()?, t.to_device(&device)?))
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Mask {
    None,
    /// Over all dimensions; one for all heads; for all queries; for the batch and all heads.
    Full,
    EachBatch,
    Keys,
    Shared,
}

#[derive(Clone, Debug)]
struct Case {
    sizes: Sizes,
    ways: [Way; 3],
    mask: Mask,
    causal: bool,
    softcapping: f32,
    /// The scores' factor, times the root of the width.
    sharpness: f32,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let mask = prop::sample::select(vec![
        Mask::None,
        Mask::None,
        Mask::None,
        Mask::Full,
        Mask::EachBatch,
        Mask::Keys,
        Mask::Shared,
    ]);
    let cap = prop_oneof![3 => Just(1f32), 1 => prop::sample::select(vec![0.5f32, 5.0, 50.0])];
    let sharpness = prop::sample::select(vec![1f32, 4.0]);
    let ways = [ways(), ways(), ways()];
    (
        sizes(),
        ways,
        mask,
        any::<bool>(),
        cap,
        sharpness,
        any::<u32>(),
    )
        .prop_map(
            |(sizes, ways, mask, causal, softcapping, sharpness, seed)| Case {
                sizes,
                ways,
                mask,
                // Rows without keys are NaN: `rows_without_keys` holds that.
                causal: causal && sizes.queries <= sizes.keys,
                softcapping,
                sharpness,
                seed: seed.into(),
            },
        )
}

impl Case {
    /// As a model has it: projected queries, keys and values in a cache, causal.
    fn of_model(sizes: Sizes, seed: u64) -> Self {
        Self {
            sizes,
            ways: [Way::Projected, Way::Cached(5), Way::Cached(2)],
            mask: Mask::None,
            causal: true,
            softcapping: 1.0,
            sharpness: 4.0,
            seed,
        }
    }

    fn scale(&self) -> f32 {
        self.sharpness / (self.sizes.width as f32).sqrt()
    }

    /// A mask on the CPU: small whole numbers, minus infinity for a quarter of the keys, the first never.
    fn mask(&self, dtype: DType) -> Result<Option<Tensor>> {
        let Sizes {
            batches,
            queries,
            keys,
            ..
        } = self.sizes;
        let dims = match self.mask {
            Mask::None => return Ok(None),
            Mask::Full => vec![batches, self.sizes.heads(), queries, keys],
            Mask::EachBatch => vec![batches, 1, queries, keys],
            Mask::Keys => vec![batches, 1, 1, keys],
            Mask::Shared => vec![queries, keys],
        };
        let drawn =
            View::contiguous(self.seed + 3).tensor(&dims, DType::F64, Content::Whole(-5, 2))?;
        let values = doubles(&drawn)?
            .into_iter()
            .enumerate()
            .map(|(i, value)| match value {
                value if value < -3.0 && i % keys != 0 => f64::NEG_INFINITY,
                value => value,
            });
        let values = values.collect::<Vec<_>>();
        Ok(Some(
            Tensor::from_vec(values, dims, &Device::Cpu)?.to_dtype(dtype)?,
        ))
    }

    /// softmax(shaped(q kᵀ · scale) + mask) v in f64, key heads repeated for their groups.
    fn exact(&self, q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let repeated = |t: &Tensor| {
            let (b, h, n, d) = t.dims4()?;
            wide(t)?
                .unsqueeze(2)?
                .expand((b, h, self.sizes.group, n, d))?
                .reshape((b, h * self.sizes.group, n, d))
        };
        let mut scores = (wide(q)?.matmul(&repeated(k)?.t()?)? * f64::from(self.scale()))?;
        if self.softcapping != 1.0 {
            let cap = f64::from(self.softcapping);
            scores = ((scores / cap)?.tanh()? * cap)?;
        }
        if let Some(mask) = mask {
            scores = scores.broadcast_add(&wide(mask)?)?;
        }
        if self.causal {
            scores = scores.broadcast_add(&causal_mask(self.sizes.queries, self.sizes.keys)?)?;
        }
        candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&repeated(v)?)
    }

    /// The most that a result, a mean of numbers below 1, may be off.
    fn bound(&self, dtype: DType) -> f64 {
        let Sizes { width, keys, .. } = self.sizes;
        let (unit, sum) = (unit_roundoff(dtype), accumulator_roundoff(dtype));
        let (width, keys) = (width as f64, keys as f64);
        // A score is a sum of `width` products below 1, in f32, and is rounded a few times more: scaled, made a power of
        // two, capped, masked. It is below width · scale (or the cap) plus 2 from a mask.
        let scale = f64::from(self.scale());
        let largest = width * scale + 2.0;
        let score = width * width * scale * sum + 8.0 * sum * largest;
        // Off by that much, an exponential is off by that share; it has 2 ulp of its own. Weights are quotients of one
        // and the sum of all. On matrix cores, and where pairs of f16 are multiplied at once, they are rounded to the type
        // before they meet the values.
        let weights = 2.0 * (score + 4.0 * sum) + unit;
        // Sums of `keys` numbers, joined from pieces; then the result's own rounding.
        1.01 * (weights + (keys + 16.0) * sum + unit)
    }

    fn check(&self, dtype: DType) -> Result<()> {
        let sizes = &self.sizes;
        let of = |which: usize, heads, positions, width| {
            let dims = [sizes.batches, heads, positions, width];
            self.ways[which].tensors(dims, dtype, self.seed + which as u64)
        };
        let (q, q_there) = of(0, sizes.heads(), sizes.queries, sizes.width)?;
        let (k, k_there) = of(1, sizes.key_heads, sizes.keys, sizes.width)?;
        let (v, v_there) = of(2, sizes.key_heads, sizes.keys, sizes.value_width)?;
        let mask = self.mask(dtype)?;
        let exact = self.exact(&q, &k, &v, mask.as_ref())?;
        let mask = mask.map(|mask| mask.to_device(&rocm()?)).transpose()?;
        let found = sdpa(
            &q_there,
            &k_there,
            &v_there,
            mask.as_ref(),
            self.causal,
            self.scale(),
            self.softcapping,
        )?;
        within(&found, &exact, |_, _| self.bound(dtype))
    }
}

/// Minus infinity where query i of `queries` does not see key j: the last query sees all `keys`.
fn causal_mask(queries: usize, keys: usize) -> Result<Tensor> {
    let hidden = |i: usize, j: usize| j + queries > i + keys;
    let values = (0..queries * keys)
        .map(|at| match hidden(at / keys, at % keys) {
            true => f64::NEG_INFINITY,
            false => 0.0,
        })
        .collect::<Vec<_>>();
    Tensor::from_vec(values, (queries, keys), &Device::Cpu)
}

#[test]
fn fused_attention() {
    family(FUSED, cases(), |&dtype, case| {
        about("sdpa", dtype, case.check(dtype))
    });
}

/// One query and many keys: the context is cut into pieces, which another kernel joins.
#[test]
fn a_long_context() {
    let lengths = (300usize..1500, 1usize..4, 1usize..3, any::<u32>());
    family(FUSED, lengths, |&dtype, (keys, group, queries, seed)| {
        let sizes = Sizes {
            batches: 1,
            key_heads: 1,
            group,
            queries,
            keys,
            width: 64,
            value_width: 64,
        };
        let case = Case::of_model(sizes, seed.into());
        about("sdpa", dtype, case.check(dtype))
    });
}

/// So many heads that many rows take the tiles of multiply-adds, where a card has no matrix cores for their type.
#[test]
fn prompts() {
    let of = |key_heads, group, queries, keys, width, value_width, mask, causal, softcapping| {
        let sizes = Sizes {
            batches: 2,
            key_heads,
            group,
            queries,
            keys,
            width,
            value_width,
        };
        Case {
            mask,
            causal,
            softcapping,
            ..Case::of_model(sizes, keys as u64)
        }
    };
    let cases = [
        // A workgroup's rows, whole and not; a step's keys, whole, more and less; the last piece of each.
        of(12, 1, 64, 64, 64, 64, Mask::None, true, 1.0),
        of(13, 1, 43, 65, 64, 64, Mask::None, false, 1.0),
        of(7, 3, 23, 127, 64, 64, Mask::None, true, 1.0),
        of(6, 2, 65, 17, 128, 128, Mask::None, false, 1.0),
        of(6, 2, 65, 129, 128, 128, Mask::Full, false, 1.0),
        of(12, 1, 41, 80, 128, 64, Mask::Shared, true, 2.5),
        // Widths that are no whole number of pieces, of reads.
        of(12, 1, 40, 70, 72, 36, Mask::EachBatch, false, 1.0),
        of(12, 1, 40, 70, 30, 33, Mask::None, true, 1.0),
        of(12, 1, 45, 66, 136, 256, Mask::None, true, 1.0),
        of(6, 4, 11, 100, 200, 130, Mask::Full, false, 2.5),
        // Tiles that begin within a group; a context in two pieces, the second of an odd length.
        of(5, 8, 17, 90, 96, 96, Mask::None, true, 1.0),
        of(6, 2, 40, 299, 64, 64, Mask::None, true, 1.0),
    ];
    for case in cases {
        for &dtype in FUSED {
            case.check(dtype)
                .unwrap_or_else(|error| panic!("{dtype:?}, {case:?}: {error}"));
        }
    }
}

/// More queries than a tile has rows, and a context long enough for several pieces.
#[test]
fn a_prompt_behind_a_context() {
    let width = prop::sample::select(vec![20usize, 32, 40]);
    let sizes = (33usize..70, 260usize..700, 1usize..3, width, any::<u32>());
    family(
        FUSED,
        sizes,
        |&dtype, (queries, keys, group, width, seed)| {
            let sizes = Sizes {
                batches: 1,
                key_heads: 1,
                group,
                queries,
                keys,
                width,
                value_width: width,
            };
            let case = Case::of_model(sizes.limited(), seed.into());
            about("sdpa", dtype, case.check(dtype))
        },
    );
}

/// One key that counts most, and many whose weights f16 holds with few digits or none: they are all of the result.
#[test]
fn small_weights_count() {
    const SCORE: f32 = 12.0;
    const HEADS: usize = 26;
    const WIDTH: usize = 16;
    let check = |dtype, queries: usize, keys: usize| -> Result<()> {
        let device = rocm()?;
        let tensor = |positions: usize, number: &dyn Fn(usize, usize) -> f32| {
            let all = (0..HEADS * positions * WIDTH)
                .map(|i| number(i / WIDTH % positions, i % WIDTH))
                .collect::<Vec<_>>();
            Tensor::from_vec(all, (1, HEADS, positions, WIDTH), &device)?.to_dtype(dtype)
        };
        let first = |i: usize| if i == 0 { 1.0 } else { 0.0 };
        let q = tensor(queries, &|_, element| first(element))?;
        let k = tensor(keys, &|key, element| SCORE * first(key) * first(element))?;
        let v = tensor(keys, &|key, _| 1.0 - first(key))?;
        let found = sdpa(&q, &k, &v, None, false, 1.0, 1.0)?;
        let others = (keys - 1) as f64;
        let exact = others / (f64::from(SCORE).exp() + others);
        let exact = Tensor::full(exact, found.shape(), &Device::Cpu)?;
        // The weights' rounding and the result's; an exponential of `SCORE`; a sum of `keys` numbers.
        let sum = keys as f64 + 4.0 * f64::from(SCORE);
        let share = 2.0 * unit_roundoff(dtype) + sum * accumulator_roundoff(dtype);
        within(&found, &exact, |_, exact| 1.01 * share * exact)
    };
    for &dtype in FUSED {
        for (queries, keys) in [(1, 400), (40, 151), (64, 80)] {
            check(dtype, queries, keys)
                .unwrap_or_else(|error| panic!("{dtype:?}, {queries} and {keys}: {error}"));
        }
    }
}

/// A query that sees no key has no answer: NaN, as softmax says. One that sees keys is right beside it.
#[test]
fn rows_without_keys() {
    // Few heads, and as many as tiles of multiply-adds take.
    let heads = prop::sample::select(vec![2usize, 26]);
    let sizes = (heads, 2usize..70, 1usize..40);
    family(FUSED, sizes, |&dtype, (heads, more, keys)| {
        let check = || {
            let queries = keys + more;
            let (device, width) = (rocm()?, 32);
            let tensor = |positions, seed| {
                let dims = [1, heads, positions, width];
                numbers(View::contiguous(seed), &dims, dtype)?.to_device(&device)
            };
            let (q, k, v) = (tensor(queries, 1)?, tensor(keys, 2)?, tensor(keys, 3)?);
            let found = sdpa(&q, &k, &v, None, true, 1.0, 1.0)?;
            let blind = doubles(&found.narrow(2, 0, more)?)?;
            if !blind.iter().all(|x| x.is_nan()) {
                candle::bail!("numbers where no key is seen")
            }
            // Those that see keys are a square of their own.
            let seeing = q.narrow(2, more, keys)?;
            let expected = sdpa(&seeing, &k, &v, None, true, 1.0, 1.0)?;
            let exact = wide(&expected.to_device(&Device::Cpu)?)?;
            // Twice the result's rounding: another kernel may compute the smaller square.
            let found = found.narrow(2, more, keys)?;
            within(&found, &exact, |_, _| {
                4.0 * unit_roundoff(dtype) + 100.0 * accumulator_roundoff(dtype)
            })
        };
        about("sdpa", dtype, check())
    });
}

/// Attention composed of products and softmax, as the models have it that do not call `sdpa`.
fn composed(q: &Tensor, k: &Tensor, v: &Tensor, groups: usize, scale: f64) -> Result<Tensor> {
    let repeated = |t: &Tensor| {
        let (b, h, n, d) = t.dims4()?;
        t.unsqueeze(2)?
            .expand((b, h, groups, n, d))?
            .reshape((b, h * groups, n, d))
    };
    let scores = (q.matmul(&repeated(k)?.t()?)? * scale)?;
    candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&repeated(v)?)
}

#[test]
fn attention_from_its_parts() {
    let small = (
        1usize..3,
        1usize..4,
        1usize..3,
        1usize..7,
        1usize..20,
        1usize..40,
    );
    family(FLOATS, (small, any::<u32>()), |&dtype, (sizes, seed)| {
        let (b, h, g, m, n, d) = sizes;
        let check = || {
            let of = |heads, len, seed| {
                let content = Content::Between(-1.0, 1.0);
                View::contiguous(seed).tensor(&[b, heads, len, d], dtype, content)
            };
            let seed = u64::from(seed);
            let (q, k, v) = (
                of(h * g, m, seed)?,
                of(h, n, seed + 1)?,
                of(h, n, seed + 2)?,
            );
            // A power of two, which scales without rounding.
            let scale = if d < 8 { 1.0 } else { 0.25 };
            let exact = composed(&wide(&q)?, &wide(&k)?, &wide(&v)?, g, scale)?;
            let device = rocm()?;
            let there = |t: &Tensor| t.to_device(&device);
            let found = composed(&there(&q)?, &there(&k)?, &there(&v)?, g, scale)?;
            // The error of the scores, sums of d products below 1, goes through the exponential as it is; weights and
            // sums add a few roundings each; the result is a mean of numbers below 1.
            let (unit, sum) = (unit_roundoff(dtype), accumulator_roundoff(dtype));
            let (n, d) = (n as f64, d as f64);
            let score = d * unit + d * d * sum;
            let weights = 2.0 * score + 20.0 * unit + 32.0 * unit.min(n * unit);
            within(&found, &exact, |_, _| 1.01 * (weights + n * sum + unit))
        };
        about("attention", dtype, check())
    });
}

/// Inputs that do not fit each other are refused with what they are.
#[test]
fn inputs_that_do_not_fit() {
    property(Just(()), |()| {
        let device = rocm()?;
        let zeros = |dims: [usize; 4], dtype| Tensor::zeros(&dims, dtype, &device);
        let f16 = |dims| zeros(dims, DType::F16);
        let (q, k) = (f16([1, 4, 2, 64])?, f16([1, 2, 5, 64])?);
        let mask = |dims: &[usize], dtype, device: &Device| Tensor::zeros(dims, dtype, device);
        let refused = |q: &Tensor,
                       k: &Tensor,
                       v: &Tensor,
                       mask: Option<Tensor>,
                       cap,
                       part: &str| {
            match sdpa(q, k, v, mask.as_ref(), false, 1.0, cap) {
                Ok(_) => candle::bail!("no error with {part:?}"),
                Err(e) if e.to_string().contains(part) => Ok(()),
                Err(e) => candle::bail!("{part:?} is not in {e}"),
            }
        };
        let three = f16([1, 3, 5, 64])?;
        refused(&q, &three, &three, None, 1.0, "[1, 3, 5, 64]")?;
        refused(&q, &f16([1, 2, 5, 32])?, &k, None, 1.0, "[1, 2, 5, 32]")?;
        refused(&q, &k, &f16([1, 2, 4, 64])?, None, 1.0, "[1, 2, 4, 64]")?;
        refused(&q, &f16([2, 2, 5, 64])?, &k, None, 1.0, "[2, 2, 5, 64]")?;
        refused(&q, &zeros([1, 2, 5, 64], DType::F32)?, &k, None, 1.0, "F32")?;
        let double = zeros([1, 2, 5, 64], DType::F64)?;
        refused(&double, &double, &double, None, 1.0, "F64")?;
        let wide = f16([1, 2, 5, 576])?;
        refused(&wide, &wide, &wide, None, 1.0, "576")?;
        refused(&q, &k, &k, None, 0.0, "softcapping")?;
        let odd = mask(&[1, 3, 2, 5], DType::F16, &device)?;
        refused(&q, &k, &k, Some(odd), 1.0, "[1, 3, 2, 5]")?;
        let single = mask(&[2, 5], DType::F32, &device)?;
        refused(&q, &k, &k, Some(single), 1.0, "the mask is F32")?;
        let elsewhere = mask(&[2, 5], DType::F16, &Device::Cpu)?;
        refused(&q, &k, &k, Some(elsewhere), 1.0, "the mask is not")
    });
}

/// Nothing to look at and nothing to compute.
#[test]
fn empty_tensors() {
    property(Just(()), |()| {
        let device = rocm()?;
        let ones = |dims: [usize; 4]| Tensor::ones(&dims, DType::F32, &device);
        let (q, k) = (ones([1, 2, 3, 8])?, ones([1, 1, 0, 8])?);
        let found = sdpa(&q, &k, &k, None, false, 1.0, 1.0)?;
        within(
            &found,
            &Tensor::zeros((1, 2, 3, 8), DType::F64, &Device::Cpu)?,
            |_, _| 0.0,
        )?;
        let none = ones([1, 2, 0, 8])?;
        let k = ones([1, 1, 4, 8])?;
        let found = sdpa(&none, &k, &k, None, false, 1.0, 1.0)?;
        assert_eq!(found.dims(), [1, 2, 0, 8]);
        Ok(())
    });
}
