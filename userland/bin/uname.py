"""uname [-amnrsvpio]: the system's name."""

from __future__ import annotations

from userland.command import Options, command
from userland.lib import System, say


def main(sys: System, argv: list[str]) -> int:
    long = {
        "all": "a", "kernel-name": "s", "nodename": "n", "kernel-release": "r", "kernel-version": "v", "machine": "m",
        "operating-system": "o",
    }  # fmt: skip
    return command(sys, argv, "amnrsvpio", work, long)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    u = sys.uname()
    values = {"s": u.sysname, "n": u.nodename, "r": u.release, "v": u.version, "m": u.machine, "o": "GNU/Linux"}
    chosen = [letter for letter in "snrvmo" if letter in options or "a" in options] or ["s"]
    say(sys, *(values[letter] for letter in chosen))
    return 0
