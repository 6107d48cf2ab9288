"""`$((...))` (POSIX.1 section 2.6.4): C's integer expressions on signed 64-bit numbers.

Precedence climbing over a table. `a && b`, `a || b` and `a ? b : c` do not carry out assignments of what they skip.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from userland.sh.syntax import ShellSyntaxError

TOKEN = re.compile(
    r"\s*(?:(0[xX][0-9a-fA-F]+|\d+)|([A-Za-z_]\w*)|(<<=|>>=|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[-+*/%<>=!~&|^?:(),]))"
)
BINARY = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7, ">=": 7, "<<": 8, ">>": 8,
    "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}  # fmt: skip
ASSIGNS = ("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=")


class Variables(Protocol):
    def get(self, name: str) -> str | None: ...
    def set(self, name: str, value: str) -> None: ...


def wrap(value: int) -> int:
    """As a signed 64-bit number."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def number(text: str) -> int:
    """A constant: decimal, 0x hexadecimal or 0 octal. ValueError."""
    text = text.strip()
    sign = 1
    if text[:1] in ("-", "+"):
        sign = -1 if text[0] == "-" else 1
        text = text[1:]
    if text[:2] in ("0x", "0X"):
        return sign * int(text, 16)
    if len(text) > 1 and text[0] == "0":
        return sign * int(text, 8)
    if not text.isdigit():
        raise ValueError(text)
    return sign * int(text)


def _divide(a: int, b: int) -> int:
    if not b:
        raise ShellSyntaxError("division by zero")
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


_CALCULATE: dict[str, Callable[[int, int], int]] = {
    "|": lambda a, b: a | b, "^": lambda a, b: a ^ b, "&": lambda a, b: a & b,
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b, ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b, "<<": lambda a, b: a << (b & 63),
    ">>": lambda a, b: a >> (b & 63), "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
    "/": _divide, "%": lambda a, b: a - b * _divide(a, b),
}  # fmt: skip


class _Expression:
    __slots__ = ("at", "text", "tokens", "variables")

    def __init__(self, text: str, variables: Variables) -> None:
        self.text = text
        self.variables = variables
        self.tokens: list[tuple[str, str]] = []
        self.at = 0
        at = 0
        text = text.rstrip()
        while at < len(text):
            match = TOKEN.match(text, at)
            if match is None:
                raise self.wrong()
            kind = "number" if match[1] else "name" if match[2] else "op"
            self.tokens.append((kind, match[1] or match[2] or match[3]))
            at = match.end()

    def wrong(self) -> ShellSyntaxError:
        return ShellSyntaxError(f'arithmetic expression: expecting primary: "{self.text}"')

    def peek(self) -> str:
        kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("op", "")
        return text if kind == "op" else ""

    def take(self, op: str) -> None:
        if self.peek() != op:
            raise ShellSyntaxError(f'arithmetic expression: expecting "{op}": "{self.text}"')
        self.at += 1

    def comma(self, live: bool) -> int:
        value = self.assignment(live)
        while self.peek() == ",":
            self.at += 1
            value = self.assignment(live)
        return value

    def assignment(self, live: bool) -> int:
        if self.at + 1 < len(self.tokens) and self.tokens[self.at][0] == "name":
            name, (kind, op) = self.tokens[self.at][1], self.tokens[self.at + 1]
            if kind == "op" and op in ASSIGNS:
                self.at += 2
                value = self.assignment(live)
                if live:
                    if op != "=":
                        value = wrap(int(_CALCULATE[op[:-1]](self.value(name), value)))
                    self.variables.set(name, str(value))
                return value
        return self.conditional(live)

    def conditional(self, live: bool) -> int:
        condition = self.binary(1, live)
        if self.peek() != "?":
            return condition
        self.at += 1
        first = self.comma(live and bool(condition))
        self.take(":")
        second = self.conditional(live and not condition)
        return first if condition else second

    def binary(self, least: int, live: bool) -> int:
        left = self.unary(live)
        while (level := BINARY.get(self.peek(), 0)) >= least:
            op = self.peek()
            self.at += 1
            if op in ("&&", "||"):
                skip = (not left) if op == "&&" else bool(left)
                right = self.binary(level + 1, live and not skip)
                left = int(bool(left) and bool(right)) if op == "&&" else int(bool(left) or bool(right))
                continue
            right = self.binary(level + 1, live)
            if live or op not in "/%":
                left = wrap(int(_CALCULATE[op](left, right)))
        return left

    def unary(self, live: bool) -> int:
        op = self.peek()
        if op in ("++", "--"):  # two signs, one after the other
            self.tokens[self.at : self.at + 1] = [("op", op[0]), ("op", op[0])]
            op = op[0]
        if op in ("+", "-", "!", "~"):
            self.at += 1
            value = self.unary(live)
            return {"+": value, "-": wrap(-value), "!": int(not value), "~": ~value}[op]
        if op == "(":
            self.at += 1
            value = self.comma(live)
            self.take(")")
            return value
        if self.at >= len(self.tokens):
            raise self.wrong()
        kind, text = self.tokens[self.at]
        if kind == "op":
            raise self.wrong()
        self.at += 1
        if kind == "name":
            return self.value(text)
        try:
            return wrap(min(number(text), (1 << 63) - 1))
        except ValueError:
            raise self.wrong() from None

    def value(self, name: str) -> int:
        text = self.variables.get(name)
        if not text or not text.strip():
            return 0
        try:
            return wrap(number(text))
        except ValueError:
            raise ShellSyntaxError(f"Illegal number: {text}") from None


def evaluate(text: str, variables: Variables) -> int:
    """The value of an expression; ShellSyntaxError."""
    expression = _Expression(text, variables)
    if not expression.tokens:
        raise expression.wrong()
    value = expression.comma(True)
    if expression.at < len(expression.tokens):
        raise expression.wrong()
    return value
