"""true: succeeds."""

from __future__ import annotations

from userland.lib import System


def main(sys: System, argv: list[str]) -> int:
    return 0
