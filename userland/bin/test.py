"""test EXPRESSION, [ EXPRESSION ]."""

from __future__ import annotations

from userland.lib import System, complain
from userland.sh.condition import ConditionError, test


def main(sys: System, argv: list[str]) -> int:
    name = argv[0].rpartition("/")[2]
    try:
        return int(not test(sys, name, argv[1:]))
    except ConditionError as why:
        complain(sys, name, why)
        return 2
