//! The AMD targets that the emulator knows, one row each.

/// Instruction-set family: decides encodings and the initial register layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// gfx90a
    Cdna2,
    /// gfx942
    Cdna3,
    /// gfx1030
    Rdna2,
    /// gfx1100
    Rdna3,
    /// gfx1200, gfx1201
    Rdna4,
}

/// What a target is to the runtime and to the executor.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// LLVM's name, such as `gfx1100`.
    pub name: &'static str,
    pub family: Family,
    /// Lanes of a wave, as HIP compiles for this target: 32 or 64.
    pub wave_size: u32,
    /// A representative card, shown as the device's name followed by "(emulated)".
    pub card: &'static str,
    pub compute_units: u32,
}

/// Every target; a new one is a new row.
pub static TARGETS: &[Target] = &[
    Target { name: "gfx1100", family: Family::Rdna3, wave_size: 32, card: "Radeon RX 7900 XTX", compute_units: 96 },
    Target { name: "gfx90a", family: Family::Cdna2, wave_size: 64, card: "Instinct MI210", compute_units: 104 },
];

impl Target {
    /// The row of `name`, or `None` for a target that the emulator does not know.
    pub fn named(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|t| t.name == name)
    }
}
