//! What a decoded token asks of the HIP runtime: so many launches for each layer, the token's number to the device, and
//! nothing else. The counters are the process's, so this file holds one test.
use anyhow::{Context, Result};
use candle::quantized::GgmlDType;
use candle::rocm_backend::hip::{counters, Counters};
use candle::{DType, Device, Tensor, D};

#[allow(dead_code)]
#[path = "../examples/small-gguf/architectures.rs"]
mod architectures;
#[allow(dead_code)]
#[path = "rocm_support/loading.rs"]
mod loading;
#[allow(dead_code)]
#[path = "../examples/small-gguf/models.rs"]
mod models;
#[path = "../examples/small-gguf/vocabulary.rs"]
mod vocabulary;

/// A small model, its keys and values in `dtype` if it asks.
fn small(
    architecture: &str,
    weights: models::Weights,
    dtype: DType,
    device: &Device,
) -> Result<loading::Model> {
    let all = architectures::ARCHITECTURES;
    let row = all.iter().find(|row| row.name == architecture);
    let sketch = (row.context("not in the table")?.describe)();
    let file = models::gguf(architecture, &sketch, weights)?;
    loading::load_as(architecture, &file, device, dtype)
}

#[test]
fn a_decoded_token_launches_and_nothing_else() -> Result<()> {
    // The steps one by one, not as a graph. No other thread reads the environment here.
    std::env::set_var("CANDLE_ROCM_GRAPHS", "0");
    let device = Device::new_rocm(0)?;
    // Norm of the sum; q, k and v; heads; attention; output; norm of the sum; gate and up; their product; down.
    let llama = 9;
    // The embedding, its norm's result in int8, the norm of the last sum, logits, the likeliest.
    let around = 5;
    // Launches around the layers, and of the two layers.
    let architectures = [
        ("llama", DType::F32, around, [llama; 2]),
        // With biases, added where the products are.
        ("qwen2", DType::F32, around, [llama; 2]),
        // Heads of queries and keys are normalised where they are rotated.
        ("qwen3", DType::F32, around, [llama; 2]),
        // Norms behind attention and feed-forward are those of the sums. The embedding is scaled.
        ("gemma3", DType::F32, around + 1, [llama; 2]),
        ("glm4", DType::F32, around, [llama; 2]),
        // Keys and values are converted where they are stored; the result is not, but its int8 form.
        ("glm4", DType::BF16, around, [llama; 2]),
        ("phi3", DType::F32, around, [llama; 2]),
        // In place of attention a convolution: its input, itself, its output.
        ("lfm2", DType::F32, around, [llama - 1, llama]),
        ("phi2", DType::F32, around, [12; 2]),
        ("qwen3-moe", DType::F32, around, [13; 2]),
        ("qwen3-moe", DType::BF16, around, [13; 2]),
    ];
    let weights = [
        ("Q8_0", models::Weights::All(GgmlDType::Q8_0)),
        // Values in Q6K, queries and keys in Q4K: one launch all the same.
        ("Q4_K_M", models::Weights::Q4KM),
    ];
    for ((architecture, dtype, around, layers), (name, weights)) in architectures
        .into_iter()
        .flat_map(|row| weights.map(|weights| (row, weights)))
    {
        let mut model = small(architecture, weights, dtype, &device)?;
        let mut at = 0;
        let mut decode = |tokens: &[u32]| -> Result<u32> {
            let input = Tensor::new(tokens, &device)?.unsqueeze(0)?;
            let logits = model(&input, at)?.squeeze(0)?;
            at += tokens.len();
            Ok(logits.argmax(D::Minus1)?.to_scalar::<u32>()?)
        };
        let mut token = decode(&[1, 2, 3, 4, 5, 6, 7, 8, 9])?;
        // The first token asks HIP for memory of its sizes.
        token = decode(&[token])?;
        for _ in 0..3 {
            let before = counters();
            token = decode(&[token])?;
            let mut expected = Counters {
                launches: around + layers.iter().sum::<u64>(),
                // After the token's number has gone there, and before the next has come back.
                synchronizations: 2,
                ..Counters::default()
            };
            (expected.host_to_device.count, expected.host_to_device.bytes) = (1, 4);
            (expected.device_to_host.count, expected.device_to_host.bytes) = (1, 4);
            assert_eq!(
                counters().since(&before),
                expected,
                "{architecture} {dtype:?} {name}"
            );
        }
    }
    Ok(())
}
