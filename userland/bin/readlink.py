"""readlink [-fn] FILE...: where a symbolic link leads; with -f, the name without any link."""

from __future__ import annotations

from userland import abi
from userland.command import Options, UsageError, command
from userland.lib import System, say


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "fenm", work, {"canonicalize": "f", "no-newline": "n"})


def resolve(sys: System, path: str) -> str:
    """The absolute name without links; the last part need not exist. OSError."""
    parts = (path if path.startswith("/") else f"{sys.getcwd()}/{path}").split("/")
    out: list[str] = []
    links = 0
    while parts:
        part = parts.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            del out[-1:]
            continue
        here = "/" + "/".join([*out, part])
        try:
            mode = sys.lstat(here).st_mode
        except FileNotFoundError:
            if any(p not in ("", ".") for p in parts):
                raise
            out.append(part)
            continue
        if mode & abi.S_IFMT != abi.S_IFLNK:
            out.append(part)
            continue
        links += 1
        if links > 40:
            raise OSError(abi.ELOOP, "Too many levels of symbolic links")
        target = sys.readlink(here)
        if target.startswith("/"):
            out = []
        parts = target.split("/") + parts
    return "/" + "/".join(out)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    if not operands:
        raise UsageError("missing operand")
    status = 0
    for path in operands:
        try:
            found = resolve(sys, path) if "f" in options or "e" in options else sys.readlink(path)
        except OSError:
            status = 1
            continue
        say(sys, found, end="" if "n" in options else "\n")
    return status
