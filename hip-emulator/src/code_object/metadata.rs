//! `NT_AMDGPU_METADATA`: what the compiler says about each kernel, as msgpack.
//!
//! Keys and value kinds: AMDGPUUsage, "Code Object V3 Metadata" to "V5 Metadata". Offsets of hidden
//! arguments are taken from the metadata, so v4 and v5 layouts need no code of their own.

use super::{invalid, CodeObjectError};
use rmpv::Value;

/// A value that the runtime, not the caller, puts into the kernarg segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenArgument {
    /// Workgroups in x, y or z (0, 1, 2).
    BlockCount(usize),
    /// Work-items of a workgroup.
    GroupSize(usize),
    /// Work-items of the last, partial workgroup: always 0, HIP's grids are whole workgroups.
    Remainder(usize),
    GlobalOffset(usize),
    GridDims,
    DynamicLdsSize,
    /// High half of the private aperture's address.
    PrivateBase,
    /// High half of the LDS aperture's address.
    SharedBase,
    QueuePointer,
    /// printf and hostcall buffers, device heap, default queue, completion action, multi-grid
    /// synchronisation: services that the emulator does not have. Null, as without them.
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// The caller's: bytes by value or a pointer.
    Explicit,
    Hidden(HiddenArgument),
}

/// One argument's place in the kernarg segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    pub offset: usize,
    pub size: usize,
    pub kind: ValueKind,
}

/// What the metadata says about one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelMetadata {
    /// The name that `hipModuleGetFunction` is asked for.
    pub name: String,
    /// The descriptor's symbol, usually `NAME.kd`.
    pub symbol: String,
    /// In the order of the kernel's parameters; hidden ones follow.
    pub arguments: Vec<Argument>,
    pub kernarg_bytes: usize,
    pub kernarg_alignment: usize,
    /// LDS that the kernel declares, in bytes.
    pub lds_bytes: u32,
    /// Scratch of one work-item, in bytes.
    pub scratch_bytes: u32,
    pub wave_size: u32,
    pub max_workgroup: u32,
    /// `__attribute__((reqd_work_group_size))`, when given.
    pub required_workgroup: Option<[u32; 3]>,
    pub vgprs: u32,
    pub sgprs: u32,
    pub dynamic_stack: bool,
}

impl KernelMetadata {
    pub fn explicit(&self) -> impl Iterator<Item = &Argument> {
        self.arguments
            .iter()
            .filter(|argument| argument.kind == ValueKind::Explicit)
    }

    /// Where the caller's arguments end, in bytes from the start of the kernarg segment.
    pub fn explicit_end(&self) -> usize {
        self.explicit()
            .map(|argument| argument.offset + argument.size)
            .max()
            .unwrap_or(0)
    }
}

/// A kernarg segment larger than this is a damaged file: HIP allows 4 KiB of arguments.
const MAX_KERNARG: u64 = 1 << 16;

/// The kernels of the note's descriptor.
pub fn parse(note: &[u8]) -> Result<Vec<KernelMetadata>, CodeObjectError> {
    let mut rest = note;
    let root = rmpv::decode::read_value(&mut rest)
        .map_err(|error| invalid(format!("its metadata note is not msgpack ({error})")))?;
    match field(&root, "amdhsa.kernels") {
        None => Ok(Vec::new()),
        Some(Value::Array(kernels)) => kernels.iter().map(kernel).collect(),
        Some(_) => Err(invalid("amdhsa.kernels of its metadata is not a list")),
    }
}

fn kernel(map: &Value) -> Result<KernelMetadata, CodeObjectError> {
    let Some(name) = field(map, ".name")
        .and_then(Value::as_str)
        .map(str::to_string)
    else {
        return Err(invalid("a kernel of its metadata has no .name"));
    };
    let number = |key: &str, default: Option<u64>| -> Result<u32, CodeObjectError> {
        match field(map, key).map(Value::as_u64) {
            Some(Some(value)) => u32::try_from(value)
                .map_err(|_| invalid(format!("kernel {name}: {key} is {value}"))),
            Some(None) => Err(invalid(format!("kernel {name}: {key} is not a number"))),
            None => match default {
                Some(value) => Ok(value as u32),
                None => Err(invalid(format!("kernel {name}: its metadata has no {key}"))),
            },
        }
    };
    let kernarg_bytes = number(".kernarg_segment_size", None)?;
    if u64::from(kernarg_bytes) > MAX_KERNARG {
        return Err(invalid(format!(
            "kernel {name}: {kernarg_bytes} bytes of kernel arguments"
        )));
    }
    let kernarg_alignment = number(".kernarg_segment_align", Some(8))?;
    if !kernarg_alignment.is_power_of_two() || kernarg_alignment > 4096 {
        return Err(invalid(format!(
            "kernel {name}: kernarg alignment {kernarg_alignment}"
        )));
    }
    let arguments = match field(map, ".args") {
        None => Vec::new(),
        Some(Value::Array(rows)) => rows
            .iter()
            .map(|row| argument(&name, row, u64::from(kernarg_bytes)))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(invalid(format!("kernel {name}: .args is not a list"))),
    };
    let symbol = match field(map, ".symbol").and_then(Value::as_str) {
        Some(symbol) => symbol.to_string(),
        None => format!("{name}.kd"),
    };
    let metadata = KernelMetadata {
        symbol,
        arguments,
        kernarg_bytes: kernarg_bytes as usize,
        kernarg_alignment: kernarg_alignment as usize,
        lds_bytes: number(".group_segment_fixed_size", None)?,
        scratch_bytes: number(".private_segment_fixed_size", None)?,
        wave_size: number(".wavefront_size", None)?,
        max_workgroup: number(".max_flat_workgroup_size", Some(1024))?,
        required_workgroup: required_workgroup(&name, map)?,
        vgprs: number(".vgpr_count", Some(0))?,
        sgprs: number(".sgpr_count", Some(0))?,
        dynamic_stack: matches!(
            field(map, ".uses_dynamic_stack"),
            Some(Value::Boolean(true))
        ),
        name,
    };
    Ok(metadata)
}

fn argument(kernel: &str, row: &Value, kernarg_bytes: u64) -> Result<Argument, CodeObjectError> {
    let number = |key: &str| {
        field(row, key)
            .and_then(Value::as_u64)
            .ok_or_else(|| invalid(format!("kernel {kernel}: an argument has no {key}")))
    };
    let (offset, size) = (number(".offset")?, number(".size")?);
    if offset
        .checked_add(size)
        .is_none_or(|end| end > kernarg_bytes)
    {
        return Err(invalid(format!(
            "kernel {kernel}: an argument of {size} bytes at {offset} does not fit in its \
             {kernarg_bytes}-byte kernarg segment"
        )));
    }
    let kind = field(row, ".value_kind")
        .and_then(Value::as_str)
        .unwrap_or("");
    let kind = value_kind(kind)
        .ok_or_else(|| invalid(format!("kernel {kernel}: unknown argument kind {kind:?}")))?;
    Ok(Argument {
        offset: offset as usize,
        size: size as usize,
        kind,
    })
}

/// The meaning of `.value_kind`; `None` for one that AMDGPUUsage does not list.
fn value_kind(name: &str) -> Option<ValueKind> {
    use HiddenArgument::*;
    let hidden = match name {
        "by_value"
        | "global_buffer"
        | "dynamic_shared_pointer"
        | "sampler"
        | "image"
        | "pipe"
        | "queue" => return Some(ValueKind::Explicit),
        "hidden_block_count_x" => BlockCount(0),
        "hidden_block_count_y" => BlockCount(1),
        "hidden_block_count_z" => BlockCount(2),
        "hidden_group_size_x" => GroupSize(0),
        "hidden_group_size_y" => GroupSize(1),
        "hidden_group_size_z" => GroupSize(2),
        "hidden_remainder_x" => Remainder(0),
        "hidden_remainder_y" => Remainder(1),
        "hidden_remainder_z" => Remainder(2),
        "hidden_global_offset_x" => GlobalOffset(0),
        "hidden_global_offset_y" => GlobalOffset(1),
        "hidden_global_offset_z" => GlobalOffset(2),
        "hidden_grid_dims" => GridDims,
        "hidden_dynamic_lds_size" => DynamicLdsSize,
        "hidden_private_base" => PrivateBase,
        "hidden_shared_base" => SharedBase,
        "hidden_queue_ptr" => QueuePointer,
        "hidden_none"
        | "hidden_printf_buffer"
        | "hidden_hostcall_buffer"
        | "hidden_heap_v1"
        | "hidden_default_queue"
        | "hidden_completion_action"
        | "hidden_multigrid_sync_arg" => Absent,
        _ => return None,
    };
    Some(ValueKind::Hidden(hidden))
}

fn required_workgroup(kernel: &str, map: &Value) -> Result<Option<[u32; 3]>, CodeObjectError> {
    let Some(sizes) = field(map, ".reqd_workgroup_size") else {
        return Ok(None);
    };
    let sizes: Option<Vec<u32>> = sizes.as_array().and_then(|sizes| {
        sizes
            .iter()
            .map(|size| size.as_u64().and_then(|size| u32::try_from(size).ok()))
            .collect()
    });
    match sizes.as_deref() {
        Some(&[x, y, z]) => Ok(Some([x, y, z])),
        _ => Err(invalid(format!(
            "kernel {kernel}: .reqd_workgroup_size is not three numbers"
        ))),
    }
}

fn field<'a>(map: &'a Value, key: &str) -> Option<&'a Value> {
    map.as_map()?
        .iter()
        .find(|(name, _)| name.as_str() == Some(key))
        .map(|(_, value)| value)
}
