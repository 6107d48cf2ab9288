"""System calls in strace's own text.

A subscriber of the machine's trace that writes one line per call, as strace -f does: the name really called, decoded
arguments, `= result` from column 40 on, errno by name and message. When another task's event comes between begin and
end of a call, the line is left `<unfinished ...>` and taken up again with `<... NAME resumed>`.

What each argument means is declared where the call is registered (`@syscall(63, "read", "fd", "sink", "size")`);
`decode.py` turns a value of each kind into text. Kinds that begin with `=` are constants that take no argument;
`result:KIND` shows what the call returned in the place where C has a pointer for it. Python values have no addresses:
where strace shows one, the value is shown.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kernel.abi import errno_name, signal_name
from kernel.decode import BUFFER_KINDS, DECODERS, OUTPUTS, RESULTS, signal_info
from kernel.trace import Unfinished

if TYPE_CHECKING:
    from kernel.signal import SigInfo
    from kernel.syscall.table import Call
    from kernel.task import Task

COLUMN = 40


class Strace:
    """Writes lines to `write(text)`.

    `follow`: prefix each line with the pid, as `strace -f -o FILE`; otherwise `[pid N]` once there is more than one
    task. `times`: `-tt` (the machine's clock), `durations`: `-T`; both are virtual time in a simulation. `only`:
    names of calls to show.
    """

    def __init__(
        self, write: Callable[[str], Any], follow: bool = False, times: bool = False, durations: bool = False,
        only: frozenset[str] | None = None, epoch_ns: int = 0,
    ) -> None:  # fmt: skip
        self._write = write
        self._follow = follow
        self._times = times
        self._durations = durations
        self._only = only
        self._epoch_ns = epoch_ns
        self._open: Task | None = None
        """The task whose line has no end yet."""
        self._column = 0
        self._begun: dict[int, int] = {}
        self._seen: dict[int, bool] = {}
        """Tasks that have been heard of and still live."""

    # ---- lines ----

    def _leader(self, task: Task, now: int) -> None:
        """Begin a line of the task's own."""
        if self._open is not None:
            self._write(" <unfinished ...>\n")
            self._open = None
        self._column = 0
        self._seen[task.tid] = True
        if self._follow:
            self._put(f"{task.tid:<5} ")
        elif len(self._seen) > 1:
            self._put(f"[pid {task.tid:>5}] ")
        if self._times:
            seconds, ns = divmod(now + self._epoch_ns, 1_000_000_000)
            self._put(f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ns // 1000:06} ")

    def _put(self, text: str) -> None:
        self._column += len(text)
        self._write(text)

    # ---- events ----

    def call_begins(self, task: Task, call: Call, args: tuple[Any, ...], now: int) -> None:
        if self._only is not None and call.name not in self._only:
            return
        self._leader(task, now)
        inputs, _ = arguments(call, args, None)
        self._put(f"{call.name}(" + inputs)
        self._open = task
        self._begun[task.tid] = now

    def call_ends(self, task: Task, call: Call, args: tuple[Any, ...], result: Any, now: int) -> None:
        if self._only is not None and call.name not in self._only:
            return
        if self._open is not task:
            self._leader(task, now)
            self._put(f"<... {call.name} resumed>")
        self._open = None
        _, outputs = arguments(call, args, result)
        self._put(outputs + ") ")
        if self._column < COLUMN:
            self._put(" " * (COLUMN - self._column))
        self._put("= " + returned(call, args, result))
        if self._durations:
            taken = now - self._begun.get(task.tid, now)
            self._put(f" <{taken // 1_000_000_000}.{taken // 1000 % 1_000_000:06}>")
        self._put("\n")

    def signal(self, task: Task, info: SigInfo, now: int) -> None:
        self._leader(task, now)
        self._put(f"--- {signal_name(info.si_signo)} {signal_info(info)} ---\n")

    def ended(self, task: Task, status: int, now: int) -> None:
        self._leader(task, now)
        if status & 0x7F:
            self._put(f"+++ killed by {signal_name(status & 0x7F)} +++\n")
        else:
            self._put(f"+++ exited with {status >> 8 & 0xFF} +++\n")
        self._seen.pop(task.tid, None)
        self._begun.pop(task.tid, None)

    def close(self) -> None:
        """End a line that is still open."""
        if self._open is not None:
            self._write(" <unfinished ...>\n")
            self._open = None


ALIASES = {
    ("pipe2", "open_flags"): "descriptor_flags",
    ("dup3", "open_flags"): "descriptor_flags",
    ("fcntl", "int"): "fcntl_arg",
    ("getsockopt", "int"): "",
}
"""Kinds that mean something else in one call."""


def layout(call: Call) -> list[tuple[str, int | None]]:
    """What is shown, in order: (kind, index of the argument), index None for what is not an argument."""
    shown: list[tuple[str, int | None]] = []
    index = 0
    for kind in call.kinds:
        if kind.startswith(("=", "result:")):
            shown.append((kind, None))
        else:
            kind = ALIASES.get((call.name, kind), kind)
            if kind == "sockaddr_out":
                shown += [("result:peer", None), ("result:peer_len", None)]
            elif kind:
                shown.append((kind, index))
            index += 1
    extra = OUTPUTS.get(call.name) or OUTPUTS.get(call.returns)
    for place, kind in extra or ():
        shown.insert(place if place >= 0 else len(shown), (kind, None))
    return shown


def arguments(call: Call, args: tuple[Any, ...], result: Any) -> tuple[str, str]:
    """(text shown when the call begins, text added when it ends). `result` None: the call has only begun."""
    parts: list[str] = []
    split: int | None = None
    failed = isinstance(result, OSError | Unfinished)
    for kind, index in layout(call):
        if split is None and (kind.startswith("result:") or kind in BUFFER_KINDS):
            split = len(parts)
        if kind.startswith("="):
            parts.append(kind[1:])
        elif kind.startswith("result:"):
            parts.append(_output(kind[7:], result, failed, call, args))
        elif index is not None and index < len(args):
            parts.append(_text(DECODERS.get(kind, repr_value), args[index], args))
    if call.name == "openat" and not (len(args) > 2 and isinstance(args[2], int) and args[2] & 0o100):
        parts = parts[:3]  # no mode without O_CREAT
    if split is None:
        return ", ".join(parts), ""
    begin = "".join(p + ", " for p in parts[:split])
    return begin, ", ".join(parts[split:])


def _output(kind: str, result: Any, failed: bool, call: Call, args: tuple[Any, ...]) -> str:
    if result is None or failed:
        return "NULL"
    return _text(RESULTS.get(kind, repr_value), result, args)


def _text(decoder: Callable[[Any, tuple[Any, ...]], str], value: Any, args: tuple[Any, ...]) -> str:
    """Tracing never disturbs the program: a value that is not of its kind is shown plainly."""
    try:
        return decoder(value, args)
    except (TypeError, ValueError, AttributeError, IndexError, KeyError, OverflowError):
        return repr_value(value, args)


def returned(call: Call, args: tuple[Any, ...], result: Any) -> str:
    """What stands after the equals sign."""
    if isinstance(result, OSError):
        number = result.errno or 0
        return f"-1 {errno_name(number)} ({os.strerror(number)})"
    if isinstance(result, Unfinished):
        return f"? {result.text}".rstrip()
    how = RETURNED.get("cwd" if call.name == "getcwd" else call.returns)
    if how is not None:
        return _text(how, result, args)
    if isinstance(result, tuple) and result and isinstance(result[0], int):
        return str(result[0])
    if isinstance(result, bool) or result is None:
        return str(int(bool(result)))
    return str(result) if isinstance(result, int) else "0"


def repr_value(value: Any, args: tuple[Any, ...]) -> str:
    """A value whose kind has no decoder of its own."""
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, str | bytes | bytearray | memoryview):
        return DECODERS["path"](bytes(value) if not isinstance(value, str) else value, args)
    return "{...}"


def _pollfds(result: Any, args: tuple[Any, ...]) -> str:
    if not result:
        return "0 (Timeout)"
    return f"{len(result)} ({RESULTS['pollfds'](result, args)})"


RETURNED: dict[str, Callable[[Any, tuple[Any, ...]], str]] = {
    "zero": lambda result, args: "0",
    "none": lambda result, args: "?",
    "first": lambda result, args: str(result[0]),
    "signo": lambda result, args: f"{result.si_signo} ({signal_name(result.si_signo)})",
    "bytes": lambda result, args: str(len(result)),
    "cwd": lambda result, args: str(len(result) + 1),
    "fds": lambda result, args: "0",
    "sockaddr": lambda result, args: "0",
    "fdsets": lambda result, args: str(sum(len(ready) for ready in result)),
    "dents": lambda result, args: str(sum((20 + len(entry[1]) + 7) & ~7 for entry in result)),
    "pollfds": _pollfds,
    "epoll_events": lambda result, args: str(len(result)),
}
"""By the call's `returns`: what is shown as its return value."""
