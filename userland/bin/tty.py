"""tty [-s]: the name of the terminal at standard input."""

from __future__ import annotations

from userland.lib import System, say
from userland.terminal import isatty


def main(sys: System, argv: list[str]) -> int:
    there = isatty(sys, 0)
    if "-s" not in argv[1:]:
        say(sys, sys.readlink("/proc/self/fd/0") if there else "not a tty")
    return 0 if there else 1
