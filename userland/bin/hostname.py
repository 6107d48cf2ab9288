"""hostname: the machine's name."""

from __future__ import annotations

from userland.lib import System, say


def main(sys: System, argv: list[str]) -> int:
    say(sys, sys.uname().nodename)
    return 0
