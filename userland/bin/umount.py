"""umount [-fl] DIRECTORY...: takes filesystems away."""

from __future__ import annotations

from userland import abi
from userland.command import Options, UsageError, command, wrong
from userland.lib import System


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "fl", work, {"force": "f", "lazy": "l"})


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    if not operands:
        raise UsageError("bad usage")
    flags = (abi.MNT_DETACH if "l" in options else 0) | (abi.MNT_FORCE if "f" in options else 0)
    status = 0
    for path in operands:
        try:
            sys.umount2(path, flags)
        except OSError as why:
            status = 32 * wrong(sys, name, path, why)
    return status
