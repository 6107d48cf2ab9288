"""A program of the Python ABI, as a file of the host: found, compiled and checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


class ProgramError(Exception):
    """The program can't be run at all; the message says why and what to do."""


class ExitStatus(BaseException):
    """`sys.exit(status)` on its way out of the program. Not an Exception: programs do not catch it by accident."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def load_program(path: str) -> Callable[..., Any]:
    """The `main(sys, argv)` of a .py file. `ProgramError` when there is none."""
    try:
        source = Path(path).read_text()
    except OSError as why:
        raise ProgramError(f"{path}: {why.strerror}") from why
    try:
        code = compile(source, path, "exec")
    except SyntaxError as why:
        raise ProgramError(f"{path}:{why.lineno}: {why.msg}") from why
    names: dict[str, Any] = {"__name__": "__program__", "__file__": path}
    exec(code, names)
    main = names.get("main")
    if not callable(main):
        raise ProgramError(f"{path}: a program defines main(sys, argv), and this file does not")
    return main  # type: ignore[no-any-return]
