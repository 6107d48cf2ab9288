"""basename NAME [SUFFIX], basename -a NAME..., -s SUFFIX: the last part of names."""

from __future__ import annotations

from userland.command import Options, UsageError, command
from userland.lib import System, say


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "as:z", work, {"multiple": "a", "suffix": "s:"}, permute=False)


def last(path: str, suffix: str) -> str:
    name = path.rstrip("/").rpartition("/")[2] or ("/" if path else "")
    return name[: -len(suffix)] if suffix and name != suffix and name.endswith(suffix) else name


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    if not operands:
        raise UsageError("missing operand")
    if "a" in options or "s" in options:
        for path in operands:
            say(sys, last(path, options.get("s")))
    else:
        if len(operands) > 2:
            raise UsageError(f"extra operand '{operands[2]}'")
        say(sys, last(operands[0], operands[1] if len(operands) > 1 else ""))
    return 0
