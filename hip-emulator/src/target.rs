//! The AMD targets that the emulator knows, one row each.

/// Instruction-set family: decides encodings and the initial register layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// gfx906
    Gcn5,
    /// gfx90a
    Cdna2,
    /// gfx942
    Cdna3,
    /// gfx1030, gfx1031
    Rdna2,
    /// gfx1100, gfx1103, gfx1151
    Rdna3,
    /// gfx1200, gfx1201
    Rdna4,
}

impl Family {
    /// GCN and its successor CDNA: waves of 64, 16-bit results that clear the register's other half.
    pub fn is_gfx9(self) -> bool {
        matches!(self, Family::Gcn5 | Family::Cdna2 | Family::Cdna3)
    }

    /// The three work-item ids lie in v0, ten bits each, instead of in v0, v1 and v2.
    pub fn packs_work_item_ids(self) -> bool {
        !matches!(self, Family::Gcn5 | Family::Rdna2)
    }

    /// Scratch lies where the hardware knows, so that no SGPR holds a wave's offset ("architected flat
    /// scratch" in LLVM's AMDGPUUsage).
    pub fn has_architected_scratch(self) -> bool {
        matches!(self, Family::Cdna3 | Family::Rdna3 | Family::Rdna4)
    }
}

/// What a target is to the runtime and to the executor.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// LLVM's name, such as `gfx1100`.
    pub name: &'static str,
    pub family: Family,
    /// The generic target whose code objects run on this one too (AMDGPUUsage, "Generic processors").
    pub generic: Option<&'static str>,
    /// Lanes of a wave, as HIP compiles for this target: 32 or 64.
    pub wave_size: u32,
    /// A representative card, shown as the device's name followed by "(emulated)".
    pub card: &'static str,
    pub compute_units: u32,
}

/// Every target; a new one is a new row.
#[rustfmt::skip]
pub static TARGETS: &[Target] = &[
    Target { name: "gfx1100", family: Family::Rdna3, generic: Some("gfx11-generic"), wave_size: 32, card: "Radeon RX 7900 XTX", compute_units: 96 },
    Target { name: "gfx90a", family: Family::Cdna2, generic: None, wave_size: 64, card: "Instinct MI210", compute_units: 104 },
    Target { name: "gfx942", family: Family::Cdna3, generic: Some("gfx9-4-generic"), wave_size: 64, card: "Instinct MI300X", compute_units: 304 },
    Target { name: "gfx1030", family: Family::Rdna2, generic: Some("gfx10-3-generic"), wave_size: 32, card: "Radeon RX 6800 XT", compute_units: 72 },
    Target { name: "gfx1201", family: Family::Rdna4, generic: Some("gfx12-generic"), wave_size: 32, card: "Radeon RX 9070 XT", compute_units: 64 },
    // Cards without code objects of their own: they run their family's generic ones.
    Target { name: "gfx906", family: Family::Gcn5, generic: Some("gfx9-generic"), wave_size: 64, card: "Radeon VII", compute_units: 60 },
    Target { name: "gfx1031", family: Family::Rdna2, generic: Some("gfx10-3-generic"), wave_size: 32, card: "Radeon RX 6700 XT", compute_units: 40 },
    Target { name: "gfx1103", family: Family::Rdna3, generic: Some("gfx11-generic"), wave_size: 32, card: "Radeon 780M", compute_units: 12 },
    Target { name: "gfx1151", family: Family::Rdna3, generic: Some("gfx11-generic"), wave_size: 32, card: "Radeon 8060S", compute_units: 40 },
    Target { name: "gfx1200", family: Family::Rdna4, generic: Some("gfx12-generic"), wave_size: 32, card: "Radeon RX 9060 XT", compute_units: 32 },
];

impl Target {
    /// The row of `name`, or `None` for a target that the emulator does not know.
    pub fn named(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|t| t.name == name)
    }

    /// Whether code objects of `target` run here: those of this very target, or of its generic one.
    pub fn runs(&self, target: &str) -> bool {
        self.name == target || self.generic == Some(target)
    }

    /// A target that runs code objects of `target`: of that name, else of that generic name.
    pub fn running(target: &str) -> Option<&'static Target> {
        Target::named(target).or_else(|| TARGETS.iter().find(|t| t.runs(target)))
    }
}
