//! Targets as the ELF header spells them.

use crate::target::Target;

/// Bits of `e_flags` that hold the processor (AMDGPUUsage, "AMDGPU ELF Header e_flags").
const EF_AMDGPU_MACH: u32 = 0xff;

/// `EF_AMDGPU_MACH_AMDGCN_*` by name, from LLVM 20's `BinaryFormat/ELF.h`: every target that somebody
/// may hand us, so that a wrong one is named in the error.
static MACHINES: &[(u32, &str)] = &[
    (0x02c, "gfx900"),
    (0x02f, "gfx906"),
    (0x030, "gfx908"),
    (0x036, "gfx1030"),
    (0x037, "gfx1031"),
    (0x038, "gfx1032"),
    (0x039, "gfx1033"),
    (0x03d, "gfx1035"),
    (0x03e, "gfx1034"),
    (0x03f, "gfx90a"),
    (0x040, "gfx940"),
    (0x041, "gfx1100"),
    (0x043, "gfx1150"),
    (0x044, "gfx1103"),
    (0x045, "gfx1036"),
    (0x046, "gfx1101"),
    (0x047, "gfx1102"),
    (0x048, "gfx1200"),
    (0x04a, "gfx1151"),
    (0x04b, "gfx941"),
    (0x04c, "gfx942"),
    (0x04e, "gfx1201"),
    (0x04f, "gfx950"),
    (0x051, "gfx9-generic"),
    (0x052, "gfx10-1-generic"),
    (0x053, "gfx10-3-generic"),
    (0x054, "gfx11-generic"),
    (0x055, "gfx1152"),
    (0x058, "gfx1153"),
    (0x059, "gfx12-generic"),
    (0x05f, "gfx9-4-generic"),
];

/// The target's name for `e_flags`, or the number for one that is not in the table.
pub fn target_of(e_flags: u32) -> String {
    let machine = e_flags & EF_AMDGPU_MACH;
    match MACHINES.iter().find(|(number, _)| *number == machine) {
        Some((_, name)) => (*name).to_string(),
        None => format!("an unknown target (EF_AMDGPU_MACH {machine:#x})"),
    }
}

/// The number that `target` has in `e_flags`.
pub fn machine_of(target: &Target) -> Option<u32> {
    MACHINES
        .iter()
        .find(|(_, name)| *name == target.name)
        .map(|(number, _)| *number)
}

/// Feature settings of code object v4 and newer (LLVM 19's `BinaryFormat/ELF.h`): page-fault retry must
/// be on; memory checking must be off.
const XNACK: (u32, u32) = (0x300, 0x300);
const SRAMECC: (u32, u32) = (0xc00, 0x800);

/// Version of a generic target, from code object v6 on; the loader takes none older than the first.
const GENERIC_VERSION: u32 = 0xff00_0000;

/// A feature setting that an emulated card (`sramecc+`, `xnack-` where a target has them) cannot run.
pub fn conflict(e_flags: u32) -> Option<&'static str> {
    match e_flags {
        flags if flags & XNACK.0 == XNACK.1 => Some("xnack+, but the emulated card is xnack-"),
        flags if flags & SRAMECC.0 == SRAMECC.1 => {
            Some("sramecc-, but the emulated card is sramecc+")
        }
        flags if flags & GENERIC_VERSION == 0 && target_of(flags).ends_with("-generic") => {
            Some("generic version 0, but the oldest that runs is 1 (code object version 6)")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::TARGETS;

    #[test]
    fn every_target_of_the_emulator_has_a_number() {
        for target in TARGETS {
            let number = machine_of(target).unwrap_or_else(|| panic!("{} has no row", target.name));
            assert_eq!(target_of(number), target.name);
            // Feature bits do not change the target. 0x53f is what clang 19 writes for gfx90a.
            assert_eq!(target_of(number | 0x500), target.name);
        }
        assert!(target_of(0xfe).contains("0xfe"));
    }

    #[test]
    fn feature_settings_that_cannot_run_are_named() {
        assert_eq!(conflict(0x53f), None);
        assert_eq!(conflict(0x041), None);
        assert_eq!(conflict(0x63f), None, "sramecc any, xnack off");
        assert!(conflict(0x73f).unwrap().contains("xnack+"));
        assert!(conflict(0x93f).unwrap().contains("sramecc-"));
        // What clang 19 writes for gfx11-generic, and the same without its version.
        assert_eq!(conflict(0x0100_0054), None);
        assert!(conflict(0x54).unwrap().contains("generic version 0"));
    }
}
