"""The frame of probes that look at a whole wave: its lanes' registers, scalars, EXEC and a window of memory.

A workgroup is one wave. It takes, and gives back, a block: every lane's registers v4…, 16 scalars s16…s31,
EXEC (two words and two spare ones), and a window of 4096 bytes, which lies in global memory, in LDS, or (64
bytes a lane, in its registers v20…v35) in scratch.
"""

import random
import struct
import zlib
from dataclasses import dataclass, field

WINDOW, SCALARS = 4096, 16
FIRST = 4  # the first vector register of a block
GLOBAL, LDS, SCRATCH, NONE = "global", "lds", "scratch", "none"
SCRATCH_AT, SCRATCH_WORDS = 20, 16


@dataclass
class WaveProbe:
    """One instruction, in one, two or four spellings that take turns by workgroup; `check(probe, target, library,
    block, result)` compares one workgroup's block with what came out and returns what differs, or None."""

    mnemonic: str
    lines: list
    check: object
    fill: object = None
    space: str = NONE
    registers: int = 32
    groups: int = 4
    number: int = 0
    facts: dict = field(default_factory=dict)

    def __post_init__(self):
        # Each spelling with all lanes on, and with some off.
        self.groups = max(self.groups, 2 * len(self.lines))

    @property
    def symbol(self):
        return f"probe_{self.mnemonic}_{self.number}"


@dataclass
class Block:
    """A workgroup's data: `lanes[l][r]`, scalars, EXEC as a number, the window's bytes."""

    lanes: list
    scalars: list
    exec_: int
    window: bytearray
    group: int = 0

    def packed(self):
        words = [w for lane in self.lanes for w in lane] + self.scalars + [self.exec_ & 0xFFFFFFFF, self.exec_ >> 32, 0, 0]
        return struct.pack(f"<{len(words)}I", *words) + bytes(self.window)

    @staticmethod
    def unpacked(data, registers, wave, group):
        count = registers * wave
        words = struct.unpack_from(f"<{count + SCALARS + 4}I", data)
        lanes = [list(words[i * registers:(i + 1) * registers]) for i in range(wave)]
        return Block(lanes, list(words[count:count + SCALARS]), words[count + SCALARS], bytearray(data[(count + SCALARS + 4) * 4:]), group)


def size(probe, target):
    return (probe.registers * target.wave + SCALARS + 4) * 4 + WINDOW


def blocks(probe, target):
    """The workgroups' inputs: any bits, EXEC full in the first half of them, then random."""
    random_ = random.Random(zlib.crc32(probe.symbol.encode()))
    made = []
    for group in range(probe.groups):
        lanes = [[random_.getrandbits(32) for _ in range(probe.registers)] for _ in range(target.wave)]
        full = (1 << target.wave) - 1
        exec_ = full if group < probe.groups // 2 else random_.getrandbits(target.wave) | 1
        block = Block(lanes, [random_.getrandbits(32) for _ in range(SCALARS)], exec_, bytearray(random_.randbytes(WINDOW)), group)
        if probe.fill:
            probe.fill(probe, target, block, random_)
        made.append(block)
    return made


def body(probe, target):
    """The kernel's instructions between loading the kernel arguments into s[8:11] and its end."""
    wide = target.wave == 64
    suffix, exec_, saved = ("b64", "exec", "s[12:13]") if wide else ("b32", "exec_lo", "s12")
    load4, load8, load, store = target.loads
    lds_load, lds_store = ("ds_read_b128", "ds_write_b128") if "dword" in load else ("ds_load_b128", "ds_store_b128")
    at, block = probe.registers * target.wave * 4, size(probe, target)
    per_lane = WINDOW // target.wave

    def moves(what, base, registers):
        return "".join(
            f"  {load if what == 'load' else store} " + (
                f"v[{r}:{r + 3}], v1, {base} offset:{4 * (r - FIRST)}\n" if what == "load" else
                f"v1, v[{r}:{r + 3}], {base} offset:{4 * (r - FIRST)}\n")
            for r in range(FIRST, FIRST + registers, 4))

    def window(step):
        return "".join(step(offset) for offset in range(0, per_lane, 16))

    text = f"""
  v_and_b32 v0, 0x3ff, v0
  s_mul_i32 s3, {target.group_of(probe)}, {block}
  s_add_u32 s8, s8, s3
  s_addc_u32 s9, s9, 0
  s_add_u32 s10, s10, s3
  s_addc_u32 s11, s11, 0
  s_and_b32 s6, {target.group_of(probe)}, {len(probe.lines) - 1}
  v_mul_u32_u24 v1, {probe.registers * 4}, v0
  v_lshlrev_b32 v2, {per_lane.bit_length() - 1}, v0
  s_add_u32 s34, s8, {at}
  s_addc_u32 s35, s9, 0
  {load8} s[16:23], s[34:35], 0x0
  {load8} s[24:31], s[34:35], 0x20
  {load4} s[36:39], s[34:35], 0x40
  s_add_u32 s34, s34, {SCALARS * 4 + 16}
  s_addc_u32 s35, s35, 0
  s_add_u32 s14, s10, {at + SCALARS * 4 + 16}
  s_addc_u32 s15, s11, 0
"""
    copy = lambda o: f"  {load} v[100:103], v2, s[34:35] offset:{o}\n  {target.wait}\n  {store} v2, v[100:103], s[14:15] offset:{o}\n"
    text += window(copy)
    if probe.space == LDS:
        text += window(lambda o: f"  {load} v[100:103], v2, s[34:35] offset:{o}\n  {target.wait}\n  {lds_store} v2, v[100:103] offset:{o}\n")
    text += moves("load", "s[8:9]", probe.registers) + f"  {target.wait}\n"
    if probe.space == SCRATCH:
        text += "".join("  " + target.scratch_store.format(v=SCRATCH_AT + i, o=4 * i) + "\n" for i in range(SCRATCH_WORDS))
    text += f"  s_mov_{suffix} {exec_}, {'s[36:37]' if wide else 's36'}\n"
    if len(probe.lines) == 1:
        text += f"  {probe.lines[0]}\n"
    else:
        for i, line in enumerate(probe.lines):
            label = f".L{probe.symbol}_{i}"
            text += f"  s_cmp_lg_u32 s6, {i}\n  s_cbranch_scc1 {label}\n  {line}\n{label}:\n"
    text += f"  {target.wait}\n  s_mov_{suffix} {saved}, {exec_}\n  s_mov_{suffix} {exec_}, -1\n"
    if probe.space == SCRATCH:
        text += "".join("  " + target.scratch_load.format(v=SCRATCH_AT + i, o=4 * i) + "\n" for i in range(SCRATCH_WORDS))
    if probe.space == LDS:
        text += window(lambda o: f"  {lds_load} v[100:103], v2 offset:{o}\n  {target.wait}\n  {store} v2, v[100:103], s[14:15] offset:{o}\n")
    text += moves("store", "s[10:11]", probe.registers)
    text += f"  s_add_u32 s34, s10, {at}\n  s_addc_u32 s35, s11, 0\n  s_mov_{suffix} {exec_}, 1\n  v_mov_b32 v1, 0\n"
    for first in range(16, 32, 4):
        text += "".join(f"  v_mov_b32 v{100 + i}, s{first + i}\n" for i in range(4))
        text += f"  {store} v1, v[100:103], s[34:35] offset:{4 * (first - 16)}\n"
    text += f"  v_mov_b32 v100, s12\n  v_mov_b32 v101, {'s13' if wide else '0'}\n  v_mov_b32 v102, 0\n  v_mov_b32 v103, 0\n"
    return text + f"  {store} v1, v[100:103], s[34:35] offset:64\n"


def differing(want, got, target, what=""):
    """The first place where two blocks differ, in words; None where they are equal."""
    for lane in range(target.wave):
        for r, (a, b) in enumerate(zip(want.lanes[lane], got.lanes[lane])):
            if a != b:
                return f"{what}group {want.group} lane {lane} v{r + FIRST}: {b:08x}, want {a:08x}"
    for i, (a, b) in enumerate(zip(want.scalars, got.scalars)):
        if a != b:
            return f"{what}group {want.group} s{16 + i}: {b:08x}, want {a:08x}"
    if want.exec_ & 0xFFFFFFFF != got.exec_ & 0xFFFFFFFF:
        return f"{what}EXEC {got.exec_:x}, want {want.exec_:x}"
    for at, (a, b) in enumerate(zip(want.window, got.window)):
        if a != b:
            return f"{what}group {want.group} byte {at:#x}: {b:02x}, want {a:02x}"
    return None
