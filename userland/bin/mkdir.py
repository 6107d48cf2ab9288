"""mkdir [-pv] [-m MODE] DIRECTORY...: makes directories."""

from __future__ import annotations

from userland import modes
from userland.command import BadValue, Options, UsageError, command, is_directory, wrong
from userland.lib import System, say


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "pvm:", work, {"parents": "p", "verbose": "v", "mode": "m:"})


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    if not operands:
        raise UsageError("missing operand")
    mode = None
    if "m" in options:
        try:
            mode = modes.symbolic(options["m"], 0o777, True, 0)
        except ValueError:
            raise BadValue(f"invalid mode '{options['m']}'") from None
    status = 0
    for path in operands:
        status |= make(sys, name, path, mode, "p" in options, "v" in options)
    return status


def make(sys: System, name: str, path: str, mode: int | None, parents: bool, verbose: bool) -> int:
    if parents:
        if is_directory(sys, path):
            return 0
        above = path.rstrip("/").rpartition("/")[0]
        if above and not is_directory(sys, above) and make(sys, name, above, None, True, verbose):
            return 1
    try:
        sys.mkdir(path, 0o777)
        if mode is not None:
            sys.chmod(path, mode)
    except OSError as why:
        return wrong(sys, name, f"cannot create directory '{path}'", why)
    if verbose:
        say(sys, f"{name}: created directory '{path}'")
    return 0
