"""Timers on CPU time: ITIMER_VIRTUAL (user time), ITIMER_PROF (all of it) and RLIMIT_CPU of a process, RLIMIT_RTTIME of
its threads, and alarms on the CPU clock of a process or thread (POSIX timers, clock_nanosleep).

CPU time cannot pass faster than the clock times the threads that run. So a timer of the machine is armed for the
earliest moment at which the next limit can have been reached; then it looks how much was really used, and is armed
again for the rest. While nobody of the process runs it is not armed at all: each thread is marked (WORK_CPUTIME), and
the first that comes back to user mode starts it again. So a process that sleeps costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.abi import RLIMIT_CPU, RLIMIT_RTTIME, SCHED_FIFO, SCHED_RR, SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU
from kernel.signal import SigInfo
from kernel.task import RUNNABLE, RUNNING, WORK_CPUTIME, Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.machine import Machine
    from kernel.task import ThreadGroup

VIRTUAL, PROF = 1, 2
SECOND = 1_000_000_000
LEAST = 1_000
MICROSECOND = 1_000


class CpuAlarm:
    """Calls `callback(time)` once when a CPU clock, that of a process or of one thread, has reached `deadline`: what a
    timer of the timeline does for its own clock.
    """

    __slots__ = ("callback", "deadline", "task", "timers")

    def __init__(self, timers: CpuTimers, task: Task | None, callback: Callable[[int], object]) -> None:
        self.timers = timers
        self.task = task
        self.callback = callback
        self.deadline: int | None = None

    def now(self) -> int:
        """The clock."""
        if self.task is None:
            return self.timers.used(PROF)
        self.timers.machine.meter.book()
        return sum(self.task.times())

    def arm(self, at: int) -> None:
        self.deadline = at
        self.timers.alarms[self] = None
        self.timers.start()

    def disarm(self) -> None:
        self.deadline = None
        self.timers.alarms.pop(self, None)

    def waits(self) -> int | None:
        """How much CPU time is missing; None while the clock stands: its thread sleeps, and starts the timers again
        when it goes on.
        """
        assert self.deadline is not None
        left = self.deadline - self.now()
        if left > 0 and self.task is not None and self.task.state not in (RUNNING, RUNNABLE):
            self.task.work |= WORK_CPUTIME
            return None
        return left


class CpuTimers:
    """Those of one process."""

    __slots__ = ("alarms", "expires", "fired", "group", "interval", "machine", "rt", "rt_soft", "timer", "xcpu")

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
        self.alarms: dict[CpuAlarm, None] = {}
        self.rt: dict[int, tuple[int, int]] = {}
        """By thread: how often it had slept when it was looked at, and its CPU time when it last woke."""
        self.rt_soft: int | None = None
        """After how much CPU time without a sleep RLIMIT_RTTIME speaks next."""
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
        soft, _ = self.group.rlimits.get(RLIMIT_RTTIME, (-1, -1))
        self.rt_soft = None if soft < 0 else soft * MICROSECOND
        self.start()

    def real_time(self, task: Task) -> int:
        """CPU time of a thread since it last slept."""
        self.machine.meter.book()
        used = sum(task.times())
        seen, since = self.rt.get(task.tid, (-1, used))
        if seen != task.nvcsw:
            since = max(since, used - max(self.machine.timeline.now - task.ready_ns, 0))
            self.rt[task.tid] = (task.nvcsw, since)
        return used - since

    def _real_timers(self) -> list[Task]:
        return [task for task in self.group.threads.values() if task.policy in (SCHED_FIFO, SCHED_RR)]

    def _look_real_time(self) -> None:
        """RLIMIT_RTTIME: SIGXCPU to who has not slept for so long, again after each second, and in the end SIGKILL."""
        assert self.rt_soft is not None
        hard = self.group.rlimits.get(RLIMIT_RTTIME, (-1, -1))[1]
        for task in self._real_timers():
            used = self.real_time(task)
            if 0 <= hard * MICROSECOND <= used:
                self.machine.signals.send_process(self.group, SigInfo(SIGKILL))
                return
            if used >= self.rt_soft:
                self.rt_soft += SECOND
                self.group.rlimits[RLIMIT_RTTIME] = (self.rt_soft // MICROSECOND, hard)
                self.machine.signals.send_process(self.group, SigInfo(SIGXCPU))

    def start(self) -> None:
        """Arm for the earliest moment at which anything can be due."""
        rest = [e - self.used(which) for which, e in self.expires.items() if e is not None]
        if self.xcpu is not None:
            rest.append(self.xcpu - self.used(PROF))
        rest += [left for left in [alarm.waits() for alarm in self.alarms] if left is not None]
        if self.rt_soft is not None:
            hard = self.group.rlimits.get(RLIMIT_RTTIME, (-1, -1))[1]
            limit = self.rt_soft if hard < 0 else min(self.rt_soft, hard * MICROSECOND)
            rest += [limit - self.real_time(task) for task in self._real_timers()]
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
        for alarm in [a for a in self.alarms if a.deadline is not None and a.now() >= a.deadline]:
            at = alarm.deadline
            alarm.disarm()
            alarm.callback(at or 0)
        if self.rt_soft is not None:
            self._look_real_time()
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
        self.alarms.clear()


def cpu_timers(machine: Machine, group: ThreadGroup) -> CpuTimers:
    """Those of the process, made when first asked for."""
    timers: CpuTimers | None = group.cpu_timers
    if timers is None:
        timers = group.cpu_timers = CpuTimers(machine, group)
        if RLIMIT_CPU in group.rlimits or RLIMIT_RTTIME in group.rlimits:
            timers.limits_changed()
    return timers
