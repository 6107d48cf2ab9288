"""printf and echo: formats and escapes (POSIX.1 printf, echo as XSI has it), for the builtins and for /bin/printf."""

from __future__ import annotations

import re
from collections.abc import Callable

ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
SPEC = re.compile(r"%([-+ #0]*)(\*|\d+)?(?:\.(\*|-?\d+)?)?([diouxXeEfFgGcsb%])")


def byte(value: int) -> str:
    """A byte, as text that will be encoded again."""
    return bytes((value & 0xFF,)).decode("utf-8", "surrogateescape")


def unescape(text: str, zero: bool) -> tuple[str, bool]:
    """Backslash escapes. `zero`: octal is \\0ooo, as echo and %b have it; else \\ooo, as a format. (text, whether \\c
    ended it).
    """
    if "\\" not in text:
        return text, False
    out: list[str] = []
    at = 0
    while at < len(text):
        c = text[at]
        at += 1
        if c != "\\" or at >= len(text):
            out.append(c)
            continue
        c = text[at]
        at += 1
        if c in ESCAPES:
            out.append(ESCAPES[c])
        elif c == "c" and zero:
            return _join(out), True
        elif c in "01234567" and not (zero and c != "0"):
            start = at if zero else at - 1
            end = start
            while end < len(text) and end < start + 3 and text[end] in "01234567":
                end += 1
            out.append(byte(int(text[start:end] or "0", 8)))
            at = end
        else:
            out.append("\\" + c)
    return _join(out), False


def _join(parts: list[str]) -> str:
    """Bytes given one by one may be characters together."""
    return "".join(parts).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def echo(words: list[str]) -> str:
    """What dash's echo writes."""
    newline = "\n"
    if words and words[0] == "-n":
        words, newline = words[1:], ""
    text, ended = unescape(" ".join(words), True)
    return text if ended else text + newline


class Printf:
    """One run of printf: the format is used again while arguments are left."""

    __slots__ = ("arguments", "at", "complain", "status", "stopped")

    def __init__(self, arguments: list[str], complain: Callable[[str, str], None]) -> None:
        self.arguments = arguments
        self.complain = complain
        self.at = 0
        self.status = 0
        self.stopped = False

    def next(self) -> str | None:
        if self.at < len(self.arguments):
            self.at += 1
            return self.arguments[self.at - 1]
        return None

    def number(self, text: str | None) -> int:
        if not text:
            if text == "":
                self.wrong(text, "expected numeric value")
            return 0
        if text[0] in "'\"" and len(text) > 1:
            return ord(text[1])
        match = re.match(r"\s*([-+]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)", text)
        if match is None:
            self.wrong(text, "expected numeric value")
            return 0
        if match.end() != len(text):
            self.wrong(text, "not completely converted")
        digits = match[2]
        base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
        value = int(digits, base) * (-1 if match[1] == "-" else 1)
        return max(min(value, (1 << 64) - 1), -(1 << 63))

    def real(self, text: str | None) -> float:
        if not text:
            return 0.0
        if text[0] in "'\"" and len(text) > 1:
            return float(ord(text[1]))
        try:
            return float(int(text, 16)) if text[:2] in ("0x", "0X") else float(text)
        except ValueError:
            self.wrong(text, "expected numeric value")
            return 0.0

    def wrong(self, text: str, why: str) -> None:
        self.complain(text, why)
        self.status = 1

    def format(self, template: str) -> str:
        template, _ = unescape(template, False) if "\\" in template else (template, False)
        out: list[str] = []
        while True:
            before = self.at
            out += self._once(template)
            if self.stopped or self.at >= len(self.arguments) or self.at == before:
                return "".join(out)

    def _once(self, template: str) -> list[str]:
        out: list[str] = []
        at = 0
        while (percent := template.find("%", at)) >= 0:
            out.append(template[at:percent])
            match = SPEC.match(template, percent)
            if match is None:
                self.wrong(template[percent:], "invalid directive")
                self.stopped = True
                return out
            at = match.end()
            out.append(self._convert(match))
            if self.stopped:
                return out
        out.append(template[at:])
        return out

    def _convert(self, match: re.Match[str]) -> str:
        flags, width, precision, kind = match[1], match[2], match[3], match[4]
        if kind == "%":
            return "%"
        if width == "*":
            wide = self.number(self.next())
            flags, width = (flags + "-", str(-wide)) if wide < 0 else (flags, str(wide))
        if precision == "*":
            exact = self.number(self.next())
            precision = None if exact < 0 else str(exact)
        elif precision is None and "." in match[0]:
            precision = "0"
        if precision is not None and precision.startswith("-"):
            precision = None
        spec = f"%{flags}{width or ''}" + (f".{precision}" if precision is not None else "")
        if kind in "csb":
            return self._text(kind, flags, width, precision)
        if kind in "di":
            return (spec + "d") % max(min(self.number(self.next()), (1 << 63) - 1), -(1 << 63))
        if kind in "ouxX":
            value = self.number(self.next()) % (1 << 64)
            return _unsigned(value, kind, flags, int(width or 0), precision)
        return (spec + kind) % self.real(self.next())

    def _text(self, kind: str, flags: str, width: str | None, precision: str | None) -> str:
        text = self.next() or ""
        if kind == "c":
            text = text[:1]
        elif kind == "b":
            text, self.stopped = unescape(text, True)
        if precision is not None and kind != "c":
            text = text[: int(precision)]
        return text.ljust(int(width or 0)) if "-" in flags else text.rjust(int(width or 0))


def _unsigned(value: int, kind: str, flags: str, width: int, precision: str | None) -> str:
    """%o, %u, %x, %X of C: Python's own differ for `#`."""
    digits = format(value, {"o": "o", "u": "d", "x": "x", "X": "X"}[kind])
    if precision is not None:
        digits = digits.rjust(int(precision), "0")
        if not value and precision == "0":
            digits = ""
    prefix = ""
    if "#" in flags and value:
        if kind == "o" and not digits.startswith("0"):
            digits = "0" + digits
        elif kind in "xX":
            prefix = "0" + kind
    if "-" in flags:
        return (prefix + digits).ljust(width)
    if "0" in flags and precision is None:
        return prefix + digits.rjust(width - len(prefix), "0")
    return (prefix + digits).rjust(width)
