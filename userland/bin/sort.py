"""sort [-bcdfhimnrsuVz] [-k FIELD[.CHAR][OPTIONS][,...]] [-t SEP] [-o FILE] [FILE...]: sorts lines, by their bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

from userland import abi
from userland.command import BadValue, Failed, Options, blocks, command, inputs
from userland.lib import System, say, write_all

_NUMBER = re.compile(rb"\s*(-?)(\d*)(?:\.(\d*))?")
_UNITS = b"KMGTPEZY"


def main(sys: System, argv: list[str]) -> int:
    long = {
        "numeric-sort": "n", "reverse": "r", "unique": "u", "key": "k:", "field-separator": "t:", "output": "o:",
        "ignore-case": "f", "human-numeric-sort": "h", "stable": "s", "check": "c", "ignore-leading-blanks": "b",
        "version-sort": "V", "dictionary-order": "d", "merge": "m", "zero-terminated": "z",
    }  # fmt: skip
    return command(sys, argv, "bcCdfghik:mMno:rst:uVz", work, long, trouble=2)


def numeric(text: bytes) -> tuple[int, Any]:
    """The number at the start, exactly."""
    match = _NUMBER.match(text)
    assert match is not None
    whole, fraction = match[2] or b"0", (match[3] or b"").ljust(40, b"0")[:40]
    value = int(whole) * 10**40 + int(fraction or b"0")
    return (-value if match[1] else value), None


def human(text: bytes) -> tuple[int, Any]:
    match = re.compile(rb"\s*-?[\d.]*([KkMGTPEZY]?)").match(text)
    unit = match[1].upper() if match else b""
    power = _UNITS.index(unit) + 1 if unit else 0
    value = numeric(text)[0]
    return (power if value > 0 else -power if value < 0 else 0), value


def version(text: bytes) -> Any:
    return [(int(part), b"") if part.isdigit() else (-1, part) for part in re.findall(rb"\d+|\D+", text)]


class Key:
    """-k: where it begins and ends, and how it is compared."""

    __slots__ = ("end", "flags", "start")

    def __init__(self, text: str) -> None:
        match = re.fullmatch(r"(\d+)(?:\.(\d+))?([bdfghinrMV]*)(?:,(\d+)(?:\.(\d+))?([bdfghinrMV]*))?", text)
        if match is None or match[1] == "0":
            raise BadValue(f"invalid key: '{text}'")
        self.start = (int(match[1]), int(match[2] or 1), "b" in match[3])
        self.end = (int(match[4]), int(match[5] or 0), "b" in (match[6] or "")) if match[4] else None
        self.flags = match[3] + (match[6] or "")

    def of(self, line: bytes, separator: bytes) -> bytes:
        spans = fields(line, separator)

        def place(field: int, char: int, blanks: bool) -> int:
            if field > len(spans):
                return len(line)
            low, high = spans[field - 1]
            if blanks:
                while low < high and line[low : low + 1].isspace():
                    low += 1
            return min(low + char, len(line))

        begin = place(self.start[0], self.start[1] - 1, self.start[2])
        if self.end is None:
            return line[begin:]
        field, char, blanks = self.end
        if field > len(spans):
            return line[begin:]
        end = spans[field - 1][1] if not char else place(field, char, blanks)
        return line[begin:end]


def fields(line: bytes, separator: bytes) -> list[tuple[int, int]]:
    if separator:
        spans, at = [], 0
        for part in line.split(separator):
            spans.append((at, at + len(part)))
            at += len(part) + 1
        return spans
    return [match.span() for match in re.finditer(rb"[ \t]*[^ \t]+", line)] or [(0, len(line))]


def comparer(flags: str) -> Callable[[bytes], Any]:
    def key(text: bytes) -> Any:
        if "b" in flags:
            text = text.lstrip(b" \t")
        if "n" in flags or "g" in flags:
            return numeric(text)[0]
        if "h" in flags:
            return human(text)
        if "d" in flags:
            text = re.sub(rb"[^0-9A-Za-z \t]", b"", text)
        if "f" in flags:
            text = text.upper()
        return version(text) if "V" in flags else text

    return key


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    overall = "".join(letter for letter in "bdfghinV" if letter in options)
    separator = options.get("t").encode("utf-8", "surrogateescape")
    keys = [Key(text) for text in options.all("k")]
    reverse = "r" in options
    makers: list[tuple[Key | None, Callable[[bytes], Any], bool]] = []
    for key in keys:
        flags = key.flags or overall
        makers.append((key, comparer(flags), "r" in key.flags if key.flags else reverse))
    if not makers:
        makers.append((None, comparer(overall), reverse))
    end = b"\0" if "z" in options else b"\n"
    failed = Failed()
    lines: list[bytes] = []
    for file, fd in inputs(sys, name, operands, failed, "cannot read: {}"):
        data = b"".join(blocks(sys, name, file, fd, failed, "read failed: {}"))
        found = data.split(end)
        if not found[-1]:
            found.pop()
        lines += found
    plain = len(makers) == 1 and not keys and not overall

    def compare(a: tuple[Any, ...], b: tuple[Any, ...]) -> int:
        for (_, _, backwards), x, y in zip(makers, a[0], b[0]):
            if x != y:
                return (1 if x > y else -1) * (-1 if backwards else 1)
        if "s" in options or "u" in options or a[1] == b[1]:
            return 0
        return (1 if a[1] > b[1] else -1) * (-1 if reverse else 1)

    rows = [
        ([make(line if key is None else key.of(line, separator)) for key, make, _ in makers], line) for line in lines
    ]
    if "c" in options or "C" in options:
        for number in range(1, len(rows)):
            order = compare(rows[number - 1], rows[number])
            if order > 0 or ("u" in options and not order):
                if "c" in options:
                    shown = rows[number][1].decode("utf-8", "surrogateescape")
                    say(sys, f"{name}: {operands[0] if operands else '-'}:{number + 1}: disorder: {shown}", fd=2)
                return 1
        return failed.status
    if plain and "u" not in options:
        lines.sort(reverse=reverse)
    else:
        rows.sort(key=cmp_to_key(compare))
        if "u" in options:
            kept: list[Any] = []
            for row in rows:
                if not kept or compare(kept[-1], row):
                    kept.append(row)
            rows = kept
        lines = [line for _, line in rows]
    fd = 1
    if "o" in options:
        fd = sys.open(options["o"], abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC, 0o666)
    write_all(sys, fd, b"".join(line + end for line in lines))
    return 2 if failed.status else 0
