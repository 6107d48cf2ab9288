"""Python programs and functions as what a task runs.

A program is a file with `def main(sys, argv)`; it is compiled with ticks, run in a module of its own, and what `main`
returns is the exit status: None is 0, an integer is taken & 0xff. An uncaught exception is 1, with the traceback on
descriptor 2; the kernel's own frames are left out of it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from kernel.exec.ticks import TICK, compile_program, ticked
from kernel.task import Killed

if TYPE_CHECKING:
    from kernel.task import Task

KERNEL = str(Path(__file__).resolve().parent.parent)


class _Source:
    """A loader, as far as tracebacks ask for one: the source of a program that is in no file of the host."""

    __slots__ = ("source",)

    def __init__(self, source: str) -> None:
        self.source = source

    def get_source(self, name: str) -> str:
        return self.source


class Program:
    """A compiled program, ready to be run by any task of the machine."""

    __slots__ = ("code", "filename", "source")

    def __init__(self, source: str, filename: str) -> None:
        self.source = source
        self.filename = filename
        self.code: CodeType = compile_program(source, filename)

    def entry(self, argv: list[str]) -> Callable[[Task], int | None]:
        """What a task runs: the module's body, then `main`."""

        def run(task: Task) -> int | None:
            namespace: dict[str, Any] = {
                "__name__": "__program__",
                "__file__": self.filename,
                "__loader__": _Source(self.source),
                "__builtins__": task.machine.library.builtins,
                TICK: task.machine.meter.tick,
            }
            exec(self.code, namespace)
            main = namespace.get("main")
            if not callable(main):
                raise TypeError(f"{self.filename} has no function main(sys, argv)")
            status: int | None = main(task.sys, argv)
            return status

        return run


def function_entry(
    tick: Callable[[], None], function: Callable[..., Any], args: tuple[Any, ...]
) -> Callable[[Task], Any]:
    """What a task runs for `spawn(function, *args)`: `function(sys, *args)`, with ticks, also in what it is given."""
    prepared = ticked(function, tick)
    args = tuple(ticked(a, tick) if isinstance(a, FunctionType | MethodType) else a for a in args)

    def run(task: Task) -> Any:
        result = prepared(task.sys, *args)
        return result if isinstance(result, int) else 0  # a lambda gives what its last call gives: no status

    return run


def outcome(value: Any) -> int:
    """The exit code for what main returned. TypeError for what is no status."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value & 0xFF
    raise TypeError(f"main returned {value!r:.60}: an exit status is an int or None")


def report(task: Task, error: BaseException) -> None:
    """The traceback of an uncaught exception, on the task's descriptor 2."""
    said = traceback.TracebackException.from_exception(error)
    _without_kernel(said)
    text = "".join(said.format()).encode("utf-8", "replace")
    try:
        task.sys.write(2, text)
    except (OSError, Killed):
        task.machine.lost_reports += 1


def _without_kernel(said: traceback.TracebackException) -> None:
    """Leave only the program's frames, here and in the exceptions that led to this one."""
    frames = [f for f in said.stack if not f.filename.startswith((KERNEL, "<system call"))]
    said.stack = traceback.StackSummary.from_list(frames)
    for other in (said.__cause__, said.__context__):
        if other is not None:
            _without_kernel(other)
