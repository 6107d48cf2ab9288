"""head [-n LINES] [-c BYTES] [-qv] [FILE...]: the first part of files. With -n -N: all but the last N."""

from __future__ import annotations

from userland.command import Failed, Options, blocks, command, inputs, number
from userland.lib import System, say, write_all


def main(sys: System, argv: list[str]) -> int:
    if len(argv) > 1 and argv[1][:1] == "-" and argv[1][1:].isdigit():
        argv = [argv[0], "-n", argv[1][1:], *argv[2:]]
    return command(sys, argv, "n:c:qv", work, {"lines": "n:", "bytes": "c:", "quiet": "q", "verbose": "v"})


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    unit = options.last("nc", "n")
    count = number(options.get(unit, "10"), "number of " + ("lines" if unit == "n" else "bytes"))
    failed = Failed()
    titled = "v" in options or (len(operands) > 1 and "q" not in options)
    first = True
    for file, fd in inputs(sys, name, operands, failed, "cannot open '{}' for reading"):
        if titled:
            say(sys, f"{'' if first else chr(10)}==> {'standard input' if file == '-' else file} <==")
        first = False
        if count < 0:
            data = b"".join(blocks(sys, name, file, fd, failed, "error reading '{}'"))
            if unit == "c":
                write_all(sys, 1, data[:count])
            else:
                lines = _lines(data)
                write_all(sys, 1, b"".join(lines[:count]))
        else:
            _first(sys, name, file, fd, count, unit == "n", failed)
    return failed.status


def _lines(data: bytes) -> list[bytes]:
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _first(sys: System, name: str, file: str, fd: int, count: int, lines: bool, failed: Failed) -> None:
    if not count:
        return
    for data in blocks(sys, name, file, fd, failed, "error reading '{}'"):
        if lines:
            at = -1
            found = data.count(b"\n")
            if found < count:
                count -= found
                write_all(sys, 1, data)
                continue
            for _ in range(count):
                at = data.index(b"\n", at + 1)
            write_all(sys, 1, data[: at + 1])
            return
        write_all(sys, 1, data[:count])
        count -= len(data)
        if count <= 0:
            return
