"""tail [-n LINES] [-c BYTES] [-f] [-qv] [FILE...]: the last part of files; with +N from the Nth on. -f follows."""

from __future__ import annotations

from userland import abi
from userland.command import Failed, Options, blocks, command, inputs, number
from userland.lib import System, say, write_all

_AGAIN = 1_000_000_000


def main(sys: System, argv: list[str]) -> int:
    if len(argv) > 1 and argv[1][:1] in ("-", "+") and argv[1][1:].isdigit():
        argv = [argv[0], "-n", argv[1] if argv[1][0] == "+" else argv[1][1:], *argv[2:]]
    long = {"lines": "n:", "bytes": "c:", "follow": "f", "quiet": "q", "verbose": "v"}
    return command(sys, argv, "n:c:fqv", work, long)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    unit = options.last("nc", "n")
    text = options.get(unit, "10")
    count = abs(number(text, "number of " + ("lines" if unit == "n" else "bytes")))
    failed = Failed()
    titled = "v" in options or (len(operands) > 1 and "q" not in options)
    first = True
    for file, fd in inputs(sys, name, operands, failed, "cannot open '{}' for reading"):
        if titled:
            say(sys, f"{'' if first else chr(10)}==> {'standard input' if file == '-' else file} <==")
        first = False
        data = b"".join(blocks(sys, name, file, fd, failed, "error reading '{}'"))
        write_all(sys, 1, part(data, count, unit == "n", text[:1] == "+"))
        if "f" in options:
            _follow(sys, name, file, fd, failed)
    return failed.status


def part(data: bytes, count: int, lines: bool, onwards: bool) -> bytes:
    if not lines:
        if onwards:
            return data[max(count - 1, 0) :]
        return data[-count:] if count else b""
    if onwards:
        at = 0
        for _ in range(count - 1):
            at = data.find(b"\n", at) + 1
            if not at:
                return b""
        return data[at:]
    if not count:
        return b""
    at = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(count):
        at = data.rfind(b"\n", 0, at)
        if at < 0:
            return data
    return data[at + 1 :]


def _follow(sys: System, name: str, file: str, fd: int, failed: Failed) -> None:
    """What is added, as it comes; inotify says when."""
    watch = sys.inotify_init1(0)
    try:
        sys.inotify_add_watch(watch, file, abi.IN_MODIFY)
    except OSError:
        watch = -1
    while True:
        for data in blocks(sys, name, file, fd, failed, "error reading '{}'"):
            write_all(sys, 1, data)
        if watch >= 0:
            sys.read(watch, 4096)
        else:
            sys.nanosleep(_AGAIN)
