"""A program of the Python ABI, as a file of the host: found, compiled and checked before anything runs."""

from __future__ import annotations

import ast
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


def read_program(path: str) -> str:
    """The source of a .py file that compiles and says it has a main. `ProgramError` says what it lacks."""
    try:
        source = Path(path).read_text()
        tree = ast.parse(source, path)
        compile(tree, path, "exec")
    except OSError as why:
        raise ProgramError(f"{path}: {why.strerror}") from why
    except UnicodeDecodeError as why:
        raise ProgramError(f"{path}: not a Python file: {why}") from why
    except SyntaxError as why:
        raise ProgramError(f"{path}:{why.lineno}: {why.msg}") from why
    except ValueError as why:
        raise ProgramError(f"{path}: not a Python file: {why}") from why
    return source


def load_program(path: str) -> Callable[..., Any]:
    """The `main(sys, argv)` of a .py file, ready to be called on the host. `ProgramError` when there is none."""
    code = compile(read_program(path), path, "exec")
    names: dict[str, Any] = {"__name__": "__program__", "__file__": path}
    exec(code, names)
    main = names.get("main")
    if not callable(main):
        raise ProgramError(f"{path}: a program defines main(sys, argv), and this file does not")
    return main
