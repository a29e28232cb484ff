"""Probes of matrix instructions: D = A·B + C of small matrices spread over the wave's registers.

The documents' entries say no more than that sum; where each element lies is stated here after AMD's matrix
instruction calculator (github.com/ROCm/amd_matrix_instruction_calculator): for element [i][k] of A, [k][j] of B
and [i][j] of C and D its register and lane.

Half of the workgroups hold small whole numbers, whose sums are exact in any order: equal bit by bit. The
others hold ordinary numbers: hardware rounds in an order that AMD does not publish, the emulator once, so
those may be one unit in the last place of the exact sum off.
"""

import copy
import math
import re
import struct
from fractions import Fraction

import values as v
import wave
from wave import WaveProbe

A, B, C, REGISTERS = 8, 24, 40, 68
NAME = re.compile(r"v_(?:mfma|wmma)_(f64|f32|f16|bf16|i32)_(\d+)x(\d+)x(\d+)_?(?:(\d+)b_)?((?:xf32|f64|f32|bf16_1k|bf16|f16|i8|iu8|iu4|[bf]+8_[bf]+8))?$")
BITS = {"f64": 64, "f32": 32, "f16": 16, "bf16": 16, "i8": 8, "iu8": 8, "iu4": 4, "fp8": 8, "bf8": 8}


class Shape:
    """What a name says."""

    def __init__(self, mnemonic, target):
        match = NAME.match(mnemonic)
        if not match:
            raise ValueError(mnemonic)
        self.sum, self.size, _, self.k = match[1], int(match[2]), match[3], int(match[4])
        kinds = match[6].replace("_1k", "")
        self.kinds = tuple(kinds.split("_")) if "_" in kinds else (kinds, kinds)
        self.bits = BITS[self.kinds[0]]
        self.wave = target.wave
        self.rdna = {"gfx11": 3, "gfx12": 4}.get(target.name[:5])
        self.fnuz = target.name == "gfx942"
        # The older names do not tell the blocks; the elements of A that a lane holds do.
        per_lane = {64: 1, 32: 1, 16: 2 if kinds == match[6] == "bf16" and target.name == "gfx90a" else 4, 8: 4}
        self.blocks = int(match[5] or 0) or max(1, per_lane.get(self.bits, 4) * 64 // (self.size * self.k))
        if self.rdna:
            self.blocks = 1

    @property
    def source_registers(self):
        copies = 2 if self.rdna == 3 else 1
        return max(1, self.size * self.k * self.blocks * copies * self.bits // 32 // self.wave)

    @property
    def result_registers(self):
        count = self.size * self.size * self.blocks // self.wave
        if self.sum == "f64":
            return 2 * count
        return count // 2 if self.rdna == 4 and self.sum in ("f16", "bf16") else count

    def source(self, block, i, k):
        """[(element number in the lane's registers, lane)] of A[i][k] (and of B[k][i])."""
        if self.rdna == 3:
            return [(k, i), (k, i + 16)]
        if self.blocks > 1:
            return [(k, i + self.size * block)]
        each = self.size * self.k // self.wave
        return [(k % each, i + self.size * (k // each))]

    def result(self, block, i, j):
        """(element number, lane) of D[i][j]; elements are as wide as D's type, but gfx11's halves as a register."""
        if self.rdna == 3:
            return i // 2, j + 16 * (i % 2)
        if self.rdna == 4:
            return i % 8, j + 16 * (i // 8)
        if self.sum == "f64":
            return i // 4, j + 16 * (i % 4)
        if self.size == 32:
            return 16 * block + 4 * (i // 8) + i % 4, j + 32 * (i // 4 % 2)
        if self.size == 16:
            return 4 * block + i % 4, j + 16 * (i // 4)
        return i, 4 * block + j

    @property
    def result_bits(self):
        """Bits from one element of D to the next."""
        if self.rdna == 3 or self.sum in ("f32", "i32"):
            return 32
        return BITS[self.sum]


def probe(mnemonic, text, target, forms):
    try:
        shape = Shape(mnemonic, target)
    except ValueError:
        return "a matrix instruction without a layout"
    spell = lambda first, count: f"v{first}" if count == 1 else f"v[{first}:{first + count - 1}]"
    source, result = shape.source_registers, shape.result_registers
    tails = sorted({" ".join(re.findall(r"\b(?:neg_lo|neg_hi|cbsz|abid|blgp|op_sel|op_sel_hi|clamp)(?::\S+)?", form)) for form in forms})
    if any(re.search("cbsz|abid|blgp|neg_hi|op_sel", tail) or "clamp" in tail and shape.sum != "i32" or "neg_lo" in tail and shape.bits > 8 for tail in tails):
        return "a matrix instruction with a modifier that has no reference"
    tails = (tails * 2)[:2] if len(tails) < 2 else (tails * 4)[:4]
    lines = [f"{mnemonic} {spell(C, result)}, {spell(A, source)}, {spell(B, source)}, {spell(C, result)} {tail}".rstrip() for tail in tails]
    return WaveProbe(mnemonic, lines, check, fill, registers=REGISTERS, facts={"shape": shape, "tails": tails})


def encoded(kind, number, fnuz=False):
    if kind in ("i8", "iu8", "iu4"):
        return int(number) & ((1 << BITS[kind]) - 1)
    if kind == "i32":
        return int(number) & 0xFFFFFFFF
    if kind == "bf16":
        return struct.unpack("<I", struct.pack("<f", number))[0] >> 16
    if kind in ("fp8", "bf8"):
        return min(range(256), key=lambda b: abs(decoded(kind, b, fnuz) - number) if decoded(kind, b, fnuz) == decoded(kind, b, fnuz) else math.inf)
    return v.from_float(BITS[kind], float(number)).bits


def decoded(kind, bits, fnuz=False, signed=True):
    width = BITS.get(kind, 32)
    if kind in ("i8", "iu8", "iu4", "i32"):
        return bits - (1 << width) if signed and bits >> (width - 1) else bits
    if kind == "bf16":
        return struct.unpack("<f", struct.pack("<I", bits << 16))[0]
    if kind in ("fp8", "bf8"):
        digits = 3 if kind == "fp8" else 2
        bias = (1 << (6 - digits)) - 1 + int(fnuz)
        exponent, fraction = bits >> digits & ((1 << (7 - digits)) - 1), bits & ((1 << digits) - 1)
        if fnuz and bits == 0x80 or not fnuz and (bits & 0x7F == 0x7F if kind == "fp8" else bits & 0x7F > 0x7C):
            return math.nan
        if not fnuz and kind == "bf8" and bits & 0x7F == 0x7C:
            return math.inf if bits < 128 else -math.inf
        magnitude = (fraction + (1 << digits if exponent else 0)) * 2.0 ** ((exponent or 1) - bias - digits)
        return -magnitude if bits >> 7 else magnitude
    return v.to_float(width, bits)


def place(lane, first, bits, element, value):
    """Writes element number `element` of `bits` bits into a lane's registers from register `first` on."""
    at = element * bits
    for part in range(max(1, bits // 32)):
        register, shift = first - wave.FIRST + at // 32 + part, at % 32
        mask = ((1 << min(bits, 32)) - 1) << shift
        lane[register] = lane[register] & ~mask & 0xFFFFFFFF | (value >> 32 * part & ((1 << min(bits, 32)) - 1)) << shift


def taken(lane, first, bits, element):
    at = element * bits
    register, shift = first - wave.FIRST + at // 32, at % 32
    if bits == 64:
        return lane[register] | lane[register + 1] << 32
    return lane[register] >> shift & ((1 << bits) - 1)


def fill(probe_, target, block, random_):
    """Matrices; what is not part of one stays any bits."""
    shape = probe_.facts["shape"]
    whole = block.group % 4 < 2

    def number(kind):
        if kind[0] == "i":
            return random_.getrandbits(8) if kind != "i32" else random_.choice([1, 2147]) * random_.randrange(-10 ** 6, 10 ** 6)
        if kind in ("fp8", "bf8"):
            return random_.choice([-4, -3, -2, -1, 0, 1, 2, 3, 4]) if whole else random_.uniform(-6, 6)
        return random_.randrange(-8, 9) if whole else random_.uniform(-4, 4) * 2.0 ** random_.randrange(-3, 4)

    for b in range(shape.blocks):
        for i in range(shape.size):
            for k in range(shape.k):
                for first, kind in ((A, shape.kinds[0]), (B, shape.kinds[1])):
                    bits = encoded(kind, number(kind), shape.fnuz)
                    for element, lane in shape.source(b, i, k):
                        place(block.lanes[lane], first, shape.bits, element, bits)
            for j in range(shape.size):
                element, lane = shape.result(b, i, j)
                width = BITS.get(shape.sum, 32)
                value = encoded(shape.sum, number(shape.sum))
                if width < shape.result_bits:
                    place(block.lanes[lane], C, shape.result_bits, element, random_.getrandbits(32) & ~0xFFFF | value)
                else:
                    place(block.lanes[lane], C, width, element, value)


def check(probe_, target, library, block, got):
    shape = probe_.facts["shape"]
    tail = probe_.facts["tails"][block.group % len(probe_.lines)]
    signs = re.search(r"neg_lo:\[(\d),(\d)", tail)
    signed = [kind == "i8" or bool(signs and int(signs[1 + n])) for n, kind in enumerate(shape.kinds)]
    width = BITS.get(shape.sum, 32)
    want = copy.deepcopy(block)
    for b in range(shape.blocks):
        rows = [[decoded(shape.kinds[0], taken(block.lanes[lane], A, shape.bits, e), shape.fnuz, signed[0])
                 for e, lane in (shape.source(b, i, k)[0] for k in range(shape.k))] for i in range(shape.size)]
        columns = [[decoded(shape.kinds[1], taken(block.lanes[lane], B, shape.bits, e), shape.fnuz, signed[1])
                    for e, lane in (shape.source(b, j, k)[0] for k in range(shape.k))] for j in range(shape.size)]
        for i in range(shape.size):
            for j in range(shape.size):
                element, lane = shape.result(b, i, j)
                old = taken(block.lanes[lane], C, shape.result_bits, element)
                c = decoded(shape.sum, old & ((1 << width) - 1))
                now = taken(got.lanes[lane], C, shape.result_bits, element)
                if shape.sum == "i32":
                    exact = c + sum(x * y for x, y in zip(rows[i], columns[j]))
                    exact = min(max(exact, -(1 << 31)), (1 << 31) - 1) if "clamp" in tail else exact
                    exact &= 0xFFFFFFFF
                elif shape.sum == "f64":
                    total = sum((Fraction(x) * Fraction(y) for x, y in zip(rows[i], columns[j])), Fraction(c))
                    size = abs(Fraction(c)) + sum(abs(Fraction(x) * Fraction(y)) for x, y in zip(rows[i], columns[j]))
                    # Each of the k + 1 additions may round.
                    off = abs(Fraction(decoded("f64", now)) - total) if abs(decoded("f64", now)) < math.inf else size
                    close = block.group % 4 >= 2 and off <= (shape.k + 1) * size / 2 ** 53
                    exact = now if close else encoded("f64", float(total))
                else:
                    # Products of two halves or two f32 are exact in f64, fsum rounds their sum once.
                    total = math.fsum([c] + [x * y for x, y in zip(rows[i], columns[j])])
                    exact = near(shape.sum, total, now & ((1 << width) - 1), 1 if block.group % 4 >= 2 else 0)
                if width < shape.result_bits:
                    exact |= old & ~0xFFFF
                place(want.lanes[lane], C, shape.result_bits, element, exact)
    return wave.differing(want, got, target)


def near(kind, number, got, ulps):
    """What comes out for `number`: `got` where it is no more than `ulps` off."""
    if kind == "bf16":
        exact = nearest_bf16(number)
    else:
        exact = v.from_float(BITS[kind], number).bits
    return got if abs(exact - got) <= ulps else exact


def nearest_bf16(number):
    bits = struct.unpack("<I", struct.pack("<f", number))[0]
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
