"""Timers on CPU time: ITIMER_VIRTUAL (user time), ITIMER_PROF (all of it) and RLIMIT_CPU of a process.

CPU time cannot pass faster than the clock times the threads that run. So a timer of the machine is armed for the
earliest moment at which the next limit can have been reached; then it looks how much was really used, and is armed
again for the rest. While nobody of the process runs it is not armed at all: each thread is marked (WORK_CPUTIME), and
the first that comes back to user mode starts it again. So a process that sleeps costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.abi import RLIMIT_CPU, SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU
from kernel.signal import SigInfo
from kernel.task import RUNNABLE, RUNNING, WORK_CPUTIME

if TYPE_CHECKING:
    from kernel.machine import Machine
    from kernel.task import ThreadGroup

VIRTUAL, PROF = 1, 2
SECOND = 1_000_000_000
LEAST = 1_000


class CpuTimers:
    """Those of one process."""

    __slots__ = ("expires", "fired", "group", "interval", "machine", "timer", "xcpu")

    def __init__(self, machine: Machine, group: ThreadGroup) -> None:
        self.machine = machine
        self.group = group
        self.interval = {VIRTUAL: 0, PROF: 0}
        self.expires: dict[int, int | None] = {VIRTUAL: None, PROF: None}
        """In CPU time of the process."""
        self.fired: dict[int, int | None] = {VIRTUAL: None, PROF: None}
        """When the timer expired whose signal has not been taken."""
        self.xcpu: int | None = None
        """At what CPU time RLIMIT_CPU speaks next."""
        self.timer = machine.timeline.timer(self._look)

    def used(self, which: int) -> int:
        """CPU time of the process, in nanoseconds."""
        self.machine.meter.book()
        user, system = self.group.times()
        return user if which == VIRTUAL else user + system

    def get(self, which: int) -> tuple[int, int]:
        """(interval, time left)."""
        expires, fired = self.expires[which], self.fired[which]
        used = self.used(which)
        if expires is None and fired is not None:
            expires = self._next(which, fired, used)
        return self.interval[which], 0 if expires is None else max(expires - used, LEAST)

    def _next(self, which: int, fired: int, used: int) -> int:
        interval = self.interval[which]
        return fired + ((used - fired) // interval + 1) * interval

    def set(self, which: int, interval: int, value: int) -> None:
        self.interval[which] = interval
        self.fired[which] = None
        self.expires[which] = self.used(which) + value if value else None
        self.start()

    def taken(self, which: int) -> None:
        """The signal was dequeued: the next period counts from its expiration."""
        fired = self.fired[which]
        if fired is not None:
            self.fired[which] = None
            self.expires[which] = self._next(which, fired, self.used(which))
            self.start()

    def limits_changed(self) -> None:
        soft, _ = self.group.rlimits.get(RLIMIT_CPU, (-1, -1))
        self.xcpu = None if soft < 0 else max(soft, 1) * SECOND
        self.start()

    def start(self) -> None:
        """Arm for the earliest moment at which anything can be due."""
        rest = [e - self.used(which) for which, e in self.expires.items() if e is not None]
        if self.xcpu is not None:
            rest.append(self.xcpu - self.used(PROF))
        if not rest:
            self.timer.disarm()
            return
        running = max(1, min(len(self.group.threads), len(self.machine.scheduler.cpus)))
        self.timer.arm(self.machine.timeline.now + max(min(rest) // running, LEAST))

    def _look(self, now: int) -> None:
        group = self.group
        for which, signum in ((VIRTUAL, SIGVTALRM), (PROF, SIGPROF)):
            expires = self.expires[which]
            if expires is not None and self.used(which) >= expires:
                self.expires[which] = None
                self.fired[which] = expires if self.interval[which] else None
                self.machine.signals.send_process(group, SigInfo(signum))
        if self.xcpu is not None and self.used(PROF) >= self.xcpu:
            hard = group.rlimits.get(RLIMIT_CPU, (-1, -1))[1]
            if 0 <= hard * SECOND <= self.used(PROF):
                self.machine.signals.send_process(group, SigInfo(SIGKILL))
                return
            self.xcpu += SECOND
            self.machine.signals.send_process(group, SigInfo(SIGXCPU))
        if any(task.state in (RUNNING, RUNNABLE) for task in group.threads.values()):
            self.start()
        else:
            for task in group.threads.values():
                task.work |= WORK_CPUTIME

    def close(self) -> None:
        self.timer.disarm()


def cpu_timers(machine: Machine, group: ThreadGroup) -> CpuTimers:
    """Those of the process, made when first asked for."""
    timers: CpuTimers | None = group.cpu_timers
    if timers is None:
        timers = group.cpu_timers = CpuTimers(machine, group)
        if RLIMIT_CPU in group.rlimits:
            timers.limits_changed()
    return timers
