//! Caches of keys and values: the same calls on both devices, the same content after each.
use crate::cases::{family, rocm};
use crate::nearness::{about, identical};
use crate::views::{view, Content, View};
use candle::{DType, Device, Result, Tensor};
use candle_nn::kv_cache::{Cache, ConcatKvCache, KvCache, RotatingCache, ScatteredCacheBuilder};
use proptest::prelude::*;

const CACHED: &[DType] = &[DType::F32, DType::F16, DType::BF16, DType::F64];

#[derive(Clone, Debug)]
struct Steps {
    batch: usize,
    heads: usize,
    dim: usize,
    /// Tokens appended by each call.
    lengths: Vec<usize>,
    view: View,
}

fn steps() -> impl Strategy<Value = Steps> {
    let lengths = prop::collection::vec(1usize..6, 1..6);
    (1usize..3, 1usize..4, 1usize..9, lengths, view()).prop_map(
        |(batch, heads, dim, lengths, view)| Steps {
            batch,
            heads,
            dim,
            lengths,
            view,
        },
    )
}

impl Steps {
    /// What the calls append, contiguous because the caches ask for it: keys here and there.
    fn tokens(&self, dtype: DType) -> Result<Vec<(Tensor, Tensor)>> {
        let each = self.lengths.iter().zip(self.view.seed..);
        each.map(|(&len, seed)| {
            let view = View { seed, ..self.view };
            let dims = [self.batch, self.heads, len, self.dim];
            let here = view.tensor(&dims, dtype, Content::Anything)?.contiguous()?;
            let there = here.to_device(&rocm()?)?;
            Ok((here, there))
        })
        .collect()
    }
}

#[test]
fn a_cache_that_grows() {
    family(CACHED, steps(), |&dtype, steps| {
        let check = || {
            let (mut here, mut there) = (KvCache::new(2, 4), KvCache::new(2, 4));
            let mut concat = ConcatKvCache::new(2);
            let mut plain = Cache::new(2, 64);
            for (k, k_there) in steps.tokens(dtype)? {
                let (v, v_there) = (k.flip(&[3])?, k_there.flip(&[3])?);
                let (k, v) = here.append(&k, &v)?;
                let found = there.append(&k_there, &v_there)?;
                identical(&found.0, &k)?;
                identical(&found.1, &v)?;
                let found = concat.append(&k_there, &v_there)?;
                identical(&found.0, &k)?;
                identical(&found.1, &v)?;
                plain.append(&k_there)?;
                match plain.current_data()? {
                    Some(found) => identical(&found, &k)?,
                    None => candle::bail!("nothing in the cache"),
                }
            }
            Ok(())
        };
        about("cache", dtype, check())
    });
}

#[test]
fn a_cache_that_rotates() {
    family(CACHED, steps(), |&dtype, steps| {
        let check = || {
            let (mut here, mut there) = (RotatingCache::new(2, 7), RotatingCache::new(2, 7));
            for (k, k_there) in steps.tokens(dtype)? {
                let len = k.dim(2)?;
                let masks = (
                    here.attn_mask(len, &Device::Cpu)?,
                    there.attn_mask(len, &rocm()?)?,
                );
                match masks {
                    (Some(mask), Some(found)) => identical(&found, &mask)?,
                    (None, None) => (),
                    _ => candle::bail!("a mask on one side only"),
                }
                identical(&there.append(&k_there)?, &here.append(&k)?)?;
            }
            Ok(())
        };
        about("rotating cache", dtype, check())
    });
}

#[test]
fn a_cache_that_scatters() {
    family(CACHED, steps(), |&dtype, steps| {
        let check = || {
            let build = |device: &Device| ScatteredCacheBuilder::new(steps.batch, 9, dtype, device);
            let (mut here, mut there) = (build(&Device::Cpu)?, build(&rocm()?)?);
            let mut cache = here.make_cache(steps.heads, steps.dim)?;
            let mut cache_there = there.make_cache(steps.heads, steps.dim)?;
            for (step, (k, k_there)) in steps.tokens(dtype)?.into_iter().enumerate() {
                // Every second entry sits out every second step.
                let active: Vec<bool> = (0..steps.batch)
                    .map(|i| (i + step) % 2 == 0 || i == 0)
                    .collect();
                let len = k.dim(2)?;
                let indices = here.indices_and_mask(len, &active)?;
                let indices_there = there.indices_and_mask(len, &active)?;
                identical(indices_there.mask(), indices.mask())?;
                let (k, v) = cache.append(&k, &k, &indices)?;
                let found = cache_there.append(&k_there, &k_there, &indices_there)?;
                identical(&found.0, &k)?;
                identical(&found.1, &v)?;
            }
            Ok(())
        };
        about("scattered cache", dtype, check())
    });
}
