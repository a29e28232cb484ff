//! The contestants: a device, and on rocm the kernels that quantized products take.

use anyhow::Result;
use candle_core::Device;
use std::path::Path;

/// One contestant.
pub struct Lane {
    /// As it stands in tables.
    pub name: &'static str,
    pub device: Device,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Plain,
    /// Rocm with candle's kernels, translated from CUDA, for quantized products.
    #[cfg(feature = "rocm")]
    Translated,
    /// CUDA with the kernels of quantized.cu, which candle's CUDA backend holds but calls for few types: the very
    /// sources that rocm's translated kernels come from.
    #[cfg(feature = "cuda")]
    QuantizedCu,
    /// CUDA with ggml's kernels, where they have been compiled.
    #[cfg(feature = "cuda")]
    Ggml(std::rc::Rc<crate::ggml::Kernels>),
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
        matches!(self.kind, Kind::Plain)
    }

    /// Whether it is one of candle's CUDA backend.
    pub fn is_cuda(&self) -> bool {
        self.device.is_cuda()
    }

    /// Whether the lane launches the kernels of quantized.cu by itself.
    pub fn is_quantized_cu(&self) -> bool {
        #[cfg(feature = "cuda")]
        return matches!(self.kind, Kind::QuantizedCu);
        #[cfg(not(feature = "cuda"))]
        false
    }

    /// The kernels of ggml that the lane launches by itself, if it is that lane.
    #[cfg(feature = "cuda")]
    pub fn ggml(&self) -> Option<&std::rc::Rc<crate::ggml::Kernels>> {
        match &self.kind {
            Kind::Ggml(kernels) => Some(kernels),
            _ => None,
        }
    }

    /// Whether a product there takes the int8 form of activations that it has multiplied last, instead of making it.
    pub fn keeps_activations(&self) -> bool {
        self.is_plain() && self.device.is_rocm()
    }

    /// Whether the lane takes only what the translated kernels serve.
    pub fn is_translated(&self) -> bool {
        #[cfg(feature = "rocm")]
        return matches!(self.kind, Kind::Translated);
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
type Backend = (candle_core::Result<Device>, Vec<(&'static str, Kind)>);

#[cfg(feature = "cuda")]
fn cuda(ggml: Option<&Path>) -> Result<Backend> {
    let device = Device::new_cuda(0);
    let mut lanes = vec![("cuda", Kind::Plain), ("cuda-old", Kind::QuantizedCu)];
    if let Some(folder) = ggml {
        let kernels = match &device {
            Ok(Device::Cuda(cuda)) => crate::ggml::Kernels::open(folder, cuda),
            Ok(_) => Err(anyhow::anyhow!("the device is no CUDA device")),
            Err(e) => Err(anyhow::anyhow!("{e}")),
        };
        let kernels = kernels.map_err(|e| e.context("--ggml"))?;
        let serial = kernels.serial();
        lanes.push(("ggml", Kind::Ggml(kernels.into())));
        lanes.extend(serial.map(|kernels| ("ggml-serial", Kind::Ggml(kernels.into()))));
    }
    Ok((device, lanes))
}

fn backends(ggml: Option<&Path>) -> Result<Vec<Backend>> {
    anyhow::ensure!(
        ggml.is_none() || cfg!(feature = "cuda"),
        "--ggml: ggml's kernels run beside candle's CUDA backend, which this build is without"
    );
    Ok(vec![
        #[cfg(feature = "cuda")]
        cuda(ggml)?,
        #[cfg(feature = "rocm")]
        (
            Device::new_rocm(0),
            vec![("rocm", Kind::Plain), ("rocm-old", Kind::Translated)],
        ),
        #[cfg(not(any(feature = "cuda", feature = "rocm")))]
        (Ok(Device::Cpu), vec![("cpu", Kind::Plain)]),
    ])
}

/// The lanes that `names` asks for; without names, all that this build and this machine have. `ggml` is the folder of
/// ggml's compiled kernels, without which there is no such lane.
///
/// # Errors
/// A lane that is asked for and cannot be had, with the reason; or none at all.
pub fn open(names: &[String], ggml: Option<&Path>) -> Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    let mut missing = Vec::new();
    let mut known = Vec::new();
    for (device, of) in backends(ggml)? {
        known.extend(of.iter().map(|(name, _)| *name));
        let wanted = |name: &str| names.is_empty() || names.iter().any(|n| n == name);
        for (name, kind) in of.into_iter().filter(|(name, _)| wanted(name)) {
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
        anyhow::ensure!(
            ggml.is_some() || !name.starts_with("ggml"),
            "--lanes {name}: needs --ggml FOLDER"
        );
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

#[cfg(test)]
mod tests {
    use super::open;
    use std::path::Path;

    #[test]
    fn ggml_is_only_there_when_given() {
        let error = |names: &[String], folder| match open(names, folder) {
            Ok(_) => panic!("lanes without ggml's kernels"),
            Err(e) => format!("{e:#}"),
        };
        let text = error(&["ggml".into()], None);
        assert!(text.contains("--ggml FOLDER"), "{text}");
        let text = error(&[], Some(Path::new("/nowhere")));
        assert!(text.contains("--ggml"), "{text}");
        let text = error(&["nothing".into()], None);
        assert!(text.contains("no lane \"nothing\""), "{text}");
    }
}
