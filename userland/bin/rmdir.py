"""rmdir [-p] DIRECTORY...: removes empty directories."""

from __future__ import annotations

from userland.command import Options, UsageError, command, wrong
from userland.lib import System


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "p", work, {"parents": "p"})


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    if not operands:
        raise UsageError("missing operand")
    status = 0
    for operand in operands:
        path = operand
        while path:
            try:
                sys.rmdir(path)
            except OSError as why:
                status = wrong(sys, name, f"failed to remove '{path}'", why)
                break
            path = path.rstrip("/").rpartition("/")[0] if "p" in options else ""
    return status
