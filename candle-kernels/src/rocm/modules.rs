//! The modules that are compiled: one row per code object. The build script and the program read the same rows.

/// Where a module's source comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `src/<source>.cu` of upstream, translated at build time.
    Upstream,
    /// `src/hip/<source>.hip`, ours.
    Own,
}

/// One row of [`SOURCES`].
#[derive(Debug)]
pub struct Source {
    /// Name of the module and stem of its file.
    pub name: &'static str,
    pub origin: Origin,
    /// Path without extension below `src/` (upstream) or `src/hip/` (own).
    pub path: &'static str,
    /// The most threads a workgroup of this module's kernels is launched with. The compiler gives each thread
    /// as many registers as this leaves, so it is a promise: a larger launch fails.
    pub max_threads: u32,
    /// The CUDA architecture whose code paths are translated (`__CUDA_ARCH__`).
    pub cuda_level: u32,
    /// Compiled by the build. The others compile on request (`scripts/compile_hip_kernels.sh --module NAME`).
    pub built: bool,
}

impl Source {
    /// Whether it is one of upstream's `mmq_gguf/`, which has branches for AMD.
    pub fn is_mmq(&self) -> bool {
        self.path.starts_with("mmq_gguf/")
    }
}

const fn upstream(name: &'static str, max_threads: u32) -> Source {
    Source {
        name,
        origin: Origin::Upstream,
        path: name,
        max_threads,
        cuda_level: 890,
        built: true,
    }
}

/// `src/hip/<name>.hip`.
const fn own(name: &'static str) -> Source {
    Source {
        name,
        origin: Origin::Own,
        path: name,
        max_threads: 256,
        cuda_level: 0,
        built: true,
    }
}

/// A module of `src/hip/quantized/`.
const fn own_quantized(name: &'static str, path: &'static str) -> Source {
    Source {
        name,
        origin: Origin::Own,
        path,
        max_threads: 256,
        cuda_level: 0,
        built: true,
    }
}

/// A module of `src/hip/attention/`.
const fn own_attention(name: &'static str, path: &'static str) -> Source {
    own_quantized(name, path)
}

/// A module of upstream's `mmq_gguf/`, 8 waves a workgroup; with 620 it leaves NVIDIA's assembler (from 750 on) out.
const fn mmq(name: &'static str, path: &'static str) -> Source {
    Source {
        path,
        cuda_level: 620,
        built: false,
        ..upstream(name, 512)
    }
}

/// Every module; those that the build compiles come first. Upstream launches its element-wise and reducing kernels with up to 1024 threads, its
/// quantized kernels with at most 256 (8 warps).
pub const SOURCES: &[Source] = &[
    upstream("affine", 1024),
    upstream("binary", 1024),
    upstream("cast", 1024),
    upstream("conv", 1024),
    upstream("fill", 1024),
    upstream("indexing", 1024),
    upstream("quantized", 256),
    upstream("reduce", 1024),
    upstream("sort", 1024),
    upstream("ternary", 1024),
    upstream("unary", 1024),
    Source {
        name: "gemm",
        origin: Origin::Own,
        path: "gemm",
        max_threads: 256,
        cuda_level: 0,
        built: true,
    },
    own_quantized("quantized_product", "quantized/product"),
    own_quantized("quantized_dense", "quantized/dense"),
    own_quantized("quantize", "quantized/quantize"),
    own("pointwise"),
    own("pairwise"),
    own("convert"),
    own("move"),
    own("pick"),
    own("fold"),
    own("order"),
    own("random"),
    own_quantized("quantized_lookup", "quantized/lookup"),
    own_quantized("quantized_tile", "quantized/tile"),
    own_attention("attention_rows", "attention/rows"),
    own_attention("attention_tiles", "attention/tiles"),
    own_attention("attention_fma", "attention/fma"),
    Source {
        max_threads: 1024,
        ..own("fused")
    },
    Source {
        built: false,
        ..upstream("mmvq_gguf", 256)
    },
    mmq("mmq_quantize", "mmq_gguf/mmq_quantize"),
    mmq("mmq_instance_q4_0", "mmq_gguf/mmq_instance_q4_0"),
    mmq("mmq_instance_q4_1", "mmq_gguf/mmq_instance_q4_1"),
    mmq("mmq_instance_q5_0", "mmq_gguf/mmq_instance_q5_0"),
    mmq("mmq_instance_q5_1", "mmq_gguf/mmq_instance_q5_1"),
    mmq("mmq_instance_q8_0", "mmq_gguf/mmq_instance_q8_0"),
    mmq("mmq_instance_q2_k", "mmq_gguf/mmq_instance_q2_k"),
    mmq("mmq_instance_q3_k", "mmq_gguf/mmq_instance_q3_k"),
    mmq("mmq_instance_q4_k", "mmq_gguf/mmq_instance_q4_k"),
    mmq("mmq_instance_q5_k", "mmq_gguf/mmq_instance_q5_k"),
    mmq("mmq_instance_q6_k", "mmq_gguf/mmq_instance_q6_k"),
];
