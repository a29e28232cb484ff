//! The 64-byte kernel descriptor.

use super::{invalid, CodeObjectError};
use crate::kernel::Descriptor;

/// Size of `amd_kernel_descriptor_t`.
pub const DESCRIPTOR_BYTES: usize = 64;

/// Reads the descriptor of `name` from its 64 bytes. Offsets: AMDGPUUsage, "Code Object V3 Kernel
/// Descriptor".
pub fn parse(name: &str, bytes: &[u8]) -> Result<Descriptor, CodeObjectError> {
    if bytes.len() != DESCRIPTOR_BYTES {
        return Err(invalid(format!(
            "the descriptor of kernel {name} has {} bytes, not {DESCRIPTOR_BYTES}",
            bytes.len()
        )));
    }
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    Ok(Descriptor {
        group_segment_fixed_size: word(0),
        private_segment_fixed_size: word(4),
        kernarg_size: word(8),
        kernel_code_entry_byte_offset: (u64::from(word(16)) | u64::from(word(20)) << 32) as i64,
        compute_pgm_rsrc3: word(44),
        compute_pgm_rsrc1: word(48),
        compute_pgm_rsrc2: word(52),
        kernel_code_properties: half(56),
        kernarg_preload: half(58),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_from_their_documented_offsets() {
        let mut bytes = [0u8; 64];
        for (at, value) in bytes.iter_mut().enumerate() {
            *value = at as u8;
        }
        let d = parse("k", &bytes).unwrap();
        assert_eq!(d.group_segment_fixed_size, 0x0302_0100);
        assert_eq!(d.private_segment_fixed_size, 0x0706_0504);
        assert_eq!(d.kernarg_size, 0x0b0a_0908);
        assert_eq!(d.kernel_code_entry_byte_offset, 0x1716_1514_1312_1110);
        assert_eq!(d.compute_pgm_rsrc3, 0x2f2e_2d2c);
        assert_eq!(d.compute_pgm_rsrc1, 0x3332_3130);
        assert_eq!(d.compute_pgm_rsrc2, 0x3736_3534);
        assert_eq!(
            (d.kernel_code_properties, d.kernarg_preload),
            (0x3938, 0x3b3a)
        );
    }

    #[test]
    fn a_short_descriptor_is_refused_with_the_kernels_name() {
        let error = parse("softmax", &[0; 60]).unwrap_err().to_string();
        assert!(error.contains("softmax") && error.contains("60"), "{error}");
    }
}
