"""POSIX timers: timer_create(2) and its kind. A timer belongs to the process and is not inherited.

When a timer expires it sends its signal, once: what expires while that signal is pending only counts as overrun, and
the next period is armed when the signal is taken (as for interval timers), so that no timer can flood anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.abi import (
    CLOCK_BOOTTIME,
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    CLOCK_TAI,
    EAGAIN,
    EFAULT,
    EINVAL,
    EOPNOTSUPP,
    NSIG,
    RLIMIT_SIGPENDING,
    SI_TIMER,
    SIGALRM,
)
from kernel.signal import SIGPENDING_MAX, SigInfo
from kernel.syscall.table import python, syscall
from kernel.syscall.time import LONGEST, TIMER_ABSTIME, in_past

if TYPE_CHECKING:
    from kernel.task import Task

SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD_ID = 0, 1, 4
_CLOCKS = (CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI)
OVERRUN_MAX = (1 << 31) - 1


class PosixTimer:
    """One timer of a process."""

    __slots__ = ("fired", "group", "ident", "interval", "machine", "notify", "overrun", "realtime", "signum", "thread",
                 "timer", "value")  # fmt: skip

    def __init__(
        self, task: Task, ident: int, clock: int, notify: int, signum: int, value: int, thread: Task | None
    ) -> None:
        self.machine = task.machine
        self.group = task.group
        self.ident = ident
        self.realtime = clock in (CLOCK_REALTIME, CLOCK_TAI)
        self.notify = notify
        self.signum = signum
        self.value = value
        self.thread = thread
        self.interval = 0
        self.overrun = 0
        """Expirations beside the one whose signal was taken last."""
        self.fired: int | None = None
        """When it expired whose signal is still pending."""
        self.timer = task.machine.timeline.timer(self._expire)

    def _expire(self, now: int) -> None:
        if self.notify == SIGEV_NONE:
            if self.interval:
                self.timer.arm(now + self.interval)
            return
        self.fired = now
        info = SigInfo(self.signum, SI_TIMER, si_value=self.value)
        info.timer = self
        if self.thread is not None:
            self.machine.signals.send_thread(self.thread, info)
        else:
            self.machine.signals.send_process(self.group, info)

    def taken(self) -> None:
        """The signal was dequeued: what expired meanwhile is the overrun, and the next period begins."""
        if self.fired is None:
            return
        self.overrun = 0
        if self.interval:
            now = self.machine.timeline.now
            missed = (now - self.fired) // self.interval
            self.overrun = min(missed, OVERRUN_MAX)
            self.timer.arm(self.fired + (missed + 1) * self.interval)
        self.fired = None

    def get(self) -> tuple[int, int]:
        """(time left, interval)."""
        now = self.machine.timeline.now
        deadline = self.timer.deadline
        if deadline is None and self.fired is not None and self.interval:
            deadline = self.fired + ((now - self.fired) // self.interval + 1) * self.interval
        return (max(deadline - now, 1) if deadline is not None else 0), self.interval

    def set(self, value: int, interval: int, absolute: bool) -> None:
        self.fired = None
        self.overrun = 0
        self.interval = interval
        if not value:
            self.timer.disarm()
            return
        offset = self.machine.timeline.now if not absolute else 0
        if absolute and self.realtime:
            offset = -self.machine.realtime_offset()
        self.timer.arm(max(offset + value, self.machine.timeline.now))


@syscall(107, "timer_create", "clock", "sigevent", "result:timer_id", returns="zero")
def sys_timer_create(task: Task, clock: int, event: Any = None) -> int:
    """The new timer's id. `event` is (SIGEV_*, signal, value[, tid]); None is SIGALRM with the id as its value."""
    timers = task.group.posix_timers
    if clock in (2, 3):
        raise OSError(EOPNOTSUPP, "timer_create on CPU time is not implemented")
    if clock not in _CLOCKS:
        raise OSError(EINVAL, f"timer_create: clock {clock}")
    ident = task.group.next_timer
    notify, signum, value, tid = SIGEV_SIGNAL, SIGALRM, ident, 0
    if event is not None:
        try:
            notify, signum, value, tid = (*(int(part) for part in event), 0)[:4]
        except (TypeError, ValueError):
            raise OSError(EFAULT, "timer_create takes (notify, signal, value[, tid])") from None
    thread = None
    if notify == SIGEV_SIGNAL | SIGEV_THREAD_ID:
        thread = task.group.threads.get(tid)
        if thread is None:
            raise OSError(EINVAL, f"timer_create: no thread {tid} in this process")
    elif notify not in (SIGEV_SIGNAL, SIGEV_NONE):
        raise OSError(EINVAL, f"timer_create: notification {notify}")
    if notify != SIGEV_NONE and not 0 < signum < NSIG:
        raise OSError(EINVAL, f"timer_create: signal {signum}")
    most = task.group.rlimits.get(RLIMIT_SIGPENDING, (SIGPENDING_MAX, 0))[0]
    if 0 <= most <= len(timers or ()) or task.machine.signals.crowded(task.group):
        raise OSError(EAGAIN, f"RLIMIT_SIGPENDING is {most}")
    if timers is None:
        timers = task.group.posix_timers = {}
    task.group.next_timer += 1
    timers[ident] = PosixTimer(task, ident, clock, notify, signum, value, thread)
    return ident


def _timer(task: Task, ident: int) -> PosixTimer:
    timer = (task.group.posix_timers or {}).get(ident)
    if timer is None:
        raise OSError(EINVAL, f"no timer {ident!r:.40}")
    found: PosixTimer = timer
    return found


@syscall(110, "timer_settime", "int", "timerflags", "itimerspec_in", "", "result:itimerspec", returns="zero")
def sys_timer_settime(task: Task, ident: int, flags: int, value: int, interval: int = 0) -> tuple[int, int]:
    """(time left, interval) as they were."""
    timer = _timer(task, ident)
    past = bool(flags & TIMER_ABSTIME) and in_past(value)
    if not all(isinstance(ns, int) and 0 <= ns <= LONGEST for ns in (0 if past else value, interval)):
        raise OSError(EINVAL, f"timer_settime: {value}, {interval}")
    old = timer.get()
    timer.set(value, interval, bool(flags & TIMER_ABSTIME))
    return old


@syscall(108, "timer_gettime", "int", "result:itimerspec", returns="zero")
def sys_timer_gettime(task: Task, ident: int) -> tuple[int, int]:
    return _timer(task, ident).get()


@syscall(109, "timer_getoverrun", "int")
def sys_timer_getoverrun(task: Task, ident: int) -> int:
    """How many expirations there were beside the one whose signal was taken last."""
    return _timer(task, ident).overrun


@syscall(111, "timer_delete", "int")
def sys_timer_delete(task: Task, ident: int) -> int:
    timer = _timer(task, ident)
    timer.timer.disarm()
    timer.fired = None
    del task.group.posix_timers[ident]
    return 0


@python("timer_settime")
def timer_settime(task: Task, ident: int, flags: int, value_ns: int, interval_ns: int = 0) -> tuple[int, int]:
    old: tuple[int, int] = sys_timer_settime(task, ident, flags, value_ns, interval_ns)
    return old
