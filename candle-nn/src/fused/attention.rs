//! Attention of one layer with the keys and values that it has seen.
use candle::{DType, Result, Tensor};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// Positions are added to a cache in multiples of this.
const STEP: usize = 256;

/// By which angles queries and keys are rotated: cosines and sines for each position, contiguous, in f32, f16 or bf16.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "rocm"), allow(dead_code))] // read by the kernels' side alone
pub struct Rotary<'a> {
    pub(crate) cos: &'a Tensor,
    pub(crate) sin: &'a Tensor,
    pub(crate) interleaved: bool,
    pub(crate) norms: Option<Norms<'a>>,
}

/// How heads are normalised before they are rotated.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "rocm"), allow(dead_code))] // read by the kernels' side alone
pub(crate) struct Norms<'a> {
    pub(crate) q: &'a Tensor,
    pub(crate) k: &'a Tensor,
    pub(crate) eps: f32,
}

impl<'a> Rotary<'a> {
    /// `cos` and `sin` are `[positions, rotary / 2]`; the first `rotary` elements of a head are rotated, the others stay.
    /// The elements of a pair are neighbours when `interleaved`, as in [`crate::rotary_emb::rope_i`], else half of `rotary`
    /// apart, as in [`crate::rotary_emb::rope`].
    pub fn new(cos: &'a Tensor, sin: &'a Tensor, interleaved: bool) -> Self {
        Self {
            cos,
            sin,
            interleaved,
            norms: None,
        }
    }

    /// Each head of the queries and keys is normalised first, as [`crate::ops::rms_norm`] does; the weights `q` and `k` have as
    /// many elements as a head and its type.
    pub fn after_norms(self, q: &'a Tensor, k: &'a Tensor, eps: f32) -> Self {
        let norms = Some(Norms { q, k, eps });
        Self { norms, ..self }
    }
}

/// Causal self-attention with rotary embeddings and a cache of keys and values, on rocm: one launch rotates and stores what
/// is new, one or two compute the attention.
///
/// The cache grows in place: it holds room for half as many positions again as it has seen, if there are angles for so many,
/// and appending writes into that room. Only when it is used up, everything is copied to a larger one. A clone shares the room of its original; whichever
/// of the two appends first takes the place behind what they have in common, the other moves.
///
/// While a step is recorded ([`crate::fused::RecordedStep`]) the kernels read from the device where they are; the cache then
/// holds what the launches of that graph have added.
#[derive(Debug, Default)]
pub struct CachedAttention {
    room: Option<Room>,
    /// The type of keys and values here, if not that in which they come.
    dtype: Option<DType>,
    /// Positions seen, unless a graph counts them.
    len: usize,
    #[cfg(feature = "rocm")]
    follow: Option<Arc<super::recorded::Follow>>,
}

impl Clone for CachedAttention {
    /// The launches of a graph add to the original alone.
    fn clone(&self) -> Self {
        Self {
            room: self.room.clone(),
            dtype: self.dtype,
            len: self.len(),
            #[cfg(feature = "rocm")]
            follow: None,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Room {
    /// Keys and values, `[2, batch, heads, capacity, width]`.
    kv: Tensor,
    /// Positions that are taken, by this cache or a clone.
    taken: Arc<AtomicUsize>,
}

impl Room {
    fn capacity(&self) -> usize {
        self.kv.dims()[3]
    }

    /// Whether keys such as `k` belong here, in `dtype`.
    fn suits(&self, k: &Tensor, dtype: DType) -> bool {
        let [_, batch, heads, _, width] = self.kv.dims() else {
            return false;
        };
        let (here, there) = ([batch, heads, width], k.dims());
        here == [&there[0], &there[1], &there[3]]
            && self.kv.dtype() == dtype
            && self.kv.device().same_device(k.device())
    }

    /// Takes the positions from `len` to `end`, if there are so many and nobody has taken them.
    pub(super) fn take(&self, len: usize, end: usize) -> bool {
        let order = Ordering::Relaxed;
        end <= self.capacity() && self.taken.compare_exchange(len, end, order, order).is_ok()
    }
}

impl CachedAttention {
    /// An empty cache, of keys and values as they come.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty cache of keys and values in `dtype`: that in which they come, or f16 or bf16 where they come in f32. The launch
    /// that stores them converts them, rotated and normalised in f32; the result of the attention is in `dtype` too.
    pub fn holding(dtype: DType) -> Self {
        Self {
            dtype: Some(dtype),
            ..Self::default()
        }
    }

    /// Positions that the cache holds.
    pub fn len(&self) -> usize {
        #[cfg(feature = "rocm")]
        if let Some(follow) = &self.follow {
            return follow.len();
        }
        self.len
    }

    /// Whether it has no position.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts by itself from now on.
    fn unfollow(&mut self) {
        self.len = self.len();
        #[cfg(feature = "rocm")]
        {
            self.follow = None;
        }
    }

    /// Forgets all positions.
    pub fn reset(&mut self) {
        *self = Self {
            dtype: self.dtype,
            ..Self::default()
        };
    }

    /// The type in which keys such as `k` are held.
    fn dtype_of(&self, k: &Tensor) -> DType {
        self.dtype.unwrap_or(k.dtype())
    }

    /// Room for the positions of `k` behind the ones that are there, and for more of them up to `most`.
    fn room_for(&mut self, k: &Tensor, most: usize) -> Result<Room> {
        let (batch, heads, new, width) = k.dims4()?;
        let end = self.len + new;
        let dtype = self.dtype_of(k);
        if let Some(room) = &self.room {
            if !room.suits(k, dtype) {
                candle::bail!(
                    "cached attention: keys of {:?} in {:?} on {:?} do not continue a cache of {:?} (batch, heads, positions, \
                     width) in {:?} on {:?}",
                    k.dims(),
                    dtype,
                    k.device().location(),
                    [batch, room.kv.dims()[2], self.len, room.kv.dims()[4]],
                    room.kv.dtype(),
                    room.kv.device().location()
                )
            }
            if room.take(self.len, end) {
                return Ok(room.clone());
            }
        }
        let capacity = (end + end / 2).next_multiple_of(STEP).min(most.max(end));
        let kv = Tensor::zeros((2, batch, heads, capacity, width), dtype, k.device())?;
        if let Some(room) = &self.room {
            let held = room.kv.narrow(3, 0, self.len)?.contiguous()?;
            kv.slice_set(&held, 3, 0)?;
        }
        let taken = Arc::new(AtomicUsize::new(end));
        let room = Room { kv, taken };
        self.room = Some(room.clone());
        Ok(room)
    }

    /// Rotates `q` and `k`, which are at the positions from `position` on, appends `k` and `v`, and lets each query see the
    /// positions up to its own: `q` is `[batch, heads, n, width]`, `k` and `v` `[batch, key heads, n, width]`, of any strides and
    /// one type; the result is `[batch, n, heads * width]`. Scores are divided by the root of `width`. `mask`, where there is one, is added to
    /// them in place of the causal one, as [`crate::ops::sdpa`] takes it.
    ///
    /// # Errors
    /// Shapes and types that do not fit each other or what the cache holds; devices other than rocm.
    pub fn forward(
        &mut self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        rotary: &Rotary<'_>,
        position: usize,
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (batch, heads, new, width) = q.dims4()?;
        let (key_batch, key_heads, key_new, key_width) = k.dims4()?;
        let fits = k.dims() == v.dims()
            && [batch, new, width] == [key_batch, key_new, key_width]
            && key_heads > 0
            && heads.is_multiple_of(key_heads);
        if !fits {
            candle::bail!(
                "cached attention: q {:?}, k {:?} and v {:?} do not fit: they are [batch, heads, positions, width], and the \
                 heads of q a multiple of those of k and v",
                q.dims(),
                k.dims(),
                v.dims()
            )
        }
        #[cfg(feature = "rocm")]
        if let Some(follow) = super::recorded::current() {
            return self.record((q, k, v), rotary, position, mask, follow);
        }
        self.unfollow();
        let room = self.room_for(k, rotary.cos.dim(0)?)?;
        let places = (position, self.len);
        let out = attend((q, k, v), rotary, &room.kv, places, mask)?;
        self.len += new;
        out.transpose(1, 2)?.reshape((batch, new, heads * width))
    }

    /// [`forward`](Self::forward) of one position, for a graph: the room is what is there, and how much of it is taken stands on
    /// the device.
    #[cfg(feature = "rocm")]
    fn record(
        &mut self,
        (q, k, v): (&Tensor, &Tensor, &Tensor),
        rotary: &Rotary<'_>,
        position: usize,
        mask: Option<&Tensor>,
        follow: Arc<super::recorded::Follow>,
    ) -> Result<Tensor> {
        use crate::rocm::cached::{Attend, Place};
        let (batch, heads, new, width) = q.dims4()?;
        let Some(room) = self
            .room
            .clone()
            .filter(|room| room.suits(k, self.dtype_of(k)))
        else {
            candle::bail!(
                "cached attention: an empty cache, or keys of {:?}, cannot be recorded",
                k.dims()
            )
        };
        if new != 1 || mask.is_some() || position != self.len() || position != follow.len() {
            candle::bail!(
                "cached attention: {new} positions from {position} on, behind {} that are cached, with{} a mask: only the next \
                 position by itself can be recorded",
                self.len(),
                if mask.is_some() { "" } else { "out" }
            )
        }
        if position >= room.capacity() {
            candle::bail!("cached attention: the cache's room is used up: the next step makes more")
        }
        super::recorded::writes(&room, rotary.cos.dim(0)?);
        let place = Place {
            rotary,
            position: 0,
            kv: &room.kv,
            at: 0,
            past: Some(&follow.on_device),
        };
        let q = place.heads((q, k, v))?;
        let attend = Attend {
            mask: None,
            scale: 1.0 / (width as f32).sqrt(),
            past: Some(&follow.on_device),
        };
        let (k, v) = (room.kv.get(0)?, room.kv.get(1)?);
        let out = q.apply_op3_no_bwd(&k, &v, &attend)?;
        self.follow = Some(follow);
        out.transpose(1, 2)?.reshape((batch, new, heads * width))
    }
}

/// Writes rotated keys and plain values into `kv`; the result is the attention of the rotated queries to what is there then.
/// `places` are the positions of the first query: among the angles, and in `kv`.
#[cfg(feature = "rocm")]
fn attend(
    heads: (&Tensor, &Tensor, &Tensor),
    rotary: &Rotary<'_>,
    kv: &Tensor,
    (position, at): (usize, usize),
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    use crate::rocm::cached::{Attend, Place};
    let place = Place {
        rotary,
        position,
        kv,
        at,
        past: None,
    };
    let q = place.heads(heads)?;
    let (_, _, new, width) = q.dims4()?;
    let held = |which| kv.get(which)?.narrow(2, 0, at + new);
    let attend = Attend {
        mask,
        scale: 1.0 / (width as f32).sqrt(),
        past: None,
    };
    q.apply_op3_no_bwd(&held(0)?, &held(1)?, &attend)
}

#[cfg(not(feature = "rocm"))]
fn attend(
    (q, ..): (&Tensor, &Tensor, &Tensor),
    _: &Rotary<'_>,
    _: &Tensor,
    _: (usize, usize),
    _: Option<&Tensor>,
) -> Result<Tensor> {
    candle::bail!(
        "cached attention is for rocm, the queries are on {:?}",
        q.device()
    )
}
