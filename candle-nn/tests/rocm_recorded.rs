//! A recorded decoding step gives what the plain calls give: at each position, when the cache has to grow, after a clone, and
//! where recording is not possible.
use candle::rocm_backend::hip::{counters, Counters};
use candle::{Device, Result, Tensor};
use candle_nn::fused::{CachedAttention, RecordedStep, Rotary};
use std::sync::{Mutex, MutexGuard, PoisonError};

const TOKENS: usize = 50;
const HEADS: usize = 4;
const KEY_HEADS: usize = 2;
const WIDTH: usize = 32;
const POSITIONS: usize = 600;
/// Sums of at most 600 weighted values in f32, cut into other pieces when recorded.
const NEAR: f32 = 1e-5;

/// The counters and the recording are the process's.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One layer: rows of a table are queries, keys and values; what attention makes of them are the logits.
#[derive(Clone)]
struct Model {
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    cos: Tensor,
    sin: Tensor,
    cache: CachedAttention,
    step: RecordedStep,
    /// Reads a value on the host in each step.
    waits: bool,
}

impl Model {
    fn new(device: &Device) -> Result<Self> {
        let table = |heads: usize, seed: usize| -> Result<Tensor> {
            let values = (0..TOKENS * heads * WIDTH)
                .map(|i| (((i * 37 + seed * 11) % 101) as f32 - 50.0) / 40.0);
            Tensor::from_iter(values, device)?.reshape((TOKENS, heads * WIDTH))
        };
        let angles: Vec<f32> = (0..POSITIONS * WIDTH / 2)
            .map(|i| (i / (WIDTH / 2)) as f32 * 0.7f32.powi((i % (WIDTH / 2)) as i32))
            .collect();
        let angles = Tensor::from_vec(angles, (POSITIONS, WIDTH / 2), device)?;
        Ok(Self {
            queries: table(HEADS, 1)?,
            keys: table(KEY_HEADS, 2)?,
            values: table(KEY_HEADS, 3)?,
            cos: angles.cos()?,
            sin: angles.sin()?,
            cache: CachedAttention::new(),
            step: RecordedStep::new(),
            waits: false,
        })
    }

    fn plain(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        let (batch, n) = tokens.dims2()?;
        let ids = tokens.flatten_all()?;
        let rows = |table: &Tensor, heads| {
            table
                .index_select(&ids, 0)?
                .reshape((batch, n, heads, WIDTH))?
                .transpose(1, 2)
        };
        if self.waits {
            ids.to_vec1::<u32>()?;
        }
        if position == 0 {
            self.cache.reset();
        }
        let (q, k) = (rows(&self.queries, HEADS)?, rows(&self.keys, KEY_HEADS)?);
        let v = rows(&self.values, KEY_HEADS)?;
        let rotary = Rotary::new(&self.cos, &self.sin, false);
        self.cache.forward(&q, &k, &v, &rotary, position, None)
    }

    fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        let mut step = std::mem::take(&mut self.step);
        let out = step.step(tokens, position, |tokens| self.plain(tokens, position));
        self.step = step;
        out
    }
}

fn tokens(device: &Device, batch: usize, n: usize, first: usize) -> Result<Tensor> {
    let ids: Vec<u32> = (0..batch * n)
        .map(|i| ((first + i * 7) % TOKENS) as u32)
        .collect();
    Tensor::from_vec(ids, (batch, n), device)
}

fn assert_equal(expected: &Tensor, found: &Tensor, what: &str) -> Result<()> {
    assert_eq!(expected.dims(), found.dims(), "{what}");
    let off = (expected - found)?
        .abs()?
        .flatten_all()?
        .max(0)?
        .to_scalar::<f32>()?;
    assert!(off <= NEAR, "{what}: {off} off");
    Ok(())
}

/// Both from a prompt of `prompt` tokens on, for `steps` more; how many of these were launches of a graph.
fn run(
    model: &mut Model,
    plain: &mut Model,
    batch: usize,
    prompt: usize,
    steps: usize,
) -> Result<usize> {
    let device = model.queries.device().clone();
    let ids = tokens(&device, batch, prompt, 3)?;
    assert_equal(&plain.plain(&ids, 0)?, &model.forward(&ids, 0)?, "prompt")?;
    let mut recorded = 0;
    for position in prompt..prompt + steps {
        let id = tokens(&device, batch, 1, position)?;
        let found = model.forward(&id, position)?;
        assert_equal(
            &plain.plain(&id, position)?,
            &found,
            &format!("position {position}"),
        )?;
        assert_eq!(model.cache.len(), position + 1);
        recorded += usize::from(model.step.is_recorded());
    }
    Ok(recorded)
}

#[test]
fn every_step_is_the_plain_one() -> Result<()> {
    let _alone = alone();
    let device = Device::new_rocm(0)?;
    let (mut model, mut plain) = (Model::new(&device)?, Model::new(&device)?);
    assert_eq!(run(&mut model, &mut plain, 1, 5, 12)?, 10);
    // Another conversation, of another length, in two rows.
    assert_eq!(run(&mut model, &mut plain, 2, 9, 8)?, 6);
    // A cache that is full on the way: 250 positions come with room for 512.
    let recorded = run(&mut model, &mut plain, 1, 250, 290)?;
    assert!((280..288).contains(&recorded), "{recorded} of 290");
    Ok(())
}

#[test]
fn results_stay_what_they_were() -> Result<()> {
    let _alone = alone();
    let device = Device::new_rocm(0)?;
    let mut model = Model::new(&device)?;
    model.forward(&tokens(&device, 1, 4, 0)?, 0)?;
    let mut kept = Vec::new();
    for position in 4..12 {
        let out = model.forward(&tokens(&device, 1, 1, position)?, position)?;
        kept.push((out.flatten_all()?.to_vec1::<f32>()?, out));
    }
    for (values, out) in kept {
        assert_eq!(out.flatten_all()?.to_vec1::<f32>()?, values);
    }
    Ok(())
}

/// Original and clone go on differently from where they parted, in whichever order.
#[test]
fn a_clone_goes_its_own_way() -> Result<()> {
    let _alone = alone();
    let device = Device::new_rocm(0)?;
    for clone_first in [false, true] {
        let (mut model, mut plain) = (Model::new(&device)?, Model::new(&device)?);
        run(&mut model, &mut plain, 1, 4, 5)?;
        assert!(model.step.is_recorded());
        let (mut other, mut other_plain) = (model.clone(), plain.clone());
        assert!(!other.step.is_recorded());
        for position in 9..15 {
            let ids = [
                tokens(&device, 1, 1, position)?,
                tokens(&device, 1, 1, position + 20)?,
            ];
            let mut original = || -> Result<()> {
                let expected = plain.plain(&ids[0], position)?;
                assert_equal(&expected, &model.forward(&ids[0], position)?, "original")
            };
            let mut clone = || -> Result<()> {
                let expected = other_plain.plain(&ids[1], position)?;
                assert_equal(&expected, &other.forward(&ids[1], position)?, "clone")
            };
            if clone_first {
                clone()?;
                original()?;
            } else {
                original()?;
                clone()?;
            }
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_recorded_stays_plain() -> Result<()> {
    let _alone = alone();
    let device = Device::new_rocm(0)?;
    let (mut model, mut plain) = (Model::new(&device)?, Model::new(&device)?);
    model.waits = true;
    assert_eq!(run(&mut model, &mut plain, 1, 5, 10)?, 0);
    Ok(())
}

#[test]
fn a_step_is_one_launch_of_a_graph() -> Result<()> {
    let _alone = alone();
    let device = Device::new_rocm(0)?;
    let mut model = Model::new(&device)?;
    model.forward(&tokens(&device, 1, 4, 0)?, 0)?;
    for position in 4..8 {
        model.forward(&tokens(&device, 1, 1, position)?, position)?;
    }
    let id = tokens(&device, 1, 1, 8)?;
    let before = counters();
    model.forward(&id, 8)?;
    let calls = counters().since(&before);
    assert_eq!(calls.graph_launches, 1);
    // The token goes into the graph's, the logits come out of it.
    let expected = Counters {
        graph_launches: 1,
        launches: calls.launches,
        device_to_device: calls.device_to_device,
        ..Counters::default()
    };
    assert_eq!(calls, expected);
    assert!(
        calls.launches + calls.device_to_device.count <= 2,
        "{calls:?}"
    );
    Ok(())
}
