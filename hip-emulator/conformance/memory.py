"""Probes of memory instructions: a window of known bytes, addresses and data from registers, the window after."""

import copy
import re

import wave
from evaluate import Run
from values import Value
from wave import GLOBAL, LDS, SCRATCH, WaveProbe

# Registers of a probe (in the wave's block): address, data, second data, destination.
ADDRESS, ADDRESS64, DATA, DATA2, RETURNED, SCALAR_RETURNED = 4, 6, 8, 12, 16, 16
OFFSET, OFFSETS = 16, (1, 3)
RETURNS = {"gfx90a": " glc", "gfx942": " sc0", "gfx1030": " glc", "gfx1100": " glc", "gfx1201": " th:TH_ATOMIC_RETURN"}
MEMORY = re.compile(r"(ds_(read|write|load|store|add|sub|inc|dec|min|max|and|or|xor|cmp|wrxchg|storexchg|append|consume|condxchg|pk_add)"
                    r"|(global|flat|scratch|buffer)_(load|store|atomic)|s_(buffer_)?load_)")


class Window:
    """MEM[…] of the evaluator."""

    def __init__(self, data):
        self.data = data

    def load(self, address, count):
        return int.from_bytes(self.data[address:address + count], "little")

    def store(self, address, count, bits):
        self.data[address:address + count] = bits.to_bytes(count, "little")


def words(text, name):
    """32-bit words of `name` that the text reads or writes; zero if it does not occur."""
    found = [int(n) for n in re.findall(rf"\b{name}(?:\.\w+)?\[(\d+)", text)]
    if found:
        return (max(found) + 1 + 31) // 32
    if re.search(rf"\b{name}(\.\w)?\w*64\b|\b{name}\.[a-z]+64", text):
        return 2
    return int(bool(re.search(rf"\b{name}\b", text)))


def span(prefix, first, count):
    return f"{prefix}{first}" if count == 1 else f"{prefix}[{first}:{first + count - 1}]"


def probe(mnemonic, text, target, forms):
    """The probe of a memory instruction, or why there is none."""
    text = re.sub(r"//[^\n]*", "", text)
    scalar = mnemonic.startswith("s_")
    returned = max(words(text, n) for n in ("RETURN_DATA", "SDATA") + (("VDATA",) if "_load" in mnemonic else ()))
    data = max(words(text, n) for n in ("DATA", "DATA0") + (() if "_load" in mnemonic else ("VDATA",)))
    second = max(words(text, n) for n in ("DATA2", "DATA1"))
    atomic = "atomic" in mnemonic or (mnemonic.startswith("ds_") and not re.match(r"ds_(read|write|load|store)_|ds_(read|write)2|ds_(load|store)_2", mnemonic))
    unit = max(returned, data, 1) * 4
    if "cmpswap" in mnemonic:
        unit //= 2 if data > 1 else 1
    double = bool(re.search(r"2addr|(read|write)2", mnemonic))
    if double:
        unit = 8 if "_b64" in mnemonic else 4
    elif re.search(r"(load|store|read|write)_(d16_)?(hi_)?[bui]8|[su]?byte|_[ui]8(_d16)?", mnemonic):
        unit = 1
    elif re.search(r"(load|store|read|write)_(d16_)?(hi_)?[bui]16|short|_[ui]16(_d16)?", mnemonic):
        unit = 2
    facts = {"text": text, "returned": returned, "data": data, "double": double, "scalar": scalar, "unit": 16 if unit == 12 else min(unit, 16),
             "atomic": atomic, "second": second}
    into, out, more = span("v", RETURNED, returned), span("v", DATA, data), span("v", DATA2, second)
    tail = f" offset0:{OFFSETS[0]} offset1:{OFFSETS[1]}" if double else f" offset:{OFFSET}"
    if scalar:
        lines = [f"{mnemonic} {span('s', SCALAR_RETURNED, returned)}, s[14:15], {hex(OFFSET)}"]
        return WaveProbe(mnemonic, lines, check, None, GLOBAL, 32, facts=facts)
    if mnemonic.startswith("ds_"):
        operands = [f"v{ADDRESS}"] + ([out] if data else []) + ([more] if second else [])
        if not data or "_rtn" in mnemonic:
            operands.insert(0, into)
        return WaveProbe(mnemonic, [f"{mnemonic} {', '.join(operands)}{tail}"], check, fill, LDS, 32, facts=facts)
    glc = any(re.search(r"\b(glc|sc0|TH_ATOMIC_RETURN)\b", form) for form in forms)
    facts["returns"] = not atomic or glc
    tail += RETURNS[target.name] if atomic and glc else ""

    def line(address, *rest):
        operands = [address] + ([out] if data else [])
        if not data or atomic and glc:
            operands.insert(0, into)
        return f"{mnemonic} {', '.join(operands + list(rest))}{tail}"

    if mnemonic.startswith("global_"):
        lines = [line(f"v{ADDRESS}", "s[14:15]"), line(f"v[{ADDRESS64}:{ADDRESS64 + 1}]", "off")]
        return WaveProbe(mnemonic, [absolute(target, ADDRESS, ADDRESS64) + lines[1], lines[0]], check, fill, GLOBAL, 32, facts=facts)
    if mnemonic.startswith("flat_"):
        text = absolute(target, ADDRESS, ADDRESS64) + f"{line(f'v[{ADDRESS64}:{ADDRESS64 + 1}]')}"
        return WaveProbe(mnemonic, [text], check, fill, GLOBAL, 32, facts=facts)
    if mnemonic.startswith("scratch_") or mnemonic.startswith("buffer_") and target.scratch_store.startswith("buffer"):
        facts["unit"] = min(facts["unit"], 4)
        register = f"v{DATA}" if data == 1 else out
        what = register if data else into
        if mnemonic.startswith("buffer_"):
            lines = [f"{mnemonic} {what}, v{ADDRESS}, s[0:3], 0 offen{tail}", f"{mnemonic} {what}, off, s[0:3], 0{tail}"]
        elif data:
            lines = [f"{mnemonic} v{ADDRESS}, {what}, off{tail}", f"{mnemonic} off, {what}, off{tail}"]
        else:
            lines = [f"{mnemonic} {what}, v{ADDRESS}, off{tail}", f"{mnemonic} {what}, off, off{tail}"]
        return WaveProbe(mnemonic, lines[::-1], check, fill, SCRATCH, 32, facts=facts)
    return "a memory instruction without a probe"


def absolute(target, offset, into):
    """Adds the window's address to a register; wave-wide, whatever EXEC is."""
    carry = "vcc" if target.wave == 64 else "vcc_lo"
    add, addc = ("v_add_co_u32", "v_addc_co_u32") if target.add == "v_add_u32" else ("v_add_co_u32", "v_add_co_ci_u32")
    return (f"v_mov_b32 v{into + 1}, s15\n  {add} v{into}, {carry}, s14, v{offset}\n  "
            f"{addc} v{into + 1}, {carry}, 0, v{into + 1}, {carry}\n  ")


def fill(probe, target, block, random_):
    """Addresses: any for loads, each lane's own where something is stored."""
    facts = probe.facts
    unit = facts["unit"]
    if probe.space == SCRATCH:
        room = 64 - OFFSET - 16
        for lane in block.lanes:
            lane[ADDRESS - wave.FIRST] = random_.randrange(0, room // 4) * 4
        return
    # Where lanes store they get places of their own, in any order.
    room = 2048 if facts["double"] else 4096 - 64
    spacing = (unit if re.search("st64|stride64", probe.mnemonic) else 4 * unit) if facts["double"] else 16
    places = list(range(target.wave))
    random_.shuffle(places)
    for place, lane in zip(places, block.lanes):
        stores = facts["data"]
        lane[ADDRESS - wave.FIRST] = place * spacing if stores else random_.randrange(0, room // unit) * unit
    if "cmpswap" in probe.mnemonic or "cmpst" in probe.mnemonic:
        # Half of the lanes compare with what is there.
        half = facts["data"] // 2 if "cmpswap" in probe.mnemonic else facts["data"]
        for lane in block.lanes[::2]:
            at = lane[ADDRESS - wave.FIRST] + OFFSET
            for w in range(half):
                place = DATA - wave.FIRST + w + (half if "cmpswap" in probe.mnemonic else 0)
                lane[place] = int.from_bytes(block.window[at + 4 * w:at + 4 * w + 4], "little")
    if re.search(r"_(f16|bf16|f32|f64)$", probe.mnemonic):
        # Ordinary numbers: an atomic's rounding is compared, not its NaNs.
        for lane in block.lanes:
            lane[DATA - wave.FIRST] = small(probe.mnemonic, random_)
        for at in range(0, len(block.window), 4):
            block.window[at:at + 4] = small(probe.mnemonic, random_).to_bytes(4, "little")


def small(mnemonic, random_):
    import struct
    numbers = [random_.uniform(-100, 100) for _ in range(2)]
    if mnemonic.endswith("bf16"):
        return sum(struct.unpack("<I", struct.pack("<f", n))[0] >> 16 << 16 * i for i, n in enumerate(numbers))
    if mnemonic.endswith("f16"):
        return struct.unpack("<I", struct.pack("<ee", *numbers))[0]
    return struct.unpack("<I", struct.pack("<f", numbers[0]))[0]


def check(probe, target, library, block, got):
    """Runs the pseudocode lane by lane and compares registers, scalars and memory."""
    facts, statements = probe.facts, library.find(probe.mnemonic)
    want = copy.deepcopy(block)
    spelled_out = bool(re.search(r"\bOFFSET[01]?\b", re.sub(r"Calc\w+\([^)]*\)", "", facts["text"])))
    spelling = block.group % len(probe.lines)
    uses_address = probe.space != SCRATCH or spelling == 1
    if probe.space == GLOBAL and "\n" in probe.lines[spelling]:
        # The absolute address is the machine's own.
        for w, g in zip(want.lanes, got.lanes):
            w[ADDRESS64 - wave.FIRST:ADDRESS64 - wave.FIRST + 2] = g[ADDRESS64 - wave.FIRST:ADDRESS64 - wave.FIRST + 2]
    for lane in [0] if facts["scalar"] else range(target.wave):
        registers = want.lanes[lane]
        if not facts["scalar"] and not block.exec_ >> lane & 1:
            continue
        held = lambda first, count: sum(registers[first - wave.FIRST + i] << 32 * i for i in range(count))
        address = 0 if facts["scalar"] or not uses_address else registers[ADDRESS - wave.FIRST]
        address += 0 if spelled_out or facts["double"] else OFFSET
        scratch = probe.space == SCRATCH
        memory = Window(bytearray(b"".join(w.to_bytes(4, "little") for w in registers[SCRATCH_FIRST:SCRATCH_FIRST + 16])) if scratch else want.window)
        env = {name: Value("b", 128, held(DATA, max(facts["data"], 1))) for name in ("DATA", "DATA0", "VDATA")}
        env.update({name: Value("b", 128, held(DATA2, max(facts["second"], 1))) for name in ("DATA2", "DATA1")})
        old = sum(want.scalars[i] << 32 * i for i in range(16)) if facts["scalar"] else held(RETURNED, 4)
        env.update(RETURN_DATA=Value("b", 128, old), SDATA=Value("b", 512, old), ADDR=Value("u", 64, address),
                   vgpr_a=Value("u", 64, address), v_addr=Value("u", 64, address), sgpr_base=Value("u", 64, address),
                   v_addr_off=Value("u", 64, address), VADDR=Value("u", 64, address), SBASE=Value("u", 64, address))
        env.update({name: Value("u", 64, 0) for name in ("s_saddr", "s_saddr_off", "offset", "SADDR", "SRSRC", "SOFFSET", "flat_scratch")})
        env.update(OFFSET=Value("u", 32, OFFSET), OFFSET0=Value("u", 32, OFFSETS[0]), OFFSET1=Value("u", 32, OFFSETS[1]),
                   dst=Value("b", 32, 0))
        if not facts["data"]:
            env["VDATA"] = Value("b", 128, old)
        Run(env, library.find, memory).block(statements)
        if scratch:
            registers[SCRATCH_FIRST:SCRATCH_FIRST + 16] = [memory.load(4 * i, 4) for i in range(16)]
        result = env["SDATA"] if facts["scalar"] else env["VDATA"] if not facts["data"] and "VDATA" in facts["text"] else env["RETURN_DATA"]
        if facts["scalar"]:
            want.scalars = [result.bits >> 32 * i & 0xFFFFFFFF for i in range(16)]
        elif facts["returned"] and facts.get("returns", not facts["data"] or "_rtn" in probe.mnemonic):
            for i in range(facts["returned"]):
                registers[RETURNED - wave.FIRST + i] = result.bits >> 32 * i & 0xFFFFFFFF
    return wave.differing(want, got, target)


SCRATCH_FIRST = wave.SCRATCH_AT - wave.FIRST
