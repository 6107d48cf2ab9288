"""printf FORMAT [ARGUMENT...]."""

from __future__ import annotations

from userland.lib import System, complain, write_all
from userland.sh.printf import Printf


def main(sys: System, argv: list[str]) -> int:
    words = argv[1:]
    if words[:1] == ["--"]:
        words = words[1:]
    if not words:
        complain(sys, "printf", "missing operand")
        return 1
    run = Printf(words[1:], lambda why: complain(sys, "printf", why))
    write_all(sys, 1, run.format(words[0]).encode("utf-8", "surrogateescape"))
    return run.status
