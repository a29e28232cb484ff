"""The forms in which an instruction occurs: source modifiers, operand selection, clamp, lane permutation.

AMD's pseudocode computes from S0, S1, S2; what a form does to a source before and to the result after is
said in prose in the documents' chapters on SDWA, DPP, VOP3 and VOP3P. This is that prose as code.
"""

import math
import re
from dataclasses import dataclass

import values as v
from values import Value

# Cache hints and the like, which change no result.
HINTS = {"glc", "slc", "dlc", "sc0", "sc1", "nt", "scc", "offset", "offset0", "offset1", "th", "scope", "offen", "gds"}
PACKED = re.compile(r"v_(pk_|dot\d|fma_mix|mad_mix)")


@dataclass(frozen=True)
class Form:
    """`sources[i]` says what is done to operand i (destinations included): (negate, absolute, sext);
    `modifiers` are pairs as printed."""

    sources: tuple = ()
    modifiers: tuple = ()

    @property
    def plain(self):
        return not any(map(any, self.sources)) and not self.modifiers

    def get(self, key, default=None):
        return dict(self.modifiers).get(key, default)

    def bits(self, key, default):
        """`[1,0,1]` as a number, the first element lowest."""
        text = self.get(key)
        return default if text is None else sum(int(n != "0") << i for i, n in enumerate(text.strip("[]").split(",")))

    def suffix(self):
        """As it is printed behind the operands."""
        return "".join(f" {key}:{value}" if value else f" {key}" for key, value in self.modifiers)

    def wrapped(self, operands):
        """The operands with the sources' modifiers."""
        result = []
        for i, operand in enumerate(operands):
            negate, absolute, sext = self.sources[i] if i < len(self.sources) else (False,) * 3
            operand = f"sext({operand})" if sext else f"|{operand}|" if absolute else operand
            result.append(f"-{operand}" if negate else operand)
        return result


def split(text):
    """Pieces at commas outside brackets."""
    return [piece.strip() for piece in re.split(r",(?![^\[(]*[\])])", text) if piece.strip()]


def read(instruction):
    """(mnemonic, Form) of one operation as LLVM prints it."""
    mnemonic, _, rest = instruction.partition(" ")
    sources, modifiers = [], []
    for piece in split(rest):
        words = piece.split(" ")
        if ":" in words[0] and "[" not in words[0].split(":")[0]:
            words.insert(0, "")
        operand = words[0]
        if operand:
            negate = operand.startswith("neg(") or bool(re.match(r"-[^\d]", operand))
            sources.append((negate, "|" in operand, "sext(" in operand))
        for word in words[1:]:
            key, _, value = word.partition(":")
            if key and key not in HINTS:
                modifiers.append((key, value))
    if not any(map(any, sources)):
        sources = []
    return mnemonic, Form(tuple(sources), tuple(modifiers))


def element(width, kind):
    """Bits of one number of a register, by the type that the pseudocode reads it as."""
    return {"f16": 16, "f64": 64}.get(kind, 64 if width == 64 and kind != "f32" else 32)


def selected(bits, selection):
    """(bits, width) of an SDWA selection such as WORD_1."""
    part, _, number = (selection or "DWORD").partition("_")
    width = {"BYTE": 8, "WORD": 16}.get(part, 32)
    return bits >> width * int(number or 0) & ((1 << width) - 1), width


def source(form, mnemonic, index, operand, value, kind):
    """Source `index` (operand number `operand`) as the operation sees it. `kind`: its type, as "f16"."""
    bits, width = value.bits, value.width
    negate, absolute, sext = form.sources[operand] if operand < len(form.sources) else (False,) * 3
    if form.get("dst_sel") or form.get("src0_sel"):
        bits, taken = selected(bits, form.get(f"src{index}_sel"))
        if sext and bits >> (taken - 1):
            bits |= ((1 << width) - 1) & ~((1 << taken) - 1)
    elif PACKED.match(mnemonic):
        return Value("b", width, packed(form, mnemonic, index, value, negate))
    elif form.bits("op_sel", 0) >> index & 1 and kind == "f16":
        bits >>= 16
    size = element(width, kind)
    if absolute:
        bits &= ~(1 << (size - 1))
    if negate:
        bits ^= 1 << (size - 1)
    return Value("b", width, bits)


def packed(form, mnemonic, index, value, negate):
    """Both halves of a packed source: which half goes where, and their signs."""
    if mnemonic in ("v_pk_mov_b32", "v_dot4_i32_iu8", "v_dot8_i32_iu4"):
        return value.bits  # their entries read OPSEL and NEG themselves
    if "mix" in mnemonic:
        # The entry reads OPSEL; the sign is of what is selected, f32 or a half.
        half = form.bits("op_sel_hi", 0) >> index & 1
        place = (31 if form.bits("op_sel", 0) >> index & 1 else 15) if half else 31
        bits = value.bits & ~(1 << place) if form.bits("neg_hi", 0) >> index & 1 else value.bits
        return bits ^ 1 << place if form.bits("neg_lo", 0) >> index & 1 or negate else bits
    size = 32 if mnemonic.endswith("_f32") and mnemonic.startswith("v_pk_") else 16
    if mnemonic.startswith("v_dot") and index == 2:
        return value.bits ^ (form.bits("neg_lo", 0) >> 2 & 1) << 31
    mask, result = (1 << size) - 1, 0
    for place, (select, default, sign) in enumerate((("op_sel", 0, "neg_lo"), ("op_sel_hi", 7, "neg_hi"))):
        part = value.bits >> size * (form.bits(select, default) >> index & 1) & mask
        part ^= (form.bits(sign, 0) >> index & 1) << (size - 1)
        result |= part << size * place
    return result


def result(form, bits, old, width, kind, clamped=None):
    """What reaches the destination: output scaling, clamping (`clamped`, if an integer is), the part of the
    register."""
    if form.get("mul") or form.get("div"):
        factor = {("mul", "2"): 1, ("mul", "4"): 2, ("div", "2"): -1}[
            ("mul", form.get("mul")) if form.get("mul") else ("div", form.get("div"))]
        bits = v.scale(Value("f", width, bits), factor).bits
    if form.get("clamp") is not None and clamped is not None:
        bits = clamped
    elif form.get("clamp") is not None:
        if kind[0] != "f":
            raise ValueError("clamp of an integer result that has no reference here")
        number = Value("f", width, bits)
        # A NaN becomes zero: the mode bit DX10_CLAMP is on.
        if v.is_nan(number) or number.number() <= 0:
            bits = 0 if v.is_nan(number) or math.copysign(1, number.number()) < 0 else bits
        elif number.number() > 1:
            bits = v.from_float(width, 1.0).bits
    if form.get("dst_sel", "DWORD") != "DWORD":
        part, _, number = form.get("dst_sel").partition("_")
        size = {"BYTE": 8, "WORD": 16}[part]
        shift = size * int(number)
        bits = (bits & ((1 << size) - 1)) << shift
        unused = form.get("dst_unused", "UNUSED_PAD")
        if unused == "UNUSED_PRESERVE":
            bits |= old & ~(((1 << size) - 1) << shift) & 0xFFFFFFFF
        elif unused == "UNUSED_SEXT" and bits >> (shift + size - 1) & 1:
            bits |= 0xFFFFFFFF & ~((1 << (shift + size)) - 1)
    return bits


def saturated(mnemonic, sources):
    """What clamp makes of an integer sum or difference, or of a sum of products; None for other operations."""
    if mnemonic == "v_dot4_i32_i8":
        # The sum with all of its bits, which the documents' entries keep 32 of. LLVM, AMDGPUUsage, `llvm.amdgcn.sdot4`.
        a, b = ([Value("i", 8, source.bits >> 8 * i & 0xff).number() for i in range(4)] for source in sources[:2])
        number = sum(x * y for x, y in zip(a, b)) + Value("i", 32, sources[2].bits).number()
        return min(max(number, -(1 << 31)), (1 << 31) - 1) & 0xffffffff
    match = re.fullmatch(r"v_(add|sub|subrev)(?:_nc)?_([ui])(16|32)", mnemonic)
    if not match:
        return None
    width = int(match[3])
    a, b = (Value(match[2], width, source.bits).number() for source in sources[:2])
    number = a + b if match[1] == "add" else a - b if match[1] == "sub" else b - a
    low, high = (0, (1 << width) - 1) if match[2] == "u" else (-(1 << width - 1), (1 << width - 1) - 1)
    return min(max(number, low), high) & ((1 << width) - 1)


def dpp_source(form, lane, wave):
    """The lane that a DPP form reads for `lane`; None for none (the documents' table of DPP_CTRL)."""
    row, place = lane // 16 * 16, lane % 16
    for key, value in form.modifiers:
        number = int(value, 0) if re.fullmatch(r"\d+|0x[0-9a-f]+", value) else 0
        if key == "quad_perm":
            return lane // 4 * 4 + int(value.strip("[]").split(",")[lane % 4])
        if key == "dpp8":
            return lane // 8 * 8 + int(value.strip("[]").split(",")[lane % 8])
        if key == "row_shl":
            return lane + number if place + number < 16 else None
        if key == "row_shr":
            return lane - number if place >= number else None
        if key == "row_ror":
            return row + (place - number) % 16
        if key == "row_mirror":
            return row + 15 - place
        if key == "row_half_mirror":
            return lane // 8 * 8 + 7 - lane % 8
        if key in ("row_share", "row_newbcast"):
            return row + number
        if key == "row_xmask":
            return row + (place ^ number)
        if key == "wave_shl":
            return lane + 1 if lane + 1 < wave else None
        if key == "wave_shr":
            return lane - 1 if lane else None
        if key == "wave_rol":
            return (lane + 1) % wave
        if key == "wave_ror":
            return (lane - 1) % wave
        if key == "row_bcast":
            if number == 15:
                return row - 1 if row else None
            return 31 if lane >= 32 else None
    raise ValueError("a DPP control that is not known here")


def dpp_enabled(form, lane):
    """Whether row_mask and bank_mask let the lane be written."""
    rows, banks = (int(form.get(key, "0xf"), 0) for key in ("row_mask", "bank_mask"))
    return rows >> lane // 16 & 1 and banks >> lane % 16 // 4 & 1
