//! The targets that kernels can be built for: one row each. The build script reads this table to compile,
//! the program reads it to choose a code object.

/// Processors that share an instruction set closely enough for one tuning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Vega and other GCN 5 chips.
    Gcn5,
    /// MI200.
    Cdna2,
    /// MI300.
    Cdna3,
    /// RX 6000.
    Rdna2,
    /// RX 7000, and the APUs of RDNA3 and 3.5.
    Rdna3,
    /// RX 9000.
    Rdna4,
    /// NVIDIA cards, for measurement beside CUDA: compiled by nvcc.
    Nvidia,
}

impl Family {
    /// Whether it has matrix cores for floats, as include/matrix_cores.h takes them: for 16-bit ones (`half`), or for wider ones.
    pub fn multiplies_floats(self, half: bool) -> bool {
        match self {
            Self::Cdna2 | Self::Cdna3 => true,
            Self::Rdna3 | Self::Rdna4 => half,
            Self::Gcn5 | Self::Rdna2 | Self::Nvidia => false,
        }
    }
}

/// The packed dot product of four signed bytes that a target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dot4 {
    /// `v_dot4_i32_i8` with both operands signed.
    Sdot4,
    /// `v_dot4_i32_iu8` with the signedness of each operand in the instruction.
    Sudot4,
    /// None: four multiplications and additions.
    None,
}

/// One row of [`TARGETS`].
#[derive(Debug)]
pub struct Target {
    /// LLVM's name, as in `--offload-arch`.
    pub name: &'static str,
    /// What kernels are tuned by.
    pub family: Family,
    /// Lanes of a wave in HIP's default mode.
    pub wave_size: u32,
    /// `__oclc_ISA_version` of the device libraries: major * 1000 + minor * 100 + stepping (hexadecimal digit).
    pub isa_version: u32,
    /// 5, or 6 for a generic target, which older code objects cannot express (runtime: ROCm 6.3 or newer).
    pub code_object_version: u32,
    /// The dot product that kernels use.
    pub dot4: Dot4,
    /// Oldest LLVM that knows the target.
    pub min_llvm: u32,
    /// Built when `CANDLE_HIP_ARCHS` is not set.
    pub default: bool,
}

/// Every AMD target that can be built. `CANDLE_HIP_ARCHS=all` means all rows.
#[rustfmt::skip]
pub const TARGETS: &[Target] = &[
    Target { name: "gfx90a",          family: Family::Cdna2, wave_size: 64, isa_version: 9010,  code_object_version: 5, dot4: Dot4::Sdot4,  min_llvm: 17, default: true },
    Target { name: "gfx942",          family: Family::Cdna3, wave_size: 64, isa_version: 9402,  code_object_version: 5, dot4: Dot4::Sdot4,  min_llvm: 17, default: true },
    Target { name: "gfx1030",         family: Family::Rdna2, wave_size: 32, isa_version: 10300, code_object_version: 5, dot4: Dot4::Sdot4,  min_llvm: 17, default: true },
    Target { name: "gfx1100",         family: Family::Rdna3, wave_size: 32, isa_version: 11000, code_object_version: 5, dot4: Dot4::Sudot4, min_llvm: 17, default: true },
    Target { name: "gfx1201",         family: Family::Rdna4, wave_size: 32, isa_version: 12001, code_object_version: 5, dot4: Dot4::Sudot4, min_llvm: 19, default: true },
    // Vega has no packed dot product on all its chips: the quantized kernels take minutes to compile, and are slow.
    Target { name: "gfx9-generic",    family: Family::Gcn5,  wave_size: 64, isa_version: 9000,  code_object_version: 6, dot4: Dot4::None,   min_llvm: 19, default: false },
    Target { name: "gfx9-4-generic",  family: Family::Cdna3, wave_size: 64, isa_version: 9402,  code_object_version: 6, dot4: Dot4::Sdot4,  min_llvm: 20, default: true },
    Target { name: "gfx10-3-generic", family: Family::Rdna2, wave_size: 32, isa_version: 10300, code_object_version: 6, dot4: Dot4::Sdot4,  min_llvm: 19, default: true },
    Target { name: "gfx11-generic",   family: Family::Rdna3, wave_size: 32, isa_version: 11003, code_object_version: 6, dot4: Dot4::Sudot4, min_llvm: 19, default: true },
    Target { name: "gfx12-generic",   family: Family::Rdna4, wave_size: 32, isa_version: 12000, code_object_version: 6, dot4: Dot4::Sudot4, min_llvm: 19, default: true },
];

/// An NVIDIA target. The columns about AMD compilers hold nothing.
const fn nvidia(name: &'static str) -> Target {
    Target {
        name,
        family: Family::Nvidia,
        wave_size: 32,
        isa_version: 0,
        code_object_version: 0,
        dot4: Dot4::None,
        min_llvm: 0,
        default: false,
    }
}

/// NVIDIA cards (through `hip-nvidia`), built only when named: nvcc's names of the architectures that its release 13
/// compiles for. Machine code runs on exactly the architecture it was made for.
pub const NVIDIA_TARGETS: &[Target] = &[
    nvidia("sm_75"),
    nvidia("sm_80"),
    nvidia("sm_86"),
    nvidia("sm_87"),
    nvidia("sm_89"),
    nvidia("sm_90"),
    nvidia("sm_100"),
    nvidia("sm_103"),
    nvidia("sm_120"),
    nvidia("sm_121"),
];

/// The row called `name`.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS
        .iter()
        .chain(NVIDIA_TARGETS)
        .find(|target| target.name == name)
}

/// A device's target without its features: `gfx90a:sramecc+:xnack-` is `gfx90a`. A code object that names no
/// feature runs with any setting of them.
pub fn base_name(device: &str) -> &str {
    device.split(':').next().unwrap_or(device).trim()
}

/// The generic target whose code objects run on processor `name`, after LLVM's table of generic processors
/// (AMDGPUUsage, "Generic processors"). `None` for processors that no generic target covers, gfx90a among them.
pub fn generic_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "gfx900" | "gfx902" | "gfx904" | "gfx906" | "gfx909" | "gfx90c" => "gfx9-generic",
        "gfx940" | "gfx941" | "gfx942" | "gfx950" => "gfx9-4-generic",
        "gfx1010" | "gfx1011" | "gfx1012" | "gfx1013" => "gfx10-1-generic",
        "gfx1030" | "gfx1031" | "gfx1032" | "gfx1033" | "gfx1034" | "gfx1035" | "gfx1036" => {
            "gfx10-3-generic"
        }
        "gfx1100" | "gfx1101" | "gfx1102" | "gfx1103" | "gfx1150" | "gfx1151" | "gfx1152"
        | "gfx1153" => "gfx11-generic",
        "gfx1200" | "gfx1201" => "gfx12-generic",
        _ => return None,
    })
}

/// The family of a device, by HIP's gcnArchName: its own row's, else that of the generic target whose code objects it runs.
/// `None` for one that no row stands for.
pub fn family_of(device: &str) -> Option<Family> {
    let name = base_name(device);
    let target = find(name).or_else(|| find(generic_of(name)?));
    target.map(|target| target.family)
}
