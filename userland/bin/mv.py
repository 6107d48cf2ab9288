"""mv [-finTv] SOURCE... TARGET: renames; copies and removes where the target is on another filesystem."""

from __future__ import annotations

from userland import abi
from userland.bin.cp import asked, there
from userland.command import Options, UsageError, command, is_directory, wrong
from userland.copying import Copier, destination, remove
from userland.lib import System, complain, say


def main(sys: System, argv: list[str]) -> int:
    long = {"force": "f", "interactive": "i", "no-clobber": "n", "verbose": "v", "target-directory": "t:"}
    return command(sys, argv, "finTt:v", work, long)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
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
            f"target '{target}': " + ("Not a directory" if there(sys, target) else "No such file or directory"),
        )
        return 1
    status = 0
    for source in sources:
        place = destination(sys, source, target, inside)
        last = options.last("fin")
        if there(sys, place) and (last == "n" or (last == "i" and not asked(sys, name, place))):
            continue
        status |= move(sys, name, source, place)
        if "v" in options and not status:
            say(sys, f"renamed '{source}' -> '{place}'")
    return status


def move(sys: System, name: str, source: str, target: str) -> int:
    try:
        st = sys.lstat(source)
    except OSError as why:
        return wrong(sys, name, f"cannot stat '{source}'", why)
    try:
        other = sys.lstat(target)
        if (st.st_dev, st.st_ino) == (other.st_dev, other.st_ino):
            complain(sys, name, f"'{source}' and '{target}' are the same file")
            return 1
    except OSError:
        pass  # nothing is there
    try:
        sys.rename(source, target)
        return 0
    except OSError as why:
        if why.errno == abi.EINVAL:
            complain(sys, name, f"cannot move '{source}' to a subdirectory of itself, '{target}'")
            return 1
        if why.errno != abi.EXDEV:
            return wrong(sys, name, f"cannot move '{source}' to '{target}'", why)
    copier = Copier(sys, name)
    copier.recursive = copier.preserve = copier.links = True
    return copier.copy(source, target) or remove(sys, name, source, True, True, False, True)
