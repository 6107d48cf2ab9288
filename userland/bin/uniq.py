"""uniq [-cdiu] [-f FIELDS] [-s CHARS] [-w CHARS] [INPUT [OUTPUT]]: leaves out repeated lines."""

from __future__ import annotations

import re

from userland import abi
from userland.command import Failed, Options, Output, command, inputs, lines_in
from userland.lib import System


def main(sys: System, argv: list[str]) -> int:
    long = {"count": "c", "repeated": "d", "unique": "u", "ignore-case": "i", "skip-fields": "f:", "skip-chars": "s:"}
    return command(sys, argv, "cdiuf:s:w:", work, long)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    failed = Failed()
    out = Output(sys)
    if len(operands) > 1:
        out.fd = sys.open(operands[1], abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC, 0o666)
    skip = re.compile(rb"(?:[ \t]*[^ \t]+){0,%d}" % int(options.get("f", "0")))
    chars = int(options.get("s", "0"))
    most = int(options["w"]) if "w" in options else None

    def key(line: bytes) -> bytes:
        match = skip.match(line)
        line = line[match.end() if match else 0 :][chars:][:most]
        return line.lower() if "i" in options else line

    def show(line: bytes, count: int) -> None:
        if ("d" in options and count < 2) or ("u" in options and count > 1):
            return
        out.write((b"%7d " % count if "c" in options else b"") + line + b"\n")

    before: bytes | None = None
    count = 0
    for file, fd in inputs(sys, name, operands[:1], failed):
        for line in lines_in(sys, name, file, fd, failed):
            if before is not None and key(line) == key(before):
                count += 1
                continue
            if before is not None:
                show(before, count)
            before, count = line, 1
    if before is not None:
        show(before, count)
    out.flush()
    return failed.status
