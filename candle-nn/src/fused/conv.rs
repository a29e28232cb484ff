//! A short convolution, one position after the other.
use candle::{Result, Tensor};

/// The last positions of a gated short convolution of each channel by itself, as LFM2's layers have it, on rocm: one launch takes a
/// position in and computes its result.
///
/// The positions are changed in place, so that a recorded step ([`crate::fused::RecordedStep`]) goes on with them. A clone has its
/// own.
#[derive(Debug, Default)]
pub struct CachedConv {
    /// `[batch, channels, taps]`, or why a clone has none.
    state: Option<std::result::Result<Tensor, String>>,
}

impl Clone for CachedConv {
    fn clone(&self) -> Self {
        let copy = |state: &std::result::Result<Tensor, String>| match state {
            Ok(state) => state.force_contiguous().map_err(|e| e.to_string()),
            Err(e) => Err(e.clone()),
        };
        Self {
            state: self.state.as_ref().map(copy),
        }
    }
}

impl CachedConv {
    /// Zeros before the first position.
    pub fn new() -> Self {
        Self::default()
    }

    /// What stands before the next position, copied: `[batch, channels, taps]`, the newest last.
    ///
    /// # Errors
    /// Those of [`Tensor::force_contiguous`].
    pub fn set(&mut self, positions: &Tensor) -> Result<()> {
        self.state = Some(Ok(positions.force_contiguous()?));
        Ok(())
    }

    /// The next position. `bcx` is `[batch, 1, 3 * channels]`: b, c and x of each channel; b * x is what the convolution with
    /// `weight`, `[channels, taps]`, sees, and c times its result, `[batch, 1, channels]`, what comes out. Both contiguous, in f32,
    /// f16 or bf16.
    ///
    /// # Errors
    /// Shapes and types that do not fit each other or the positions before; devices other than rocm.
    pub fn step(&mut self, bcx: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let (batch, positions, columns) = bcx.dims3()?;
        let (channels, taps) = weight.dims2()?;
        if positions != 1 || taps == 0 || columns != 3 * channels {
            candle::bail!(
                "cached convolution: {:?} are not one position's b, c and x for weights {:?} (channels, taps)",
                bcx.dims(),
                weight.dims()
            )
        }
        let dims = [batch, channels, taps];
        let state = match &self.state {
            Some(Ok(state)) => state.clone(),
            Some(Err(e)) => candle::bail!("cached convolution: this clone could not be made: {e}"),
            None => Tensor::zeros(&dims[..], bcx.dtype(), bcx.device())?,
        };
        let continues = state.dims() == dims
            && state.dtype() == bcx.dtype()
            && state.device().same_device(bcx.device());
        if !continues {
            candle::bail!(
                "cached convolution: {dims:?} (batch, channels, taps) in {:?} on {:?} does not continue {:?} in {:?} on {:?}",
                bcx.dtype(),
                bcx.device().location(),
                state.dims(),
                state.dtype(),
                state.device().location()
            )
        }
        self.state = Some(Ok(state.clone()));
        convolve(bcx, weight, &state)
    }
}

#[cfg(feature = "rocm")]
fn convolve(bcx: &Tensor, weight: &Tensor, state: &Tensor) -> Result<Tensor> {
    bcx.apply_op2_no_bwd(weight, &crate::rocm::conv::GatedConv { state })
}

#[cfg(not(feature = "rocm"))]
fn convolve(bcx: &Tensor, _: &Tensor, _: &Tensor) -> Result<Tensor> {
    candle::bail!(
        "cached convolution is for rocm, the channels are on {:?}",
        bcx.device()
    )
}
