//! The matrix instructions, one row each: shape and types.

/// Type of the elements of A and B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    F64,
    F32,
    F16,
    Bf16,
    I8,
    I4,
    /// e4m3 and e5m2, by the two matrices.
    Fp8Fp8,
    Fp8Bf8,
    Bf8Fp8,
    Bf8Bf8,
}

impl Element {
    /// Bits of one element.
    pub fn bits(self) -> usize {
        match self {
            Element::F64 => 64,
            Element::F32 => 32,
            Element::F16 | Element::Bf16 => 16,
            Element::I4 => 4,
            _ => 8,
        }
    }
}

/// Type of the elements of C and D.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    F64,
    F32,
    F16,
    Bf16,
    I32,
}

/// Where elements lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// CDNA.
    Mfma,
    /// gfx11: each half of the wave holds all of A and of B.
    Wmma11,
    /// gfx12.
    Wmma12,
}

/// One instruction: A is size×k, B k×size, `blocks` of them side by side.
pub struct Matrix {
    pub names: &'static [&'static str],
    pub size: usize,
    pub k: usize,
    pub blocks: usize,
    pub element: Element,
    pub sum: Sum,
}

/// `names, size k blocks element sum`.
macro_rules! matrices {
    ($($($name:literal)|+, $size:literal $k:literal $blocks:literal $element:ident $sum:ident;)*) => {
        pub static MATRICES: &[Matrix] = &[$(Matrix {
            names: &[$($name),+],
            size: $size,
            k: $k,
            blocks: $blocks,
            element: Element::$element,
            sum: Sum::$sum,
        }),*];
    };
}

matrices! {
    "v_mfma_f32_32x32x1f32" | "v_mfma_f32_32x32x1_2b_f32", 32 1 2 F32 F32;
    "v_mfma_f32_16x16x1f32" | "v_mfma_f32_16x16x1_4b_f32", 16 1 4 F32 F32;
    "v_mfma_f32_4x4x1f32" | "v_mfma_f32_4x4x1_16b_f32", 4 1 16 F32 F32;
    "v_mfma_f32_32x32x2f32" | "v_mfma_f32_32x32x2_f32", 32 2 1 F32 F32;
    "v_mfma_f32_16x16x4f32" | "v_mfma_f32_16x16x4_f32", 16 4 1 F32 F32;
    "v_mfma_f32_32x32x4f16" | "v_mfma_f32_32x32x4_2b_f16", 32 4 2 F16 F32;
    "v_mfma_f32_16x16x4f16" | "v_mfma_f32_16x16x4_4b_f16", 16 4 4 F16 F32;
    "v_mfma_f32_4x4x4f16" | "v_mfma_f32_4x4x4_16b_f16", 4 4 16 F16 F32;
    "v_mfma_f32_32x32x8f16" | "v_mfma_f32_32x32x8_f16", 32 8 1 F16 F32;
    "v_mfma_f32_16x16x16f16" | "v_mfma_f32_16x16x16_f16", 16 16 1 F16 F32;
    "v_mfma_f32_32x32x2bf16", 32 2 2 Bf16 F32;
    "v_mfma_f32_16x16x2bf16", 16 2 4 Bf16 F32;
    "v_mfma_f32_4x4x2bf16", 4 2 16 Bf16 F32;
    "v_mfma_f32_32x32x4bf16", 32 4 1 Bf16 F32;
    "v_mfma_f32_16x16x8bf16", 16 8 1 Bf16 F32;
    "v_mfma_f32_32x32x4bf16_1k" | "v_mfma_f32_32x32x4_2b_bf16", 32 4 2 Bf16 F32;
    "v_mfma_f32_16x16x4bf16_1k" | "v_mfma_f32_16x16x4_4b_bf16", 16 4 4 Bf16 F32;
    "v_mfma_f32_4x4x4bf16_1k" | "v_mfma_f32_4x4x4_16b_bf16", 4 4 16 Bf16 F32;
    "v_mfma_f32_32x32x8bf16_1k" | "v_mfma_f32_32x32x8_bf16", 32 8 1 Bf16 F32;
    "v_mfma_f32_16x16x16bf16_1k" | "v_mfma_f32_16x16x16_bf16", 16 16 1 Bf16 F32;
    "v_mfma_i32_32x32x4i8" | "v_mfma_i32_32x32x4_2b_i8", 32 4 2 I8 I32;
    "v_mfma_i32_16x16x4i8" | "v_mfma_i32_16x16x4_4b_i8", 16 4 4 I8 I32;
    "v_mfma_i32_4x4x4i8" | "v_mfma_i32_4x4x4_16b_i8", 4 4 16 I8 I32;
    "v_mfma_i32_32x32x8i8", 32 8 1 I8 I32;
    "v_mfma_i32_16x16x16i8", 16 16 1 I8 I32;
    "v_mfma_i32_32x32x16_i8", 32 16 1 I8 I32;
    "v_mfma_i32_16x16x32_i8", 16 32 1 I8 I32;
    "v_mfma_f64_16x16x4f64" | "v_mfma_f64_16x16x4_f64", 16 4 1 F64 F64;
    "v_mfma_f32_16x16x32_fp8_fp8", 16 32 1 Fp8Fp8 F32;
    "v_mfma_f32_16x16x32_fp8_bf8", 16 32 1 Fp8Bf8 F32;
    "v_mfma_f32_16x16x32_bf8_fp8", 16 32 1 Bf8Fp8 F32;
    "v_mfma_f32_16x16x32_bf8_bf8", 16 32 1 Bf8Bf8 F32;
    "v_mfma_f32_32x32x16_fp8_fp8", 32 16 1 Fp8Fp8 F32;
    "v_mfma_f32_32x32x16_fp8_bf8", 32 16 1 Fp8Bf8 F32;
    "v_mfma_f32_32x32x16_bf8_fp8", 32 16 1 Bf8Fp8 F32;
    "v_mfma_f32_32x32x16_bf8_bf8", 32 16 1 Bf8Bf8 F32;
    "v_wmma_f32_16x16x16_f16", 16 16 1 F16 F32;
    "v_wmma_f32_16x16x16_bf16", 16 16 1 Bf16 F32;
    "v_wmma_f16_16x16x16_f16", 16 16 1 F16 F16;
    "v_wmma_bf16_16x16x16_bf16", 16 16 1 Bf16 Bf16;
    "v_wmma_i32_16x16x16_iu8", 16 16 1 I8 I32;
    "v_wmma_i32_16x16x16_iu4", 16 16 1 I4 I32;
    "v_wmma_i32_16x16x32_iu4", 16 32 1 I4 I32;
    "v_wmma_f32_16x16x16_fp8_fp8", 16 16 1 Fp8Fp8 F32;
    "v_wmma_f32_16x16x16_fp8_bf8", 16 16 1 Fp8Bf8 F32;
    "v_wmma_f32_16x16x16_bf8_fp8", 16 16 1 Bf8Fp8 F32;
    "v_wmma_f32_16x16x16_bf8_bf8", 16 16 1 Bf8Bf8 F32;
}
