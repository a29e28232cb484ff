//! Copies between devices and files: nothing changes on the way.
use crate::cases::{family, rocm};
use crate::nearness::{about, bits, identical};
use crate::views::{dims, view, Content, View, ALL};
use candle_core::{bail, DType, Device, Result, Tensor};
use proptest::prelude::*;
use std::collections::HashMap;
use std::path::PathBuf;

/// A file of this process that goes away with its name.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("candle-rocm-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file that was never written is not there to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn there_and_back() {
    family(ALL, (dims(0..=5), view()), |&dtype, (dims, view)| {
        let check = || {
            let x = view.tensor(&dims, dtype, Content::Anything)?;
            let there = x.to_device(&rocm()?)?;
            identical(&there, &x)?;
            if there.stride() != x.stride() {
                bail!("strides {:?}, not {:?}", there.stride(), x.stride())
            }
            let back = there.to_device(&Device::Cpu)?;
            match back.device().is_cpu() && bits(&back)? == bits(&x)? {
                true => Ok(()),
                false => bail!("{back} came back, not {x}"),
            }
        };
        about("to_device", dtype, check())
    });
}

#[test]
fn safetensors() {
    let cases = prop::collection::vec((dims(0..=3), view()), 1..4);
    let file = Scratch::new("tensors.safetensors");
    family(ALL, cases, |&dtype, tensors| {
        let check = || {
            let device = rocm()?;
            let mut here = HashMap::new();
            for (i, (dims, view)) in tensors.iter().enumerate() {
                here.insert(
                    format!("t{i}"),
                    view.tensor(dims, dtype, Content::Anything)?,
                );
            }
            let there = here
                .iter()
                .map(|(name, t)| Ok((name.clone(), t.to_device(&device)?)));
            candle_core::safetensors::save(&there.collect::<Result<HashMap<_, _>>>()?, &file.0)?;
            let loaded = candle_core::safetensors::load(&file.0, &device)?;
            let on_cpu = candle_core::safetensors::load(&file.0, &Device::Cpu)?;
            if loaded.len() != here.len() {
                bail!("{} tensors, not {}", loaded.len(), here.len())
            }
            for (name, x) in &here {
                identical(&loaded[name], x)?;
                if bits(&on_cpu[name])? != bits(x)? {
                    bail!("{name} is another on the CPU")
                }
            }
            Ok(())
        };
        about("safetensors", dtype, check())
    });
}

#[test]
fn one_tensor_in_a_file() -> Result<()> {
    let x = View::contiguous(3).tensor(&[3, 5], DType::F32, Content::Anything)?;
    let there = x.to_device(&rocm()?)?;
    let file = Scratch::new("one.safetensors");
    there.t()?.save_safetensors("x", &file.0)?;
    identical(
        &candle_core::safetensors::load(&file.0, &rocm()?)?["x"],
        &x.t()?.contiguous()?,
    )?;
    // SAFETY: nothing else writes this process's file while it is mapped.
    let mapped = unsafe { candle_core::safetensors::MmapedSafetensors::new(&file.0)? };
    identical(&mapped.load("x", &rocm()?)?, &x.t()?.contiguous()?)?;
    let file = Scratch::new("one.npy");
    there.write_npy(&file.0)?;
    assert_eq!(bits(&Tensor::read_npy(&file.0)?)?, bits(&x)?);
    Ok(())
}

#[test]
fn large_tensors_keep_their_order() -> Result<()> {
    let device = rocm()?;
    let values: Vec<u32> = (0..1u32 << 20)
        .map(|i| i.wrapping_mul(0x9e37_79b9))
        .collect();
    let there = Tensor::from_slice(&values, (1024, 1024), &device)?;
    assert_eq!(there.flatten_all()?.to_vec1::<u32>()?, values);
    Ok(())
}

/// A copy to the device that a tensor is on already is still a tensor of its own when asked for.
#[test]
fn a_copy_has_memory_of_its_own() -> Result<()> {
    let device = rocm()?;
    let x = Tensor::ones((4, 4), DType::F32, &device)?;
    let copy = x.copy()?;
    x.zero_set()?;
    assert_eq!(copy.sum_all()?.to_scalar::<f32>()?, 16.0);
    assert_eq!(x.sum_all()?.to_scalar::<f32>()?, 0.0);
    Ok(())
}
