//! The frame around the instructions of an assembled kernel: directives, descriptor and metadata.

use super::{is_gfx9, wave};

/// A kernel in assembly.
pub struct Assembly<'a> {
    pub target: &'a str,
    pub name: &'a str,
    /// Bytes of LDS.
    pub lds: u32,
    /// Vector registers, and on CDNA the first of them that is an accumulation register.
    pub vgprs: u32,
    pub accumulators: u32,
    /// Arguments, each a pointer to global memory; s[0:1] points to them.
    pub pointers: u32,
}

impl<'a> Assembly<'a> {
    /// A kernel `probe` with 32 vector registers and no LDS.
    pub fn of(target: &'a str, pointers: u32) -> Assembly<'a> {
        Assembly {
            target,
            name: "probe",
            lds: 0,
            vgprs: 32,
            accumulators: 32,
            pointers,
        }
    }

    /// The file for the assembler; `body` are the instructions.
    pub fn source(&self, body: &str) -> String {
        let Assembly {
            target,
            name,
            lds,
            vgprs,
            accumulators,
            pointers,
        } = self;
        let descriptor = if is_gfx9(target) {
            format!(".amdhsa_accum_offset {accumulators}")
        } else {
            ".amdhsa_wavefront_size32 1".to_string()
        };
        let arguments: String = (0..*pointers)
            .map(|i| {
                format!(
                    "      - {{ .offset: {}, .size: 8, .value_kind: global_buffer, .address_space: global }}\n",
                    8 * i
                )
            })
            .collect();
        format!(
            r#"
.amdgcn_target "amdgcn-amd-amdhsa--{target}"
.amdhsa_code_object_version 5
.text
.globl {name}
.p2align 8
.type {name},@function
{name}:
{body}
.Lend:
.size {name}, .Lend-{name}
.rodata
.p2align 6
.amdhsa_kernel {name}
  .amdhsa_group_segment_fixed_size {lds}
  .amdhsa_user_sgpr_kernarg_segment_ptr 1
  .amdhsa_next_free_vgpr {vgprs}
  .amdhsa_next_free_sgpr 32
  .amdhsa_float_denorm_mode_32 3
  {descriptor}
.end_amdhsa_kernel
.amdgpu_metadata
amdhsa.version: [1, 2]
amdhsa.target: amdgcn-amd-amdhsa--{target}
amdhsa.kernels:
  - .name: {name}
    .symbol: {name}.kd
    .kernarg_segment_size: {kernargs}
    .kernarg_segment_align: 8
    .group_segment_fixed_size: {lds}
    .private_segment_fixed_size: 0
    .wavefront_size: {wave}
    .sgpr_count: 32
    .vgpr_count: {vgprs}
    .max_flat_workgroup_size: 256
    .args:
{arguments}.end_amdgpu_metadata
"#,
            kernargs = 8 * pointers,
            wave = wave(target),
        )
    }
}
