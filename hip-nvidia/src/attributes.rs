//! `hipDeviceAttribute_t` for `CUdevice_attribute`, and `hipDeviceProp_t` in its two layouts.

use std::ffi::c_int;

/// CUDA's numbers that are used by name (cuda.h).
pub const CAPABILITY_MAJOR: c_int = 75;
pub const CAPABILITY_MINOR: c_int = 76;
pub const WARP_SIZE: c_int = 10;
/// What a workgroup may have when the kernel opts in, which a launch here does by itself.
pub const SHARED_MEMORY_OPTIN: c_int = 97;
pub const REGISTERS_PER_BLOCK: c_int = 12;
pub const THREADS_PER_BLOCK: c_int = 1;
pub const MULTIPROCESSORS: c_int = 16;

/// HIP's number (hip_runtime_api.h of ROCm 5.2; ROCm 6 keeps them) and CUDA's (cuda.h of CUDA 13.0) of the same fact.
pub static ATTRIBUTES: &[(c_int, c_int)] = &[
    (0, 32),                   // EccEnabled
    (2, 40),                   // AsyncEngineCount
    (3, 19),                   // CanMapHostMemory
    (5, 13),                   // ClockRate
    (6, 20),                   // ComputeMode
    (8, 31),                   // ConcurrentKernels
    (10, 95),                  // CooperativeLaunch
    (16, 18),                  // Integrated
    (17, 84),                  // IsMultiGpuBoard
    (18, 17),                  // KernelExecTimeout
    (19, 38),                  // L2CacheSize
    (23, CAPABILITY_MAJOR),    // ComputeCapabilityMajor
    (24, 83),                  // ManagedMemory
    (25, 106),                 // MaxBlocksPerMultiProcessor
    (26, 2),                   // MaxBlockDimX
    (27, 3),                   // MaxBlockDimY
    (28, 4),                   // MaxBlockDimZ
    (29, 5),                   // MaxGridDimX
    (30, 6),                   // MaxGridDimY
    (31, 7),                   // MaxGridDimZ
    (56, THREADS_PER_BLOCK),   // MaxThreadsPerBlock
    (57, 39),                  // MaxThreadsPerMultiProcessor
    (58, 11),                  // MaxPitch
    (59, 37),                  // MemoryBusWidth
    (60, 36),                  // MemoryClockRate
    (61, CAPABILITY_MINOR),    // ComputeCapabilityMinor
    (63, MULTIPROCESSORS),     // MultiprocessorCount
    (67, 33),                  // PciBusId
    (68, 34),                  // PciDeviceId
    (69, 50),                  // PciDomainID
    (71, REGISTERS_PER_BLOCK), // MaxRegistersPerBlock
    (72, 82),                  // MaxRegistersPerMultiprocessor
    (74, SHARED_MEMORY_OPTIN), // MaxSharedMemoryPerBlock
    (75, SHARED_MEMORY_OPTIN), // SharedMemPerBlockOptin
    (76, 81),                  // SharedMemPerMultiprocessor
    (83, 9),                   // TotalConstantMemory
    (85, 41),                  // UnifiedAddressing
    (87, WARP_SIZE),           // WarpSize
    (88, 115),                 // MemoryPoolsSupported
];

/// CUDA's number of HIP's attribute; `None` for one that is not in the table.
pub fn cuda_attribute(hip: c_int) -> Option<c_int> {
    ATTRIBUTES.iter().find(|row| row.0 == hip).map(|row| row.1)
}

/// What the properties hold of a card; every other member stays zero.
pub struct Card {
    pub name: Vec<u8>,
    pub memory: u64,
    pub shared_memory: u64,
    pub registers: i32,
    pub warp_size: i32,
    pub max_threads: i32,
    pub major: i32,
    pub minor: i32,
    pub multiprocessors: i32,
}

impl Card {
    /// What stands where an AMD card has its `gfx…`.
    pub fn architecture(&self) -> String {
        format!("sm_{}{}", self.major, self.minor)
    }
}

/// Offsets of the members above in one version of `hipDeviceProp_t`.
pub struct Layout {
    pub bytes: usize,
    pub memory: usize,
    pub shared_memory: usize,
    pub registers: usize,
    pub warp_size: usize,
    pub max_threads: usize,
    pub major: usize,
    pub minor: usize,
    pub multiprocessors: usize,
    pub architecture: usize,
}

/// `hipDeviceProp_tR0600`: ROCm 6 and later (offsets by C's offsetof, hip_runtime_api.h of ROCm/rocm-systems).
pub const ROCM6: Layout = Layout {
    bytes: 1472,
    memory: 288,
    shared_memory: 296,
    registers: 304,
    warp_size: 308,
    max_threads: 320,
    major: 360,
    minor: 364,
    multiprocessors: 388,
    architecture: 1160,
};

/// ROCm 5's `hipDeviceProp_t` (Debian's libamdhip64-dev 5.2.3).
pub const ROCM5: Layout = Layout {
    bytes: 792,
    memory: 256,
    shared_memory: 264,
    registers: 272,
    warp_size: 276,
    max_threads: 280,
    major: 328,
    minor: 332,
    multiprocessors: 336,
    architecture: 396,
};

/// Both layouts begin with `char name[256]`; `gcnArchName` is as long.
const TEXT_BYTES: usize = 256;

impl Layout {
    /// The structure for `card`.
    pub fn fill(&self, card: &Card) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        // The last byte of a text stays its NUL.
        put(0, &card.name[..card.name.len().min(TEXT_BYTES - 1)]);
        put(self.architecture, card.architecture().as_bytes());
        put(self.memory, &card.memory.to_ne_bytes());
        put(self.shared_memory, &card.shared_memory.to_ne_bytes());
        for (at, value) in [
            (self.registers, card.registers),
            (self.warp_size, card.warp_size),
            (self.max_threads, card.max_threads),
            (self.major, card.major),
            (self.minor, card.minor),
            (self.multiprocessors, card.multiprocessors),
        ] {
            put(at, &value.to_ne_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_architecture_stands_where_candle_hip_reads_it() {
        let card = Card {
            name: vec![b'N'; 400],
            memory: 1 << 40,
            shared_memory: 232_448,
            registers: 65536,
            warp_size: 32,
            max_threads: 1024,
            major: 9,
            minor: 0,
            multiprocessors: 132,
        };
        for (layout, at) in [(ROCM6, 1160), (ROCM5, 396)] {
            let bytes = layout.fill(&card);
            assert_eq!(&bytes[at..at + 6], b"sm_90\0");
            assert_eq!((bytes[254], bytes[255]), (b'N', 0));
        }
    }

    #[test]
    fn attributes_are_sorted_and_hold_what_candle_hip_asks_for() {
        assert!(ATTRIBUTES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for hip in [16, 26, 29, 30, 31, 56, 63, 74, 87] {
            assert!(cuda_attribute(hip).is_some(), "{hip}");
        }
    }
}
