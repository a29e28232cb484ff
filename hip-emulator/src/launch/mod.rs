//! Launching: checks, kernel arguments, dispatch packet, execution, and the record of it.

mod arguments;
mod occupancy;
mod packet;
mod record;

pub use arguments::Arguments;
pub use record::Recorder;

use crate::code_object::{Image, KernelMetadata};
use crate::exec::{self, Counters, Program};
use crate::fault::Fault;
use crate::kernel::{Geometry, Kernel};
use crate::memory::{Kind, Memory, MemoryError};
use std::sync::{Arc, OnceLock};

/// Work-items of a workgroup, at most: what every supported target's HIP reports.
pub const MAX_WORKGROUP: u32 = 1024;
/// LDS bytes of a workgroup, at most, on every supported target.
pub const MAX_LDS: u32 = 64 * 1024;

/// A kernel that was looked up: `hipFunction_t`. Decoded at its first launch.
pub struct Function {
    pub kernel: Kernel,
    pub metadata: KernelMetadata,
    pub device: u32,
    program: OnceLock<Result<Program, Box<Fault>>>,
    /// Keeps the instructions and globals in memory.
    image: Arc<Image>,
}

/// What `hipModuleLaunchKernel` is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Workgroups.
    pub grid: [u32; 3],
    /// Work-items of a workgroup.
    pub block: [u32; 3],
    /// LDS bytes on top of the kernel's own.
    pub dynamic_lds: u32,
    pub arguments: Arguments<'a>,
}

/// A request that keeps its arguments, to be launched again.
#[derive(Debug, Clone)]
pub struct OwnedRequest {
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_lds: u32,
    /// The explicit part of the kernarg segment.
    arguments: Vec<u8>,
}

impl OwnedRequest {
    pub fn request(&self) -> Request<'_> {
        Request {
            grid: self.grid,
            block: self.block,
            dynamic_lds: self.dynamic_lds,
            arguments: match self.arguments.is_empty() {
                true => Arguments::None,
                false => Arguments::Packed(&self.arguments),
            },
        }
    }
}

/// Why a launch did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    #[error("kernel {kernel}: {what}")]
    Configuration { kernel: String, what: String },
    #[error("kernel {kernel}: {what}")]
    Arguments { kernel: String, what: String },
    #[error("kernel {kernel}: {what}")]
    Lds { kernel: String, what: String },
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error(transparent)]
    Fault(Box<Fault>),
}

impl Function {
    pub fn new(
        kernel: Kernel,
        metadata: KernelMetadata,
        device: u32,
        image: Arc<Image>,
    ) -> Function {
        Function {
            kernel,
            metadata,
            device,
            program: OnceLock::new(),
            image,
        }
    }

    /// Whether this kernel came from `image`.
    pub fn belongs_to(&self, image: &Arc<Image>) -> bool {
        Arc::ptr_eq(&self.image, image)
    }

    /// Work-items that a workgroup of this kernel may have.
    pub fn max_workgroup(&self) -> u32 {
        self.metadata.max_workgroup.min(MAX_WORKGROUP)
    }

    fn program(&self) -> Result<&Program, LaunchError> {
        self.program
            .get_or_init(|| exec::prepare(&self.kernel).map_err(Box::new))
            .as_ref()
            .map_err(|fault| LaunchError::Fault(fault.clone()))
    }

    /// Checks a request and gives the kernarg segment.
    fn check(&self, request: &Request<'_>) -> Result<Vec<u8>, LaunchError> {
        self.check_geometry(request)?;
        self.check_lds(request)?;
        arguments::kernarg(&self.metadata, request).map_err(|what| LaunchError::Arguments {
            kernel: self.kernel.name.clone(),
            what,
        })
    }

    /// The request with its arguments, checked, for launches to come.
    pub fn own(&self, request: &Request<'_>) -> Result<OwnedRequest, LaunchError> {
        let mut arguments = self.check(request)?;
        arguments.truncate(self.metadata.explicit_end());
        Ok(OwnedRequest {
            grid: request.grid,
            block: request.block,
            dynamic_lds: request.dynamic_lds,
            arguments,
        })
    }

    /// Runs the kernel to its end on the calling thread's time.
    pub fn launch(
        &self,
        request: &Request<'_>,
        memory: &Arc<Memory>,
        recorder: &Recorder,
    ) -> Result<Counters, LaunchError> {
        let bytes = self.check(request)?;
        let program = self.program()?;
        let plan = packet::Plan::new(bytes.len(), self.metadata.kernarg_alignment);
        let mut block = memory.build(plan.size, plan.alignment, Kind::Launch(self.device))?;
        let geometry = Geometry {
            grid: request.grid,
            block: request.block,
            dynamic_lds: request.dynamic_lds,
            kernarg: block.start(),
            dispatch_packet: block.start() + plan.packet as u64,
        };
        block.fill(0, &bytes);
        block.fill(
            plan.packet,
            &packet::dispatch_packet(&self.kernel, &geometry),
        );
        plan.patch_queue(&self.metadata, &mut block);
        block.restrict(plan.regions(block.start()));
        let snapshot = memory.snapshot(self.device).with(block);
        let started = recorder.start();
        let outcome = exec::run_counting(program, &geometry, &snapshot, recorder.profiles());
        recorder.finish(&self.kernel, &geometry, started, &outcome);
        outcome.map_err(|fault| LaunchError::Fault(Box::new(fault)))
    }

    fn check_geometry(&self, request: &Request<'_>) -> Result<(), LaunchError> {
        let refuse = |what: String| {
            Err(LaunchError::Configuration {
                kernel: self.kernel.name.clone(),
                what,
            })
        };
        let Request { grid, block, .. } = *request;
        let shape = |d: [u32; 3]| format!("({}, {}, {})", d[0], d[1], d[2]);
        if grid.contains(&0) || block.contains(&0) {
            return refuse(format!(
                "grid {} of blocks {} has no work-items",
                shape(grid),
                shape(block)
            ));
        }
        let items = block
            .iter()
            .try_fold(1u32, |product, size| product.checked_mul(*size));
        let limit = self.max_workgroup();
        if items.is_none_or(|items| items > limit) {
            return refuse(format!(
                "a block of {} work-items is larger than the {limit} that {}",
                shape(block),
                match limit {
                    MAX_WORKGROUP => "the device allows",
                    _ => "the kernel was compiled for (its launch bounds)",
                }
            ));
        }
        if let Some(required) = self
            .metadata
            .required_workgroup
            .filter(|size| *size != block)
        {
            return refuse(format!(
                "a block of {}, but the kernel requires exactly {}",
                shape(block),
                shape(required)
            ));
        }
        // HIP's own limit: a dimension's work-items are counted in 32 bits.
        if grid
            .iter()
            .zip(block)
            .any(|(groups, size)| groups.checked_mul(size).is_none())
        {
            return refuse(format!(
                "grid {} of blocks {} has 2^32 or more work-items in one dimension",
                shape(grid),
                shape(block)
            ));
        }
        Ok(())
    }

    fn check_lds(&self, request: &Request<'_>) -> Result<(), LaunchError> {
        let fixed = self.kernel.descriptor.group_segment_fixed_size;
        match fixed.checked_add(request.dynamic_lds) {
            Some(total) if total <= MAX_LDS => Ok(()),
            _ => Err(LaunchError::Lds {
                kernel: self.kernel.name.clone(),
                what: format!(
                    "{fixed} bytes of LDS of its own and {} at launch are more than the {MAX_LDS} of \
                     a workgroup",
                    request.dynamic_lds
                ),
            }),
        }
    }
}
