"""Typed bit patterns of the pseudocode: what `.f32`, `32'U(...)`, `+` and `fma` mean.

A value is its bits, how many they are and how they are read: 'u', 'i', 'b' (plain bits), 'f', or 'p'
for an exact power of two (`2.0F ** n`), which only scales a float.
"""

import math
import struct
from fractions import Fraction

FORMATS = {16: (11, 15, "<e", "<H"), 32: (24, 127, "<f", "<I"), 64: (53, 1023, "<d", "<Q")}


class Value:
    __slots__ = ("kind", "width", "bits")

    def __init__(self, kind, width, bits):
        self.kind = kind
        self.width = width
        self.bits = bits if kind == "p" else bits & ((1 << width) - 1)

    def number(self):
        """The integer, or the Python float, that the bits mean."""
        if self.kind == "f":
            return to_float(self.width, self.bits)
        if self.kind == "i" and self.bits >> (self.width - 1):
            return self.bits - (1 << self.width)
        return self.bits

    def read_as(self, kind, width):
        """The low bits under another type; missing high bits are zero."""
        return Value(kind, width, self.bits)

    def true(self):
        return self.number() != 0


def to_float(width, bits):
    _, _, decode, pack = FORMATS[width]
    return struct.unpack(decode, struct.pack(pack, bits))[0]


def from_float(width, number):
    """The nearest float, ties to even, overflow to infinity."""
    _, _, decode, pack = FORMATS[width]
    try:
        return Value("f", width, struct.unpack(pack, struct.pack(decode, number))[0])
    except OverflowError:
        return Value("f", width, infinity(width) | (number < 0) << (width - 1))


def from_fraction(width, number, zero_sign=0):
    """The same for an exact rational: one rounding whatever its size."""
    digits, bias, _, _ = FORMATS[width]
    if number == 0:
        return Value("f", width, zero_sign << (width - 1))
    sign = int(number < 0)
    number = abs(number)
    exponent = number.numerator.bit_length() - number.denominator.bit_length()
    if number < Fraction(2) ** exponent:
        exponent -= 1
    step = max(exponent, 1 - bias) - (digits - 1)
    scaled = number / Fraction(2) ** step
    whole = scaled.numerator // scaled.denominator
    rest = scaled - whole
    whole += rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole & 1)
    if whole * Fraction(2) ** step >= Fraction(2) ** (bias + 1):
        bits = infinity(width)
    elif whole < 1 << (digits - 1):
        bits = whole
    else:
        top = whole.bit_length() - digits
        bits = (whole >> top) - (1 << (digits - 1)) | (step + top + bias + digits - 1) << (digits - 1)
    return Value("f", width, bits | sign << (width - 1))


def infinity(width):
    digits, bias, _, _ = FORMATS[width]
    return (2 * bias + 1) << (digits - 1)


def quiet_nan(width):
    return infinity(width) | 1 << (FORMATS[width][0] - 2)


def is_nan(value):
    return value.bits & ((1 << (value.width - 1)) - 1) > infinity(value.width)


def is_quiet(value):
    return is_nan(value) and bool(value.bits >> (FORMATS[value.width][0] - 2) & 1)


def exponent(value):
    """The exponent field as it is stored."""
    digits, bias, _, _ = FORMATS[value.width]
    return value.bits >> (digits - 1) & (2 * bias + 1)


def convert(value, kind, width):
    """`32'U(x)`, `64'F(x)`, …"""
    if kind == "f":
        if value.kind == "f":
            if is_nan(value):
                # The payload's top bits, its quiet bit among them, stay.
                shift = FORMATS[width][0] - FORMATS[value.width][0]
                fraction = value.bits & ((1 << (FORMATS[value.width][0] - 1)) - 1)
                fraction = fraction << shift if shift >= 0 else fraction >> -shift
                sign = value.bits >> (value.width - 1)
                bits = infinity(width) | (fraction or 1) | sign << (width - 1)
                return Value("f", width, bits)
            return from_float(width, value.number())
        return from_fraction(width, Fraction(value.number()))
    if value.kind == "f":
        return Value(kind, width, int(value.number()))
    return Value(kind, width, value.number())


def saturate(value, kind, width):
    """A float to an integer: truncated, clamped, NaN as zero."""
    if is_nan(value):
        return Value(kind, width, 0)
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if kind == "i" else (0, (1 << width) - 1)
    number = value.number()
    if math.isinf(number):
        return Value(kind, width, low if number < 0 else high)
    return Value(kind, width, min(max(int(number), low), high))


def scale(value, power):
    """`value * 2 ** power`, rounded once."""
    number = value.number()
    if is_nan(value) or math.isinf(number) or number == 0:
        return quieted(value)
    power = max(-5000, min(5000, power))
    return from_fraction(value.width, Fraction(number) * Fraction(2) ** power)


def quieted(value):
    if is_nan(value):
        return Value("f", value.width, value.bits | 1 << (FORMATS[value.width][0] - 2))
    return value


def fma(a, b, c):
    width = max(a.width, b.width, c.width)
    x, y, z = a.number(), b.number(), c.number()
    if any(map(is_nan, (a, b, c))):
        return Value("f", width, quiet_nan(width))
    if any(map(math.isinf, (x, y, z))):
        product = math.nan if 0 in (x, y) else math.copysign(1, x) * math.copysign(1, y) * math.inf
        if not (math.isinf(x) or math.isinf(y)):
            product = 0.0
        return from_float(width, product + z)
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    negative = math.copysign(1, x) * math.copysign(1, y) < 0
    both = negative and math.copysign(1, z) < 0
    return from_fraction(width, exact, int(both and Fraction(x) * Fraction(y) == 0))


def float_operation(operator, a, b):
    if a.kind == "p":
        return scale(b, a.bits)
    if b.kind == "p":
        return scale(a, b.bits)
    width = max(v.width for v in (a, b) if v.kind == "f")
    x, y = a.number(), b.number()
    if operator == "+":
        result = x + y
    elif operator == "-":
        result = x - y
    elif operator == "*":
        result = x * y
    elif y != 0:
        result = x / y
    elif x == 0 or math.isnan(x):
        result = math.nan
    else:
        result = math.copysign(math.inf, x) * math.copysign(1, y)
    # Rounding the f64 result of two narrower numbers gives their correctly rounded one.
    return from_float(width, result)


def integer_operation(operator, a, b):
    if operator in ("<<", ">>"):
        width = max(a.width, 32)
        amount = b.bits
        if operator == "<<":
            return Value(a.kind, width, a.number() << amount if amount < 4096 else 0)
        return Value(a.kind, width, a.number() >> amount)
    width = max(a.width, b.width, 32)
    unsigned = any(v.kind != "i" and v.width == width for v in (a, b))
    x, y = a.number(), b.number()
    result = {
        "+": lambda: x + y, "-": lambda: x - y, "*": lambda: x * y, "&": lambda: x & y,
        "|": lambda: x | y, "^": lambda: x ^ y,
        "/": lambda: abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1),
        "%": lambda: abs(x) % abs(y) * (-1 if x < 0 else 1),
    }[operator]()
    return Value("u" if unsigned else "i", width, result)


def compare(operator, a, b):
    x, y = a.number(), b.number()
    if a.kind != "f" and b.kind != "f" and "i" in (a.kind, b.kind) and a.kind != b.kind:
        # As in C: the wider or unsigned type decides.
        width = max(a.width, b.width, 32)
        if any(v.kind != "i" and v.width == width for v in (a, b)):
            x, y = x & ((1 << width) - 1), y & ((1 << width) - 1)
    return {
        "==": x == y, "!=": x != y, "<>": x < y or x > y,
        "<": x < y, ">": x > y, "<=": x <= y, ">=": x >= y,
    }[operator]


def signed(number, width=32):
    return Value("i", width, number)


def boolean(truth):
    return Value("u", 1, int(truth))
