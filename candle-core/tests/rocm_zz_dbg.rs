use candle_core::{DType, Device, Result, Tensor};
#[test]
fn dbg() -> Result<()> {
    let d = Device::new_rocm(0)?;
    for n in [33usize, 36, 64, 100] {
        let x = Tensor::arange(0f64, (8 * n) as f64, &Device::Cpu)?.reshape((8, n))?;
        for dt in [DType::F64, DType::F32, DType::U32] {
            let x = x.to_dtype(dt)?;
            println!("{n} {dt:?} {} {}", x.sum(1)?, x.to_device(&d)?.sum(1)?);
        }
    }
    Ok(())
}
#[test]
fn mm() -> Result<()> {
    let d = Device::new_rocm(0)?;
    let x = Tensor::arange(0f32, 3. * 38., &Device::Cpu)?.reshape((3, 2, 19))?;
    let k = Tensor::arange(0f32, 24., &Device::Cpu)?
        .reshape((2, 12))?
        .broadcast_as((3, 2, 12))?;
    let a = x.transpose(1, 2)?;
    println!(
        "{}",
        (a.matmul(&k)?
            - a.to_device(&d)?
                .matmul(&k.to_device(&d)?)?
                .to_device(&Device::Cpu)?)?
    );
    Ok(())
}
