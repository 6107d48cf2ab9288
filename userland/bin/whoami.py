"""whoami: the name of the effective user."""

from __future__ import annotations

from userland.command import Names
from userland.lib import System, say


def main(sys: System, argv: list[str]) -> int:
    say(sys, Names(sys).user(sys.geteuid()))
    return 0
