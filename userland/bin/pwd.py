"""pwd [-LP]: the working directory."""

from __future__ import annotations

from userland.lib import System, say


def main(sys: System, argv: list[str]) -> int:
    name = sys.environ.get("PWD", "") if "-L" in argv[1:] else ""
    if name.startswith("/"):
        try:
            a, b = sys.stat(name), sys.stat(".")
            if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino):
                say(sys, name)
                return 0
        except OSError:
            pass  # the name is stale
    say(sys, sys.getcwd())
    return 0
