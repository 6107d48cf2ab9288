"""mkfifo [-m MODE] NAME...: makes named pipes."""

from __future__ import annotations

from userland import modes
from userland.command import BadValue, Options, UsageError, command, wrong
from userland.lib import System


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "m:", work, {"mode": "m:"})


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    if not operands:
        raise UsageError("missing operand")
    mode = None
    if "m" in options:
        try:
            mode = modes.symbolic(options["m"], 0o666, False, 0)
        except ValueError:
            raise BadValue("invalid mode") from None
    status = 0
    for path in operands:
        try:
            sys.mkfifo(path, 0o666)
            if mode is not None:
                sys.chmod(path, mode)
        except OSError as why:
            status |= wrong(sys, name, f"cannot create fifo '{path}'", why)
    return status
