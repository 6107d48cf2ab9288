"""which [-a] NAME...: the files that commands are."""

from __future__ import annotations

from userland import abi
from userland.command import Options, command
from userland.lib import System, say


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "a", work)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    status = 0
    for operand in operands:
        places = (
            [operand] if "/" in operand else [f"{d or '.'}/{operand}" for d in sys.environ.get("PATH", "").split(":")]
        )
        found = False
        for place in places:
            try:
                sys.access(place, abi.X_OK)
                if sys.stat(place).st_mode & abi.S_IFMT != abi.S_IFREG:
                    continue
            except OSError:
                continue
            say(sys, place)
            found = True
            if "a" not in options:
                break
        status |= not found
    return int(status)
