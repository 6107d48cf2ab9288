"""clear: empties the screen."""

from __future__ import annotations

from userland.lib import System, write_all


def main(sys: System, argv: list[str]) -> int:
    write_all(sys, 1, b"\x1b[H\x1b[2J\x1b[3J")
    return 0
