//! The quantization types and the kernels that know them: one row each.
//!
//! A type without a kernel for some task still works: `mod.rs` goes through f32 or through the CPU then.
use crate::quantized::GgmlDType;

/// How a dequantization kernel is launched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dequantize {
    pub(super) to_f32: &'static str,
    pub(super) to_f16: &'static str,
    /// Work-items of a workgroup.
    pub(super) threads: usize,
    /// Elements that a workgroup writes.
    pub(super) elements: usize,
    pub(super) count: CountArgument,
}

/// What the last argument of a dequantization kernel counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum CountArgument {
    /// k-quants: a workgroup is one super-block, nothing to count.
    None,
    /// Blocks of 32.
    Blocks,
    Elements,
}

/// How a row look-up kernel is launched.
#[derive(Debug, Clone, Copy)]
pub(super) struct GetRows {
    pub(super) kernel: &'static str,
    pub(super) threads: usize,
    /// Elements of a row that a workgroup writes.
    pub(super) elements: usize,
    /// Whether a grid smaller than the row in y strides over it.
    pub(super) strides: bool,
}

/// A tiled product: kernel and tile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiled {
    pub(super) kernel: &'static str,
    /// Columns of the activations in a tile.
    pub(super) columns: usize,
    /// Rows of the weights in a tile.
    pub(super) rows: usize,
}

/// The most columns of activations that a vector kernel takes.
pub(super) const MOST_VECTOR_COLUMNS: usize = 8;

/// A kernel's names for 1 to 8 columns of activations.
pub(super) type ByColumns = [&'static str; MOST_VECTOR_COLUMNS];

/// The names of a vector kernel: the number of columns stands behind the type's.
macro_rules! by_columns {
    ($t:literal) => {
        by_columns!($t: 1 2 3 4 5 6 7 8)
    };
    ($t:literal: $($columns:literal)*) => {
        Some([$(concat!("mul_mat_vec_", $t, "_q8_1_cuda", $columns)),*])
    };
}

pub(super) struct QuantizedType {
    pub(super) dtype: GgmlDType,
    pub(super) dequantize: Option<Dequantize>,
    pub(super) get_rows: Option<GetRows>,
    /// Weights dequantized on the way, activations in f32.
    pub(super) dequantize_mul_mat_vec: Option<&'static str>,
    /// Activations in Q8_1.
    pub(super) mul_mat_vec: Option<ByColumns>,
    pub(super) mul_mat: Option<Tiled>,
    /// Experts picked by index; activations in Q8_1.
    pub(super) indexed_moe: Option<&'static str>,
}

/// Launch numbers of quantized.cu in candle-kernels 0.11.1, as its CUDA host code uses them.
const fn simple(to_f32: &'static str, to_f16: &'static str) -> Option<Dequantize> {
    let count = CountArgument::Blocks;
    Some(Dequantize {
        to_f32,
        to_f16,
        threads: 32,
        elements: 256,
        count,
    })
}

const fn by_element(to_f32: &'static str, to_f16: &'static str) -> Option<Dequantize> {
    let count = CountArgument::Elements;
    Some(Dequantize {
        to_f32,
        to_f16,
        threads: 256,
        elements: 512,
        count,
    })
}

const fn super_block(
    to_f32: &'static str,
    to_f16: &'static str,
    threads: usize,
) -> Option<Dequantize> {
    let count = CountArgument::None;
    Some(Dequantize {
        to_f32,
        to_f16,
        threads,
        elements: 256,
        count,
    })
}

const fn rows(kernel: &'static str, elements: usize) -> Option<GetRows> {
    Some(GetRows {
        kernel,
        threads: 256,
        elements,
        strides: true,
    })
}

const fn super_block_rows(kernel: &'static str, threads: usize) -> Option<GetRows> {
    Some(GetRows {
        kernel,
        threads,
        elements: 256,
        strides: false,
    })
}

const fn tiled(kernel: &'static str, columns: usize, rows: usize) -> Option<Tiled> {
    Some(Tiled {
        kernel,
        columns,
        rows,
    })
}

/// A type that no quantized kernel knows.
const fn plain(dtype: GgmlDType) -> QuantizedType {
    QuantizedType {
        dtype,
        dequantize: None,
        get_rows: None,
        dequantize_mul_mat_vec: None,
        mul_mat_vec: None,
        mul_mat: None,
        indexed_moe: None,
    }
}

pub(super) static TYPES: &[QuantizedType] = &[
    QuantizedType {
        get_rows: rows("get_rows_f32", 256),
        ..plain(GgmlDType::F32)
    },
    QuantizedType {
        get_rows: rows("get_rows_f16", 256),
        ..plain(GgmlDType::F16)
    },
    QuantizedType {
        get_rows: rows("get_rows_bf16", 256),
        ..plain(GgmlDType::BF16)
    },
    QuantizedType {
        dtype: GgmlDType::Q4_0,
        dequantize: simple("dequantize_block_q4_0_f32", "dequantize_block_q4_0_f16"),
        get_rows: rows("get_rows_q4_0", 512),
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q4_0_cuda"),
        mul_mat_vec: by_columns!("q4_0"),
        mul_mat: tiled("mul_mat_q4_0", 64, 128),
        indexed_moe: None,
    },
    QuantizedType {
        dtype: GgmlDType::Q4_1,
        dequantize: simple("dequantize_block_q4_1_f32", "dequantize_block_q4_1_f16"),
        get_rows: rows("get_rows_q4_1", 512),
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q4_1_cuda"),
        mul_mat_vec: by_columns!("q4_1"),
        mul_mat: tiled("mul_mat_q4_1", 64, 128),
        indexed_moe: None,
    },
    QuantizedType {
        dtype: GgmlDType::Q5_0,
        dequantize: by_element("dequantize_block_q5_0_f32", "dequantize_block_q5_0_f16"),
        get_rows: rows("get_rows_q5_0", 512),
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q5_0_cuda"),
        mul_mat_vec: by_columns!("q5_0"),
        mul_mat: tiled("mul_mat_q5_0", 128, 64),
        indexed_moe: None,
    },
    QuantizedType {
        dtype: GgmlDType::Q5_1,
        dequantize: by_element("dequantize_block_q5_1_f32", "dequantize_block_q5_1_f16"),
        get_rows: rows("get_rows_q5_1", 512),
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q5_1_cuda"),
        mul_mat_vec: by_columns!("q5_1"),
        mul_mat: tiled("mul_mat_q5_1", 128, 64),
        indexed_moe: None,
    },
    QuantizedType {
        dtype: GgmlDType::Q8_0,
        dequantize: simple("dequantize_block_q8_0_f32", "dequantize_block_q8_0_f16"),
        get_rows: rows("get_rows_q8_0", 512),
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q8_0_cuda"),
        mul_mat_vec: by_columns!("q8_0"),
        mul_mat: tiled("mul_mat_q8_0", 128, 64),
        // The translated kernel strides experts by super-blocks of 256, which a Q8_0 row need not fill.
        indexed_moe: None,
    },
    plain(GgmlDType::Q8_1),
    QuantizedType {
        dtype: GgmlDType::Q2K,
        dequantize: super_block("dequantize_block_q2_K_f32", "dequantize_block_q2_K_f16", 64),
        get_rows: super_block_rows("get_rows_q2_K", 64),
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q2_k"),
        mul_mat_vec: by_columns!("q2_K"),
        mul_mat: tiled("mul_mat_q2_K", 64, 128),
        indexed_moe: Some("indexed_moe_forward_q2k_q8_1"),
    },
    QuantizedType {
        dtype: GgmlDType::Q3K,
        dequantize: super_block("dequantize_block_q3_K_f32", "dequantize_block_q3_K_f16", 64),
        get_rows: super_block_rows("get_rows_q3_K", 64),
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q3_k"),
        mul_mat_vec: by_columns!("q3_K"),
        mul_mat: tiled("mul_mat_q3_K", 128, 128),
        indexed_moe: Some("indexed_moe_forward_q3k_q8_1"),
    },
    QuantizedType {
        dtype: GgmlDType::Q4K,
        dequantize: super_block("dequantize_block_q4_K_f32", "dequantize_block_q4_K_f16", 32),
        get_rows: super_block_rows("get_rows_q4_K", 32),
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q4_k"),
        mul_mat_vec: by_columns!("q4_K"),
        mul_mat: tiled("mul_mat_q4_K", 64, 128),
        indexed_moe: Some("indexed_moe_forward_q4k_q8_1"),
    },
    QuantizedType {
        dtype: GgmlDType::Q5K,
        dequantize: super_block("dequantize_block_q5_K_f32", "dequantize_block_q5_K_f16", 64),
        get_rows: super_block_rows("get_rows_q5_K", 64),
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q5_k"),
        mul_mat_vec: by_columns!("q5_K"),
        mul_mat: tiled("mul_mat_q5_K", 64, 128),
        indexed_moe: Some("indexed_moe_forward_q5k_q8_1"),
    },
    QuantizedType {
        dtype: GgmlDType::Q6K,
        dequantize: super_block("dequantize_block_q6_K_f32", "dequantize_block_q6_K_f16", 64),
        get_rows: super_block_rows("get_rows_q6_K", 64),
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q6_k"),
        mul_mat_vec: by_columns!("q6_K"),
        mul_mat: tiled("mul_mat_q6_K", 64, 64),
        indexed_moe: Some("indexed_moe_forward_q6k_q8_1"),
    },
    QuantizedType {
        dequantize: super_block("dequantize_block_q8_K_f32", "dequantize_block_q8_K_f16", 32),
        ..plain(GgmlDType::Q8K)
    },
];

/// The row of a type. Every type has one, which the test below holds.
pub(super) fn row(dtype: GgmlDType) -> &'static QuantizedType {
    static PLAIN: QuantizedType = plain(GgmlDType::F32);
    TYPES.iter().find(|t| t.dtype == dtype).unwrap_or(&PLAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_row() {
        use GgmlDType::*;
        for dtype in [
            F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1, Q2K, Q3K, Q4K, Q5K, Q6K, Q8K,
        ] {
            assert_eq!(row(dtype).dtype, dtype);
        }
    }
}
