"""dirname NAME...: names without their last part."""

from __future__ import annotations

from userland.command import Options, UsageError, command
from userland.lib import System, say


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "z", work)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    if not operands:
        raise UsageError("missing operand")
    for path in operands:
        before, slash, _ = path.rstrip("/").rpartition("/")
        say(sys, before.rstrip("/") or ("/" if slash or path.startswith("/") else "."))
    return 0
