"""nproc: how many CPUs one may use."""

from __future__ import annotations

from userland.lib import System, say


def main(sys: System, argv: list[str]) -> int:
    say(sys, len(sys.sched_getaffinity(0)))
    return 0
