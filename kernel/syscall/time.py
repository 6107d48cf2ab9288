"""System calls of time: clocks, sleeping, interval timers. All times are integer nanoseconds in the Python ABI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.abi import (
    CLOCK_BOOTTIME,
    CLOCK_MONOTONIC,
    CLOCK_MONOTONIC_COARSE,
    CLOCK_MONOTONIC_RAW,
    CLOCK_PROCESS_CPUTIME_ID,
    CLOCK_REALTIME,
    CLOCK_REALTIME_COARSE,
    CLOCK_TAI,
    CLOCK_THREAD_CPUTIME_ID,
    EINVAL,
    EOPNOTSUPP,
    SIGALRM,
)
from kernel.cputimer import CpuAlarm, cpu_timers
from kernel.sched.wait import Interrupted, WaitQueue
from kernel.signal import SigInfo
from kernel.syscall.table import NO_HANDLER_RULE, python, syscall

if TYPE_CHECKING:
    from kernel.task import Task, ThreadGroup

TIMER_ABSTIME = 1
ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF = 0, 1, 2
SECOND = 1_000_000_000
LONGEST = (1 << 63) - 1
SI_KERNEL = 0x80

CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM = 8, 9
"""Good for timerfds only: the rest wants a clock that wakes a machine, which there is not."""
CPUCLOCK_VIRT, CLOCKFD, CPUCLOCK_PERTHREAD = 1, 3, 4
_MONOTONIC = (CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME)
_REALTIME = (CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_TAI)

UNTIMED = (
    CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE, CLOCK_REALTIME_COARSE, CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM,
)  # fmt: skip
"""Clocks that have no timers."""


def read_clock(task: Task, clock: int) -> int:
    """The clock's time in nanoseconds; EINVAL for a clock that does not exist."""
    machine = task.machine
    if clock in _MONOTONIC:
        return machine.timeline.now
    if clock in _REALTIME:
        return machine.timeline.now + machine.realtime_offset()
    whose = cpu_clock(task, clock)
    if whose is None:
        raise OSError(EINVAL, f"no clock {clock}")
    group, thread, user_only = whose
    machine.meter.book()
    user, system = group.times() if thread is None else thread.times()
    return user if user_only else user + system


def cpu_clock(task: Task, clock: int) -> tuple[ThreadGroup, Task | None, bool] | None:
    """Whose CPU time the clock counts: (process, the thread or None, user time only). None for other clocks. A negative
    number is a clock of any process (its id is in ~clock >> 3) or thread of one's own.
    """
    if clock == CLOCK_PROCESS_CPUTIME_ID:
        return task.group, None, False
    if clock == CLOCK_THREAD_CPUTIME_ID:
        return task.group, task, False
    if not isinstance(clock, int) or clock >= 0 or clock & 3 == CLOCKFD:
        return None
    ident, user_only = ~(clock >> 3), clock & 3 == CPUCLOCK_VIRT
    if clock & CPUCLOCK_PERTHREAD:
        thread = task.machine.tasks.get(ident) if ident else task
        return (thread.group, thread, user_only) if thread is not None and thread.group is task.group else None
    group = task.machine.processes.groups.get(ident) if ident else task.group
    return (group, None, user_only) if group is not None else None


@syscall(113, "clock_gettime", "clock", "result:timespec", returns="zero")
def sys_clock_gettime(task: Task, clock: int) -> int:
    return read_clock(task, clock)


@syscall(114, "clock_getres", "clock", "result:timespec", returns="zero")
def sys_clock_getres(task: Task, clock: int) -> int:
    read_clock(task, clock)
    return 4_000_000 if clock in (CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE) else 1


@python("time")
def time(task: Task) -> int:
    """Seconds since 1970."""
    now: int = sys_clock_gettime(task, CLOCK_REALTIME)
    return now // SECOND


# ---- sleeping ----


def sleep_until(task: Task, deadline: int) -> int:
    """Sleep to a time of the timeline. After a stop or an ignored signal it goes on to the same deadline."""
    try:
        task.block(max(deadline - task.now, 0))
    except Interrupted:
        raise Interrupted(lambda: sleep_until(task, deadline)) from None
    return 0


def cpu_sleep(
    task: Task, group: ThreadGroup, thread: Task | None, ns: int, absolute: bool, remaining: list[int] | None
) -> int:
    """Sleep until the process, or the thread, has used that much CPU time."""
    queue = WaitQueue()
    alarm = CpuAlarm(cpu_timers(task.machine, group), thread, lambda _: queue.wake_all())
    deadline = ns if absolute else alarm.now() + ns

    def sleep() -> int:
        try:
            while alarm.now() < deadline:
                alarm.arm(deadline)
                queue.sleep(task)
        except Interrupted:
            if remaining is not None and not absolute:
                remaining[:] = [task.now + max(deadline - alarm.now(), 0)]
            raise Interrupted(sleep) from None
        finally:
            alarm.disarm()
        return 0

    return sleep()


def in_past(ns: int) -> bool:
    """Whether an absolute time below 0 is one that has passed. A virtual machine's clocks begin at 0, so what a program
    reckons from now may lie before that; Linux has been up for longer, and takes what is below 0 for a mistake. Here
    that is what is within a microsecond of 0.
    """
    return isinstance(ns, int) and -LONGEST <= ns <= -1000


def _checked(ns: int) -> int:
    if not isinstance(ns, int) or not 0 <= ns <= LONGEST:
        raise OSError(EINVAL, f"{ns!r:.40} ns is no time to sleep")
    return ns


@syscall(101, "nanosleep", "timespec", "remaining", restart=NO_HANDLER_RULE)
def sys_nanosleep(task: Task, ns: int, remaining: list[int] | None = None) -> int:
    deadline = task.now + _checked(ns)
    if remaining is not None:
        remaining[:] = [deadline]
    return sleep_until(task, deadline)


@syscall(115, "clock_nanosleep", "clock", "timerflags", "timespec", "remaining", restart=NO_HANDLER_RULE)
def sys_clock_nanosleep(task: Task, clock: int, flags: int, ns: int, remaining: list[int] | None = None) -> int:
    if not (flags & TIMER_ABSTIME and in_past(ns)):
        _checked(ns)
    whose = cpu_clock(task, clock)
    if whose is not None:
        if whose[1] is task:
            raise OSError(EINVAL, "clock_nanosleep: a thread's own CPU time does not pass while it sleeps")
        return cpu_sleep(task, whose[0], whose[1], ns, bool(flags & TIMER_ABSTIME), remaining)
    if clock in UNTIMED:
        raise OSError(EOPNOTSUPP, f"nobody can sleep by clock {clock}")
    now = read_clock(task, clock)
    deadline = task.now + (ns - now if flags & TIMER_ABSTIME else ns)
    if remaining is not None and not flags & TIMER_ABSTIME:
        remaining[:] = [deadline]
    return sleep_until(task, deadline)


@python("nanosleep")
def nanosleep(task: Task, ns: int) -> int:
    """Sleep. When a handler interrupts it: EINTR, and the error's `remaining_ns` says how much was left."""
    remaining: list[int] = []
    try:
        sys_nanosleep(task, ns, remaining)
    except OSError as error:
        _tell_remaining(task, error, remaining)
        raise
    return 0


@python("clock_nanosleep")
def clock_nanosleep(task: Task, clock: int, flags: int, ns: int) -> int:
    """As nanosleep; with TIMER_ABSTIME (1) until the clock says `ns`."""
    remaining: list[int] = []
    try:
        sys_clock_nanosleep(task, clock, flags, ns, remaining)
    except OSError as error:
        _tell_remaining(task, error, remaining)
        raise
    return 0


def _tell_remaining(task: Task, error: OSError, remaining: list[int]) -> None:
    if remaining:
        error.remaining_ns = max(remaining[0] - task.now, 0)  # type: ignore[attr-defined]


# ---- interval timers ----


class IntervalTimer:
    """ITIMER_REAL of a process: SIGALRM at the deadline, and again every `interval`.

    As in Linux the next period begins when the signal of the last one is taken: nothing happens while it is pending.
    """

    __slots__ = ("fired", "group", "interval", "task_machine", "timer")

    def __init__(self, task: Task) -> None:
        self.group: ThreadGroup = task.group
        self.task_machine = task.machine
        self.interval = 0
        self.fired: int | None = None
        """When the timer expired whose signal is still pending."""
        self.timer = task.machine.timeline.timer(self._expire)

    def _expire(self, now: int) -> None:
        if not self.group.threads:
            return
        self.fired = now if self.interval else None
        self.task_machine.signals.send_process(self.group, SigInfo(SIGALRM, SI_KERNEL))

    def get(self) -> tuple[int, int]:
        """(interval, time left)."""
        now = self.task_machine.timeline.now
        deadline = self.timer.deadline
        if deadline is None and self.fired is not None:
            deadline = self._next(now)
        return self.interval, max(deadline - now, 1000) if deadline is not None else 0

    def _next(self, now: int) -> int:
        assert self.fired is not None
        return self.fired + ((now - self.fired) // self.interval + 1) * self.interval

    def taken(self) -> None:
        """The signal was dequeued."""
        if self.fired is not None:
            self.timer.arm(self._next(self.task_machine.timeline.now))
            self.fired = None

    def set(self, interval: int, value: int) -> None:
        self.interval = interval
        self.fired = None
        if value:
            self.timer.arm(self.task_machine.timeline.now + value)
        else:
            self.timer.disarm()


class CpuIntervalTimer:
    """ITIMER_VIRTUAL or ITIMER_PROF, with the interface of the other."""

    __slots__ = ("timers", "which")

    def __init__(self, task: Task, which: int) -> None:
        self.timers = cpu_timers(task.machine, task.group)
        self.which = which

    def get(self) -> tuple[int, int]:
        return self.timers.get(self.which)

    def set(self, interval: int, value: int) -> None:
        self.timers.set(self.which, interval, value)


def _timer(task: Task, which: int) -> IntervalTimer | CpuIntervalTimer:
    if which in (ITIMER_VIRTUAL, ITIMER_PROF):
        return CpuIntervalTimer(task, which)
    if which != ITIMER_REAL:
        raise OSError(EINVAL, f"no interval timer {which}")
    timer = task.group.itimer
    if timer is None:
        timer = task.group.itimer = IntervalTimer(task)
    return timer


@syscall(103, "setitimer", "itimer", "itimerval", "", "result:itimerval", returns="zero")
def sys_setitimer(task: Task, which: int, value: int, interval: int = 0) -> tuple[int, int]:
    """Microsecond steps, as the call's structure has them."""
    value, interval = (-(-_checked(ns) // 1000) * 1000 for ns in (value, interval))
    timer = _timer(task, which)
    old = timer.get()
    timer.set(interval if value or which != ITIMER_REAL else 0, value)
    return old[1], old[0]


@syscall(102, "getitimer", "itimer", "result:itimerval", returns="zero")
def sys_getitimer(task: Task, which: int) -> tuple[int, int]:
    interval, left = _timer(task, which).get()
    return left, interval


@python("setitimer")
def setitimer(task: Task, which: int, value_ns: int, interval_ns: int = 0) -> tuple[int, int]:
    """(time left, interval) of the timer as it was, in nanoseconds."""
    old: tuple[int, int] = sys_setitimer(task, which, value_ns, interval_ns)
    return old


@python("alarm")
def alarm(task: Task, seconds: int) -> int:
    """SIGALRM in so many seconds (0: none); the seconds that were left of the alarm before, rounded up."""
    if not isinstance(seconds, int):
        raise OSError(EINVAL, f"alarm takes seconds, not {seconds!r:.40}")
    left: int = sys_setitimer(task, ITIMER_REAL, (seconds & 0xFFFFFFFF) * SECOND, 0)[0]
    return 0 if not left else max((left + SECOND // 2) // SECOND, 1)
