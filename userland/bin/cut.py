"""cut -b LIST | -c LIST | -f LIST [-d DELIM] [-s] [FILE...]: parts of lines."""

from __future__ import annotations

from userland.command import Failed, Options, Output, UsageError, command, inputs, lines_in
from userland.lib import System


def main(sys: System, argv: list[str]) -> int:
    long = {"bytes": "b:", "characters": "c:", "fields": "f:", "delimiter": "d:", "only-delimited": "s",
            "output-delimiter": "O:", "complement": "x"}  # fmt: skip
    return command(sys, argv, "b:c:f:d:sn", work, long)


def ranges(text: str) -> list[tuple[int, int]]:
    """Pairs of first and last, from 1; a last of 0 is the end."""
    found = []
    for part in text.replace(" ", ",").split(","):
        low, dash, high = part.partition("-")
        if not (low or high) or not (low or "1").isdigit() or not (high or "1").isdigit():
            raise UsageError(f"invalid range: '{part}'" if part else "fields are numbered from 1")
        first = int(low or 1)
        last = (int(high) if high else 0) if dash else first
        if first < 1 or (last and last < first):
            raise UsageError("fields are numbered from 1" if first < 1 else "invalid decreasing range")
        found.append((first, last))
    return found


def chosen(count: int, spans: list[tuple[int, int]], complement: bool) -> list[int]:
    marks = [False] * count
    for first, last in spans:
        for at in range(first - 1, min(last or count, count)):
            marks[at] = True
    return [at for at, mark in enumerate(marks) if mark != complement]


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    kind = options.last("bcf")
    if not kind:
        raise UsageError("you must specify a list of bytes, characters, or fields")
    spans = ranges(options[kind])
    delimiter = options.get("d", "\t").encode("utf-8", "surrogateescape")
    if len(delimiter) != 1:
        raise UsageError("the delimiter must be a single character")
    between = options.get("O", delimiter.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    failed, out = Failed(), Output(sys)
    for file, fd in inputs(sys, name, operands, failed):
        for line in lines_in(sys, name, file, fd, failed):
            if kind == "f":
                if delimiter not in line:
                    out.write(b"" if "s" in options else line + b"\n")
                    continue
                parts = line.split(delimiter)
                out.write(between.join(parts[at] for at in chosen(len(parts), spans, "x" in options)) + b"\n")
            else:
                out.write(bytes(line[at] for at in chosen(len(line), spans, "x" in options)) + b"\n")
    out.flush()
    return failed.status
