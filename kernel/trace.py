"""Traces: what the kernel tells whoever subscribes, and nothing at all when nobody does.

`machine.trace.append(subscriber)` subscribes. A subscriber has any of the methods of `Subscriber`; those it lacks are
not called. Events carry the timeline's `now`, so that two runs of one seed give the same trace. System calls are
traced in the table's slow path, which a task takes only while `task.traced`.
"""

from __future__ import annotations

import os
from errno import EINTR
from typing import TYPE_CHECKING, Any, Protocol

from kernel.abi import SI_KERNEL
from kernel.sched.wait import Interrupted
from kernel.signal import SigInfo
from kernel.task import Killed

if TYPE_CHECKING:
    from kernel.block.queue import RequestQueue
    from kernel.block.request import Bio, Request
    from kernel.machine import Machine
    from kernel.syscall.table import Call
    from kernel.task import Task

RESTARTS = {
    "sys": "ERESTARTSYS (To be restarted if SA_RESTART is set)",
    "nohand": "ERESTARTNOHAND (To be restarted if no handler)",
    "block": "ERESTART_RESTARTBLOCK (Interrupted by signal)",
}
"""What strace prints for a call that a signal interrupted."""
RESTART_BLOCK = ("nanosleep", "clock_nanosleep", "futex")
"""Calls that Linux continues by restart_syscall."""


class Unfinished:
    """In place of a result: the call did not return, and why."""

    __slots__ = ("text",)

    def __init__(self, text: str = "") -> None:
        self.text = text


class Subscriber(Protocol):
    """Everything that can be heard."""

    def call_begins(self, task: Task, call: Call, args: tuple[Any, ...], now: int) -> None: ...

    def call_ends(self, task: Task, call: Call, args: tuple[Any, ...], result: Any, now: int) -> None:
        """`result` is what the handler returned, an OSError, or Unfinished."""

    def signal(self, task: Task, info: SigInfo, now: int) -> None:
        """A signal is taken up by the task."""

    def ended(self, task: Task, status: int, now: int) -> None:
        """The task is gone; `status` is encoded as for wait."""

    def switch(self, cpu: int, before: Task | None, after: Task | None, reason: str, now: int) -> None: ...

    def wakeup(self, waker: Task | None, task: Task, reason: str, now: int) -> None: ...

    def wait(self, task: Task, reason: str, now: int) -> None:
        """The task goes to sleep, or stops."""

    def migrate(self, task: Task, before: int, after: int, reason: str, now: int) -> None:
        """The task changes its CPU."""

    def interrupt(self, cpu: int, kind: str, begin: int, end: int) -> None:
        """A device has the CPU: the top half ("irq") or the deferred one ("softirq") of an interrupt."""

    def bio_queued(self, queue: RequestQueue, bio: Bio, request: Request, merged: bool, now: int) -> None:
        """A task (`bio.task`) has asked a disk for something, and it became this request, or part of it."""

    def requests_joined(self, queue: RequestQueue, request: Request, into: Request, now: int) -> None:
        """Two requests that waited are one from now on."""

    def request_issued(self, queue: RequestQueue, request: Request, now: int) -> None:
        """The drive begins to work on it, or has it in its own queue."""

    def request_done(self, queue: RequestQueue, request: Request, failed: int, now: int) -> None:
        """It has ended, with an errno or 0; who waits for its bios (`bio.waiters`) is woken next."""


class SchedulerTrace(Protocol):
    """What the scheduler tells its trace."""

    def switch(self, cpu: int, before: Task | None, after: Task | None, reason: str, now: int) -> None: ...

    def wakeup(self, waker: Task | None, task: Task, reason: str, now: int) -> None: ...

    def wait(self, task: Task, reason: str, now: int) -> None: ...

    def migrate(self, task: Task, before: int, after: int, reason: str, now: int) -> None: ...

    def interrupt(self, cpu: int, kind: str, begin: int, end: int) -> None: ...


class Trace:
    """The subscribers of one machine."""

    __slots__ = (
        "_calls", "_ignored", "_interrupts", "_machine", "_scheduling", "_tampering", "_waits", "active", "blocks",
        "resuming", "subscribers", "tampered",
    )  # fmt: skip

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.subscribers: list[Any] = []
        self._calls: list[Any] = []
        self._scheduling: list[Any] = []
        self._tampering: list[Any] = []
        self.tampered = ""
        """What strace says behind a call that was tampered with, while its end is told."""
        self.resuming = False
        """Whether the call that is told to begin continues one that a signal interrupted."""
        self._waits: list[Any] = []
        self._interrupts: list[Any] = []
        self.blocks: list[Any] = []
        """Who hears of disks."""
        self._ignored: dict[int, list[SigInfo]] = {}
        """Signals that did nothing, by tid: told after the call under way, where a traced task of Linux takes them."""
        self.active = False
        """Whether system calls and signals are heard by anybody."""

    def append(self, subscriber: Any) -> None:
        """From now on, tell this subscriber too."""
        self.subscribers.append(subscriber)
        self._refresh()

    def remove(self, subscriber: Any) -> None:
        self.subscribers.remove(subscriber)
        self._refresh()

    def _refresh(self) -> None:
        self._calls = [s for s in self.subscribers if hasattr(s, "call_begins")]
        self._scheduling = [s for s in self.subscribers if hasattr(s, "switch")]
        self._interrupts = [s for s in self.subscribers if hasattr(s, "interrupt")]
        self._waits = [s for s in self.subscribers if hasattr(s, "migrate")]
        self.blocks = [s for s in self.subscribers if hasattr(s, "request_done")]
        self._tampering = [s for s in self.subscribers if hasattr(s, "tamper")]
        self.active = bool(self._calls or self._tampering)
        machine = self._machine
        machine.scheduler.trace = self if self._scheduling else None
        for task in machine.tasks.values():
            task.traced = self.active and not task.builtin

    # ---- events ----

    def system_call(self, call: Call, task: Task, args: tuple[Any, ...]) -> Any:
        """Perform a system call, telling everybody. The way back to user mode is settled here too."""
        signals = self._machine.signals
        resume = None
        while True:
            self._begin(task, call, args)
            verdict = self._verdict(task, call) if self._tampering and resume is None else None
            try:
                if verdict is None:
                    result = call.attempt(task, args, resume)
                else:
                    result = self._tamper(verdict, task, call, args)
            except OSError as error:
                self._end(task, call, args, error)
                if task.work:
                    signals.user_return(task)
                raise
            except Killed:
                self._end(task, call, args, Unfinished())
                raise
            except Interrupted as stop:
                resumable = bool(stop.args)
                blocks = resumable and call.name in RESTART_BLOCK
                ended: OSError | Unfinished = OSError(EINTR, "Interrupted system call")
                if blocks or call.restart != "never":
                    ended = Unfinished(RESTARTS["block" if blocks else call.restart])
                self._end(task, call, args, ended)
                ran, restartable = signals.deliver(task)
                self._tell_ignored(task)
                if not call.restarts(ran, restartable, resumable):
                    raise OSError(EINTR, "Interrupted system call") from None
                resume = stop.args[0] if resumable else None
                self.resuming = blocks
                continue
            self._end(task, call, args, result)
            if task.work:
                signals.user_return(task)
            return result

    def _verdict(self, task: Task, call: Call) -> Any:
        """What a subscriber wants done to the call, if anything."""
        found = None
        for subscriber in self._tampering:
            found = subscriber.tamper(task, call) or found
        return found

    def _tamper(self, verdict: Any, task: Task, call: Call, args: tuple[Any, ...]) -> Any:
        """Make the call as the verdict (an `Injection` of straceopts) says, or not at all."""
        if verdict.signal:
            self._machine.signals.send_thread(task, SigInfo(verdict.signal, SI_KERNEL))
        if verdict.delay_enter_ns:
            task.block(verdict.delay_enter_ns, interruptible=False)
        made_up = verdict.error is not None or verdict.retval is not None
        delayed = verdict.delay_enter_ns or verdict.delay_exit_ns
        self.tampered = " (INJECTED)" if made_up else " (DELAYED)" if delayed else ""
        note = self.tampered
        try:
            if verdict.error is not None:
                raise OSError(verdict.error, os.strerror(verdict.error))
            if verdict.retval is not None:
                return verdict.retval
            self.tampered = ""
            return call.attempt(task, args, None)
        finally:
            if verdict.delay_exit_ns:
                task.block(verdict.delay_exit_ns, interruptible=False)
            self.tampered = note

    def _begin(self, task: Task, call: Call, args: tuple[Any, ...]) -> None:
        now = self._machine.timeline.now
        for subscriber in self._calls:
            subscriber.call_begins(task, call, args, now)
        self.resuming = False

    def _end(self, task: Task, call: Call, args: tuple[Any, ...], result: Any) -> None:
        now = self._machine.timeline.now
        for subscriber in self._calls:
            subscriber.call_ends(task, call, args, result, now)
        self.tampered = ""
        self._tell_ignored(task)

    def _tell_ignored(self, task: Task) -> None:
        if self._ignored:
            for info in self._ignored.pop(task.tid, ()):
                self.signal(task, info)

    def ignored(self, task: Task, info: SigInfo) -> None:
        """A signal whose disposition is to be ignored was sent to the task."""
        self._ignored.setdefault(task.tid, []).append(info)

    def note(self, task: Task, name: str, args: tuple[Any, ...], result: Any) -> None:
        """A system call that is no function of the table (a program's first execve, a return from a handler)."""
        from kernel.syscall.table import BY_NAME

        if self.active and name in BY_NAME:
            self._begin(task, BY_NAME[name], args)
            self._end(task, BY_NAME[name], args, result)

    def signal(self, task: Task, info: SigInfo) -> None:
        for subscriber in self._calls:
            subscriber.signal(task, info, self._machine.timeline.now)

    def ended(self, task: Task, status: int) -> None:
        self._ignored.pop(task.tid, None)
        for subscriber in self._calls:
            subscriber.ended(task, status, self._machine.timeline.now)

    def switch(self, cpu: int, before: Task | None, after: Task | None, reason: str, now: int) -> None:
        for subscriber in self._scheduling:
            subscriber.switch(cpu, before, after, reason, now)

    def wakeup(self, waker: Task | None, task: Task, reason: str, now: int) -> None:
        for subscriber in self._scheduling:
            subscriber.wakeup(waker, task, reason, now)

    def wait(self, task: Task, reason: str, now: int) -> None:
        for subscriber in self._waits:
            subscriber.wait(task, reason, now)

    def migrate(self, task: Task, before: int, after: int, reason: str, now: int) -> None:
        for subscriber in self._waits:
            subscriber.migrate(task, before, after, reason, now)

    def interrupt(self, cpu: int, kind: str, begin: int, end: int) -> None:
        for subscriber in self._interrupts:
            subscriber.interrupt(cpu, kind, begin, end)

    def bio_queued(self, queue: RequestQueue, bio: Bio, request: Request, merged: bool, now: int) -> None:
        for subscriber in self.blocks:
            subscriber.bio_queued(queue, bio, request, merged, now)

    def requests_joined(self, queue: RequestQueue, request: Request, into: Request, now: int) -> None:
        for subscriber in self.blocks:
            subscriber.requests_joined(queue, request, into, now)

    def request_issued(self, queue: RequestQueue, request: Request, now: int) -> None:
        for subscriber in self.blocks:
            subscriber.request_issued(queue, request, now)

    def request_done(self, queue: RequestQueue, request: Request, failed: int, now: int) -> None:
        for subscriber in self.blocks:
            subscriber.request_done(queue, request, failed, now)
