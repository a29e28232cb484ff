"""Operands: edges of every type that an instruction reads, ordinary numbers, and any bits."""

import random
import struct

EDGES = {
    "f32": [0, 1 << 31, 0x3F800000, 0xBF800000, 0x3F000000, 0x40200000, 0x7F800000, 0xFF800000, 0x7FC00000,
            0x7F800001, 0xFFC12345, 1, 0x80000001, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x4F000000,
            0x4EFFFFFF, 0xCF000000, 0x4F800000, 0x3EFFFFFF, 0x4B7FFFFF, 0x47FFE000],
    "f16": [0, 0x8000, 0x3C00, 0xBC00, 0x3800, 0x4100, 0x7C00, 0xFC00, 0x7E00, 0x7C01, 1, 0x8001, 0x03FF, 0x0400,
            0x7BFF, 0xFBFF, 0x77FF, 0x7800],
    "f64": [0, 1 << 63, 0x3FF0 << 48, 0xBFF0 << 48, 0x3FE0 << 48, 0x4004 << 48, 0x7FF0 << 48, 0xFFF0 << 48,
            0x7FF8 << 48, (0x7FF0 << 48) + 1, 1, (1 << 63) + 1, (1 << 52) - 1, 1 << 52, (0x7FF0 << 48) - 1,
            0x41DFFFFFFFC00000, 0xC1E0000000000000, 0x41F0000000000000, 0x47EFFFFFE0000000, 0x3690000000000000],
    "i32": [0, 1, 2, 31, 32, 33, 63, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFF, 0x10000, 0x7FFF, 0x8000,
            0x8080, 0x7F7F7F7F, 0x80808080, 0xFFFFFF, 0x800000, 0xFF0000],
    "i64": [0, 1, 2, 63, 64, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000, 0x7FFFFFFFFFFFFFFF, 1 << 63, (1 << 64) - 1,
            (1 << 64) - 2],
}


def kind_of(text, register):
    """The type that the pseudocode reads a register as, roughly."""
    import re

    found = re.findall(rf"\b{register}(?:\[[^\]]*\])?\.(f16|f32|f64|[uib]64)", text)
    if found:
        return found[0] if found[0][0] == "f" else "i64"
    return "i32"


def operand(kind, random_):
    choice = random_.random()
    width = {"f64": 64, "i64": 64}.get(kind, 32)
    if choice < 0.25:
        return random_.getrandbits(width)
    if choice < 0.6:
        if kind == "f16":
            return random_.choice(EDGES[kind]) | random_.choice(EDGES[kind]) << 16
        return random_.choice(EDGES[kind])
    number = random_.choice([random_.uniform(-8, 8), random_.uniform(-3e4, 3e4), random_.randint(-40, 40) / 2])
    if kind == "f16":
        return struct.unpack("<I", struct.pack("<ee", number, random_.uniform(-4, 4)))[0]
    if kind == "f32":
        return struct.unpack("<I", struct.pack("<f", number))[0]
    if kind == "f64":
        return struct.unpack("<Q", struct.pack("<d", number * random_.choice([1, 1, 1e5, 1e-5])))[0]
    return int(number) & ((1 << width) - 1)


def operands(text, count, seed):
    """`count` triples of operands, equal ones and near ones among them."""
    random_ = random.Random(seed)
    kinds = [kind_of(text, f"S{i}") for i in range(3)]
    for _ in range(count):
        triple = [operand(kind, random_) for kind in kinds]
        if random_.random() < 0.1 and kinds[0] == kinds[1]:
            triple[1] = triple[0]
        if random_.random() < 0.05 and kinds[1] == kinds[2]:
            triple[2] = triple[1]
        yield triple
