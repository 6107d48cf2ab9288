"""cp [-aDdfilnpPrRTv] SOURCE... TARGET: copies files and trees."""

from __future__ import annotations

from userland.command import Options, UsageError, command, is_directory
from userland.copying import Copier, destination
from userland.lib import System, complain, say


def main(sys: System, argv: list[str]) -> int:
    long = {
        "archive": "a", "recursive": "r", "force": "f", "no-clobber": "n", "verbose": "v", "preserve": "p?",
        "target-directory": "t:", "no-target-directory": "T", "no-dereference": "P", "interactive": "i",
    }  # fmt: skip
    return command(sys, argv, "adfinpPrRTt:vH", work, long)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    copier = Copier(sys, name)
    copier.recursive = any(letter in options for letter in "arR")
    copier.preserve = "a" in options or "p" in options
    copier.links = copier.recursive or "P" in options or "d" in options
    copier.verbose, copier.force = "v" in options, "f" in options
    into = "t" in options
    if into:
        operands = [*operands, options["t"]]
    if len(operands) < 2:
        raise UsageError(
            "missing file operand" if not operands else f"missing destination file operand after '{operands[0]}'"
        )
    *sources, target = operands
    inside = "T" not in options and (into or is_directory(sys, target))
    if len(sources) > 1 and not inside:
        complain(
            sys,
            name,
            f"target '{target}': No such file or directory"
            if not there(sys, target)
            else f"target '{target}' is not a directory",
        )
        return 1
    status = 0
    for source in sources:
        place = destination(sys, source, target, inside)
        if there(sys, place):
            if "n" in options:
                continue
            if "i" in options and not asked(sys, name, place):
                continue
        status |= copier.copy(source, place)
    return status


def there(sys: System, path: str) -> bool:
    try:
        sys.lstat(path)
    except OSError:
        return False
    return True


def asked(sys: System, name: str, path: str) -> bool:
    say(sys, f"{name}: overwrite '{path}'? ", end="", fd=2)
    return bool(sys.read(0, 100)[:1].lower() == b"y")
