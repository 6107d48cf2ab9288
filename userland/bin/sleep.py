"""sleep NUMBER[smhd]...: waits for the sum."""

from __future__ import annotations

import re

from userland.command import Options, UsageError, command
from userland.lib import System

_SCALE = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "", work)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    if not operands:
        raise UsageError("missing operand")
    total = 0
    for operand in operands:
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)([smhd]?)", operand)
        if match is None:
            raise UsageError(f"invalid time interval '{operand}'")
        total += int(float(match[1]) * _SCALE[match[2]] * 1_000_000_000)
    while total > 0:
        try:
            sys.nanosleep(total)
            return 0
        except InterruptedError as why:
            total = getattr(why, "remaining_ns", 0)
    return 0
