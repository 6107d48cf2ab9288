"""printf FORMAT [ARGUMENT...]."""

from __future__ import annotations

from userland.lib import System, complain, write_all
from userland.sh.printf import Printf

GNU = {
    "expected numeric value": "expected a numeric value",
    "not completely converted": "value not completely converted",
}


def main(sys: System, argv: list[str]) -> int:
    words = argv[1:]
    if words[:1] == ["--"]:
        words = words[1:]
    if not words:
        complain(sys, "printf", "missing operand")
        return 1
    run = Printf(words[1:], lambda what, why: complain(sys, "printf", f"'{what}': {GNU.get(why, why)}"))
    write_all(sys, 1, run.format(words[0]).encode("utf-8", "surrogateescape"))
    return run.status
