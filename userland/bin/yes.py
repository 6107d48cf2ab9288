"""yes [WORD...]: writes a line again and again."""

from __future__ import annotations

from userland.lib import System, write_all


def main(sys: System, argv: list[str]) -> int:
    line = (" ".join(argv[1:]) or "y").encode("utf-8", "surrogateescape") + b"\n"
    data = line * max(8192 // len(line), 1)
    while True:
        write_all(sys, 1, data)
