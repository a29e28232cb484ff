//! [`crate::moe::moe_gemm_gguf`] on the CPU: a product for each expert that some row picked. Its weights are copied
//! out of the tensor for it, which costs about what reading them does.
use candle::quantized::{QMatMul, QStorage, QTensor};
use candle::{DType, Device, Module, Result, Tensor};
use std::borrow::Cow;

/// Row `sorted_token_ids[i]` of the result, `[rows, n]` in f32, is the product of expert `experts_ids[i]` of `weights`,
/// `[experts, n, k]` of any type, with a row of `input`, `[inputs, k]` in f32: with row r / `per_token` where
/// `topk_weights` is none, else with row r, times `topk_weights[r]`.
///
/// # Errors
/// When shapes or types do not fit, or a table names an expert or row that does not exist.
pub(crate) fn moe_gemm_gguf(
    input: &Tensor,
    weights: &QTensor,
    topk_weights: &Option<Tensor>,
    sorted_token_ids: &Tensor,
    experts_ids: &Tensor,
    per_token: usize,
) -> Result<Tensor> {
    let (experts, n, k) = weights.shape().dims3()?;
    let (inputs, width) = input.dims2()?;
    if width != k || input.dtype() != DType::F32 {
        candle::bail!(
            "mixture of experts: the input is {:?} in {:?}, experts of {n} by {k} want f32 rows of {k}",
            input.shape(),
            input.dtype()
        )
    }
    let rows = sorted_token_ids.flatten_all()?.to_vec1::<u32>()?;
    let owners = experts_ids.flatten_all()?.to_vec1::<u32>()?;
    let scales = match topk_weights {
        Some(scales) => Some(scales.flatten_all()?.to_vec1::<f32>()?),
        None => None,
    };
    let shared = if scales.is_some() {
        1
    } else {
        per_token.max(1)
    };
    let wanted = inputs * shared;
    let scaled = scales.as_ref().map_or(wanted, Vec::len);
    if rows.len() != wanted || owners.len() != wanted || scaled != wanted {
        candle::bail!(
            "mixture of experts: {} rows, {} experts and {scaled} weights of rows for {wanted} rows of the result",
            rows.len(),
            owners.len(),
        )
    }
    let mut of_expert = vec![Vec::new(); experts];
    for (row, owner) in rows.iter().zip(&owners) {
        match of_expert.get_mut(*owner as usize) {
            Some(list) if (*row as usize) < wanted => list.push(*row),
            _ => candle::bail!(
                "mixture of experts: row {row} of {wanted} with expert {owner} of {experts}"
            ),
        }
    }
    let bytes = weights.data()?;
    let (each, mut out) = (bytes.len() / experts.max(1), vec![0f32; wanted * n]);
    for (expert, rows) in of_expert.iter().enumerate() {
        if rows.is_empty() {
            continue;
        }
        let bytes = Cow::Borrowed(&bytes[expert * each..][..each]);
        let storage = QStorage::from_data(bytes, &Device::Cpu, weights.dtype())?;
        let matrix = QMatMul::from_qtensor(QTensor::new(storage, (n, k))?)?;
        let picked = rows.iter().map(|row| row / shared as u32).collect();
        let picked = Tensor::from_vec(picked, rows.len(), &Device::Cpu)?;
        let products = matrix.forward(&input.index_select(&picked, 0)?)?;
        for (row, product) in rows.iter().zip(products.to_vec2::<f32>()?) {
            let row = *row as usize;
            let scale = scales.as_ref().map_or(1., |scales| scales[row]);
            let place = &mut out[row * n..][..n];
            for (out, value) in place.iter_mut().zip(product) {
                *out = scale * value;
            }
        }
    }
    Tensor::from_vec(out, (wanted, n), &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle::quantized::GgmlDType;

    const EXPERTS: usize = 3;
    const N: usize = 5;
    const K: usize = 256;

    fn numbers(count: usize, start: f32) -> Vec<f32> {
        let number = |i| ((i as f32 + start) * 1.618).sin();
        (0..count).map(number).collect()
    }

    fn table(values: &[u32]) -> Result<Tensor> {
        Tensor::from_slice(values, values.len(), &Device::Cpu)
    }

    /// Against the dequantized weights, in f64.
    #[test]
    fn each_row_meets_its_expert() -> Result<()> {
        let rows = [3, 0, 2, 5, 1, 4];
        let owners = [0, 0, 1, 1, 2, 2];
        for dtype in [GgmlDType::F32, GgmlDType::Q8_0, GgmlDType::Q4K] {
            let w = Tensor::from_vec(numbers(EXPERTS * N * K, 1.), (EXPERTS, N, K), &Device::Cpu)?;
            let weights = QTensor::quantize(&w, dtype)?;
            let w = weights.dequantize(&Device::Cpu)?.flatten_all()?;
            let w = w.to_vec1::<f32>()?;
            for weighted in [false, true] {
                let shared = if weighted { 1 } else { 2 };
                let x = numbers(rows.len() / shared * K, 2.);
                let input = Tensor::from_slice(&x[..], (rows.len() / shared, K), &Device::Cpu)?;
                let scales = numbers(rows.len(), 0.5);
                let given = match weighted {
                    true => Some(Tensor::from_slice(&scales[..], rows.len(), &Device::Cpu)?),
                    false => None,
                };
                let (sorted, experts) = (table(&rows)?, table(&owners)?);
                let found = moe_gemm_gguf(&input, &weights, &given, &sorted, &experts, 2)?;
                let found = found.to_vec2::<f32>()?;
                for (row, owner) in rows.iter().zip(owners) {
                    let (row, owner) = (*row as usize, owner as usize);
                    let x = &x[row / shared * K..][..K];
                    for (column, found) in found[row].iter().enumerate() {
                        let w = &w[(owner * N + column) * K..][..K];
                        let terms = w.iter().zip(x).map(|(a, b)| f64::from(*a) * f64::from(*b));
                        let scale = if weighted { f64::from(scales[row]) } else { 1. };
                        let expected = scale * terms.sum::<f64>();
                        // f32 sums; 8 bits for activations below 1 where the weights are quantized.
                        let bound = match dtype {
                            GgmlDType::F32 => K as f64 * 2f64.powi(-24),
                            _ => K as f64 * 1.1 / 254.,
                        };
                        let error = (f64::from(*found) - expected).abs();
                        assert!(error <= bound, "{dtype:?} row {row}: {found}, {expected}");
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn tables_that_do_not_fit_are_errors() -> Result<()> {
        let w = Tensor::zeros((EXPERTS, N, K), DType::F32, &Device::Cpu)?;
        let w = QTensor::quantize(&w, GgmlDType::Q8_0)?;
        let x = Tensor::zeros((1, K), DType::F32, &Device::Cpu)?;
        for (rows, owners, part) in [
            (&[0, 1][..], &[0, 3][..], "expert 3 of 3"),
            (&[0, 2], &[0, 1], "row 2 of 2"),
            (&[0], &[0, 1], "1 rows, 2 experts"),
        ] {
            let error = moe_gemm_gguf(&x, &w, &None, &table(rows)?, &table(owners)?, 2);
            let error = error.unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        Ok(())
    }
}
