//! What fused attention asks of the HIP runtime: a decoding step reads keys and values where the cache has them, while the
//! same from products and softmax copies them for each group of heads. The counters are the process's, so this file holds
//! one test. Under the emulator's `HIP_EMULATOR_PROFILE=FILE` it also shows what the kernels of both do.
use candle::quantized::{GgmlDType, QMatMul, QTensor};
use candle::rocm_backend::hip::{counters, Counters};
use candle::{DType, Device, Module, Result, Tensor};
use candle_nn::fused::{CachedAttention, Rotary};

/// Positions that the cache has room for.
const ROOM: usize = 2048;
/// Heads of queries, and of keys and values.
const HEADS: usize = 32;
const KEY_HEADS: usize = 8;
const WIDTH: usize = 128;
const SCALE: f64 = 0.0625;

/// As candle's quantized models have it.
fn composed(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let repeated = |t: &Tensor| {
        let (b, h, n, d) = t.dims4()?;
        t.unsqueeze(2)?
            .expand((b, h, HEADS / KEY_HEADS, n, d))?
            .reshape((b, HEADS, n, d))
    };
    let scores = (q.matmul(&repeated(k)?.t()?)? * SCALE)?;
    candle_nn::ops::softmax_last_dim(&scores)?.matmul(&repeated(v)?)
}

/// Heads are placed, attention runs in one piece or in several that are joined, and the product of its result, which is there in
/// int8, is a launch: after one that converts it if heads are no whole segments.
fn a_product_of_the_result(device: &Device) -> Result<()> {
    for (width, converting) in [(64, 0), (80, 1)] {
        let k = 2 * width;
        let weights = Tensor::rand(-1f32, 1f32, (8, k), &Device::Cpu)?;
        let weights = QTensor::quantize_onto(&weights, GgmlDType::Q8_0, device)?;
        let weights = QMatMul::from_qtensor(weights)?;
        for batch in [1, 3] {
            let numbers = |heads, positions| {
                Tensor::rand(-1f32, 1f32, (batch, heads, positions, width), device)
            };
            let angles = Tensor::rand(-1f32, 1f32, (400, 16), device)?;
            let rotary = Rotary::new(&angles, &angles, false);
            let mut cache = CachedAttention::new();
            // The first token of each asks HIP for memory and grows the cache.
            for (tokens, attention) in [(9, 0), (1, 0), (1, 1), (300, 0), (1, 0), (1, 2)] {
                let (q, k, v) = (
                    numbers(2, tokens)?,
                    numbers(1, tokens)?,
                    numbers(1, tokens)?,
                );
                let before = counters();
                let out = cache.forward(&q, &k, &v, &rotary, cache.len(), None)?;
                weights.forward(&out)?;
                if attention == 0 {
                    continue;
                }
                let expected = Counters {
                    launches: 1 + attention + converting + 1,
                    ..Counters::default()
                };
                assert_eq!(
                    counters().since(&before),
                    expected,
                    "{batch} x 2 heads of {width}, {} positions",
                    cache.len()
                );
            }
        }
    }
    Ok(())
}

#[test]
fn a_decoding_step_launches_and_nothing_else() -> Result<()> {
    let device = Device::new_rocm(0)?;
    a_product_of_the_result(&device)?;
    let numbers = |heads, positions| {
        Tensor::rand(-1f32, 1f32, (1, heads, positions, WIDTH), &device)?.to_dtype(DType::F16)
    };
    let q = numbers(HEADS, 1)?;
    let (keys, values) = (numbers(KEY_HEADS, ROOM)?, numbers(KEY_HEADS, ROOM)?);
    // Short contexts take one kernel, long ones another that joins their pieces.
    for (length, launches) in [(5, 1), (100, 1), (ROOM, 2)] {
        let (k, v) = (keys.narrow(2, 0, length)?, values.narrow(2, 0, length)?);
        let step = || candle_nn::ops::sdpa(&q, &k, &v, None, true, SCALE as f32, 1.0);
        // The first pass loads the module and asks HIP for memory.
        step()?;
        device.synchronize()?;
        let before = counters();
        step()?;
        let expected = Counters {
            launches,
            ..Counters::default()
        };
        assert_eq!(counters().since(&before), expected, "{length} keys");

        let before = counters();
        let parts = composed(&q, &k, &v)?;
        // Two copies, two products, a scaling and a softmax.
        assert!(counters().since(&before).launches >= 6);
        // Both are means of numbers below 1; the composed one rounds scores of up to 8 to 11 bits, and weights too.
        let off = (step()? - parts)?.abs()?.to_dtype(DType::F32)?;
        let off = off.flatten_all()?.max(0)?.to_scalar::<f32>()?;
        assert!(off < 16.0 * 2f32.powi(-11), "{off} at {length} keys");
    }
    Ok(())
}
