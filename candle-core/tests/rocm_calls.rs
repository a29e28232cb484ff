//! What a chain of operations asks of the HIP runtime: launches and nothing else. The counters are the process's, so
//! this file holds one test.
use candle_core::rocm_backend::hip::{counters, Counters};
use candle_core::{DType, Device, Result, Tensor};

/// One decoding step's worth of element-wise work, views, rows by index and a product, at cache length `length`.
fn chain(x: &Tensor, cache: &Tensor, ids: &Tensor, length: usize) -> Result<Tensor> {
    let past = cache.narrow(1, 0, length)?; // a new layout for each length
    let keys = past.transpose(0, 1)?.contiguous()?; // 1: copy
    let sum = (&keys + 1.0)?.sum(0)?; // 2: affine, 3: sum
    let y = x.broadcast_mul(&sum)?.silu()?; // 4: mul, 5: silu
    let y = y.to_dtype(DType::F16)?.to_dtype(DType::F32)?; // 6, 7: casts
    let rows = y.index_select(ids, 0)?; // 8: index-select
    rows.matmul(&rows.t()?) // 9: product
}

const LAUNCHES: u64 = 9;

#[test]
fn a_chain_of_operations_launches_and_nothing_else() -> Result<()> {
    let device = Device::new_rocm(0)?;
    let x = Tensor::rand(0f32, 1f32, (4, 32), &device)?;
    let cache = Tensor::rand(0f32, 1f32, (32, 64), &device)?;
    let ids = Tensor::new(&[3u32, 1], &device)?;
    // The first pass loads modules.
    chain(&x, &cache, &ids, 40)?;
    device.synchronize()?;
    for first_time in [true, false] {
        for length in [40, 41, 42, 43] {
            let before = counters();
            let y = chain(&x, &cache, &ids, length)?;
            let calls = counters().since(&before);
            let expected = Counters {
                launches: LAUNCHES,
                // A layout that was never seen costs nothing; memory of a new size is allocated once.
                mallocs: if first_time { calls.mallocs } else { 0 },
                ..Counters::default()
            };
            assert_eq!(calls, expected, "at length {length}");

            let before = counters();
            assert_eq!(y.to_vec2::<f32>()?.len(), 2);
            let calls = counters().since(&before);
            let mut expected = Counters {
                synchronizations: 1,
                ..Counters::default()
            };
            expected.device_to_host.count = 1;
            expected.device_to_host.bytes = 16;
            assert_eq!(calls, expected, "reading a result copies and waits once");
        }
    }
    Ok(())
}
