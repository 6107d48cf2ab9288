"""The table of system calls: written once, reached through two thin ABIs.

    @syscall(63, "read", "fd", "sink", "size")
    def sys_read(task, fd, sink, count): ...

registers a handler under Linux's riscv64 number and gives back its *entry*: a function with the same arguments that
does what a trap does (charge it, trace it, settle signals and EINTR or restart on the way back). The strings say how
strace shows each argument (`kernel/strace.py`). The entry's `handler` attribute is the bare handler, for callers
inside the kernel.

    @python("read")
    def read(task, fd, n):
        sink = BytesSink(n)
        sys_read(task, fd, sink, n)
        return sink.value()

gives `sys.read(fd, n)` to Python programs. A call without such an adaptor is there by its own name all the same.
Failure is OSError with Linux's errno. A handler lets `Interrupted` pass only while nothing has been transferred.

User memory is a `Source` or a `Sink` (`kernel/syscall/buffers.py`).
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from errno import EBADF, EFAULT, EINTR, EINVAL, ENOSYS
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kernel.sched.wait import Interrupted
from kernel.syscall.gate import gate
from kernel.task import Foreign

if TYPE_CHECKING:
    from kernel.task import Task

SA_RESTART_RULE, NO_HANDLER_RULE, NEVER_RULE = "sys", "nohand", "never"
"""`restart=`: ERESTARTSYS (restarts after a handler with SA_RESTART, or when none ran), ERESTARTNOHAND (only when
none ran), EINTR always.
"""


class Call:
    """One system call as registered."""

    __slots__ = ("entry", "handler", "kinds", "name", "nr", "parameters", "restart", "returns", "since")

    def __init__(
        self, nr: int, name: str, kinds: tuple[str, ...], handler: Callable[..., Any], restart: str, returns: str,
        entry: Callable[..., Any] | None = None,
    ) -> None:  # fmt: skip
        self.nr = nr
        self.name = name
        self.kinds = kinds
        self.handler = handler
        self.restart = restart
        self.returns = returns
        self.parameters = list(inspect.signature(handler).parameters.values())[1:]
        self.entry: Callable[..., Any] = entry or _compile_entry(self)

    def attempt(self, task: Task, args: tuple[Any, ...], resume: Callable[[], Any] | None = None) -> Any:
        """The handler (or what continues it), with mistaken arguments turned into errors."""
        try:
            return self.handler(task, *args) if resume is None else resume()
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise self.mistaken(args, error) from error

    def restarts(self, ran: bool, restartable: bool, resumable: bool) -> bool:
        """Whether the call, interrupted, is made again: `ran` says that a handler has run, `restartable` that all
        had SA_RESTART.
        """
        if not ran:
            return self.restart != NEVER_RULE
        return self.restart == SA_RESTART_RULE and restartable and not resumable

    def interrupted(self, task: Task, args: tuple[Any, ...], stop: Interrupted) -> Any:
        """Deliver what is pending; then make the call again, or fail with EINTR, by the call's rule.

        `Interrupted(resume)` brings a function that continues the call (Linux's restart_syscall).
        """
        while True:
            ran, restartable = task.machine.signals.deliver(task)
            if not self.restarts(ran, restartable, bool(stop.args)):
                raise OSError(EINTR, "Interrupted system call")
            try:
                return stop.args[0]() if stop.args else self.handler(task, *args)
            except Interrupted as again:
                stop = again

    def mistaken(self, args: tuple[Any, ...], error: Exception) -> Exception:
        """The errno for Python values that Linux could not have been passed; or the error itself: a bug of ours."""
        if isinstance(error, OverflowError):
            return OSError(EINVAL, f"{self.name}: {error}")
        hints = hints_of(self.handler)
        for i, (parameter, value) in enumerate(zip(self.parameters, args)):
            expected = _EXPECTED.get(hints.get(parameter.name, "").split("|")[0].strip())
            if expected is not None and not isinstance(value, expected[0]):
                kind = type(value).__name__
                number = EBADF if self.kinds[i : i + 1] == ("fd",) else expected[1]
                return OSError(number, f"{self.name}: {parameter.name} is {value!r:.40}, of type {kind}")
        return error

    def __repr__(self) -> str:
        return f"<Call {self.nr} {self.name}>"


_EXPECTED: dict[str, tuple[tuple[type, ...], int]] = {
    "int": ((int,), EINVAL),
    "str": ((str, bytes), EFAULT),
    "bytes": ((bytes, bytearray, memoryview), EFAULT),
    "Path": ((str, bytes), EFAULT),
}


def hints_of(handler: Callable[..., Any]) -> dict[str, str]:
    """The type hints of a handler's parameters. One that is compiled has none: they are read from its source."""
    known: dict[str, Any] | None = getattr(handler, "__annotations__", None)
    if known is not None:
        return {name: str(hint) for name, hint in known.items()}
    return source_hints(handler.__module__).get(handler.__name__.lstrip("_"), {})


@lru_cache(maxsize=64)
def source_hints(module: str) -> dict[str, dict[str, str]]:
    """{function: {parameter: hint}} of a module of the kernel."""
    path = Path(__file__).parents[2].joinpath(*module.split(".")).with_suffix(".py")
    functions = [node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.FunctionDef)]
    return {
        function.name: {arg.arg: ast.unparse(arg.annotation) for arg in function.args.args if arg.annotation}
        for function in functions
    }


CALLS: dict[int, Call] = {}
"""By riscv64 number. Filled while the families are imported, constant afterwards."""
BY_NAME: dict[str, Call] = {}
PYTHON: dict[str, Callable[..., Any]] = {}
"""Adaptors of the Python ABI: called with the task first."""
objects: dict[str, Callable[[Task], Any]] = {}
"""What `sys.NAME` is when it is no call (`sys.mem`): made for a task when it is first asked for."""

def _compile_entry(call: Call) -> Callable[..., Any]:
    """The entry of a call, with the handler's own arguments (no packing on the hot path)."""
    namespace: dict[str, Any] = {"__call": call, "__handler": call.handler}
    namespace.update(Interrupted=Interrupted, Foreign=Foreign)
    parameters = "task"
    for p in call.parameters:
        if p.default is inspect.Parameter.empty:
            parameters += f", {p.name}"
        else:
            namespace[f"_{p.name}"] = p.default
            parameters += f", {p.name}=_{p.name}"
    source = gate(call.name, parameters, [p.name for p in call.parameters])
    exec(compile(source, f"<system call {call.name}>", "exec"), namespace)
    entry: Callable[..., Any] = namespace[call.name]
    entry.__doc__ = call.handler.__doc__
    entry.call = call  # type: ignore[attr-defined]
    entry.handler = call.handler  # type: ignore[attr-defined]
    return entry


F = TypeVar("F", bound=Callable[..., Any])


def syscall(
    nr: int, name: str, *kinds: str, restart: str = SA_RESTART_RULE, returns: str = "int"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register `handler(task, ...)` as system call `nr`; gives back its entry. `kinds`: see kernel/strace.py."""

    def registered(handler: Callable[..., Any]) -> Callable[..., Any]:
        return register(handler, None, nr, name, *kinds, restart=restart, returns=returns).entry

    return registered


def register(
    handler: Callable[..., Any], entry: Callable[..., Any] | None, nr: int, name: str, *kinds: str,
    restart: str = SA_RESTART_RULE, returns: str = "int",
) -> Call:  # fmt: skip
    """What `syscall` does; in the compiled form, which brings the entry as well (tools/gates.py)."""
    if nr in CALLS or name in BY_NAME:
        raise ValueError(f"system call {nr} {name} is registered twice")
    call = CALLS[nr] = BY_NAME[name] = Call(nr, name, kinds, handler, restart, returns, entry)
    return call


def python(name: str) -> Callable[[F], F]:
    """Register `adaptor(task, ...)` as `sys.NAME(...)` of the Python ABI."""

    def register(adaptor: F) -> F:
        if name in PYTHON:
            raise ValueError(f"sys.{name} is registered twice")
        PYTHON[name] = adaptor
        return adaptor

    return register


def _missing(task: Task, name: str, *args: Any, **kw: Any) -> Any:
    """What a call does that does not exist: ENOSYS, and it is counted by name in `machine.missing_calls`."""
    try:
        task.trap()
    except Foreign as call:
        task = call.args[0]
    missing = task.machine.missing_calls
    missing[name] = missing.get(name, 0) + 1
    raise OSError(ENOSYS, f"Function not implemented: the kernel has no system call {name}")


class Sys:
    """What Python programs get as `sys`: `sys.NAME(...)` is the system call NAME of the task that runs. When another
    goes on, the scheduler puts its own `__dict__` in place, which is `task.calls`.
    """

    _task: Task

    def __init__(self, task: Task | None = None) -> None:
        if task is not None:
            self._task = task

    def __getattr__(self, name: str) -> Any:
        task: Task = self.__dict__["_task"]
        adaptor = PYTHON.get(name)
        if adaptor is None:
            if name in objects:
                made = self.__dict__[name] = objects[name](task)
                return made
            call = BY_NAME.get(name)
            if call is None:
                if name.startswith("_"):
                    raise AttributeError(name)
                return partial(_missing, task, name)
            adaptor = call.entry
        bound = partial(adaptor, task)
        self.__dict__[name] = bound
        return bound

    def __dir__(self) -> list[str]:
        return sorted({*PYTHON, *BY_NAME, *objects, "environ"})

    @property
    def environ(self) -> dict[str, str]:
        """The environment, as execve gave it."""
        environ: dict[str, str] = self._task.environ
        return environ

    def __repr__(self) -> str:
        return f"<sys of pid {self._task.pid}>"
