//! `CachedAttention`: what the cache holds and what attention makes of it.
use crate::{numbers, off, rocm, rounding, there, wide, DTYPES};
use candle::quantized::{GgmlDType, QMatMul, QTensor};
use candle::{DType, Device, Module, Result, Tensor, D};
use candle_nn::fused::{product_in, CachedAttention, Rotary};

/// An attention, and the angles of its positions.
struct Case {
    batch: usize,
    heads: usize,
    key_heads: usize,
    width: usize,
    rotary: usize,
    interleaved: bool,
    dtype: DType,
    /// The type of what the cache holds.
    held: DType,
    angles: DType,
    /// Heads are normalised before they are rotated.
    normed: bool,
}

const EPS: f32 = 1e-6;

/// Positions that there are angles for.
const POSITIONS: usize = 900;

impl Case {
    fn angles(&self) -> Result<(Tensor, Tensor)> {
        let half = self.rotary / 2;
        let of = |i: usize| (i / half) as f32 / 50f32.powf((i % half) as f32 / half as f32);
        let angles: Vec<f32> = (0..POSITIONS * half).map(of).collect();
        let angles = Tensor::from_vec(angles, (POSITIONS, half), &Device::Cpu)?;
        let rounded = |t: Tensor| t.to_dtype(self.angles);
        Ok((rounded(angles.cos()?)?, rounded(angles.sin()?)?))
    }

    /// New queries, keys and values as the products leave them: heads of a position side by side.
    fn tokens(&self, count: usize, seed: u64) -> Result<[Tensor; 3]> {
        let heads = [self.heads, self.key_heads, self.key_heads];
        let [q, k, v] = [0, 1, 2].map(|i| -> Result<Tensor> {
            let shape = [self.batch, count, heads[i], self.width];
            let x = numbers(&shape, seed * 3 + i as u64)?.to_dtype(self.dtype)?;
            x.transpose(1, 2)
        });
        Ok([q?, k?, v?])
    }

    /// Weights of the norms of queries and keys.
    fn norms(&self) -> Result<[Tensor; 2]> {
        let of = |seed| numbers(&[self.width], seed)?.to_dtype(self.dtype);
        Ok([of(77)?, of(78)?])
    }

    /// Normalised with `norm` and rotated by the definition, in f64 and rounded as the cache rounds it.
    fn rotated(&self, x: &Tensor, norm: &Tensor, from: usize) -> Result<Tensor> {
        let (cos, sin) = self.angles()?;
        let (_, _, count, width) = x.dims4()?;
        let half = self.rotary / 2;
        let table = |t: Tensor| wide(&t.narrow(0, from, count)?);
        let (cos, sin) = (table(cos)?, table(sin)?);
        let mut x = wide(x)?;
        if self.normed {
            let mean = (x.sqr()?.mean_keepdim(D::Minus1)? + f64::from(EPS))?;
            x = x.broadcast_div(&mean.sqrt()?)?;
            x = x.broadcast_mul(&wide(norm)?)?;
            x = wide(&x.to_dtype(self.dtype)?)?;
        }
        let pair = |i: usize| match self.interleaved {
            true => (2 * i, 2 * i + 1),
            false => (i, i + half),
        };
        let mut columns: Vec<Tensor> = (0..width)
            .map(|i| x.narrow(3, i, 1))
            .collect::<Result<_>>()?;
        for i in 0..half {
            let (first, second) = pair(i);
            let angle = |t: &Tensor| t.narrow(1, i, 1)?.reshape((1, 1, count, 1));
            let (c, s) = (angle(&cos)?, angle(&sin)?);
            let (a, b) = (columns[first].clone(), columns[second].clone());
            columns[first] = (a.broadcast_mul(&c)? - b.broadcast_mul(&s)?)?;
            columns[second] = (a.broadcast_mul(&s)? + b.broadcast_mul(&c)?)?;
        }
        wide(&Tensor::cat(&columns, 3)?.to_dtype(self.held)?)
    }

    /// Attention by the definition, in f64.
    fn exact(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let (b, h, n, w) = q.dims4()?;
        let keys = k.dim(2)?;
        let repeat = |t: &Tensor| {
            let group = h / self.key_heads;
            let shape = (b, self.key_heads, group, keys, w);
            t.unsqueeze(2)?
                .broadcast_as(shape)?
                .reshape((b, h, keys, w))
        };
        let scores = (q.matmul(&repeat(k)?.t()?.contiguous()?)? / (w as f64).sqrt())?;
        let hidden = |i: usize, j: usize| {
            if j + n > i + keys {
                f64::NEG_INFINITY
            } else {
                0.0
            }
        };
        let mask: Vec<f64> = (0..n * keys)
            .map(|at| hidden(at / keys, at % keys))
            .collect();
        let mask = Tensor::from_vec(mask, (1, 1, n, keys), &Device::Cpu)?;
        let weights = candle_nn::ops::softmax(&scores.broadcast_add(&mask)?, D::Minus1)?;
        let out = weights.matmul(&repeat(v)?.contiguous()?)?;
        out.transpose(1, 2)?.reshape((b, n, h * w))
    }

    /// What the cache should hold, appended to.
    fn append(&self, held: &mut Option<(Tensor, Tensor)>, k: Tensor, v: Tensor) -> Result<()> {
        *held = Some(match held.take() {
            None => (k, v),
            Some((a, b)) => (Tensor::cat(&[&a, &k], 2)?, Tensor::cat(&[&b, &v], 2)?),
        });
        Ok(())
    }

    /// Takes `count` more tokens into the cache and into what it should hold, and compares the attention.
    fn step(
        &self,
        cache: &mut CachedAttention,
        held: &mut Option<(Tensor, Tensor)>,
        count: usize,
        seed: u64,
    ) -> Result<()> {
        let at = cache.len();
        let [q, k, v] = self.tokens(count, seed)?;
        let (cos, sin) = self.angles()?;
        let (cos, sin) = (cos.to_device(&rocm()?)?, sin.to_device(&rocm()?)?);
        let on = |x: &Tensor| x.to_device(&rocm()?);
        let [q_norm, k_norm] = self.norms()?;
        let norms = (on(&q_norm)?, on(&k_norm)?);
        let mut rotary = Rotary::new(&cos, &sin, self.interleaved);
        if self.normed {
            rotary = rotary.after_norms(&norms.0, &norms.1, EPS);
        }
        let found = cache.forward(&on(&q)?, &on(&k)?, &on(&v)?, &rotary, at, None)?;
        assert_eq!((found.dtype(), cache.len()), (self.held, at + count));
        let values = wide(&v.to_dtype(self.held)?)?;
        self.append(held, self.rotated(&k, &k_norm, at)?, values)?;
        let Some((keys, values)) = held else {
            candle::bail!("nothing was appended")
        };
        let exact = self.exact(&self.rotated(&q, &q_norm, at)?, keys, values)?;
        // Scores of up to 4 * width / sqrt(width) are sums of rounded products, their powers the weights; rotation
        // rounds once more where the type is narrow (a unit that is rounded the other way).
        let allowed = 64.0 * rounding(self.held);
        let off = off(&found, &exact)?;
        assert!(
            off <= allowed,
            "{count} tokens at {at}: {off:e}, {allowed:e} allowed"
        );
        Ok(())
    }
}

fn llama(dtype: DType) -> Case {
    Case {
        batch: 1,
        heads: 4,
        key_heads: 2,
        width: 64,
        rotary: 64,
        interleaved: true,
        dtype,
        held: dtype,
        angles: DType::F32,
        normed: false,
    }
}

#[test]
fn attention_is_that_of_its_parts() -> Result<()> {
    let narrow = |interleaved| Case {
        batch: 2,
        heads: 3,
        key_heads: 3,
        width: 80,
        rotary: 32,
        interleaved,
        dtype: DType::F32,
        held: DType::F32,
        angles: DType::F16,
        normed: interleaved,
    };
    let halves = Case {
        interleaved: false,
        ..llama(DType::F32)
    };
    let normed = Case {
        normed: true,
        ..llama(DType::F32)
    };
    let half = Case {
        normed: true,
        ..llama(DType::F16)
    };
    let bf16 = Case {
        angles: DType::BF16,
        ..llama(DType::BF16)
    };
    // Products in f32, keys and values in half of that: glm4's and qwen3_moe's.
    let in_f16 = Case {
        held: DType::F16,
        ..narrow(true)
    };
    let in_bf16 = Case {
        held: DType::BF16,
        ..llama(DType::F32)
    };
    for case in [
        llama(DType::F32),
        in_f16,
        in_bf16,
        halves,
        normed,
        narrow(true),
        narrow(false),
        half,
        bf16,
    ] {
        let cache = match case.held == case.dtype {
            true => CachedAttention::new(),
            false => CachedAttention::holding(case.held),
        };
        let (mut cache, mut held) = (cache, None);
        // A prompt, tokens, another prompt, a token.
        for (seed, count) in [11, 1, 1, 5, 1].into_iter().enumerate() {
            case.step(&mut cache, &mut held, count, seed as u64)?;
        }
        cache.reset();
        assert!(cache.is_empty());
        case.step(&mut cache, &mut None, 2, 9)?;
    }
    Ok(())
}

/// Beyond the room that it was made with; and a clone at each of the lengths.
#[test]
fn a_cache_grows_and_its_clones_part() -> Result<()> {
    let case = Case {
        heads: 2,
        key_heads: 1,
        width: 32,
        rotary: 32,
        ..llama(DType::F32)
    };
    let (mut cache, mut held) = (CachedAttention::new(), None);
    for (seed, count) in [250, 5, 1, 2, 130, 1].into_iter().enumerate() {
        let seed = seed as u64;
        let (mut clone, mut held_by_clone) = (cache.clone(), held.clone());
        case.step(&mut cache, &mut held, count, seed)?;
        case.step(&mut clone, &mut held_by_clone, 1, seed + 100)?;
        case.step(&mut clone, &mut held_by_clone, 2, seed + 200)?;
    }
    // What the clones appended left no trace.
    case.step(&mut cache, &mut held, 1, 300)
}

/// Products of what attention leaves are those of a copy, which they convert themselves: whether one kernel writes the result or
/// joins the pieces of the context, and where heads are no whole segments and nothing is left.
#[test]
fn attention_leaves_its_result_in_int8() -> Result<()> {
    let device = rocm()?;
    let of = |batch, heads, key_heads, width, dtype| Case {
        batch,
        heads,
        key_heads,
        width,
        rotary: 32,
        ..llama(dtype)
    };
    let mut cases: Vec<_> = DTYPES.into_iter().map(llama).collect();
    cases.extend([
        of(2, 3, 3, 96, DType::F32),
        of(3, 2, 1, 32, DType::BF16),
        // On matrix cores where there are any.
        of(1, 16, 2, 64, DType::F16),
        of(1, 6, 2, 80, DType::F16),
        // A row of whole segments, of heads that are not.
        of(1, 2, 2, 48, DType::F32),
    ]);
    for case in cases {
        let k = case.heads * case.width;
        let quantized = |weights: &Tensor, dtype| {
            QMatMul::from_qtensor(QTensor::quantize_onto(weights, dtype, &device)?)
        };
        // Each integer times its scale by itself; and the sums of both halves of a segment.
        let identity = Tensor::eye(k, DType::F32, &Device::Cpu)?;
        let mut weights = vec![
            quantized(&identity, GgmlDType::Q8_0)?,
            quantized(&numbers(&[24, k], 1)?, GgmlDType::Q4_1)?,
        ];
        if k.is_multiple_of(256) {
            weights.push(quantized(&numbers(&[24, k], 2)?, GgmlDType::Q2K)?);
        }
        let bits = |x: &Tensor| wide(x)?.flatten_all()?.to_vec1::<f64>();
        let same = |x: &Tensor, what: &str| -> Result<()> {
            let copy = x.to_device(&Device::Cpu)?.to_device(&device)?;
            for w in &weights {
                let (found, expected) = (bits(&w.forward(x)?)?, bits(&w.forward(&copy)?)?);
                assert!(expected.iter().any(|x| *x != 0.0));
                assert_eq!(found, expected, "{what}, {k} of {:?}", case.dtype);
            }
            Ok(())
        };
        let (cos, sin) = case.angles()?;
        let (cos, sin) = (cos.to_device(&device)?, sin.to_device(&device)?);
        let rotary = Rotary::new(&cos, &sin, true);
        let mut cache = CachedAttention::new();
        // A segment in three of zeros, the others from large to tiny.
        let scale = |i: usize| ((i / 32 + 1) % 3) as f32 * 0.5f32.powi((i / 96 % 6) as i32);
        let scales = Tensor::from_iter((0..k).map(scale), &Device::Cpu)?;
        let scales = scales.narrow(0, 0, case.key_heads * case.width)?;
        let scales = scales.reshape((1, case.key_heads, 1, case.width))?;
        for (seed, count) in [20, 1, 300, 1].into_iter().enumerate() {
            let [q, k, v] = case.tokens(count, seed as u64)?;
            let v = wide(&v)?.broadcast_mul(&scales.to_dtype(DType::F64)?)?;
            let v = there(&v, case.dtype)?;
            let (q, k) = (there(&q, case.dtype)?, there(&k, case.dtype)?);
            let at = cache.len();
            let out = cache.forward(&q, &k, &v, &rotary, at, None)?;
            same(&out, &format!("{count} tokens at {at}"))?;
            // As models go on whose other activations are in f32.
            let wide = out.to_dtype(DType::F32)?;
            same(&wide, &format!("{count} tokens at {at}, in f32"))?;
            for w in &weights {
                let (at_once, apart) = (product_in(w, &out, DType::F32)?, w.forward(&wide)?);
                assert_eq!(bits(&at_once)?, bits(&apart)?);
            }
            if count == 1 {
                // What is left ends with the elements.
                let ones = Tensor::ones((case.batch, 1, 7), case.dtype, &device)?;
                out.slice_set(&ones, 2, 3)?;
                same(&out, "with other elements")?;
            }
        }
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error() -> Result<()> {
    let case = llama(DType::F32);
    let (cos, sin) = case.angles()?;
    let (cos, sin) = (cos.to_device(&rocm()?)?, sin.to_device(&rocm()?)?);
    let rotary = Rotary::new(&cos, &sin, true);
    let [q, k, v] = case
        .tokens(2, 1)?
        .map(|x| x.to_device(&rocm().unwrap()).unwrap());
    let mut cache = CachedAttention::new();
    let mut says = |parts: &[&str], q: &Tensor, k: &Tensor, v: &Tensor, position: usize| {
        let error = cache.forward(q, k, v, &rotary, position, None);
        let error = error.expect_err(parts[0]).to_string();
        for part in parts {
            assert!(error.contains(part), "no '{part}' in: {error}");
        }
    };
    says(&["do not fit", "[1, 4, 2, 64]"], &q, &k, &q, 0);
    says(
        &["positions 899 to 901", "[900, 32]"],
        &q,
        &k,
        &v,
        POSITIONS - 1,
    );
    let on_cpu = case.tokens(2, 1)?;
    let devices = ["on Cpu do not continue a cache", "on Rocm"];
    says(&devices, &on_cpu[0], &on_cpu[1], &on_cpu[2], 0);
    cache.reset();
    cache.forward(&q, &k, &v, &rotary, 0, None)?;
    let mut wide = CachedAttention::holding(DType::F64);
    let error = wide.forward(&q, &k, &v, &rotary, 0, None);
    let error = error.expect_err("a cache in f64").to_string();
    assert!(error.contains("heads in F32 for a cache in F64"), "{error}");
    let wider = |x: &Tensor| Tensor::cat(&[x, x], 3);
    let error = cache.forward(&wider(&q)?, &wider(&k)?, &wider(&v)?, &rotary, 2, None);
    let error = error.expect_err("other heads").to_string();
    assert!(
        error.contains("do not continue a cache of [1, 2, 2, 64]"),
        "{error}"
    );
    Ok(())
}
