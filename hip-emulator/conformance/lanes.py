"""Probes of instructions that read other lanes: the pseudocode runs once on all lanes' registers."""

import copy
import re

import wave
from evaluate import Run
from values import Value
from wave import WaveProbe

ADDRESS, SOURCE, SELECT, RESULT = 4, 6, 8, 10
SCALAR_SOURCE, SCALAR_LANE, SCALAR_RESULT = 16, 17, 18
CROSSING = re.compile(r"v_(readfirstlane|readlane|writelane|permlane)|ds_(b?permute|swizzle)")

# Swizzles that stand for the two modes of ds_swizzle: any four lanes of four, and masks of five bits.
SWIZZLES = ["swizzle(QUAD_PERM,2,0,3,1)", "swizzle(SWAP,8)", "swizzle(REVERSE,16)", "swizzle(BITMASK_PERM,\"01pip\")"]


def probe(mnemonic, text, target, forms):
    base = re.sub(r"_e(32|64)$", "", mnemonic)
    if base.startswith("ds_swizzle"):
        return WaveProbe(mnemonic, [f"{base} v{RESULT}, v{SOURCE} offset:{s}" for s in SWIZZLES], swizzled)
    if base.startswith("ds_"):
        return WaveProbe(mnemonic, [f"{base} v{RESULT}, v{ADDRESS}, v{SOURCE} offset:8"], check)
    if "readfirstlane" in base:
        lines = [f"{mnemonic} s{SCALAR_RESULT}, v{SOURCE}"]
    elif "readlane" in base:
        lines = [f"{mnemonic} s{SCALAR_RESULT}, v{SOURCE}, s{SCALAR_LANE}", f"{mnemonic} s{SCALAR_RESULT}, v{SOURCE}, 13"]
    elif "writelane" in base:
        lines = [f"{mnemonic} v{RESULT}, s{SCALAR_SOURCE}, s{SCALAR_LANE}" if not target.name.startswith("gfx9")
                 else f"s_mov_b32 m0, s{SCALAR_LANE}\n  {mnemonic} v{RESULT}, s{SCALAR_SOURCE}, m0",
                 f"{mnemonic} v{RESULT}, s{SCALAR_SOURCE}, 13"]
    elif base.startswith("v_permlane16_b32") or base.startswith("v_permlanex16_b32"):
        lines = [f"{mnemonic} v{RESULT}, v{SOURCE}, s{SCALAR_SOURCE}, s{SCALAR_LANE}"]
    elif base.startswith("v_permlane64"):
        lines = [f"{mnemonic} v{RESULT}, v{SOURCE}"]
    else:
        return "an exchange between lanes without a probe"
    return WaveProbe(mnemonic, lines, check)


def swizzled(probe_, target, library, block, got):
    """ds_swizzle's entry is prose: quads, or lane = ((lane & and) | or) ^ xor within 32 lanes; a lane that is
    off gives zero."""
    rules = [lambda i: i & ~3 | (2, 0, 3, 1)[i & 3], lambda i: i ^ 8, lambda i: i ^ 15,
             # "01pip" is read from bit 4 down: 0, 1, keep, invert, keep.
             lambda i: ((i & 0b00111) | 0b01000) ^ 0b00010]
    rule = rules[block.group % len(rules)]
    want = copy.deepcopy(block)
    for i in range(target.wave):
        if block.exec_ >> i & 1:
            other = i & 32 | rule(i & 31)
            value = block.lanes[other][SOURCE - wave.FIRST] if block.exec_ >> other & 1 else 0
            want.lanes[i][RESULT - wave.FIRST] = value
    return wave.differing(want, got, target)


def check(probe_, target, library, block, got):
    want = copy.deepcopy(block)
    spelling = block.group % len(probe_.lines)
    constant = spelling == 1
    registers = [[Value("b", 32, 0)] * wave.FIRST + [Value("b", 32, w) for w in lane] for lane in block.lanes]
    registers += [[Value("b", 32, 0)] * len(registers[0]) for _ in range(64 - len(registers))]
    number = lambda n: Value("u", 32, n)
    scalar = lambda n: Value("b", 32, block.scalars[n - 16])
    names = {
        "VGPR": registers, "EXEC": Value("b", 64, block.exec_), "EXEC_LO": Value("b", 32, block.exec_),
        "WAVE32": Value("u", 1, int(target.wave == 32)), "WAVE64": Value("u", 1, int(target.wave == 64)),
        "ADDR": number(ADDRESS), "DATA0": number(SOURCE), "VDST": number(RESULT), "SRC0": number(SOURCE),
        "OFFSET": number(8), "D0": Value("b", 32, block.scalars[SCALAR_RESULT - 16]),
        "S0": scalar(SCALAR_SOURCE), "S1": number(13) if constant else scalar(SCALAR_LANE), "S2": scalar(SCALAR_LANE),
    }
    if "permlane" in probe_.mnemonic:
        names["S1"] = scalar(SCALAR_SOURCE)
    Run(names, library.find).block(library.find(probe_.mnemonic))
    want.lanes = [[w.bits for w in lane[wave.FIRST:]] for lane in registers[:target.wave]]
    want.scalars[SCALAR_RESULT - 16] = names["D0"].bits & 0xFFFFFFFF
    return wave.differing(want, got, target)
