"""sync: has everything written to the disks."""

from __future__ import annotations

from userland.lib import System


def main(sys: System, argv: list[str]) -> int:
    sys.sync()
    return 0
