//! What a device is, asked for in ways that hold for every version of ROCm.

use crate::error::{Error, Result};
use crate::library::{hip, Library};
use crate::sys::hip::hipDeviceAttribute_t as Attribute;
use crate::target::Arch;
use std::ffi::{c_char, c_int, CStr};

/// A device's properties; they do not change while the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceProperties {
    /// The card's name, such as `AMD Radeon RX 7900 XTX`; the target where the runtime knows no name.
    pub name: String,
    /// The processor without its features, such as `gfx1100`.
    pub target: String,
    /// The processor with its features, such as `gfx90a:sramecc+:xnack-`.
    pub arch: String,
    /// Lanes of a wave: 32 or 64.
    pub wave_size: u32,
    /// Compute units.
    pub compute_units: u32,
    /// Device memory in bytes.
    pub total_memory: usize,
    /// Work-items that a workgroup may have.
    pub max_threads_per_block: u32,
    /// LDS bytes that a workgroup may have.
    pub shared_memory_per_block: u32,
    /// Whether it is an APU, which shares the host's memory.
    pub integrated: bool,
    /// PCI address such as `0000:03:00.0`, where there is one.
    pub pci_bus_id: Option<String>,
}

/// Bytes of the buffer that `hipGetDeviceProperties` writes into. The struct has 792 bytes in ROCm 5
/// and 1472 in ROCm 6 and 7; what a later version adds must not overrun it.
const PROPERTIES_BYTES: usize = 8192;

/// Offsets of `gcnArchName` in the known layouts. R0600 (`hipGetDevicePropertiesR0600`, ROCm 6 and 7) has it
/// at 1160; R0000 (`hipGetDeviceProperties`, which keeps ROCm 5's layout for whoever looks it up by
/// name: ROCm/ROCm issue 2728) at 396. Sources: `offsetof` in HIP 5.2.3's header, and for both
/// llvm/llvm-project pull request 167695.
const ARCH_NAME_OFFSETS: [usize; 2] = [1160, 396];
/// `gcnArchName` is a `char[256]`.
const ARCH_NAME_BYTES: usize = 256;

impl DeviceProperties {
    pub(crate) fn query(library: &Library, ordinal: usize) -> Result<Self> {
        let device = c_int::try_from(ordinal)
            .map_err(|_| Error::InvalidArgument(format!("{ordinal} is no device ordinal")))?;
        let arch = arch(library, ordinal, device)?;
        let attribute = |attribute, what: &str| -> Result<u32> {
            let mut value = 0;
            // SAFETY: the call writes one int.
            unsafe {
                hip!(
                    library,
                    hipDeviceGetAttribute(&mut value, attribute, device),
                    "asking device {ordinal} for its {what}"
                )?
            };
            u32::try_from(value).map_err(|_| Error::UnknownDevice {
                ordinal,
                reason: format!("the runtime says that its {what} is {value}"),
            })
        };
        // The attributes' numbers are those of HIP 5.2.3's header; AMD's own bindings for ROCm 10 (PyPI
        // `rocm-bindings-hip` 10.0.0, cyhip.pxd) list them in the same places. The target tells the wave
        // size too: should a later version renumber, the two disagree.
        let wave_size = attribute(Attribute::hipDeviceAttributeWarpSize, "wave size")?;
        if !matches!(wave_size, 32 | 64) || arch.wave_size().is_some_and(|lanes| lanes != wave_size)
        {
            return Err(Error::UnknownDevice {
                ordinal,
                reason: format!(
                    "the runtime '{}' says that waves of {} have {wave_size} lanes: it numbers its attributes \
                     in another way than ROCm 5 to 10",
                    library.path().display(),
                    arch.target
                ),
            });
        }
        let mut total_memory = 0;
        // SAFETY: the call writes one size_t.
        unsafe {
            hip!(
                library,
                hipDeviceTotalMem(&mut total_memory, device),
                "asking device {ordinal} for its memory size"
            )?
        };
        let name = string(256, |buffer, bytes| {
            // SAFETY: at most `bytes` bytes are written to the buffer, which has that many.
            unsafe {
                hip!(
                    library,
                    hipDeviceGetName(buffer, bytes, device),
                    "asking device {ordinal} for its name"
                )
            }
        })?;
        // Virtual and emulated devices have none; nothing depends on it.
        let pci_bus_id = string(64, |buffer, bytes| {
            // SAFETY: as above.
            unsafe {
                hip!(
                    library,
                    hipDeviceGetPCIBusId(buffer, bytes, device),
                    "asking device {ordinal} for its PCI address"
                )
            }
        })
        .ok()
        .filter(|id| !id.is_empty());
        Ok(DeviceProperties {
            name: if name.is_empty() {
                arch.target.clone()
            } else {
                name
            },
            wave_size,
            compute_units: attribute(
                Attribute::hipDeviceAttributeMultiprocessorCount,
                "number of compute units",
            )?,
            total_memory,
            max_threads_per_block: attribute(
                Attribute::hipDeviceAttributeMaxThreadsPerBlock,
                "workgroup limit",
            )?,
            shared_memory_per_block: attribute(
                Attribute::hipDeviceAttributeMaxSharedMemoryPerBlock,
                "LDS size",
            )?,
            integrated: attribute(Attribute::hipDeviceAttributeIntegrated, "kind")? != 0,
            pci_bus_id,
            target: arch.target,
            arch: arch.full,
        })
    }
}

/// Lets `fill` write a C string of at most `bytes` bytes, its NUL included.
fn string(bytes: c_int, fill: impl FnOnce(*mut c_char, c_int) -> Result<()>) -> Result<String> {
    let mut buffer = vec![0u8; bytes.unsigned_abs() as usize + 1];
    fill(buffer.as_mut_ptr().cast(), bytes)?;
    let text = CStr::from_bytes_until_nul(&buffer).unwrap_or_default();
    Ok(text.to_string_lossy().trim().to_string())
}

fn arch(library: &Library, ordinal: usize, device: c_int) -> Result<Arch> {
    let (call, get) = library.device_properties()?;
    // u64: the struct's alignment.
    let mut buffer = [0u64; PROPERTIES_BYTES / 8];
    // SAFETY: the buffer is aligned for the struct and larger than any known version of it.
    let status = unsafe { get(buffer.as_mut_ptr().cast(), device) };
    library.check(call, status, || {
        format!("asking device {ordinal} for its architecture")
    })?;
    let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
    find_arch(&bytes).ok_or_else(|| Error::UnknownDevice {
        ordinal,
        reason: format!(
            "{call} of '{}' (HIP {}) returned no architecture such as 'gfx1100' in any known layout of hipDeviceProp_t",
            library.path().display(),
            library.version().as_deref().unwrap_or("of unknown version")
        ),
    })
}

/// Finds the architecture in a `hipDeviceProp_t`: at the known offsets, else anywhere a whole C string of
/// the shape `gfx…` stands.
fn find_arch(properties: &[u8]) -> Option<Arch> {
    let at = |offset: usize| {
        let end = (offset + ARCH_NAME_BYTES).min(properties.len());
        let text = CStr::from_bytes_until_nul(properties.get(offset..end)?).ok()?;
        Arch::parse(text.to_str().ok()?)
    };
    ARCH_NAME_OFFSETS.into_iter().find_map(at).or_else(|| {
        // A C string begins at the buffer's start or after a NUL: text inside a name does not count.
        let begins = |&i: &usize| i == 0 || properties[i - 1] == 0;
        let gfx = |&i: &usize| properties[i..].starts_with(b"gfx");
        (0..properties.len())
            .filter(begins)
            .filter(gfx)
            .find_map(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(offset: usize, text: &str) -> Vec<u8> {
        let mut bytes = vec![0; PROPERTIES_BYTES];
        let name = b"AMD Instinct gfx000";
        bytes[..name.len()].copy_from_slice(name);
        bytes[offset..offset + text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    #[test]
    fn the_architecture_is_found_in_both_known_layouts() {
        for offset in ARCH_NAME_OFFSETS {
            let arch = find_arch(&properties(offset, "gfx90a:sramecc+:xnack-")).unwrap();
            assert_eq!(arch.target, "gfx90a", "offset {offset}");
        }
    }

    #[test]
    fn the_architecture_is_found_at_an_unknown_offset() {
        for offset in [600, 1164, PROPERTIES_BYTES - 8] {
            assert_eq!(
                find_arch(&properties(offset, "gfx1201")).unwrap().target,
                "gfx1201"
            );
        }
    }

    #[test]
    fn a_layout_without_an_architecture_gives_none() {
        assert_eq!(find_arch(&properties(1160, "gfx?")), None);
        assert_eq!(find_arch(&properties(600, "no gfx1100")), None);
        // Not terminated within its field.
        let mut bytes = properties(1160, "gfx1100");
        bytes[1167..].fill(b'a');
        assert_eq!(find_arch(&bytes), None);
    }
}
