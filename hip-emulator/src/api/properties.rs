//! `hipDeviceProp_t` in its two layouts, and `hipDeviceAttribute_t`.
//!
//! Offsets were computed by a C compiler's `offsetof`: ROCm 6's `hipDeviceProp_tR0600` from the member
//! list in `hip/hip_runtime_api.h` of github.com/ROCm/rocm-systems (commit 01b49548f9aa), ROCm 5's
//! `hipDeviceProp_t` from the same header of Debian's libamdhip64-dev 5.2.3. Attribute numbers are that
//! header's enumeration; ROCm 6 keeps them.

use crate::launch::{MAX_LDS, MAX_WORKGROUP};
use crate::target::Target;
use std::ffi::c_int;

/// `sizeof(hipDeviceProp_tR0600)`.
pub const ROCM6_BYTES: usize = 1472;
/// `sizeof(hipDeviceProp_t)` of ROCm 5.
pub const ROCM5_BYTES: usize = 792;

/// An emulated card, as its properties need it.
pub struct Card {
    pub target: &'static Target,
    pub number: u32,
    pub memory: u64,
}

/// A property's value; its variant decides how many bytes are written.
enum Value {
    Text(String),
    Size(u64),
    Int(c_int),
    Ints([c_int; 3]),
}

/// One member of the structures: its name, its offset in ROCm 6's and ROCm 5's, its value.
struct Member {
    #[cfg_attr(not(test), allow(dead_code))] // the tests look members up by name
    name: &'static str,
    rocm6: Option<usize>,
    rocm5: Option<usize>,
    value: fn(&Card) -> Value,
}

macro_rules! members {
    ($($name:ident: $rocm6:expr, $rocm5:expr, $value:expr;)*) => {
        &[$(Member { name: stringify!($name), rocm6: $rocm6, rocm5: $rocm5, value: $value },)*]
    };
}

/// Members that are not zero. Clocks stay 0: an emulated card has none.
static MEMBERS: &[Member] = members! {
    name: Some(0), Some(0), |card| Value::Text(card.name());
    totalGlobalMem: Some(288), Some(256), |card| Value::Size(card.memory);
    sharedMemPerBlock: Some(296), Some(264), |_| Value::Size(MAX_LDS.into());
    regsPerBlock: Some(304), Some(272), |_| Value::Int(REGISTERS);
    warpSize: Some(308), Some(276), |card| Value::Int(card.target.wave_size as c_int);
    memPitch: Some(312), Some(712), |_| Value::Size(MAX_PITCH as u64);
    maxThreadsPerBlock: Some(320), Some(280), |_| Value::Int(MAX_WORKGROUP as c_int);
    maxThreadsDim: Some(324), Some(284), |_| Value::Ints([MAX_WORKGROUP as c_int; 3]);
    maxGridSize: Some(336), Some(296), |_| Value::Ints([MAX_GRID; 3]);
    totalConstMem: Some(352), Some(320), |_| Value::Size(MAX_PITCH as u64);
    major: Some(360), Some(328), |card| Value::Int(card.version().0);
    minor: Some(364), Some(332), |card| Value::Int(card.version().1);
    multiProcessorCount: Some(388), Some(336), |card| Value::Int(card.multiprocessors());
    canMapHostMemory: Some(400), Some(388), |_| Value::Int(1);
    concurrentKernels: Some(576), Some(360), |_| Value::Int(1);
    pciBusID: Some(584), Some(368), |card| Value::Int(card.pci_bus());
    unifiedAddressing: Some(604), None, |_| Value::Int(1);
    maxThreadsPerMultiProcessor: Some(624), Some(344), |_| Value::Int(MAX_RESIDENT);
    sharedMemPerMultiprocessor: Some(640), None, |_| Value::Size(MAX_LDS.into());
    regsPerMultiprocessor: Some(648), None, |_| Value::Int(REGISTERS);
    sharedMemPerBlockOptin: Some(696), None, |_| Value::Size(MAX_LDS.into());
    gcnArchName: Some(1160), Some(396), |card| Value::Text(card.architecture());
    maxSharedMemoryPerMultiProcessor: Some(1416), Some(376), |_| Value::Size(MAX_LDS.into());
    isLargeBar: Some(1464), Some(764), |_| Value::Int(1);
};

const REGISTERS: c_int = 65536;
const MAX_GRID: c_int = c_int::MAX;
const MAX_PITCH: c_int = c_int::MAX;
const MAX_RESIDENT: c_int = 2048;

/// How an attribute is found out.
type Answer = fn(&Card) -> c_int;

/// Attributes by their number in `hipDeviceAttribute_t`.
static ATTRIBUTES: &[(c_int, Answer)] = &[
    (0, |_| 0),                                         // EccEnabled
    (2, |_| 0),                                         // AsyncEngineCount
    (3, |_| 1),                                         // CanMapHostMemory
    (5, |_| 0),                                         // ClockRate
    (6, |_| 0),                                         // ComputeMode: default
    (8, |_| 1),                                         // ConcurrentKernels
    (10, |_| 0),                                        // CooperativeLaunch
    (16, |_| 0),                                        // Integrated
    (17, |_| 0),                                        // IsMultiGpuBoard
    (18, |_| 0),                                        // KernelExecTimeout
    (19, |_| 0),                                        // L2CacheSize
    (23, |card| card.version().0),                      // ComputeCapabilityMajor
    (24, |_| 0),                                        // ManagedMemory
    (26, |_| MAX_WORKGROUP as c_int),                   // MaxBlockDimX
    (27, |_| MAX_WORKGROUP as c_int),                   // MaxBlockDimY
    (28, |_| MAX_WORKGROUP as c_int),                   // MaxBlockDimZ
    (29, |_| MAX_GRID),                                 // MaxGridDimX
    (30, |_| MAX_GRID),                                 // MaxGridDimY
    (31, |_| MAX_GRID),                                 // MaxGridDimZ
    (56, |_| MAX_WORKGROUP as c_int),                   // MaxThreadsPerBlock
    (57, |_| MAX_RESIDENT),                             // MaxThreadsPerMultiProcessor
    (58, |_| MAX_PITCH),                                // MaxPitch
    (59, |_| 0),                                        // MemoryBusWidth
    (60, |_| 0),                                        // MemoryClockRate
    (61, |card| card.version().1),                      // ComputeCapabilityMinor
    (63, Card::multiprocessors),                        // MultiprocessorCount
    (67, Card::pci_bus),                                // PciBusId
    (68, |_| 0),                                        // PciDeviceId
    (69, |_| 0),                                        // PciDomainID
    (71, |_| REGISTERS),                                // MaxRegistersPerBlock
    (72, |_| REGISTERS),                                // MaxRegistersPerMultiprocessor
    (74, |_| MAX_LDS as c_int),                         // MaxSharedMemoryPerBlock
    (75, |_| MAX_LDS as c_int),                         // SharedMemPerBlockOptin
    (76, |_| MAX_LDS as c_int),                         // SharedMemPerMultiprocessor
    (83, |_| MAX_PITCH),                                // TotalConstantMemory
    (85, |_| 1),                                        // UnifiedAddressing
    (87, |card| card.target.wave_size as c_int),        // WarpSize
    (88, |_| 0),                                        // MemoryPoolsSupported
    (10002, |_| MAX_LDS as c_int),                      // MaxSharedMemoryPerMultiprocessor
    (10011, |_| 1),                                     // IsLargeBar
    (10015, |card| card.target.compute_units as c_int), // PhysicalMultiProcessorCount
    (10016, |_| 1),                                     // FineGrainSupport
];

/// The value of attribute `number`; `None` for one that is not in the table.
pub fn attribute(number: c_int, card: &Card) -> Option<c_int> {
    ATTRIBUTES
        .iter()
        .find(|row| row.0 == number)
        .map(|(_, value)| value(card))
}

/// ROCm 6's structure.
pub fn rocm6(card: &Card) -> [u8; ROCM6_BYTES] {
    let mut bytes = [0; ROCM6_BYTES];
    fill(&mut bytes, card, |member| member.rocm6);
    bytes
}

/// ROCm 5's structure.
pub fn rocm5(card: &Card) -> [u8; ROCM5_BYTES] {
    let mut bytes = [0; ROCM5_BYTES];
    fill(&mut bytes, card, |member| member.rocm5);
    bytes
}

fn fill(bytes: &mut [u8], card: &Card, offset: fn(&Member) -> Option<usize>) {
    /// `char name[256]`, `char gcnArchName[256]`, the last byte a NUL.
    const TEXT: usize = 255;
    for member in MEMBERS {
        let Some(at) = offset(member) else { continue };
        let value: Vec<u8> = match (member.value)(card) {
            Value::Text(text) => text.bytes().take(TEXT).collect(),
            Value::Size(size) => size.to_le_bytes().to_vec(),
            Value::Int(number) => number.to_le_bytes().to_vec(),
            Value::Ints(numbers) => numbers.iter().flat_map(|n| n.to_le_bytes()).collect(),
        };
        bytes[at..at + value.len()].copy_from_slice(&value);
    }
}

impl Card {
    /// Such as `Radeon RX 7900 XTX (emulated gfx1100)`.
    pub fn name(&self) -> String {
        format!("{} (emulated {})", self.target.card, self.target.name)
    }

    /// The target with the feature settings that HIP appends to it on such a card: cards that can
    /// retry page faults or check their memory say which state they are in.
    pub fn architecture(&self) -> String {
        if self.target.family.is_gfx9() {
            format!("{}:sramecc+:xnack-", self.target.name)
        } else {
            self.target.name.to_string()
        }
    }

    /// Major and minor version: gfx1100 is 11.0, gfx90a is 9.0. The last two characters of a target's
    /// name are minor and stepping.
    pub fn version(&self) -> (c_int, c_int) {
        let digits = self.target.name.strip_prefix("gfx").unwrap_or_default();
        let Some(split) = digits.len().checked_sub(2) else {
            return (0, 0);
        };
        let major = digits
            .get(..split)
            .and_then(|major| major.parse().ok())
            .unwrap_or(0);
        let minor = digits
            .get(split..split + 1)
            .and_then(|m| c_int::from_str_radix(m, 16).ok());
        (major, minor.unwrap_or(0))
    }

    /// HIP counts a pair of RDNA compute units (a workgroup processor) as one multiprocessor.
    pub fn multiprocessors(&self) -> c_int {
        let units = if self.target.family.is_gfx9() {
            self.target.compute_units
        } else {
            self.target.compute_units / 2
        };
        units as c_int
    }

    /// Emulated cards sit on buses of their own, from 0xe0 on.
    pub fn pci_bus(&self) -> c_int {
        0xe0 + (self.number % 0x20) as c_int
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(name: &str) -> Card {
        Card {
            target: Target::named(name).unwrap(),
            number: 1,
            memory: 3 << 30,
        }
    }

    fn text(bytes: &[u8]) -> &str {
        std::ffi::CStr::from_bytes_until_nul(bytes)
            .unwrap()
            .to_str()
            .unwrap()
    }

    #[test]
    fn members_do_not_overlap_and_fit() {
        type Offset = fn(&Member) -> Option<usize>;
        let layouts: [(Offset, usize); 2] =
            [(|m| m.rocm6, ROCM6_BYTES), (|m| m.rocm5, ROCM5_BYTES)];
        for (offset, size) in layouts {
            let mut ranges: Vec<_> = MEMBERS
                .iter()
                .filter_map(|member| {
                    let bytes = match (member.value)(&card("gfx1100")) {
                        Value::Text(_) => 256,
                        Value::Size(_) => 8,
                        Value::Int(_) => 4,
                        Value::Ints(_) => 12,
                    };
                    offset(member).map(|at| (at, at + bytes, member.name))
                })
                .collect();
            ranges.sort();
            assert!(
                ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0),
                "{ranges:?}"
            );
            assert!(ranges.last().unwrap().1 <= size);
        }
    }

    #[test]
    fn both_layouts_say_the_same() {
        let card = card("gfx90a");
        let (six, five) = (rocm6(&card), rocm5(&card));
        assert_eq!(text(&six), "Instinct MI210 (emulated gfx90a)");
        assert_eq!(text(&five), text(&six));
        assert_eq!(text(&six[1160..]), "gfx90a:sramecc+:xnack-");
        assert_eq!(text(&five[396..]), "gfx90a:sramecc+:xnack-");
        assert_eq!(six[288..296], (3u64 << 30).to_le_bytes());
        assert_eq!(five[256..264], (3u64 << 30).to_le_bytes());
        assert_eq!((six[308], five[276]), (64, 64));
        assert_eq!((six[388], five[336]), (104, 104));
    }

    #[test]
    fn rdna_counts_workgroup_processors() {
        let card = card("gfx1100");
        assert_eq!(card.multiprocessors(), 48);
        assert_eq!(attribute(63, &card), Some(48));
        assert_eq!(attribute(10015, &card), Some(96));
        assert_eq!(card.version(), (11, 0));
        assert_eq!(card.architecture(), "gfx1100");
        assert_eq!(attribute(12345, &card), None);
    }
}
