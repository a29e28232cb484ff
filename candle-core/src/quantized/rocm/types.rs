//! The quantization types and the kernels that know them: one row each.
//!
//! Every quantized type has our kernels (column `own`): rows by index, dequantization, products with any number of rows,
//! mixtures of experts. Candle's translated kernels are there for comparison, see `product.rs`.
use crate::quantized::GgmlDType;
use crate::DType;

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
    /// Weights dequantized on the way, activations in f32.
    pub(super) dequantize_mul_mat_vec: Option<&'static str>,
    /// Activations in Q8_1.
    pub(super) mul_mat_vec: Option<ByColumns>,
    pub(super) mul_mat: Option<Tiled>,
    /// The name of the format in our own product kernels (`own.rs`, `experts.rs`); every quantized type has one.
    pub(super) own: Option<&'static str>,
    /// Quantizes f32 on the device, bit for bit as the CPU does.
    pub(super) quantize: Option<&'static str>,
    /// The element type of weights that are not quantized.
    pub(super) dense: Option<DType>,
}

/// Launch numbers of quantized.cu in candle-kernels 0.11.1, as its CUDA host code uses them.
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
        dequantize_mul_mat_vec: None,
        mul_mat_vec: None,
        mul_mat: None,
        own: None,
        quantize: None,
        dense: None,
    }
}

pub(super) static TYPES: &[QuantizedType] = &[
    QuantizedType {
        dense: Some(DType::F32),
        ..plain(GgmlDType::F32)
    },
    QuantizedType {
        dense: Some(DType::F16),
        ..plain(GgmlDType::F16)
    },
    QuantizedType {
        dense: Some(DType::BF16),
        ..plain(GgmlDType::BF16)
    },
    QuantizedType {
        dtype: GgmlDType::Q4_0,
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q4_0_cuda"),
        mul_mat_vec: by_columns!("q4_0"),
        mul_mat: tiled("mul_mat_q4_0", 64, 128),
        own: Some("q4_0"),
        quantize: Some("quantize_blocks_q4_0"),
        dense: None,
    },
    QuantizedType {
        dtype: GgmlDType::Q4_1,
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q4_1_cuda"),
        mul_mat_vec: by_columns!("q4_1"),
        mul_mat: tiled("mul_mat_q4_1", 64, 128),
        own: Some("q4_1"),
        quantize: Some("quantize_blocks_q4_1"),
        dense: None,
    },
    QuantizedType {
        dtype: GgmlDType::Q5_0,
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q5_0_cuda"),
        mul_mat_vec: by_columns!("q5_0"),
        mul_mat: tiled("mul_mat_q5_0", 128, 64),
        own: Some("q5_0"),
        quantize: Some("quantize_blocks_q5_0"),
        dense: None,
    },
    QuantizedType {
        dtype: GgmlDType::Q5_1,
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q5_1_cuda"),
        mul_mat_vec: by_columns!("q5_1"),
        mul_mat: tiled("mul_mat_q5_1", 128, 64),
        own: Some("q5_1"),
        quantize: Some("quantize_blocks_q5_1"),
        dense: None,
    },
    QuantizedType {
        dtype: GgmlDType::Q8_0,
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q8_0_cuda"),
        mul_mat_vec: by_columns!("q8_0"),
        mul_mat: tiled("mul_mat_q8_0", 128, 64),
        own: Some("q8_0"),
        quantize: Some("quantize_blocks_q8_0"),
        dense: None,
    },
    QuantizedType {
        own: Some("q8_1"),
        quantize: Some("quantize_blocks_q8_1"),
        ..plain(GgmlDType::Q8_1)
    },
    QuantizedType {
        dtype: GgmlDType::Q2K,
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q2_k"),
        mul_mat_vec: by_columns!("q2_K"),
        mul_mat: tiled("mul_mat_q2_K", 64, 128),
        own: Some("q2k"),
        quantize: None,
        dense: None,
    },
    QuantizedType {
        dtype: GgmlDType::Q3K,
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q3_k"),
        mul_mat_vec: by_columns!("q3_K"),
        mul_mat: tiled("mul_mat_q3_K", 128, 128),
        own: Some("q3k"),
        quantize: None,
        dense: None,
    },
    QuantizedType {
        dtype: GgmlDType::Q4K,
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q4_k"),
        mul_mat_vec: by_columns!("q4_K"),
        mul_mat: tiled("mul_mat_q4_K", 64, 128),
        own: Some("q4k"),
        quantize: None,
        dense: None,
    },
    QuantizedType {
        dtype: GgmlDType::Q5K,
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q5_k"),
        mul_mat_vec: by_columns!("q5_K"),
        mul_mat: tiled("mul_mat_q5_K", 64, 128),
        own: Some("q5k"),
        quantize: None,
        dense: None,
    },
    QuantizedType {
        dtype: GgmlDType::Q6K,
        dequantize_mul_mat_vec: Some("dequantize_mul_mat_vec_q6_k"),
        mul_mat_vec: by_columns!("q6_K"),
        // In mul_mat_q6_K several waves store the same scales to the LDS, unordered.
        mul_mat: None,
        own: Some("q6k"),
        quantize: None,
        dense: None,
    },
    QuantizedType {
        own: Some("q8k"),
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
