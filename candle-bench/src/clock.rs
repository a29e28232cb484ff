//! How long a device takes for a run of calls, without the host's share.
//!
//! A call is queued faster or slower than the device works it off. To see the device's own time, the queue is filled
//! behind large copies: by the time that they end, all calls of the sample are queued, and two events around them take
//! the time from the first kernel to the last. The host's time for queueing is taken on the way; where it was longer
//! than the copies, the sample is taken again behind more of them.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use std::time::Instant;

/// Times per call, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// The device's.
    pub device_us: f64,
    /// The host's, for queueing.
    pub host_us: f64,
}

/// A device's clock.
pub struct Clock {
    device: Device,
    /// Source and destination of the copy that holds the queue.
    hold: Option<(Tensor, Tensor)>,
    /// What one of these copies takes, in microseconds.
    copy_us: f64,
    /// Bytes read and written per second by that copy.
    pub copy_bytes_per_second: f64,
}

/// How long the queue is held, in microseconds: more than 48 calls of one or two launches mostly take to queue.
pub const HOLD_US: f64 = 1500.0;
/// How often the hold is doubled before a sample counts as it is: the host was kept from its work for 48 ms.
const DOUBLINGS: u32 = 5;

impl Clock {
    /// `hold_bytes` is the size of the copy; 0 for devices that are not timed by events.
    pub fn new(device: &Device, hold_bytes: usize) -> Result<Self> {
        let mut clock = Self {
            device: device.clone(),
            hold: None,
            copy_us: f64::INFINITY,
            copy_bytes_per_second: f64::NAN,
        };
        if hold_bytes == 0 {
            return Ok(clock);
        }
        let count = hold_bytes / 4;
        let source = Tensor::zeros(count, DType::F32, device)?;
        let destination = Tensor::zeros(count, DType::F32, device)?;
        let copy = |_| -> Result<()> { Ok(destination.slice_set(&source, 0, 0)?) };
        clock.sample(3, copy)?;
        let mut times = Vec::new();
        for _ in 0..5 {
            times.push(clock.sample(8, copy)?.device_us);
        }
        let us = crate::measure::median(&mut times);
        clock.copy_bytes_per_second = 2.0 * hold_bytes as f64 / us * 1e6;
        clock.copy_us = us;
        clock.hold = Some((source, destination));
        Ok(clock)
    }

    /// Runs `call` with 0, 1, … `calls - 1`.
    pub fn sample(
        &self,
        calls: usize,
        mut call: impl FnMut(usize) -> Result<()>,
    ) -> Result<Sample> {
        let mut hold_us = HOLD_US;
        for _ in 0..DOUBLINGS {
            let sample = self.sample_behind(hold_us, calls, &mut call)?;
            if self.hold.is_none() || sample.host_us * (calls as f64) < hold_us {
                return Ok(sample);
            }
            hold_us *= 2.0;
        }
        self.sample_behind(hold_us, calls, &mut call)
    }

    fn sample_behind(
        &self,
        hold_us: f64,
        calls: usize,
        call: &mut impl FnMut(usize) -> Result<()>,
    ) -> Result<Sample> {
        self.device.synchronize()?;
        if let Some((source, destination)) = &self.hold {
            for _ in 0..(hold_us / self.copy_us).ceil() as usize {
                destination.slice_set(source, 0, 0)?;
            }
        }
        let start = Mark::now(&self.device)?;
        let queueing = Instant::now();
        for i in 0..calls {
            call(i)?;
        }
        let host = queueing.elapsed();
        let end = Mark::now(&self.device)?;
        self.device.synchronize()?;
        let per_call = 1e6 / calls as f64;
        Ok(Sample {
            device_us: start.seconds_to(&end)? * per_call,
            host_us: host.as_secs_f64() * per_call,
        })
    }
}

/// A moment of a device's queue.
enum Mark {
    #[cfg(feature = "cuda")]
    Cuda(candle_core::cuda::cudarc::driver::CudaEvent),
    #[cfg(feature = "rocm")]
    Rocm(candle_hip::Event),
    Host(Instant),
}

impl Mark {
    fn now(device: &Device) -> Result<Self> {
        Ok(match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(cuda) => {
                use candle_core::cuda::cudarc::driver::sys::CUevent_flags::CU_EVENT_DEFAULT;
                Self::Cuda(cuda.cuda_stream().record_event(Some(CU_EVENT_DEFAULT))?)
            }
            #[cfg(feature = "rocm")]
            Device::Rocm(rocm) => {
                let event = candle_hip::Event::with_timing(rocm.stream().device())?;
                event.record(rocm.stream())?;
                Self::Rocm(event)
            }
            _ => Self::Host(Instant::now()),
        })
    }

    /// Both must have passed.
    fn seconds_to(&self, end: &Self) -> Result<f64> {
        Ok(match (self, end) {
            #[cfg(feature = "cuda")]
            (Self::Cuda(start), Self::Cuda(end)) => f64::from(start.elapsed_ms(end)?) / 1e3,
            #[cfg(feature = "rocm")]
            (Self::Rocm(start), Self::Rocm(end)) => f64::from(start.elapsed_ms(end)?) / 1e3,
            (Self::Host(start), Self::Host(end)) => (*end - *start).as_secs_f64(),
            #[allow(unreachable_patterns)]
            _ => anyhow::bail!("two marks of different devices"),
        })
    }
}
