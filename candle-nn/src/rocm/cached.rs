//! [`crate::fused::CachedAttention`] on AMD GPUs: heads into the cache, by `place_heads` of candle-kernels' fused.hip, and
//! attention to what it holds.
use super::attention::{sdpa_for_product, Scores};
use super::WARP;
use crate::fused::{Norms, Rotary};
use candle::backend::BackendStorage;
use candle::rocm_backend::hip::{DevicePtr, KernelArg};
use candle::rocm_backend::{kernel_suffix, kernels};
use candle::{
    CpuStorage, CustomOp3, DType, InplaceOp1, Layout, Result, RocmStorage, Shape, Storage, Tensor,
};

/// `PLACING_WARPS` of fused.hip, a head each.
const PLACING_WARPS: u32 = 8;

/// `Heads` of fused.hip, byte for byte.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Heads {
    from: u64,
    to: u64,
    /// Weights of a norm, or 0.
    norm: u64,
    /// From batch entry to batch entry, head to head, position to position.
    from_steps: [u64; 3],
    to_steps: [u64; 3],
    heads: u32,
    rotated: u32,
}

/// `Placing` of fused.hip, byte for byte.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Placing {
    tensors: [Heads; 3],
    batches: u32,
    positions: u32,
    width: u32,
    rotary: u32,
    interleaved: u32,
    angles: u32,
    epsilon: f32,
    padding: u32,
    past: u64,
}
const _: () = assert!(size_of::<Heads>() == 80 && size_of::<Placing>() == 280);

// SAFETY: `repr(C)` without padding, laid out as the kernel's struct.
unsafe impl KernelArg for Placing {}

/// Normalises queries and keys where they want it and rotates them by the angles from number `position` on; keys and values go to
/// `kv`, `[2, batch, heads, capacity, width]`, from position `at` on. The result are the queries, in the type of `kv`.
pub(crate) struct Place<'a> {
    pub(crate) rotary: &'a Rotary<'a>,
    pub(crate) position: usize,
    pub(crate) kv: &'a Tensor,
    pub(crate) at: usize,
    /// A u32 on the device that is added to `position` and `at` when the kernel runs.
    pub(crate) past: Option<&'a Tensor>,
}

impl Place<'_> {
    /// The tensor, or a copy where the elements of a head do not lie side by side.
    fn source(x: &Tensor) -> Result<Tensor> {
        match x.stride().last() {
            Some(1) => Ok(x.clone()),
            _ => x.contiguous(),
        }
    }

    /// Places keys and values; the rotated queries are the result.
    pub(crate) fn heads(&self, (q, k, v): (&Tensor, &Tensor, &Tensor)) -> Result<Tensor> {
        Self::source(q)?.apply_op3_no_bwd(&Self::source(k)?, &Self::source(v)?, self)
    }
}

/// The address of a u32 on the device.
fn pointer_to(past: &Tensor) -> Result<DevicePtr> {
    let (storage, layout) = past.storage_and_layout();
    match &*storage {
        Storage::Rocm(storage) => Ok(storage.expect_dtype(DType::U32, "past")?.ptr(layout)),
        _ => candle::bail!("how many positions there are has to stand on rocm"),
    }
}

/// Attention of queries to keys and values that are cached, causal or with a mask in place of that. What a product reads of it
/// is left in int8.
pub(crate) struct Attend<'a> {
    pub(crate) mask: Option<&'a Tensor>,
    pub(crate) scale: f32,
    /// A u32 on the device, how many keys there are before the queries' own when the kernel runs: those of `k` and `v` are then
    /// the most that there can be.
    pub(crate) past: Option<&'a Tensor>,
}

impl CustomOp3 for Attend<'_> {
    only_on_rocm!("cached-attention", q k v);

    fn rocm_fwd(
        &self,
        q: &RocmStorage,
        q_l: &Layout,
        k: &RocmStorage,
        k_l: &Layout,
        v: &RocmStorage,
        v_l: &Layout,
    ) -> Result<(RocmStorage, Shape)> {
        let scores = Scores {
            mask: self.mask,
            causal: self.mask.is_none(),
            scale: self.scale,
            softcapping: 1.0,
        };
        let past = self.past.map_or(Ok(DevicePtr::NULL), pointer_to)?;
        sdpa_for_product((q, q_l), (k, k_l), (v, v_l), &scores, past)
    }
}

/// The launch, with all that is known before the cache is locked.
struct IntoCache<'a> {
    op: &'a Place<'a>,
    placing: Placing,
    /// The type of what comes.
    from: DType,
}

impl CustomOp3 for Place<'_> {
    only_on_rocm!("place-heads", q k v);

    fn rocm_fwd(
        &self,
        q: &RocmStorage,
        q_l: &Layout,
        k: &RocmStorage,
        k_l: &Layout,
        v: &RocmStorage,
        v_l: &Layout,
    ) -> Result<(RocmStorage, Shape)> {
        let op = self.name();
        let (batches, heads, positions, width) = q_l.shape().dims4()?;
        let (_, key_heads, _, _) = k_l.shape().dims4()?;
        let k = k.expect_dtype(q.dtype(), op)?;
        let v = v.expect_dtype(q.dtype(), op)?;
        let (angles, half) = self.rotary.cos.dims2()?;
        let rotary = 2 * half;
        let end = self.position + positions;
        if self.rotary.sin.dims() != [angles, half] || end > angles || rotary > width {
            candle::bail!(
                "{op}: angles {:?} and {:?} do not fit positions {} to {end} of heads of {width}",
                self.rotary.cos.dims(),
                self.rotary.sin.dims(),
                self.position
            )
        }
        let word = |what: &str, value: usize| -> Result<u32> {
            match i32::try_from(value) {
                Ok(v) => Ok(v as u32),
                Err(_) => candle::bail!("{op}: {what} is {value}, more than {}", i32::MAX),
            }
        };
        let most_heads = heads.max(key_heads);
        word(
            "the number of elements",
            batches * most_heads * positions * width,
        )?;
        let held = self.kv.dtype();
        let out = RocmStorage::uninit(q.device(), q_l.shape().elem_count(), held)?;
        let from = |x: &RocmStorage, l: &Layout, rotated: bool| -> Result<Heads> {
            let step = |dim: usize| l.stride()[dim] as u64;
            Ok(Heads {
                from: x.ptr(l).as_raw(),
                from_steps: [step(0), step(1), step(2)],
                heads: word("heads", l.dims()[1])?,
                rotated: rotated.into(),
                ..Heads::default()
            })
        };
        let queries = Heads {
            to: out.ptr_at(0).as_raw(),
            to_steps: [heads * positions * width, positions * width, width].map(|n| n as u64),
            ..from(q, q_l, true)?
        };
        let placing = Placing {
            tensors: [queries, from(k, k_l, true)?, from(v, v_l, false)?],
            batches: word("batch", batches)?,
            positions: word("positions", positions)?,
            width: word("width", width)?,
            rotary: word("rotary", rotary)?,
            interleaved: self.rotary.interleaved.into(),
            angles: 0,
            epsilon: self.rotary.norms.map_or(0.0, |norms| norms.eps),
            padding: 0,
            past: match self.past {
                Some(past) => pointer_to(past)?.as_raw(),
                None => 0,
            },
        };
        let into = [2, batches, key_heads, self.at + positions, width];
        let room = self.kv.dims();
        let fits = room.len() == 5 && {
            let same = [0, 1, 2, 4].iter().all(|&d| room[d] == into[d]);
            same && room[3] >= into[3] && self.kv.is_contiguous()
        };
        if !fits {
            candle::bail!("{op}: a cache of {room:?} has no place for {into:?}")
        }
        if q_l.shape().elem_count() > 0 {
            let (op, from) = (self, q.dtype());
            self.kv.inplace_op1(&IntoCache { op, placing, from })?;
        }
        Ok((out, q_l.shape().clone()))
    }
}

impl InplaceOp1 for IntoCache<'_> {
    only_on_rocm!("place-heads", in place);

    fn rocm_fwd(&self, kv: &mut RocmStorage, l: &Layout) -> Result<()> {
        let op = self.name();
        let Place {
            rotary,
            position,
            at,
            ..
        } = *self.op;
        let (_, batches, heads, capacity, width) = l.shape().dims5()?;
        let mut placing = self.placing;
        for which in 0..2 {
            let first = which * batches * heads * capacity * width + at * width;
            let into = &mut placing.tensors[1 + which];
            into.to = kv.ptr_at(l.start_offset() + first).as_raw();
            into.to_steps = [heads * capacity * width, capacity * width, width].map(|n| n as u64);
        }
        let (cos, cos_l) = rotary.cos.storage_and_layout();
        let (sin, sin_l) = rotary.sin.storage_and_layout();
        let (Storage::Rocm(cos), Storage::Rocm(sin)) = (&*cos, &*sin) else {
            candle::bail!("{op}: the queries are on rocm, the angles are not")
        };
        placing.angles = match cos.dtype() {
            DType::F32 => 0,
            DType::F16 => 1,
            DType::BF16 => 2,
            dtype => return Err(candle::Error::UnsupportedDTypeForOp(dtype, op).bt()),
        };
        let sin = sin.expect_dtype(cos.dtype(), op)?;
        let half = placing.rotary as usize / 2;
        let skipped = position * half * cos.dtype().size_in_bytes();
        let (from, to) = match (self.from, kv.dtype()) {
            (from, to) if from == to => (kernel_suffix(to, op)?, ""),
            (DType::F32, to @ (DType::F16 | DType::BF16)) => ("f32", kernel_suffix(to, op)?),
            (from, to) => candle::bail!(
                "{op}: heads in {from:?} for a cache in {to:?}: it holds their own type, or f16 or bf16 of f32"
            ),
        };
        let norms = match rotary.norms {
            Some(Norms { q, k, .. }) => vec![q, k],
            None => Vec::new(),
        };
        let held: Vec<_> = norms.iter().map(|t| t.storage_and_layout()).collect();
        for ((weight, weight_l), heads) in held.iter().zip(&mut placing.tensors) {
            let Storage::Rocm(weight) = &**weight else {
                candle::bail!("{op}: the queries are on rocm, the weights of their norm are not")
            };
            if weight_l.shape().elem_count() != width {
                candle::bail!(
                    "{op}: weights {:?} of a norm do not fit heads of {width}",
                    weight_l.shape()
                )
            }
            let weight = weight.expect_dtype(self.from, op)?;
            heads.norm = weight.contiguous_ptr(weight_l, op)?.as_raw();
        }
        let launch = kv
            .device()
            .launch(&kernels::FUSED, "place_heads", from, to)?;
        let launch = launch
            .arg(placing)
            .arg(cos.contiguous_ptr(cos_l, op)?.offset(skipped))
            .arg(sin.contiguous_ptr(sin_l, op)?.offset(skipped));
        let of_heads = placing.batches as usize * placing.positions as usize;
        let most = placing.tensors.iter().map(|t| t.heads).max().unwrap_or(0);
        let groups = (of_heads * most as usize).div_ceil(PLACING_WARPS as usize) as u32;
        // SAFETY: a warp for each head of the tensor with the most of them; those beyond another's last batch
        // entry do nothing. Sources are read by their strides; queries go to a result of their size, keys and values to
        // positions that `Place` checked against the cache's room, which is borrowed mutably.
        unsafe {
            launch
                .geometry([groups, 3, 1], [WARP, PLACING_WARPS, 1])
                .run()
        }
    }
}
