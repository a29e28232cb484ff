//! A kernel of a loaded code object, as the executor needs it.

use crate::target::Target;
use std::sync::Arc;

/// Fields of the 64-byte kernel descriptor (LLVM AMDGPUUsage, "Kernel Descriptor").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Descriptor {
    pub group_segment_fixed_size: u32,
    pub private_segment_fixed_size: u32,
    pub kernarg_size: u32,
    pub kernel_code_entry_byte_offset: i64,
    pub compute_pgm_rsrc1: u32,
    pub compute_pgm_rsrc2: u32,
    pub compute_pgm_rsrc3: u32,
    pub kernel_code_properties: u16,
    pub kernarg_preload: u16,
}

/// A kernel ready to be decoded and run. The code object's image lies in host memory, and device
/// addresses are host addresses: program counters are plain pointers into the image.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub name: String,
    pub target: &'static Target,
    pub descriptor: Descriptor,
    /// The kernel's instructions, from its entry to the end of its symbol.
    pub code: Arc<[u8]>,
    /// Device address of `code[0]` in the loaded image (what `s_getpc` is relative to).
    pub address: u64,
    pub uses_dynamic_stack: bool,
}

/// One launch: the geometry and the filled kernarg segment (hidden arguments included).
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    /// Workgroups in x, y, z.
    pub grid: [u32; 3],
    /// Work-items of a workgroup in x, y, z.
    pub block: [u32; 3],
    /// LDS bytes asked for at launch, on top of the descriptor's fixed size.
    pub dynamic_lds: u32,
    /// Device address of the kernarg segment; it is a live region of `Memory`.
    pub kernarg: u64,
    /// Device address of a 64-byte AQL dispatch packet for this launch; a live region too.
    pub dispatch_packet: u64,
}
