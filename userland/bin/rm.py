"""rm [-dfirRv] FILE...: removes files, and trees with -r."""

from __future__ import annotations

from userland.command import Options, UsageError, command
from userland.copying import remove
from userland.lib import System, complain, say


def main(sys: System, argv: list[str]) -> int:
    long = {"force": "f", "recursive": "r", "interactive": "i", "dir": "d", "verbose": "v"}
    return command(sys, argv, "dfirRv", work, long)


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    force = options.last("fi") == "f"
    if not operands and not force:
        raise UsageError("missing operand")
    recursive = "r" in options or "R" in options
    status = 0
    for path in operands:
        last = path.rstrip("/").rpartition("/")[2]
        if recursive and last in (".", ".."):
            complain(sys, name, f"refusing to remove '.' or '..' directory: skipping '{path}'")
            status = 1
            continue
        if recursive and not path.strip("/"):
            complain(sys, name, "it is dangerous to operate recursively on '/'")
            complain(sys, name, "use --no-preserve-root to override this failsafe")
            status = 1
            continue
        if options.last("fi") == "i":
            say(sys, f"{name}: remove '{path}'? ", end="", fd=2)
            if sys.read(0, 100)[:1].lower() != b"y":
                continue
        status |= remove(sys, name, path, recursive, force, "v" in options, "d" in options)
    return status
