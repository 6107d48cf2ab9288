"""ln [-fnsTv] TARGET... LINK: makes links, symbolic ones with -s."""

from __future__ import annotations

from userland.command import Options, UsageError, command, is_directory, wrong
from userland.copying import destination
from userland.lib import System, say


def main(sys: System, argv: list[str]) -> int:
    long = {"symbolic": "s", "force": "f", "no-dereference": "n", "verbose": "v", "no-target-directory": "T"}
    return command(sys, argv, "fnsTv", work, long)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    if not operands:
        raise UsageError("missing file operand")
    if len(operands) == 1:
        operands = [*operands, "."]
    *targets, link = operands
    inside = "T" not in options and is_directory(sys, link, follow="n" not in options)
    status = 0
    for target in targets:
        place = destination(sys, target, link, inside)
        kind = "symbolic" if "s" in options else "hard"
        try:
            if "f" in options:
                try:
                    sys.unlink(place)
                except FileNotFoundError:
                    pass  # so much the better
            if "s" in options:
                sys.symlink(target, place)
            else:
                sys.link(target, place)
        except OSError as why:
            shown = f"failed to create {kind} link '{place}'"
            if kind == "hard":
                try:
                    sys.lstat(target)
                except OSError as missing:
                    status = wrong(sys, name, f"failed to access '{target}'", missing)
                    continue
                shown += f" => '{target}'" if why.errno != 17 else ""
            status = wrong(sys, name, shown, why)
            continue
        if "v" in options:
            say(sys, f"'{place}' {'->' if 's' in options else '=>'} '{target}'")
    return status
