//! Registers, LDS and the waves that fit on a SIMD, from the kernel's descriptor.

use crate::kernel::{Geometry, Kernel};
use crate::target::Family;

/// What a launch occupies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Vector registers of a lane, accumulation registers included, as allocated.
    pub vgprs: u32,
    pub lds_bytes: u32,
    pub scratch_bytes: u32,
    /// Waves that one SIMD holds of this kernel at a time.
    pub waves_per_simd: u32,
}

/// A SIMD of a family.
struct Simd {
    /// Registers of a lane of this wave size.
    registers: u32,
    /// What a descriptor counts them in, and what a card gives them out in.
    granule: u32,
    given_in: u32,
    /// At most.
    waves: u32,
    /// SIMDs that share the LDS, and its bytes.
    sharing: u32,
    lds: u32,
}

/// AMDGPUUsage (VGPR granules), and LLVM's `AMDGPUBaseInfo` (`getVGPRAllocGranule`, the occupancy tables). RDNA 3 is the cards with
/// half as many registers again as RDNA 2: gfx1100, gfx1101 and gfx1151.
fn simd(family: Family, wave_size: u32) -> Simd {
    match family {
        Family::Gcn5 => Simd {
            registers: 256,
            granule: 4,
            given_in: 4,
            waves: 10,
            sharing: 4,
            lds: 64 << 10,
        },
        Family::Cdna2 | Family::Cdna3 => Simd {
            registers: 512,
            granule: 8,
            given_in: 8,
            waves: 8,
            sharing: 4,
            lds: 64 << 10,
        },
        Family::Rdna2 => Simd {
            registers: 1024 * 32 / wave_size,
            granule: 8 * 32 / wave_size,
            given_in: 16 * 32 / wave_size,
            waves: 16,
            sharing: 4,
            lds: 128 << 10,
        },
        Family::Rdna3 | Family::Rdna4 => Simd {
            registers: 1536 * 32 / wave_size,
            granule: 8 * 32 / wave_size,
            given_in: 24 * 32 / wave_size,
            waves: 16,
            sharing: 4,
            lds: 128 << 10,
        },
    }
}

impl Resources {
    pub fn of(kernel: &Kernel, geometry: &Geometry) -> Resources {
        let wave_size = kernel.target.wave_size;
        let simd = simd(kernel.target.family, wave_size);
        // GRANULATED_WORKITEM_VGPR_COUNT: granules less one.
        let vgprs = ((kernel.descriptor.compute_pgm_rsrc1 & 63) + 1) * simd.granule;
        let lds_bytes = kernel
            .descriptor
            .group_segment_fixed_size
            .saturating_add(geometry.dynamic_lds);
        let items: u32 = geometry.block.iter().product();
        let waves = items.div_ceil(wave_size).max(1);
        let given = vgprs.next_multiple_of(simd.given_in).max(1);
        let by_registers = (simd.registers / given).min(simd.waves);
        // Workgroups that the LDS has room for, spread over the SIMDs that share it.
        let by_lds = match simd.lds.checked_div(lds_bytes) {
            Some(groups) => (groups * waves).div_ceil(simd.sharing),
            None => simd.waves,
        };
        Resources {
            vgprs,
            lds_bytes,
            scratch_bytes: kernel.descriptor.private_segment_fixed_size,
            waves_per_simd: by_registers.min(by_lds),
        }
    }

    pub fn named(&self) -> [(&'static str, u32); 4] {
        [
            ("vgprs", self.vgprs),
            ("lds_bytes", self.lds_bytes),
            ("scratch_bytes", self.scratch_bytes),
            ("waves_per_simd", self.waves_per_simd),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Descriptor;
    use crate::target::Target;

    #[test]
    fn registers_and_lds_bound_the_waves() {
        let resources = |target, granules: u32, lds, items| {
            let kernel = Kernel {
                name: "k".into(),
                target: Target::named(target).unwrap(),
                descriptor: Descriptor {
                    compute_pgm_rsrc1: granules - 1,
                    group_segment_fixed_size: lds,
                    ..Descriptor::default()
                },
                code: std::sync::Arc::from(Vec::new()),
                address: 0,
                uses_dynamic_stack: false,
            };
            let geometry = Geometry {
                grid: [1; 3],
                block: [items, 1, 1],
                dynamic_lds: 0,
                kernarg: 0,
                dispatch_packet: 0,
            };
            let found = Resources::of(&kernel, &geometry);
            (found.vgprs, found.waves_per_simd)
        };
        // A full register file of 512: 128 registers leave room for 4 waves.
        assert_eq!(resources("gfx90a", 16, 0, 256), (128, 4));
        assert_eq!(resources("gfx1100", 4, 0, 256), (32, 16));
        // 72 registers are given out as 80, 104 as 120.
        assert_eq!(resources("gfx1030", 9, 0, 256), (72, 12));
        assert_eq!(resources("gfx1100", 13, 0, 256), (104, 12));
        // Two groups of 4 waves in the LDS, over 4 SIMDs.
        assert_eq!(resources("gfx90a", 1, 32 << 10, 256), (8, 2));
    }
}
