"""Assembles one kernel per instruction and form: load registers, execute it, store what it changed.

Vector probes take 64 bytes a lane: S0, S1, S2, the old destination (two words each), the lane's VCC
and EXEC bits; they store the destination's two words and the two bits. Scalar probes take 64 bytes a
workgroup: S0, S1, the old destination, SCC, a spare word, VCC, EXEC; they store the destination, SCC, EXEC and VCC.
Probes of memory, of exchanges between lanes and of matrices have a frame of their own: `wave.py`.
"""

import re
import subprocess
from dataclasses import dataclass

import lanes
import matrix
import memory
import wave
from forms import Form, read

VECTOR, SCALAR = "vector", "scalar"
LANES, GROUPS = 64, 4
SCALAR_GROUPS = 128
LITERAL = 0x3FA12345


@dataclass
class Target:
    """What the frame of a probe needs to know of a target."""

    name: str
    family: str
    wave: int
    group: str = "s2"
    loads: tuple = ("s_load_b128", "s_load_b256", "global_load_b128", "global_store_b128")
    wait: str = "s_waitcnt vmcnt(0) lgkmcnt(0)"
    add: str = "v_add_nc_u32"
    descriptor: str = ".amdhsa_wavefront_size32 1"
    scratch_store: str = "scratch_store_b32 off, v{v}, off offset:{o}"
    scratch_load: str = "scratch_load_b32 v{v}, off, off offset:{o}"

    def has_buffer(self, probe_):
        """Scratch through a buffer resource: four SGPRs before the kernel arguments, an offset behind."""
        return getattr(probe_, "space", None) == wave.SCRATCH and self.scratch_store.startswith("buffer")

    def group_of(self, probe_):
        """Where the workgroup's number is."""
        return "s6" if self.has_buffer(probe_) else self.group


GFX9 = {
    "loads": ("s_load_dwordx4", "s_load_dwordx8", "global_load_dwordx4", "global_store_dwordx4"),
    "add": "v_add_u32",
    "descriptor": ".amdhsa_accum_offset 104",
}
BUFFER = {
    "scratch_store": "buffer_store_dword v{v}, off, s[0:3], 0 offset:{o}",
    "scratch_load": "buffer_load_dword v{v}, off, s[0:3], 0 offset:{o}",
}
TARGETS = {
    target.name: target
    for target in (
        Target("gfx90a", "cdna", 64, **GFX9, **BUFFER),
        Target("gfx942", "cdna", 64, **GFX9, scratch_store="scratch_store_dword off, v{v}, off offset:{o}",
               scratch_load="scratch_load_dword v{v}, off, off offset:{o}"),
        Target("gfx1030", "rdna3", 32, loads=GFX9["loads"], **BUFFER),
        Target("gfx1100", "rdna3", 32),
        Target("gfx1201", "rdna4", 32, group="ttmp9", wait="s_wait_loadcnt 0x0\n s_wait_kmcnt 0x0"),
    )
}


@dataclass
class Probe:
    """One instruction to compare. `widths` are the bits of S0, S1, S2 and D0."""

    mnemonic: str
    kind: str
    text: str
    widths: tuple
    mask: bool
    sources: int
    form: Form = Form()
    # Number of the first source among the operands.
    first: int = 1
    number: int = 0
    groups: int = GROUPS

    @property
    def symbol(self):
        return f"probe_{self.mnemonic}_{self.number}"

    def out_bytes(self):
        return self.groups * LANES * 16 if self.kind == VECTOR else SCALAR_GROUPS * 32


def width(text, register):
    """64 where the pseudocode reads or writes more than 32 bits of a register, else 32."""
    wide = rf"\b{register}(\[\d+ : \d+\])?\.[a-z]+64|\b{register}\[63 :|\b{register}(\.u32)?\[[^\]]*63"
    return 64 if re.search(wide, text) else 32


def pair(prefix, first, bits):
    return f"{prefix}{first}" if bits == 32 else f"{prefix}[{first}:{first + 1}]"


def probes(mnemonic, text, target, instructions):
    """The probes of an instruction in all its forms, or a reason (a string) why there is none."""
    base = re.sub(r"(_e64)?_(e32|e64|dpp|sdwa)$", "", mnemonic)
    text = re.sub(r"//[^\n]*", "", text)
    for pattern, module in ((r"v_s?w?(mfma|wmma|mfmac|wmmac)", matrix), (lanes.CROSSING, lanes), (memory.MEMORY, memory)):
        if re.match(pattern, base):
            made = module.probe(mnemonic, text, target, instructions)
            return made if isinstance(made, str) else [made]
    if base.startswith(("s_", "v_s_")):
        made = scalar(mnemonic, base, text, target)
        return made if isinstance(made, str) else [made]
    if not base.startswith("v_"):
        return "no register operation"
    if "VGPR[" in text:
        return "an exchange between lanes without a probe"
    found = {read(instruction)[1] for instruction in instructions}
    if not mnemonic.endswith(("_sdwa", "_dpp")):
        found.add(Form())
    found = sorted(found, key=lambda form: (not form.plain, str(form)))
    made = [vector(mnemonic, base, text, target, form) for form in found]
    for number, one in enumerate(made):
        one.number = number
        one.groups = GROUPS if number == 0 else GROUPS // 2
    return made


def vector(mnemonic, base, text, target, form):
    used = [i for i in range(3) if re.search(rf"\bS{i}\b", text)]
    if "fma_mix" in base:
        used = [0, 1, 2]
    count = max(used, default=-1) + 1
    bits = [width(text, f"S{i}") for i in range(3)] + [width(text, "D0")]
    mask = "D0.u64[laneId]" in text
    if base == "v_pk_mov_b32":
        bits = [64, 64, 32, 64]
    if "mad_i64" in base or "mad_u64" in base:
        bits[3] = 64
    sources = [pair("v", 4 + 2 * i, bits[i]) for i in range(count)]
    vcc = "vcc" if target.wave == 64 else "vcc_lo"
    operands = []
    if mask:
        operands.append(vcc)
    elif base.startswith("v_cmpx"):
        if target.family == "cdna":
            operands.append(vcc)
    else:
        operands.append(pair("v", 10, bits[3]))
    if "_co_" in base or "D1." in text or "div_scale" in base:
        operands.append(vcc)
    first = len(operands)
    operands += sources
    if base in ("v_fmaak_f32", "v_fmaak_f16", "v_madak_f32", "v_dual_fmaak_f32"):
        operands.append(hex(LITERAL & (0xFFFF if "16" in base else 0xFFFFFFFF)))
    if base in ("v_fmamk_f32", "v_fmamk_f16", "v_madmk_f32", "v_dual_fmamk_f32"):
        operands.insert(2, hex(LITERAL & (0xFFFF if "16" in base else 0xFFFFFFFF)))
    reads_carry = re.search(r"v_(add|sub|subrev|addc|subb|subbrev)(_co)?_ci_|v_(addc|subb|subbrev)_co", base)
    if reads_carry or base == "v_cndmask_b32":
        operands.append(vcc)
    line = f"{mnemonic} {', '.join(form.wrapped(operands))}{form.suffix()}"
    if "accvgpr" in base:
        line = f"v_accvgpr_write_b32 a3, v4\n  v_accvgpr_read_b32 v10, a3"
    if base.startswith("v_dual_"):
        # Three operations exist as the second half only.
        second = base in ("v_dual_add_nc_u32", "v_dual_lshlrev_b32", "v_dual_and_b32")
        other = "v_dual_mov_b32 v17, v13"
        line = f"{other} :: {line}" if second else f"{line} :: {other}"
    return Probe(mnemonic, VECTOR, line, tuple(bits), mask, count, form, first)


def scalar(mnemonic, base, text, target):
    if not re.search(r"\b(S0|S1|D0|SCC)\b", text) or re.search(r"\bPC\b|MEM|WAVE_STATUS|VCCZ|EXECZ", text):
        return "control flow, waiting or memory: the suites' kernels run it"
    bits = [width(text, "S0"), width(text, "S1"), 32, width(text, "D0")]
    operands = []
    if re.search(r"\bD0\b", text):
        operands.append(pair("s", 20, bits[3]))
    short = re.search(r"^s_(cmpk|movk|addk|mulk|cmovk)", base)
    if short:
        if not operands:
            operands.append("s16")
        operands.append(hex(LITERAL & 0xFFFF))
    else:
        for i in range(2):
            if re.search(rf"\bS{i}\b", text):
                operands.append(pair("s", 16 + 2 * i, bits[i]))
    if base in ("s_fmamk_f32", "s_fmaak_f32"):
        operands.insert(2 if "mk" in base else 3, hex(LITERAL))
    if "saveexec" in base and target.wave == 32 and base.endswith("b64"):
        return "a wave64 form"
    count = sum(bool(re.search(rf"\bS{i}\b", text)) for i in range(2))
    return Probe(mnemonic, SCALAR, f"{mnemonic} {', '.join(operands)}", tuple(bits), False, count)


def vector_body(probe_, target):
    wide = target.wave == 64
    mask = (lambda n: f"s[{n}:{n + 1}]") if wide else (lambda n: f"s{n}")
    b, exec_, vcc = ("b64", "exec", "vcc") if wide else ("b32", "exec_lo", "vcc_lo")
    _, _, load, store = target.loads
    return f"""
  v_and_b32 v0, 0x3ff, v0
  s_lshl_b32 s3, {target.group}, 6
  {target.add} v0, s3, v0
  v_lshlrev_b32 v2, 6, v0
  v_lshlrev_b32 v3, 4, v0
  {load} v[4:7], v2, s[8:9]
  {load} v[8:11], v2, s[8:9] offset:16
  {load} v[12:15], v2, s[8:9] offset:32
  {target.wait}
  v_cmp_ne_u32 {vcc}, 0, v12
  v_cmp_ne_u32_e64 {mask(14)}, 0, v13
  s_mov_{b} {mask(20)}, {exec_}
  s_mov_{b} {exec_}, {mask(14)}
  {probe_.text}
  s_mov_{b} {mask(22)}, {exec_}
  s_mov_{b} {exec_}, {mask(20)}
  v_cndmask_b32_e64 v12, 0, 1, {vcc}
  v_cndmask_b32_e64 v13, 0, 1, {mask(22)}
  {store} v3, v[10:13], s[10:11]
"""


def scalar_body(probe_, target):
    wide = target.wave == 64
    one = "s_mov_b64 exec, 1" if wide else "s_mov_b32 exec_lo, 1"
    set_exec = "s_mov_b64 exec, s[26:27]" if wide else "s_mov_b32 exec_lo, s26"
    get_exec = "s_mov_b64 s[26:27], exec" if wide else "s_mov_b32 s26, exec_lo"
    load4, load8, _, store = target.loads
    moves = "".join(f"  v_mov_b32 v{4 + i}, {s}\n" for i, s in enumerate(
        ("s20", "s21", "s22", "s26", "s27", "vcc_lo", "vcc_hi", "0")))
    return f"""
  s_lshl_b32 s3, {target.group}, 6
  s_add_u32 s8, s8, s3
  s_addc_u32 s9, s9, 0
  s_lshr_b32 s3, s3, 1
  v_mov_b32 v3, s3
  {load8} s[16:23], s[8:9], 0x0
  {load4} s[24:27], s[8:9], 0x20
  {target.wait}
  s_mov_b64 vcc, s[24:25]
  {set_exec}
  s_cmp_lg_u32 s22, 0
  {probe_.text}
  s_cselect_b32 s22, 1, 0
  {get_exec}
  {one}
{moves}  {store} v3, v[4:7], s[10:11]
  {store} v3, v[8:11], s[10:11] offset:16
"""


def kernel(probe_, target):
    body = {VECTOR: vector_body, SCALAR: scalar_body}.get(getattr(probe_, "kind", None), wave.body)(probe_, target)
    name, buffer = probe_.symbol, target.has_buffer(probe_)
    more = f"  .amdhsa_group_segment_fixed_size {lds(probe_)}\n  .amdhsa_private_segment_fixed_size {scratch(probe_)}\n"
    if buffer:
        more += "  .amdhsa_user_sgpr_private_segment_buffer 1\n  .amdhsa_system_sgpr_private_segment_wavefront_offset 1\n"
        body = "  s_add_u32 s0, s0, s7\n  s_addc_u32 s1, s1, 0\n" + body
    elif scratch(probe_):
        more += "  .amdhsa_enable_private_segment 1\n"
    return f"""
.globl {name}
.p2align 8
.type {name},@function
{name}:
  {target.loads[0]} s[8:11], {"s[4:5]" if buffer else "s[0:1]"}, 0x0
  {target.wait}
{body}  s_endpgm
.L{name}:
.size {name}, .L{name}-{name}
.rodata
.p2align 6
.amdhsa_kernel {name}
  .amdhsa_user_sgpr_kernarg_segment_ptr 1
  .amdhsa_next_free_vgpr 128
  .amdhsa_next_free_sgpr 48
  .amdhsa_float_denorm_mode_32 3
  {target.descriptor}
{more}.end_amdhsa_kernel
.text
"""


def lds(probe_):
    return wave.WINDOW if getattr(probe_, "space", None) == wave.LDS else 0


def scratch(probe_):
    return 4 * wave.SCRATCH_WORDS if getattr(probe_, "space", None) == wave.SCRATCH else 0


def metadata(probes, target):
    kernels = "".join(f"""
  - .name: {p.symbol}
    .symbol: {p.symbol}.kd
    .kernarg_segment_size: 16
    .kernarg_segment_align: 8
    .group_segment_fixed_size: {lds(p)}
    .private_segment_fixed_size: {scratch(p)}
    .wavefront_size: {target.wave}
    .sgpr_count: 48
    .vgpr_count: 128
    .max_flat_workgroup_size: 256
    .args:
      - {{ .offset: 0, .size: 8, .value_kind: global_buffer, .address_space: global }}
      - {{ .offset: 8, .size: 8, .value_kind: global_buffer, .address_space: global }}""" for p in probes)
    return f"""
.amdgpu_metadata
amdhsa.version: [1, 2]
amdhsa.target: amdgcn-amd-amdhsa--{target.name}
amdhsa.kernels:{kernels}
.end_amdgpu_metadata
"""


def refused(probes_, target):
    """Symbols of the probes that the assembler does not take -> what it says."""
    lines, owner = [], []
    for p in probes_:
        for line in "\n".join([p.text] if hasattr(p, "text") else p.lines).split("\n"):
            lines.append(line)
            owner.append(p)
    result = subprocess.run(
        ["llvm-mc-19", "-triple=amdgcn-amd-amdhsa", f"-mcpu={target.name}", "-show-encoding"],
        input="\n".join(lines), capture_output=True, text=True, check=False,
    )
    found = {}
    for line, message in re.findall(r"<stdin>:(\d+):\d+: error: (.*)", result.stderr):
        found[owner[int(line) - 1].symbol] = f"{message}: {lines[int(line) - 1].strip()}"
    return found


def assemble(probes, target, folder):
    """The code object of all probes."""
    source = f'.amdgcn_target "amdgcn-amd-amdhsa--{target.name}"\n.amdhsa_code_object_version 5\n.text\n'
    source += "".join(kernel(p, target) for p in probes) + metadata(probes, target)
    text, object_, out = (folder / f"{target.name}.{end}" for end in ("s", "o", "hsaco"))
    text.write_text(source, encoding="utf-8")
    subprocess.run(
        ["llvm-mc-19", "-triple=amdgcn-amd-amdhsa", f"-mcpu={target.name}", "-filetype=obj", text, "-o", object_],
        check=True,
    )
    subprocess.run(["ld.lld-19", "-shared", object_, "-o", out], check=True)
    return out
