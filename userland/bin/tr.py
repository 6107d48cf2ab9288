"""tr [-cCdst] SET1 [SET2]: translates, squeezes or deletes characters (bytes)."""

from __future__ import annotations

import re

from userland.command import BadValue, Failed, Options, UsageError, blocks, command
from userland.lib import System, write_all

_CLASSES = {
    "alpha": rb"[A-Za-z]", "digit": rb"[0-9]", "alnum": rb"[A-Za-z0-9]", "upper": rb"[A-Z]", "lower": rb"[a-z]",
    "space": rb"[ \t\n\r\f\v]", "blank": rb"[ \t]", "punct": rb"[!-/:-@\[-`{-~]", "print": rb"[ -~]",
    "graph": rb"[!-~]", "cntrl": rb"[\x00-\x1f\x7f]", "xdigit": rb"[0-9A-Fa-f]",
}  # fmt: skip
_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}


def main(sys: System, argv: list[str]) -> int:
    long = {"complement": "c", "delete": "d", "squeeze-repeats": "s", "truncate-set1": "t"}
    return command(sys, argv, "cCdst", work, long, permute=False)


def expand(text: str, fill: int = 0) -> list[int]:
    """The bytes of a set, in order."""
    out: list[int] = []
    data = text.encode("utf-8", "surrogateescape").decode("latin-1")
    at = 0

    def one() -> int:
        nonlocal at
        c = data[at]
        at += 1
        if c != "\\" or at >= len(data):
            return ord(c)
        match = re.compile("[0-7]{1,3}").match(data, at)
        if match:
            at = match.end()
            return int(match[0], 8) & 0xFF
        c = data[at]
        at += 1
        return _ESCAPES.get(c, ord(c))

    while at < len(data):
        match = re.compile(r"\[:(\w+):\]").match(data, at)
        if match:
            if match[1] not in _CLASSES:
                raise BadValue(f"invalid character class '{match[1]}'")
            wanted = re.compile(_CLASSES[match[1]])
            out += [c for c in range(256) if wanted.match(bytes((c,)))]
            at = match.end()
            continue
        match = re.compile(r"\[(.)\*(\d*)\]", re.S).match(data, at)
        if match:
            count = int(match[2], 8 if match[2][:1] == "0" else 10) if match[2] else 0
            out += [ord(match[1])] * (count or max(fill - len(out), 0))
            at = match.end()
            continue
        low = one()
        if data[at : at + 1] == "-" and at + 1 < len(data):
            at += 1
            high = one()
            if high < low:
                raise BadValue(f"range-endpoints of '{chr(low)}-{chr(high)}' are in reverse collating sequence order")
            out += range(low, high + 1)
        else:
            out.append(low)
    return out


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    delete, squeeze = "d" in options, "s" in options
    if not operands:
        raise UsageError("missing operand")
    if len(operands) < 2 and not delete and not squeeze:
        raise UsageError(f"missing operand after '{operands[0]}'\nTwo strings must be given when translating.")
    if len(operands) > 2 or (delete and not squeeze and len(operands) > 1):
        raise UsageError(f"extra operand '{operands[-1]}'")
    first = expand(operands[0])
    if "c" in options or "C" in options:
        marks = set(first)
        first = [c for c in range(256) if c not in marks]
    second = expand(operands[1], len(first)) if len(operands) > 1 else []
    table = bytes(range(256))
    if not delete and len(operands) > 1:
        if "t" in options:
            first = first[: len(second)]
        if not second:
            raise UsageError("when not truncating set1, string2 must be non-empty")
        to = second + [second[-1]] * (len(first) - len(second))
        changed = bytearray(table)
        for a, b in zip(first, to):
            changed[a] = b
        table = bytes(changed)
    gone = bytes(first) if delete else b""
    repeats = set(second if len(operands) > 1 else first) if squeeze else set()
    failed = Failed()
    last = -1
    for data in blocks(sys, name, "standard input", 0, failed):
        data = data.translate(table, gone)
        if repeats:
            out = bytearray()
            for c in data:
                if c != last or c not in repeats:
                    out.append(c)
                last = c
            data = bytes(out)
        write_all(sys, 1, data)
    return failed.status
