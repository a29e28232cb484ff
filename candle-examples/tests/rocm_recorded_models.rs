//! Which models launch a decoding step as a graph. The counters are the process's, so this file holds one test; that the logits
//! are right, recorded or not, is what rocm_architectures holds against the CPU.
use anyhow::{Context, Result};
use candle::quantized::GgmlDType;
use candle::rocm_backend::hip::counters;
use candle::{Device, Tensor};

#[allow(dead_code)]
#[path = "../examples/small-gguf/architectures.rs"]
mod architectures;
#[path = "rocm_support/loading.rs"]
mod loading;
#[allow(dead_code)]
#[path = "../examples/small-gguf/models.rs"]
mod models;
#[path = "../examples/small-gguf/vocabulary.rs"]
mod vocabulary;

/// Steps of one token; the first two are plain.
const STEPS: u64 = 6;
/// Experts that the host chooses, and a model without the fused cache.
const PLAIN: [&str; 2] = ["llama-moe", "t5"];

#[test]
fn decoding_steps_are_graphs_where_they_can_be() -> Result<()> {
    let device = Device::new_rocm(0)?;
    for row in architectures::ARCHITECTURES {
        let sketch = (row.describe)();
        let weights = models::Weights::All(GgmlDType::Q8_0);
        let file = models::gguf(row.name, &sketch, weights)?;
        let mut model = loading::load(row.name, &file, &device)?;
        let before = counters();
        let mut at = 0;
        let mut decode = |tokens: &[u32]| -> Result<()> {
            let input = Tensor::new(tokens, &device)?.unsqueeze(0)?;
            model(&input, at).context(row.name)?;
            at += tokens.len();
            Ok(())
        };
        decode(&[1, 2, 3, 4, 5])?;
        for token in 0..STEPS as u32 {
            decode(&[token])?;
        }
        let launched = counters().since(&before).graph_launches;
        let expected = if PLAIN.contains(&row.name) {
            0
        } else {
            STEPS - 2
        };
        assert_eq!(launched, expected, "{}", row.name);
    }
    Ok(())
}
