"""chmod [-Rv] MODE FILE...: changes permissions."""

from __future__ import annotations

from userland import abi, modes
from userland.command import Options, UsageError, command, entries, join, wrong
from userland.lib import System


def main(sys: System, argv: list[str]) -> int:
    words = [f"a{word}" if word[:1] == "-" and len(word) > 1 and word[1] in "rwxXst" else word for word in argv]
    return command(sys, words, "Rvf", work, {"recursive": "R", "verbose": "v", "reference": "x:"})


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    if len(operands) < 2:
        raise UsageError("missing operand" if not operands else f"missing operand after '{operands[0]}'")
    mode, *files = operands
    umask = sys.umask(0)
    sys.umask(umask)
    try:
        modes.symbolic(mode, 0, False, umask)
    except ValueError:
        raise UsageError(f"invalid mode: '{mode}'") from None
    status = 0
    for path in files:
        status |= change(sys, name, path, mode, umask, "R" in options)
    return status


def change(sys: System, name: str, path: str, mode: str, umask: int, recursive: bool) -> int:
    try:
        st = sys.stat(path)
    except OSError as why:
        return wrong(sys, name, f"cannot access '{path}'", why)
    directory = st.st_mode & abi.S_IFMT == abi.S_IFDIR
    try:
        sys.chmod(path, modes.symbolic(mode, st.st_mode & 0o7777, directory, umask))
    except OSError as why:
        return wrong(sys, name, f"changing permissions of '{path}'", why)
    status = 0
    if recursive and directory:
        for each in entries(sys, path):
            inner = join(path, each)
            if sys.lstat(inner).st_mode & abi.S_IFMT != abi.S_IFLNK:
                status |= change(sys, name, inner, mode, umask, True)
    return status
