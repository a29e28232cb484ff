//! The contestants: a device, and on rocm the kernels that quantized products take.

use anyhow::Result;
use candle_core::Device;

/// One contestant.
pub struct Lane {
    /// As it stands in tables.
    pub name: &'static str,
    pub device: Device,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Rocm with candle's kernels, translated from CUDA, for quantized products.
    #[cfg(feature = "rocm")]
    Translated,
    /// CUDA with the kernels of quantized.cu, which candle's CUDA backend holds but calls for few types: the very
    /// sources that rocm's translated kernels come from.
    #[cfg(feature = "cuda")]
    QuantizedCu,
}

impl Lane {
    /// Makes the lane's choices the process's; called before each of its samples.
    pub fn select(&self) {
        #[cfg(feature = "rocm")]
        {
            use candle_core::quantized::rocm::{set_product_kernels, ProductKernels};
            set_product_kernels(match self.kind {
                Kind::Translated => ProductKernels::Translated,
                _ => ProductKernels::Own,
            });
        }
    }

    /// Whether the lane takes part in every group, not in quantized products alone.
    pub fn is_plain(&self) -> bool {
        self.kind == Kind::Plain
    }

    /// Whether it is one of candle's CUDA backend.
    pub fn is_cuda(&self) -> bool {
        self.device.is_cuda()
    }

    /// Whether the lane launches the kernels of quantized.cu by itself.
    pub fn is_quantized_cu(&self) -> bool {
        #[cfg(feature = "cuda")]
        return self.kind == Kind::QuantizedCu;
        #[cfg(not(feature = "cuda"))]
        false
    }

    /// Whether the lane takes only what the translated kernels serve.
    pub fn is_translated(&self) -> bool {
        #[cfg(feature = "rocm")]
        return self.kind == Kind::Translated;
        #[cfg(not(feature = "rocm"))]
        false
    }

    /// What the device calls itself.
    pub fn card(&self) -> String {
        match &self.device {
            #[cfg(feature = "cuda")]
            Device::Cuda(cuda) => {
                let name = cuda.cuda_stream().context().name();
                name.unwrap_or_else(|_| "a CUDA device".into())
            }
            #[cfg(feature = "rocm")]
            Device::Rocm(rocm) => {
                let p = rocm.properties();
                format!("{} ({})", p.name, p.target)
            }
            _ => "CPU".into(),
        }
    }
}

/// A backend of this build: its device, or why there is none, and its lanes.
type Backend = (candle_core::Result<Device>, &'static [(&'static str, Kind)]);

fn backends() -> Vec<Backend> {
    vec![
        #[cfg(feature = "cuda")]
        (
            Device::new_cuda(0),
            &[("cuda", Kind::Plain), ("cuda-old", Kind::QuantizedCu)],
        ),
        #[cfg(feature = "rocm")]
        (
            Device::new_rocm(0),
            &[("rocm", Kind::Plain), ("rocm-old", Kind::Translated)],
        ),
        #[cfg(not(any(feature = "cuda", feature = "rocm")))]
        (Ok(Device::Cpu), &[("cpu", Kind::Plain)]),
    ]
}

/// The lanes that `names` asks for; without names, all that this build and this machine have.
///
/// # Errors
/// A lane that is asked for and cannot be had, with the reason; or none at all.
pub fn open(names: &[String]) -> Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    let mut missing = Vec::new();
    let mut known = Vec::new();
    for (device, of) in backends() {
        known.extend(of.iter().map(|(name, _)| *name));
        let wanted = |name: &str| names.is_empty() || names.iter().any(|n| n == name);
        for (name, kind) in of.iter().copied().filter(|(name, _)| wanted(name)) {
            match &device {
                Ok(device) => lanes.push(Lane {
                    name,
                    device: device.clone(),
                    kind,
                }),
                Err(e) => missing.push(format!("lane {name}: {e}")),
            }
        }
    }
    if let Some(name) = names.iter().find(|n| !known.contains(&n.as_str())) {
        anyhow::bail!(
            "--lanes: this build has no lane {name:?}, but {}",
            known.join(", ")
        )
    }
    if lanes.is_empty() || (!names.is_empty() && !missing.is_empty()) {
        anyhow::bail!("no device for {}", missing.join("; "))
    }
    for reason in &missing {
        eprintln!("left out: {reason}");
    }
    Ok(lanes)
}
