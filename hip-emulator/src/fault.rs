//! What a kernel did wrong, named as precisely as the emulator can.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Load,
    Store,
    Atomic,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Load => "load",
            Access::Store => "store",
            Access::Atomic => "atomic operation",
        })
    }
}

/// The kind of fault; `Fault` adds where it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// The decoder or the executor has no row for this instruction.
    UnknownInstruction(String),
    /// An access that lies in no live allocation. `nearest` describes the closest live or freed one.
    OutOfBounds {
        access: Access,
        address: u64,
        bytes: u64,
        nearest: String,
    },
    /// LDS, scratch or kernarg access beyond its size.
    Segment {
        segment: &'static str,
        access: Access,
        offset: u64,
        bytes: u64,
        size: u64,
    },
    /// s_trap, s_endpgm in the wrong place, branch outside the kernel, and the like.
    Illegal(String),
    /// More instructions than the budget of one wave.
    Budget(u64),
}

impl FaultKind {
    /// Whether it is about an address (`hipErrorIllegalAddress`), not about the program.
    pub fn is_access(&self) -> bool {
        matches!(
            self,
            FaultKind::OutOfBounds { .. } | FaultKind::Segment { .. }
        )
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultKind::UnknownInstruction(what) => {
                write!(f, "the emulator does not know the instruction {what}")
            }
            FaultKind::OutOfBounds {
                access,
                address,
                bytes,
                nearest,
            } => {
                write!(
                    f,
                    "{access} of {bytes} bytes at {address:#x} is out of bounds: {nearest}"
                )
            }
            FaultKind::Segment {
                segment,
                access,
                offset,
                bytes,
                size,
            } => write!(
                f,
                "{access} of {bytes} bytes at {segment} offset {offset:#x} is out of bounds: \
                 {segment} has {size} bytes"
            ),
            FaultKind::Illegal(what) => f.write_str(what),
            FaultKind::Budget(instructions) => {
                write!(
                    f,
                    "a wave ran for {instructions} instructions without ending"
                )
            }
        }
    }
}

/// A failed launch: which kernel, where, which instruction, which lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub kernel: String,
    /// Offset of the instruction from the kernel's first instruction, in bytes.
    pub offset: Option<u64>,
    /// The instruction as LLVM prints it.
    pub instruction: Option<String>,
    pub workgroup: Option<[u32; 3]>,
    /// Work-item number within its workgroup.
    pub work_item: Option<u32>,
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    /// One line: `kernel vadd: store of 4 bytes at 0x… is out of bounds: … (at +0x5c
    /// "global_store_b32 …", workgroup (1, 0, 0), work-item 3)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {}: {}", self.kernel, self.kind)?;
        let mut place = Vec::new();
        match (&self.offset, &self.instruction) {
            (Some(offset), Some(text)) => {
                place.push(format!("at +{offset:#x} \"{}\"", text.trim()))
            }
            (Some(offset), None) => place.push(format!("at +{offset:#x}")),
            (None, Some(text)) => place.push(format!("at \"{}\"", text.trim())),
            (None, None) => {}
        }
        if let Some([x, y, z]) = self.workgroup {
            place.push(format!("workgroup ({x}, {y}, {z})"));
        }
        if let Some(item) = self.work_item {
            place.push(format!("work-item {item}"));
        }
        match place.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", place.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_kernel_instruction_address_and_lane() {
        let fault = Fault {
            kind: FaultKind::OutOfBounds {
                access: Access::Store,
                address: 0x7f00_0000_1020,
                bytes: 4,
                nearest: "32 bytes past the end of a 4096-byte allocation (no. 7) of device 0"
                    .into(),
            },
            kernel: "vadd".into(),
            offset: Some(0x5c),
            instruction: Some("\tglobal_store_b32 v0, v1, s[4:5]".into()),
            workgroup: Some([1, 0, 0]),
            work_item: Some(3),
        };
        assert_eq!(
            fault.to_string(),
            "kernel vadd: store of 4 bytes at 0x7f0000001020 is out of bounds: 32 bytes past the end \
             of a 4096-byte allocation (no. 7) of device 0 (at +0x5c \"global_store_b32 v0, v1, \
             s[4:5]\", workgroup (1, 0, 0), work-item 3)"
        );
    }
}
