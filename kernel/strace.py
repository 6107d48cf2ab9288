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

from kernel import abi
from kernel.abi import AT_FDCWD, errno_name, signal_name
from kernel.decode import BUFFER_KINDS, DECODERS, LONGEST, OUTPUTS, RESULTS, SEALS, buffer, flags_text, signal_info
from kernel.decodeblock import ANSWERS, ioctl_argument
from kernel.decodeipc import WHOLE
from kernel.straceopts import Options
from kernel.trace import Unfinished

if TYPE_CHECKING:
    from kernel.signal import SigInfo
    from kernel.syscall.table import Call
    from kernel.task import Task


class Strace:
    """Writes lines to `write(text)`, as `options` say (kernel/straceopts.py).

    `follow`: prefix each line with the pid, as `strace -f -o FILE`; otherwise `[pid N]` once there is more than one
    task. `times`: `-tt` (the machine's clock), `durations`: `-T`; both are virtual time in a simulation. `only`:
    names of calls to show. Without `options` every task is shown, as with `strace -f`.
    """

    def __init__(
        self, write: Callable[[str], Any], follow: bool = False, times: bool = False, durations: bool = False,
        only: frozenset[str] | None = None, epoch_ns: int = 0, options: Options | None = None,
    ) -> None:  # fmt: skip
        self._write = write
        self._follow = follow
        if options is None:
            options = Options()
            options.follow = True
            options.quiet = 1
            options.clock = "tt" if times else ""
            options.durations = durations
            options.only = only
        self._options = options
        self._epoch_ns = epoch_ns
        self._open: Task | None = None
        """The task whose line has no end yet."""
        self._column = 0
        self._begun: dict[int, int] = {}
        self._held: dict[int, tuple[int, str]] = {}
        """With a filter on results a line is written when the call ends: when it began, and its begin."""
        self._seen: dict[int, bool] = {}
        """Tasks that have been heard of and still live."""
        self._resumed: set[int] = set()
        """Tasks in a call that goes on after a signal."""
        self._first: int | None = None
        self._last_line = -1
        self._summary = Summary(options) if options.table else None

    # ---- lines ----

    def _leader(self, task: Task, now: int) -> None:
        """Begin a line of the task's own."""
        if self._open is not None:
            self._write(" <unfinished ...>\n")
            self._open = None
        self._column = 0
        options = self._options
        known = task.tid in self._seen
        self._seen[task.tid] = True
        if not known and len(self._seen) > 1 and not options.quiet and not self._follow:  # it is said on the terminal
            self._write(f"strace: Process {task.tid} attached\n")
        if self._follow:
            self._put(f"{task.tid:<5} ")
        elif len(self._seen) > 1:
            self._put(f"[pid {task.tid:>5}] ")
        if options.relative:
            taken = now - self._last_line if self._last_line >= 0 else 0
            self._put(f"{taken // 1_000_000_000:6d}.{taken // 1000 % 1_000_000:06} ")
            self._last_line = now
        if options.clock:
            seconds, ns = divmod(now + self._epoch_ns, 1_000_000_000)
            micros = f".{ns // 1000:06}" if options.clock != "t" else ""
            day = f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            self._put((str(seconds) if options.clock == "ttt" else day) + micros + " ")

    def _put(self, text: str) -> None:
        self._column += len(text)
        self._write(text)

    def _concerns(self, task: Task) -> bool:
        """Whether the task is one that is traced: without -f the first only, with -p those named."""
        options = self._options
        if options.pids:
            return task.group.pid in options.pids or (options.follow and task.tid in self._seen)
        if self._first is None:
            self._first = task.tid
        return options.follow or task.tid == self._first

    def _wanted(self, task: Task, call: Call, args: tuple[Any, ...]) -> bool:
        options = self._options
        if not self._concerns(task) or (options.only is not None and call.name not in options.only):
            return False
        return not options.concerned or any(path in options.concerned for path in paths_in(task, call, args))

    # ---- events ----

    def call_begins(self, task: Task, call: Call, args: tuple[Any, ...], now: int) -> None:
        if not self._wanted(task, call, args):
            return
        self._begun[task.tid] = now
        if self._summary is not None:
            self._summary.begins(task, now)
            if not self._options.show:
                return
        inputs, _ = arguments(call, args, None, task, self._options)
        number = f"[{call.nr:4d}] " if self._options.numbers else ""
        text = f"{number}{call.name}(" + inputs
        if task.machine.trace.resuming:
            text = f"restart_syscall(<... resuming interrupted {call.name} ...>"
            self._resumed.add(task.tid)
        if self._options.statuses is not None:
            self._held[task.tid] = now, text
            return
        self._leader(task, now)
        self._put(text)
        self._open = task

    def call_ends(self, task: Task, call: Call, args: tuple[Any, ...], result: Any, now: int) -> None:
        if not self._wanted(task, call, args):
            return
        options = self._options
        if self._summary is not None:
            self._summary.ends(task, call, isinstance(result, OSError), now)
            if not options.show:
                return
        if options.statuses is not None:
            begun, text = self._held.pop(task.tid, (now, f"{call.name}("))
            if _status_of(result) not in options.statuses:
                return
            self._leader(task, begun)
            self._put(text)
        elif self._open is not task:
            self._leader(task, now)
            name = "restart_syscall" if task.tid in self._resumed else call.name
            self._put(f"<... {name} resumed>")
        self._open = None
        _, outputs = arguments(call, args, result, task, options)
        if task.tid in self._resumed:
            self._resumed.discard(task.tid)
            outputs = ""
        self._put(outputs + ") ")
        if self._column < options.column:
            self._put(" " * (options.column - self._column))
        text = returned(call, args, result, task, options)
        if call.name == "ppoll" and isinstance(result, list) and result and len(args) > 1 and isinstance(args[1], int):
            left = max(0, args[1] - (now - self._begun.get(task.tid, now)))
            text = f"{text[:-1]}, left {DECODERS['timespec'](left, args)})"
        self._put("= " + text + task.machine.trace.tampered)
        if options.durations and not (isinstance(result, Unfinished) and not result.text):
            taken = now - self._begun.get(task.tid, now)
            self._put(f" <{taken // 1_000_000_000}.{taken // 1000 % 1_000_000:06}>")
        self._put("\n")

    def signal(self, task: Task, info: SigInfo, now: int) -> None:
        options = self._options
        if not options.show or not self._concerns(task):
            return
        if options.signals is not None and info.si_signo not in options.signals:
            return
        self._leader(task, now)
        self._put(f"--- {signal_name(info.si_signo)} {signal_info(info)} ---\n")
        if info.si_signo in STOPS and task.group.signals.get(info.si_signo).handler == abi.SIG_DFL:
            self._leader(task, now)
            self._put(f"--- stopped by {signal_name(info.si_signo)} ---\n")

    def ended(self, task: Task, status: int, now: int) -> None:
        if self._concerns(task) and self._options.show and self._options.quiet < 2:
            self._leader(task, now)
            if status & 0x7F:
                core = " (core dumped)" if status & 0x80 else ""
                self._put(f"+++ killed by {signal_name(status & 0x7F)}{core} +++\n")
            else:
                self._put(f"+++ exited with {status >> 8 & 0xFF} +++\n")
        self._seen.pop(task.tid, None)
        self._begun.pop(task.tid, None)

    def close(self) -> None:
        """End a line that is still open; then the summary."""
        if self._open is not None:
            self._write(" <unfinished ...>\n")
            self._open = None
        if self._summary is not None:
            self._write(self._summary.table())
            self._summary = None


STOPS = (abi.SIGSTOP, abi.SIGTSTP, abi.SIGTTIN, abi.SIGTTOU)


def _status_of(result: Any) -> str:
    if isinstance(result, OSError):
        return "failed"
    return "unfinished" if isinstance(result, Unfinished) else "successful"


class Summary:
    """-c: for each call how often, how long, how often in vain. The time is the system time of the caller, or, with -w,
    the time from the call's begin to its end.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._begun: dict[int, int] = {}
        self._rows: dict[str, list[int]] = {}

    def _clock(self, task: Task, now: int) -> int:
        if self._options.wall:
            return now
        task.machine.meter.book()
        return task.times()[1]

    def begins(self, task: Task, now: int) -> None:
        self._begun[task.tid] = self._clock(task, now)

    def ends(self, task: Task, call: Call, failed: bool, now: int) -> None:
        began = self._begun.pop(task.tid, None)
        taken = 0 if began is None else self._clock(task, now) - began
        row = self._rows.setdefault(call.name, [0, 0, 0, call.nr, 1 << 62, 0])
        row[0] += taken
        row[1] += 1
        row[2] += failed
        row[4] = min(row[4], taken)
        row[5] = max(row[5], taken)

    def _order(self) -> list[tuple[str, list[int]]]:
        how = self._options.sort
        keys: dict[str, Callable[[tuple[str, list[int]]], Any]] = {
            "calls": lambda r: (-r[1][1], r[1][3]), "count": lambda r: (-r[1][1], r[1][3]),
            "errors": lambda r: (-r[1][2], r[1][3]), "error": lambda r: (-r[1][2], r[1][3]),
            "name": lambda r: r[0], "syscall": lambda r: r[0], "syscall-name": lambda r: r[0],
            "avg-time": lambda r: (-(r[1][0] // r[1][1]), r[1][3]), "min-time": lambda r: (-r[1][4], r[1][3]),
            "max-time": lambda r: (-r[1][5], r[1][3]), "nothing": lambda r: 0, "none": lambda r: 0,
        }  # fmt: skip
        return sorted(self._rows.items(), key=keys.get(how, lambda r: (-r[1][0], r[1][3])))

    def table(self) -> str:
        """strace's table."""
        rule = f"{'-' * 6} {'-' * 11} {'-' * 11} {'-' * 9} {'-' * 9} {'-' * 16}\n"
        lines = ["% time     seconds  usecs/call     calls    errors syscall\n", rule]
        total = [sum(row[i] for row in self._rows.values()) for i in range(3)]
        for name, row in self._order():
            lines.append(_row(100 * row[0] / total[0] if total[0] else 0.0, row, name))
        lines += [rule, _row(100.0, total, "total")]
        return "".join(lines)


def _row(percent: float, row: list[int], name: str) -> str:
    each = row[0] // 1000 // row[1] if row[1] else 0
    errors = row[2] or ""
    return f"{percent:6.2f} {row[0] / 1e9:11.6f} {each:11d} {row[1]:9d} {errors:>9} {name}\n"


def paths_in(task: Task, call: Call, args: tuple[Any, ...]) -> list[str]:
    """The paths that a call concerns: among its arguments, and behind its descriptors."""
    found = []
    for kind, value in zip(call.kinds, args):
        if kind == "path" and isinstance(value, str | bytes):
            found.append(value if isinstance(value, str) else value.decode("utf-8", "surrogateescape"))
        elif kind == "fd" and isinstance(value, int):
            found.append(behind(task, value, 1))
    return found


def behind(task: Task, fd: int, detail: int) -> str:
    """What -y shows of a descriptor: a path, `pipe:[5]`; with -yy a socket's addresses. Empty when it is not open."""
    files = task.files
    if files is None or not 0 <= fd < len(files.files) or files.files[fd] is None:
        return ""
    tree = task.machine.proc_tree()
    if detail > 1:
        stack_socket = getattr(files.files[fd].private, "sock", None)
        if stack_socket is not None:
            try:
                local, peer = stack_socket.getsockname(), None
                peer = stack_socket.getpeername()
            except (OSError, AttributeError):
                peer = None
            kind = "TCP" if getattr(stack_socket, "type", 1) == 1 else "UDP"
            tail = f"->{peer[0]}:{peer[1]}" if peer else ""
            return f"{kind}:[{local[0]}:{local[1]}{tail}]"
    name: bytes = tree.describe(files.files[fd], task)
    return name.decode("utf-8", "replace")


ALIASES = {
    ("pipe2", "open_flags"): "descriptor_flags",
    ("dup3", "open_flags"): "descriptor_flags",
    ("fcntl", "int"): "fcntl_arg",
    ("getsockopt", "int"): "",
    ("epoll_ctl", "int"): "",
    ("wait4", "=NULL"): "result:rusage",
    ("readv", "iovec"): "iovec_out",
    ("preadv", "iovec"): "iovec_out",
    ("inotify_init1", "open_flags"): "inotify_flags",
}
"""Kinds that mean something else in one call."""
MASK_SIZE = ("ppoll", "epoll_pwait", "epoll_pwait2")
"""Calls whose last argument is the length of a signal mask."""


def layout(call: Call) -> list[tuple[str, int | None]]:
    """What is shown, in order: (kind, index of the argument), index None for what is not an argument."""
    shown: list[tuple[str, int | None]] = []
    index = 0
    for kind in call.kinds:
        kind = ALIASES.get((call.name, kind), kind) if kind[:1] == "=" else kind
        if kind.startswith(("=", "result:")):
            shown.append((kind, None))
        else:
            kind = ALIASES.get((call.name, kind), kind)
            if kind == "sockaddr_out":
                shown += [("result:peer", None), ("result:peer_len", None)]
            elif kind:
                shown.append((kind, index))
            index += 1
    if call.name in MASK_SIZE:
        shown.append(("=8", None))
    extra = OUTPUTS.get(call.name) or OUTPUTS.get(call.returns)
    for place, kind in extra or ():
        shown.insert(place if place >= 0 else len(shown), (kind, None))
    return shown


def arguments(
    call: Call, args: tuple[Any, ...], result: Any, task: Task | None = None, options: Options | None = None
) -> tuple[str, str]:
    """(text shown when the call begins, text added when it ends). `result` None: the call has only begun."""
    whole = WHOLE.get(call.name)
    if whole is not None:
        return whole(args, result)
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
            if kind in ("sink", "iovec_out") and failed:
                parts.append("NULL")
                continue
            text = _text(DECODERS.get(kind, repr_value), args[index], args)
            if options is not None and options.strings != LONGEST:
                text = buffer(args[index], options.strings) or text
            if options is not None and options.paths and task is not None and kind in ("fd", "dirfd"):
                text += _annotated(task, args[index], options.paths)
            parts.append(text)
    if call.name == "openat" and not (len(args) > 2 and isinstance(args[2], int) and args[2] & 0o100):
        parts = parts[:3]  # no mode without O_CREAT
    if call.name == "fcntl" and len(args) > 1 and args[1] in NO_ARGUMENT:
        parts = parts[:2]
    if call.name == "ioctl":
        shown = ioctl_argument(args, result)
        if shown is not None:
            parts = [*parts[:2], shown] if shown else parts[:2]
            split = 2 if args[1] in ANSWERS else None
    if call.name in ("mount",) and parts[-1:] == ['""']:
        parts[-1] = "NULL"
    if split is None:
        return ", ".join(parts), ""
    begin = "".join(p + ", " for p in parts[:split])
    return begin, ", ".join(parts[split:])


def _annotated(task: Task, fd: Any, detail: int) -> str:
    if fd == AT_FDCWD and task.fs is not None:
        name = task.machine.vfs.path_of(task.fs.cwd, task.fs.root).decode("utf-8", "replace")
        return f"<{name}>"
    name = behind(task, fd, detail) if isinstance(fd, int) else ""
    return f"<{name}>" if name else ""


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


NO_ARGUMENT = (abi.F_GETFD, abi.F_GETFL, abi.F_GETOWN, abi.F_GETSIG, abi.F_GETPIPE_SZ, abi.F_GET_SEALS)
"""Commands of fcntl."""

MAKES_DESCRIPTORS = (
    "openat", "openat2", "dup", "dup3", "socket", "accept", "accept4", "eventfd2", "epoll_create1", "timerfd_create",
    "signalfd4", "inotify_init1", "memfd_create", "pidfd_open", "pidfd_getfd",
)  # fmt: skip
"""Calls whose result is a descriptor."""


def returned(
    call: Call, args: tuple[Any, ...], result: Any, task: Task | None = None, options: Options | None = None
) -> str:
    """What stands after the equals sign."""
    if options is not None and options.paths and task is not None and call.name in MAKES_DESCRIPTORS:
        fd = result[0] if isinstance(result, tuple) and result else result
        if isinstance(fd, int) and not isinstance(result, OSError):
            return f"{fd}{_annotated(task, fd, options.paths)}"
    if isinstance(result, OSError):
        number = result.errno or 0
        return f"-1 {errno_name(number)} ({os.strerror(number)})"
    if isinstance(result, Unfinished):
        return f"? {result.text}".rstrip()
    if call.name == "fcntl" and isinstance(result, int) and len(args) > 1:
        if args[1] == abi.F_GETFL:
            return f"{result:#x} (flags {DECODERS['open_flags'](result, args)})"
        if args[1] == abi.F_GETFD and result:
            return f"{result:#x} (flags FD_CLOEXEC)"
        if args[1] == abi.F_GET_SEALS and result:
            return f"{result:#x} (seals {flags_text(result, SEALS)})"
    if call.name == "ioctl" and len(args) > 1 and args[1] in ANSWERS:
        return "0"
    if call.name == "umask":
        return DECODERS["mode"](result, args)
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
    "addr": lambda result, args: f"{result:#x}" if result else "0",
    "last": lambda result, args: str(result[-1]),
    "zero": lambda result, args: "0",
    "none": lambda result, args: "?",
    "first": lambda result, args: str(result[0]),
    "message": lambda result, args: str(len(result[1] if isinstance(result[1], bytes) else result[0])),
    "signo": lambda result, args: f"{result.si_signo} ({signal_name(result.si_signo)})",
    "bytes": lambda result, args: str(len(result)),
    "cwd": lambda result, args: str(len(result) + 1),
    "fds": lambda result, args: "0",
    "sockaddr": lambda result, args: "0",
    "optval": lambda result, args: "0",
    "fdsets": lambda result, args: str(sum(len(ready) for ready in result)),
    "dents": lambda result, args: str(sum((20 + len(entry[1]) + 7) & ~7 for entry in result)),
    "pollfds": _pollfds,
    "epoll_events": lambda result, args: str(len(result)),
}
"""By the call's `returns`: what is shown as its return value."""
