"""Runs parsed pseudocode on an environment: a dictionary from names to values (arrays are lists)."""

import functools
import math
from fractions import Fraction

import values as v
from values import Value, boolean, signed

CONSTANTS = {
    "INF": Value("f", 64, v.infinity(64)),
    "NAN": Value("f", 64, v.quiet_nan(64)),
    "PI": v.from_float(64, math.pi),
    "OVERFLOW_F32": Value("f", 32, v.infinity(32)),
    "OVERFLOW_F64": Value("f", 64, v.infinity(64)),
    "UNDERFLOW_F32": Value("f", 32, 0),
    "UNDERFLOW_F64": Value("f", 64, 0),
}


class Undefined(Exception):
    """A name or function that the evaluator does not know."""


class Return(Exception):
    def __init__(self, value):
        super().__init__()
        self.value = value


class Break(Exception):
    pass


@functools.lru_cache
def two_over_pi():
    """The first 1201 bits after the point of 2/pi (Machin's formula, with spare digits)."""
    bits = 1400

    def arctangent_of_inverse(n):
        term, total, k, sign = (1 << bits) // n, 0, 1, 1
        while term:
            total += sign * (term // k)
            term //= n * n
            k, sign = k + 2, -sign
        return total

    pi = 4 * (4 * arctangent_of_inverse(5) - arctangent_of_inverse(239))
    return ((2 << (2 * bits)) // pi) >> (bits - 1201)


def rounded(function):
    """A float to a whole float of the same width."""

    def apply(a):
        number = a.number()
        if not math.isfinite(number):
            return v.quieted(a)
        whole = function(number)
        if whole == 0:
            return Value("f", a.width, a.bits & 1 << (a.width - 1) if number <= 0 else 0)
        return v.from_float(a.width, float(whole))

    return apply


def mantissa(a):
    number = a.number()
    fraction, _ = math.frexp(number)
    return v.from_float(a.width, fraction)


def power(a, b):
    exponent = b.number()
    if math.isnan(exponent):
        return v.quieted(b)
    try:
        return v.from_float(b.width, a.number() ** exponent)
    except OverflowError:
        return Value("f", b.width, v.infinity(b.width))


def logarithm(a):
    number = a.number()
    if number == 0:
        return Value("f", a.width, v.infinity(a.width) | 1 << (a.width - 1))
    if math.isnan(number) or number < 0:
        return Value("f", a.width, v.quiet_nan(a.width))
    return a if math.isinf(number) else v.from_float(a.width, math.log2(number))


def square_root(a):
    number = a.number()
    if math.isnan(number) or number < 0:
        return Value("f", a.width, v.quiet_nan(a.width))
    return v.from_float(a.width, math.sqrt(number))


def sign_extended(a, count):
    width = count.bits
    low = a.bits & ((1 << width) - 1)
    return signed(low - (1 << width) if width and low >> (width - 1) else low, a.width)


def lowest_bit(a):
    return signed((a.bits & -a.bits).bit_length() - 1)


def is_even(a):
    number = a.number()
    return boolean(math.isfinite(number) and int(number) % 2 == 0)


def fraction_part(a):
    number = a.number()
    return v.from_float(a.width, number - math.floor(number) if math.isfinite(number) else math.nan)


FUNCTIONS = {
    "abs": lambda a: Value("f", a.width, a.bits & ~(1 << (a.width - 1)))
    if a.kind == "f" else Value(a.kind, a.width, abs(a.number())),
    "sign": lambda a: boolean(a.bits >> (a.width - 1)),
    "exponent": lambda a: signed(v.exponent(a)),
    "mantissa": mantissa,
    "isNAN": lambda a: boolean(v.is_nan(a)),
    "isQuietNAN": lambda a: boolean(v.is_quiet(a)),
    "isSignalNAN": lambda a: boolean(v.is_nan(a) and not v.is_quiet(a)),
    "cvtToQuietNAN": v.quieted,
    "isEven": is_even,
    "floor": rounded(math.floor),
    "trunc": rounded(math.trunc),
    "fract": fraction_part,
    "fma": v.fma,
    "ldexp": lambda a, n: v.scale(a, n.number()),
    "pow": power,
    "log2": logarithm,
    "sqrt": square_root,
    "signext": lambda a: Value("i", 64, Value("i", a.width, a.bits).number()),
    "signext_from_bit": sign_extended,
    "s_ff1_i32_b32": lowest_bit,
    "s_ff1_i32_b64": lowest_bit,
    "CalcDsAddr": lambda address, *_: address,
    "CalcGlobalAddr": lambda address, *_: address,
    "CalcFlatAddr": lambda address, *_: address,
    "CalcScratchAddr": lambda address, *_: address,
    "CalcBufferAddr": lambda address, *_: address,
    "CalcScalarGlobalAddr": lambda address, *_: address,
    "sin": lambda a: v.from_float(a.width, math.sin(a.number())),
    "cos": lambda a: v.from_float(a.width, math.cos(a.number())),
}


def conversion(name):
    """`f32_to_i16` and the like, by name."""
    source, _, target = name.partition("_to_")
    if not target or source[:1] not in "uif" or target[:1] not in "uif":
        return None
    kind, width = target[0], int(target[1:])
    if source[0] == "f" and kind != "f":
        return lambda a: v.saturate(a.read_as("f", int(source[1:])), kind, width)
    return lambda a: v.convert(a.read_as(source[0], int(source[1:])), kind, width)


class Run:
    """One execution. `memory` answers MEM[...] by `load(address, bytes)` and `store`; `library` finds
    the pseudocode of other instructions, which entries call by name (`v_max_f32`)."""

    def __init__(self, environment, library, memory=None):
        self.names = environment
        self.library = library
        self.memory = memory

    def block(self, statements):
        for statement in statements:
            getattr(self, "do_" + statement[0])(*statement[1:])

    # Statements

    def do_do(self, expression):
        self.value(expression)

    def do_set(self, place, operator, expression):
        value = self.value(expression)
        if operator:
            value = self.operate(operator, self.value(place), value)
        self.store(place, value)

    def do_if(self, arms, otherwise):
        for condition, body in arms:
            if self.value(condition).true():
                return self.block(body)
        return self.block(otherwise)

    def do_for(self, name, first, last, body):
        for i in range(self.value(first).number(), self.value(last).number() + 1):
            self.names[name] = signed(i)
            try:
                self.block(body)
            except Break:
                break

    def do_declare(self, name, kind, width, count):
        if name in self.names and name.isupper():
            return
        if count is None:
            self.names[name] = Value(kind, width, 0)
        elif name not in self.names:
            self.names[name] = [Value(kind, width, 0)] * self.value(count).number()

    def do_lambda(self, name, parameters, body):
        self.names[name] = (parameters, body)

    def do_return(self, expression):
        raise Return(self.value(expression))

    def do_break(self):
        raise Break

    # Places

    def locate(self, place):
        """(name, array indices, bit offset, width or None)"""
        kind = place[0]
        if kind == "name":
            return place[1], (), 0, None
        name, indices, offset, width = self.locate(place[1])
        if kind == "type":
            return name, indices, offset, place[3]
        if kind == "slice":
            low = self.value(place[3]).number()
            return name, indices, offset + low, self.value(place[2]).number() - low + 1
        index = self.value(place[2]).number()
        held = self.names.get(name)
        for i in indices:
            held = held[i]
        if isinstance(held, list) or name == "MEM":
            return name, indices + (index,), offset, None
        return name, indices, offset + index, 1

    def store(self, place, value):
        if place[0] == "concat":
            for part in reversed(place[1]):
                _, _, _, width = self.locate(part)
                self.store(part, Value("b", width, value.bits))
                value = Value("b", value.width, value.bits >> width)
            return
        if place[0] == "member":
            self.names[f"{place[1][1]}.{place[2]}"] = value
            return
        kind = place[2] if place[0] == "type" else None
        name, indices, offset, width = self.locate(place)
        if kind == "f" and value.kind == "f" and value.width != width:
            value = v.convert(value, "f", width)
        if name == "MEM":
            self.memory.store(indices[0], width // 8, value.bits & ((1 << width) - 1))
            return
        if indices:
            array = self.names[name]
            for i in indices[:-1]:
                array = array[i]
            old = array[indices[-1]]
        else:
            old = self.names.get(name)
        if width is None:
            new = value if old is None or old.kind == value.kind else v.convert(value, old.kind, old.width)
            if old is not None and old.kind == "b":
                new = Value("b", old.width, value.number() if value.kind != "f" else value.bits)
        elif old is None:
            new = Value(kind or "u", max(width + offset, width), (value.bits & ((1 << width) - 1)) << offset)
        else:
            mask = ((1 << width) - 1) << offset
            bits = old.bits & ~mask | value.bits << offset & mask
            new = Value(old.kind, max(old.width, width + offset), bits)
        if indices:
            array[indices[-1]] = new
        else:
            self.names[name] = new

    # Expressions

    def value(self, expression):
        return getattr(self, "of_" + expression[0])(*expression[1:])

    def of_number(self, number):
        return number

    def of_name(self, name):
        found = self.names.get(name)
        if found is None:
            found = CONSTANTS.get(name)
        if found is None:
            raise Undefined(name)
        return found

    def of_type(self, inner, kind, width):
        if inner[0] == "index" and inner[1] == ("name", "MEM"):
            address = self.value(inner[2]).number()
            return Value(kind, width, self.memory.load(address, width // 8))
        if inner[0] == "name" and inner[1] in ("INF", "NAN"):
            return Value("f", width, v.infinity(width) if inner[1] == "INF" else v.quiet_nan(width))
        return self.value(inner).read_as(kind, width)

    def of_member(self, inner, name):
        return self.value(("name", f"{inner[1]}.{name}"))

    def of_index(self, inner, index):
        held = self.value(inner)
        at = self.value(index).number()
        if isinstance(held, list):
            return held[at]
        return Value("u", 1, held.bits >> at)

    def of_slice(self, inner, high, low):
        first, last = self.value(low).number(), self.value(high).number()
        bits = self.value(inner).bits
        if last < first:
            # Written the other way round, a slice is reversed.
            width = first - last + 1
            return Value("b", width, int(format(bits >> last & ((1 << width) - 1), f"0{width}b")[::-1], 2))
        return Value("b", last - first + 1, bits >> first)

    def of_cast(self, kind, width, inner):
        if width == 1201 and inner[0] == "binary":
            return Value("b", 1201, two_over_pi())
        if kind == "f" and inner[0] == "number" and inner[1].bits >= v.infinity(width):
            # `32'F(0xffc00000)` and the like mean these bits.
            return inner[1].read_as("f", width)
        return v.convert(self.value(inner), kind, width)

    def of_concat(self, parts):
        bits, width = 0, 0
        for part in map(self.value, parts):
            bits, width = bits << part.width | part.bits, width + part.width
        return Value("b", width, bits)

    def of_choose(self, condition, first, second):
        return self.value(first if self.value(condition).true() else second)

    def of_unary(self, operator, inner):
        value = self.value(inner)
        if operator == "!":
            return boolean(not value.true())
        if operator == "~":
            return Value(value.kind, max(value.width, 32) if value.width > 1 else 1, ~value.bits)
        if operator == "-":
            if value.kind == "f":
                return Value("f", value.width, value.bits ^ 1 << (value.width - 1))
            return Value(value.kind, max(value.width, 32), -value.number())
        return value

    def of_binary(self, operator, left, right):
        if operator == "==" and right[:2] == ("type", ("name", "DENORM")):
            value = self.value(left)
            magnitude = value.bits & ((1 << (value.width - 1)) - 1)
            return boolean(magnitude != 0 and v.exponent(value) == 0)
        first = self.value(left)
        if operator == "&&":
            return boolean(first.true() and self.value(right).true())
        if operator == "||":
            return boolean(first.true() or self.value(right).true())
        return self.operate(operator, first, self.value(right))

    @staticmethod
    def operate(operator, a, b):
        if operator in ("==", "!=", "<>", "<", ">", "<=", ">="):
            return boolean(v.compare(operator, a, b))
        if operator == "**":
            return Value("p", 0, b.number()) if b.kind != "f" and a.number() == 2 else power(a, b)
        if "f" in (a.kind, b.kind):
            return v.float_operation(operator, a, b)
        return v.integer_operation(operator, a, b)

    def of_call(self, name, arguments):
        given = [self.value(a) for a in arguments]
        function = self.names.get(name)
        if isinstance(function, tuple):
            return self.apply(function, given)
        function = FUNCTIONS.get(name) or conversion(name)
        if function:
            return function(*given)
        body = self.library(name)
        if body is None:
            raise Undefined(name + "()")
        inner = {"D0": Value("b", 64, 0), "WAVE_MODE.IEEE": self.names.get("WAVE_MODE.IEEE")}
        inner.update((f"S{i}", Value("b", 64, value.bits)) for i, value in enumerate(given))
        run = Run(inner, self.library)
        run.block(body)
        return Value(given[0].kind, given[0].width, run.names["D0"].bits)

    def apply(self, function, given):
        parameters, body = function
        outer = self.names
        self.names = dict(outer, **dict(zip(parameters, given)))
        try:
            self.block(body)
        except Return as result:
            return result.value
        finally:
            self.names = outer
        raise Undefined("a lambda without a result")


__all__ = ["Run", "Undefined", "Fraction"]
