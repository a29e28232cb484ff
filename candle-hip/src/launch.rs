//! Starting kernels.

use crate::counters::LIVE;
use crate::error::{Error, Result};
use crate::kernel_args::KernelArgs;
use crate::library::hip;
use crate::module::Function;
use crate::stream::Stream;
use std::ffi::c_void;

/// `HIP_LAUNCH_PARAM_BUFFER_POINTER`, `_BUFFER_SIZE` and `_END` of hip_runtime_api.h: the tags of a launch whose
/// arguments stand in one packed buffer.
const BUFFER_POINTER: *mut c_void = std::ptr::without_provenance_mut(1);
const BUFFER_SIZE: *mut c_void = std::ptr::without_provenance_mut(2);
const END: *mut c_void = std::ptr::without_provenance_mut(3);

/// The geometry of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// Workgroups in x, y and z.
    pub grid: [u32; 3],
    /// Work-items of a workgroup in x, y and z.
    pub block: [u32; 3],
    /// LDS bytes on top of those that the kernel declares itself.
    pub lds_bytes: u32,
}

impl Launch {
    /// A launch without dynamic LDS.
    pub const fn new(grid: [u32; 3], block: [u32; 3]) -> Launch {
        Launch {
            grid,
            block,
            lds_bytes: 0,
        }
    }

    /// The same launch with dynamic LDS.
    #[must_use]
    pub const fn with_lds(self, lds_bytes: u32) -> Launch {
        Launch { lds_bytes, ..self }
    }

    /// One-dimensional: as many workgroups of `block` work-items as cover `work_items`. None, or more
    /// than a launch can have, give a launch that is refused: neither does less than it was asked for.
    pub const fn linear(work_items: usize, block: u32) -> Launch {
        let most = (u32::MAX / if block == 0 { 1 } else { block }) as usize;
        let groups = work_items.div_ceil(if block == 0 { 1 } else { block as usize });
        let grid = match groups <= most {
            true => [groups as u32, 1, 1],
            false => [u32::MAX; 3],
        };
        Launch::new(grid, [block, 1, 1])
    }

    /// Work-items of a workgroup.
    const fn threads(&self) -> u64 {
        // Three u32 may overflow a u64; a saturated product is too large just as well.
        let [x, y, z] = self.block;
        (x as u64 * y as u64).saturating_mul(z as u64)
    }

    /// Why a kernel with these limits cannot be launched like this, if it cannot.
    fn refuse(&self, max_threads: u32, static_lds: u32, max_lds: u32) -> Option<String> {
        let (grid, block) = (self.grid, self.block);
        if grid.contains(&0) || block.contains(&0) {
            return Some(format!(
                "grid {grid:?} and block {block:?} must not contain zero"
            ));
        }
        if self.threads() > u64::from(max_threads) {
            return Some(format!(
                "a workgroup of {block:?} has {} work-items, more than the {max_threads} that it was compiled for",
                self.threads()
            ));
        }
        // The dispatch packet holds the grid in work-items, 32 bits a dimension; and no device ever
        // finishes 2^64 workgroups.
        let too_long = |(g, b): (&u32, u32)| u64::from(*g) * u64::from(b) > u64::from(u32::MAX);
        let groups = grid.iter().map(|g| u128::from(*g)).product::<u128>();
        if grid.iter().zip(block).any(too_long) || groups > u128::from(u64::MAX) {
            return Some(format!(
                "grid {grid:?} of {block:?} has more than 2^32 - 1 work-items in a dimension or 2^64 workgroups"
            ));
        }
        let lds = u64::from(static_lds) + u64::from(self.lds_bytes);
        (lds > u64::from(max_lds)).then(|| {
            format!("it needs {lds} bytes of LDS ({static_lds} of its own), the device has {max_lds} for a workgroup")
        })
    }
}

impl Function {
    /// Queues the kernel on `stream`, of the same device. The host does not wait.
    ///
    /// # Errors
    /// [`Error::InvalidLaunch`], naming the kernel, for a geometry or arguments that cannot be launched. What goes
    /// wrong while the kernel runs comes out of a later call on the device.
    ///
    /// # Safety
    /// `args` are the kernel's parameters in number, order and type. With them and this geometry the kernel accesses
    /// only live memory of the device, and that memory stays allocated until the stream has passed this
    /// point.
    #[inline]
    pub unsafe fn launch(&self, launch: &Launch, stream: &Stream, args: &KernelArgs) -> Result<()> {
        let device = self.device();
        let max_lds = device.properties().shared_memory_per_block;
        let max_threads = self
            .max_threads_per_block()
            .min(device.properties().max_threads_per_block);
        if let Some(reason) = launch
            .refuse(max_threads, self.static_lds_bytes(), max_lds)
            .or_else(|| args.overflow())
        {
            return Err(Error::InvalidLaunch {
                kernel: self.name().into(),
                reason,
            });
        }
        stream.expect_device(device, "the kernel")?;
        device.make_current()?;
        let ([gx, gy, gz], [bx, by, bz]) = (launch.grid, launch.block);
        let mut bytes = args.len();
        let mut extra = [
            BUFFER_POINTER,
            args.as_ptr().cast_mut().cast(),
            BUFFER_SIZE,
            std::ptr::from_mut(&mut bytes).cast(),
            END,
        ];
        // SAFETY: function and stream are live and of one device; `extra` has the form that HIP documents
        // and the runtime copies what it points to before it returns (it does not write there); the
        // rest is the caller's promise.
        unsafe {
            hip!(
                device.library(),
                hipModuleLaunchKernel(
                    self.handle(),
                    gx,
                    gy,
                    gz,
                    bx,
                    by,
                    bz,
                    launch.lds_bytes,
                    stream.handle(),
                    std::ptr::null_mut(),
                    extra.as_mut_ptr()
                ),
                "launching the kernel '{}' with grid {:?}, block {:?} and {} bytes of dynamic LDS on device {}",
                self.name(),
                launch.grid,
                launch.block,
                launch.lds_bytes,
                device.ordinal()
            )?
        };
        LIVE.launches.add();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(launch: Launch) -> String {
        launch.refuse(256, 1024, 65536).unwrap_or_default()
    }

    #[test]
    fn a_launch_within_the_limits_passes() {
        assert_eq!(refusal(Launch::new([u32::MAX, 1, 1], [1, 1, 1])), "");
        assert_eq!(
            refusal(Launch::new([1, 2, 3], [8, 8, 4]).with_lds(64512)),
            ""
        );
    }

    #[test]
    fn each_limit_has_its_own_words() {
        assert!(refusal(Launch::new([0, 1, 1], [1, 1, 1])).contains("must not contain zero"));
        assert!(refusal(Launch::new([1, 1, 1], [1, 0, 1])).contains("must not contain zero"));
        let text = refusal(Launch::new([1, 1, 1], [257, 1, 1]));
        assert!(text.contains("257 work-items, more than the 256"), "{text}");
        assert!(refusal(Launch::new([1, 1, 1], [u32::MAX; 3])).contains("more than the 256"));
        assert!(refusal(Launch::new([1 << 31, 1, 1], [2, 1, 1])).contains("2^32"));
        let text = refusal(Launch::new([1, 1, 1], [1, 1, 1]).with_lds(64513));
        assert!(
            text.contains("65537 bytes of LDS (1024 of its own)"),
            "{text}"
        );
    }

    #[test]
    fn a_linear_launch_covers_its_work() {
        assert_eq!(
            Launch::linear(1000, 256),
            Launch::new([4, 1, 1], [256, 1, 1])
        );
        assert_eq!(Launch::linear(1024, 256).grid, [4, 1, 1]);
        // More work-items than a launch can have are refused, not cut short.
        for block in [1, 2, 256] {
            assert!(refusal(Launch::linear(usize::MAX, block)).contains("2^32"));
        }
        assert_eq!(refusal(Launch::linear(u32::MAX as usize, 1)), "");
        // Nothing to do is a grid of zero, which is refused: callers do not launch it.
        assert!(refusal(Launch::linear(0, 256)).contains("zero"));
    }
}
