"""Reads the pseudocode of AMD's ISA documents into nested tuples.

Expressions: ("number", Value), ("name", n), ("type", e, kind, width), ("index", e, i),
("slice", e, high, low), ("cast", kind, width, e), ("call", name, arguments), ("concat", parts),
("unary", op, e), ("binary", op, a, b), ("choose", c, a, b).
Statements: ("set", place, op, e), ("if", [(condition, body)], otherwise), ("for", name, from, to, body),
("declare", name, kind, width, count), ("lambda", name, parameters, body), ("return", e), ("break",),
("do", e).
"""

import re

from values import Value, from_float

TOKEN = re.compile(
    r"""(?P<cast>\d+'[UIFB]\b)
      | (?P<sizedfloat>\d+'\d+\.\d+)
      | (?P<sized>\d+'(?:0x[0-9a-fA-F]+|\d+)U?)
      | (?P<float>\d+\.\d+(?:[eE][-+]?\d+)?F?)
      | (?P<integer>0x[0-9a-fA-F]+(?:ULL|LL|U|L)?|\d+(?:ULL|LL|U|L|F)?)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<op>\*\*|<<|>>|<=|>=|==|!=|<>|&&|\|\||\+=|-=|[-+*/%&|^~!<>=?:;,.(){}\[\]])
      | (?P<space>\s+)""",
    re.X,
)
TYPE = re.compile(r"(bf|[uifb])(\d+)$")
PRECEDENCE = [
    ["||"], ["&&"], ["|"], ["^"], ["&"], ["==", "!=", "<>"], ["<", ">", "<=", ">="], ["<<", ">>"],
    ["+", "-"], ["*", "/", "%"],
]
ENDS = {"endif", "elsif", "else", "endfor", ")"}


class Unreadable(Exception):
    """The text is not of this language (some entries are prose)."""


def tokens(text):
    found, at = [], 0
    text = re.sub(r"//[^\n]*", "", text)
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise Unreadable(f"unexpected text {text[at:at + 20]!r}")
        if match.lastgroup != "space":
            found.append((match.lastgroup, match.group()))
        at = match.end()
    return found + [("end", "")]


class Parser:
    def __init__(self, text):
        self.tokens = tokens(text)
        self.at = 0

    def peek(self, ahead=0):
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)][1]

    def next(self):
        token = self.tokens[self.at]
        self.at += 1
        return token

    def accept(self, text):
        if self.peek() == text:
            self.at += 1
            return True
        return False

    def expect(self, text):
        if not self.accept(text):
            raise Unreadable(f"{text!r} expected, not {self.peek()!r}")

    def block(self):
        statements = []
        while True:
            while self.accept(";"):
                pass
            if self.tokens[self.at][0] == "end" or self.peek() in ENDS:
                return statements
            statements.append(self.statement())

    def statement(self):
        if self.accept("if"):
            return self.branch()
        if self.accept("for"):
            name = self.next()[1]
            self.expect("in")
            first = self.expression()
            self.expect(":")
            last = self.expression()
            self.expect("do")
            body = self.block()
            self.expect("endfor")
            return ("for", name, first, last, body)
        if self.accept("declare"):
            name = self.next()[1]
            self.expect(":")
            kind, width = self.cast_type(self.next())
            count = None
            if self.accept("["):
                count = self.expression()
                self.expect("]")
            return ("declare", name, kind, width, count)
        if self.accept("return"):
            return ("return", self.expression())
        if self.accept("break"):
            return ("break",)
        if self.peek(1) == "=" and self.peek(2) == "lambda":
            return self.function()
        place = self.expression()
        for operator in ("=", "+=", "-="):
            if self.accept(operator):
                return ("set", place, operator[:-1], self.expression())
        return ("do", place)

    def branch(self):
        arms, otherwise = [], []
        while True:
            condition = self.expression()
            self.expect("then")
            arms.append((condition, self.block()))
            if self.accept("elsif"):
                continue
            if self.accept("else"):
                otherwise = self.block()
            self.expect("endif")
            return ("if", arms, otherwise)

    def function(self):
        name = self.next()[1]
        self.at += 2
        self.expect("(")
        parameters = [self.next()[1]]
        while self.accept(","):
            parameters.append(self.next()[1])
        self.expect(")")
        self.expect("(")
        body = self.block()
        self.expect(")")
        if len(body) == 1 and body[0][0] == "do":
            body = [("return", body[0][1])]
        return ("lambda", name, parameters, body)

    def expression(self):
        condition = self.binary(0)
        if self.accept("?"):
            first = self.expression()
            self.expect(":")
            return ("choose", condition, first, self.expression())
        return condition

    def binary(self, level):
        if level == len(PRECEDENCE):
            return self.power()
        left = self.binary(level + 1)
        while self.peek() in PRECEDENCE[level] and self.tokens[self.at][0] == "op":
            operator = self.next()[1]
            left = ("binary", operator, left, self.binary(level + 1))
        return left

    def power(self):
        base = self.unary()
        return ("binary", "**", base, self.power()) if self.accept("**") else base

    def unary(self):
        for operator in ("-", "~", "!", "+"):
            if self.accept(operator):
                return ("unary", operator, self.unary())
        return self.postfix()

    def postfix(self):
        value = self.primary()
        while True:
            if self.accept("."):
                match = TYPE.match(self.peek())
                if match:
                    self.at += 1
                    value = ("type", value, match[1], int(match[2]))
                else:
                    value = ("member", value, self.next()[1])
            elif self.accept("["):
                first = self.expression()
                if self.accept(":"):
                    value = ("slice", value, first, self.expression())
                else:
                    value = ("index", value, first)
                self.expect("]")
            else:
                return value

    @staticmethod
    def cast_type(token):
        if token[0] != "cast":
            raise Unreadable(f"a type expected, not {token[1]!r}")
        width, kind = token[1].split("'")
        return kind.lower(), int(width)

    def primary(self):
        group, text = self.next()
        if group == "cast":
            kind, width = self.cast_type((group, text))
            self.expect("(")
            inner = self.expression()
            self.expect(")")
            return ("cast", kind, width, inner)
        if group == "sized":
            width, digits = text.split("'")
            return ("number", Value("u", int(width), int(digits.rstrip("U"), 0)))
        if group == "sizedfloat":
            width, digits = text.split("'")
            return ("number", from_float(int(width), float(digits)))
        if group == "float":
            width = 32 if text.endswith("F") else 64
            return ("number", from_float(width, float(text.rstrip("F"))))
        if group == "integer":
            return ("number", integer(text))
        if group == "name":
            if self.accept("("):
                arguments = []
                while not self.accept(")"):
                    arguments.append(self.expression())
                    self.accept(",")
                return ("call", text, arguments)
            return ("name", text)
        if text == "(":
            inner = self.expression()
            self.expect(")")
            return inner
        if text == "{":
            parts = [self.expression()]
            while self.accept(","):
                parts.append(self.expression())
            self.expect("}")
            return ("concat", parts)
        raise Unreadable(f"unexpected {text!r}")


def integer(text):
    hexadecimal = text.startswith("0x")
    suffix = re.search(r"(ULL|LL|U|L)?$" if hexadecimal else r"(ULL|LL|U|L|F)?$", text)[0]
    number = int(text[: len(text) - len(suffix)], 0)
    if suffix == "F":
        return from_float(32, float(number))
    width = 64 if "LL" in suffix or number >> 32 else 32
    return Value("u" if "U" in suffix or hexadecimal and number >> 31 else "i", width, number)


def parse(text):
    parser = Parser(text)
    try:
        statements = parser.block()
    except IndexError:
        raise Unreadable("the text ends early") from None
    if parser.tokens[parser.at][0] != "end":
        raise Unreadable(f"unexpected {parser.peek()!r}")
    return statements
